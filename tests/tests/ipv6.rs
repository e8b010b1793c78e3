//! IPv6 with real programs: beside IPv4 in one file, and alone.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use futures_util::TryStreamExt as _;
use lb_tests::client::{http, talk::Talk, udp::Flow};
use lb_tests::instance::{Instance, ends, lbctl_under_test};
use lb_tests::lab::{Backend, CLIENT, FRONTEND, Family, HOST_LINK, Lab, NetNs, Topology, twin};
use lb_tests::server::{Server, UdpServer};
use nix::net::if_::if_nametoindex;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::neighbour::NeighbourState;
use rtnetlink::{Handle, RouteMessageBuilder};

const PATIENCE: Duration = Duration::from_secs(10);
/// Shorter than a SYN's first repetition.
const SILENCE: Duration = Duration::from_millis(700);
const LINES: u16 = 80;
const WEB: u16 = 81;
const DATAGRAMS: u16 = 82;
const TRANSFER: u64 = 50_000_000;
/// Of no link: it lies behind a backend.
const BEHIND: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 11);

/// Three backends that serve lines (probed by TCP), HTTP (probed by HTTP) and datagrams.
struct World {
    instance: Instance,
    lines: Vec<Server>,
    web: Vec<Server>,
    _datagrams: Vec<UdpServer>,
    lab: Lab,
}

impl World {
    fn new(name: &str) -> Self {
        let lab = Lab::dual_stack(name, Topology::default()).unwrap();
        let each = |serve: fn(&NetNs, &str, u16) -> anyhow::Result<Server>, port| {
            lab.backends().iter().map(|b| serve(b.netns(), b.name(), port).unwrap()).collect()
        };
        let (lines, web) = (each(Server::echo, 8080), each(Server::http, 8081));
        let datagrams = lab.backends().iter().map(|b| UdpServer::new(b.netns(), b.name(), 8082).unwrap());
        let datagrams = datagrams.collect();
        let instance = Instance::start(&lab, &lbctl_under_test().unwrap(), None).unwrap();
        Self { instance, lines, web, _datagrams: datagrams, lab }
    }

    /// Frontend, pool and rules of each family; `access` of the rules in IPv6.
    fn apply(&self, families: &[Family], access: &str) {
        self.instance.apply(&self.yaml(families, access)).unwrap();
        let up = |status: &serde_json::Value| {
            let members = status["members"].as_array().map(Vec::as_slice).unwrap_or_default();
            // Three members, and two probes and none.
            members.len() == families.len() * 9 && members.iter().all(|member| member["state"] == "up")
        };
        self.instance.wait_for("every member up", PATIENCE, up).unwrap();
    }

    fn yaml(&self, families: &[Family], access: &str) -> String {
        let (mut frontends, mut pools, mut rules) = (String::new(), String::new(), String::new());
        for family in families {
            let name = family.name();
            let _ = writeln!(frontends, "  - {{ name: {name}, address: \"{}\" }}", family.of(FRONTEND));
            let _ = writeln!(pools, "  - name: {name}\n    backends:");
            for backend in self.lab.backends() {
                let address = family.of(backend.address());
                let _ = writeln!(pools, "      - {{ name: {}, address: \"{address}\" }}", backend.name());
            }
            let access = match family {
                Family::V4 => format!("[{{ allow: {} }}]", family.everybody()),
                Family::V6 => access.to_owned(),
            };
            let kinds = [
                ("lines", "tcp", LINES, ", probe: tcp"),
                ("web", "tcp", WEB, ", probe: http"),
                ("datagrams", "udp", DATAGRAMS, ""),
            ];
            for (kind, protocol, port, probe) in kinds {
                let _ = writeln!(
                    rules,
                    "  - {{ name: {kind}-{name}, frontend: {name}, protocol: {protocol}, port: {port}, \
                     pool: {name}, backendPort: {}{probe}, access: {access} }}",
                    port + 8000
                );
            }
        }
        format!(
            "version: 1\nfrontends:\n{frontends}pools:\n{pools}probes:\n  \
             - {{ name: tcp, protocol: tcp, port: 8080, interval: 200ms, timeout: 200ms, threshold: 2 }}\n  \
             - {{ name: http, protocol: http, port: 8081, path: /healthz, interval: 200ms, timeout: 200ms, \
             threshold: 2 }}\nrules:\n{rules}"
        )
    }

    fn open(&self, family: Family) -> anyhow::Result<(Talk, String)> {
        self.open_from(family.of(CLIENT), family.frontend(LINES), PATIENCE)
    }

    fn open_from(
        &self,
        client: IpAddr,
        server: SocketAddr,
        patience: Duration,
    ) -> anyhow::Result<(Talk, String)> {
        let mut talk = Talk::open(self.lab.client(), (client, 0), server, patience)?;
        let server = talk.ask("who", PATIENCE)?;
        Ok((talk, server))
    }

    fn assert_serves(&self, family: Family) {
        let answers = http::distribution(self.lab.client(), family.frontend(WEB), 100).unwrap();
        assert_eq!(answers.values().sum::<usize>(), 100);
        assert_shared(&answers);
        let mut servers = BTreeMap::new();
        let talks: Vec<_> = (0..100).map(|_| self.open(family).unwrap()).collect();
        for (_, server) in &talks {
            *servers.entry(server.clone()).or_insert(0) += 1;
        }
        assert_shared(&servers);
        let mut servers = BTreeMap::new();
        for number in 0..100 {
            let local = (family.of(CLIENT), 0);
            let flow = Flow::new(self.lab.client(), local, family.frontend(DATAGRAMS)).unwrap();
            let server = flow.ask(&number.to_string(), PATIENCE).unwrap().expect("no answer");
            *servers.entry(server).or_insert(0) += 1;
        }
        assert_shared(&servers);
    }

    /// State of a member by name, as this probe sees it in IPv6.
    fn wait_for_state(&self, member: &str, probe: &str, state: &str) {
        let holds = |status: &serde_json::Value| {
            let members = status["members"].as_array().into_iter().flatten();
            let mut members = members.filter(|m| m["pool"] == "v6" && m["probe"] == probe);
            members.any(|m| m["name"] == member && m["state"] == state)
        };
        self.instance.wait_for(&format!("{member} {state} by {probe}"), PATIENCE, holds).unwrap();
    }

    fn count(&self, reason: &str) -> u64 {
        self.instance.status().unwrap()["reasons"][reason]["packets"].as_u64().unwrap_or(0)
    }

    /// Keeps every connection talking while something happens; exchanges each gets at least `rounds` times.
    fn while_talking(talks: &mut [(Talk, String)], happens: impl FnOnce(&dyn Fn(usize))) {
        let (done, rounds) = (AtomicBool::new(false), AtomicUsize::new(0));
        let wait = |more: usize| {
            let (until, started) = (rounds.load(Ordering::Relaxed) + more, Instant::now());
            while rounds.load(Ordering::Relaxed) < until {
                assert!(started.elapsed() < PATIENCE, "connections stand still");
                thread::sleep(Duration::from_millis(5));
            }
        };
        thread::scope(|scope| {
            let talking = scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    let round = rounds.fetch_add(1, Ordering::Relaxed);
                    for (talk, server) in &mut *talks {
                        assert_eq!(talk.ask(&round.to_string(), PATIENCE).unwrap(), *server);
                    }
                }
            });
            let happened = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| happens(&wait)));
            done.store(true, Ordering::Relaxed);
            talking.join().expect("a connection broke");
            happened.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        });
    }
}

/// All three have their share of a hundred.
fn assert_shared(answers: &BTreeMap<String, usize>) {
    let names: Vec<_> = answers.keys().map(String::as_str).collect();
    assert_eq!(names, ["b1", "b2", "b3"], "{answers:?}");
    assert!(answers.values().all(|&answers| answers >= 15), "{answers:?}");
}

fn netlink(netns: &NetNs, work: impl AsyncFnOnce(Handle) -> anyhow::Result<()> + Send) {
    let done = netns.block_on(async || {
        let (connection, handle, _) = rtnetlink::new_connection()?;
        tokio::spawn(connection);
        work(handle).await
    });
    done.unwrap();
}

/// `ip -6 neigh flush all`: what the kernel has learned.
fn flush_neighbours(netns: &NetNs) {
    netlink(netns, async |handle| {
        let entries: Vec<_> = handle
            .neighbours()
            .get()
            .set_address_family(AddressFamily::Inet6)
            .execute()
            .try_collect()
            .await?;
        for entry in entries {
            let fixed = matches!(entry.header.state, NeighbourState::Permanent | NeighbourState::Noarp);
            if !fixed {
                handle.neighbours().del(entry).execute().await?;
            }
        }
        Ok(())
    });
}

/// S-FE-2.
#[test]
fn both_families_of_one_file_s_fe_2() {
    let world = World::new("v6-dual");
    world.apply(&Family::BOTH, "[{ allow: \"::/0\" }]");
    for family in Family::BOTH {
        world.assert_serves(family);
    }
    let status = world.instance.status().unwrap();
    assert_eq!(status["warnings"], serde_json::json!([]), "{status:#}");
    for rule in status["rules"].as_array().unwrap() {
        assert!(rule["opened"].as_u64() > Some(90) || rule["protocol"] == "udp", "{rule:#}");
        assert!(rule["replies"]["packets"].as_u64() >= Some(100), "{rule:#}");
    }
    // Each packet of a member to the host's own addresses was known as such.
    assert!(world.count("ToHost") > 0, "{status:#}");
    let (code, said) = ends(&world.lab, status_text(&world), PATIENCE).unwrap();
    assert_eq!(code, Some(0), "{said}");
    for part in ["203.0.113.10", "fd00::cb00:710a", "fd00::a00:10b", "02:00:00:00:01:02 on b1"] {
        assert!(said.contains(part), "{part} is not in\n{said}");
    }
}

fn status_text(world: &World) -> std::process::Command {
    let mut status = world.instance.client();
    status.arg("status");
    status
}

#[test]
fn a_file_of_ipv6_alone() {
    let world = World::new("v6-alone");
    // The host does not forward IPv4, which is nobody's concern here.
    set(world.lab.balancer(), "net/ipv4/ip_forward", "0");
    world.apply(&[Family::V6], "[{ allow: \"::/0\" }]");
    world.assert_serves(Family::V6);
    let status = world.instance.status().unwrap();
    assert_eq!(status["warnings"], serde_json::json!([]), "{status:#}");
    assert_eq!(status["interfaces"].as_array().unwrap().len(), 4, "{status:#}");
}

fn set(netns: &NetNs, key: &str, value: &str) {
    netns.run(|| Ok(std::fs::write(format!("/proc/sys/{key}"), value)?)).unwrap();
}

#[test]
fn a_host_that_does_not_forward_ipv6_is_told_so() {
    let world = World::new("v6-forward");
    set(world.lab.balancer(), "net/ipv6/conf/b2/forwarding", "0");
    world.instance.apply(&world.yaml(&[Family::V6], "[{ allow: \"::/0\" }]")).unwrap();
    let warnings = world.instance.status().unwrap()["warnings"].to_string();
    assert!(warnings.contains("b2: the kernel does not forward") && !warnings.contains("b1:"), "{warnings}");
    assert!(warnings.contains("sysctl -w net.ipv6.conf.b2.forwarding=1"), "{warnings}");
    set(world.lab.balancer(), "net/ipv6/conf/all/forwarding", "0");
    let warnings = world.instance.status().unwrap()["warnings"].to_string();
    assert!(warnings.contains("sysctl -w net.ipv6.conf.all.forwarding=1"), "{warnings}");
}

#[test]
fn fifty_megabytes_each_way() {
    let world = World::new("v6-bulk");
    world.apply(&[Family::V6], "[{ allow: \"::/0\" }]");
    let server = Family::V6.frontend(WEB);
    http::Download::start(world.lab.client(), server, TRANSFER, None).unwrap().finish().unwrap();
    http::upload(world.lab.client(), server, TRANSFER).unwrap();
}

#[test]
fn members_fail_their_probes_and_come_back() {
    let world = World::new("v6-probes");
    world.apply(&[Family::V6], "[{ allow: \"::/0\" }]");
    let mut talks: Vec<_> = (0..60).map(|_| world.open(Family::V6).unwrap()).collect();
    let opened = |count| (0..count).map(|_| world.open(Family::V6).unwrap().1).collect::<BTreeSet<_>>();
    let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<BTreeSet<_>>();
    assert_eq!(talks.iter().map(|(_, server)| server.clone()).collect::<BTreeSet<_>>().len(), 3);

    // Nobody listens on b1's port of lines any more; its connections go on.
    world.lines[0].pause().unwrap();
    world.wait_for_state("b1", "tcp", "down");
    assert_eq!(opened(40), names(&["b2", "b3"]));
    for (talk, server) in &mut talks {
        assert_eq!(talk.ask("still", PATIENCE).unwrap(), *server);
    }
    // That is one probe's answer; HTTP is well, until it says otherwise.
    world.wait_for_state("b1", "http", "up");
    world.web[1].set_healthy(false);
    world.wait_for_state("b2", "http", "down");
    let answers = http::distribution(world.lab.client(), Family::V6.frontend(WEB), 40).unwrap();
    assert_eq!(answers.into_keys().collect::<BTreeSet<_>>(), names(&["b1", "b3"]));

    let mut world = world;
    world.lines[0].start().unwrap();
    world.web[1].set_healthy(true);
    world.wait_for_state("b1", "tcp", "up");
    world.wait_for_state("b2", "http", "up");
    world.assert_serves(Family::V6);
    for (talk, server) in &mut talks {
        assert_eq!(talk.ask("still", PATIENCE).unwrap(), *server);
    }
}

#[test]
fn who_is_denied_by_an_ipv6_prefix_hears_nothing() {
    let world = World::new("v6-access");
    // Of the client's addresses .2, .3, .4 and .5: all but .4 and .5.
    let deny = "fd00::c633:6404/127";
    world.apply(&[Family::V6], &format!("[{{ deny: \"{deny}\" }}, {{ allow: \"fd00::/16\" }}]"));
    for (client, may) in world.lab.client_addresses().zip([true, true, false, false]) {
        let before = world.count("AccessDenied");
        match world.open_from(twin(client).into(), Family::V6.frontend(LINES), SILENCE) {
            Ok(_) => assert!(may, "{client} got through"),
            Err(error) => {
                assert!(!may, "{client} did not get through: {error:#}");
                let kind = error.downcast_ref::<io::Error>().map(io::Error::kind);
                assert_eq!(kind, Some(io::ErrorKind::TimedOut), "{error:#}");
                assert_eq!(world.count("AccessDenied"), before + 1);
            }
        }
    }
}

/// Neighbour solicitations that the kernel has received.
fn solicitations(netns: &NetNs) -> u64 {
    let counters = netns.run(|| Ok(std::fs::read_to_string("/proc/thread-self/net/snmp6")?)).unwrap();
    let line = counters.lines().find_map(|line| line.strip_prefix("Icmp6InNeighborSolicits"));
    line.unwrap().trim().parse().unwrap()
}

/// Solicitations and advertisements pass the program, on every side of it.
#[test]
fn neighbours_are_forgotten_while_connections_go_on() {
    let world = World::new("v6-flush");
    world.apply(&[Family::V6], "[{ allow: \"::/0\" }]");
    let mut talks: Vec<_> = (0..60).map(|_| world.open(Family::V6).unwrap()).collect();
    let before = solicitations(world.lab.balancer());
    World::while_talking(&mut talks, |wait| {
        for _ in 0..3 {
            let hosts = world.lab.backends().iter().map(Backend::netns);
            for host in hosts.chain([world.lab.balancer(), world.lab.client()]) {
                flush_neighbours(host);
                wait(3);
            }
        }
    });
    // From the client and each backend, each time.
    let asked = solicitations(world.lab.balancer()) - before;
    assert!(asked >= 12, "{asked} solicitations have reached the kernel");
    let resolved = |status: &serde_json::Value| {
        let members = status["members"].as_array().into_iter().flatten();
        members.into_iter().all(|m| m["nextHop"].as_str().is_some_and(|hop| hop.starts_with("02:00:00:00:")))
    };
    world.instance.wait_for("all members resolved", PATIENCE, resolved).unwrap();
}

#[test]
fn connections_outlive_the_daemon() {
    let world = World::new("v6-restart");
    world.apply(&[Family::V6], "[{ allow: \"::/0\" }]");
    let mut talks: Vec<_> = (0..60).map(|_| world.open(Family::V6).unwrap()).collect();
    World::while_talking(&mut talks, |wait| {
        for _ in 0..3 {
            world.instance.kill().unwrap();
            wait(3);
            let (_, server) = world.open(Family::V6).unwrap();
            assert!(["b1", "b2", "b3"].contains(&server.as_str()), "new connections, without a daemon");
            world.instance.restart(&world.lab).unwrap();
            wait(3);
        }
    });
    world.assert_serves(Family::V6);
}

#[test]
fn a_member_behind_a_router_that_is_known_by_its_link_local_address() {
    let world = World::new("v6-router");
    let (router, member) = (&world.lab.backends()[1], twin(BEHIND));
    netlink(router.netns(), async |handle| {
        let index = if_nametoindex(HOST_LINK)?;
        Ok(handle.address().add(index, member.into(), 128).execute().await?)
    });
    // From its hardware address 02:00:00:00:02:02 (RFC 4291, appendix A).
    let link_local: Ipv6Addr = "fe80::ff:fe00:202".parse().unwrap();
    netlink(world.lab.balancer(), async |handle| {
        let route = RouteMessageBuilder::<Ipv6Addr>::new().destination_prefix(member, 128);
        let route = route.gateway(link_local).output_interface(if_nametoindex(router.name())?);
        Ok(handle.route().add(route.build()).execute().await?)
    });
    let text = format!(
        "version: 1\nfrontends: [{{ name: f, address: \"{}\" }}]\n\
         pools: [{{ name: p, backends: [{{ name: far, address: \"{member}\" }}] }}]\n\
         rules: [{{ name: lines, frontend: f, protocol: tcp, port: {LINES}, pool: p, backendPort: 8080, \
         access: [{{ allow: \"::/0\" }}] }}]\n",
        twin(FRONTEND)
    );
    world.instance.apply(&text).unwrap();
    let resolved = |status: &serde_json::Value| status["members"][0]["nextHop"] == "02:00:00:00:02:02 on b2";
    world.instance.wait_for("the router resolved", PATIENCE, resolved).unwrap();
    for _ in 0..20 {
        assert_eq!(world.open(Family::V6).unwrap().1, "b2");
    }
}
