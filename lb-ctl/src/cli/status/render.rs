//! A status as people read it: a pure function.

mod frontends;

use std::net::IpAddr;
use std::time::Duration;

use lb_common::reason::{Action, Reason};

use crate::api::types::{Exceptions, Member, NatRule, Packets, Rule, Status, Tracked};
use crate::cli::table::{Align, Table, count, duration, number};

/// How it is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct View {
    pub colours: bool,
    /// Longer lines are cut; `None`: none is.
    pub width: Option<usize>,
}

/// All sections that have something to say.
#[must_use]
pub fn render(status: &Status, view: View) -> String {
    let sections = [head, frontends::section, rules, nat_rules, members, packets, warnings]
        .map(|section| section(status));
    let mut text = String::new();
    for section in sections.iter().filter(|section| !section.is_empty()) {
        if !text.is_empty() {
            text.push('\n');
        }
        for (line, tone) in section {
            text += &paint(&cut(line, view.width), *tone, view.colours);
            text.push('\n');
        }
    }
    text
}

/// What a line says at a glance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tone {
    Plain,
    Heading,
    Attention,
    Bad,
}

type Section = Vec<(String, Tone)>;

fn head(status: &Status) -> Section {
    let up = duration(Duration::from_secs(status.uptime_seconds));
    let Status { instance, version, generation, .. } = status;
    let watched: Vec<String> = status
        .interfaces
        .iter()
        .map(|interface| format!("{} ({})", interface.name, interface.mode))
        .collect();
    let watched = if watched.is_empty() { "none yet".to_owned() } else { watched.join(", ") };
    vec![
        (format!("{instance}: lbctl {version}, up {up}, generation {generation}"), Tone::Heading),
        (format!("XDP on: {watched}"), Tone::Plain),
    ]
}

fn rules(status: &Status) -> Section {
    let mut table = Table::new(&[
        ("RULE", Align::Left),
        ("FRONTEND", Align::Left),
        ("POOL", Align::Left),
        ("UP", Align::Right),
        ("NEW/S", Align::Right),
        ("PKTS/S", Align::Right),
        ("OPENED", Align::Right),
        ("STATE", Align::Left),
    ]);
    for rule in &status.rules {
        table.row([
            rule.name.clone(),
            format!("{} {}", rule.protocol, at(rule.address, &rule.ports)),
            pool_and_port(rule),
            format!("{}/{}", rule.accepting, rule.members),
            number(rule.opened_per_second),
            number(rule.packets_per_second),
            count(rule.opened),
            state_of(rule),
        ]);
    }
    section(&table, status.rules.iter().map(tone_of_rule))
}

fn nat_rules(status: &Status) -> Section {
    let mut table = Table::new(&[
        ("NAT RULE", Align::Left),
        ("FRONTEND", Align::Left),
        ("TO", Align::Left),
        ("PORTS", Align::Right),
        ("NEW/S", Align::Right),
        ("PKTS/S", Align::Right),
        ("OPENED", Align::Right),
        ("STATE", Align::Left),
    ]);
    for rule in &status.nat_rules {
        let member = rule.member.as_ref().map_or(String::new(), |member| format!("/{member}"));
        table.row([
            rule.name.clone(),
            format!("{} {}", rule.protocol, at(rule.address, &rule.ports)),
            format!("{}{member}:{}", rule.pool, rule.backend_port),
            format!("{}/{}", rule.used, rule.room),
            number(rule.opened_per_second),
            number(rule.packets_per_second),
            count(rule.opened),
            state_of_nat(rule),
        ]);
    }
    let tone = |rule: &NatRule| if rule.access == "closed" { Tone::Attention } else { Tone::Plain };
    section(&table, status.nat_rules.iter().map(tone))
}

/// An address with its ports.
fn at(address: IpAddr, ports: &str) -> String {
    match address {
        IpAddr::V4(address) => format!("{address}:{ports}"),
        IpAddr::V6(address) => format!("[{address}]:{ports}"),
    }
}

fn state_of_nat(rule: &NatRule) -> String {
    let closed = (rule.access == "closed").then(|| "closed to everybody".to_owned());
    let held = (rule.held > 0).then(|| format!("{} held", count(rule.held as u64)));
    let notes: Vec<String> = closed.into_iter().chain(held).collect();
    if notes.is_empty() { "ok".to_owned() } else { notes.join("; ") }
}

fn pool_and_port(rule: &Rule) -> String {
    if rule.backend_ports == rule.ports {
        rule.pool.clone()
    } else {
        format!("{}:{}", rule.pool, rule.backend_ports)
    }
}

fn state_of(rule: &Rule) -> String {
    let mut notes = Vec::new();
    if rule.access == "closed" {
        notes.push("closed to everybody".to_owned());
    }
    if rule.accepting == 0 {
        notes.push("no member accepts".to_owned());
    }
    if let Some(why) = &rule.tracking {
        notes.push(format!("tracks ({why})"));
    }
    if let Some(transition) = &rule.transition {
        let left = duration(Duration::from_secs(transition.seconds_left));
        let prolonged = match transition.prolonged {
            0 => String::new(),
            times => format!(", prolonged {times}x"),
        };
        notes.push(format!("settles in {left}{prolonged}"));
    }
    if notes.is_empty() { "ok".to_owned() } else { notes.join("; ") }
}

fn tone_of_rule(rule: &Rule) -> Tone {
    match () {
        () if rule.accepting == 0 => Tone::Bad,
        () if rule.access == "closed" || rule.accepting < rule.members => Tone::Attention,
        () => Tone::Plain,
    }
}

fn members(status: &Status) -> Section {
    let mut table = Table::new(&[
        ("MEMBER", Align::Left),
        ("ADDRESS", Align::Left),
        ("PROBE", Align::Left),
        ("STATE", Align::Left),
        ("SINCE", Align::Right),
        ("OPENED", Align::Right),
        ("WHY", Align::Left),
        ("NEXT HOP", Align::Left),
    ]);
    for member in &status.members {
        let since = member.since_seconds.map(|seconds| duration(Duration::from_secs(seconds)));
        table.row([
            format!("{}/{}", member.pool, member.name),
            member.address.to_string(),
            member.probe.clone().unwrap_or_else(|| "-".to_owned()),
            member.state.clone(),
            since.unwrap_or_else(|| "-".to_owned()),
            count(member.opened),
            member.reason.clone(),
            member.next_hop.clone(),
        ]);
    }
    section(&table, status.members.iter().map(tone_of_member))
}

fn tone_of_member(member: &Member) -> Tone {
    match member.state.as_str() {
        "up" => Tone::Plain,
        "down" => Tone::Bad,
        _ => Tone::Attention,
    }
}

/// A table and the tone of each row; nothing without rows.
fn section(table: &Table, tones: impl Iterator<Item = Tone>) -> Section {
    let tones: Vec<Tone> = std::iter::once(Tone::Heading).chain(tones).collect();
    if tones.len() == 1 { Vec::new() } else { table.lines().into_iter().zip(tones).collect() }
}

/// Room for exceptions, and packets that were dropped.
fn packets(status: &Status) -> Section {
    let Exceptions { confirmed, confirmed_room, pending, pending_room } = status.exceptions;
    let mut lines = vec![(
        format!(
            "EXCEPTIONS  {} of {} proven, {} of {} waiting for proof",
            count(confirmed),
            count(confirmed_room),
            count(pending),
            count(pending_room)
        ),
        if confirmed * 10 > confirmed_room * 9 { Tone::Attention } else { Tone::Plain },
    )];
    let Tracked { flows, room, opening } = status.tracked;
    if flows + opening > 0 {
        lines.push((
            format!(
                "TRACKED     {} of {} flows, {} more are opening",
                count(flows),
                count(room),
                count(opening)
            ),
            if flows * 10 > room * 9 { Tone::Attention } else { Tone::Plain },
        ));
    }
    let mut dropped: Vec<(&Reason, u64)> =
        Reason::ALL.iter().filter_map(|reason| Some((reason, drops(status, *reason)?))).collect();
    dropped.sort_by_key(|(_, packets)| std::cmp::Reverse(*packets));
    if dropped.is_empty() {
        lines.push(("DROPPED     nothing".to_owned(), Tone::Plain));
        return lines;
    }
    let mut table = Table::new(&[("DROPPED", Align::Right), ("REASON", Align::Left), ("", Align::Left)]);
    for (reason, packets) in &dropped {
        table.row([count(*packets), reason.name().to_owned(), reason.text().to_owned()]);
    }
    lines.extend(section(&table, dropped.iter().map(|_| Tone::Plain)));
    lines
}

fn drops(status: &Status, reason: Reason) -> Option<u64> {
    let Packets { packets, .. } = status.reasons.get(reason.name())?;
    (reason.action() == Action::Drop).then_some(*packets)
}

fn warnings(status: &Status) -> Section {
    status.warnings.iter().map(|warning| (format!("warning: {warning}"), Tone::Attention)).collect()
}

fn cut(line: &str, width: Option<usize>) -> String {
    match width {
        Some(width) if line.chars().count() > width => {
            line.chars().take(width.saturating_sub(1)).chain(['…']).collect()
        }
        _ => line.to_owned(),
    }
}

fn paint(line: &str, tone: Tone, colours: bool) -> String {
    match tone {
        _ if !colours => line.to_owned(),
        Tone::Plain => line.to_owned(),
        Tone::Heading => format!("\x1b[1m{line}\x1b[0m"),
        Tone::Attention => format!("\x1b[33m{line}\x1b[0m"),
        Tone::Bad => format!("\x1b[31m{line}\x1b[0m"),
    }
}
