//! How frontends are found.

use super::{Section, Tone};
use crate::api::types::{Frontend, FrontendLink, Status};
use crate::cli::table::{Align, Table};

pub(super) fn section(status: &Status) -> Section {
    let mut table =
        Table::new(&[("FRONTEND", Align::Left), ("ADDRESS", Align::Left), ("FOUND", Align::Left)]);
    for frontend in &status.frontends {
        table.row([frontend.name.clone(), frontend.address.to_string(), found(frontend)]);
    }
    super::section(&table, status.frontends.iter().map(tone))
}

fn found(frontend: &Frontend) -> String {
    match frontend.state.as_str() {
        "own" => "an address of this host".to_owned(),
        "quiet" => "routed here: not to be announced".to_owned(),
        "routed" => "routed here: in no network of this host".to_owned(),
        "unused" => "not announced: it has no rule".to_owned(),
        _ => frontend.links.iter().map(on_link).collect::<Vec<_>>().join("; "),
    }
}

fn on_link(link: &FrontendLink) -> String {
    let other = link.other.as_deref().unwrap_or("somebody else");
    let how = match link.state.as_str() {
        "contested" => format!("announced, but {other} says that it is there"),
        "taken" => format!("not answered for, in use by {other}"),
        "asking" => "asking whether it is free".to_owned(),
        "unwatched" => "not announced, XDP is not attached".to_owned(),
        as_it_is => as_it_is.to_owned(),
    };
    format!("{}: {how}", link.name)
}

fn tone(frontend: &Frontend) -> Tone {
    let attention = |link: &FrontendLink| link.state != "announced";
    match frontend.state.as_str() {
        "waiting" => Tone::Bad,
        "unused" => Tone::Attention,
        _ if frontend.links.iter().any(attention) => Tone::Attention,
        _ => Tone::Plain,
    }
}
