//! The maps as text: a line for each entry.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;

use lb_common::abi::{AddressFlags, Range, Rule, View, access};
use lb_common::units::MemberId;
use lb_ctl::state::{MapState, PortPrefix, RuleKey};

/// Everything but the sieve, which follows from the rest.
pub(crate) fn dump(state: &MapState) -> String {
    let mut text = String::new();
    let root = &state.root;
    line(&mut text, format_args!("root     epoch {}, marks live {} steps", root.epoch, root.mark_life));
    for (key, rule) in &state.rules {
        line(&mut text, format_args!("{}", described(*key, rule, state)));
    }
    for (ports, range) in &state.ranges {
        let frontend = format!("{}/{}", ports.key.of, protocol(ports.key.protocol));
        line(
            &mut text,
            format_args!("range    {frontend} of epoch {}: {}", ports.key.epoch, part(ports, *range)),
        );
    }
    for (base, ring) in &state.rings {
        line(&mut text, format_args!("ring     at {base}, {} slots: {}", ring.len(), shares(ring)));
    }
    for (index, word) in &state.health {
        line(&mut text, format_args!("health   at {index}: {word:#b}"));
    }
    for (label, member) in &state.members {
        let way = if member.ifindex == 0 {
            "by the kernel".to_owned()
        } else {
            format!("by interface {}", member.ifindex)
        };
        line(&mut text, format_args!("member   #{} is {}, {way}", label.0, member.address));
    }
    for (address, owner) in &state.owners {
        line(&mut text, format_args!("owner    {address} is #{} of group {}", owner.member.0, owner.group));
    }
    for (key, reverse) in &state.reverse {
        line(
            &mut text,
            format_args!(
                "reverse  group {} {}/{} comes from {}:{}, numbers {}, life {}",
                key.group,
                key.port.get(),
                protocol(key.protocol),
                reverse.address,
                reverse.port.get(),
                reverse.stats,
                reverse.life
            ),
        );
    }
    for (ports, range) in &state.reverse_ranges {
        let group = format!("group {}/{}", ports.key.of, protocol(ports.key.protocol));
        line(&mut text, format_args!("reverse  {group}: {}", part(ports, *range)));
    }
    for (entry, verdict) in &state.access {
        let says = ["denies", "allows"][*verdict as usize];
        let network = entry.address;
        line(&mut text, format_args!("access   list {} {says} {network}/{}", entry.list, entry.length));
    }
    for (address, flags) in &state.addresses {
        line(&mut text, format_args!("address  {address} is {}", kind(*flags)));
    }
    for (key, at) in &state.announced {
        let at = at.hardware.map(|byte| format!("{byte:02x}")).join(":");
        line(&mut text, format_args!("answer   for {} on interface {}: {at}", key.address, key.ifindex));
    }
    text
}

/// As many ports as one prefix has, and the range that they are of.
fn part<O: Copy>(ports: &PortPrefix<O>, range: Range) -> String {
    let first = ports.key.port.get();
    let last = first + u16::MAX.checked_shr(ports.length.into()).unwrap_or(0);
    format!("{first}-{last} of {}-{}", range.first.get(), range.last.get())
}

fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    writeln!(text, "{line}").expect("memory");
}

fn described(key: RuleKey, rule: &Rule, state: &MapState) -> String {
    let list = match rule.list() {
        access::OPEN => "open".to_owned(),
        access::CLOSED => "closed".to_owned(),
        list => format!("list {list}"),
    };
    let judged = if rule.access & access::NEW_FLOWS == 0 { "" } else { " for new flows" };
    let access = list + judged;
    let mut text = format!(
        "rule     {}/{} of epoch {}, {access}, numbers {}, life {}\n           goes to {}",
        SocketAddr::new(key.address, key.port.get()),
        protocol(key.protocol),
        key.epoch,
        rule.stats,
        rule.life,
        view(&rule.current, state)
    );
    if rule.old.present != 0 {
        write!(text, "\n           from    {}", view(&rule.old, state)).expect("memory");
    }
    text
}

fn view(view: &View, state: &MapState) -> String {
    let mode = ["5-tuple", "source-ip", "source-ip-protocol"][usize::from(view.mode)];
    let accepting: Vec<_> = state.members.keys().filter(|label| state.accepts(view, **label)).collect();
    format!(
        "port {} by {mode}, ring {}+{}, health {}+{} after {}, accepting {}",
        view.port.get(),
        view.ring_base,
        view.ring_size,
        view.health_base,
        view.health_words,
        view.health_skip,
        labels(accepting.into_iter().copied())
    )
}

fn labels(labels: impl Iterator<Item = MemberId>) -> String {
    let names: Vec<_> = labels.map(|label| format!("#{}", label.0)).collect();
    if names.is_empty() { "nobody".to_owned() } else { names.join(" ") }
}

/// Slots of each member.
fn shares(ring: &[MemberId]) -> String {
    let mut counts = BTreeMap::<MemberId, usize>::new();
    for member in ring {
        *counts.entry(*member).or_default() += 1;
    }
    let shares: Vec<_> = counts.iter().map(|(member, count)| format!("#{} has {count}", member.0)).collect();
    shares.join(", ")
}

fn kind(flags: AddressFlags) -> String {
    let health = match (flags.has(AddressFlags::SERVES), flags.has(AddressFlags::DOWN)) {
        (true, false) => " that serves",
        (false, true) => " that is down",
        (false, false) => "",
        (true, true) => " that contradicts itself",
    };
    match (flags.has(AddressFlags::FRONTEND), flags.has(AddressFlags::OWN)) {
        (true, true) => format!("a frontend{health} and the host's own"),
        (true, false) if flags.has(AddressFlags::WIDE) => format!("a frontend{health} with ranges"),
        (true, false) => format!("a frontend{health}"),
        (false, true) => "the host's own".to_owned(),
        (false, false) => "nothing".to_owned(),
    }
}

fn protocol(number: u8) -> &'static str {
    match number {
        6 => "tcp",
        17 => "udp",
        134 => "tcp range",
        145 => "udp range",
        _ => "?",
    }
}
