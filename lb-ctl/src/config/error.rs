//! Mistakes in what people write, each with its place, all of them in one report.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Source;

/// A report longer than this helps nobody, and a hostile file must not make one without end.
const MOST_MISTAKES: usize = 1_000;

/// Everything that is wrong with the sources, in order of place; never empty.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Errors {
    mistakes: Vec<Mistake>,
}

impl Errors {
    /// The mistakes, sorted by file (in the order given), line and column.
    #[must_use]
    pub fn mistakes(&self) -> &[Mistake] {
        &self.mistakes
    }
}

impl std::error::Error for Errors {}

impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for mistake in &self.mistakes {
            writeln!(f, "{mistake}")?;
        }
        match self.mistakes.len() {
            1 => f.write_str("1 mistake; nothing was applied"),
            n if n >= MOST_MISTAKES => {
                write!(f, "{n} mistakes and maybe more; nothing was applied")
            }
            n => write!(f, "{n} mistakes; nothing was applied"),
        }
    }
}

/// One thing that is wrong, where it is, and how to put it right.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mistake {
    pub file: String,
    /// Counted from 1.
    pub line: u32,
    /// In characters, counted from 1.
    pub column: u32,
    /// `rules[2].pool`; empty when it is about the whole file.
    pub path: String,
    pub message: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: ", self.file, self.line, self.column)?;
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)
    }
}

/// Where something stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    /// Index into the sources.
    pub(super) source: usize,
    pub(super) line: u32,
    pub(super) column: u32,
}

impl Place {
    /// The first character of a source, for what is wrong with it as a whole.
    pub(super) fn start_of(source: usize) -> Self {
        Self { source, line: 1, column: 1 }
    }
}

/// Collects the mistakes of one load.
pub(super) struct Report<'s> {
    sources: &'s [Source],
    mistakes: Vec<(Place, Mistake)>,
}

impl<'s> Report<'s> {
    pub(super) fn new(sources: &'s [Source]) -> Self {
        Self { sources, mistakes: Vec::new() }
    }

    pub(super) fn add(&mut self, place: Place, path: impl fmt::Display, message: impl Into<String>) {
        if self.is_full() {
            return;
        }
        let mistake = Mistake {
            file: self.file(place).to_owned(),
            line: place.line,
            column: place.column,
            path: path.to_string(),
            message: message.into(),
        };
        self.mistakes.push((place, mistake));
    }

    /// Whether looking for more mistakes is in vain.
    pub(super) fn is_full(&self) -> bool {
        self.mistakes.len() == MOST_MISTAKES
    }

    /// How a message at `reader` refers to `other`: by line, and by file if that is another one.
    pub(super) fn refer(&self, reader: Place, other: Place) -> String {
        if reader.source == other.source {
            format!("line {}", other.line)
        } else {
            format!("{}:{}", self.file(other), other.line)
        }
    }

    /// What was read, if nothing is wrong with it.
    pub(super) fn judge<T>(mut self, read: Option<T>) -> Result<T, Errors> {
        match read {
            Some(read) if self.mistakes.is_empty() => Ok(read),
            _ => {
                self.mistakes.sort_by_key(|(place, _)| *place);
                Err(Errors { mistakes: self.mistakes.into_iter().map(|(_, mistake)| mistake).collect() })
            }
        }
    }

    fn file(&self, place: Place) -> &'s str {
        self.sources.get(place.source).map_or("(no input)", |source| &source.name)
    }
}

/// Text of a file as a message shows it: in quotes, short, and unable to steer a terminal.
pub(super) fn quoted(text: &str) -> String {
    const LONGEST: usize = 60;
    let shown: String = text.chars().take(LONGEST).flat_map(char::escape_debug).collect();
    let rest = if text.chars().nth(LONGEST).is_some() { "..." } else { "" };
    format!("\"{shown}{rest}\"")
}
