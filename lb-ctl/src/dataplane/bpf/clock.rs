//! The data plane's clock, read by running a program of our own.

use std::io;

use aya::programs::{TestRun as _, TestRunOptions, Xdp};
use nix::time::{ClockId, clock_getres};

use super::error;
use crate::dataplane::Error;

/// The shortest frame that the kernel runs a program on is an Ethernet header; it gets a round number.
const FRAME: usize = 64;

/// The kernel's jiffies.
pub(super) fn jiffies(program: &Xdp) -> Result<u64, Error> {
    let mut frame = [0u8; FRAME];
    let options = TestRunOptions {
        data_in: Some(&[0; FRAME]),
        data_out: Some(&mut frame),
        ..TestRunOptions::default()
    };
    program.test_run(options).map_err(|cause| Error::Clock(error::chain(&cause)))?;
    let (jiffies, _) = frame.split_first_chunk().unwrap_or((&[0; 8], &[]));
    Ok(u64::from_ne_bytes(*jiffies))
}

/// Jiffies in a second. The coarse clocks advance with each jiffy, and say so as their resolution
/// (`KTIME_LOW_RES` in include/linux/hrtimer.h).
pub(super) fn hz() -> Result<u32, Error> {
    let trouble =
        |cause: &dyn std::fmt::Display| Error::Clock(format!("cannot tell the kernel's HZ: {cause}"));
    let step =
        clock_getres(ClockId::CLOCK_MONOTONIC_COARSE).map_err(|cause| trouble(&io::Error::from(cause)))?;
    match (step.tv_sec(), step.tv_nsec()) {
        (0, nanoseconds @ 1..) => {
            u32::try_from((1_000_000_000 + nanoseconds / 2) / nanoseconds).map_err(|cause| trouble(&cause))
        }
        _ => Err(trouble(&format_args!("its tick is {step}"))),
    }
}
