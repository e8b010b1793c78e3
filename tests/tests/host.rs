//! `cargo xtask run --config lb.yaml`: on the interfaces of a host, with the places that lbctl chooses itself.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use lb_tests::config::LabConfig;
use lb_tests::instance::{ends, lbctl_status, lbctl_under_test};
use lb_tests::lab::{FRONTEND, Lab, Process, Topology, xdp_modes};
use lb_tests::server::Server;
use nix::sys::signal::Signal;

const PATIENCE: Duration = Duration::from_secs(15);

/// A host with three interfaces to servers and one to a client: the balancer of a lab.
struct Host {
    instance: String,
    _servers: Vec<Server>,
    lab: Lab,
}

impl Host {
    fn new(name: &str) -> Self {
        let lab = Lab::new(name, Topology::default()).unwrap();
        let servers = lab
            .backends()
            .iter()
            .flat_map(|b| [8080, 9000].map(|port| Server::http(b.netns(), b.name(), port).unwrap()));
        let host = Self { instance: format!("lb-lab-{name}"), _servers: servers.collect(), lab };
        host.forget();
        host
    }

    /// What `cargo xtask run --config FILE` becomes, in the host's network namespace. Only the
    /// instance's name is other than on a real host, which may have one.
    fn run(&self, file: &Path) -> Command {
        let mut command = self.lab.balancer().command(lbctl_under_test().unwrap());
        command.env("LBCTL_INSTANCE", &self.instance);
        command.args(["serve", "--detach-on-exit", "--config"]).arg(file);
        command
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.lab.dir().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    fn socket(&self) -> PathBuf {
        Path::new("/run/lbctl").join(format!("{}.sock", self.instance))
    }

    fn pins(&self) -> PathBuf {
        Path::new("/sys/fs/bpf/lbctl").join(&self.instance)
    }

    fn wait_for_three_members(&self, daemon: &Process) {
        let deadline = Instant::now() + PATIENCE;
        let up = || {
            let status = lbctl_status(&lbctl_under_test().unwrap(), &self.socket()).ok()?;
            Some(status["members"].as_array()?.iter().filter(|member| member["state"] == "up").count())
        };
        while up() != Some(3) {
            assert!(Instant::now() < deadline, "{}", daemon.log().unwrap());
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// What the frontend's page says to a real client; an error if nobody answers.
    fn curl(&self) -> Result<String, String> {
        let mut curl = self.lab.client().command("curl");
        curl.args(["--silent", "--show-error", "--max-time", "2", &format!("http://{FRONTEND}/")]);
        let (code, said) = ends(&self.lab, curl, PATIENCE).unwrap();
        if code == Some(0) { Ok(said) } else { Err(said) }
    }

    fn assert_nothing_is_left(&self) {
        assert!(!self.pins().exists(), "{} is still there", self.pins().display());
        assert!(!self.socket().exists(), "{} is still there", self.socket().display());
        assert_eq!(
            xdp_modes(self.lab.balancer()).unwrap(),
            BTreeMap::new(),
            "interfaces with an XDP program"
        );
    }

    /// The state directory is kept on purpose; this one is of a host that goes.
    fn forget(&self) {
        let state = Path::new("/var/lib/lbctl").join(&self.instance);
        if state.exists() {
            std::fs::remove_dir_all(state).unwrap();
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.forget();
    }
}

#[test]
fn a_host_serves_a_file_until_ctrl_c() {
    let host = Host::new("host");
    let file = host.file("lb.yaml", &LabConfig::new(&host.lab).yaml());
    let daemon = host.lab.spawn("daemon", host.run(&file)).unwrap();
    host.wait_for_three_members(&daemon);
    let answers: BTreeSet<String> = (0..40).map(|_| host.curl().unwrap()).collect();
    assert_eq!(answers, ["b1", "b2", "b3"].map(ToOwned::to_owned).into());
    assert!(host.pins().exists() && host.socket().exists());
    let attached = xdp_modes(host.lab.balancer()).unwrap();
    assert_eq!(attached.len(), 4, "{attached:?}");

    daemon.signal(Signal::SIGINT).unwrap();
    let deadline = Instant::now() + PATIENCE;
    let status = loop {
        if let Some(status) = daemon.exit_status().unwrap() {
            break status;
        }
        assert!(Instant::now() < deadline, "still running after SIGINT:\n{}", daemon.log().unwrap());
        thread::sleep(Duration::from_millis(5));
    };
    let said = daemon.log().unwrap();
    assert!(status.success(), "{status}:\n{said}");
    assert!(said.contains("the data plane is removed"), "{said}");
    host.assert_nothing_is_left();
    host.curl().unwrap_err();
}

#[test]
fn what_is_wrong_is_told_and_changes_nothing() {
    let host = Host::new("host-wrong");
    let good = LabConfig::new(&host.lab).yaml();
    let no_pool = host.file("no-pool.yaml", &good.replace("pool: a, backendPort", "pool: x, backendPort"));
    let eth9 =
        host.file("eth9.yaml", &good.replace("version: 1", "version: 1\ninterfaces: [{ name: eth9 }]"));
    let nowhere = host.lab.dir().join("nowhere.yaml");
    let cases: [(PathBuf, &[&str]); 3] = [
        (nowhere, &["cannot read", "nowhere.yaml", "No such file"]),
        (no_pool, &["no-pool.yaml:", "unknown pool \"x\"", "nothing was applied"]),
        (eth9, &["there is no interface \"eth9\" on this host", "there are: ", "nothing was changed"]),
    ];
    for (file, words) in cases {
        let (code, said) = ends(&host.lab, host.run(&file), PATIENCE).unwrap();
        assert_eq!(code, Some(2), "{said}");
        for word in words {
            assert!(said.contains(word), "{word:?} is not in what was said:\n{said}");
        }
        host.assert_nothing_is_left();
    }
}
