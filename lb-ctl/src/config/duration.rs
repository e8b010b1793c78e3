//! Durations as people write them: `500ms`, `5s`, `4m`, `2h15m`.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::error::quoted;
use super::yaml::Scalar;

/// Units from large to small, in milliseconds. A duration names each at most once, in this order.
const UNITS: [(&str, u64); 4] = [("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// A duration within a range.
pub(super) fn duration(scalar: &Scalar<'_>, range: RangeInclusive<Duration>) -> Result<Duration, String> {
    let text = &*scalar.text;
    let Some(value) = parse(text) else {
        let bare = !text.is_empty() && text.len() < 10 && text.bytes().all(|b| b.is_ascii_digit());
        return Err(if bare {
            format!("{text} has no unit; write {text}s for seconds, {text}m for minutes, {text}ms or {text}h")
        } else {
            format!("{} is not a duration such as 500ms, 5s, 4m or 2h15m", quoted(text))
        });
    };
    if range.contains(&value) {
        return Ok(value);
    }
    Err(format!("{text} is out of range; {} to {} are possible", show(*range.start()), show(*range.end())))
}

/// `None` if it is not a duration or more than a century.
fn parse(text: &str) -> Option<Duration> {
    const CENTURY: u64 = 100 * 365 * 24 * 3_600_000;
    let mut rest = text;
    let mut units = UNITS.iter();
    let mut total = 0_u64;
    while !rest.is_empty() {
        let (digits, behind) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit())?);
        let (unit, behind) =
            behind.split_at(behind.find(|c: char| c.is_ascii_digit()).unwrap_or(behind.len()));
        let (_, factor) = units.find(|(name, _)| *name == unit)?;
        total = total.checked_add(digits.parse::<u64>().ok()?.checked_mul(*factor)?)?;
        rest = behind;
    }
    (!text.is_empty() && total <= CENTURY).then_some(Duration::from_millis(total))
}

/// The shortest way to write a duration; parts of milliseconds are dropped.
pub(super) fn show(duration: Duration) -> String {
    let mut rest = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let parts = UNITS.map(|(name, factor)| {
        let count = rest / factor;
        rest %= factor;
        if count == 0 { String::new() } else { format!("{count}{name}") }
    });
    let text = parts.concat();
    if text.is_empty() { "0s".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{parse, show};

    #[test]
    fn units_add_up() {
        let cases =
            [("500ms", 500), ("5s", 5_000), ("4m", 240_000), ("2h15m", 8_100_000), ("1h1m1s1ms", 3_661_001)];
        for (text, milliseconds) in cases {
            assert_eq!(parse(text), Some(Duration::from_millis(milliseconds)), "{text}");
            assert_eq!(show(Duration::from_millis(milliseconds)), text);
        }
    }

    #[test]
    fn what_is_no_duration_is_none() {
        let wrong = [
            "",
            "5",
            "s",
            "5 s",
            "-5s",
            "1.5s",
            "15m2h",
            "5s5s",
            "5d",
            "2h15",
            "99999999999999999999s",
            "9999999h",
            "٣s",
        ];
        for text in wrong {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
