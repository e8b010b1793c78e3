//! The program on real interfaces.

use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};
use futures_util::TryStreamExt as _;
use lb_common::abi::AddressFlags;
use lb_common::reason::Reason;
use lb_ctl::config::model::XdpMode;
use lb_ctl::dataplane::bpf::{Bpf, Options};
use lb_ctl::dataplane::{Attachment, Change, Dataplane};
use lb_tests::lab::{CLIENT_LINK, FRONTEND, Lab, NetNs, Topology};
use nix::net::if_::if_nametoindex;
use rtnetlink::packet_route::link::{LinkAttribute, LinkXdp, XdpAttached};

use crate::{PinDir, SMALL};

fn lab(name: &str) -> Lab {
    Lab::new(name, Topology { backends: 1, client_addresses: 1 }).unwrap()
}

fn open(dir: &PinDir) -> Result<Bpf> {
    Ok(Bpf::open(&Options { pin_dir: dir.path().to_path_buf(), sizes: SMALL })?.0)
}

#[test]
fn native_where_the_driver_can_generic_elsewhere() {
    let (lab, dir) = (lab("dp-modes"), PinDir::new("modes"));
    lab.balancer()
        .run(|| {
            let mut bpf = open(&dir)?;
            let (veth, lo) = (if_nametoindex("b1")?, if_nametoindex("lo")?);
            assert_eq!(bpf.attach(veth, XdpMode::Auto)?, Attachment::Native);
            assert_eq!(bpf.attach(lo, XdpMode::Auto)?, Attachment::Generic);
            assert_eq!(bpf.attached()?, [(lo, Attachment::Generic), (veth, Attachment::Native)]);
            let message = bpf.attach(lo, XdpMode::Native).unwrap_err().to_string();
            assert!(
                message.contains("cannot attach to lo") && message.contains("mode: generic"),
                "{message}"
            );
            // What was there is there again.
            assert_eq!(bpf.attached()?, [(lo, Attachment::Generic), (veth, Attachment::Native)]);
            assert_eq!(bpf.attach(veth, XdpMode::Generic)?, Attachment::Generic);
            assert_eq!(bpf.attach(veth, XdpMode::Auto)?, Attachment::Generic);
            let message = bpf.attach(4_000_000, XdpMode::Auto).unwrap_err().to_string();
            assert!(
                message.contains("interface 4000000") && message.contains("no such interface"),
                "{message}"
            );
            Ok(())
        })
        .unwrap();
    assert_eq!(kernel_says(lab.balancer(), "b1").unwrap(), Some(XdpAttached::SocketBuffer));
    lab.balancer().run(|| Ok(open(&dir)?.attach(if_nametoindex("b1")?, XdpMode::Native)?)).unwrap();
    assert_eq!(kernel_says(lab.balancer(), "b1").unwrap(), Some(XdpAttached::Driver));
    lab.balancer().run(|| Ok(open(&dir)?.detach(if_nametoindex("b1")?)?)).unwrap();
    assert_eq!(kernel_says(lab.balancer(), "b1").unwrap(), Some(XdpAttached::None));
}

#[test]
fn another_program_is_left_alone_and_named() {
    let (lab, ours, theirs) = (lab("dp-busy"), PinDir::new("busy-1"), PinDir::new("busy-2"));
    lab.balancer()
        .run(|| {
            let veth = if_nametoindex("b1")?;
            for mode in [XdpMode::Native, XdpMode::Generic] {
                open(&theirs)?.attach(veth, mode)?;
                let message = open(&ours)?.attach(veth, XdpMode::Auto).unwrap_err().to_string();
                assert!(message.contains("cannot attach to b1: another XDP program"), "{message}");
                assert!(message.contains("`ip link set dev b1 xdp off`"), "{message}");
                assert_eq!(open(&ours)?.attached()?, []);
            }
            Ok(())
        })
        .unwrap();
}

#[test]
fn an_interface_that_goes_is_noticed() {
    let (lab, dir) = (lab("dp-gone"), PinDir::new("gone"));
    let balancer = lab.balancer();
    let veth = balancer.run(|| Ok(if_nametoindex("b1")?)).unwrap();
    balancer.run(|| Ok(open(&dir)?.attach(veth, XdpMode::Auto)?)).unwrap();
    balancer
        .block_on(|| async {
            let (connection, handle, _) = rtnetlink::new_connection()?;
            tokio::spawn(connection);
            Ok(handle.link().del(veth).execute().await?)
        })
        .unwrap();
    balancer
        .run(|| {
            let options = Options { pin_dir: dir.path().to_path_buf(), sizes: SMALL };
            let (mut bpf, takeover) = Bpf::open(&options)?;
            assert_eq!(takeover.notes.len(), 1, "{takeover:?}");
            assert!(takeover.notes[0].contains("has gone"), "{takeover:?}");
            assert_eq!(bpf.attached()?, []);
            bpf.detach(veth)?;
            assert!(Bpf::open(&options)?.1.notes.is_empty());
            Ok(())
        })
        .unwrap();
}

/// While datagrams stream in, the daemon goes and three others take over, each with its own program.
#[test]
fn no_packet_is_missed_while_daemons_come_and_go() {
    let (lab, dir) = (lab("dp-stream"), PinDir::new("stream"));
    lab.balancer()
        .run(|| {
            let mut bpf = open(&dir)?;
            // A frontend without a rule: each datagram to it moves one counter.
            let frontend = FRONTEND.into();
            bpf.write(&Change::Address(frontend, Some(AddressFlags::FRONTEND)))?;
            bpf.write(&Change::Sieve(bpf.read()?.sieve()))?;
            bpf.attach(if_nametoindex(CLIENT_LINK)?, XdpMode::Native)?;
            Ok(())
        })
        .unwrap();
    let seen = || lab.balancer().run(|| Ok(open(&dir)?.counters()?.reasons[Reason::NoRule as usize].packets));
    assert_eq!(seen().unwrap(), 0);
    let done = AtomicBool::new(false);
    let sent = thread::scope(|scope| {
        let sender = scope.spawn(|| lab.client().run(|| stream(&done)));
        for _ in 0..3 {
            thread::sleep(Duration::from_millis(100));
            lab.balancer().run(|| open(&dir)).unwrap();
        }
        thread::sleep(Duration::from_millis(100));
        done.store(true, Relaxed);
        sender.join().unwrap().unwrap()
    });
    println!("{sent} datagrams during three take-overs");
    assert!(sent > 1000, "{sent}");
    assert_eq!(seen().unwrap(), sent);
}

/// Slow enough for the queue of a veth, fast enough to meet the moment of a change.
fn stream(done: &AtomicBool) -> Result<u64> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    let mut sent = 0;
    while !done.load(Relaxed) {
        for _ in 0..10 {
            socket.send_to(b"hello", (FRONTEND, 53))?;
            sent += 1;
        }
        thread::sleep(Duration::from_micros(200));
    }
    // The last ones may still be on their way.
    thread::sleep(Duration::from_millis(50));
    Ok(sent)
}

/// What netlink says of an interface.
fn kernel_says(netns: &NetNs, name: &str) -> Result<Option<XdpAttached>> {
    netns.block_on(|| async {
        let (connection, handle, _) = rtnetlink::new_connection()?;
        tokio::spawn(connection);
        let link = handle.link().get().match_name(name.to_owned()).execute().try_next().await?;
        let attributes = link.context("no such link")?.attributes;
        Ok(attributes.iter().find_map(attached))
    })
}

fn attached(attribute: &LinkAttribute) -> Option<XdpAttached> {
    let LinkAttribute::Xdp(of_xdp) = attribute else { return None };
    of_xdp.iter().find_map(|attribute| {
        let LinkXdp::Attached(mode) = attribute else { return None };
        Some(*mode)
    })
}
