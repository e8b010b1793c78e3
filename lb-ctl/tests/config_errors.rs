//! Bad files and what the user reads then, word for word.
//!
//! `config_errors.txt` is the table: a sentence, a file, the report. After a change of words,
//! `UPDATE_GOLDEN=1 cargo test -p lb-ctl --test config_errors` writes it anew: read the difference.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says where it stopped")]

use std::fs;
use std::path::Path;

use lb_ctl::cli::input::read_sources;
use lb_ctl::config::{self, Errors, Source};

const TABLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/config_errors.txt");

struct Case<'t> {
    sentence: &'t str,
    file: &'t str,
    report: &'t str,
}

#[test]
fn each_bad_file_gets_its_report() {
    let table = fs::read_to_string(TABLE).unwrap();
    let cases: Vec<Case<'_>> = table.split("=== ").skip(1).map(case).collect();
    assert!(cases.len() >= 45, "only {} cases: is the table cut?", cases.len());
    let reports: Vec<String> = cases.iter().map(|case| report(&[("lb.yaml", case.file)])).collect();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        let rows = cases.iter().zip(&reports);
        let anew: Vec<String> = rows
            .map(|(case, report)| format!("=== {}\n{}=>\n{report}\n", case.sentence, case.file))
            .collect();
        fs::write(TABLE, anew.join("\n")).unwrap();
        return;
    }
    let different: Vec<String> = cases
        .iter()
        .zip(&reports)
        .filter(|(case, report)| case.report != *report)
        .map(|(case, report)| format!("{}\nexpected:\n{}\nfound:\n{report}\n", case.sentence, case.report))
        .collect();
    assert!(different.is_empty(), "{}", different.join("\n"));
}

fn case(text: &str) -> Case<'_> {
    let (sentence, rest) = text.split_once('\n').unwrap();
    let (file, report) = rest.split_once("=>\n").unwrap_or((rest, ""));
    Case { sentence, file, report: report.trim_end() }
}

fn report(files: &[(&str, &str)]) -> String {
    let source = |&(name, text): &(&str, &str)| Source { name: name.to_owned(), text: text.to_owned() };
    let sources: Vec<Source> = files.iter().map(source).collect();
    config::load(&sources).unwrap_err().to_string()
}

#[test]
fn mistakes_of_several_files_name_their_files_in_the_order_given() {
    let frontends = "version: 1\nfrontends:\n  - { name: web, address: 203.0.113.10 }\n  - { name: api, address: 203.0.113.11 }\n";
    let pools =
        "pools:\n  - { name: web, backends: [{ name: a, address: 203.0.113.11 }] }\n  - { name: web }\n";
    let rules = "rules:\n  - { name: http, frontend: wbe, protocol: tcp, port: 80, pool: web }\nfrontends:\n  - { name: web, address: 203.0.113.10 }\n";
    assert_eq!(
        report(&[("z.yaml", frontends), ("-", pools), ("a/rules.yaml", rules)]),
        "-:2:49: pools[0].backends[0].address: 203.0.113.11 is the address of frontend \"api\"; a backend needs one of its own\n\
         -:3:13: pools[1].name: the name \"web\" is already used at line 2; choose another\n\
         a/rules.yaml:2:29: rules[0].frontend: unknown frontend \"wbe\" (did you mean \"web\"?)\n\
         a/rules.yaml:4:13: frontends[0].name: the name \"web\" is already used at z.yaml:3; choose another\n\
         a/rules.yaml:4:27: frontends[0].address: 203.0.113.10 is the address of frontend \"web\" already (z.yaml:3); rules of both can name that one\n\
         5 mistakes; nothing was applied"
    );
}

#[test]
fn a_file_that_is_no_yaml_does_not_make_the_others_look_wrong() {
    let rules = "version: 1\nrules:\n  - { name: http, frontend: web, protocol: tcp, port: 80, pool: web }\n";
    let report = report(&[("rules.yaml", rules), ("pools.yaml", "pools: [\n")]);
    assert!(report.starts_with("pools.yaml:"), "{report}");
    assert!(report.ends_with("\n1 mistake; nothing was applied"), "{report}");
}

#[test]
fn nothing_given_is_a_mistake() {
    assert!(report(&[]).contains("\"version\" is missing"), "{}", report(&[]));
}

#[test]
fn a_report_has_an_end() {
    let report = report(&[("lb.yaml", &format!("rules: [{}]", "{},".repeat(100_000)))]);
    assert_eq!(report.lines().count(), 1_001);
    assert!(report.ends_with("1000 mistakes and maybe more; nothing was applied"));
}

#[test]
fn every_example_is_good() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    let sources = read_sources(&[folder]).unwrap();
    assert!(sources.len() >= 2, "examples are missing");
    for source in sources {
        let name = source.name.clone();
        if let Err(errors) = config::load(&[source]) {
            panic!("{name}: {errors}");
        }
    }
}

/// S-PRB-5: Azure refuses them.
#[test]
fn http_probes_may_have_any_port() {
    for port in [19, 21, 25, 70, 110, 119, 143, 220, 993] {
        let text = format!("version: 1\nprobes: [{{ name: web, protocol: http, port: {port} }}]\n");
        let config = config::load(&[Source { name: "lb.yaml".to_owned(), text }]).unwrap();
        assert_eq!(config.probes()[0].port, port);
    }
}

#[test]
fn the_api_gets_the_mistakes_as_a_list() {
    let source = Source { name: "lb.yaml".to_owned(), text: "version: 1\nrulez: []\n".to_owned() };
    let errors = config::load(&[source]).unwrap_err();
    let json = serde_json::to_string(&errors).unwrap();
    assert_eq!(
        json,
        r#"[{"file":"lb.yaml","line":2,"column":1,"path":"rulez","message":"unknown key \"rulez\" (did you mean \"rules\"?)"}]"#
    );
    assert_eq!(serde_json::from_str::<Errors>(&json).unwrap(), errors);
}
