use super::*;

#[test]
fn changes_name_members_that_differ_appeared_or_left() {
    for world in worlds() {
        let mut table = world.host();
        let (member, routed, other) = (world.member(), world.routed(), world.at(10, 0, 1, 12));
        table.set_routes([(member, on_link(LAN)), (other, Route::Unreachable)].into());
        let before = table.snapshot();
        table.learn(Fact::Neighbour(key(member), answering()));
        table.set_routes([(member, on_link(LAN)), (routed, Route::Unreachable)].into());
        let changes = table.snapshot().changes_since(&before);
        let expected = [(member, Some(Ok(next_hop(1500)))), (other, None), (routed, Some(Err(Why::NoRoute)))];
        let expected = expected.map(|(address, next_hop)| Update { address, next_hop });
        assert_eq!(changes, expected);
        assert_eq!(before.changes_since(&before), []);
    }
}

/// A sentence, frontends, members, interfaces.
type Row<'a> = (&'a str, &'a [IpAddr], &'a [IpAddr], &'a [u32]);

#[test]
fn interfaces_toward_frontends_and_members() {
    for world in worlds() {
        let mut table = world.host();
        let (member, routed) = (world.member(), world.routed());
        table.set_routes([(member, on_link(LAN)), (routed, on_link(TUNNEL))].into());
        let snapshot = table.snapshot();
        let wan_address = world.at(192, 0, 2, 80);
        let lan_address = world.at(10, 0, 1, 80);
        let elsewhere = world.at(203, 0, 113, 10);
        let [v4, v6] = worlds();
        let other_family = if world.0 == Family::V4 { v6 } else { v4 }.at(192, 0, 2, 80);
        let rows: [Row<'_>; 8] = [
            ("a member counts with its route, resolved or not", &[], &[member], &[LAN]),
            ("a tunnel carries no XDP program of ours", &[], &[routed], &[]),
            ("a frontend in the WAN's network is found there", &[wan_address], &[], &[WAN]),
            (
                "a frontend in the LAN's network has clients on the LAN and beyond the default route",
                &[lan_address],
                &[],
                &[LAN, WAN],
            ),
            ("a routed frontend is found behind the default route", &[elsewhere], &[], &[WAN]),
            ("both kinds add up", &[elsewhere], &[member], &[LAN, WAN]),
            ("without frontends the default route leads to nobody", &[], &[], &[]),
            ("routes of one family lead to no frontend of the other", &[other_family], &[], &[]),
        ];
        for (sentence, frontends, members, expected) in rows {
            let frontends = frontends.iter().copied().collect();
            let members = members.iter().copied().collect();
            let found = snapshot.interfaces_toward(&frontends, &members);
            assert_eq!(found, expected.iter().copied().collect(), "{sentence}");
        }
    }
}

#[test]
fn a_member_whose_link_is_down_still_names_the_interface() {
    for world in worlds() {
        let mut table = world.host();
        table.learn(Fact::Link(Link { up: false, ..link(LAN, "lan0") }));
        table.set_routes([(world.member(), Route::Unreachable)].into());
        let found = table.snapshot().interfaces_toward(&BTreeSet::new(), &[world.member()].into());
        assert_eq!(found, [LAN].into());
    }
}

#[test]
fn an_address_of_its_own_leads_to_its_interface_but_not_to_the_loopback() {
    for world in worlds() {
        let mut table = world.host();
        table.set_interface_routes(BTreeSet::new());
        let frontend = world.at(203, 0, 113, 10);
        let loopback = Link { ethernet: false, ..link(1, "lo") };
        table.learn(Fact::Link(loopback));
        for ifindex in [1, WAN] {
            let prefix = world.network(203, 0, 113);
            table.learn(Fact::Address(InterfaceAddress { ifindex, address: frontend, prefix }));
        }
        let snapshot = table.snapshot();
        assert!(snapshot.is_own(frontend));
        let found = snapshot.interfaces_toward(&[frontend].into(), &BTreeSet::new());
        assert_eq!(found, [WAN].into());
    }
}

#[test]
fn on_link_networks_leave_out_the_default_route() {
    for world in worlds() {
        let networks: Vec<_> = world.host().snapshot().on_link().collect();
        let expected = [(LAN, world.network(10, 0, 1)), (WAN, world.network(192, 0, 2))];
        let expected = expected.map(|(ifindex, prefix)| InterfaceRoute { ifindex, prefix });
        assert_eq!(networks, expected);
    }
}

#[test]
fn reasons_name_the_interface() {
    let [v4, v6] = worlds();
    let told = |world: World, why| world.host().snapshot().describe(why);
    let silent = |world: World| Why::NoNeighbour { ifindex: LAN, address: world.gateway() };
    assert_eq!(told(v4, silent(v4)), "10.0.1.1 does not answer ARP on lan0");
    assert_eq!(told(v6, silent(v6)), "fd00::a00:101 does not answer neighbour discovery on lan0");
    assert_eq!(told(v4, Why::LinkDown { ifindex: 77 }), "interface 77 is down");
}
