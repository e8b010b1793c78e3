//! Ports of rules: one, a range, or all; and who has taken which.

use std::collections::BTreeMap;
use std::fmt;

use super::values::port;
use super::yaml::Scalar;

/// Ports from the first to the last, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PortRange {
    pub first: u16,
    /// Not less than `first`.
    pub last: u16,
}

impl PortRange {
    /// Port 0 is among them: nobody asks whether all are one too many.
    pub(super) const ALL: Self = Self { first: 0, last: u16::MAX };

    #[must_use]
    pub fn one(port: u16) -> Self {
        Self { first: port, last: port }
    }

    #[must_use]
    pub fn contains(self, port: u16) -> bool {
        (self.first..=self.last).contains(&port)
    }

    /// How many there are.
    #[must_use]
    pub fn count(self) -> usize {
        usize::from(self.last - self.first) + 1
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self { first, last } if first == last => write!(f, "{first}"),
            Self { first, last } => write!(f, "{first}-{last}"),
        }
    }
}

/// The frontend ports of a rule. One port comes before a range that has it, and a range before all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ports {
    One(u16),
    /// More than one.
    Range(PortRange),
    All,
}

impl Ports {
    /// The first of them, 0 of all.
    #[must_use]
    pub fn first(self) -> u16 {
        self.range().first
    }

    /// From the first to the last.
    #[must_use]
    pub fn range(self) -> PortRange {
        match self {
            Self::One(port) => PortRange::one(port),
            Self::Range(range) => range,
            Self::All => PortRange::ALL,
        }
    }

    /// As many, from this one on; all stay all.
    #[must_use]
    pub fn at(self, first: u16) -> Self {
        match self {
            Self::One(_) => Self::One(first),
            Self::Range(range) => {
                Self::Range(PortRange { first, last: first.saturating_add(range.last - range.first) })
            }
            Self::All => Self::All,
        }
    }
}

impl From<PortRange> for Ports {
    fn from(range: PortRange) -> Self {
        if range.first == range.last { Self::One(range.first) } else { Self::Range(range) }
    }
}

impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::One(_) | Self::Range(_) => self.range().fmt(f),
        }
    }
}

/// One port, or a range of them.
pub(super) fn range(scalar: &Scalar<'_>) -> Result<PortRange, String> {
    let part = |text: &str| {
        let text = text.trim().to_owned().into();
        // A range is text in JSON.
        port(&Scalar { text, plain: true })
    };
    let ends = scalar.text.split_once('-').filter(|(first, last)| !first.is_empty() && !last.is_empty());
    let Some((first, last)) = ends else {
        return port(scalar).map(PortRange::one);
    };
    let (first, last) = (part(first)?, part(last)?);
    if first > last {
        return Err(format!(
            "the range {} ends before it begins; write {last}-{first}",
            super::error::quoted(&scalar.text)
        ));
    }
    Ok(PortRange { first, last })
}

/// Whether rules of all ports can be carried out: replies may come from any port of a member, so that each flow
/// needs an entry.
const HA_PORTS: bool = false;

/// One port, a range of them, or all.
pub(super) fn ports(scalar: &Scalar<'_>) -> Result<Ports, String> {
    match &*scalar.text {
        "all" if HA_PORTS => Ok(Ports::All),
        "all" => {
            Err("\"all\" (HA ports) is not available in this version; write a port, or a range such as \
                      8000-8100"
                .to_owned())
        }
        _ => range(scalar).map(Ports::from),
    }
}

/// Who has taken which ports. Those of one kind (a port, a range, all) do not overlap each other.
#[derive(Debug)]
pub(super) struct Taken<T>([BTreeMap<u16, (PortRange, T)>; 3]);

impl<T> Default for Taken<T> {
    fn default() -> Self {
        Self(Default::default())
    }
}

impl<T: Copy> Taken<T> {
    /// Takes ports, unless somebody has some of them by the same kind of rule already: then it is told who.
    pub(super) fn take(&mut self, ports: Ports, by: T) -> Result<(), T> {
        let kind = &mut self.0[kind(ports)];
        if let Some((_, first)) = overlapping(kind, ports.range()).next() {
            return Err(first);
        }
        kind.insert(ports.first(), (ports.range(), by));
        Ok(())
    }

    /// Who has taken some of these ports, by whatever kind of rule.
    pub(super) fn any(&self, ports: PortRange) -> impl Iterator<Item = (PortRange, T)> {
        self.0.iter().flat_map(move |kind| overlapping(kind, ports))
    }
}

fn kind(ports: Ports) -> usize {
    match ports {
        Ports::One(_) => 0,
        Ports::Range(_) => 1,
        Ports::All => 2,
    }
}

fn overlapping<T: Copy>(
    taken: &BTreeMap<u16, (PortRange, T)>,
    ports: PortRange,
) -> impl Iterator<Item = (PortRange, T)> {
    let before =
        taken.range(..ports.first).next_back().filter(move |(_, (range, _))| range.last >= ports.first);
    before.into_iter().chain(taken.range(ports.first..=ports.last)).map(|(_, taken)| *taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_of_one_kind_do_not_overlap_and_those_of_others_are_found() {
        let range = |first, last| Ports::from(PortRange { first, last });
        let mut taken = Taken::default();
        assert_eq!(taken.take(range(8000, 8100), "range"), Ok(()));
        assert_eq!(taken.take(range(8100, 8200), "late"), Err("range"));
        assert_eq!(taken.take(range(7000, 8000), "early"), Err("range"));
        assert_eq!(taken.take(range(7000, 9000), "around"), Err("range"));
        assert_eq!(taken.take(range(8050, 8050), "one"), Ok(()));
        assert_eq!(taken.take(Ports::One(8050), "again"), Err("one"));
        assert_eq!(taken.take(Ports::All, "all"), Ok(()));
        assert_eq!(taken.take(Ports::All, "both"), Err("all"));
        let by = |ports: Ports| taken.any(ports.range()).map(|(_, by)| by).collect::<Vec<_>>();
        assert_eq!(by(Ports::One(8050)), ["one", "range", "all"]);
        assert_eq!(by(Ports::One(8051)), ["range", "all"]);
        assert_eq!(by(Ports::One(9000)), ["all"]);
    }
}
