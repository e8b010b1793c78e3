//! YAML text as a tree in which every key and value knows its place.
//!
//! Built from the events of `saphyr-parser`, so that nothing is expanded or nested before we have
//! looked at it: anchors, aliases and tags are refused, depth and number of values are bounded.
//! Why not `serde_yaml`: `docs/adr/0002-yaml-with-positions.md`.

use std::borrow::Cow;
use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span, StrInput};

use super::error::{Place, Report, quoted};
use super::path::Path;

/// `rules[0].access[0].allow` is at 5; nothing that is known goes deeper.
const DEEPEST: usize = 12;

/// Keys count too: a pool of 8,192 members with all their keys has 74,000.
const MOST_VALUES: usize = 1_000_000;

#[derive(Debug)]
pub(super) struct Node<'s> {
    pub(super) place: Place,
    pub(super) value: Value<'s>,
}

#[derive(Debug)]
pub(super) enum Value<'s> {
    Scalar(Scalar<'s>),
    List(Vec<Node<'s>>),
    /// In the order of the file, without duplicates.
    Map(Vec<(Key<'s>, Node<'s>)>),
    /// A mistake that is already reported; whoever meets it says nothing more.
    Refused,
}

#[derive(Debug)]
pub(super) struct Scalar<'s> {
    pub(super) text: Cow<'s, str>,
    /// Without quotes: may be a number, `true` or `null`.
    pub(super) plain: bool,
}

impl Scalar<'_> {
    /// `key:` with nothing behind it, or one of YAML's words for that.
    pub(super) fn is_null(&self) -> bool {
        self.plain && matches!(&*self.text, "" | "~" | "null" | "Null" | "NULL")
    }
}

#[derive(Debug)]
pub(super) struct Key<'s> {
    pub(super) place: Place,
    pub(super) name: Cow<'s, str>,
}

/// The one document of a source; `None` if it cannot be read to its end (and a mistake says why).
pub(super) fn parse<'s>(source: usize, text: &'s str, report: &mut Report<'_>) -> Option<Node<'s>> {
    let mut loader = Loader { source, events: Parser::new_from_str(text), values: 0, report };
    match loader.document() {
        Ok(root) => Some(root),
        Err(stop) => {
            report.add(stop.place, "", stop.message);
            None
        }
    }
}

/// Why reading cannot go on.
struct Stop {
    place: Place,
    message: String,
}

struct Loader<'s, 'r, 'e> {
    source: usize,
    events: Parser<'s, StrInput<'s>>,
    values: usize,
    report: &'r mut Report<'e>,
}

impl<'s> Loader<'s, '_, '_> {
    fn document(&mut self) -> Result<Node<'s>, Stop> {
        let mut root = None;
        loop {
            let (event, place) = self.next()?;
            match event {
                Event::StreamStart | Event::DocumentStart(_) | Event::DocumentEnd | Event::Nothing => {}
                Event::StreamEnd => break,
                Event::Alias(_)
                | Event::Scalar(..)
                | Event::SequenceStart(..)
                | Event::SequenceEnd
                | Event::MappingStart(..)
                | Event::MappingEnd => {
                    if root.is_some() {
                        return Err(Stop {
                            place,
                            message: "a second YAML document starts here; put it into a file of its own"
                                .to_owned(),
                        });
                    }
                    root = Some(self.node(event, place, &Path::Root)?);
                }
            }
        }
        Ok(root.unwrap_or(Node { place: Place::start_of(self.source), value: Value::Map(Vec::new()) }))
    }

    /// The node that begins with `event`; calls itself at most [`DEEPEST`] deep.
    fn node(&mut self, event: Event<'s>, place: Place, path: &Path<'_>) -> Result<Node<'s>, Stop> {
        self.values += 1;
        if path.depth() > DEEPEST {
            return Err(Stop {
                place,
                message: format!("nested more than {DEEPEST} deep; nothing in lb.yaml is"),
            });
        }
        if self.values > MOST_VALUES {
            return Err(Stop { place, message: format!("more than {MOST_VALUES} values; split the file") });
        }
        let value = match event {
            Event::Scalar(text, style, anchor, tag) => {
                self.refuse_indirection(place, path, anchor, tag.is_some());
                Value::Scalar(Scalar { text, plain: style == ScalarStyle::Plain })
            }
            Event::SequenceStart(anchor, tag) => {
                self.refuse_indirection(place, path, anchor, tag.is_some());
                self.list(path)?
            }
            Event::MappingStart(anchor, tag) => {
                self.refuse_indirection(place, path, anchor, tag.is_some());
                self.map(path)?
            }
            Event::Alias(_) => {
                self.report.add(place, path, "aliases (*name) are not accepted; write the value out");
                Value::Refused
            }
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd
            | Event::SequenceEnd
            | Event::MappingEnd => return Err(syntax(place, "a value is missing")),
        };
        Ok(Node { place, value })
    }

    fn list(&mut self, path: &Path<'_>) -> Result<Value<'s>, Stop> {
        let mut items = Vec::new();
        loop {
            let (event, place) = self.next()?;
            if event == Event::SequenceEnd {
                return Ok(Value::List(items));
            }
            let item = path.index(items.len());
            items.push(self.node(event, place, &item)?);
        }
    }

    fn map(&mut self, path: &Path<'_>) -> Result<Value<'s>, Stop> {
        let mut entries = Vec::new();
        let mut seen: HashMap<Cow<'s, str>, Place> = HashMap::new();
        loop {
            let (event, place) = self.next()?;
            if event == Event::MappingEnd {
                return Ok(Value::Map(entries));
            }
            // A key may itself be nested ("? ? ?"), and counts as deeper than its mapping.
            let key = self.node(event, place, &path.key("?"))?;
            let (event, place) = self.next()?;
            let Value::Scalar(Scalar { text: name, plain }) = key.value else {
                self.node(event, place, &path.key("?"))?;
                self.report.add(key.place, path, "a key must be a word, such as \"name\"");
                continue;
            };
            let value_path = path.key(&name);
            let mut value = self.node(event, place, &value_path)?;
            if plain && name == "<<" {
                self.report.add(key.place, path, "merge keys (<<) are not accepted; write the keys out");
                continue;
            }
            if let Some(first) = seen.get(&name) {
                let first = self.report.refer(key.place, *first);
                let message = format!("{} is given twice, first at {first}; keep one", quoted(&name));
                self.report.add(key.place, value_path, message);
                continue;
            }
            seen.insert(name.clone(), key.place);
            // The parser places an empty value where the next token is; the key is what to look at.
            if matches!(&value.value, Value::Scalar(scalar) if scalar.is_null()) {
                value.place = key.place;
            }
            entries.push((Key { place: key.place, name }, value));
        }
    }

    /// Refuses what makes one place of the file stand for another, or a value for another type.
    fn refuse_indirection(&mut self, place: Place, path: &Path<'_>, anchor: usize, tagged: bool) {
        if anchor != 0 {
            self.report.add(
                place,
                path,
                "anchors (&name) are not accepted; write the value out where it is wanted",
            );
        }
        if tagged {
            self.report.add(place, path, "tags (!name) are not accepted; leave the tag out");
        }
    }

    fn next(&mut self) -> Result<(Event<'s>, Place), Stop> {
        match self.events.next_event() {
            Some(Ok((event, span))) => Ok((event, self.place(span))),
            Some(Err(error)) => Err(self.syntax(&error)),
            None => Err(syntax(Place::start_of(self.source), "the file ends too early")),
        }
    }

    fn place(&self, span: Span) -> Place {
        place(self.source, span.start.line(), span.start.col())
    }

    fn syntax(&self, error: &ScanError) -> Stop {
        let marker = error.marker();
        syntax(place(self.source, marker.line(), marker.col()), error.info())
    }
}

fn place(source: usize, line: usize, column_from_0: usize) -> Place {
    let narrow = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    Place { source, line: narrow(line), column: narrow(column_from_0.saturating_add(1)) }
}

fn syntax(place: Place, what: &str) -> Stop {
    Stop {
        place,
        message: format!("not valid YAML: {what}; check indentation, quotes and brackets here and above"),
    }
}
