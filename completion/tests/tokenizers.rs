//! Families against tokenizer files that published packages ship. tests/data/tokenizers holds the excerpts, each with the
//! package, its licence and the file within it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;

use modelgate_completion::family::{Confirmed, FAMILIES, Family, Verdict, judge};

fn excerpts() -> Vec<serde_json::Value> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/tokenizers");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    files.sort();
    files.iter().map(|path| serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()).collect()
}

#[test]
fn confirmed_families_are_those_whose_tokens_a_published_tokenizer_has() {
    let mut confirmed = Vec::new();
    for excerpt in excerpts() {
        let family = Family::of_name(excerpt["family"].as_str().unwrap()).unwrap();
        let ids: BTreeMap<String, Vec<u32>> = excerpt["tokens"]
            .as_object()
            .unwrap()
            .iter()
            .map(|(token, id)| (token.clone(), vec![u32::try_from(id.as_u64().unwrap()).unwrap()]))
            .collect();
        assert_eq!(judge(family, &ids), Verdict::Fits, "{}", family.name);
        for special in family.specials() {
            assert!(ids.contains_key(special), "{}: {special} is no token", family.name);
        }
        let package = excerpt["package"].as_str().unwrap();
        assert!(family.source.contains(package), "{}: its source names {package}", family.name);
        confirmed.push(family.name);
    }
    confirmed.sort_unstable();
    let mut claimed: Vec<&str> = FAMILIES
        .iter()
        .filter(|family| family.confirmed == Confirmed::Tokenizer)
        .map(|family| family.name)
        .collect();
    claimed.sort_unstable();
    assert_eq!(claimed, confirmed);
    assert!(confirmed.len() >= 2);
}
