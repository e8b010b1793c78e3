//! The wrapper around the program under test, and the yardsticks.

use std::{path::Path, time::Duration};

use anyhow::{Context as _, Result, ensure};
use aya::{
    Ebpf,
    maps::{Array, HashMap, ProgramArray},
    programs::{ProgramFd, TestRun as _, TestRunOptions, Xdp, XdpMode},
};
use nix::time::{ClockId, clock_gettime};

use crate::frames::{self, Batch, FRAME, FRAME_BYTES};

pub(crate) const SMALL_ENTRIES: u64 = 64;

/// What is run beside the program under test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Yardstick {
    /// Nothing: the wrapper's own cost.
    Empty,
    /// One look-up among 64 keys of 8 bytes.
    SmallHash,
    /// One look-up in a hash of all flows, by a key of 16 bytes.
    FlowTable,
}

impl Yardstick {
    fn program(self) -> &'static str {
        match self {
            Self::Empty => "bench_empty",
            Self::SmallHash => "bench_small_hash",
            Self::FlowTable => "bench_flow_table",
        }
    }
}

pub(crate) struct Harness {
    ebpf: Ebpf,
}

/// What a run gave.
pub(crate) struct Run {
    pub(crate) verdict: u32,
    /// The last frame.
    pub(crate) frame: [u8; FRAME],
    /// Time that this thread spent.
    pub(crate) time: Duration,
}

impl Harness {
    pub(crate) fn load(object: &Path, interfaces: [u32; 2]) -> Result<Self> {
        let loading = || format!("cannot load {}", object.display());
        let mut ebpf = Ebpf::load_file(object).with_context(loading)?;
        for (name, program) in ebpf.programs_mut() {
            let program: &mut Xdp = program.try_into()?;
            program.load().with_context(|| format!("{}: {name}", loading()))?;
        }
        let mut harness = Self { ebpf };
        harness.attach(interfaces)?;
        let mut small: HashMap<_, u64, u64> = HashMap::try_from(harness.map("bench_small")?)?;
        (0..SMALL_ENTRIES).try_for_each(|number| small.insert(frames::small_key(number), 1, 0))?;
        Ok(harness)
    }

    /// A test run can name a veth's receive queue only while a program is attached there.
    fn attach(&mut self, interfaces: [u32; 2]) -> Result<()> {
        let empty = program(&mut self.ebpf, Yardstick::Empty.program())?;
        for ifindex in interfaces {
            empty.attach_to_if_index(ifindex, XdpMode::Driver).context("cannot attach to the lab")?;
        }
        Ok(())
    }

    /// Makes a batch the one that the next runs go through.
    pub(crate) fn lay_out(&mut self, batch: &Batch) -> Result<()> {
        let mut array: Array<_, [u8; FRAME]> = Array::try_from(self.map("bench_frames")?)?;
        let length = array.len();
        ensure!(batch.frames.len() <= length as usize, "no more than {length} flows fit the harness");
        (0..).zip(&batch.frames).try_for_each(|(index, frame)| array.set(index, frame, 0))?;
        let mut flows: HashMap<_, [u8; 16], [u64; 2]> = HashMap::try_from(self.map("bench_flows")?)?;
        let stale: Vec<_> = flows.keys().collect::<Result<_, _>>()?;
        stale.iter().try_for_each(|key| flows.remove(key))?;
        batch.frames.iter().try_for_each(|frame| flows.insert(flow_key(frame), [1, 1], 0))?;
        Ok(())
    }

    pub(crate) fn measure(&mut self, yardstick: Yardstick, batch: &Batch, repeat: u32) -> Result<Run> {
        let fd = program(&mut self.ebpf, yardstick.program())?.fd()?.try_clone()?;
        self.run(&fd, batch, repeat)
    }

    /// Runs a program over the batch from its first frame on, again and again.
    pub(crate) fn run(&mut self, program_fd: &ProgramFd, batch: &Batch, repeat: u32) -> Result<Run> {
        let mut programs: ProgramArray<_> = self.map("bench_program")?.try_into()?;
        programs.set(0, program_fd, 0)?;
        let length = u32::try_from(batch.frames.len())?;
        let mut cursor: Array<_, [u32; 2]> = Array::try_from(self.map("bench_cursor")?)?;
        cursor.set(0, [0, length], 0)?;
        let wrapper = program(&mut self.ebpf, "bench_next")?;
        let mut frame = [0; FRAME];
        let options = TestRunOptions {
            data_in: Some(&[0; FRAME]),
            data_out: Some(&mut frame),
            ctx_in: Some(&context(batch.ingress)),
            repeat,
            ..TestRunOptions::new()
        };
        // The kernel's own figure is cut to whole nanoseconds a packet.
        let before = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)?;
        let result = wrapper.test_run(options).context("BPF_PROG_TEST_RUN")?;
        let time = Duration::from(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)? - before);
        Ok(Run { verdict: result.return_value, frame, time })
    }

    fn map(&mut self, name: &str) -> Result<&mut aya::maps::Map> {
        self.ebpf.map_mut(name).with_context(|| format!("the harness has no map {name}"))
    }
}

fn program<'e>(ebpf: &'e mut Ebpf, name: &str) -> Result<&'e mut Xdp> {
    let program = ebpf.program_mut(name).with_context(|| format!("the harness has no program {name}"))?;
    Ok(program.try_into()?)
}

/// As the yardstick reads it: addresses, ports, and a number in the place of the protocol.
fn flow_key(frame: &[u8; FRAME]) -> [u8; 16] {
    let mut key = [0; 16];
    key[..12].copy_from_slice(&frame[26..38]);
    key[12..].copy_from_slice(&6u32.to_ne_bytes());
    key
}

/// `struct xdp_md`: all 64 bytes of data, and where they came in.
fn context(ingress: u32) -> [u8; 24] {
    let mut context = [0; 24];
    context[4..8].copy_from_slice(&u32::from(FRAME_BYTES).to_ne_bytes());
    context[12..16].copy_from_slice(&ingress.to_ne_bytes());
    context
}
