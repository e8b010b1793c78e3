//! Stories of rules with ranges of ports.

use lb_common::abi::RANGE;

use super::*;

fn file(rules: &[(&str, &str, &str, &str)]) -> Config {
    let rule = |(name, protocol, ports, at): &(&str, &str, &str, &str)| {
        format!(
            "  - {{ name: {name}, frontend: web, protocol: {protocol}, port: {ports}, pool: web, backendPort: {at}, \
             access: [{{ allow: 0.0.0.0/0 }}] }}\n"
        )
    };
    let rules: String = rules.iter().map(rule).collect();
    load(&format!(
        "version: 1
frontends: [{{ name: web, address: 203.0.113.10 }}]
pools: [{{ name: web, transition: 1h, maxMembers: 10, backends: [{{ name: m1, address: 10.0.1.1 }}] }}]
rules:
{rules}"
    ))
}

/// S-RULE-11, done better: ranges there are.
#[test]
fn ranges_s_rule_11() {
    let games = ("games", "tcp", "8000-8010", "9000-9010");
    let range = Service { protocol: 6 | RANGE, ..tcp("203.0.113.10:8000") };
    let mut story = Story::new("ranges");
    story.config = file(&[games]);
    story.then("a range: its prefixes, and those of its members").then("again: nothing to do");
    story.config = file(&[games, ("one", "tcp", "8005", "9005")]);
    story.then("a port of its own beside it, to the same port of the member");
    story.config = file(&[("games", "tcp", "8000-8011", "9000-9011")]);
    story.then("that goes, and the range grows: another epoch, and another group");
    story.config = file(&[("games", "tcp", "8000-8011", "9500-9511")]);
    story.then("it moves at the member: the old view stays");
    story.config = file(&[("games", "tcp", "8000-8011", "9500-9511"), ("other", "tcp", "80", "9005")]);
    story.refused("another rule wants a port that the old view of the range may need");
    story.settled = [range].into();
    story.config = file(&[("games", "all", "8000-8011", "9500-9511")]);
    story.then("settled, and UDP as well");
    story.config = file(&[("one", "tcp", "8000", "9500")]);
    story.then("a port instead of the range: the frontend is known to have none, at last").end();
}
