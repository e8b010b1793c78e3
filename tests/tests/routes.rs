//! Replies to clients in other networks go by the compiled routes, which follow the kernel's.
//!
//! A member's reply is sent as a frame and captured wherever it may arrive: the host and the hardware address show
//! which route it took.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use aya::Pod;
use aya::maps::{Array, Map, MapData};
use lb_common::abi::{Root, RouteTable, map};
use lb_tests::frames::{self, ACK, Capture, Link, Packet, Sender};
use lb_tests::instance::{Instance, lbctl_under_test};
use lb_tests::lab::{CLIENT, FRONTEND, HOST_LINK, Lab, NetNs, SPOOFED, Topology};
use nix::net::if_::if_nametoindex;
use rtnetlink::packet_route::route::{RouteMessage, RouteScope, RouteType};
use rtnetlink::packet_route::rule::RuleAction;
use rtnetlink::{Handle, LinkUnspec, RouteMessageBuilder, RuleAddRequest};

const WEB: SocketAddrV4 = SocketAddrV4::new(FRONTEND, 80);
const MEMBER_PORT: u16 = 8080;
/// No host of the lab has it, and only the default route leads there.
const FAR: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(198, 18, 7, 9), 40_000);
const DEFAULT: (Ipv4Addr, u8) = (Ipv4Addr::UNSPECIFIED, 0);
/// Routes follow the kernel's announcements at once; a gateway is resolved within a second or so.
const PATIENCE: Duration = Duration::from_secs(10);

/// The host that a reply arrives at, and the hardware address that it is for.
type Arrival = (String, [u8; 6]);

struct World {
    instance: Instance,
    lab: Lab,
}

impl World {
    /// The first backend is the member; its replies to [`FAR`] go by the compiled default route.
    fn new(name: &str) -> Self {
        let lab = Lab::new(name, Topology::default()).unwrap();
        let instance = Instance::start(&lab, &lbctl_under_test().unwrap(), None).unwrap();
        let member = lab.backends()[0].address();
        let text = format!(
            "version: 1\nfrontends: [{{ name: f, address: {FRONTEND} }}]\n\
             pools: [{{ name: p, backends: [{{ name: b1, address: {member} }}] }}]\n\
             rules: [{{ name: web, frontend: f, protocol: tcp, port: 80, pool: p, backendPort: {MEMBER_PORT}, \
             access: [{{ allow: 0.0.0.0/0 }}] }}]\n"
        );
        instance.apply(&text).unwrap();
        let world = Self { instance, lab };
        world.expect("client", world.lab.client_mac());
        world
    }

    /// Sends a segment of an open connection, from the member to a client.
    fn reply(&self, client: SocketAddrV4) {
        let member = &self.lab.backends()[0];
        let link = Link { from: member.mac(), to: member.gateway_mac() };
        let sender = Sender::new(member.netns(), HOST_LINK, link).unwrap();
        sender.send(&frames::segment(member.socket(MEMBER_PORT), client, ACK, 7, 9)).unwrap();
    }

    /// Where a reply to [`FAR`] arrives; nowhere if it has not within half a second.
    fn arrival(&self) -> Option<Arrival> {
        let backends = self.lab.backends().iter().map(|backend| (backend.name(), backend.netns()));
        let hosts = backends.chain([("client", self.lab.client())]);
        let captures: Vec<_> =
            hosts.map(|(name, netns)| (name, Capture::start(netns, HOST_LINK, is_reply).unwrap())).collect();
        self.reply(FAR);
        let deadline = Instant::now() + Duration::from_millis(500);
        while captures.iter().all(|(_, capture)| capture.is_empty()) && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(1));
        }
        let arrivals = captures.into_iter().flat_map(|(name, capture)| {
            let frames = capture.finish(0, Duration::ZERO).unwrap();
            frames.into_iter().map(move |frame| (name.to_owned(), frame.frame[..6].try_into().unwrap()))
        });
        let arrivals: Vec<Arrival> = arrivals.collect();
        assert!(arrivals.len() <= 1, "one reply, many frames: {arrivals:x?}");
        arrivals.into_iter().next()
    }

    fn wait_for_arrival(&self, name: &str, mac: [u8; 6]) {
        let (expected, deadline) = (Some((name.to_owned(), mac)), Instant::now() + PATIENCE);
        loop {
            let seen = self.arrival();
            if seen == expected {
                return;
            }
            let log = || self.instance.log();
            assert!(Instant::now() < deadline, "arrives at {seen:x?}, not at {expected:x?}\n{}", log());
        }
    }

    /// The gateway that the compiled routes have for [`FAR`].
    fn compiled(&self) -> Option<[u8; 6]> {
        let root: Root = self.pinned(map::ROOT, 0);
        let table: RouteTable = self.pinned(map::ROUTES, root.routes % 2);
        let destination = u32::from_ne_bytes(FAR.ip().octets());
        let prefixes = table.prefixes.iter().take(table.used as usize);
        let mut holding = prefixes.filter(|prefix| destination & prefix.mask.word() == prefix.network.word());
        holding.next().filter(|prefix| prefix.ifindex != 0).map(|prefix| prefix.destination)
    }

    fn pinned<T: Copy + 'static>(&self, name: &str, index: u32) -> T {
        let map = MapData::from_pin(self.lab.pin_dir().join("maps").join(name)).unwrap();
        let array = Array::<_, Wire<T>>::try_from(Map::from_map_data(map).unwrap()).unwrap();
        array.get(&index, 0).unwrap().0
    }

    fn wait_for_compiled(&self, expected: Option<[u8; 6]>) {
        let deadline = Instant::now() + PATIENCE;
        while self.compiled() != expected {
            let (seen, log) = (self.compiled(), || self.instance.log());
            assert!(Instant::now() < deadline, "{seen:x?} is compiled, not {expected:x?}\n{}", log());
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Replies go by this gateway of the compiled routes.
    fn expect(&self, name: &str, mac: [u8; 6]) {
        self.wait_for_compiled(Some(mac));
        self.wait_for_arrival(name, mac);
    }

    /// Nothing is compiled for [`FAR`], and the kernel has no way: replies are dropped.
    fn expect_no_route(&self) {
        self.wait_for_compiled(None);
        let before = self.no_route();
        assert_eq!(self.arrival(), None);
        assert_eq!(self.no_route(), before + 1);
    }

    fn no_route(&self) -> u64 {
        self.instance.status().unwrap()["reasons"]["NoRoute"]["packets"].as_u64().unwrap_or(0)
    }

    fn add(&self, route: RouteMessage) {
        netlink(self.lab.balancer(), async |handle| {
            Ok(handle.route().add(route).replace().execute().await?)
        });
    }

    fn remove(&self, route: RouteMessage) {
        netlink(self.lab.balancer(), async |handle| Ok(handle.route().del(route).execute().await?));
    }
}

/// A map's value.
#[derive(Clone, Copy)]
#[repr(transparent)]
struct Wire<T>(T);

// SAFETY: used with `Root` and `RouteTable`, which have no padding and are valid for any bytes.
unsafe impl<T: Copy + 'static> Pod for Wire<T> {}

fn is_reply(frame: &[u8]) -> bool {
    Packet::from_frame(frame).is_ok_and(|packet| packet.source == WEB && packet.destination == FAR)
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

fn via(gateway: Ipv4Addr) -> RouteMessageBuilder<Ipv4Addr> {
    RouteMessageBuilder::<Ipv4Addr>::new().gateway(gateway)
}

fn to((network, length): (Ipv4Addr, u8), gateway: Ipv4Addr) -> RouteMessage {
    via(gateway).destination_prefix(network, length).build()
}

#[test]
fn the_default_gateway_gets_another_hardware_address() {
    let world = World::new("rt-mac");
    let arp_notify = Path::new("/proc/sys/net/ipv4/conf").join(HOST_LINK).join("arp_notify");
    world.lab.client().run(|| Ok(std::fs::write(arp_notify, "1")?)).unwrap();
    for last in 7..10 {
        let mac = [2, 0, 0, 0, 0, last];
        netlink(world.lab.client(), async |handle| {
            let link = LinkUnspec::new_with_index(if_nametoindex(HOST_LINK)?).address(mac.to_vec());
            Ok(handle.link().set(link.build()).execute().await?)
        });
        world.expect("client", mac);
    }
}

#[test]
fn the_default_route_is_replaced() {
    let world = World::new("rt-replaced");
    for round in 0..3 {
        let gateway = &world.lab.backends()[1 + round % 2];
        world.add(to(DEFAULT, gateway.address()));
        world.expect(gateway.name(), gateway.mac());
    }
    world.add(to(DEFAULT, CLIENT));
    world.expect("client", world.lab.client_mac());
    world.remove(to(DEFAULT, CLIENT));
    world.expect_no_route();
}

#[test]
fn a_more_specific_route_comes_and_goes() {
    let world = World::new("rt-specific");
    let [_, wide, narrow] = world.lab.backends() else { panic!("three backends") };
    let network = (Ipv4Addr::new(198, 18, 7, 0), 24);
    world.add(to(network, narrow.address()));
    world.expect("b3", narrow.mac());
    // A wider one that comes later changes nothing.
    world.add(to(SPOOFED, wide.address()));
    thread::sleep(Duration::from_millis(500));
    world.expect("b3", narrow.mac());
    world.remove(to(network, narrow.address()));
    world.expect("b2", wide.mac());
    world.remove(to(SPOOFED, wide.address()));
    world.expect("client", world.lab.client_mac());
}

/// For packets from the member's link: what `ip route get` says of an address does not show it.
fn rule_for_the_member(handle: &Handle) -> RuleAddRequest<Ipv4Addr> {
    handle.rule().add().input_interface("b1").table_id(100).action(RuleAction::ToTable).v4()
}

#[test]
fn with_a_policy_rule_the_kernel_is_asked() {
    let world = World::new("rt-policy");
    let other = &world.lab.backends()[1];
    world.add(via(other.address()).table_id(100).build());
    // A table that no rule names says nothing.
    thread::sleep(Duration::from_millis(500));
    world.expect("client", world.lab.client_mac());
    netlink(world.lab.balancer(), async |handle| Ok(rule_for_the_member(&handle).execute().await?));
    world.wait_for_compiled(None);
    world.wait_for_arrival("b2", other.mac());
    netlink(world.lab.balancer(), async |handle| {
        let rule = rule_for_the_member(&handle).message_mut().clone();
        Ok(handle.rule().del(rule).execute().await?)
    });
    world.expect("client", world.lab.client_mac());
}

#[test]
fn what_has_become_the_hosts_own_is_not_sent_on() {
    let world = World::new("rt-local");
    let index = world.lab.balancer().run(|| Ok(if_nametoindex("lo")?)).unwrap();
    for table in [libc::RT_TABLE_MAIN, libc::RT_TABLE_LOCAL] {
        let route = RouteMessageBuilder::<Ipv4Addr>::new().destination_prefix(SPOOFED.0, SPOOFED.1);
        let route = route.kind(RouteType::Local).scope(RouteScope::Host).output_interface(index);
        let route = route.table_id(table.into()).build();
        world.add(route.clone());
        world.expect_no_route();
        world.remove(route);
        world.expect("client", world.lab.client_mac());
    }
}

#[test]
fn replies_from_an_interface_that_does_not_forward_find_no_route() {
    let world = World::new("rt-forwarding");
    let forwarding = "/proc/sys/net/ipv4/conf/b1/forwarding";
    let set = |value: &str| world.lab.balancer().run(|| Ok(std::fs::write(forwarding, value)?)).unwrap();
    set("0");
    world.expect_no_route();
    set("1");
    world.expect("client", world.lab.client_mac());
}

/// Which shows, too, that the kernel is not asked.
#[test]
fn without_a_daemon_replies_go_by_the_last_routes() {
    let world = World::new("rt-killed");
    world.instance.kill().unwrap();
    world.remove(to(DEFAULT, CLIENT));
    assert_eq!(world.arrival(), Some(("client".to_owned(), world.lab.client_mac())));
    let other = &world.lab.backends()[1];
    world.add(to(DEFAULT, other.address()));
    world.instance.restart(&world.lab).unwrap();
    world.expect("b2", other.mac());
}

/// Each client is its own neighbour there.
#[test]
fn the_kernel_is_asked_for_clients_on_the_balancers_links() {
    let world = World::new("rt-on-link");
    let of_the_frontend = |frame: &[u8]| Packet::from_frame(frame).is_ok_and(|packet| packet.source == WEB);
    let capture = Capture::start(world.lab.client(), HOST_LINK, of_the_frontend).unwrap();
    let client = SocketAddrV4::new(CLIENT, 40_000);
    world.reply(client);
    let frames = capture.finish(1, PATIENCE).unwrap();
    assert_eq!(frames.len(), 1);
    assert_eq!(frames[0].packet().unwrap().destination, client);
    assert_eq!(frames[0].frame[..6], world.lab.client_mac());
}
