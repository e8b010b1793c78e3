//! Traffic does not need the daemon: what happens when it is killed, stopped, started again, started
//! twice, or told to take its data plane with it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::collections::BTreeMap;
use std::net::SocketAddrV4;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use fastrand::Rng;
use lb_tests::client::burst::Burst;
use lb_tests::config::LabConfig;
use lb_tests::instance::{Instance, ends, lbctl_under_test};
use lb_tests::lab::{FRONTEND, Lab, Topology, xdp_modes};
use lb_tests::server::Server;

const WEB: SocketAddrV4 = SocketAddrV4::new(FRONTEND, 80);
const KILLS: u32 = 15;
const PATIENCE: Duration = Duration::from_secs(10);

/// A lab with servers; the daemon is the test's own.
struct World {
    lab: Lab,
    _servers: Vec<Server>,
}

impl World {
    fn new(name: &str) -> Self {
        let lab = Lab::new(name, Topology::default()).unwrap();
        let backends = lab.backends().iter();
        let servers = backends.flat_map(|b| {
            [
                Server::echo(b.netns(), b.name(), 8080).unwrap(),
                Server::http(b.netns(), b.name(), 9000).unwrap(),
            ]
        });
        let servers = servers.collect();
        Self { lab, _servers: servers }
    }

    fn start(&self) -> Instance {
        let instance = Instance::start(&self.lab, &lbctl_under_test().unwrap(), None).unwrap();
        instance.apply(&LabConfig::new(&self.lab).yaml()).unwrap();
        instance.wait_for_members(&["b1", "b2", "b3"]).unwrap();
        instance
    }

    /// So many connections, one after the other: each must succeed.
    fn assert_balanced(&self, connections: u32) {
        let report = Burst { at_once: 4, ..Burst::new(WEB, connections) }.run(self.lab.client()).unwrap();
        assert_eq!(report.failures().next().map(|(_, fault)| fault.to_string()), None);
        assert_eq!(report.by_server().len(), 3, "{:?}", report.by_server());
    }

    fn assert_not_balanced(&self) {
        let try_once = Burst { patience: Duration::from_millis(500), ..Burst::new(WEB, 1) };
        let report = try_once.run(self.lab.client()).unwrap();
        assert_eq!(report.failures().count(), 1, "still balanced: {report:?}");
    }

    fn assert_nothing_is_left(&self) {
        assert!(!self.lab.pin_dir().exists(), "{} is still there", self.lab.pin_dir().display());
        assert_eq!(
            xdp_modes(self.lab.balancer()).unwrap(),
            BTreeMap::new(),
            "interfaces that still have an XDP program"
        );
    }

    /// `lbctl` with this lab's pins; `state` is the folder of [`Instance`], which also has a socket of its own.
    fn command(&self, state_dir: &str, arguments: &[&str]) -> Command {
        let mut command = self.lab.balancer().command(lbctl_under_test().unwrap());
        command.arg("--state-dir").arg(self.lab.dir().join(state_dir));
        let socket = if state_dir == "state" { "lbctl" } else { state_dir };
        command.arg("--socket").arg(self.lab.dir().join(format!("{socket}.sock")));
        command.arg("--pin-dir").arg(self.lab.pin_dir()).args(arguments);
        command
    }

    /// Runs it to its end: exit code and all that it printed.
    fn lbctl(&self, state_dir: &str, arguments: &[&str]) -> (Option<i32>, String) {
        ends(&self.lab, self.command(state_dir, arguments), PATIENCE).unwrap()
    }
}

/// The lab's configuration with a second rule whose name tells which file it is. Each has other
/// weights than the one before, so that slots change as well.
fn numbered(lab: &Lab, number: u32) -> String {
    let mut config = LabConfig::new(lab);
    config.members[0].weight = 1 + u16::try_from(number % 3).unwrap();
    let rule = format!(
        "  - {{ name: file-{number}, frontend: web, protocol: tcp, port: {}, pool: a, backendPort: {}, probe: web }}\n",
        1000 + number,
        2000 + number
    );
    config.yaml() + &rule
}

/// Which of the files is in force; everything else of the status must fit too.
fn in_force(status: &serde_json::Value) -> u32 {
    let rules: Vec<_> =
        status["rules"].as_array().unwrap().iter().map(|r| r["name"].as_str().unwrap()).collect();
    assert_eq!(rules.len(), 2, "{rules:?}");
    assert!(rules.contains(&"web"), "{rules:?}");
    let attached = status["interfaces"].as_array().unwrap().len();
    assert_eq!(attached, 4, "interfaces after a restart: {:#}", status["interfaces"]);
    for member in status["members"].as_array().unwrap() {
        assert!(member["state"] == "up", "right after a restart: {member:#}");
    }
    rules.iter().find_map(|name| name.strip_prefix("file-")).unwrap().parse().unwrap()
}

#[test]
fn fifteen_kills_at_any_moment() {
    let seed = std::env::var("LB_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed: u64 = seed.unwrap_or_else(|| Rng::new().u64(..));
    eprintln!("seed {seed} (LB_TEST_SEED repeats it)");
    let mut rng = Rng::with_seed(seed);
    let world = World::new("kills");
    let instance = world.start();
    instance.apply(&numbered(&world.lab, 0)).unwrap();
    let mut current = 0;

    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let requests = scope.spawn(|| {
            let (mut done, mut failed) = (0, Vec::new());
            while !stop.load(Ordering::Relaxed) {
                let burst = Burst { at_once: 8, rate: Some(400), ..Burst::new(WEB, 100) };
                let report = burst.run(world.lab.client()).unwrap();
                done += report.attempts.len();
                failed.extend(report.failures().map(|(attempt, fault)| format!("{attempt:?}: {fault}")));
            }
            (done, failed)
        });
        // An assertion that fails in here must not leave the requests running for ever.
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for kill in 1..=KILLS {
                current = kill_during_an_apply(&world, &instance, kill, current, &mut rng);
            }
        }));
        stop.store(true, Ordering::Relaxed);
        let (done, failed) = requests.join().unwrap();
        eprintln!("{done} requests beside {KILLS} kills");
        if let Err(panic) = outcome {
            std::panic::resume_unwind(panic);
        }
        assert!(failed.is_empty(), "{} of {done} requests failed, first {}", failed.len(), failed[0]);
        assert!(done >= 500, "only {done} requests: nothing was shown");
    });
}

/// Kills the daemon a random time after an apply began; returns which file is in force after a restart.
fn kill_during_an_apply(world: &World, instance: &Instance, next: u32, before: u32, rng: &mut Rng) -> u32 {
    let file = world.lab.dir().join("next.yaml");
    std::fs::write(&file, numbered(&world.lab, next)).unwrap();
    let mut apply = instance.client();
    apply.args(["apply", "-f"]).arg(&file).stdout(Stdio::null()).stderr(Stdio::null());
    let mut apply = apply.spawn().unwrap();
    let delay = Duration::from_micros(rng.u64(0..25_000));
    thread::sleep(delay);
    instance.kill().unwrap();
    let confirmed = apply.wait().unwrap().success();
    thread::sleep(Duration::from_millis(rng.u64(0..100)));
    if rng.bool() {
        // Its successor does not even get to the end of its start.
        let successor = world.lab.spawn("successor", world.command("state", &["serve"])).unwrap();
        thread::sleep(Duration::from_millis(rng.u64(0..250)));
        successor.kill().unwrap();
    }
    let begun = Instant::now();
    instance.restart(&world.lab).unwrap();
    let now = in_force(&instance.status().unwrap());
    eprintln!(
        "{next}: killed after {delay:?}, apply {}, file {now} in force {:?} after the restart",
        if confirmed { "confirmed" } else { "cut short" },
        begun.elapsed()
    );
    assert!(now == next || (now == before && !confirmed), "file {now} instead of {before} or {next}");
    now
}

#[test]
fn a_daemon_that_is_stopped_leaves_its_data_plane() {
    let world = World::new("stopped");
    let instance = world.start();
    world.assert_balanced(100);
    let attached = xdp_modes(world.lab.balancer()).unwrap();
    assert_eq!(attached.len(), 4, "{attached:?}");
    instance.stop().unwrap();
    assert!(!instance.socket().exists(), "the socket is left");
    world.assert_balanced(100);
    assert_eq!(xdp_modes(world.lab.balancer()).unwrap(), attached);
    let (code, said) = world.lbctl("state", &["status"]);
    assert_eq!(code, Some(3), "{said}");

    instance.restart(&world.lab).unwrap();
    world.assert_balanced(100);
    assert_eq!(xdp_modes(world.lab.balancer()).unwrap(), attached);
    instance.wait_for_members(&["b1", "b2", "b3"]).unwrap();
}

#[test]
fn detach_removes_everything_but_not_under_a_daemon() {
    let world = World::new("detach");
    let instance = world.start();
    let (code, said) = world.lbctl("state", &["detach"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("a daemon runs") && said.contains("stop it first"), "{said}");
    // Not with another state directory either: the pins are in use.
    let (code, said) = world.lbctl("elsewhere", &["detach"]);
    assert_eq!(code, Some(2), "{said}");
    world.assert_balanced(50);

    instance.stop().unwrap();
    let (code, said) = world.lbctl("state", &["detach"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("no longer balanced"), "{said}");
    world.assert_nothing_is_left();
    world.assert_not_balanced();
    let (code, said) = world.lbctl("state", &["detach"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("nothing to remove"), "{said}");

    instance.restart(&world.lab).unwrap();
    instance.wait_for_members(&["b1", "b2", "b3"]).unwrap();
    world.assert_balanced(50);
}

#[test]
fn a_daemon_can_take_its_data_plane_with_it() {
    let world = World::new("detach-exit");
    let instance = world.start();
    instance.stop().unwrap();
    let command = world.command("state", &["serve", "--detach-on-exit"]);
    let daemon = world.lab.spawn("detaching", command).unwrap();
    while !instance.socket().exists() {
        assert_eq!(daemon.exit_status().unwrap(), None, "{}", daemon.log().unwrap());
        thread::sleep(Duration::from_millis(5));
    }
    instance.wait_for_members(&["b1", "b2", "b3"]).unwrap();
    world.assert_balanced(100);
    let status = daemon.stop(PATIENCE).unwrap();
    assert!(status.success(), "{status}: {}", daemon.log().unwrap());
    world.assert_nothing_is_left();
    world.assert_not_balanced();
}

#[test]
fn a_second_daemon_is_refused() {
    let world = World::new("second");
    let instance = world.start();
    let (code, said) = world.lbctl("state", &["serve"]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("has a daemon already (process ") && said.contains("--instance"), "{said}");
    let (code, said) = world.lbctl("elsewhere", &["serve"]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("works on the data plane at"), "{said}");
    world.assert_balanced(50);
    assert_eq!(instance.states().unwrap().len(), 3);
}

/// The interfaces are taken, and it is the other's data plane that has to stay.
#[test]
fn a_second_instance_in_the_same_namespace_is_refused() {
    let world = World::new("second-ns");
    let _instance = world.start();
    let file = world.lab.dir().join("second.yaml");
    std::fs::write(&file, LabConfig::new(&world.lab).yaml()).unwrap();
    let pin_dir = world.lab.pin_dir().with_file_name("lb-lab-second-ns-other");
    let mut command = world.lab.balancer().command(lbctl_under_test().unwrap());
    command.arg("--state-dir").arg(world.lab.dir().join("other"));
    command.arg("--socket").arg(world.lab.dir().join("other.sock"));
    command.arg("--pin-dir").arg(&pin_dir).args(["serve", "--config"]).arg(file);
    let (code, said) = ends(&world.lab, command, PATIENCE).unwrap();
    let left = pin_dir.exists();
    if left {
        std::fs::remove_dir_all(&pin_dir).unwrap();
    }
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("another XDP program is attached there"), "{said}");
    assert!(!left, "maps of a start that failed are left");
    world.assert_balanced(50);
}

#[test]
fn two_instances_live_side_by_side() {
    let (one, other) = (World::new("side-a"), World::new("side-b"));
    let (first, second) = (one.start(), other.start());
    thread::scope(|scope| {
        let both = [&one, &other].map(|world| scope.spawn(|| world.assert_balanced(500)));
        for half in both {
            half.join().unwrap();
        }
    });
    // The end of one is nothing to the other.
    first.stop().unwrap();
    assert_eq!(one.lbctl("state", &["detach"]).0, Some(0));
    one.assert_nothing_is_left();
    other.assert_balanced(100);
    let opened = second.status().unwrap()["rules"][0]["opened"].as_u64().unwrap();
    assert_eq!(opened, 600, "connections of the other instance only");
}
