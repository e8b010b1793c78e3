//! Whatever a file holds, reading it ends, soon and without a panic; and good files stay good.

#![allow(clippy::unwrap_used, reason = "a test says where it stopped")]

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use lb_ctl::config::{self, Config, Errors, Source};
use proptest::prelude::*;

const GOOD: &str = include_str!("../../examples/all-keys.yaml");

fn load(text: &str) -> Result<Config, Errors> {
    config::load(&[Source { name: "lb.yaml".to_owned(), text: text.to_owned() }])
}

/// Every mistake is at a place of the file that a reader can find.
fn places_exist(text: &str, errors: &Errors) {
    let lines = u32::try_from(text.split(['\n', '\r']).count()).unwrap();
    assert!(!errors.mistakes().is_empty());
    for mistake in errors.mistakes() {
        assert!((1..=lines + 1).contains(&mistake.line), "{mistake} of {lines} lines");
        assert!(mistake.column >= 1, "{mistake}");
        assert!(!mistake.message.is_empty());
    }
    assert!(errors.mistakes().is_sorted_by_key(|mistake| (mistake.line, mistake.column)));
    let report = errors.to_string();
    assert!(!report.contains(|c: char| c.is_control() && c != '\n'), "{report:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_read_to_an_end(text in any::<String>()) {
        if let Err(errors) = load(&text) {
            places_exist(&text, &errors);
        }
    }

    #[test]
    fn any_yaml_signs_are_read_to_an_end(text in "[-:#,?&*!|>'\"%@`{}\\[\\]<~. \n\r\ta0é]{0,60}") {
        if let Err(errors) = load(&text) {
            places_exist(&text, &errors);
        }
    }

    #[test]
    fn a_damaged_file_is_read_to_an_end(
        from in 0..GOOD.len(),
        length in 0_usize..40,
        put in "[-:#,?&*!|>'\"{}\\[\\]<~. \n\ta0]{0,8}",
    ) {
        let mut bytes = GOOD.as_bytes().to_vec();
        bytes.splice(from..(from + length).min(GOOD.len()), put.bytes());
        let text = String::from_utf8(bytes).unwrap();
        if let Err(errors) = load(&text) {
            places_exist(&text, &errors);
        }
    }

    /// The order of keys, comments and the style of YAML do not matter.
    #[test]
    fn a_good_file_stays_good(comment in "[ -~]{0,40}", at in 0..GOOD.lines().count()) {
        let mut lines: Vec<&str> = GOOD.lines().collect();
        let comment = format!("# {comment}");
        lines.insert(at, &comment);
        prop_assert_eq!(load(&lines.join("\r\n")), load(GOOD));
    }
}

#[test]
fn json_is_read_as_the_same_configuration() {
    let value: serde_yaml::Value = serde_yaml::from_str(GOOD).unwrap();
    let json = serde_json::to_string_pretty(&value).unwrap();
    assert_eq!(load(&json).unwrap(), load(GOOD).unwrap());
    let tabs = json.replace("  ", "\t");
    assert_eq!(load(&tabs).unwrap(), load(GOOD).unwrap());
}

#[test]
fn files_that_are_merged_are_one() {
    let (head, rules) = GOOD.split_once("\nrules:").unwrap();
    let source = |name: &str, text: String| Source { name: name.to_owned(), text };
    let sources = [source("a.yaml", head.to_owned()), source("b.yaml", format!("rules:{rules}"))];
    assert_eq!(config::load(&sources).unwrap(), load(GOOD).unwrap());
}

/// Hostile files: each would cost memory, stack or time without end somewhere else.
#[test]
fn a_hostile_file_is_refused_soon() {
    let laughs: String = ('b'..='z').fold("a: &a [x]\n".to_owned(), |text, letter| {
        let before = char::from_u32(letter as u32 - 1).unwrap();
        text + &format!("{letter}: &{letter} [*{before},*{before},*{before},*{before}]\n")
    });
    let wide: String = (0..200_000).fold(String::new(), |mut text, key| {
        writeln!(text, "k{key}: 1").unwrap();
        text
    });
    let files = [
        ("aliases", laughs),
        ("deep lists", "[".repeat(1_000_000)),
        ("deep mappings", "{a: ".repeat(1_000_000)),
        ("deep blocks", "- ".repeat(100_000)),
        ("deep keys", "? ".repeat(100_000)),
        ("many keys", wide),
        ("many values", format!("rules: [{}]", "a,".repeat(2_000_000))),
        ("a long key", "k".repeat(4_000_000)),
        ("a long name", format!("version: 1\npools: [{{ name: \"{}\" }}]", "n".repeat(4_000_000))),
        ("too many bytes", "# ".repeat(9_000_000)),
        ("an endless quote", format!("\"{}", "\n".repeat(1_000_000))),
        ("many anchors", "- &a b\n".repeat(200_000)),
        ("many dashes", "-".repeat(1_000_000)),
        ("many documents", "---\n".repeat(300_000)),
    ];
    for (what, text) in files {
        let start = Instant::now();
        let report = load(&text).unwrap_err().to_string();
        let took = start.elapsed();
        assert!(took < Duration::from_secs(20), "{what}: {took:?}");
        assert!(report.len() < 1_000_000, "{what}: {} bytes of report", report.len());
        eprintln!("{what}: {took:?}: {}", report.lines().next().unwrap_or_default());
    }
}

/// A thousand rules and a thousand members; `cargo test --release -- --nocapture` prints the time.
#[test]
fn a_large_file_is_read_in_a_moment() {
    for (what, text) in [
        ("one pool", large(1, 1_000, 1_000)),
        ("a pool each", large(1_000, 1, 1_000)),
        ("shared", large(100, 1_000, 1_000)),
    ] {
        let start = Instant::now();
        let config = load(&text).unwrap();
        let took = start.elapsed();
        eprintln!("{what}: {} bytes, {} rules: {took:?}", text.len(), config.rules().len());
        assert_eq!(config.rules().len(), 1_000);
        assert!(took < Duration::from_secs(20), "{what}: {took:?}");
    }
}

/// Pools of the same members, and rules that take them by turns.
fn large(pools: usize, members: usize, rules: usize) -> String {
    let mut text = "version: 1\nfrontends:\n  - { name: web, address: 203.0.113.10 }\npools:\n".to_owned();
    for pool in 0..pools {
        writeln!(text, "  - name: pool-{pool}\n    backends:").unwrap();
        for member in 0..members {
            let (high, low) = (member / 250, member % 250 + 1);
            writeln!(text, "      - {{ name: member-{member}, address: 10.0.{high}.{low} }}").unwrap();
        }
    }
    text.push_str("rules:\n");
    for rule in 0..rules {
        let (port, pool) = (1_000 + rule, rule % pools);
        writeln!(text, "  - {{ name: rule-{rule}, frontend: web, protocol: tcp, port: {port}, pool: pool-{pool}, access: [{{ allow: 0.0.0.0/0 }}] }}").unwrap();
    }
    text
}

/// What a file leaves out, and what its values become, in the words that `lbctl get` will print.
/// The timeout: S-PRB-18.
#[test]
fn every_default_is_written_out() {
    let terse = "version: 1
frontends: [{ name: web, address: 203.0.113.10 }]
pools: [{ name: '80', backends: [{ name: a, address: 10.0.1.11 }] }]
probes:
  - { name: fast, protocol: http, port: 81, path: healthz, interval: 500ms, timeout: 2s }
  - { name: slow, protocol: tcp, port: 81, interval: 1m, noHealthyBackends: all-up }
rules:
  - { name: open, frontend: web, protocol: tcp, port: 80, pool: 80, probe: slow, access: [{ allow: 10.0.0.1 }, { allow: 0.0.0.0/0 }] }
  - { name: some, frontend: web, protocol: udp, port: 80, pool: 80, access: [{ allow: 10.2.0.0/16, priority: 300 }, { allow: 10.1.0.1, priority: 20 }, { deny: 10.2.1.0/24, priority: 100 }] }
";
    let written = serde_yaml::to_string(&load(terse).unwrap()).unwrap();
    assert_eq!(
        written,
        "version: 1
frontends:
- name: web
  address: 203.0.113.10
  announce: auto
pools:
- name: '80'
  maxMembers: 40
  transition: 2h15m
  forwarding: nat
  backends:
  - name: a
    address: 10.0.1.11
    weight: 1
    adminState: none
probes:
- name: fast
  protocol: http
  port: 81
  path: /healthz
  interval: 500ms
  timeout: 500ms
  threshold: 2
  noHealthyBackends: drop
- name: slow
  protocol: tcp
  port: 81
  interval: 1m
  timeout: 30s
  threshold: 2
  noHealthyBackends: all-up
rules:
- name: open
  frontend: web
  protocol: tcp
  port: 80
  pool: '80'
  backendPort: 80
  probe: slow
  noHealthyBackends: all-up
  distribution: 5-tuple
  idleTimeout: 4m
  tracking: auto
  tcpReset: false
  floatingIp: false
  outboundSnat: false
  access:
  - allow: 10.0.0.1/32
  - allow: 0.0.0.0/0
  accessAppliesTo: all-packets
- name: some
  frontend: web
  protocol: udp
  port: 80
  pool: '80'
  backendPort: 80
  noHealthyBackends: drop
  distribution: 5-tuple
  idleTimeout: 4m
  tracking: auto
  tcpReset: false
  floatingIp: false
  outboundSnat: false
  access:
  - allow: 10.1.0.1/32
  - deny: 10.2.1.0/24
  - allow: 10.2.0.0/16
  accessAppliesTo: all-packets
"
    );
}

/// A rule on TCP and one on UDP, as they differ from `rule: { ..., access: [everybody] }`.
fn two_rules(tcp: &str, udp: &str) -> Config {
    load(&format!(
        "version: 1
frontends: [{{ name: web, address: 203.0.113.10 }}, {{ name: other, address: 203.0.113.11 }}]
pools: [{{ name: web, backends: [{{ name: a, address: 10.0.1.11 }}] }}, {{ name: spare, backends: [{{ name: a, address: 10.0.1.12 }}] }}]
rules:
  - {{ name: gateway, protocol: tcp, port: 443, {tcp} }}
  - {{ name: media, protocol: udp, port: 3391, {udp} }}
"
    ))
    .unwrap()
}

const OPEN: &str = "access: [{ allow: 0.0.0.0/0 }]";

/// S-DIST-5, as RD Gateway meets it.
#[test]
fn tcp_and_udp_that_source_ip_protocol_may_part_are_told_s_dist_5() {
    let by = |mode: &str, place: &str| format!("frontend: {place}, distribution: {mode}, {OPEN}");
    let (here, apart) = ("web, pool: web", ["other, pool: web", "web, pool: spare"]);
    let parting = by("source-ip-protocol", here);
    assert_eq!(
        two_rules(&parting, &parting).warnings(),
        [
            "rules gateway and media: source-ip-protocol may send the TCP and the UDP of one client to different \
             backends; write \"distribution: source-ip\" in both if they belong together"
        ]
    );
    let others = apart.map(|place| by("source-ip-protocol", place));
    for other in [by("source-ip", here), by("5-tuple", here)].iter().chain(&others) {
        assert_eq!(two_rules(&parting, other).warnings(), [""; 0], "{other}");
    }
    let together = by("source-ip", here);
    assert_eq!(two_rules(&together, &together).warnings(), [""; 0]);
}

#[test]
fn access_that_is_perhaps_not_meant_is_told() {
    let place = "frontend: web, pool: web";
    let list = |entries: &str| format!("{place}, access: [{entries}]");
    let warnings = |tcp: &str| two_rules(tcp, &format!("{place}, {OPEN}")).warnings();
    assert_eq!(warnings(place), ["rule gateway: closed, because it has no access list; nobody can use it"]);
    assert_eq!(
        warnings(&list("{ deny: 10.0.0.0/8 }")),
        ["rule gateway: closed, because its access list allows nobody"]
    );
    assert_eq!(
        warnings(&list("{ allow: 10.0.0.0/8 }, { deny: 10.1.0.0/16 }, { deny: 10.2.0.0/16 }")),
        [
            "rule gateway: deny 10.1.0.0/16 never counts, because allow 10.0.0.0/8 comes before it, and so with 1 more; \
             write the narrower one first"
        ]
    );
    for good in
        ["{ deny: 10.1.0.0/16 }, { allow: 10.0.0.0/8 }", "{ allow: 10.0.0.0/8 }, { allow: 10.1.0.0/16 }"]
    {
        assert_eq!(warnings(&list(good)), [""; 0], "{good}");
    }
}

#[test]
fn what_is_written_reads_back_as_the_same() {
    for text in [GOOD, include_str!("../../examples/minimal.yaml")] {
        let config = load(text).unwrap();
        assert_eq!(load(&serde_yaml::to_string(&config).unwrap()).unwrap(), config);
        assert_eq!(load(&serde_json::to_string(&config).unwrap()).unwrap(), config);
    }
}
