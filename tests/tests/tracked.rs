//! Flows with entries of their own, with real hosts: clients on a member's link, members that connect to
//! their own frontend, members that do not route through us, tracked datagrams, shared backend ports.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use futures_util::TryStreamExt as _;
use lb_tests::client::talk::Talk;
use lb_tests::client::udp;
use lb_tests::instance::{Instance, lbctl_under_test};
use lb_tests::lab::{Backend, CLIENT, FRONTEND, HOST_LINK, Lab, NetNs, Topology, twin};
use lb_tests::server::{Server, UdpServer};
use nix::net::if_::if_nametoindex;
use rtnetlink::{Handle, RouteMessageBuilder};

const PATIENCE: Duration = Duration::from_secs(5);
const OPEN: &str = "access: [{ allow: 0.0.0.0/0 }, { allow: '::/0' }]";
/// Another frontend.
const SECOND: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 11);

struct World {
    instance: Instance,
    _servers: Vec<Server>,
    _datagrams: Vec<UdpServer>,
    lab: Lab,
}

/// An address and its twin.
fn both(address: Ipv4Addr) -> [IpAddr; 2] {
    [address.into(), twin(address).into()]
}

impl World {
    /// Three hosts, each with a server of both protocols.
    fn new(name: &str) -> Self {
        let lab = Lab::dual_stack(name, Topology { backends: 3, client_addresses: 2 }).unwrap();
        let servers = lab.backends().iter().map(|b| Server::echo(b.netns(), b.name(), 8080).unwrap());
        let servers = servers.collect();
        let datagrams = lab.backends().iter().map(|b| UdpServer::new(b.netns(), b.name(), 8080).unwrap());
        let datagrams = datagrams.collect();
        let instance = Instance::start(&lab, &lbctl_under_test().unwrap(), None).unwrap();
        Self { instance, _servers: servers, _datagrams: datagrams, lab }
    }

    /// Pools of these members (from 1), with their further keys, and rules, for both families: in either, `V` stands
    /// for the family.
    fn apply(&self, pools: &[(&str, &[usize], &str)], rules: &[&str]) {
        let mut text = "version: 1\nfrontends:\n".to_owned();
        for (name, address) in [("web", FRONTEND), ("www", SECOND)] {
            for (family, address) in ["4", "6"].into_iter().zip(both(address)) {
                writeln!(text, "  - {{ name: {name}{family}, address: '{address}' }}").unwrap();
            }
        }
        text += "pools:\n";
        for (pool, members, keys) in pools {
            for (index, family) in ["4", "6"].into_iter().enumerate() {
                write!(text, "  - {{ name: {pool}{family}, transition: 3s, {keys}backends: [").unwrap();
                for member in *members {
                    let backend = &self.lab.backends()[member - 1];
                    let address = both(backend.address())[index];
                    write!(text, "{{ name: {}, address: '{address}' }}, ", backend.name()).unwrap();
                }
                text += "] }\n";
            }
        }
        text += "rules:\n";
        for rule in rules {
            for family in ["4", "6"] {
                writeln!(text, "  - {{ {}, {OPEN} }}", rule.replace('V', family)).unwrap();
            }
        }
        self.instance.apply(&text).unwrap();
    }

    fn member(&self, number: usize) -> &Backend {
        &self.lab.backends()[number - 1]
    }

    fn tracked(&self) -> (u64, u64) {
        let status = self.instance.status().unwrap();
        let number = |name: &str| status["tracked"][name].as_u64().unwrap();
        (number("flows"), number("opening"))
    }
}

const WEB: &str = "name: webV, frontend: webV, protocol: tcp, port: 80, pool: appV, backendPort: 8080";
const UDP: &str = "name: udpV, frontend: webV, protocol: udp, port: 53, pool: appV, backendPort: 8080";

/// Connections from a host to a frontend, and the server of each.
fn open(from: &NetNs, local: IpAddr, frontend: IpAddr, count: usize) -> Vec<(Talk, String)> {
    let (local, server) = (SocketAddr::new(local, 0), SocketAddr::new(frontend, 80));
    let one = |_| {
        let mut talk = Talk::open(from, local, server, PATIENCE).unwrap();
        let server = talk.ask("who", PATIENCE).unwrap();
        (talk, server)
    };
    (0..count).map(one).collect()
}

fn servers(open: &[(Talk, String)]) -> BTreeSet<&str> {
    open.iter().map(|(_, server)| server.as_str()).collect()
}

/// The server that answers a datagram.
fn asked(from: &NetNs, local: SocketAddr, server: SocketAddr) -> String {
    udp::Flow::new(from, local, server).unwrap().ask("who", PATIENCE).unwrap().expect("an answer")
}

/// Each connection still has the server that it had.
fn go_on(open: &mut [(Talk, String)], when: &str) {
    for (talk, server) in open {
        assert_eq!(talk.ask("still", PATIENCE).expect(when), *server, "{when}");
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

/// S-HAIR-1, S-HAIR-2, S-HAIR-5: Azure fails where the hash picks the member itself.
#[test]
fn members_reach_their_own_frontend_s_hair_1_2_5() {
    let world = World::new("hairpin");
    world.apply(&[("app", &[1, 2, 3], "")], &[WEB, UDP]);
    for number in 1..=3 {
        let member = world.member(number);
        for (local, frontend) in both(member.address()).into_iter().zip(both(FRONTEND)) {
            let mut open = open(member.netns(), local, frontend, 40);
            assert_eq!(servers(&open), BTreeSet::from(["b1", "b2", "b3"]), "from {local}");
            go_on(&mut open, "of a member to its own frontend");
            let answered: BTreeSet<_> = (0..40)
                .map(|_| {
                    let (local, server) = (SocketAddr::new(local, 0), SocketAddr::new(frontend, 53));
                    asked(member.netns(), local, server)
                })
                .collect();
            assert_eq!(answered.len(), 3, "datagrams from {local}: {answered:?}");
        }
    }
}

/// Clients of one tier are members of another, and their requests pass the same balancer.
#[test]
fn a_tier_is_the_client_of_the_next() {
    let world = World::new("tiers");
    world.apply(
        &[("front", &[1], ""), ("app", &[2, 3], "")],
        &[WEB, "name: wwwV, frontend: wwwV, protocol: tcp, port: 80, pool: frontV, backendPort: 8080"],
    );
    let web = world.member(1);
    for index in 0..2 {
        let outside = open(world.lab.client(), both(CLIENT)[index], both(SECOND)[index], 4);
        assert_eq!(servers(&outside), BTreeSet::from(["b1"]));
        let inside = open(web.netns(), both(web.address())[index], both(FRONTEND)[index], 40);
        assert_eq!(servers(&inside), BTreeSet::from(["b2", "b3"]));
    }
    assert_eq!(world.tracked(), (0, 0), "plain forwarding needs no entries");
}

/// The member would answer past us.
#[test]
fn a_client_on_a_members_link() {
    let world = World::new("on-link");
    world.apply(&[("app", &[1], "")], &[WEB]);
    let neighbour = Ipv4Addr::new(10, 0, 1, 50);
    let link = world.member(1);
    netlink(link.netns(), async |handle| {
        let index = if_nametoindex(HOST_LINK)?;
        handle.address().add(index, neighbour.into(), 24).execute().await?;
        let mut twin = handle.address().add(index, twin(neighbour).into(), 120);
        // No time for others to object.
        twin.message_mut().attributes.push(no_dad());
        Ok(twin.execute().await?)
    });
    let mut all = Vec::new();
    for (local, frontend) in both(neighbour).into_iter().zip(both(FRONTEND)) {
        all.extend(open(link.netns(), local, frontend, 10));
    }
    go_on(&mut all, "of a client on the member's link");
    assert_eq!(world.tracked().0, 20);
    // Its slots move to a member of another link; open connections do not.
    world.apply(&[("app", &[2], "")], &[WEB]);
    go_on(&mut all, "in a transition");
    let settled = |status: &serde_json::Value| {
        status["rules"].as_array().unwrap().iter().all(|rule| rule["transition"].is_null())
    };
    world.instance.wait_for("settled", Duration::from_secs(15), settled).unwrap();
    go_on(&mut all, "after it");
    world.instance.kill().unwrap();
    go_on(&mut all, "without a daemon");
    world.instance.restart(&world.lab).unwrap();
    go_on(&mut all, "with the next one");
    let fresh = open(link.netns(), neighbour.into(), FRONTEND.into(), 4);
    assert_eq!(servers(&fresh), BTreeSet::from(["b2"]));
}

fn no_dad() -> rtnetlink::packet_route::address::AddressAttribute {
    use rtnetlink::packet_route::address::{AddressAttribute, AddressFlags};
    AddressAttribute::Flags(AddressFlags::Nodad)
}

#[test]
fn members_that_do_not_route_through_us_by_full_nat() {
    let world = World::new("full-nat");
    for backend in world.lab.backends() {
        netlink(backend.netns(), async |handle| {
            let families = [
                RouteMessageBuilder::<Ipv4Addr>::new().build(),
                RouteMessageBuilder::<Ipv6Addr>::new().build(),
            ];
            for filter in families {
                let routes: Vec<_> = handle.route().get(filter).execute().try_collect().await?;
                for route in routes.into_iter().filter(|route| route.header.destination_prefix_length == 0) {
                    handle.route().del(route).execute().await?;
                }
            }
            Ok(())
        });
    }
    world.apply(&[("app", &[1, 2, 3], "")], &[WEB]);
    let refused = Talk::open(world.lab.client(), (CLIENT, 0), (FRONTEND, 80), Duration::from_millis(700));
    assert!(refused.is_err(), "the member's answer found a way");
    world.apply(&[("app", &[1, 2, 3], "forwarding: full-nat, ")], &[WEB, UDP]);
    for (local, frontend) in both(CLIENT).into_iter().zip(both(FRONTEND)) {
        let mut open = open(world.lab.client(), local, frontend, 40);
        assert_eq!(servers(&open), BTreeSet::from(["b1", "b2", "b3"]));
        go_on(&mut open, "by full NAT");
        let (local, server) = (SocketAddr::new(local, 0), SocketAddr::new(frontend, 53));
        asked(world.lab.client(), local, server);
    }
    let status = world.instance.status().unwrap();
    let member = &status["members"][0];
    assert_eq!((&member["forwarding"], &member["hides"]), (&"full-nat".into(), &"all".into()), "{member}");
    assert_eq!(member["sources"][0], "10.0.1.1");
}

/// S-DIST-16: also when the hash would send it elsewhere.
#[test]
fn tracked_datagrams_stay_with_their_member_s_dist_16() {
    let world = World::new("udp-tracking");
    let tracked = format!("{UDP}, tracking: always");
    world.apply(&[("app", &[1, 2, 3], "")], &[&tracked]);
    let ask = |port: u16, index: usize| {
        let (local, server) =
            (SocketAddr::new(both(CLIENT)[index], port), SocketAddr::new(both(FRONTEND)[index], 53));
        asked(world.lab.client(), local, server)
    };
    let all = || -> BTreeMap<_, _> {
        (40_000..40_030)
            .flat_map(|port| (0..2).map(move |i| (port, i)))
            .map(|(port, i)| ((port, i), ask(port, i)))
            .collect()
    };
    let before = all();
    assert_eq!(before.values().collect::<BTreeSet<_>>().len(), 3);
    assert_eq!(world.tracked().0, 60);
    world.apply(&[("app", &[3], "")], &[&tracked]);
    assert_eq!(all(), before);
    let why = world.instance.status().unwrap()["rules"][0]["tracking"].clone();
    assert_eq!(why, "asked for");
}

/// S-RULE-3, S-RULE-6: replies find their frontend by their flow.
#[test]
fn two_frontends_share_a_port_of_their_members_s_rule_3_6() {
    let world = World::new("shared-port");
    world.apply(&[("app", &[1, 2, 3], "")], &[WEB]);
    let mut older: Vec<_> = both(CLIENT)
        .into_iter()
        .zip(both(FRONTEND))
        .flat_map(|(local, frontend)| open(world.lab.client(), local, frontend, 20))
        .collect();
    let second = "name: wwwV, frontend: wwwV, protocol: tcp, port: 80, pool: appV, backendPort: 8080";
    world.apply(&[("app", &[1, 2, 3], "")], &[WEB, second]);
    go_on(&mut older, "older than the second rule");
    let mut all = Vec::new();
    for (index, local) in both(CLIENT).into_iter().enumerate() {
        all.extend(open(world.lab.client(), local, both(FRONTEND)[index], 20));
        all.extend(open(world.lab.client(), local, both(SECOND)[index], 20));
    }
    go_on(&mut all, "of rules that share a port");
    let rules = world.instance.status().unwrap()["rules"].clone();
    assert_eq!(rules[0]["tracking"], "backend port shared with rule www4");
    world.apply(&[("app", &[1, 2, 3], "")], &[WEB]);
    go_on(&mut older, "older than the second rule, which has gone");
}
