//! `cargo xtask test`: all levels of the test ladder that need no other kernel.

mod binaries;
mod summary;
mod watch;

use std::time::Instant;

use anyhow::Result;
use clap::ValueEnum;

use crate::{
    build,
    setup::{self, Need},
};
use binaries::Binary;
use summary::Summary;

#[derive(clap::Args, Default)]
pub(crate) struct Args {
    /// Only this level (may be given several times); all of them else
    #[arg(long, value_enum)]
    level: Vec<Level>,
    /// Only tests whose name contains this
    filter: Option<String>,
}

/// Rungs of the test ladder, from fast to slow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Level {
    /// Unit, property, golden and documentation tests; need nothing
    Unit,
    /// Packet cases through the native pipeline; need nothing
    Native,
    /// Packet cases through the kernel's program; need root
    Kernel,
    /// Real clients and servers in network namespaces; need root
    Lab,
}

impl Level {
    fn privileged(self) -> bool {
        self >= Self::Kernel
    }
}

pub(crate) fn main(args: &Args) -> Result<()> {
    let levels = levels(&args.level);
    let start = Instant::now();
    prepare(&levels)?;
    let binaries = binaries::build()?;
    let mut summary = Summary::default();
    for level in levels {
        println!("\n== {level:?} tests");
        run(level, &binaries, args.filter.as_deref(), &mut summary)?;
    }
    println!("\n{summary}");
    println!("all in {}", crate::shell::time(start.elapsed()));
    summary.verdict(args.filter.as_deref())
}

fn levels(asked: &[Level]) -> Vec<Level> {
    let all = Level::value_variants().iter().copied();
    all.filter(|level| asked.is_empty() || asked.contains(level)).collect()
}

/// Brings what the levels need. A level that cannot run here is an error, not a skipped level.
fn prepare(levels: &[Level]) -> Result<()> {
    if levels.iter().any(|level| level.privileged()) {
        let toolchain = setup::ensure(Need::Lab)?;
        build::ebpf(&toolchain)?;
        build::frame_generator(&toolchain)?;
    }
    Ok(())
}

fn run(level: Level, binaries: &[Binary], filter: Option<&str>, summary: &mut Summary) -> Result<()> {
    for binary in binaries.iter().filter(|binary| binary.level == level) {
        println!("\n-- {} {}", binary.package, binary.target);
        let start = Instant::now();
        let count = watch::run(&mut binary.command(filter))?;
        summary.add(level, &format!("{} {}", binary.package, binary.target), count, start.elapsed());
    }
    if level == Level::Unit {
        println!("\n-- examples in the documentation");
        let start = Instant::now();
        let count = watch::run(&mut binaries::doc_tests(filter))?;
        summary.add(level, "documentation", count, start.elapsed());
    }
    summary.touch(level);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_choice_all_levels_run_from_fast_to_slow() {
        let all = [Level::Unit, Level::Native, Level::Kernel, Level::Lab];
        assert_eq!(levels(&[]), all);
        assert_eq!(levels(&[Level::Lab, Level::Unit]), [Level::Unit, Level::Lab]);
    }
}
