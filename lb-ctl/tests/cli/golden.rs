//! The status as people read it, letter by letter.

use std::collections::BTreeMap;

use lb_ctl::api::types::{
    Exceptions, Frontend, FrontendLink, Interface, Member, NatRule, Packets, Rule, Status, Tracked,
    Transition,
};
use lb_ctl::cli::{View, render};

const PLAIN: View = View { colours: false, width: None };

fn rule(name: &str, protocol: &str, ports: &str) -> Rule {
    Rule {
        name: name.to_owned(),
        protocol: protocol.to_owned(),
        address: [203, 0, 113, 10].into(),
        ports: ports.to_owned(),
        pool: "web".to_owned(),
        backend_ports: "8080".to_owned(),
        distribution: "5-tuple".to_owned(),
        tracking: None,
        access: "open".to_owned(),
        members: 3,
        accepting: 2,
        inbound: Packets { packets: 1_234_567, bytes: 987_654_321 },
        replies: Packets::default(),
        opened: 45_678,
        opened_per_second: 1234.56,
        packets_per_second: 98_765.4,
        transition: None,
    }
}

fn member(name: &str, last: u8, state: &str, reason: &str) -> Member {
    Member {
        pool: "web".to_owned(),
        name: name.to_owned(),
        address: [10, 0, 1, last].into(),
        weight: 1,
        probe: Some("web".to_owned()),
        state: state.to_owned(),
        reason: reason.to_owned(),
        since_seconds: Some(8_100),
        opened: 15_226,
        next_hop: "02:00:00:00:01:0b on eth1".to_owned(),
        forwarding: "nat".to_owned(),
        hides: Some("10.0.1.0/24".to_owned()),
        sources: vec![[10, 0, 1, 1].into()],
    }
}

fn nat(name: &str, member: Option<&str>, [used, held, room]: [usize; 3]) -> NatRule {
    NatRule {
        name: name.to_owned(),
        protocol: "tcp".to_owned(),
        address: [203, 0, 113, 10].into(),
        ports: if room == 1 { "50001" } else { "50100-50199" }.to_owned(),
        pool: "web".to_owned(),
        member: member.map(ToOwned::to_owned),
        backend_port: 22,
        access: "listed".to_owned(),
        used,
        held,
        room,
        inbound: Packets::default(),
        replies: Packets::default(),
        opened: 120,
        opened_per_second: 0.0,
        packets_per_second: 12.0,
    }
}

fn frontend(name: &str, last: u8, state: &str, links: &[(&str, Option<&str>)]) -> Frontend {
    let link = |(name, (state, other)): (&str, &(&str, Option<&str>))| FrontendLink {
        name: name.to_owned(),
        state: (*state).to_owned(),
        other: other.map(ToOwned::to_owned),
    };
    Frontend {
        name: name.to_owned(),
        address: [203, 0, 113, last].into(),
        state: state.to_owned(),
        links: ["eth0", "eth1"].into_iter().zip(links).map(link).collect(),
    }
}

/// A load balancer in the middle of everything.
pub(crate) fn busy() -> Status {
    let moving = Transition { seconds_left: 8_090, prolonged: 2 };
    let tracking = Some("backends initiate".to_owned());
    let closed =
        Rule { access: "closed".to_owned(), opened_per_second: 0.0, tracking, ..rule("dns", "udp", "8080") };
    let mut unprobed = member("web-3", 13, "down", "admin state down");
    (unprobed.probe, unprobed.since_seconds, unprobed.opened) = (None, None, 7);
    "no route".clone_into(&mut unprobed.next_hop);
    let packets = |packets| Packets { packets, bytes: packets * 60 };
    Status {
        instance: "default".to_owned(),
        version: "0.1.0".to_owned(),
        generation: 3,
        uptime_seconds: 273_600,
        interfaces: vec![
            Interface { name: "eth0".to_owned(), ifindex: 2, mode: "native".to_owned() },
            Interface { name: "eth1".to_owned(), ifindex: 3, mode: "generic".to_owned() },
        ],
        frontends: vec![
            frontend("web", 10, "announced", &[("announced", None), ("taken", Some("02:00:00:00:00:09"))]),
            frontend("ssh", 11, "announced", &[("contested", Some("02:00:00:00:00:09"))]),
            frontend("new", 12, "waiting", &[("asking", None), ("down", None)]),
            frontend("far", 13, "waiting", &[("unwatched", None)]),
            frontend("self", 14, "own", &[]),
            frontend("away", 15, "routed", &[]),
            frontend("mute", 16, "quiet", &[]),
            frontend("idle", 17, "unused", &[]),
        ],
        rules: vec![Rule { transition: Some(moving), ..rule("http", "tcp", "80") }, closed],
        nat_rules: vec![nat("rdp", Some("web-1"), [1, 0, 1]), nat("ssh", None, [3, 2, 100])],
        members: vec![
            member("web-1", 11, "up", "HTTP 200"),
            member("web-2", 12, "unknown", "not probed yet"),
            unprobed,
        ],
        exceptions: Exceptions {
            confirmed: 12,
            confirmed_room: 262_144,
            pending: 1_500,
            pending_room: 131_072,
        },
        tracked: Tracked { flows: 345, room: 65_536, opening: 6 },
        reasons: BTreeMap::from([
            ("ToMember".to_owned(), packets(1_234_567)),
            ("NoRule".to_owned(), packets(42)),
            ("AccessDenied".to_owned(), packets(10_000)),
        ]),
        events: BTreeMap::new(),
        warnings: vec!["rule dns: closed, because it has no access list; nobody can use it".to_owned()],
    }
}

#[test]
fn a_busy_load_balancer() {
    let expected = "\
default: lbctl 0.1.0, up 3d4h, generation 3
XDP on: eth0 (native), eth1 (generic)

FRONTEND  ADDRESS       FOUND
web       203.0.113.10  eth0: announced; eth1: not answered for, in use by 02:00:00:00:00:09
ssh       203.0.113.11  eth0: announced, but 02:00:00:00:00:09 says that it is there
new       203.0.113.12  eth0: asking whether it is free; eth1: down
far       203.0.113.13  eth0: not announced, XDP is not attached
self      203.0.113.14  an address of this host
away      203.0.113.15  routed here: in no network of this host
mute      203.0.113.16  routed here: not to be announced
idle      203.0.113.17  not announced: it has no rule

RULE  FRONTEND               POOL       UP  NEW/S  PKTS/S  OPENED  STATE
http  tcp 203.0.113.10:80    web:8080  2/3   1.2k   98.8k   45.7k  settles in 2h14m, prolonged 2x
dns   udp 203.0.113.10:8080  web       2/3      0   98.8k   45.7k  closed to everybody; tracks (backends initiate)

NAT RULE  FRONTEND                      TO            PORTS  NEW/S  PKTS/S  OPENED  STATE
rdp       tcp 203.0.113.10:50001        web/web-1:22    1/1      0    12.0     120  ok
ssh       tcp 203.0.113.10:50100-50199  web:22        3/100      0    12.0     120  2 held

MEMBER     ADDRESS    PROBE  STATE    SINCE  OPENED  WHY               NEXT HOP
web/web-1  10.0.1.11  web    up       2h15m   15.2k  HTTP 200          02:00:00:00:01:0b on eth1
web/web-2  10.0.1.12  web    unknown  2h15m   15.2k  not probed yet    02:00:00:00:01:0b on eth1
web/web-3  10.0.1.13  -      down         -       7  admin state down  no route

EXCEPTIONS  12 of 262.1k proven, 1.5k of 131.1k waiting for proof
TRACKED     345 of 65.5k flows, 6 more are opening
DROPPED  REASON
  10.0k  AccessDenied  The rule's access list does not allow the source.
     42  NoRule        To a frontend, but no rule has this protocol and port.

warning: rule dns: closed, because it has no access list; nobody can use it
";
    assert_eq!(render(&busy(), PLAIN), expected);
}

#[test]
fn an_empty_one_says_so_in_few_lines() {
    let empty = Status {
        interfaces: vec![],
        frontends: vec![],
        rules: vec![],
        nat_rules: vec![],
        members: vec![],
        reasons: BTreeMap::new(),
        warnings: vec![],
        tracked: Tracked::default(),
        generation: 0,
        uptime_seconds: 5,
        ..busy()
    };
    let expected = "\
default: lbctl 0.1.0, up 5s, generation 0
XDP on: none yet

EXCEPTIONS  12 of 262.1k proven, 1.5k of 131.1k waiting for proof
DROPPED     nothing
";
    assert_eq!(render(&empty, PLAIN), expected);
}

#[test]
fn a_narrow_screen_cuts_lines_and_colours_do_not_count() {
    let view = View { colours: true, width: Some(40) };
    let text = render(&busy(), view);
    let visible = |line: &str| {
        let plain = ["\x1b[0m", "\x1b[1m", "\x1b[31m", "\x1b[33m"]
            .iter()
            .fold(line.to_owned(), |l, code| l.replace(code, ""));
        plain.chars().count()
    };
    assert!(text.lines().all(|line| visible(line) <= 40), "{text}");
    assert!(text.contains("\x1b[31mweb/web-3  10.0.1.13  -      down      …\x1b[0m\n"), "{text}");
    assert!(!render(&busy(), PLAIN).contains('\x1b'));
}
