//! The lab around the program: what [`super::native`] knows of routes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use lb_common::testkit::frame::twin;
use lb_tests::lab::Lab;
use rtnetlink::RouteMessageBuilder;
use rtnetlink::packet_route::{
    neighbour::NeighbourState,
    route::{RouteAttribute, RouteMetric, RouteScope, RouteType},
};

use super::world::{CLIENT_LINK, MEMBERS, NARROW, NARROW_MTU, NEIGHBOUR, address, member};

/// linux/rtnetlink.h
const RTAX_MTU: u32 = 2;

/// Neighbours that never change and the one unreachable destination, beside the lab's routes.
pub(crate) fn prepare(lab: &Lab) -> anyhow::Result<()> {
    lab.balancer().block_on(|| async {
        let (connection, handle, _) = rtnetlink::new_connection()?;
        tokio::spawn(connection);
        let client = (CLIENT_LINK, IpAddr::from([198, 51, 100, 2]), [2, 0, 0, 0, 0, 2]);
        let members = MEMBERS.map(member);
        let members = members.map(|member| (member.ifindex, member.address, member.destination));
        let neighbour = (member(1).ifindex, address(NEIGHBOUR), member(1).destination);
        for (interface, address, hardware) in members.into_iter().chain([client, neighbour]) {
            for address in [address, twin(address)] {
                let neighbour = handle.neighbours().add(interface, address);
                let neighbour = neighbour.link_layer_address(&hardware).state(NeighbourState::Permanent);
                neighbour.replace().execute().await?;
            }
        }
        let narrow = NARROW.map(|(interface, socket)| (interface, address(socket)));
        for (interface, host) in
            narrow.into_iter().flat_map(|(link, host)| [(link, host), (link, twin(host))])
        {
            // A locked metric is what the kernel's look-up goes by (`ip_mtu_from_fib_result`).
            let metrics = vec![RouteMetric::Mtu(NARROW_MTU.into()), RouteMetric::Lock(1 << RTAX_MTU)];
            let length = if host.is_ipv4() { 32 } else { 128 };
            let mut narrow = RouteMessageBuilder::<IpAddr>::new()
                .destination_prefix(host, length)?
                .output_interface(interface)
                .scope(if host.is_ipv4() { RouteScope::Link } else { RouteScope::Universe })
                .build();
            narrow.attributes.push(RouteAttribute::Metrics(metrics));
            handle.route().add(narrow).execute().await?;
        }
        let unreachable = RouteMessageBuilder::<Ipv6Addr>::new()
            .destination_prefix(ipv6(twin([192, 0, 2, 200].into())), 128)
            .kind(RouteType::Unreachable);
        handle.route().add(unreachable.build()).execute().await?;
        let unreachable = RouteMessageBuilder::<Ipv4Addr>::new()
            .destination_prefix([192, 0, 2, 200].into(), 32)
            .kind(RouteType::Unreachable);
        handle.route().add(unreachable.build()).execute().await?;
        Ok(())
    })
}

fn ipv6(address: IpAddr) -> Ipv6Addr {
    let IpAddr::V6(address) = address else { panic!("{address} is not IPv6") };
    address
}
