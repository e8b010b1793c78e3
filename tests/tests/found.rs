//! Frontends in a network that the balancer is connected to: hosts of that network find them by ARP and
//! neighbour discovery.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use futures_util::TryStreamExt as _;
use lb_tests::client::talk::Talk;
use lb_tests::instance::{Instance, lbctl_under_test};
use lb_tests::lab::{BALANCER, CLIENT, Lab, NetNs, Topology, twin};
use lb_tests::server::Server;
use rtnetlink::Handle;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::neighbour::NeighbourAttribute;

const PATIENCE: Duration = Duration::from_secs(10);
/// Shorter than a SYN's first repetition.
const SILENCE: Duration = Duration::from_millis(700);
/// In the network of the client's link.
const NEAR: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 100);

fn families(address: Ipv4Addr) -> [IpAddr; 2] {
    [address.into(), twin(address).into()]
}

/// Backends that serve lines, and a daemon that nothing has been applied to yet.
struct World {
    instance: Instance,
    _servers: Vec<Server>,
    lab: Lab,
}

impl World {
    fn new(name: &str) -> Self {
        let lab = Lab::dual_stack(name, Topology { backends: 1, client_addresses: 1 }).unwrap();
        // The way to the frontend must not be by the balancer as a router.
        netlink(lab.client(), async |handle| {
            for family in [AddressFamily::Inet, AddressFamily::Inet6] {
                let mut all = rtnetlink::packet_route::route::RouteMessage::default();
                all.header.address_family = family;
                let routes: Vec<_> = handle.route().get(all).execute().try_collect().await?;
                for route in routes.into_iter().filter(|route| {
                    route.header.destination_prefix_length == 0
                        && route.header.table == libc::RT_TABLE_MAIN
                        && route.header.address_family == family
                }) {
                    handle.route().del(route).execute().await?;
                }
            }
            Ok(())
        });
        let servers = lab.backends().iter().map(|b| Server::echo(b.netns(), b.name(), 8080).unwrap());
        let servers = servers.collect();
        let instance = Instance::start(&lab, &lbctl_under_test().unwrap(), None).unwrap();
        Self { instance, _servers: servers, lab }
    }

    /// A frontend in each family with further keys, and rules for it or none.
    fn yaml(&self, address: Ipv4Addr, keys: &str, rules: bool) -> String {
        let mut text = "version: 1\n".to_owned();
        let mut put = |title: &str, line: &dyn Fn(&str, usize) -> String| {
            let lines = ["v4", "v6"].iter().zip(0..).map(|(name, family)| line(name, family));
            let _ = writeln!(text, "{title}: [{}]", lines.collect::<Vec<_>>().join(", "));
        };
        put("frontends", &|name, family| {
            format!("{{ name: {name}, address: \"{}\"{keys} }}", families(address)[family])
        });
        put("pools", &|name, family| {
            let member = families(self.lab.backends()[0].address())[family];
            format!("{{ name: {name}, backends: [{{ name: b1, address: \"{member}\" }}] }}")
        });
        if rules {
            put("rules", &|name, family| {
                let everybody = ["0.0.0.0/0", "::/0"][family];
                format!(
                    "{{ name: {name}, frontend: {name}, protocol: tcp, port: 80, pool: {name}, \
                     backendPort: 8080, access: [{{ allow: \"{everybody}\" }}] }}"
                )
            });
        }
        text
    }

    fn apply(&self, keys: &str, rules: bool) {
        self.instance.apply(&self.yaml(NEAR, keys, rules)).unwrap();
    }

    fn asks(&self, frontend: IpAddr, patience: Duration) -> anyhow::Result<String> {
        let client = families(CLIENT)[usize::from(frontend.is_ipv6())];
        let mut talk = Talk::open(self.lab.client(), (client, 0), (frontend, 80), patience)?;
        talk.ask("who", patience)
    }

    fn assert_nobody_answers(&self) {
        self.forget_neighbours();
        for frontend in families(NEAR) {
            self.asks(frontend, SILENCE).unwrap_err();
            assert_eq!(self.known(frontend), None, "{frontend}");
        }
    }

    fn count(&self, reason: &str) -> u64 {
        self.instance.status().unwrap()["reasons"][reason]["packets"].as_u64().unwrap_or(0)
    }

    /// The hardware address that the client knows of another host; none if it has asked in vain.
    fn known(&self, address: IpAddr) -> Option<[u8; 6]> {
        let destination = NeighbourAttribute::Destination(address.into());
        let mut found = None;
        netlink(self.lab.client(), async |handle| {
            let all: Vec<_> = handle.neighbours().get().execute().try_collect().await?;
            let entry = all.into_iter().find(|entry| entry.attributes.contains(&destination));
            found = entry.and_then(|entry| entry.attributes.iter().find_map(hardware));
            Ok(())
        });
        found
    }

    fn forget_neighbours(&self) {
        netlink(self.lab.client(), async |handle| {
            let all: Vec<_> = handle.neighbours().get().execute().try_collect().await?;
            for entry in all {
                // One may be gone by itself, and those of groups stay.
                let _ = handle.neighbours().del(entry).execute().await;
            }
            Ok(())
        });
    }
}

fn hardware(attribute: &NeighbourAttribute) -> Option<[u8; 6]> {
    let NeighbourAttribute::LinkLayerAddress(bytes) = attribute else { return None };
    bytes.as_slice().try_into().ok()
}

/// Does something to the links, addresses and neighbours of a namespace.
fn netlink(netns: &NetNs, work: impl AsyncFnOnce(Handle) -> anyhow::Result<()> + Send) {
    let done = netns.block_on(async || {
        let (connection, handle, _) = rtnetlink::new_connection()?;
        tokio::spawn(connection);
        work(handle).await
    });
    done.unwrap();
}

#[test]
fn a_client_on_the_frontends_own_link_finds_it() {
    let world = World::new("found");
    world.apply("", true);
    for frontend in families(NEAR) {
        assert_eq!(world.asks(frontend, PATIENCE).unwrap(), "b1", "{frontend}");
        assert_eq!(world.known(frontend), Some(world.lab.gateway_mac()), "{frontend}");
    }
    assert!(world.count("ArpReply") > 0 && world.count("NeighbourAdvertised") > 0);
    // The data plane answers by itself.
    world.instance.kill().unwrap();
    world.forget_neighbours();
    for frontend in families(NEAR) {
        assert_eq!(world.asks(frontend, PATIENCE).unwrap(), "b1", "{frontend} without a daemon");
    }
}

#[test]
fn a_frontend_without_rules_is_not_answered_for_and_neither_is_one_that_is_routed() {
    let world = World::new("found-none");
    for (keys, rules) in [("", false), (", announce: none", true)] {
        world.apply(keys, rules);
        world.assert_nobody_answers();
        world.apply("", true);
        for frontend in families(NEAR) {
            assert_eq!(world.asks(frontend, PATIENCE).unwrap(), "b1", "{frontend}");
        }
    }
    // Its rules have gone.
    world.apply("", false);
    world.assert_nobody_answers();
}

#[test]
fn a_frontend_that_is_the_balancers_own_address_works_and_the_kernel_answers_for_it() {
    let world = World::new("found-own");
    world.instance.apply(&world.yaml(BALANCER, "", true)).unwrap();
    for frontend in families(BALANCER) {
        world.forget_neighbours();
        assert_eq!(world.asks(frontend, PATIENCE).unwrap(), "b1", "{frontend}");
        assert_eq!(world.known(frontend), Some(world.lab.gateway_mac()), "{frontend}");
    }
    assert_eq!((world.count("ArpReply"), world.count("NeighbourAdvertised")), (0, 0));
}
