//! Single values: text to type, or a message that says what would have been right.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;

use super::error::quoted;
use super::model::Prefix;
use super::suggest::did_you_mean;
use super::words::Word;
use super::yaml::Scalar;

/// As long as an Azure name may be.
const LONGEST_NAME: usize = 80;

/// `IFNAMSIZ` without its closing NUL.
const LONGEST_INTERFACE: usize = 15;

/// More than a request line should carry; servers refuse 8 KiB.
const LONGEST_PATH: usize = 2_048;

/// The name of something in this file: a label in tables, metrics and `pool/backend`.
pub(super) fn name(scalar: &Scalar<'_>) -> Result<String, String> {
    let text = &*scalar.text;
    let good = text.len() <= LONGEST_NAME
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'));
    if good {
        return Ok(text.to_owned());
    }
    Err(format!(
        "{} cannot be a name; use at most {LONGEST_NAME} letters, digits, \".\", \"_\" and \"-\", a letter or digit first",
        quoted(text)
    ))
}

/// The name of something else in this file; whether it exists is checked later.
#[expect(clippy::unnecessary_wraps, reason = "has the shape that the reader of fields wants")]
pub(super) fn reference(scalar: &Scalar<'_>) -> Result<String, String> {
    Ok(scalar.text.clone().into_owned())
}

/// A name that the kernel would accept for an interface.
pub(super) fn interface(scalar: &Scalar<'_>) -> Result<String, String> {
    let text = &*scalar.text;
    let good = (1..=LONGEST_INTERFACE).contains(&text.len())
        && !matches!(text, "." | "..")
        && text.chars().all(|c| c.is_ascii_graphic() && !matches!(c, '/' | ':'));
    if good {
        return Ok(text.to_owned());
    }
    Err(format!(
        "{} cannot be an interface; names have 1 to {LONGEST_INTERFACE} characters without spaces, \"/\" and \":\" (see ip link)",
        quoted(text)
    ))
}

/// One of a few words. `later` are those whose feature this version does not have.
pub(super) fn choice<T: Copy>(
    scalar: &Scalar<'_>,
    now: &[(&'static str, T)],
    later: &[&str],
) -> Result<T, String> {
    let text = &*scalar.text;
    if let Some((_, value)) = now.iter().find(|(word, _)| *word == text) {
        return Ok(*value);
    }
    let words: Vec<&str> = now.iter().map(|(word, _)| *word).collect();
    let available = words.join(", ");
    if later.contains(&text) {
        return Err(format!("{} is not available in this version; available: {available}", quoted(text)));
    }
    let hint = did_you_mean(text, words.iter().copied());
    Err(format!("{} is not one of: {available}{hint}", quoted(text)))
}

/// The same for the words of a type.
pub(super) fn word<T: Word>(scalar: &Scalar<'_>, later: &[&str]) -> Result<T, String> {
    let now: Vec<(&'static str, T)> = T::ALL.iter().map(|value| (value.word(), *value)).collect();
    choice(scalar, &now, later)
}

/// A switch whose other position this version does not have.
pub(super) fn off(scalar: &Scalar<'_>) -> Result<(), String> {
    if truth(scalar)? {
        return Err("true is not available in this version; write false, or remove the key".to_owned());
    }
    Ok(())
}

/// True or false.
pub(super) fn truth(scalar: &Scalar<'_>) -> Result<bool, String> {
    match (&*scalar.text, scalar.plain) {
        ("false" | "False" | "FALSE", true) => Ok(false),
        ("true" | "True" | "TRUE", true) => Ok(true),
        (text, _) => Err(format!("expected true or false (without quotes), found {}", quoted(text))),
    }
}

/// A whole number in decimal.
pub(super) fn whole(scalar: &Scalar<'_>, range: RangeInclusive<u32>) -> Result<u32, String> {
    let (text, least, most) = (&*scalar.text, range.start(), range.end());
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if !digits || (text.len() > 1 && text.starts_with('0')) {
        return Err(format!("expected a whole number from {least} to {most}, found {}", quoted(text)));
    }
    if !scalar.plain {
        return Err(format!("{} is text; write the number without quotes", quoted(text)));
    }
    match text.parse() {
        Ok(number) if range.contains(&number) => Ok(number),
        _ => {
            Err(format!("{} is out of range; {least} to {most} are possible", quoted(text).trim_matches('"')))
        }
    }
}

/// One port.
pub(super) fn port(scalar: &Scalar<'_>) -> Result<u16, String> {
    let text = &*scalar.text;
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let is_range = |(from, to): (&str, &str)| is_number(from.trim_end()) && is_number(to.trim_start());
    if text == "all" || text.split_once('-').is_some_and(is_range) {
        return Err(format!("{} is more than one port; write one", quoted(text)));
    }
    if text == "0" && scalar.plain {
        return Err("no service listens on port 0; write 1 to 65535".to_owned());
    }
    let number = whole(scalar, 1..=u32::from(u16::MAX))?;
    u16::try_from(number).map_err(|_| format!("{number} is no port"))
}

/// An address that a host can have.
pub(super) fn address(scalar: &Scalar<'_>) -> Result<IpAddr, String> {
    let text = &*scalar.text;
    let Ok(address) = text.parse::<IpAddr>() else {
        return Err(no_address(text));
    };
    let kind = match address {
        IpAddr::V4(address) => no_host_ipv4(address),
        IpAddr::V6(address) => no_host_ipv6(address),
    };
    match kind {
        None => Ok(address),
        Some(kind) => Err(format!("{address} is {kind}; write the address of one host")),
    }
}

fn no_host_ipv4(address: Ipv4Addr) -> Option<&'static str> {
    match address.octets()[0] {
        0 => Some("no host's address (0.0.0.0/8)"),
        127 => Some("a loopback address (127.0.0.0/8), which never arrives by a network"),
        224..=239 => Some("a multicast address (224.0.0.0/4)"),
        _ if address.is_broadcast() => Some("the broadcast address"),
        240..=255 => Some("reserved (240.0.0.0/4)"),
        _ => None,
    }
}

fn no_host_ipv6(address: Ipv6Addr) -> Option<&'static str> {
    if address.is_unspecified() {
        Some("no host's address (::)")
    } else if address.is_loopback() {
        Some("the loopback address, which never arrives by a network")
    } else if address.is_multicast() {
        Some("a multicast address (ff00::/8)")
    } else if address.is_unicast_link_local() {
        Some("a link-local address (fe80::/10), which no router forwards")
    } else if address.to_ipv4_mapped().is_some() {
        Some("an IPv4 address in IPv6 form (::ffff:0:0/96), which never arrives by a network")
    } else {
        None
    }
}

fn no_address(text: &str) -> String {
    let shown = quoted(text);
    if text.contains('%') {
        return format!("{shown} has a zone; write the address alone");
    }
    if text.contains('/') {
        return format!("{shown} is a prefix; write one address");
    }
    if text.starts_with('[') || text.parse::<std::net::SocketAddr>().is_ok() {
        return format!("{shown} has a port; write the address alone, ports belong to rules and probes");
    }
    format!("{shown} is not an address such as 10.0.1.11 or fd00:1::11; host names are not looked up")
}

/// A prefix without host bits, or one address.
pub(super) fn prefix(scalar: &Scalar<'_>) -> Result<Prefix, String> {
    let text = &*scalar.text;
    let (address, length) = match text.split_once('/') {
        Some((address, length)) => (address, Some(length)),
        None => (text, None),
    };
    let Ok(address) = address.parse::<IpAddr>() else {
        return Err(format!(
            "{} is not a prefix such as 198.51.100.0/24 or 2001:db8::/32; 0.0.0.0/0 and ::/0 are everybody",
            quoted(text)
        ));
    };
    let whole = Prefix::host(address).length;
    let length = match length {
        None if address.is_unspecified() => {
            return Err(format!("{address} alone is nobody; write {address}/0 for everybody"));
        }
        None => whole,
        Some(digits) => match digits.parse::<u8>() {
            Ok(length) if length <= whole && !digits.starts_with('+') => length,
            _ => {
                return Err(format!(
                    "{} has no prefix length from 0 to {whole} behind the slash",
                    quoted(text)
                ));
            }
        },
    };
    let prefix = Prefix { address, length };
    let network = prefix.network();
    if network != address {
        return Err(format!(
            "{address}/{length} has bits set behind the prefix; write {network}/{length} for the network or {address}/{whole} for the host"
        ));
    }
    Ok(prefix)
}

/// What an HTTP probe asks for; a relative path is accepted (S-PRB-17) and gets its slash.
/// Nothing in it can end the request line.
pub(super) fn http_path(scalar: &Scalar<'_>) -> Result<String, String> {
    let text = &*scalar.text;
    if text.starts_with("http://") || text.starts_with("https://") {
        return Err(format!("{} is a URL; write its path alone, such as /healthz", quoted(text)));
    }
    if let Some(bad) = text.chars().find(|c| !c.is_ascii_graphic() || *c == '#') {
        return Err(format!(
            "{} cannot be sent: '{}' must be percent-encoded in a path",
            quoted(text),
            bad.escape_debug()
        ));
    }
    if text.len() > LONGEST_PATH {
        return Err(format!("the path has {} characters; {LONGEST_PATH} are possible", text.len()));
    }
    let slash = if text.starts_with('/') { "" } else { "/" };
    Ok(format!("{slash}{text}"))
}
