//! Interfaces, addresses, routes and kernel settings of a lab.

use std::{
    collections::BTreeMap,
    fs, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    os::fd::AsRawFd as _,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use futures_util::TryStreamExt as _;
use nix::net::if_::if_nametoindex;
use rtnetlink::{
    Handle, LinkMessageBuilder, LinkUnspec, LinkVeth, RouteMessageBuilder,
    packet_route::link::{InfoData, InfoVeth, LinkAttribute, LinkMessage, LinkXdp, XdpAttached},
};

use super::{BALANCER, Backend, CLIENT, CLIENT_LINK, Families, HOST_LINK, NetNs, Topology, ethtool, twin};

/// Addresses of a link have this prefix length.
const LINK_PREFIX: u8 = 24;
/// The twins of these addresses.
const TWIN_PREFIX: u8 = 120;
/// Of the balancer's links. The kernel reports the carrier of a veth at once only if its two ends have
/// different numbers (each in its own namespace), and up to a second later otherwise.
const FIRST_INDEX: u32 = 100;

pub(super) fn backend_address(n: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, n, 11)
}

pub(super) fn client_addresses(count: u8) -> impl Iterator<Item = Ipv4Addr> {
    (0..count).map(|n| Ipv4Addr::from_bits(CLIENT.to_bits() + u32::from(n)))
}

/// Locally administered, and readable in a capture: link number, then 1 for the balancer's end.
pub(super) fn balancer_mac(link: u8) -> [u8; 6] {
    [2, 0, 0, 0, link, 1]
}

pub(super) fn host_mac(link: u8) -> [u8; 6] {
    [2, 0, 0, 0, link, 2]
}

/// One veth pair with its addresses and the routes that use it.
struct Link<'a> {
    /// 0 for the client, n for backend n.
    number: u8,
    /// Name of the balancer's end.
    name: &'a str,
    gateway: Ipv4Addr,
    host: &'a NetNs,
    addresses: Vec<Ipv4Addr>,
}

pub(super) fn wire(
    client: &NetNs,
    balancer: &NetNs,
    backends: &[Backend],
    topology: Topology,
    families: Families,
) -> Result<()> {
    let mut links = vec![Link {
        number: 0,
        name: CLIENT_LINK,
        gateway: BALANCER,
        host: client,
        addresses: client_addresses(topology.client_addresses).collect(),
    }];
    links.extend((1..).zip(backends).map(|(number, backend)| Link {
        number,
        name: &backend.name,
        gateway: Ipv4Addr::new(10, 0, number, 1),
        host: &backend.netns,
        addresses: vec![backend.address],
    }));

    // A host's end of a pair takes its settings from the namespace that it is born in.
    for (netns, forward) in links.iter().map(|link| (link.host, false)).chain([(balancer, true)]) {
        netns.run(|| settings(forward, families)).with_context(|| format!("configure {}", netns.name()))?;
    }
    configure(balancer, async |handle| {
        for link in &links {
            create_pair(&handle, link).await.with_context(|| format!("create the link {}", link.name))?;
            bring_up(&handle, link.name, &[link.gateway], families).await?;
        }
        add_default_route(&handle, CLIENT, families).await
    })?;
    for link in &links {
        configure(link.host, async |handle| {
            bring_up(&handle, HOST_LINK, &link.addresses, families).await?;
            offloads(HOST_LINK)?;
            add_default_route(&handle, link.gateway, families).await
        })?;
    }
    // A frame sent before the kernel has seen the carrier is lost, and a lost SYN costs a second.
    links.iter().try_for_each(|link| {
        wait_until_usable(link.host, HOST_LINK).and_then(|()| wait_until_usable(balancer, link.name))
    })
}

/// Runs `work` with a netlink connection inside `netns`, after the loopback is up.
fn configure(netns: &NetNs, work: impl AsyncFnOnce(Handle) -> Result<()> + Send) -> Result<()> {
    netns
        .block_on(|| async {
            let (connection, handle, _) = rtnetlink::new_connection()?;
            tokio::spawn(connection);
            bring_up(&handle, "lo", &[], Families::Ipv4).await?;
            work(handle).await
        })
        .with_context(|| format!("configure {}", netns.name()))
}

/// The host's end is born in the host's namespace.
async fn create_pair(handle: &Handle, link: &Link<'_>) -> Result<()> {
    let handle_of_host = link.host.handle();
    let host_end = LinkMessageBuilder::<LinkUnspec>::new()
        .name(HOST_LINK)
        .address(host_mac(link.number).into())
        .setns_by_fd(handle_of_host.as_raw_fd())
        .build();
    let pair = LinkVeth::new(link.name, HOST_LINK)
        .index(FIRST_INDEX + u32::from(link.number))
        .address(balancer_mac(link.number).into())
        .set_info_data(InfoData::Veth(InfoVeth::Peer(host_end)));
    Ok(handle.link().add(pair.build()).execute().await?)
}

async fn bring_up(handle: &Handle, name: &str, addresses: &[Ipv4Addr], families: Families) -> Result<()> {
    let index = if_nametoindex(name).with_context(|| format!("find the interface {name}"))?;
    let add = async |address: IpAddr, length| {
        let request = handle.address().add(index, address, length);
        request.execute().await.with_context(|| format!("add {address}"))
    };
    for &address in addresses {
        add(address.into(), LINK_PREFIX).await?;
        if families == Families::Both {
            add(twin(address).into(), TWIN_PREFIX).await?;
        }
    }
    let up = LinkUnspec::new_with_index(index).up().build();
    handle.link().set(up).execute().await.with_context(|| format!("bring {name} up"))
}

async fn add_default_route(handle: &Handle, gateway: Ipv4Addr, families: Families) -> Result<()> {
    let route = RouteMessageBuilder::<Ipv4Addr>::new().gateway(gateway).build();
    let added = handle.route().add(route).execute().await;
    added.with_context(|| format!("add the default route via {gateway}"))?;
    if families == Families::Both {
        let gateway = twin(gateway);
        let route = RouteMessageBuilder::<Ipv6Addr>::new().gateway(gateway).build();
        let added = handle.route().add(route).execute().await;
        added.with_context(|| format!("add the default route via {gateway}"))?;
    }
    Ok(())
}

/// Interfaces of a namespace that have an XDP program, and how each is attached: `Driver` or `SocketBuffer`.
pub fn xdp_modes(netns: &NetNs) -> Result<BTreeMap<String, String>> {
    let links: Vec<LinkMessage> = netns.block_on(async || {
        let (connection, handle, _) = rtnetlink::new_connection()?;
        tokio::spawn(connection);
        Ok(handle.link().get().execute().try_collect().await?)
    })?;
    let modes = links.into_iter().filter_map(|link| {
        let (mut name, mut mode) = (None, None);
        for attribute in link.attributes {
            if let LinkAttribute::IfName(found) = attribute {
                name = Some(found);
            } else if let LinkAttribute::Xdp(facts) = attribute {
                mode = facts.iter().find_map(attached);
            }
        }
        Some((name?, mode?))
    });
    Ok(modes.collect())
}

fn attached(fact: &LinkXdp) -> Option<String> {
    let LinkXdp::Attached(mode) = fact else { return None };
    (*mode != XdpAttached::None).then(|| format!("{mode:?}"))
}

/// Full checksums, because XDP does not carry the promise of a later one, and receive polling,
/// because a veth without it drops in silence what XDP sends to it. Only on an interface that is up does
/// the kernel tell the other end (the balancer's, up before) that redirects to it are welcome now.
fn offloads(interface: &str) -> Result<()> {
    ethtool::set_tx_checksums(interface, false)?;
    ethtool::set_gro(interface, true)
}

fn settings(forward: bool, families: Families) -> Result<()> {
    let yes = |yes| if yes { "1" } else { "0" };
    let all = [
        ("net/ipv4/ip_forward", yes(forward)),
        ("net/ipv4/conf/all/rp_filter", "0"),
        ("net/ipv4/conf/default/rp_filter", "0"),
        // A gateway on the way must not tell hosts of a shorter one.
        ("net/ipv4/conf/all/send_redirects", "0"),
        ("net/ipv4/conf/default/send_redirects", "0"),
        ("net/ipv4/ip_local_port_range", "10000 65535"),
        ("net/ipv4/tcp_tw_reuse", "1"),
        ("net/core/somaxconn", "16384"),
        ("net/ipv4/tcp_max_syn_backlog", "16384"),
        ("net/ipv6/conf/all/disable_ipv6", yes(families == Families::Ipv4)),
        ("net/ipv6/conf/default/disable_ipv6", yes(families == Families::Ipv4)),
        ("net/ipv6/conf/all/forwarding", yes(forward)),
        ("net/ipv6/conf/default/forwarding", yes(forward)),
        // Addresses work at once, and there are no others than the lab's and the link-local ones, from which
        // the kernel asks for neighbours of what it forwards.
        ("net/ipv6/conf/default/accept_dad", "0"),
        ("net/ipv6/conf/default/addr_gen_mode", "0"),
        ("net/ipv6/conf/default/accept_ra", "0"),
    ];
    for (key, value) in all {
        match fs::write(Path::new("/proc/sys").join(key), value) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && key.starts_with("net/ipv6") => {}
            result => result.with_context(|| format!("set {key} to {value}"))?,
        }
    }
    Ok(())
}

fn wait_until_usable(netns: &NetNs, interface: &str) -> Result<()> {
    netns.run(|| {
        let deadline = Instant::now() + Duration::from_secs(5);
        while !ethtool::is_running(interface)? || has_tentative_addresses(interface)? {
            ensure!(Instant::now() < deadline, "{interface} in {} is not usable", netns.name());
            thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    })
}

/// IPv6 addresses that cannot be bound yet: the kernel looks at them once there is a carrier, in its own time.
fn has_tentative_addresses(interface: &str) -> Result<bool> {
    /// `IFA_F_TENTATIVE` of `linux/if_addr.h`.
    const TENTATIVE: u32 = 0x40;
    let table = match fs::read_to_string("/proc/thread-self/net/if_inet6") {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        table => table?,
    };
    for line in table.lines() {
        // Address, interface index, prefix length, scope, flags, name.
        let fields: Vec<_> = line.split_whitespace().collect();
        let [.., flags, name] = fields[..] else { bail!("if_inet6 has the line {line:?}") };
        if name == interface && u32::from_str_radix(flags, 16)? & TENTATIVE != 0 {
            return Ok(true);
        }
    }
    Ok(false)
}
