//! `lbctl apply`: puts a configuration into force.

use std::path::PathBuf;

use clap::Args;

use super::fault::Fault;
use super::instance::{Instance, wait_for};
use super::output::{Format, lines, print, warn};
use super::validate::load;
use crate::api::types::{Applied, Apply, Source};

/// Put a configuration into force, all of it or nothing, and say what changed
///
/// Returns once packets see it. The file is the whole truth: what it does not
/// name does not exist afterwards. Open connections stay with their backend.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// File or folder, or - for standard input; may be given several times, all are merged
    #[arg(short, long = "file", value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Form of the answer
    #[arg(short, long, default_value = "table")]
    output: Format,
}

pub(super) fn run(instance: &Instance, arguments: &Arguments) -> Result<(), Fault> {
    let (sources, _) = load(&arguments.files)?;
    let sources = sources.into_iter().map(|source| Source { name: source.name, text: source.text });
    let request = Apply { sources: sources.collect() };
    let applied = wait_for(async { Ok(instance.client().apply(&request).await?) })?;
    print(&arguments.output.text(&applied, summary)?)?;
    // In the other forms they are part of the answer.
    if arguments.output == Format::Table { warn(&applied.warnings) } else { Ok(()) }
}

fn summary(applied: &Applied) -> String {
    let generation = applied.generation;
    let head = if applied.changes.is_empty() {
        format!("nothing changed: this was in force already (generation {generation})")
    } else {
        format!("in force as generation {generation} after {}", duration(applied.microseconds))
    };
    let changes = applied.changes.iter().map(|change| format!("  {change}"));
    lines(&std::iter::once(head).chain(changes).collect::<Vec<_>>())
}

fn duration(microseconds: u64) -> String {
    let (milliseconds, tenth) = (microseconds / 1000, microseconds / 100 % 10);
    match milliseconds {
        0..100 => format!("{milliseconds}.{tenth} ms"),
        100..10_000 => format!("{milliseconds} ms"),
        _ => format!("{} s", milliseconds / 1000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_what_changed() {
        let changes = vec!["rule http: added".to_owned()];
        let applied = Applied { generation: 3, changes, warnings: vec![], microseconds: 1234 };
        assert_eq!(summary(&applied), "in force as generation 3 after 1.2 ms\n  rule http: added\n");
        let again = Applied { generation: 3, changes: vec![], warnings: vec![], microseconds: 10 };
        assert_eq!(summary(&again), "nothing changed: this was in force already (generation 3)\n");
        assert_eq!([duration(123_456), duration(12_345_678)], ["123 ms", "12 s"]);
    }
}
