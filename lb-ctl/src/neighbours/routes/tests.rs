use std::net::{Ipv4Addr, Ipv6Addr};

use super::*;

const LAN: u32 = 2;
const WAN: u32 = 3;

fn prefix(text: &str) -> Prefix {
    let (address, length) = text.split_once('/').unwrap();
    Prefix { address: address.parse().unwrap(), length: length.parse().unwrap() }
}

/// A gateway on the LAN, and the default one.
const INNER: Option<Gateway> =
    Some(Gateway { ifindex: LAN, address: IpAddr::V4(Ipv4Addr::new(10, 0, 1, 9)), mtu: None });
const OUTER: Option<Gateway> =
    Some(Gateway { ifindex: WAN, address: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), mtu: None });
/// As routers announce themselves.
const ROUTER: Option<Gateway> = Some(Gateway {
    ifindex: WAN,
    address: IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1)),
    mtu: None,
});

fn main(text: &str, way: Option<Gateway>) -> TableRoute {
    TableRoute { prefix: prefix(text), table: TableKind::Main, metric: 0, way }
}

fn local(text: &str) -> TableRoute {
    TableRoute { table: TableKind::Local, ..main(text, None) }
}

/// What a host with two links and a default gateway has.
fn host() -> Vec<TableRoute> {
    vec![
        main("0.0.0.0/0", OUTER),
        main("10.0.1.0/24", None),
        main("192.0.2.0/24", None),
        local("10.0.1.1/32"),
        local("10.0.1.255/32"),
        local("127.0.0.0/8"),
        local("127.0.0.1/32"),
        local("127.255.255.255/32"),
        local("192.0.2.2/32"),
        local("192.0.2.255/32"),
    ]
}

/// The host with further routes.
fn host_with(more: &[TableRoute]) -> Vec<Way> {
    compile(&[&host(), more].concat())
}

/// What the ways say of an address.
fn way_to(ways: &[Way], address: &str) -> Option<Gateway> {
    let address = address.parse().unwrap();
    ways.iter().find(|(prefix, _)| prefix.contains(address)).and_then(|(_, way)| *way)
}

#[test]
fn most_hosts_need_a_default_way_and_their_own_networks() {
    let expected = [
        (prefix("192.0.2.0/24"), None),
        (prefix("10.0.1.0/24"), None),
        (prefix("127.0.0.0/8"), None),
        (prefix("0.0.0.0/0"), OUTER),
    ];
    assert_eq!(host_with(&[]), expected);
}

/// What `ip -6 route show table all` says of such a host, addresses by themselves included.
#[test]
fn the_same_host_in_ipv6_has_link_local_networks_and_groups_besides() {
    let routes = [
        main("::/0", ROUTER),
        main("::1/128", None),
        main("fd00::a00:100/120", None),
        main("fd00::c000:200/120", None),
        main("fe80::/64", None),
        main("fe80::/64", None),
        local("::1/128"),
        local("fd00::a00:100/128"),
        local("fd00::a00:101/128"),
        local("fe80::/128"),
        local("fe80::200:ff:fe00:1/128"),
        local("ff00::/8"),
        local("ff00::/8"),
    ];
    let expected = [
        (prefix("::1/128"), None),
        (prefix("fd00::c000:200/120"), None),
        (prefix("fd00::a00:100/120"), None),
        (prefix("fe80::/64"), None),
        (prefix("ff00::/8"), None),
        (prefix("::/0"), ROUTER),
    ];
    assert_eq!(compile(&routes), expected);
}

#[test]
fn without_gateway_there_is_nothing_to_say() {
    assert_eq!(compile(&[main("10.0.1.0/24", None), local("10.0.1.1/32")]), []);
    assert_eq!(compile(&[]), []);
}

#[test]
fn the_longest_prefix_counts_and_those_that_add_nothing_are_left_out() {
    let ways = host_with(&[
        main("10.8.0.0/16", INNER),
        main("10.8.7.0/24", INNER),
        main("10.8.9.0/24", OUTER),
        main("172.16.0.0/12", OUTER),
        main("10.8.9.128/25", INNER),
    ]);
    assert_eq!(ways.len(), 4 + 3);
    assert!(ways.is_sorted_by_key(|(prefix, _)| std::cmp::Reverse(prefix.length)));
    for (address, way) in [
        ("10.8.0.1", INNER),
        ("10.8.7.1", INNER),
        ("10.8.9.1", OUTER),
        ("10.8.9.129", INNER),
        ("172.16.0.1", OUTER),
        ("10.0.1.9", None),
        ("8.8.8.8", OUTER),
    ] {
        assert_eq!(way_to(&ways, address), way, "{address}");
    }
}

#[test]
fn of_several_routes_to_a_prefix_the_lowest_metric_counts() {
    let backup = TableRoute { metric: 100, ..main("10.8.0.0/16", OUTER) };
    let best = main("10.8.0.0/16", INNER);
    for routes in [[best, backup], [backup, best]] {
        assert_eq!(way_to(&host_with(&routes), "10.8.0.1"), INNER);
    }
}

#[test]
fn what_is_equally_good_or_not_plain_is_the_kernels() {
    let route = main("10.8.0.0/16", INNER);
    let unclear = TableRoute { way: None, ..route };
    let backup = TableRoute { metric: 100, ..main("10.8.0.0/16", OUTER) };
    for routes in [vec![route, route], vec![unclear], vec![unclear, backup]] {
        let ways = host_with(&routes);
        assert_eq!(way_to(&ways, "10.8.0.1"), None, "{routes:?}");
        assert_eq!(way_to(&ways, "10.9.0.1"), OUTER);
    }
}

#[test]
fn nothing_is_sent_on_that_is_for_the_host_itself() {
    // An address without its network; a whole network of the host's (`ip route add local`).
    let ways = host_with(&[
        local("203.0.113.7/32"),
        local("10.8.0.0/16"),
        main("10.8.1.0/24", INNER),
        main("10.8.0.0/16", INNER),
    ]);
    for address in ["203.0.113.7", "10.8.0.1", "10.8.1.1", "127.0.0.1", "192.0.2.255"] {
        assert_eq!(way_to(&ways, address), None, "{address}");
    }
    assert_eq!(way_to(&ways, "203.0.113.8"), OUTER);
}

#[test]
fn too_many_prefixes_are_none() {
    let networks = |count: u8| -> Vec<_> {
        (0..count).map(|n| main(&format!("10.{}.0.0/16", 100 + n), INNER)).collect()
    };
    assert_eq!(host_with(&networks(12)).len(), ROUTES);
    assert_eq!(host_with(&networks(13)), []);
    // Routes that the default way already says do not count.
    let same: Vec<_> = (0..200).map(|n| main(&format!("10.{n}.0.0/16"), OUTER)).collect();
    assert_eq!(host_with(&same).len(), 4);
}
