//! Who may use whom, as ARCHITECTURE.md draws it.

use super::{
    File, Finding,
    imports::{self, Named},
};

/// The rooms of lb-ctl and the other rooms that each may use; `health::*` is the whole tree. The
/// longest name that fits a module is its room.
const ROOMS: &[(&str, &[&str])] = &[
    // Decisions: no input or output, no clock, no thread. What they say about the data plane are
    // the values of its trait's module.
    ("config", &[]),
    ("state", &[]),
    ("units", &[]),
    ("compile", &["config", "dataplane", "health", "state"]),
    ("plan", &["compile", "config", "dataplane", "state"]),
    ("announce::machine", &["announce", "announce::wire", "state"]),
    ("announce::wire", &["announce"]),
    ("health::outcome", &["config", "health"]),
    ("health::schedule", &["config", "health"]),
    ("health::machine", &["config", "health", "health::outcome", "health::schedule"]),
    // The outside world.
    ("health", &["config"]),
    ("health::probe", &["config"]),
    ("health::prober", &["config"]),
    ("health::sockets", &["config"]),
    ("health::table", &["config"]),
    ("neighbours", &["compile", "config"]),
    ("announce", &["state"]),
    ("dataplane", &["compile", "config", "plan", "state"]),
    ("dataplane::bpf", &["compile", "config", "plan", "state"]),
    ("events", &["config"]),
    ("capture", &["config", "dataplane"]),
    // What ties both together.
    ("metrics", &["compile", "config", "dataplane", "health::*", "state"]),
    (
        "reconcile",
        &[
            "announce",
            "api::types",
            "compile",
            "config",
            "dataplane",
            "events",
            "health::*",
            "metrics",
            "neighbours",
            "plan",
            "state",
        ],
    ),
    ("import", &["config"]),
    ("api", &[]),
    // Shared by both sides, so it uses neither.
    ("api::types", &[]),
    ("api::client", &["api::types"]),
    (
        "api::server",
        &[
            "api::types",
            "compile",
            "config",
            "dataplane",
            "events",
            "health::*",
            "metrics",
            "neighbours",
            "plan",
            "reconcile",
            "state",
        ],
    ),
    (
        "daemon",
        &[
            "announce",
            "api::*",
            "capture",
            "compile",
            "config",
            "dataplane::*",
            "events",
            "health::*",
            "metrics",
            "neighbours",
            "plan",
            "reconcile",
            "state",
        ],
    ),
    // What people see.
    ("cli", &["api::client", "api::types"]),
    ("cli::input", &["config"]),
    ("cli::serve", &["config", "daemon"]),
    ("cli::detach", &["daemon", "dataplane::*"]),
    ("cli::validate", &["config"]),
    ("cli::apply", &["api::client", "api::types", "config"]),
    ("cli::import", &["config", "import"]),
    ("top", &["api::client", "api::types"]),
    ("main", &["cli"]),
];

/// Plain arithmetic, which every room may use.
const SHARED: &str = "units";

/// Rooms that decide on paper.
const PURE: [&str; 10] = [
    "units",
    "config",
    "state",
    "compile",
    "plan",
    "announce::machine",
    "announce::wire",
    "health::machine",
    "health::outcome",
    "health::schedule",
];

/// What they must not name.
const IMPURE: [&str; 18] = [
    "std::fs",
    "std::env",
    "std::process",
    "std::thread",
    "std::sync::mpsc",
    "std::net::TcpStream",
    "std::net::TcpListener",
    "std::net::UdpSocket",
    "std::os",
    "Instant::now",
    "SystemTime::now",
    "tokio",
    "axum",
    "aya",
    "rtnetlink",
    // Its names of errors are values.
    "nix::sys",
    "nix::unistd",
    "libc",
];

pub(crate) fn check(files: &[File]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in files.iter().filter(|file| file.is_rust() && !file.is_test()) {
        if let Some(module) = file.path.strip_prefix("lb-ctl/src/") {
            findings.extend(in_controller(file, &module_path(module)));
        } else if file.path.starts_with("lb-common/src/") {
            findings.extend(in_core(file));
        }
    }
    findings
}

/// `health/mod.rs` and `health.rs` are `health`.
fn module_path(file: &str) -> Vec<String> {
    let file = file.trim_end_matches(".rs").trim_end_matches("/mod");
    file.split('/').filter(|part| *part != "mod").map(ToOwned::to_owned).collect()
}

/// The core is built without std and without an allocator, and names nothing of them.
fn in_core(file: &File) -> Vec<Finding> {
    let outside = |named: &Named| named.path.len() > 1 && ["std", "alloc"].contains(&named.path[0].as_str());
    imports::of(&file.text)
        .into_iter()
        .filter(outside)
        .map(|named| {
            let what = format!("names {}; lb-common uses core only", named.path.join("::"));
            Finding::at_line(&file.path, named.line, what)
        })
        .collect()
}

fn in_controller(file: &File, module: &[String]) -> Vec<Finding> {
    if module == ["lib"] {
        return Vec::new();
    }
    let Some((room, allowed)) = room_of(module) else {
        let what = "is in no room; give it one in xtask/src/check/rooms.rs, with whom it may use";
        return vec![Finding::in_file(&file.path, what.to_owned())];
    };
    imports::of(&file.text)
        .into_iter()
        .filter_map(|named| {
            let wrong = wrong_room(&named, module, room, allowed)
                .or_else(|| wrong_aya(&named, module))
                .or_else(|| wrong_impure(&named, room))?;
            Some(Finding::at_line(&file.path, named.line, wrong))
        })
        .collect()
}

fn wrong_room(named: &Named, module: &[String], room: &str, allowed: &[&str]) -> Option<String> {
    let used = resolve(named, module)?;
    let (target, _) = room_of(&used)?;
    let tree = room.split("::").next();
    let own = target.split("::").next() == tree && !PURE.contains(&room) && !is_api(room);
    let fits = |allowed: &&str| match allowed.strip_suffix("::*") {
        Some(tree) => target == tree || is_below(target, tree),
        None => target == *allowed,
    };
    let fine =
        target == room || target == SHARED || is_below(target, room) || own || allowed.iter().any(fits);
    (!fine).then(|| format!("`{room}` must not use `{target}`, see ARCHITECTURE.md"))
}

/// Client and server share the types and nothing else, so `api` is not one tree.
fn is_api(room: &str) -> bool {
    room.starts_with("api::")
}

/// The BPF data plane is one of three, and the only one that knows the kernel.
fn wrong_aya(named: &Named, module: &[String]) -> Option<String> {
    let aya = named.path.len() > 1 && named.path[0].starts_with("aya");
    let at_home = matches!(module, [first, second, ..] if first == "dataplane" && second.starts_with("bpf"));
    (aya && !at_home).then(|| "aya is named in `dataplane::bpf` only".to_owned())
}

fn wrong_impure(named: &Named, room: &str) -> Option<String> {
    let path = named.path.join("::");
    let fits = |bad: &&&str| format!("::{path}::").contains(&format!("::{bad}::"));
    let bad = IMPURE.iter().filter(|_| named.path.len() > 1).find(fits)?;
    PURE.contains(&room).then(|| format!("`{room}` decides on paper and must not name {bad}"))
}

/// The module that a path within lb-ctl leads to.
fn resolve(named: &Named, module: &[String]) -> Option<Vec<String>> {
    let mut words = named.path.iter();
    let mut place: Vec<String> = match words.next()?.as_str() {
        "crate" | "lb_ctl" => Vec::new(),
        "super" => {
            let mut place = [module, named.within.as_slice()].concat();
            place.pop();
            place
        }
        _ => return None,
    };
    for word in words {
        if word == "super" {
            place.pop();
        } else {
            place.push(word.clone());
        }
    }
    Some(place)
}

fn room_of(module: &[String]) -> Option<(&'static str, &'static [&'static str])> {
    let path = module.join("::");
    ROOMS
        .iter()
        .copied()
        .filter(|(room, _)| path == *room || is_below(&path, room))
        .max_by_key(|(room, _)| room.len())
}

fn is_below(path: &str, room: &str) -> bool {
    path.strip_prefix(room).is_some_and(|rest| rest.starts_with("::"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(path: &str, text: &str) -> Vec<String> {
        let file = File { path: path.into(), text: text.into() };
        check(&[file]).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_arrows_point_one_way() {
        let text = "use crate::config::model::Config;\nuse crate::compile::MapState;";
        assert!(findings("lb-ctl/src/plan.rs", text).is_empty());
        assert_eq!(
            findings("lb-ctl/src/config/model.rs", text),
            ["lb-ctl/src/config/model.rs:2: `config` must not use `compile`, see ARCHITECTURE.md"]
        );
    }

    #[test]
    fn super_is_followed() {
        assert!(findings("lb-ctl/src/health/machine.rs", "use super::super::config::model;").is_empty());
        assert_eq!(findings("lb-ctl/src/health/machine.rs", "use super::probe::Probe;").len(), 1);
        assert!(findings("lb-ctl/src/health/probe.rs", "use super::machine::State;").is_empty());
    }

    #[test]
    fn the_client_does_not_know_the_server() {
        assert_eq!(findings("lb-ctl/src/api/client.rs", "use super::server::Server;").len(), 1);
        assert_eq!(findings("lb-ctl/src/cli/status.rs", "use crate::reconcile::Reconciler;").len(), 1);
        assert!(
            findings("lb-ctl/src/cli/status.rs", "use crate::{api::client::Client, cli::output};").is_empty()
        );
    }

    #[test]
    fn aya_has_one_home() {
        assert!(findings("lb-ctl/src/dataplane/bpf/load.rs", "use aya::Ebpf;").is_empty());
        assert_eq!(findings("lb-ctl/src/dataplane/fake.rs", "use aya::Ebpf;").len(), 1);
    }

    #[test]
    fn what_decides_on_paper_reads_no_clock() {
        let text = "fn f() { let now = std::time::Instant::now(); }";
        assert_eq!(findings("lb-ctl/src/health/machine.rs", text).len(), 1);
        assert!(findings("lb-ctl/src/health/machine.rs", "use std::time::Instant;").is_empty());
        assert_eq!(findings("lb-ctl/src/config/raw.rs", "use std::{fmt, fs};").len(), 1);
    }

    #[test]
    fn a_new_module_has_to_find_its_room() {
        assert!(findings("lb-ctl/src/lobby.rs", "")[0].contains("in no room"));
    }

    #[test]
    fn the_core_names_neither_std_nor_alloc() {
        let text = "use core::fmt;\nuse std::vec::Vec;\n#[cfg(test)]\nmod tests { use std::fs; }";
        assert_eq!(
            findings("lb-common/src/a.rs", text),
            ["lb-common/src/a.rs:2: names std::vec::Vec; lb-common uses core only"]
        );
    }
}
