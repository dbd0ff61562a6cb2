//! docs/gateway-complaints.md has a row for each of the 23 complaints, and each row a test that exists.

use crate::{CRATES, none, root};

const PAGE: &str = "docs/gateway-complaints.md";
const COMPLAINTS: usize = 23;

/// Number and last cell of each row.
fn rows(page: &str) -> Vec<(usize, String)> {
    let row = |line: &str| {
        let cells: Vec<&str> = line.strip_prefix("| ")?.strip_suffix(" |")?.split(" | ").collect();
        Some((cells.first()?.parse().ok()?, (*cells.get(3)?).to_owned()))
    };
    page.lines().filter_map(row).collect()
}

/// `file::name` or `module::tests::name`, between backticks.
fn tests(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).filter(|name| name.contains("::")).collect()
}

/// Whether a test of this path is in a crate: in `tests/FILE.rs`, or in the module of `src` that it names.
fn exists(path: &str) -> bool {
    let Some((place, name)) = path.rsplit_once("::") else { return false };
    let module = place.strip_suffix("::tests").unwrap_or(place).replace("::", "/");
    let candidates = CRATES.iter().flat_map(|folder| {
        [
            format!("{folder}/tests/{module}.rs"),
            format!("{folder}/src/{module}.rs"),
            format!("{folder}/src/{module}/mod.rs"),
        ]
    });
    candidates
        .filter_map(|file| std::fs::read_to_string(root().join(file)).ok())
        .any(|text| is_test(&text, name))
}

/// Whether a source has a test function of this name.
fn is_test(text: &str, name: &str) -> bool {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    lines.iter().enumerate().any(|(at, line)| {
        let function = line.trim_start_matches("async ").strip_prefix("fn ");
        function.and_then(|rest| rest.strip_prefix(name)).is_some_and(|rest| rest.starts_with('('))
            && lines[..at]
                .iter()
                .rev()
                .take_while(|line| line.starts_with("#["))
                .any(|line| line.contains("test"))
    })
}

#[test]
fn every_complaint_about_other_gateways_has_its_test() {
    let page = std::fs::read_to_string(root().join(PAGE)).unwrap();
    let rows = rows(&page);
    assert_eq!(
        rows.iter().map(|(number, _)| *number).collect::<Vec<_>>(),
        (1..=COMPLAINTS).collect::<Vec<_>>()
    );
    let mut findings = Vec::new();
    for (number, cell) in &rows {
        let named = tests(cell);
        if named.is_empty() {
            findings.push(format!("row {number} names no test"));
        }
        findings
            .extend(named.iter().filter(|test| !exists(test)).map(|test| format!("row {number}: {test}")));
    }
    none(&findings, &format!("tests of {PAGE} that are not there"));
}

#[test]
fn a_function_that_is_no_test_does_not_count() {
    let text =
        "#[tokio::test(flavor = \"multi_thread\")]\nasync fn one() {}\nfn two() {}\n#[test]\nfn three() {}";
    assert!(is_test(text, "one") && is_test(text, "three"));
    assert!(!is_test(text, "two") && !is_test(text, "thre") && !is_test(text, "four"));
}
