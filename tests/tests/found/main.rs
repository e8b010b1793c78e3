//! Frontends in a network that the balancer is connected to: hosts of that network find them by ARP and
//! neighbour discovery.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod world;

use std::path::Path;
use std::time::{Duration, Instant};

use lb_common::testkit::frame;
use lb_tests::frames::Sender;
use lb_tests::instance::{ends, lbctl_status, lbctl_under_test};
use lb_tests::lab::{BALANCER, CLIENT, CLIENT_LINK, twin};

use world::{NEAR, OTHER, PATIENCE, SILENCE, World, families};

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

/// The first reply to a client on the link is the kernel's to send, and comes from another link's address.
#[test]
fn a_kernel_that_would_refuse_replies_to_the_frontends_link_is_told() {
    let world = World::new("found-strict");
    let told = || {
        let warnings = world.instance.status().unwrap()["warnings"].clone();
        warnings
            .as_array()
            .unwrap()
            .iter()
            .any(|warning| warning.as_str().unwrap().ends_with("sysctl -w net.ipv4.conf.b1.rp_filter=2"))
    };
    world.apply("", true);
    let mut seen = Vec::new();
    for filter in ["0", "1", "2"] {
        let path = "/proc/sys/net/ipv4/conf/b1/rp_filter";
        world.lab.balancer().run(|| Ok(std::fs::write(path, filter)?)).unwrap();
        seen.push(told());
    }
    assert_eq!(seen, [false, true, false]);
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
