use super::*;

struct Case {
    sentence: &'static str,
    member: Ipv4Addr,
    route: Route,
    facts: Vec<Fact>,
    answer: Result<NextHop, Why>,
    need: Option<(Ipv4Addr, Need)>,
}

#[allow(clippy::too_many_lines, reason = "a table, a row for each sentence")]
fn cases() -> Vec<Case> {
    let down = |up, carrier| Fact::Link(Link { up, carrier, ..link(LAN, "lan0") });
    let no_neighbour = |address| Err(Why::NoNeighbour { ifindex: LAN, address });
    vec![
        Case {
            sentence: "an on-link member that answers is reached at its own MAC address",
            member: MEMBER,
            route: on_link(LAN),
            facts: vec![Fact::Neighbour(key(MEMBER), answering())],
            answer: Ok(next_hop(1500)),
            need: Some((MEMBER, Need::Refresh)),
        },
        Case {
            sentence: "a member behind a gateway is reached at the gateway's MAC address",
            member: ROUTED,
            route: through_gateway(None),
            facts: vec![Fact::Neighbour(key(GATEWAY), answering())],
            answer: Ok(next_hop(1500)),
            need: Some((GATEWAY, Need::Refresh)),
        },
        Case {
            sentence: "a route's own MTU counts where it is smaller than the link's",
            member: ROUTED,
            route: through_gateway(Some(1400)),
            facts: vec![Fact::Neighbour(key(GATEWAY), answering())],
            answer: Ok(next_hop(1400)),
            need: Some((GATEWAY, Need::Refresh)),
        },
        Case {
            sentence: "a route's own MTU above the link's says nothing",
            member: ROUTED,
            route: through_gateway(Some(9000)),
            facts: vec![Fact::Neighbour(key(GATEWAY), answering())],
            answer: Ok(next_hop(1500)),
            need: Some((GATEWAY, Need::Refresh)),
        },
        Case {
            sentence: "a member that nobody has asked for yet is to be resolved",
            member: MEMBER,
            route: on_link(LAN),
            facts: vec![],
            answer: no_neighbour(MEMBER),
            need: Some((MEMBER, Need::Resolve)),
        },
        Case {
            sentence: "a gateway that does not answer is named, and asked again",
            member: ROUTED,
            route: through_gateway(None),
            facts: vec![Fact::Neighbour(key(GATEWAY), silent())],
            answer: no_neighbour(GATEWAY),
            need: Some((GATEWAY, Need::Resolve)),
        },
        Case {
            sentence: "a neighbour of another interface is not the member's",
            member: MEMBER,
            route: on_link(WAN),
            facts: vec![Fact::Neighbour(key(MEMBER), answering())],
            answer: Err(Why::NoNeighbour { ifindex: WAN, address: MEMBER }),
            need: Some((MEMBER, Need::Resolve)),
        },
        Case {
            sentence: "a neighbour that was forgotten is to be resolved again",
            member: MEMBER,
            route: on_link(LAN),
            facts: vec![Fact::Neighbour(key(MEMBER), answering()), Fact::NeighbourGone(key(MEMBER))],
            answer: no_neighbour(MEMBER),
            need: Some((MEMBER, Need::Resolve)),
        },
        Case {
            sentence: "a permanent neighbour is used and left alone",
            member: MEMBER,
            route: on_link(LAN),
            facts: vec![Fact::Neighbour(key(MEMBER), Neighbour { ours_to_refresh: false, ..answering() })],
            answer: Ok(next_hop(1500)),
            need: None,
        },
        Case {
            sentence: "over a link without carrier nothing is sent and nobody is asked",
            member: MEMBER,
            route: on_link(LAN),
            facts: vec![Fact::Neighbour(key(MEMBER), answering()), down(true, false)],
            answer: Err(Why::LinkDown { ifindex: LAN }),
            need: None,
        },
        Case {
            sentence: "a route that left with its interface is blamed on the interface",
            member: MEMBER,
            route: Route::Unreachable,
            facts: vec![down(false, false)],
            answer: Err(Why::LinkDown { ifindex: LAN }),
            need: None,
        },
        Case {
            sentence: "no route to a network of nobody is just that",
            member: ROUTED,
            route: Route::Unreachable,
            facts: vec![down(false, false)],
            answer: Err(Why::NoRoute),
            need: None,
        },
        Case {
            sentence: "an interface that is gone is down",
            member: MEMBER,
            route: on_link(LAN),
            facts: vec![Fact::LinkGone(LAN)],
            answer: Err(Why::LinkDown { ifindex: LAN }),
            need: None,
        },
        Case {
            sentence: "a tunnel has no Ethernet frames",
            member: ROUTED,
            route: on_link(TUNNEL),
            facts: vec![],
            answer: Err(Why::NotEthernet { ifindex: TUNNEL }),
            need: None,
        },
        Case {
            sentence: "an address of the host is no member elsewhere",
            member: Ipv4Addr::new(10, 0, 1, 2),
            route: Route::Local,
            facts: vec![],
            answer: Err(Why::LocalAddress),
            need: None,
        },
        Case {
            sentence: "a broadcast address is no member",
            member: Ipv4Addr::new(10, 0, 1, 255),
            route: Route::NotUnicast,
            facts: vec![],
            answer: Err(Why::NotUnicast),
            need: None,
        },
        Case {
            sentence: "an encapsulating route is the kernel's business",
            member: ROUTED,
            route: Route::KernelOnly { ifindex: LAN },
            facts: vec![],
            answer: Err(Why::KernelOnly { ifindex: LAN }),
            need: None,
        },
    ]
}

#[test]
fn next_hops() {
    for case in cases() {
        let mut table = host();
        for fact in case.facts {
            assert!(table.learn(fact), "{}", case.sentence);
        }
        table.set_routes(BTreeMap::from([(case.member, case.route)]));
        let answer = table.snapshot().next_hops[&case.member];
        assert_eq!(answer, case.answer, "{}", case.sentence);
        let need = table.needs().into_iter().next();
        let need = need.map(|(key, need)| (key.address, need));
        assert_eq!(need, case.need, "{}", case.sentence);
    }
}

#[test]
fn two_members_behind_one_gateway_need_one_neighbour() {
    let mut table = host();
    let other = Ipv4Addr::new(10, 9, 9, 10);
    let routes = [ROUTED, other].map(|member| (member, through_gateway(None)));
    table.set_routes(routes.into());
    assert_eq!(table.needs(), [(key(GATEWAY), Need::Resolve)].into());
}

#[test]
fn what_is_known_already_is_no_news() {
    let mut table = host();
    assert!(!table.learn(Fact::Link(link(LAN, "lan0"))));
    assert!(!table.learn(Fact::LinkGone(99)));
    assert!(table.learn(Fact::Neighbour(key(MEMBER), answering())));
    assert!(!table.learn(Fact::Neighbour(key(MEMBER), answering())));
}
