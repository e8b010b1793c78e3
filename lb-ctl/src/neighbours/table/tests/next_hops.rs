use super::*;

struct Case {
    sentence: &'static str,
    member: IpAddr,
    route: Route,
    facts: Vec<Fact>,
    answer: Result<NextHop, Why>,
    need: Option<(IpAddr, Need)>,
}

#[allow(clippy::too_many_lines, reason = "a table, a row for each sentence")]
fn cases(world: World) -> Vec<Case> {
    let (member, gateway, routed) = (world.member(), world.gateway(), world.routed());
    let down = |up, carrier| Fact::Link(Link { up, carrier, ..link(LAN, "lan0") });
    let no_neighbour = |address| Err(Why::NoNeighbour { ifindex: LAN, address });
    vec![
        Case {
            sentence: "an on-link member that answers is reached at its own MAC address",
            member,
            route: on_link(LAN),
            facts: vec![Fact::Neighbour(key(member), answering())],
            answer: Ok(next_hop(1500)),
            need: Some((member, Need::Refresh)),
        },
        Case {
            sentence: "a member behind a gateway is reached at the gateway's MAC address",
            member: routed,
            route: world.through_gateway(None),
            facts: vec![Fact::Neighbour(key(gateway), answering())],
            answer: Ok(next_hop(1500)),
            need: Some((gateway, Need::Refresh)),
        },
        Case {
            sentence: "a route's own MTU counts where it is smaller than the link's",
            member: routed,
            route: world.through_gateway(Some(1400)),
            facts: vec![Fact::Neighbour(key(gateway), answering())],
            answer: Ok(next_hop(1400)),
            need: Some((gateway, Need::Refresh)),
        },
        Case {
            sentence: "a route's own MTU above the link's says nothing",
            member: routed,
            route: world.through_gateway(Some(9000)),
            facts: vec![Fact::Neighbour(key(gateway), answering())],
            answer: Ok(next_hop(1500)),
            need: Some((gateway, Need::Refresh)),
        },
        Case {
            sentence: "a member that nobody has asked for yet is to be resolved",
            member,
            route: on_link(LAN),
            facts: vec![],
            answer: no_neighbour(member),
            need: Some((member, Need::Resolve)),
        },
        Case {
            sentence: "a gateway that does not answer is named, and asked again",
            member: routed,
            route: world.through_gateway(None),
            facts: vec![Fact::Neighbour(key(gateway), silent())],
            answer: no_neighbour(gateway),
            need: Some((gateway, Need::Resolve)),
        },
        Case {
            sentence: "a neighbour of another interface is not the member's",
            member,
            route: on_link(WAN),
            facts: vec![Fact::Neighbour(key(member), answering())],
            answer: Err(Why::NoNeighbour { ifindex: WAN, address: member }),
            need: Some((member, Need::Resolve)),
        },
        Case {
            sentence: "a neighbour that was forgotten is to be resolved again",
            member,
            route: on_link(LAN),
            facts: vec![Fact::Neighbour(key(member), answering()), Fact::NeighbourGone(key(member))],
            answer: no_neighbour(member),
            need: Some((member, Need::Resolve)),
        },
        Case {
            sentence: "a permanent neighbour is used and left alone",
            member,
            route: on_link(LAN),
            facts: vec![Fact::Neighbour(key(member), Neighbour { ours_to_refresh: false, ..answering() })],
            answer: Ok(next_hop(1500)),
            need: None,
        },
        Case {
            sentence: "over a link without carrier nothing is sent and nobody is asked",
            member,
            route: on_link(LAN),
            facts: vec![Fact::Neighbour(key(member), answering()), down(true, false)],
            answer: Err(Why::LinkDown { ifindex: LAN }),
            need: None,
        },
        Case {
            sentence: "a route that left with its interface is blamed on the interface",
            member,
            route: Route::Unreachable,
            facts: vec![down(false, false)],
            answer: Err(Why::LinkDown { ifindex: LAN }),
            need: None,
        },
        Case {
            sentence: "no route to a network of nobody is just that",
            member: routed,
            route: Route::Unreachable,
            facts: vec![down(false, false)],
            answer: Err(Why::NoRoute),
            need: None,
        },
        Case {
            sentence: "an interface that is gone is down",
            member,
            route: on_link(LAN),
            facts: vec![Fact::LinkGone(LAN)],
            answer: Err(Why::LinkDown { ifindex: LAN }),
            need: None,
        },
        Case {
            sentence: "a tunnel has no Ethernet frames",
            member: routed,
            route: on_link(TUNNEL),
            facts: vec![],
            answer: Err(Why::NotEthernet { ifindex: TUNNEL }),
            need: None,
        },
        Case {
            sentence: "an address of the host is no member elsewhere",
            member: world.at(10, 0, 1, 2),
            route: Route::Local,
            facts: vec![],
            answer: Err(Why::LocalAddress),
            need: None,
        },
        Case {
            sentence: "a broadcast address is no member",
            member: world.at(10, 0, 1, 255),
            route: Route::NotUnicast,
            facts: vec![],
            answer: Err(Why::NotUnicast),
            need: None,
        },
        Case {
            sentence: "an encapsulating route is the kernel's business",
            member: routed,
            route: Route::KernelOnly { ifindex: LAN },
            facts: vec![],
            answer: Err(Why::KernelOnly { ifindex: LAN }),
            need: None,
        },
    ]
}

#[test]
fn next_hops() {
    for (world, case) in
        worlds().into_iter().flat_map(|world| cases(world).into_iter().map(move |case| (world, case)))
    {
        let mut table = world.host();
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
    for world in worlds() {
        let mut table = world.host();
        let members = [world.routed(), world.at(10, 9, 9, 10)];
        table.set_routes(members.map(|member| (member, world.through_gateway(None))).into());
        assert_eq!(table.needs(), [(key(world.gateway()), Need::Resolve)].into());
    }
}

/// RFC 5549; and what routers of IPv6 are usually known by.
#[test]
fn a_gateway_may_be_of_the_other_family_or_link_local() {
    let [v4, v6] = worlds();
    let gateway = "fe80::1".parse().unwrap();
    for world in [v4, v6] {
        let mut table = world.host();
        let route = Route::Unicast { ifindex: LAN, gateway: Some(gateway), mtu: None };
        table.set_routes([(world.routed(), route)].into());
        assert_eq!(table.needs(), [(key(gateway), Need::Resolve)].into());
        table.learn(Fact::Neighbour(key(gateway), answering()));
        assert_eq!(table.snapshot().next_hops[&world.routed()], Ok(next_hop(1500)));
    }
}

#[test]
fn what_is_known_already_is_no_news() {
    let [world, _] = worlds();
    let mut table = world.host();
    assert!(!table.learn(Fact::Link(link(LAN, "lan0"))));
    assert!(!table.learn(Fact::LinkGone(99)));
    assert!(table.learn(Fact::Neighbour(key(world.member()), answering())));
    assert!(!table.learn(Fact::Neighbour(key(world.member()), answering())));
}
