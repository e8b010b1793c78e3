//! Frontends in a network that the balancer is connected to: hosts of that network find them by ARP and
//! neighbour discovery.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::time::{Duration, Instant};

use futures_util::TryStreamExt as _;
use lb_common::testkit::frame;
use lb_tests::client::talk::Talk;
use lb_tests::frames::{Capture, Sender};
use lb_tests::instance::{Instance, ends, lbctl_status, lbctl_under_test};
use lb_tests::lab::{BALANCER, CLIENT, CLIENT_LINK, HOST_LINK, Lab, NetNs, Topology, twin};
use lb_tests::server::Server;
use nix::net::if_::if_nametoindex;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::neighbour::{NeighbourAttribute, NeighbourState};
use rtnetlink::{Handle, LinkUnspec};

const PATIENCE: Duration = Duration::from_secs(10);
/// Shorter than a SYN's first repetition.
const SILENCE: Duration = Duration::from_millis(700);
/// In the network of the client's link.
const NEAR: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 100);

fn families(address: Ipv4Addr) -> [IpAddr; 2] {
    [address.into(), twin(address).into()]
}

/// Some other host's hardware address.
const OTHER: [u8; 6] = [2, 0, 0, 0, 0, 9];

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

    /// What status says of the frontends' only link.
    fn on_link(status: &serde_json::Value) -> Vec<(String, Option<String>)> {
        let frontends = status["frontends"].as_array().unwrap();
        let text = |value: &serde_json::Value| value.as_str().map(ToOwned::to_owned);
        let links = frontends.iter().map(|frontend| &frontend["links"][0]);
        links.map(|link| (text(&link["state"]).unwrap_or_default(), text(&link["other"]))).collect()
    }

    fn wait_until(&self, state: &str, patience: Duration) {
        let all = |status: &serde_json::Value| Self::on_link(status).iter().all(|(it, _)| it == state);
        self.instance.wait_for(&format!("all {state}"), patience, all).unwrap();
    }

    /// What the balancer says of its own accord about the frontends, from now on.
    fn announcements(&self) -> [Capture; 2] {
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
    fn mislead(&self) {
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
    fn give_to_client(&self, has: bool) {
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
    fn is_in_group(&self) -> bool {
        let table = self.lab.balancer().run(|| Ok(std::fs::read_to_string("/proc/thread-self/net/igmp6")?));
        let group = "ff0200000000000000000001ff336464";
        table.unwrap().lines().any(|line| line.contains(CLIENT_LINK) && line.contains(group))
    }

    fn set_link(&self, up: bool) {
        netlink(self.lab.balancer(), async |handle| {
            let link = LinkUnspec::new_with_index(if_nametoindex(CLIENT_LINK)?);
            let link = if up { link.up() } else { link.down() };
            Ok(handle.link().set(link.build()).execute().await?)
        });
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

/// At least two of each family, after what `happens`.
fn assert_announced(world: &World, what: &str, happens: impl FnOnce()) {
    world.mislead();
    let captures = world.announcements();
    happens();
    for capture in captures {
        let frames = capture.finish(2, PATIENCE).unwrap();
        assert!(frames.len() >= 2, "{what}: {} announcements", frames.len());
    }
    for frontend in families(NEAR) {
        assert_eq!(world.known(frontend), Some(world.lab.gateway_mac()), "{what}: {frontend}");
    }
}

#[test]
fn frontends_are_announced_at_start_at_take_over_and_when_the_link_comes_up() {
    let world = World::new("found-told");
    assert_announced(&world, "the first apply", || world.apply("", true));
    assert!(world.is_in_group());
    assert_announced(&world, "take-over", || {
        world.instance.kill().unwrap();
        assert!(world.is_in_group(), "without a daemon");
        world.instance.restart(&world.lab).unwrap();
    });
    // As whoever configures a host does: the link has its IPv6 address again when it comes up.
    let keep = Path::new("/proc/sys/net/ipv6/conf").join(CLIENT_LINK).join("keep_addr_on_down");
    world.lab.balancer().run(|| Ok(std::fs::write(keep, "1")?)).unwrap();
    world.set_link(false);
    world.wait_until("down", PATIENCE);
    assert_announced(&world, "link up", || world.set_link(true));
    world.wait_until("announced", PATIENCE);
    assert!(world.is_in_group());
    for frontend in families(NEAR) {
        assert_eq!(world.asks(frontend, PATIENCE).unwrap(), "b1", "{frontend}");
    }
    world.apply("", false);
    let deadline = Instant::now() + PATIENCE;
    while world.is_in_group() {
        assert!(Instant::now() < deadline, "still in the group of a frontend that is not answered for");
        std::thread::sleep(Duration::from_millis(20));
    }
    // Nothing is left either when all of it is removed.
    world.apply("", true);
    assert!(world.is_in_group());
    world.instance.kill().unwrap();
    let mut detach = world.lab.balancer().command(world.instance.lbctl());
    detach.arg("--state-dir").arg(world.lab.dir().join("state")).arg("--pin-dir").arg(world.lab.pin_dir());
    detach.arg("detach");
    let (code, said) = ends(&world.lab, detach, PATIENCE).unwrap();
    assert_eq!(code, Some(0), "{said}");
    assert!(!world.is_in_group());
}

#[test]
fn an_address_that_another_host_has_is_told_and_taken_up_when_it_is_gone() {
    let world = World::new("found-taken");
    world.give_to_client(true);
    let file = world.lab.dir().join("taken.yaml");
    std::fs::write(&file, world.yaml(NEAR, "", true)).unwrap();
    let output = world.instance.client().args(["apply", "-f"]).arg(&file).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    for frontend in families(NEAR) {
        let words = format!("{frontend} is in use by 02:00:00:00:00:02 on client, so it is not answered for");
        assert!(said.contains(&words), "{said}");
        assert!(world.instance.log().contains(&words), "{}", world.instance.log());
    }
    let status = world.instance.status().unwrap();
    let taken = ("taken".to_owned(), Some("02:00:00:00:00:02".to_owned()));
    assert_eq!(World::on_link(&status), [taken.clone(), taken]);
    assert_eq!(status["warnings"].as_array().unwrap().len(), 2, "{status:#}");
    assert!(!world.is_in_group());
    // Nobody is told, and who asks is not answered.
    for capture in world.announcements() {
        assert_eq!(capture.finish(1, SILENCE).unwrap().len(), 0);
    }
    let question = frame::arp(1, (world.lab.client_mac(), CLIENT.octets()), ([0; 6], NEAR.octets()));
    let question = question.link(world.lab.client_mac(), [0xff; 6]).bytes();
    Sender::from_client(&world.lab).unwrap().send_raw(&question).unwrap();
    std::thread::sleep(SILENCE);
    assert_eq!((world.count("ArpReply"), world.count("NeighbourAdvertised")), (0, 0));

    world.give_to_client(false);
    world.wait_until("announced", 2 * PATIENCE);
    for frontend in families(NEAR) {
        assert_eq!(world.asks(frontend, PATIENCE).unwrap(), "b1", "{frontend}");
    }
    assert_eq!(world.instance.status().unwrap()["warnings"], serde_json::json!([]));
}

/// Its questions are answered by the data plane of the first.
#[test]
fn a_second_balancer_with_the_same_file_waits_until_the_first_gives_up() {
    let world = World::new("found-two");
    world.apply("", true);
    let (socket, file) = (world.lab.dir().join("second.sock"), world.lab.dir().join("second.yaml"));
    std::fs::write(&file, world.yaml(NEAR, "", true)).unwrap();
    let lbctl = lbctl_under_test().unwrap();
    let mut second = world.lab.client().command(&lbctl);
    second.arg("--socket").arg(&socket).arg("--state-dir").arg(world.lab.dir().join("second"));
    second.arg("--pin-dir").arg(world.lab.pin_dir().with_file_name("found-two-second"));
    second.args(["serve", "--detach-on-exit", "--config"]).arg(&file);
    let second = world.lab.spawn("second", second).unwrap();
    let wait_until = |wanted: &str, other: Option<&str>, patience: Duration| {
        let deadline = Instant::now() + patience;
        let wanted = vec![(wanted.to_owned(), other.map(ToOwned::to_owned)); 2];
        loop {
            let status = lbctl_status(&lbctl, &socket);
            if status.as_ref().is_ok_and(|status| World::on_link(status) == wanted) {
                return;
            }
            assert!(Instant::now() < deadline, "{status:#?}\n{}", second.log().unwrap());
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    wait_until("taken", Some("02:00:00:00:00:01"), PATIENCE);
    world.wait_until("announced", SILENCE);
    // The first loses its rules.
    world.apply("", false);
    wait_until("announced", None, 2 * PATIENCE);
    // And does not get the address back as long as the second has it.
    world.apply("", true);
    world.wait_until("taken", SILENCE);
    assert!(second.stop(PATIENCE).unwrap().success());
    world.wait_until("announced", 2 * PATIENCE);
}

/// RFC 5227, section 2.4 (c), without its announcements.
#[test]
fn an_address_that_is_ours_stays_so_and_is_not_fought_over() {
    let world = World::new("found-fight");
    assert_announced(&world, "the first apply", || world.apply("", true));
    let client = Sender::from_client(&world.lab).unwrap();
    let arp = frame::arp(1, (OTHER, NEAR.octets()), ([0; 6], NEAR.octets())).link(OTHER, [0xff; 6]);
    let neighbour = frame::icmp(&format!("[{}]:0", twin(NEAR)), "[ff02::1]:0", 136, 0)
        .ttl(255)
        .rest(0x2000_0000)
        .payload(&[&twin(NEAR).octets()[..], &[2, 1], &OTHER].concat())
        .link(OTHER, [0x33, 0x33, 0, 0, 0, 1]);
    let captures = world.announcements();
    for frame in [arp, neighbour] {
        client.send_raw(&frame.bytes()).unwrap();
    }
    world.wait_until("contested", PATIENCE);
    let status = world.instance.status().unwrap();
    let contested = ("contested".to_owned(), Some("02:00:00:00:00:09".to_owned()));
    assert_eq!(World::on_link(&status), [contested.clone(), contested]);
    assert_eq!(status["warnings"].as_array().unwrap().len(), 2, "{status:#}");
    // Who asks is answered, but that is all that is said.
    for frontend in families(NEAR) {
        world.forget_neighbours();
        assert_eq!(world.asks(frontend, PATIENCE).unwrap(), "b1", "{frontend}");
    }
    for capture in captures {
        assert_eq!(capture.finish(1, SILENCE).unwrap().len(), 0);
    }
    // The other is silent from now on; whom it has misled, is told.
    assert_announced(&world, "the other has gone", || world.wait_until("announced", 2 * PATIENCE));
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
