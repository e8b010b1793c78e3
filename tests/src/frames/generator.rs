//! Live frames: the kernel makes them and sends them as if a driver had received and an XDP program
//! redirected them (`BPF_F_TEST_XDP_LIVE_FRAMES`, Linux 5.18).

use std::{fs::File, path::PathBuf, thread};

use anyhow::{Context as _, Result, ensure};
use aya::{
    Ebpf,
    maps::{Array, Map},
    programs::{TestRun as _, TestRunAttrs, TestRunOptions, Xdp, XdpMode},
};
use nix::{
    net::if_::if_nametoindex,
    sched::{CloneFlags, unshare},
};

use crate::lab::{NetNs, statistics_here};

/// Bytes of a frame; Ethernet asks for 60 at least.
pub const FRAME: usize = 64;
/// How many a generator holds.
const ROOM: usize = 1 << 12;
/// Frames in a row, before the other end has its turn on this processor.
const BATCH: u32 = 64;

/// Sends frames out of an interface of a namespace.
pub struct Generator {
    netns: NetNs,
    interface: String,
    ifindex: u32,
    ebpf: Ebpf,
    _known: File,
}

impl Generator {
    /// The interface is a veth. Only while an XDP program is attached natively to its other end does it
    /// take frames; where none is, [`Passing`] is one.
    pub fn new(netns: &NetNs, interface: &str) -> Result<Self> {
        let mut ebpf = load()?;
        let next = program(&mut ebpf, "live_next")?;
        next.load().context("cannot load the generator of frames")?;
        let known = make_known(next).context("cannot attach the generator of frames")?;
        let ifindex = netns.run(|| if_nametoindex(interface).with_context(|| interface.to_owned()))?;
        Ok(Self { netns: netns.clone(), interface: interface.to_owned(), ifindex, ebpf, _known: known })
    }

    /// Moves the calling thread into the namespace, for good: [`Generator::send`] works there only.
    pub fn enter(&self) -> Result<()> {
        Ok(self.netns.enter()?)
    }

    /// Makes these the ones that the next [`Generator::send`] begins with.
    pub fn lay_out(&mut self, frames: &[[u8; FRAME]]) -> Result<()> {
        ensure!((1..=ROOM).contains(&frames.len()), "a generator takes 1 to {ROOM} frames");
        let mut array: Array<_, [u8; FRAME]> = Array::try_from(self.map("live_frames")?)?;
        (0..).zip(frames).try_for_each(|(index, frame)| array.set(index, frame, 0))?;
        let at = [0, u32::try_from(frames.len())?, self.ifindex];
        let mut cursor: Array<_, [u32; 3]> = Array::try_from(self.map("live_cursor")?)?;
        Ok(cursor.set(0, at, 0)?)
    }

    /// Sends so many, by turns, as fast as they can be made; says how many of them the interface has taken.
    /// The others found no program at the other end, or no room there (a veth has some for 256).
    pub fn send(&mut self, count: u32) -> Result<u64> {
        let before = taken(&self.interface)?;
        let options = TestRunOptions {
            data_in: Some(&[0; FRAME]),
            repeat: count,
            attrs: TestRunAttrs::new().xdp_live_frames(BATCH),
            ..TestRunOptions::new()
        };
        program(&mut self.ebpf, "live_next")?
            .test_run(options)
            .context("BPF_PROG_TEST_RUN of live frames")?;
        Ok(taken(&self.interface)? - before)
    }

    fn map(&mut self, name: &str) -> Result<&mut Map> {
        self.ebpf.map_mut(name).with_context(|| format!("the generator has no map {name}"))
    }
}

/// A program that passes everything, attached to an interface until this is dropped.
pub struct Passing {
    _ebpf: Ebpf,
}

impl Passing {
    pub fn attach(netns: &NetNs, interface: &str) -> Result<Self> {
        let mut ebpf = load()?;
        let pass = program(&mut ebpf, "live_pass")?;
        pass.load().context("cannot load live_pass")?;
        let attached = netns.run(|| Ok(pass.attach(interface, XdpMode::Driver)?));
        attached.with_context(|| format!("cannot attach live_pass to {interface}"))?;
        Ok(Self { _ebpf: ebpf })
    }
}

fn load() -> Result<Ebpf> {
    let path = std::env::var_os("LB_TEST_GENERATOR").map(PathBuf::from).context(
        "LB_TEST_GENERATOR does not name the generator of frames; cargo xtask test builds it and names it",
    )?;
    Ebpf::load_file(&path).with_context(|| format!("cannot load {}", path.display()))
}

/// Attaches the program to the loopback of a namespace of its own, where no frame ever is; the file
/// holds that namespace.
///
/// Each repeated test run puts its program into the kernel's dispatcher of XDP programs and takes it
/// out again, and waits for an RCU grace period each time (`bpf_prog_test_run_xdp`,
/// `bpf_dispatcher_change_prog`), 10 ms beside other load. What is attached somewhere is in there.
fn make_known(program: &mut Xdp) -> Result<File> {
    let attached = thread::scope(|scope| {
        let own = scope.spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET)?;
            program.attach("lo", XdpMode::Skb)?;
            Ok(File::open("/proc/thread-self/ns/net")?)
        });
        own.join()
    });
    attached.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Frames that were redirected out of an interface of this namespace so far.
fn taken(interface: &str) -> Result<u64> {
    let counters = statistics_here(interface)?;
    let redirected = |name: &str| name.starts_with("tx_queue_") && name.ends_with("_xdp_xmit");
    Ok(counters.iter().filter(|(name, _)| redirected(name)).map(|(_, frames)| frames).sum())
}

fn program<'e>(ebpf: &'e mut Ebpf, name: &str) -> Result<&'e mut Xdp> {
    let program = ebpf.program_mut(name).with_context(|| format!("the generator has no program {name}"))?;
    Ok(program.try_into()?)
}
