//! What the real daemon says to input, hosts and requests that are wrong: cause, cure and exit code 2,
//! and what was in force stays in force.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use lb_tests::client::talk::Talk;
use lb_tests::instance::{Instance, ends, lbctl_under_test};
use lb_tests::lab::{CLIENT, FRONTEND, HOST_LINK, Lab, Topology};
use lb_tests::server::Server;
use nix::net::if_::if_nametoindex;
use rtnetlink::LinkUnspec;

const PATIENCE: Duration = Duration::from_secs(5);
const OPEN: &str = "access: [{ allow: 0.0.0.0/0 }]";

struct World {
    _servers: Vec<Server>,
    lab: Lab,
}

impl World {
    fn new(name: &str) -> Self {
        let lab = Lab::new(name, Topology { backends: 4, client_addresses: 4 }).unwrap();
        let servers = lab.backends().iter().map(|b| Server::echo(b.netns(), b.name(), 8080).unwrap());
        Self { _servers: servers.collect(), lab }
    }

    fn start(&self, configuration: &str) -> Instance {
        let instance = Instance::start(&self.lab, &lbctl_under_test().unwrap(), None).unwrap();
        instance.apply(configuration).unwrap();
        instance
    }

    fn file(&self, text: &str) -> PathBuf {
        let path = self.lab.dir().join("given.yaml");
        std::fs::write(&path, text).unwrap();
        path
    }

    /// `lbctl serve` of an instance of its own, which shall not start: what it says.
    fn serve_fails(&self, configuration: &str, pin_dir: &Path, prepare: impl FnOnce(&mut Command)) -> String {
        let mut command = self.lab.balancer().command(lbctl_under_test().unwrap());
        let dir = self.lab.dir();
        command.arg("--socket").arg(dir.join("fails.sock")).arg("--state-dir").arg(dir.join("fails"));
        command.arg("--pin-dir").arg(pin_dir).args(["serve", "--config"]).arg(self.file(configuration));
        prepare(&mut command);
        let (code, said) = ends(&self.lab, command, PATIENCE).unwrap();
        assert_eq!(code, Some(2), "{said}");
        assert!(!dir.join("fails.sock").exists(), "a socket is left");
        assert!(!pin_dir.exists(), "maps are left at {}", pin_dir.display());
        said
    }

    /// Native XDP on a veth needs frames that fit into a page, also those of the other end.
    fn jumbo_frames_on(&self, backend: usize) {
        let done = self.lab.backends()[backend].netns().block_on(async || {
            let (connection, handle, _) = rtnetlink::new_connection()?;
            tokio::spawn(connection);
            let link = LinkUnspec::new_with_index(if_nametoindex(HOST_LINK)?).mtu(9000).build();
            Ok(handle.link().set(link).execute().await?)
        });
        done.unwrap();
    }

    fn is_balanced(&self) -> bool {
        let (client, web) = (SocketAddrV4::new(CLIENT, 0), SocketAddrV4::new(FRONTEND, 80));
        let talk = Talk::open(self.lab.client(), client, web, PATIENCE);
        talk.and_then(|mut talk| talk.ask("who", PATIENCE)).is_ok()
    }
}

/// A file with one pool and these interfaces and rules.
fn configuration(interfaces: &str, frontend: Ipv4Addr, rules: &[(u16, &str)]) -> String {
    let rules = rules.iter().map(|(port, access)| {
        format!(
            "  - {{ name: r{port}, frontend: f, protocol: tcp, port: {port}, pool: p, backendPort: {}, {access} }}\n",
            if *port == 80 { 8080 } else { port + 1000 }
        )
    });
    let backends = "{ name: b1, address: 10.0.1.11 }, { name: b2, address: 10.0.2.11 }";
    format!(
        "version: 1\n{interfaces}frontends: [{{ name: f, address: {frontend} }}]\n\
         pools: [{{ name: p, backends: [{backends}] }}]\nrules:\n{}",
        rules.collect::<String>()
    )
}

fn good() -> String {
    configuration("", FRONTEND, &[(80, OPEN)])
}

fn assert_says(said: &str, words: &[&str]) {
    for word in words {
        assert!(said.contains(word), "{word:?} is not in what was said:\n{said}");
    }
}

#[test]
fn interfaces_that_are_missing_or_cannot() {
    let world = World::new("bad-iface");
    world.jumbo_frames_on(2);
    let cases: [(&str, &[&str]); 4] = [
        ("{ name: eth7 }", &["there is no interface \"eth7\"", "there are:", "client"]),
        ("{ name: lo }", &["lo is not an Ethernet interface"]),
        ("{ name: lo, mode: native }", &["lo is not an Ethernet interface"]),
        ("{ name: b3, mode: native }", &["cannot attach to b3", "`mode: auto` or `mode: generic`"]),
    ];
    let named =
        |more: &str| format!("interfaces: [{{ name: client }}, {{ name: b1 }}, {{ name: b2 }}, {more}]\n");
    for (wrong, words) in cases {
        let text = configuration(&named(wrong), FRONTEND, &[(80, OPEN)]);
        assert_says(&world.serve_fails(&text, &world.lab.pin_dir(), |_| {}), words);
    }
    // The same of a running daemon leaves what was in force, on the interfaces of before.
    let instance = world.start(&configuration(&named(""), FRONTEND, &[(80, OPEN)]));
    let before = instance.status().unwrap();
    for (wrong, words) in cases {
        let others = named(&format!("{{ name: b4 }}, {wrong}")).replace("b1 }", "b1, mode: generic }");
        let text = configuration(&others, FRONTEND, &[(81, OPEN)]);
        assert_says(&apply_fails(&world, &instance, &world.file(&text)), words);
        let after = instance.status().unwrap();
        for part in ["generation", "interfaces"] {
            assert_eq!(before[part], after[part], "{part} after {wrong}");
        }
        assert_eq!(after["rules"][0]["name"], "r80");
    }
    assert!(world.is_balanced());
    // Left to choose, it takes the way that there is, and says so: one interface that cannot do native
    // XDP makes the others generic, because a native redirect to it would end in nothing.
    instance.apply(&configuration(&named("{ name: b3 }"), FRONTEND, &[(80, OPEN)])).unwrap();
    let modes = instance.status().unwrap()["interfaces"].clone();
    let mode =
        |name: &str| modes.as_array().unwrap().iter().find(|i| i["name"] == name).unwrap()["mode"].clone();
    assert_eq!((mode("b3"), mode("client")), ("generic".into(), "generic".into()));
    assert!(world.is_balanced());
}

/// `lbctl apply` with exit code 2; what it says.
fn apply_fails(world: &World, instance: &Instance, file: &Path) -> String {
    let mut command = instance.client();
    command.args(["apply", "-f"]).arg(file);
    let (code, said) = ends(&world.lab, command, PATIENCE).unwrap();
    assert_eq!(code, Some(2), "{said}");
    said
}

#[test]
fn missing_rights() {
    let world = World::new("bad-rights");
    let said = world.serve_fails(&good(), &world.lab.pin_dir(), |command| {
        // SAFETY: one system call between fork and exec, without memory or locks.
        unsafe { command.pre_exec(without_capabilities) };
    });
    assert_says(&said, &["missing CAP_BPF, CAP_NET_ADMIN, CAP_NET_RAW, CAP_PERFMON", "run it as root"]);
    assert!(!world.lab.pin_dir().exists());
}

/// From exec on, user 0 is a user like any other (capabilities(7)), as in a container without rights;
/// unlike another user it can still read the program, wherever that was built.
fn without_capabilities() -> io::Result<()> {
    const SECBIT_NOROOT: libc::c_ulong = 1;
    // SAFETY: prctl with integers only.
    match unsafe { libc::prctl(libc::PR_SET_SECUREBITS, SECBIT_NOROOT, 0, 0, 0) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[test]
fn pins_outside_bpffs() {
    let world = World::new("bad-pins");
    let said = world.serve_fails(&good(), &world.lab.dir().join("pins"), |_| {});
    assert_says(&said, &["does not lie in bpffs", "mount -t bpf"]);
}

#[test]
fn files_that_cannot_be_read_or_are_wrong() {
    let world = World::new("bad-file");
    let instance = world.start(&good());
    let said = apply_fails(&world, &instance, &world.lab.dir().join("nowhere.yaml"));
    assert_says(&said, &["nowhere.yaml", "No such file"]);
    let empty = world.lab.dir().join("empty");
    std::fs::create_dir(&empty).unwrap();
    assert_says(&apply_fails(&world, &instance, &empty), &["empty"]);
    let cases = [
        (good().replace("frontends:", "frontends: ["), "given.yaml:"),
        (good().replace("pool: p,", "pool: q,"), "rules[0].pool: unknown pool \"q\" (did you mean \"p\"?)"),
        (good().replace("port: 80,", "port: 0,"), "rules[0].port"),
        (good().replace("backendPort", "backendport"), "did you mean \"backendPort\"?"),
    ];
    for (text, words) in cases {
        assert_says(&apply_fails(&world, &instance, &world.file(&text)), &[words, "nothing was applied"]);
        assert!(world.is_balanced(), "the rules of before are not in force any more");
    }
    assert_eq!(instance.status().unwrap()["generation"], 1);
    // A start with such a file fails, and the data plane of before goes on.
    instance.kill().unwrap();
    let mut command = world.lab.balancer().command(instance.lbctl());
    command.arg("--socket").arg(instance.socket()).arg("--pin-dir").arg(instance.pin_dir());
    command.arg("--state-dir").arg(world.lab.dir().join("state")).args(["serve", "--config"]);
    command.arg(world.file(&good().replace("pool: p,", "pool: q,")));
    let (code, said) = ends(&world.lab, command, PATIENCE).unwrap();
    assert_eq!(code, Some(2), "{said}");
    assert_says(&said, &["unknown pool \"q\""]);
    assert!(world.is_balanced());
}

/// Against the daemon's own limits: 10 s, 20 MiB.
#[test]
fn requests_that_are_malformed_too_large_or_slow() {
    let world = World::new("bad-api");
    let instance = world.start(&good());
    let head =
        |length: usize| format!("POST /v1/apply HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n");
    let cases = [
        (head(9) + "{\"sources", " 400 ", "\"kind\":\"request\""),
        (head(21 << 20) + &" ".repeat(21 << 20), " 413 ", "more than 20 MiB"),
        ("GET /v1/nothing HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(), " 404 ", "GET /v1/status"),
        ("DELETE /v1/apply HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(), " 405 ", "does not take DELETE"),
    ];
    thread::scope(|scope| {
        let slow = [head(100) + "{", "GET /v1/sta".to_owned()].map(|request| {
            let instance = &instance;
            scope.spawn(move || (Instant::now(), say(instance, &request)))
        });
        for (request, status, words) in cases {
            let answer = say(&instance, &request);
            assert!(answer.lines().next().unwrap().contains(status), "{answer}");
            assert_says(&answer, &[words]);
        }
        // Slow ones cost others nothing.
        let started = Instant::now();
        instance.status().unwrap();
        assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
        for slow in slow {
            let (started, answer) = slow.join().unwrap();
            assert!(started.elapsed() > Duration::from_secs(9), "{:?}: {answer}", started.elapsed());
            assert_says(&answer, &[" 408 ", "did not arrive within 10 s"]);
        }
    });
    assert_eq!(instance.status().unwrap()["generation"], 1);
    assert!(world.is_balanced());
}

/// Sends that and nothing more; all that comes back. A server that does not want to read on closes, of
/// which a unix socket tells the sender, behind the answer.
fn say(instance: &Instance, request: &str) -> String {
    let closed = |result: io::Result<()>| match result {
        Ok(()) => {}
        Err(error) => {
            let kinds = [io::ErrorKind::BrokenPipe, io::ErrorKind::ConnectionReset];
            assert!(kinds.contains(&error.kind()), "{error}");
        }
    };
    let mut stream = UnixStream::connect(instance.socket()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    closed(stream.write_all(request.as_bytes()));
    let mut answer = Vec::new();
    closed(stream.read_to_end(&mut answer).map(drop));
    String::from_utf8(answer).unwrap()
}
