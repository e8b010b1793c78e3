use super::*;

#[test]
fn changes_name_members_that_differ_appeared_or_left() {
    let mut table = host();
    let other = Ipv4Addr::new(10, 0, 1, 12);
    table.set_routes([(MEMBER, on_link(LAN)), (other, Route::Unreachable)].into());
    let before = table.snapshot();
    table.learn(Fact::Neighbour(key(MEMBER), answering()));
    table.set_routes([(MEMBER, on_link(LAN)), (ROUTED, Route::Unreachable)].into());
    let changes = table.snapshot().changes_since(&before);
    let expected = [(MEMBER, Some(Ok(next_hop(1500)))), (other, None), (ROUTED, Some(Err(Why::NoRoute)))];
    let expected = expected.map(|(address, next_hop)| Update { address, next_hop });
    assert_eq!(changes, expected);
    assert_eq!(before.changes_since(&before), []);
}

/// A sentence, frontends, members, interfaces.
type Row<'a> = (&'a str, &'a [Ipv4Addr], &'a [Ipv4Addr], &'a [u32]);

#[test]
fn interfaces_toward_frontends_and_members() {
    let mut table = host();
    table.set_routes([(MEMBER, on_link(LAN)), (ROUTED, on_link(TUNNEL))].into());
    let snapshot = table.snapshot();
    let wan_address = Ipv4Addr::new(192, 0, 2, 80);
    let lan_address = Ipv4Addr::new(10, 0, 1, 80);
    let elsewhere = Ipv4Addr::new(203, 0, 113, 10);
    let rows: [Row<'_>; 7] = [
        ("a member counts with its route, resolved or not", &[], &[MEMBER], &[LAN]),
        ("a tunnel carries no XDP program of ours", &[], &[ROUTED], &[]),
        ("a frontend in the WAN's network is found there", &[wan_address], &[], &[WAN]),
        (
            "a frontend in the LAN's network has clients on the LAN and beyond the default route",
            &[lan_address],
            &[],
            &[LAN, WAN],
        ),
        ("a routed frontend is found behind the default route", &[elsewhere], &[], &[WAN]),
        ("both kinds add up", &[elsewhere], &[MEMBER], &[LAN, WAN]),
        ("without frontends the default route leads to nobody", &[], &[], &[]),
    ];
    for (sentence, frontends, members, expected) in rows {
        let frontends = frontends.iter().copied().collect();
        let members = members.iter().copied().collect();
        let found = snapshot.interfaces_toward(&frontends, &members);
        assert_eq!(found, expected.iter().copied().collect(), "{sentence}");
    }
}

#[test]
fn a_member_whose_link_is_down_still_names_the_interface() {
    let mut table = host();
    table.learn(Fact::Link(Link { up: false, ..link(LAN, "lan0") }));
    table.set_routes([(MEMBER, Route::Unreachable)].into());
    let found = table.snapshot().interfaces_toward(&BTreeSet::new(), &[MEMBER].into());
    assert_eq!(found, [LAN].into());
}

#[test]
fn an_address_of_its_own_leads_to_its_interface_but_not_to_the_loopback() {
    let mut table = host();
    table.set_interface_routes(BTreeSet::new());
    let frontend = Ipv4Addr::new(203, 0, 113, 10);
    let loopback = Link { ethernet: false, ..link(1, "lo") };
    table.learn(Fact::Link(loopback));
    for ifindex in [1, WAN] {
        let prefix = Prefix { address: frontend, length: 32 };
        table.learn(Fact::Address(InterfaceAddress { ifindex, address: frontend, prefix }));
    }
    let snapshot = table.snapshot();
    assert!(snapshot.is_own(frontend));
    let found = snapshot.interfaces_toward(&[frontend].into(), &BTreeSet::new());
    assert_eq!(found, [WAN].into());
}

#[test]
fn on_link_networks_leave_out_the_default_route() {
    let networks: Vec<_> = host().snapshot().on_link().collect();
    let expected = [(LAN, prefix(10, 0, 1, 24)), (WAN, prefix(192, 0, 2, 24))];
    let expected = expected.map(|(ifindex, prefix)| InterfaceRoute { ifindex, prefix });
    assert_eq!(networks, expected);
}

#[test]
fn a_prefix_contains_what_shares_its_bits() {
    let rows = [
        (prefix(10, 0, 1, 24), Ipv4Addr::new(10, 0, 1, 255), true),
        (prefix(10, 0, 1, 24), Ipv4Addr::new(10, 0, 2, 0), false),
        (prefix(10, 0, 1, 32), Ipv4Addr::new(10, 0, 1, 0), true),
        (prefix(10, 0, 1, 32), Ipv4Addr::new(10, 0, 1, 1), false),
        (prefix(10, 0, 1, 0), Ipv4Addr::new(255, 1, 2, 3), true),
    ];
    for (prefix, address, expected) in rows {
        assert_eq!(prefix.contains(address), expected, "{prefix:?} {address}");
    }
}

#[test]
fn reasons_name_the_interface() {
    let snapshot = host().snapshot();
    let why = Why::NoNeighbour { ifindex: LAN, address: GATEWAY };
    let told = snapshot.describe(why);
    assert_eq!(told, "10.0.1.1 does not answer ARP on lan0");
    let told = snapshot.describe(Why::LinkDown { ifindex: 77 });
    assert_eq!(told, "interface 77 is down");
}
