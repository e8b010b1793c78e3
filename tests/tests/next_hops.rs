//! The way to a member changes: its hardware address, its link, the gateway before it; or it is not yet
//! known when the first packet comes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use lb_tests::client::consistency::Load;
use lb_tests::client::talk::Talk;
use lb_tests::instance::{Instance, lbctl_under_test};
use lb_tests::lab::{CLIENT, FRONTEND, HOST_LINK, Lab, NetNs, Topology};
use lb_tests::server::Server;
use nix::net::if_::if_nametoindex;
use rtnetlink::{Handle, LinkUnspec, RouteMessageBuilder};

const WEB: SocketAddrV4 = SocketAddrV4::new(FRONTEND, 80);
const ANY: SocketAddrV4 = SocketAddrV4::new(CLIENT, 0);
/// A new hardware address is heard at once; a lost one is asked for again after four seconds.
const PATIENCE: Duration = Duration::from_secs(10);
/// Of no link: it lies behind a backend.
const BEHIND: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 11);

struct World {
    instance: Instance,
    _servers: Vec<Server>,
    lab: Lab,
}

impl World {
    /// All backends are listening; nothing is applied yet.
    fn new(name: &str) -> Self {
        let lab = Lab::new(name, Topology::default()).unwrap();
        let servers = lab.backends().iter().map(|b| Server::echo(b.netns(), b.name(), 8080).unwrap());
        let servers = servers.collect();
        let instance = Instance::start(&lab, &lbctl_under_test().unwrap(), None).unwrap();
        Self { instance, _servers: servers, lab }
    }

    /// A rule without probe to these members.
    fn apply(&self, members: &[(&str, Ipv4Addr)]) {
        let members =
            members.iter().map(|(name, address)| format!("{{ name: {name}, address: {address} }}, "));
        let text = format!(
            "version: 1\nfrontends: [{{ name: f, address: {FRONTEND} }}]\n\
             pools: [{{ name: p, backends: [{}] }}]\n\
             rules: [{{ name: web, frontend: f, protocol: tcp, port: 80, pool: p, backendPort: 8080, \
             access: [{{ allow: 0.0.0.0/0 }}] }}]\n",
            members.collect::<String>()
        );
        self.instance.apply(&text).unwrap();
    }

    fn apply_all(&self) {
        let members: Vec<_> = self.lab.backends().iter().map(|b| (b.name(), b.address())).collect();
        self.apply(&members);
    }

    /// Waits until status has this next hop for a member.
    fn wait_for_next_hop(&self, member: &str, next_hop: &str) {
        let there = |status: &serde_json::Value| {
            let members = status["members"].as_array().into_iter().flatten();
            members.into_iter().any(|m| m["name"] == member && m["nextHop"] == next_hop)
        };
        self.instance.wait_for(&format!("{member}: {next_hop}"), PATIENCE, there).unwrap();
    }

    fn open(&self, patience: Duration) -> anyhow::Result<(Talk, String)> {
        let mut talk = Talk::open(self.lab.client(), ANY, WEB, patience)?;
        let server = talk.ask("who", patience)?;
        Ok((talk, server))
    }

    /// How often a packet left for this reason.
    fn count(&self, reason: &str) -> u64 {
        self.instance.status().unwrap()["reasons"][reason]["packets"].as_u64().unwrap_or(0)
    }
}

/// Does something to the links and routes of a namespace.
fn netlink(netns: &NetNs, work: impl AsyncFnOnce(Handle) -> anyhow::Result<()> + Send) {
    let done = netns.block_on(async || {
        let (connection, handle, _) = rtnetlink::new_connection()?;
        tokio::spawn(connection);
        work(handle).await
    });
    done.unwrap();
}

fn set_up(netns: &NetNs, link: &str, up: bool) {
    netlink(netns, async |handle| {
        let link = LinkUnspec::new_with_index(if_nametoindex(link)?);
        let link = if up { link.up() } else { link.down() };
        Ok(handle.link().set(link.build()).execute().await?)
    });
}

/// `net.ipv4.conf.eth0.KEY` in a namespace.
fn set(netns: &NetNs, key: &str, value: &str) {
    let path = Path::new("/proc/sys/net/ipv4/conf").join(HOST_LINK).join(key);
    netns.run(|| Ok(std::fs::write(path, value)?)).unwrap();
}

#[test]
fn a_hardware_address_changes_under_traffic() {
    let world = World::new("hop-mac");
    world.apply_all();
    world.wait_for_next_hop("b1", "02:00:00:00:01:02 on b1");
    let load = Load { interval: Duration::from_millis(100), patience: PATIENCE, ..Load::new(WEB, 200) };
    let running = load.start(world.lab.client());
    running.wait_until_open(PATIENCE).unwrap();
    let backend = &world.lab.backends()[0];
    // As a host says when its address has moved to another card.
    set(backend.netns(), "arp_notify", "1");
    for round in 3..8 {
        let mac = [2, 0, 0, 0, 1, round];
        let started = Instant::now();
        netlink(backend.netns(), async |handle| {
            let link = LinkUnspec::new_with_index(if_nametoindex(HOST_LINK)?).address(mac.to_vec());
            Ok(handle.link().set(link.build()).execute().await?)
        });
        world.wait_for_next_hop("b1", &format!("02:00:00:00:01:{round:02x} on b1"));
        eprintln!("address {round} known after {:?}", started.elapsed());
        let before = running.log().exchanges;
        let opened: BTreeSet<_> = (0..40).map(|_| world.open(PATIENCE).unwrap().1).collect();
        assert_eq!(opened.len(), 3, "new connections: {opened:?}");
        while running.log().exchanges < before + 400 {
            assert!(started.elapsed() < 2 * PATIENCE, "established connections stand still");
            thread::sleep(Duration::from_millis(10));
        }
    }
    let log = running.finish().unwrap();
    assert!(log.breaks.is_empty(), "{} breaks, first {:?}", log.breaks.len(), log.breaks[0]);
    assert!(log.opened.iter().any(|opened| opened.server == "b1"), "no connection met the member");
}

/// The kernel then asks for it, with our rewritten packet in its hand.
#[test]
fn the_first_packets_come_before_the_member_is_resolved() {
    let world = World::new("hop-unknown");
    let backend = &world.lab.backends()[0];
    set(backend.netns(), "arp_ignore", "8");
    world.apply(&[("b1", backend.address())]);
    let state = world.instance.status().unwrap()["members"][0]["nextHop"].clone();
    assert_eq!(state, "10.0.1.11 does not answer ARP on b1");
    thread::scope(|scope| {
        let first = scope.spawn(|| world.open(PATIENCE));
        let started = Instant::now();
        while world.count("ToMemberByKernel") == 0 {
            assert!(started.elapsed() < PATIENCE, "no packet was given to the kernel");
            thread::sleep(Duration::from_millis(10));
        }
        set(backend.netns(), "arp_ignore", "0");
        assert_eq!(first.join().unwrap().unwrap().1, "b1");
    });
    world.wait_for_next_hop("b1", "02:00:00:00:01:02 on b1");
    // From here on the kernel has no part in it.
    let by_kernel = world.count("ToMemberByKernel");
    for _ in 0..20 {
        world.open(PATIENCE).unwrap();
    }
    assert_eq!(world.count("ToMemberByKernel"), by_kernel);
}

#[test]
fn a_members_link_goes_down_and_up() {
    let world = World::new("hop-link");
    world.apply_all();
    world.wait_for_next_hop("b2", "02:00:00:00:02:02 on b2");
    let mut open: Vec<_> = (0..60).map(|_| world.open(PATIENCE).unwrap()).collect();
    let servers: BTreeSet<_> = open.iter().map(|(_, server)| server.clone()).collect();
    assert_eq!(servers.len(), 3);
    for round in 0..3 {
        set_up(world.lab.balancer(), "b2", false);
        // Its route has gone with the link, and the default route leads elsewhere.
        let lost = |status: &serde_json::Value| {
            let members = status["members"].as_array().into_iter().flatten();
            members.into_iter().any(|m| {
                m["name"] == "b2" && m["nextHop"].as_str().is_some_and(|hop| !hop.ends_with("on b2"))
            })
        };
        world.instance.wait_for("b2 without its link", PATIENCE, lost).unwrap();
        for (talk, server) in open.iter_mut().filter(|(_, server)| server != "b2") {
            assert_eq!(talk.ask("still", PATIENCE).unwrap(), *server, "round {round}");
        }
        set_up(world.lab.balancer(), "b2", true);
        world.wait_for_next_hop("b2", "02:00:00:00:02:02 on b2");
        for (talk, server) in &mut open {
            assert_eq!(talk.ask("still", PATIENCE).unwrap(), *server, "round {round}");
        }
        let opened: BTreeSet<_> = (0..40).map(|_| world.open(PATIENCE).unwrap().1).collect();
        assert_eq!(opened, servers, "round {round}");
    }
    assert_eq!(world.instance.status().unwrap()["interfaces"].as_array().unwrap().len(), 4);
}

#[test]
fn a_member_behind_a_gateway() {
    let world = World::new("hop-gateway");
    let gateway = &world.lab.backends()[1];
    netlink(gateway.netns(), async |handle| {
        let index = if_nametoindex(HOST_LINK)?;
        Ok(handle.address().add(index, BEHIND.into(), 32).execute().await?)
    });
    let route = |via: Ipv4Addr| {
        RouteMessageBuilder::<Ipv4Addr>::new().destination_prefix(BEHIND, 32).gateway(via).build()
    };
    netlink(world.lab.balancer(), async |handle| {
        Ok(handle.route().add(route(gateway.address())).execute().await?)
    });
    world.apply(&[("far", BEHIND)]);
    world.wait_for_next_hop("far", "02:00:00:00:02:02 on b2");
    assert_eq!(world.open(PATIENCE).unwrap().1, "b2");
    // The route moves to another gateway, which has the address too.
    let other = &world.lab.backends()[2];
    netlink(other.netns(), async |handle| {
        let index = if_nametoindex(HOST_LINK)?;
        Ok(handle.address().add(index, BEHIND.into(), 32).execute().await?)
    });
    netlink(world.lab.balancer(), async |handle| {
        Ok(handle.route().add(route(other.address())).replace().execute().await?)
    });
    world.wait_for_next_hop("far", "02:00:00:00:03:02 on b3");
    assert_eq!(world.open(PATIENCE).unwrap().1, "b3");
}
