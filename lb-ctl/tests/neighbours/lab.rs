//! Three namespaces and the wires between them.

use std::fmt::Write as _;
use std::fs::File;
use std::net::Ipv4Addr;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use lb_ctl::neighbours::Neighbours;
use nix::sched::{CloneFlags, setns};

use crate::ROUTED;

/// Three namespaces; removed when dropped, also by a failing test.
pub(crate) struct Lab {
    pub(crate) balancer: String,
    pub(crate) member: String,
    gateway: String,
}

impl Lab {
    pub(crate) fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = |role| format!("lbt-nb-{}-{number}-{role}", std::process::id());
        let lab = Self { balancer: name("lb"), member: name("m"), gateway: name("gw") };
        for namespace in [&lab.balancer, &lab.member, &lab.gateway] {
            run_ip(&format!("netns add {namespace}"));
            // Addresses work at once.
            set_sysctl(namespace, "ipv6/conf/default/accept_dad", "0");
        }
        lab.connect(
            ["lan0", "02:77:00:00:00:01", "10.77.0.1/24", "fd77::1/64"],
            &lab.member,
            ["eth0", "02:77:00:00:00:11", "10.77.0.11/24", "fd77::11/64"],
        );
        lab.connect(
            ["wan0", "02:77:00:00:00:02", "192.0.2.2/24", "2001:db8::2/64"],
            &lab.gateway,
            ["eth0", "02:77:00:00:00:21", "192.0.2.1/24", "2001:db8::1/64"],
        );
        lab
    }

    pub(crate) fn gateway(&self) -> &str {
        &self.gateway
    }

    /// A veth pair between the balancer and another; ends are given by name, MAC and IP addresses.
    fn connect(&self, ours: [&str; 4], other: &str, theirs: [&str; 4]) {
        let [name, mac, ..] = ours;
        let [peer, peer_mac, ..] = theirs;
        let pair = format!(
            "link add {name} address {mac} type veth peer name {peer} address {peer_mac} netns {other}"
        );
        ip(&self.balancer, &pair);
        for (namespace, [name, _, address, address6]) in [(self.balancer.as_str(), ours), (other, theirs)] {
            ip(namespace, &format!("addr add {address} dev {name}"));
            ip(namespace, &format!("addr add {address6} dev {name}"));
            ip(namespace, &format!("link set {name} up"));
        }
    }

    /// Runs a test and the task that it tests on one thread inside the balancer's namespace.
    pub(crate) fn run(self, test: impl AsyncFnOnce(&Lab, &Neighbours) + Send) {
        inside(&self.balancer, || {
            let mut runtime = tokio::runtime::Builder::new_current_thread();
            runtime.enable_all().build().unwrap().block_on(async {
                let neighbours = Neighbours::start().await.unwrap();
                test(&self, &neighbours).await;
            });
        });
    }

    /// A file for `ip -batch`: so many routes through the gateway, the last one to [`ROUTED`].
    pub(crate) fn route_batch(&self, routes: u32) -> String {
        let first = Ipv4Addr::new(20, 0, 0, 0).to_bits();
        let mut batch = String::new();
        for address in first..first + routes {
            let address = Ipv4Addr::from_bits(address);
            writeln!(batch, "route add {address} via 192.0.2.1").unwrap();
        }
        writeln!(batch, "route add {ROUTED} via 192.0.2.1").unwrap();
        let file = self.batch_file();
        std::fs::write(&file, batch).unwrap();
        file
    }

    fn batch_file(&self) -> String {
        let file = std::env::temp_dir().join(format!("{}.batch", self.balancer));
        file.display().to_string()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(self.batch_file());
        for namespace in [&self.balancer, &self.member, &self.gateway] {
            let removed = Command::new("ip").args(["netns", "del", namespace]).status();
            if !removed.is_ok_and(|status| status.success()) {
                eprintln!("namespace {namespace} is left over");
            }
        }
    }
}

fn run_ip(arguments: &str) -> String {
    let mut ip = Command::new("ip");
    let output = ip.args(arguments.split_whitespace()).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip {arguments}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// Runs something on a thread of its own inside a namespace.
fn inside(namespace: &str, job: impl FnOnce() + Send) {
    let thread = || {
        let namespace = File::open(format!("/run/netns/{namespace}")).unwrap();
        setns(namespace, CloneFlags::CLONE_NEWNET).unwrap();
        job();
    };
    let done = std::thread::scope(|scope| scope.spawn(thread).join());
    done.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
}

pub(crate) fn ip(namespace: &str, arguments: &str) -> String {
    run_ip(&format!("-n {namespace} {arguments}"))
}

pub(crate) fn set_sysctl(namespace: &str, name: &str, value: &str) {
    let path = format!("/proc/sys/net/{name}");
    inside(namespace, || std::fs::write(path, value).unwrap());
}

pub(crate) fn ifindex(neighbours: &Neighbours, name: &str) -> u32 {
    let snapshot = neighbours.snapshot();
    let mut links = snapshot.links.values();
    links.find(|link| link.name == name).unwrap().ifindex
}
