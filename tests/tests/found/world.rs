//! A client and a balancer on one link, and what the client can see and do there.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use futures_util::TryStreamExt as _;
use lb_tests::client::talk::Talk;
use lb_tests::frames::Capture;
use lb_tests::instance::{Instance, lbctl_under_test};
use lb_tests::lab::{CLIENT, CLIENT_LINK, HOST_LINK, Lab, NetNs, Topology, twin};
use lb_tests::server::Server;
use nix::net::if_::if_nametoindex;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::neighbour::{NeighbourAttribute, NeighbourState};
use rtnetlink::{Handle, LinkUnspec};

pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
/// Shorter than a SYN's first repetition.
pub(crate) const SILENCE: Duration = Duration::from_millis(700);
/// In the network of the client's link.
pub(crate) const NEAR: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 100);
/// Some other host's hardware address.
pub(crate) const OTHER: [u8; 6] = [2, 0, 0, 0, 0, 9];

/// An address of the lab, in each family.
pub(crate) fn families(address: Ipv4Addr) -> [IpAddr; 2] {
    [address.into(), twin(address).into()]
}

/// Backends that serve lines, and a daemon that nothing has been applied to yet.
pub(crate) struct World {
    pub(crate) instance: Instance,
    _servers: Vec<Server>,
    pub(crate) lab: Lab,
}

impl World {
    pub(crate) fn new(name: &str) -> Self {
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
    pub(crate) fn yaml(&self, address: Ipv4Addr, keys: &str, rules: bool) -> String {
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

    pub(crate) fn apply(&self, keys: &str, rules: bool) {
        self.instance.apply(&self.yaml(NEAR, keys, rules)).unwrap();
    }

    pub(crate) fn asks(&self, frontend: IpAddr, patience: Duration) -> anyhow::Result<String> {
        let client = families(CLIENT)[usize::from(frontend.is_ipv6())];
        let mut talk = Talk::open(self.lab.client(), (client, 0), (frontend, 80), patience)?;
        talk.ask("who", patience)
    }

    pub(crate) fn assert_nobody_answers(&self) {
        self.forget_neighbours();
        for frontend in families(NEAR) {
            self.asks(frontend, SILENCE).unwrap_err();
            assert_eq!(self.known(frontend), None, "{frontend}");
        }
    }

    pub(crate) fn count(&self, reason: &str) -> u64 {
        self.instance.status().unwrap()["reasons"][reason]["packets"].as_u64().unwrap_or(0)
    }

    /// The hardware address that the client knows of another host; none if it has asked in vain.
    pub(crate) fn known(&self, address: IpAddr) -> Option<[u8; 6]> {
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

    /// What status says of the frontends' only link.
    pub(crate) fn on_link(status: &serde_json::Value) -> Vec<(String, Option<String>)> {
        let frontends = status["frontends"].as_array().unwrap();
        let text = |value: &serde_json::Value| value.as_str().map(ToOwned::to_owned);
        let links = frontends.iter().map(|frontend| &frontend["links"][0]);
        links.map(|link| (text(&link["state"]).unwrap_or_default(), text(&link["other"]))).collect()
    }

    pub(crate) fn wait_until(&self, state: &str, patience: Duration) {
        let all = |status: &serde_json::Value| Self::on_link(status).iter().all(|(it, _)| it == state);
        self.instance.wait_for(&format!("all {state}"), patience, all).unwrap();
    }

    /// What the balancer says of its own accord about the frontends, from now on.
    pub(crate) fn announcements(&self) -> [Capture; 2] {
        let us = self.lab.gateway_mac();
        let arp = move |frame: &[u8]| {
            let (sender, target) = (&frame[28..32], &frame[38..42]);
            frame[6..12] == us && sender == NEAR.octets() && target == NEAR.octets()
        };
        let neighbour = move |frame: &[u8]| {
            let unasked = frame.len() >= 86 && frame[54] == 136 && frame[58] == 0x20;
            unasked && frame[6..12] == us && frame[62..78] == twin(NEAR).octets()
        };
        let client = self.lab.client();
        [
            Capture::of(0x0806, client, HOST_LINK, arp).unwrap(),
            Capture::of(0x86dd, client, HOST_LINK, neighbour).unwrap(),
        ]
    }

    /// The client believes that the frontends are elsewhere.
    pub(crate) fn mislead(&self) {
        netlink(self.lab.client(), async |handle| {
            let link = if_nametoindex(HOST_LINK)?;
            for frontend in families(NEAR) {
                let wrong = handle.neighbours().add(link, frontend).link_layer_address(&OTHER);
                wrong.state(NeighbourState::Stale).replace().execute().await?;
            }
            Ok(())
        });
    }

    /// The client has the frontends' addresses itself, or has them no more.
    pub(crate) fn give_to_client(&self, has: bool) {
        netlink(self.lab.client(), async |handle| {
            let link = if_nametoindex(HOST_LINK)?;
            for frontend in families(NEAR) {
                let length = if frontend.is_ipv4() { 32 } else { 128 };
                let add = handle.address().add(link, frontend, length);
                if has {
                    add.execute().await?;
                } else {
                    let mut add = add;
                    handle.address().del(add.message_mut().clone()).execute().await?;
                }
            }
            Ok(())
        });
    }

    /// Whether the balancer's link is in the group in which the IPv6 frontend is asked for.
    pub(crate) fn is_in_group(&self) -> bool {
        let table = self.lab.balancer().run(|| Ok(std::fs::read_to_string("/proc/thread-self/net/igmp6")?));
        let group = "ff0200000000000000000001ff336464";
        table.unwrap().lines().any(|line| line.contains(CLIENT_LINK) && line.contains(group))
    }

    pub(crate) fn set_link(&self, up: bool) {
        netlink(self.lab.balancer(), async |handle| {
            let link = LinkUnspec::new_with_index(if_nametoindex(CLIENT_LINK)?);
            let link = if up { link.up() } else { link.down() };
            Ok(handle.link().set(link.build()).execute().await?)
        });
    }

    pub(crate) fn forget_neighbours(&self) {
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
