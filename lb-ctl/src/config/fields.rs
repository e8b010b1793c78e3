//! Reads the keys of a mapping one by one, and knows in the end which ones nobody asked for.

use super::error::{Place, Report, quoted};
use super::path::Path;
use super::suggest::{hint, nearest};
use super::yaml::{Key, Node, Scalar, Value};

/// A value and where it stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct At<T> {
    pub(super) place: Place,
    pub(super) value: T,
}

impl<T> At<T> {
    pub(super) fn into_value(self) -> T {
        self.value
    }
}

/// The keys of one mapping. Each `None` that a method returns for a key that is present, or that
/// is required, has its mistake in the report.
pub(super) struct Fields<'n, 'r, 'e> {
    place: Place,
    path: &'n Path<'n>,
    entries: &'n [(Key<'n>, Node<'n>)],
    report: &'r mut Report<'e>,
    asked: Vec<&'static str>,
    /// Required keys that are not there: each with one that would do as well, and an example.
    missing: Vec<(&'static str, Option<&'static str>, &'static str)>,
    /// No key of this mapping may hide something that other mappings refer to.
    complete: bool,
}

/// A value that is no list and no mapping.
pub(super) fn single<T>(
    node: &Node<'_>,
    path: &Path<'_>,
    report: &mut Report<'_>,
    parse: impl FnOnce(&Scalar<'_>) -> Result<T, String>,
) -> Option<At<T>> {
    let parsed = match &node.value {
        Value::Refused => return None,
        Value::Scalar(scalar) if scalar.is_null() => {
            Err("has no value; write one, or remove the key".to_owned())
        }
        Value::Scalar(scalar) => parse(scalar),
        Value::List(_) | Value::Map(_) => Err(format!("expected a single value, found {}", found(node))),
    };
    match parsed {
        Ok(value) => Some(At { place: node.place, value }),
        Err(message) => {
            report.add(node.place, path, message);
            None
        }
    }
}

impl<'n, 'r, 'e> Fields<'n, 'r, 'e> {
    /// `example` shows in the message what a mapping at this place looks like. What is not a
    /// mapping is reported here, and then has no keys and misses none.
    pub(super) fn of(
        node: &'n Node<'n>,
        path: &'n Path<'n>,
        example: &str,
        report: &'r mut Report<'e>,
    ) -> Self {
        let (entries, complete) = match &node.value {
            Value::Map(entries) => (entries.as_slice(), true),
            Value::Refused => (&[][..], false),
            Value::Scalar(_) | Value::List(_) => {
                report.add(
                    node.place,
                    path,
                    format!("expected a mapping such as {example}, found {}", found(node)),
                );
                (&[][..], false)
            }
        };
        Self { place: node.place, path, entries, report, asked: Vec::new(), missing: Vec::new(), complete }
    }

    /// Whether there was a mapping to read at all.
    pub(super) fn is_mapping(&self) -> bool {
        self.complete
    }

    pub(super) fn place(&self) -> Place {
        self.place
    }

    /// A single value that may be left out.
    pub(super) fn optional<T>(
        &mut self,
        key: &'static str,
        parse: impl FnOnce(&Scalar<'_>) -> Result<T, String>,
    ) -> Option<At<T>> {
        let node = self.find(key)?;
        single(node, &self.path.key(key), self.report, parse)
    }

    /// A single value that must be there; `example` is one, for the message.
    pub(super) fn required<T>(
        &mut self,
        key: &'static str,
        example: &'static str,
        parse: impl FnOnce(&Scalar<'_>) -> Result<T, String>,
    ) -> Option<At<T>> {
        if self.find(key).is_none() && self.complete {
            self.missing.push((key, None, example));
        }
        self.optional(key, parse)
    }

    /// One of two keys must be there; `example` is a value of the first.
    pub(super) fn either(&mut self, key: &'static str, other: &'static str, example: &'static str) {
        if !self.has(key) && !self.has(other) && self.complete {
            self.missing.push((key, Some(other), example));
        }
    }

    /// A single value that is `default` when left out.
    pub(super) fn or<T>(
        &mut self,
        key: &'static str,
        default: T,
        parse: impl FnOnce(&Scalar<'_>) -> Result<T, String>,
    ) -> T {
        self.optional(key, parse).map_or(default, At::into_value)
    }

    /// The same with the type's own default.
    pub(super) fn or_default<T: Default>(
        &mut self,
        key: &'static str,
        parse: impl FnOnce(&Scalar<'_>) -> Result<T, String>,
    ) -> T {
        self.or(key, T::default(), parse)
    }

    /// A list, empty when left out; `item` reads one and reports what is wrong with it.
    pub(super) fn list<T>(
        &mut self,
        key: &'static str,
        item: impl Fn(&Node<'_>, &Path<'_>, usize, &mut Report<'_>) -> T,
    ) -> Vec<T> {
        let Some(node) = self.find(key) else {
            return Vec::new();
        };
        let path = self.path.key(key);
        match &node.value {
            Value::List(nodes) => {
                let read = |(index, node)| item(node, &path.index(index), index, self.report);
                return nodes.iter().enumerate().map(read).collect();
            }
            Value::Refused => {}
            Value::Scalar(scalar) if scalar.is_null() => {
                self.report.add(
                    node.place,
                    path,
                    "has no value; write [] for an empty list, or remove the key",
                );
            }
            Value::Scalar(_) | Value::Map(_) => {
                let message = format!("expected a list (items that begin with \"-\"), found {}", found(node));
                self.report.add(node.place, path, message);
            }
        }
        self.complete = false;
        Vec::new()
    }

    /// Whether the key is there, with whatever value.
    pub(super) fn has(&mut self, key: &'static str) -> bool {
        self.find(key).is_some()
    }

    /// A key whose feature this version does not have: refused, never ignored. True if it is there.
    pub(super) fn later(&mut self, key: &'static str, feature: &str) -> bool {
        let Some((at, _)) = self.entry(key) else {
            return false;
        };
        let message = format!("{feature} not available in this version; remove \"{key}\"");
        self.report.add(at.place, self.path.key(key), message);
        true
    }

    /// A mistake about one of the keys.
    pub(super) fn refuse(&mut self, key: &'static str, place: Place, message: impl Into<String>) {
        self.report.add(place, self.path.key(key), message);
    }

    /// Reports the keys that nobody asked for and those that should be there (both at once for
    /// one slip of the finger would be one too many). False if a list may be lost by that.
    pub(super) fn finish(self) -> bool {
        let Self { place, path, entries, report, asked, mut missing, mut complete } = self;
        for (key, _) in entries {
            let name = &*key.name;
            if asked.contains(&name) {
                continue;
            }
            complete = false;
            if report.is_full() {
                break;
            }
            let meant = nearest(name, asked.iter().copied());
            missing.retain(|(key, other, _)| meant.is_none() || meant != Some(*key) && meant != *other);
            report.add(key.place, path.key(name), format!("unknown key {}{}", quoted(name), hint(meant)));
        }
        for (key, other, example) in missing {
            let other = other.map_or(String::new(), |other| format!(" or \"{other}\""));
            let message = format!("\"{key}\"{other} is missing; write for example \"{key}: {example}\"");
            report.add(place, path, message);
        }
        complete
    }

    fn find(&mut self, key: &'static str) -> Option<&'n Node<'n>> {
        self.entry(key).map(|(_, node)| node)
    }

    fn entry(&mut self, key: &'static str) -> Option<(&'n Key<'n>, &'n Node<'n>)> {
        if !self.asked.contains(&key) {
            self.asked.push(key);
        }
        self.entries.iter().find(|(at, _)| at.name == key).map(|(at, node)| (at, node))
    }
}

/// What stands at a place where something else was expected.
fn found(node: &Node<'_>) -> String {
    match &node.value {
        Value::Scalar(scalar) if scalar.is_null() => "nothing".to_owned(),
        Value::Scalar(scalar) => {
            let key = scalar.text.split(':').next().unwrap_or_default();
            let no_space =
                scalar.plain && key.len() < scalar.text.len() && key.chars().all(|c| c.is_ascii_alphabetic());
            let cure = if no_space { "; a colon needs a space behind it" } else { "" };
            quoted(&scalar.text) + cure
        }
        Value::List(_) => "a list".to_owned(),
        Value::Map(_) => "a mapping".to_owned(),
        Value::Refused => "what is refused above".to_owned(),
    }
}
