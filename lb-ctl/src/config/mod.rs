//! `lb.yaml`: what people write, and what we believe once it has been checked.
//!
//! Text becomes a tree with places (`yaml`), then values of the right type and range (`read`, `raw`),
//! then what agrees with itself (`references`, `conflicts`, `priorities`, `nat_rules`, `validate`: [`model`], [`access`]); `write` goes back. All of it
//! does no I/O: `cli::input` reads the files.

pub mod access;
mod conflicts;
mod duration;
mod error;
mod fields;
pub mod model;
mod nat_rules;
mod path;
mod ports;
mod priorities;
mod raw;
mod read;
mod references;
mod sources;
mod suggest;
mod validate;
mod values;
mod warnings;
mod words;
mod write;
mod yaml;

pub use error::{Errors, Mistake};
pub use model::Config;

use error::Report;

/// A text that is, or is a part of, a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// What mistakes call it: the path as the user gave it, `-` for standard input.
    pub name: String,
    pub text: String,
}

/// The configuration that all sources make together, or everything that is wrong with them.
pub fn load(sources: &[Source]) -> Result<Config, Errors> {
    let mut report = Report::new(sources);
    let config = read::sources(sources, &mut report).map(|raw| raw.validate(&mut report));
    report.judge(config)
}
