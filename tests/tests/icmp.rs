//! Pings of a frontend, and transfers over hops that take less than both ends think.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::fs::{self, File};
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};
use std::os::fd::AsRawFd as _;
use std::time::Duration;

use lb_tests::client::http::{self, Download};
use lb_tests::client::ping::{Answer, ping};
use lb_tests::instance::{Instance, lbctl_under_test};
use lb_tests::lab::{FRONTEND, Lab, NetNs, Topology, twin};
use lb_tests::server::Server;
use nix::net::if_::if_nametoindex;
use rtnetlink::packet_route::link::{InfoData, InfoVeth};
use rtnetlink::packet_route::route::{RouteAttribute, RouteMessage, RouteMetric};
use rtnetlink::{Handle, LinkMessageBuilder, LinkUnspec, LinkVeth, RouteMessageBuilder};

const WEB: SocketAddrV4 = SocketAddrV4::new(FRONTEND, 80);
/// How long nothing must come for it to be silence.
const SILENCE: Duration = Duration::from_millis(500);
const PATIENCE: Duration = Duration::from_secs(5);
/// Nobody listens there.
const CLOSED: u16 = 9;
/// What the hop in the middle takes; all links take 1500.
const NARROW: u32 = 1400;
const BYTES: u64 = 2_000_000;

/// S-ICMP-1, S-ICMP-2.
#[test]
fn a_ping_of_a_frontend_tells_of_its_members() {
    let lab = Lab::dual_stack("icmp-ping", Topology { backends: 1, client_addresses: 1 }).unwrap();
    let member = &lab.backends()[0];
    let server = Server::http(member.netns(), "b1", 8080).unwrap();
    let instance = Instance::start(&lab, &lbctl_under_test().unwrap(), None).unwrap();
    let file = |address: IpAddr, port: u16, rule: &str| {
        let member = match address {
            IpAddr::V4(_) => IpAddr::from(member.address()),
            IpAddr::V6(_) => twin(member.address()).into(),
        };
        let everybody = if address.is_ipv4() { "0.0.0.0/0" } else { "::/0" };
        format!(
            "version: 1\nfrontends: [{{ name: f, address: '{address}' }}]\n\
             pools: [{{ name: p, backends: [{{ name: b1, address: '{member}' }}] }}]\n\
             probes: [{{ name: web, protocol: http, port: {port}, path: /healthz, interval: 200ms, \
             timeout: 200ms, threshold: 1 }}]\n\
             rules: [{{ name: web, frontend: f, protocol: tcp, port: 80, pool: p, backendPort: 8080, \
             access: [{{ allow: '{everybody}' }}]{rule} }}]\n"
        )
    };
    let ping = |to: IpAddr, bytes| ping(lab.client(), to, bytes, PATIENCE).unwrap();

    let address = IpAddr::from(FRONTEND);
    instance.apply(&file(address, 8080, ", probe: web")).unwrap();
    instance.wait_for_members(&["b1"]).unwrap();
    assert_eq!([0, 56, 1472].map(|bytes| ping(address, bytes)), [Some(Answer::Reply); 3]);
    server.set_healthy(false);
    instance.wait_for_members(&[]).unwrap();
    assert_eq!([0, 56, 1472].map(|bytes| ping(address, bytes)), [Some(Answer::Error(3, 1)); 3]);
    server.set_healthy(true);
    instance.wait_for_members(&["b1"]).unwrap();
    assert_eq!(ping(address, 56), Some(Answer::Reply));

    let address = IpAddr::from(twin(FRONTEND));
    instance.apply(&file(address, 8080, "")).unwrap();
    assert_eq!([0, 56, 1452].map(|bytes| ping(address, bytes)), [Some(Answer::Reply); 3]);
    instance.apply(&file(address, CLOSED, ", probe: web")).unwrap();
    instance.wait_for_members(&[]).unwrap();
    assert_eq!([0, 56, 1452].map(|bytes| ping(address, bytes)), [Some(Answer::Error(1, 3)); 3]);
    lab.teardown().unwrap();
}

/// S-ICMP-1.
#[test]
fn a_frontend_without_rules_is_silent() {
    let lab = Lab::new("icmp-silence", Topology { backends: 1, client_addresses: 1 }).unwrap();
    let instance = Instance::start(&lab, &lbctl_under_test().unwrap(), None).unwrap();
    instance.apply(&format!("version: 1\nfrontends: [{{ name: f, address: {FRONTEND} }}]\n")).unwrap();
    assert_eq!(ping(lab.client(), FRONTEND.into(), 56, SILENCE).unwrap(), None);
    let reasons = &instance.status().unwrap()["reasons"];
    assert_eq!(reasons["EchoSilent"]["packets"], 1, "{reasons:#}");
    lab.teardown().unwrap();
}

/// The second backend is a router, the third a host behind it: `10.9.0.11`.
struct Far {
    instance: Instance,
    _servers: Vec<Server>,
    lab: Lab,
}

const FAR: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 11);
const FAR_ROUTER: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 1);
const FAR_NETWORK: (Ipv4Addr, u8) = (Ipv4Addr::new(10, 9, 0, 0), 24);

impl Far {
    /// With one member, which has this address. Packets to the far host are narrowed by the router or, where
    /// `at_the_balancer`, by the balancer itself.
    fn new(name: &str, member: Ipv4Addr, at_the_balancer: bool) -> Self {
        let lab = Lab::new(name, Topology { backends: 3, client_addresses: 1 }).unwrap();
        let [near, router, far] = lab.backends() else { panic!("three backends") };
        let servers = [near, far].map(|host| Server::http(host.netns(), host.name(), 8080).unwrap());
        let home = File::open(far.netns().path()).unwrap();
        netlink(router.netns(), async |handle| {
            let end = LinkMessageBuilder::<LinkUnspec>::new().name("near").setns_by_fd(home.as_raw_fd());
            let pair =
                LinkVeth::new("far", "near").set_info_data(InfoData::Veth(InfoVeth::Peer(end.build())));
            handle.link().add(pair.build()).execute().await?;
            bring_up(&handle, "far", FAR_ROUTER).await
        });
        router.netns().run(|| Ok(fs::write("/proc/sys/net/ipv4/ip_forward", "1")?)).unwrap();
        netlink(far.netns(), async |handle| {
            bring_up(&handle, "near", FAR).await?;
            let old = RouteMessageBuilder::<Ipv4Addr>::new().gateway([10, 0, 3, 1].into()).build();
            handle.route().del(old).execute().await?;
            let new = RouteMessageBuilder::<Ipv4Addr>::new().gateway(FAR_ROUTER).build();
            Ok(handle.route().add(new).execute().await?)
        });
        let to_router = RouteMessageBuilder::<Ipv4Addr>::new()
            .destination_prefix(FAR_NETWORK.0, FAR_NETWORK.1)
            .gateway(router.address())
            .build();
        netlink(lab.balancer(), async |handle| {
            let route = if at_the_balancer { narrow(to_router) } else { to_router };
            Ok(handle.route().add(route).execute().await?)
        });
        if !at_the_balancer {
            netlink(router.netns(), async |handle| {
                let link = if_nametoindex("far")?;
                let to_far = RouteMessageBuilder::<Ipv4Addr>::new().destination_prefix(FAR, 32);
                Ok(handle.route().add(narrow(to_far.output_interface(link).build())).execute().await?)
            });
        }
        let instance = Instance::start(&lab, &lbctl_under_test().unwrap(), None).unwrap();
        instance
            .apply(&format!(
                "version: 1\ninterfaces: [{{ name: client }}, {{ name: b1 }}, {{ name: b2 }}]\n\
                 frontends: [{{ name: f, address: {FRONTEND} }}]\n\
                 pools: [{{ name: p, backends: [{{ name: b, address: {member} }}] }}]\n\
                 rules: [{{ name: web, frontend: f, protocol: tcp, port: 80, pool: p, backendPort: 8080, \
                 access: [{{ allow: 0.0.0.0/0 }}] }}]\n"
            ))
            .unwrap();
        Self { instance, _servers: servers.into(), lab }
    }

    fn packets(&self, reason: &str) -> u64 {
        self.instance.status().unwrap()["reasons"][reason]["packets"].as_u64().unwrap_or(0)
    }

    /// Sends to the far member: `reason` counts what told the client of the narrow hop.
    fn upload(self, reason: &str) {
        let sent = http::upload(self.lab.client(), WEB, BYTES);
        assert!(sent.is_ok(), "{sent:?}\n{:#}", self.instance.status().unwrap());
        assert!(self.packets(reason) > 0, "{:#}", self.instance.status().unwrap());
        self.lab.teardown().unwrap();
    }

    /// The far client fetches: `reason` counts what told the member of the narrow hop.
    fn download(self, reason: &str) {
        let far = self.lab.backends()[2].netns();
        Download::start(far, WEB, BYTES, None).unwrap().finish().unwrap();
        assert!(self.packets(reason) > 0, "{:#}", self.instance.status().unwrap());
        self.lab.teardown().unwrap();
    }
}

/// Locked, as only then the kernel goes by it when it forwards.
fn narrow(mut route: RouteMessage) -> RouteMessage {
    const RTAX_MTU: u32 = 2;
    let metrics = vec![RouteMetric::Mtu(NARROW), RouteMetric::Lock(1 << RTAX_MTU)];
    route.attributes.push(RouteAttribute::Metrics(metrics));
    route
}

async fn bring_up(handle: &Handle, name: &str, address: Ipv4Addr) -> anyhow::Result<()> {
    let index = if_nametoindex(name)?;
    handle.address().add(index, address.into(), FAR_NETWORK.1).execute().await?;
    let up = LinkUnspec::new_with_index(index).up().build();
    Ok(handle.link().set(up).execute().await?)
}

fn netlink(netns: &NetNs, work: impl AsyncFnOnce(Handle) -> anyhow::Result<()> + Send) {
    let connected = netns.block_on(|| async {
        let (connection, handle, _) = rtnetlink::new_connection()?;
        tokio::spawn(connection);
        work(handle).await
    });
    connected.unwrap();
}

/// S-ICMP-5: a router before the member says so, and the client hears it of its connection to the frontend.
#[test]
fn an_upload_passes_a_narrow_hop_before_the_member() {
    Far::new("icmp-up-hop", FAR, false).upload("ErrorToClient");
}

/// S-ICMP-5: a router before the client says so, and the member hears it of its own connection.
#[test]
fn a_download_passes_a_narrow_hop_before_the_client() {
    let member = Ipv4Addr::new(10, 0, 1, 11);
    Far::new("icmp-down-hop", member, false).download("ErrorToMember");
}

/// The balancer's own next link is the narrow one.
#[test]
fn an_upload_passes_a_narrow_link_of_the_balancer() {
    Far::new("icmp-up-own", FAR, true).upload("TooBig");
}

#[test]
fn a_download_passes_a_narrow_link_of_the_balancer() {
    let member = Ipv4Addr::new(10, 0, 1, 11);
    Far::new("icmp-down-own", member, true).download("TooBig");
}
