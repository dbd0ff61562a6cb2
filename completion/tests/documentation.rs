//! The tables of docs/completion-engine.md are those of the data. `UPDATE=1` writes them anew.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use modelgate_completion::family::{Confirmed, FAMILIES, Order};
use modelgate_completion::{Family, Language, context, syntax};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/completion-engine.md");
const DEFINITION: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../crds/modelbackends.yaml");

/// A text that may hold what ends a table's cell.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

fn families() -> String {
    let mut rows = String::from(
        "| `model.fim.family` | models | order | before prefix, before suffix, for the middle | other files | confirmed | source |\n|---|---|---|---|---|---|---|\n",
    );
    for family in FAMILIES {
        let order = match family.order {
            Order::Psm => "PSM",
            Order::Spm => "SPM",
        };
        let tokens = [family.prefix, family.suffix, family.middle]
            .map(|token| if token.is_empty() { "–".to_owned() } else { format!("`{}`", cell(token)) });
        let files = family.files.map_or("–".to_owned(), |files| {
            let (before, between, after) = files.file;
            format!("`{}`", cell(&format!("{before}PATH{between}TEXT{after}")).replace('\n', "\\n"))
        });
        let confirmed = match family.confirmed {
            Confirmed::Tokenizer => "by a tokenizer",
            Confirmed::Unconfirmed => "no",
        };
        rows.push_str(&format!(
            "| {} | {} | {order} | {} | {files} | {confirmed} | {} |\n",
            family.name,
            family.models,
            tokens.join(" "),
            family.source
        ));
    }
    rows
}

fn languages() -> String {
    let mut rows = String::from(
        "| label | language | extensions | base names | grammar | context |\n|---|---|---|---|---|---|\n",
    );
    let mark = |is: bool| if is { "yes" } else { "–" };
    for language in Language::ALL.iter().copied() {
        let list = |words: Vec<&str>| if words.is_empty() { "–".to_owned() } else { words.join(" ") };
        rows.push_str(&format!(
            "| {} | {} | {} | {} | {} | {} |\n",
            language.id(),
            language.human(),
            list(language.extensions().collect()),
            list(language.base_names().collect()),
            mark(syntax::has_grammar(language)),
            mark(context::is_known(language)),
        ));
    }
    rows
}

/// The page with a table put between its marks.
fn with(page: &str, name: &str, table: &str) -> String {
    let mark = format!("<!-- {name} -->\n");
    let (before, rest) = page.split_once(&mark).unwrap_or_else(|| panic!("{PAGE} lacks {mark}"));
    let (_, after) = rest.split_once("<!-- end -->").unwrap();
    format!("{before}{mark}{table}<!-- end -->{after}")
}

#[test]
fn the_page_s_tables_are_those_of_the_data() {
    let page = std::fs::read_to_string(PAGE).unwrap();
    let right = with(&with(&page, "families", &families()), "languages", &languages());
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(PAGE, &right).unwrap();
    } else {
        assert!(
            page == right,
            "docs/completion-engine.md differs from the data; UPDATE=1 writes its tables anew"
        );
    }
}

#[test]
fn every_family_that_a_backend_can_name_is_known() {
    let definition = std::fs::read_to_string(DEFINITION).unwrap();
    let mut named: Vec<&str> = definition
        .lines()
        .skip_while(|line| line.trim() != "fim:")
        .skip_while(|line| line.trim() != "family:")
        .skip_while(|line| line.trim() != "enum:")
        .skip(1)
        .map_while(|line| line.trim().strip_prefix("- "))
        .map(|name| name.trim_matches('"'))
        .filter(|name| !["Auto", "None"].contains(name))
        .collect();
    let mut known: Vec<&str> = FAMILIES.iter().map(|family| family.name).collect();
    named.sort_unstable();
    known.sort_unstable();
    assert_eq!(named, known);
    assert_eq!(Family::resolve("Auto", "qwen2.5-coder-7b").map(|family| family.name), Some("Qwen"));
    assert_eq!(Family::resolve("None", "qwen2.5-coder-7b"), None);
}

#[test]
fn thirteen_languages_of_the_seed_and_ten_more_have_grammar_and_context() {
    let (seed, further): (Vec<Language>, Vec<Language>) =
        Language::ALL.iter().partition(|language| language.is_seed());
    let whole = |language: &&Language| syntax::has_grammar(**language) && context::is_known(**language);
    assert_eq!(seed.iter().filter(whole).count(), 13);
    assert!(further.iter().filter(whole).count() >= 10);
}
