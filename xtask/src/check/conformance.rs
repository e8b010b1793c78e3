//! `docs/conformance.md` has one row for each numbered statement of the specification, and each
//! row that claims something names a test that names the statement.
//!
//! The specification is not part of the repository: the headings of the table (`## S-DIST 1-21`)
//! say how many statements there are.

use std::collections::BTreeSet;

use super::{File, Finding};

const DOCS: &str = "docs/conformance.md";
/// Its tests invent statements.
const THIS: &str = "xtask/src/check/conformance.rs";
const VERDICTS: [&str; 4] = ["same", "better", "not applicable", "open"];

pub(crate) fn check(files: &[File]) -> Vec<Finding> {
    let Some(docs) = files.iter().find(|file| file.path == DOCS) else {
        return vec![Finding::in_file(DOCS, "is missing".to_owned())];
    };
    let sections = sections(&docs.text);
    let rows = || sections.iter().flat_map(|section| &section.rows);
    let mut findings: Vec<Finding> = sections.iter().filter_map(misplaced).collect();
    for row in rows() {
        let at_row = |what| Finding::at_line(DOCS, row.line, what);
        findings.extend(malformed(row).into_iter().map(at_row));
        findings.extend(row.tests().filter_map(|test| unshown(files, test, row.id())).map(at_row));
    }
    let known: BTreeSet<&str> = rows().map(Row::id).collect();
    findings.extend(files.iter().filter(|file| file.path != THIS).flat_map(|file| unknown(file, &known)));
    findings
}

/// A heading and the rows below it.
struct Section<'t> {
    line: usize,
    family: &'t str,
    last: usize,
    rows: Vec<Row<'t>>,
}

/// Statement, what it says, tests, verdict, why.
struct Row<'t> {
    line: usize,
    cells: Vec<&'t str>,
}

impl<'t> Row<'t> {
    fn cell(&self, number: usize) -> &'t str {
        self.cells.get(number).copied().unwrap_or_default()
    }

    fn id(&self) -> &'t str {
        self.cell(0)
    }

    /// What stands between backticks.
    fn tests(&self) -> impl Iterator<Item = &'t str> + use<'t> {
        self.cell(2).split('`').skip(1).step_by(2)
    }
}

fn sections(text: &str) -> Vec<Section<'_>> {
    let mut sections: Vec<Section<'_>> = Vec::new();
    for (line, text) in (1..).zip(text.lines()) {
        if let Some((family, last)) = heading(text) {
            sections.push(Section { line, family, last, rows: Vec::new() });
        } else if let (true, Some(section)) = (text.starts_with("| S-"), sections.last_mut()) {
            let cells = text.trim_matches('|').split('|').map(str::trim).collect();
            section.rows.push(Row { line, cells });
        }
    }
    sections
}

/// `## S-DIST 1-21` and what may follow.
fn heading(line: &str) -> Option<(&str, usize)> {
    let (family, range) = line.strip_prefix("## S-")?.split_once(" 1-")?;
    let digits = range.find(|c: char| !c.is_ascii_digit()).unwrap_or(range.len());
    Some((family, range[..digits].parse().ok()?))
}

/// The first row of a section that is not the next statement.
fn misplaced(section: &Section<'_>) -> Option<Finding> {
    let Section { line, family, last, rows } = section;
    let mut expected = (1..).map(|number| format!("S-{family}-{number}"));
    if let Some((row, id)) = rows.iter().zip(&mut expected).find(|(row, id)| row.id() != id) {
        let what = format!("{} stands where {id} belongs", row.id());
        return Some(Finding::at_line(DOCS, row.line, what));
    }
    let what = format!("the heading says {last} statements, the table has {}", rows.len());
    (rows.len() != *last).then(|| Finding::at_line(DOCS, *line, what))
}

fn malformed(row: &Row<'_>) -> Option<String> {
    let (id, verdict) = (row.id(), row.cell(3));
    if row.cells.len() != 5 {
        return Some(format!("{id} has {} columns instead of 5", row.cells.len()));
    }
    if !VERDICTS.contains(&verdict) {
        return Some(format!("{id}: the verdict \"{verdict}\" is not one of: {}", VERDICTS.join(", ")));
    }
    if row.cell(1).is_empty() || row.cell(4).is_empty() {
        return Some(format!("{id} does not say what it asks or why the verdict is so"));
    }
    let claims = matches!(verdict, "same" | "better");
    (claims && row.tests().next().is_none()).then(|| format!("{id} is \"{verdict}\" and names no test"))
}

/// Why this test does not show the statement: `path::function` names it somewhere in the function or
/// its comment, `path` alone (a table of cases) in the sentence of a row.
fn unshown(files: &[File], test: &str, id: &str) -> Option<String> {
    let (path, name) = test.split_once("::").map_or((test, None), |(path, name)| (path, Some(name)));
    let Some(file) = files.iter().find(|file| file.path == path) else {
        return Some(format!("{id}: there is no file {path}"));
    };
    let text = match name {
        None => Some(sentences(&file.text)),
        Some(name) => function(&file.text, name),
    };
    match text {
        None => Some(format!("{id}: there is no test {test}")),
        Some(text) => (!named(&text).contains(id)).then(|| format!("{id}: {test} does not name it")),
    }
}

/// Lines with a text in quotes, and the headings of golden files.
fn sentences(text: &str) -> String {
    let is_sentence = |line: &&str| {
        line.starts_with("=== ") || (line.contains('"') && !line.trim_start().starts_with("//"))
    };
    text.lines().filter(is_sentence).collect::<Vec<_>>().join("\n")
}

/// A test as rustfmt leaves it, from its comment to the brace below its `fn`.
fn function(text: &str, name: &str) -> Option<String> {
    let lines: Vec<&str> = text.lines().collect();
    let start = format!("fn {name}(");
    let at =
        lines.iter().position(|line| line.trim_start().trim_start_matches("async ").starts_with(&start))?;
    let indent: String = lines[at].chars().take_while(|c| c.is_whitespace()).collect();
    let is_head = |line: &&&str| ["///", "#["].iter().any(|mark| line.trim_start().starts_with(mark));
    let head = lines[..at].iter().rev().take_while(is_head).count();
    let is_test = lines[at - head..at].iter().any(|line| line.trim_end().ends_with("test]"));
    let end = lines[at..].iter().position(|line| *line == format!("{indent}}}"))?;
    is_test.then(|| lines[at - head..=at + end].join("\n"))
}

fn unknown(file: &File, known: &BTreeSet<&str>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (line, text) in (1..).zip(file.text.lines()) {
        for id in named(text).into_iter().filter(|id| !known.contains(id.as_str())) {
            let what = format!("names {id}, which has no row in {DOCS}");
            findings.push(Finding::at_line(&file.path, line, what));
        }
    }
    findings
}

/// The statements that a text names; `S-PRB-21..23` names three.
fn named(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (at, _) in text.match_indices("S-") {
        let inside_a_word = text[..at].ends_with(|c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_');
        let Some((family, rest)) = text[at + 2..].split_once('-').filter(|_| !inside_a_word) else {
            continue;
        };
        let Some((first, rest)) = number(rest) else { continue };
        if family.is_empty() || !family.bytes().all(|byte| byte.is_ascii_uppercase()) {
            continue;
        }
        let last = rest.strip_prefix("..").and_then(number).map_or(first, |(last, _)| last);
        found.extend((first..=last).map(|number| format!("S-{family}-{number}")));
    }
    found
}

/// The number that a text begins with, and what follows.
fn number(text: &str) -> Option<(usize, &str)> {
    let (digits, rest) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    Some((digits.parse().ok()?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
## S-DIST 1-3: distribution

| statement | says | test | verdict | why |
| --- | --- | --- | --- | --- |
| S-DIST-1 | five | `a.rs::five`, `rows.rs` | same | the default |
| S-DIST-2 | two | `b.txt` | better | more |
| S-DIST-3 | three | | open | not yet |
";
    const TEST: &str = "\
/// S-DIST-1.
#[test]
fn five() {
    if true {}
}

fn helper() {}
";

    fn findings(table: &str) -> Vec<String> {
        let file = |path: &str, text: &str| File { path: path.into(), text: text.into() };
        let rows = "// S-DIST-3\ncase(\"S-DIST-1: a sentence\")";
        let files = [
            file(DOCS, table),
            file("a.rs", TEST),
            file("rows.rs", rows),
            file("b.txt", "=== S-DIST-1..2: both\nmore"),
        ];
        check(&files).iter().map(ToString::to_string).collect()
    }

    /// The table with one change has this one finding in it.
    fn breaks(from: &str, to: &str, finding: &str) {
        assert_ne!(TABLE.replace(from, to), TABLE, "nothing is replaced");
        let mut found = findings(&TABLE.replace(from, to));
        found.retain(|found| found.starts_with(DOCS));
        assert_eq!(found, [format!("{DOCS}:{finding}")]);
    }

    #[test]
    fn a_good_table_has_no_findings() {
        assert_eq!(findings(TABLE), [""; 0]);
    }

    #[test]
    fn the_table_is_missing() {
        assert_eq!(check(&[]).len(), 1);
    }

    #[test]
    fn a_verdict_that_is_none() {
        let words = "same, better, not applicable, open";
        breaks(
            "| better |",
            "| good |",
            &format!("6: S-DIST-2: the verdict \"good\" is not one of: {words}"),
        );
    }

    #[test]
    fn no_reason_and_too_many_columns() {
        breaks("not yet", "", "7: S-DIST-3 does not say what it asks or why the verdict is so");
        breaks("not yet", "not | yet", "7: S-DIST-3 has 6 columns instead of 5");
    }

    #[test]
    fn rows_out_of_order_twice_or_missing() {
        breaks("| S-DIST-2", "| S-DIST-1", "6: S-DIST-1 stands where S-DIST-2 belongs");
        breaks("1-3:", "1-4:", "1: the heading says 4 statements, the table has 3");
        breaks("1-3:", "1-2:", "1: the heading says 2 statements, the table has 3");
    }

    #[test]
    fn a_claim_without_a_test() {
        breaks("`b.txt`", "", "6: S-DIST-2 is \"better\" and names no test");
    }

    #[test]
    fn a_test_that_is_not_there() {
        breaks("`b.txt`", "`c.txt`", "6: S-DIST-2: there is no file c.txt");
        breaks("a.rs::five", "a.rs::fiv", "5: S-DIST-1: there is no test a.rs::fiv");
        breaks("a.rs::five", "a.rs::helper", "5: S-DIST-1: there is no test a.rs::helper");
    }

    #[test]
    fn a_test_that_does_not_name_the_statement() {
        breaks("`b.txt`", "`a.rs::five`", "6: S-DIST-2: a.rs::five does not name it");
        breaks("| three | |", "| three | `rows.rs` |", "7: S-DIST-3: rows.rs does not name it");
    }

    #[test]
    fn a_statement_that_the_table_does_not_have() {
        let table = TABLE.replace("1-3:", "1-2:").replace("| S-DIST-3 | three | | open | not yet |\n", "");
        assert_eq!(findings(&table), ["rows.rs:1: names S-DIST-3, which has no row in docs/conformance.md"]);
    }

    #[test]
    fn statements_are_found_in_texts() {
        let found = named("S-PRB-9..11 (S-DIST-2) S-DIST S-1-5 THIS-IS-1 `S-A-x` S-");
        assert_eq!(
            found.iter().map(String::as_str).collect::<Vec<_>>(),
            ["S-DIST-2", "S-PRB-10", "S-PRB-11", "S-PRB-9"]
        );
    }
}
