//! What an apply changed, in lines for people.

use std::collections::BTreeMap;

use lb_common::units::MemberId;

use crate::compile::Service;
use crate::config::model::{Access, Config, Pool, Rule};
use crate::state::MapState;

/// One line for each thing that changed from one configuration to the next.
pub(super) fn between(
    old: Option<&Config>,
    old_maps: &MapState,
    new: &Config,
    maps: &MapState,
) -> Vec<String> {
    let mut lines = Vec::new();
    frontends(old, new, &mut lines);
    pools(old, new, &mut lines);
    rules(old, new, &mut lines);
    moved(old_maps, new, maps, &mut lines);
    lines
}

/// What the operator should know about a configuration that is in force.
pub(super) fn warnings(config: &Config) -> Vec<String> {
    let closed = config.rules().iter().filter(|rule| rule.access == Access::Closed);
    let closed = closed
        .map(|rule| format!("rule {}: closed, because it has no access list; nobody can use it", rule.name));
    let empty = config.rules().iter().filter(|rule| config.pool_of(rule).backends.is_empty());
    let empty =
        empty.map(|rule| format!("rule {}: pool {} has no backend", rule.name, config.pool_of(rule).name));
    closed.chain(empty).collect()
}

/// Added, removed and changed things of a kind, by name.
fn compare<T: PartialEq>(
    kind: &str,
    old: &BTreeMap<&str, &T>,
    new: &BTreeMap<&str, &T>,
    lines: &mut Vec<String>,
    tell: impl Fn(&T, &T) -> Option<String>,
) {
    for (name, value) in new {
        match old.get(name) {
            None => lines.push(format!("{kind} {name}: added")),
            Some(before) if before == value => {}
            Some(before) => lines.extend(tell(before, value).map(|what| format!("{kind} {name}: {what}"))),
        }
    }
    lines.extend(
        old.keys().filter(|name| !new.contains_key(*name)).map(|name| format!("{kind} {name}: removed")),
    );
}

fn frontends(old: Option<&Config>, new: &Config, lines: &mut Vec<String>) {
    let named = |config: &Config| -> BTreeMap<String, std::net::Ipv4Addr> {
        config.frontends().iter().map(|frontend| (frontend.name.clone(), frontend.address)).collect()
    };
    let (old, new) = (old.map(named).unwrap_or_default(), named(new));
    let by_name = |map| borrowed(map);
    compare("frontend", &by_name(&old), &by_name(&new), lines, |before, after| {
        Some(format!("{before} becomes {after}"))
    });
}

fn borrowed<T>(map: &BTreeMap<String, T>) -> BTreeMap<&str, &T> {
    map.iter().map(|(name, value)| (name.as_str(), value)).collect()
}

fn pools(old: Option<&Config>, new: &Config, lines: &mut Vec<String>) {
    let old_pools: BTreeMap<&str, &Pool> =
        old.into_iter().flat_map(Config::pools).map(|pool| (pool.name.as_str(), pool)).collect();
    let new_pools: BTreeMap<&str, &Pool> =
        new.pools().iter().map(|pool| (pool.name.as_str(), pool)).collect();
    compare("pool", &old_pools, &new_pools, lines, |before, after| Some(members(before, after)));
}

fn members(before: &Pool, after: &Pool) -> String {
    let by_name = |pool: &Pool| -> BTreeMap<_, _> {
        pool.backends.iter().map(|backend| (backend.name.clone(), backend.clone())).collect()
    };
    let (old, new) = (by_name(before), by_name(after));
    let mut parts = Vec::new();
    parts.extend(new.keys().filter(|name| !old.contains_key(*name)).map(|name| format!("+{name}")));
    parts.extend(old.keys().filter(|name| !new.contains_key(*name)).map(|name| format!("-{name}")));
    for (name, backend) in &new {
        let Some(was) = old.get(name) else { continue };
        if was.address != backend.address {
            parts.push(format!("{name} moves from {} to {}", was.address, backend.address));
        }
        if was.weight != backend.weight {
            parts.push(format!("{name} weight {} becomes {}", was.weight, backend.weight));
        }
        if was.admin_state != backend.admin_state {
            parts.push(
                format!("{name} admin state {:?} becomes {:?}", was.admin_state, backend.admin_state)
                    .to_lowercase(),
            );
        }
    }
    if before.max_members != after.max_members {
        parts.push(format!("maxMembers {} becomes {}", before.max_members, after.max_members));
    }
    if before.transition != after.transition {
        parts.push(format!("transition {:?} becomes {:?}", before.transition, after.transition));
    }
    if parts.is_empty() { "order of members".to_owned() } else { parts.join(", ") }
}

fn rules(old: Option<&Config>, new: &Config, lines: &mut Vec<String>) {
    let described = |config: &Config| -> BTreeMap<String, String> {
        config.rules().iter().map(|rule| (rule.name.clone(), describe(config, rule))).collect()
    };
    let (old, new) = (old.map(described).unwrap_or_default(), described(new));
    compare("rule", &borrowed(&old), &borrowed(&new), lines, |_, after| Some(format!("now {after}")));
}

fn describe(config: &Config, rule: &Rule) -> String {
    let access = match &rule.access {
        Access::Open => "open".to_owned(),
        Access::Closed => "closed".to_owned(),
        Access::Prefixes(prefixes) => format!("{} prefixes allowed", prefixes.len()),
    };
    let probe = config.probe_of(rule).map_or("no probe".to_owned(), |probe| format!("probe {}", probe.name));
    format!(
        "{:?} {}:{} to pool {} port {}, {:?}, {probe}, {access}",
        rule.protocol,
        config.frontend_of(rule).address,
        rule.port,
        config.pool_of(rule).name,
        rule.backend_port,
        rule.distribution,
    )
}

/// How much of each rule's ring changed its member, and how long old connections are carried.
fn moved(old_maps: &MapState, config: &Config, maps: &MapState, lines: &mut Vec<String>) {
    let before = super::core::in_force(old_maps);
    let after = super::core::in_force(maps);
    for rule in config.rules() {
        let service = Service::named_by(config, rule);
        let (Some(before), Some(after)) = (before.get(&service), after.get(&service)) else { continue };
        let same = (before.current.ring_base, before.current.port, before.current.mode)
            == (after.current.ring_base, after.current.port, after.current.mode);
        if same || after.old.present == 0 {
            continue;
        }
        let ring = |maps: &MapState, base: u32| maps.rings.get(&base).cloned().unwrap_or_default();
        let share = share(&ring(old_maps, before.current.ring_base), &ring(maps, after.current.ring_base));
        let carried = config.pool_of(rule).transition;
        lines.push(match share {
            Some(share) if before.current.port == after.current.port && before.current.mode == after.current.mode => {
                format!("rule {}: {share:.1} % of the ring changes member; open connections stay, carried for {carried:?}", rule.name)
            }
            _ => format!("rule {}: a new view; open connections stay with the old one, carried for {carried:?}", rule.name),
        });
    }
}

/// Percentage of slots with another member, of rings of one size.
fn share(old: &[MemberId], new: &[MemberId]) -> Option<f64> {
    if old.len() != new.len() || new.is_empty() {
        return None;
    }
    let moved = old.iter().zip(new).filter(|(old, new)| old != new).count();
    #[allow(clippy::cast_precision_loss, reason = "at most 131,071")]
    Some(moved as f64 * 100.0 / new.len() as f64)
}
