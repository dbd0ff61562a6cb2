//! Finds in Rust source what a user can set or see: flags and environment names of clap, other environment names, metrics.

use std::collections::BTreeSet;

/// A name, and the line it stands in.
#[derive(Debug, PartialEq, Eq)]
pub struct Named {
    pub name: String,
    pub line: usize,
}

/// The source without its tests, which stand at the end.
pub fn before_tests(text: &str) -> &str {
    text.find("\n#[cfg(test)]\nmod ").map_or(text, |end| &text[..end])
}

/// An `#[arg(…)]` attribute and the field it belongs to.
struct Argument {
    attribute: String,
    field: String,
    line: usize,
}

/// Arguments of commands that help shows. A command with `#[command(hide = true)]` is for the program itself.
fn arguments(text: &str) -> Vec<Argument> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    let mut end_of_hidden: Option<String> = None;
    for (start, line) in lines.iter().enumerate() {
        if let Some(end) = &end_of_hidden {
            // A variant without arguments of its own ends on its only line.
            let one_line = lines[start - 1].trim_start().starts_with("#[command(hide") && line.ends_with(',');
            if one_line || line == end {
                end_of_hidden = None;
            }
            continue;
        }
        if line.trim_start().starts_with("#[command(hide = true") {
            let indent = &line[..line.len() - line.trim_start().len()];
            end_of_hidden = Some(format!("{indent}}},"));
            continue;
        }
        if !line.trim_start().starts_with("#[arg(") {
            continue;
        }
        // The attribute ends at the first line that ends in `]`; the field is the next line that is no attribute.
        let length = lines[start..].iter().position(|line| line.trim_end().ends_with(")]")).unwrap_or(0) + 1;
        let attribute = lines[start..start + length].join(" ");
        let after = lines[start + length..].iter().map(|line| line.trim_start());
        let Some(field) = after.clone().find(|line| !line.starts_with("#[") && !line.starts_with("//"))
        else {
            continue;
        };
        let field = field.trim_start_matches("pub ").trim_start_matches("pub(crate) ");
        let field = field.split(':').next().unwrap_or_default().trim().trim_start_matches("r#").to_owned();
        found.push(Argument { attribute, field, line: start + 1 });
    }
    found
}

/// The value of a key of an attribute: `None` without the key, `Some(None)` for the bare key.
fn key(attribute: &str, key: &str) -> Option<Option<String>> {
    let mut rest = attribute;
    while let Some(at) = rest.find(key) {
        let before = rest[..at].chars().next_back();
        let after = rest[at + key.len()..].trim_start();
        rest = &rest[at + key.len()..];
        if before.is_none_or(|character| !"( ,".contains(character)) {
            continue;
        }
        if let Some(value) = after.strip_prefix('=') {
            return Some(
                value
                    .trim_start()
                    .strip_prefix('"')
                    .and_then(|value| value.split('"').next())
                    .map(str::to_owned),
            );
        }
        if after.starts_with([',', ')']) {
            return Some(None);
        }
    }
    None
}

/// Long flags of clap's derive.
pub fn flags(text: &str) -> Vec<Named> {
    let long = |argument: Argument| {
        let name = key(&argument.attribute, "long")?.unwrap_or_else(|| argument.field.replace('_', "-"));
        Some(Named { name: format!("--{name}"), line: argument.line })
    };
    arguments(text).into_iter().filter_map(long).collect()
}

/// Environment names: clap's, and every string that is spelled like one. What cargo sets and what the runner of the
/// local cluster hands to other programs is nothing a user sets.
pub fn environment(path: &str, text: &str) -> Vec<Named> {
    let bare = |argument: Argument| match key(&argument.attribute, "env")? {
        None => Some(Named { name: argument.field.to_uppercase(), line: argument.line }),
        Some(_) => None,
    };
    let mut found: Vec<Named> = arguments(text).into_iter().filter_map(bare).collect();
    let is_name = |text: &str| {
        text.contains('_')
            && text.starts_with(|first: char| first.is_ascii_uppercase())
            && text.chars().all(|character| {
                character.is_ascii_uppercase() || character.is_ascii_digit() || character == '_'
            })
    };
    let ours = |name: &str| {
        !name.starts_with("CARGO_") && (!path.starts_with("tests/") || name.starts_with("MODELGATE_"))
    };
    found.extend(literals(text).into_iter().filter(|Named { name, .. }| is_name(name) && ours(name)));
    found
}

/// Metric families: ours, and those of other vocabularies that end in a unit.
pub fn metrics(text: &str) -> Vec<Named> {
    const UNITS: [&str; 6] = ["_total", "_seconds", "_bytes", "_info", "_tokens", "_ratio"];
    /// Rust's names of our crates, which log targets are spelled with.
    const CRATES: [&str; 5] =
        ["modelgate_api", "modelgate_operator", "modelgate_gateway", "modelgate_engine", "modelgate_gpu"];
    let is_family = |name: &str| {
        let spelled = name.chars().all(|character| {
            character.is_ascii_lowercase() || character.is_ascii_digit() || character == '_'
        });
        let others = ["http_", "gen_ai_", "process_"].iter().any(|prefix| name.starts_with(prefix));
        let ours =
            name.strip_prefix("modelgate_").is_some_and(|rest| !rest.is_empty()) && !CRATES.contains(&name);
        spelled && (ours || (others && UNITS.iter().any(|unit| name.ends_with(unit))))
    };
    let mut found: Vec<Named> =
        literals(text).into_iter().filter(|Named { name, .. }| is_family(name)).collect();
    found.extend(composed(text));
    found
}

/// Families whose names a file puts together: `format!("modelgate_x_{name}")` and the names its constructors are given.
fn composed(text: &str) -> Vec<Named> {
    const CONSTRUCTORS: [&str; 4] = ["opts(", "counter(", "gauge(", "histogram("];
    let prefix = |Named { name, .. }: Named| {
        name.strip_suffix("{name}").filter(|prefix| prefix.starts_with("modelgate_")).map(str::to_owned)
    };
    let Some(prefix) = literals(text).into_iter().find_map(prefix) else { return Vec::new() };
    let mut found = Vec::new();
    for constructor in CONSTRUCTORS {
        for (at, _) in text.match_indices(constructor) {
            let argument = text[at + constructor.len()..].trim_start();
            let name = argument.strip_prefix('"').and_then(|argument| argument.split('"').next());
            let line = text[..at].lines().count();
            found.extend(name.map(|name| Named { name: format!("{prefix}{name}"), line }));
        }
    }
    found
}

/// String literals without escapes that stand on one line, comments left out.
fn literals(text: &str) -> Vec<Named> {
    let mut found = Vec::new();
    let mut seen = BTreeSet::new();
    for (number, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("//") {
            continue;
        }
        // Every second piece between quotes is a literal; a wrong guess on a line with escapes yields no name.
        for piece in line.split('"').skip(1) {
            if !piece.is_empty() && seen.insert(piece.to_owned()) {
                found.push(Named { name: piece.to_owned(), line: number + 1 });
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::{Named, before_tests, environment, flags, metrics};

    const SOURCE: &str = r#"
struct Arguments {
    /// A flag.
    #[arg(long, env = "MODELGATE_LISTEN", default_value = "a")]
    pub listen: String,
    #[arg(long = "alias", value_delimiter = ',',
          env)]
    #[serde(skip)]
    aliases: Vec<String>,
    #[arg(short)]
    quiet: bool,
    #[command(hide = true)]
    Inner { spec: PathBuf },
    #[command(hide = true)]
    Relay {
        #[arg(long)]
        socket: PathBuf,
    },
    Up {
        #[arg(long)]
        r#gpus: u32,
    },
}
// "MODELGATE_COMMENT"
const A: [&str; 2] = ["METRICS_PORT", "not_a_name"];
register("modelgate_requests_total", "http_requests_total", "http_listener", "modelgate_gateway");

#[cfg(test)]
mod tests { const B: &str = "MODELGATE_TEST"; }
"#;

    fn names(found: Vec<Named>) -> Vec<String> {
        found.into_iter().map(|named| named.name).collect()
    }

    #[test]
    fn names_are_found_where_users_meet_them_and_nowhere_else() {
        let source = before_tests(SOURCE);
        assert_eq!(names(flags(source)), ["--listen", "--alias", "--gpus"]);
        assert_eq!(
            names(environment("gateway/src/a.rs", source)),
            ["ALIASES", "MODELGATE_LISTEN", "METRICS_PORT"]
        );
        assert_eq!(names(environment("tests/src/a.rs", source)), ["ALIASES", "MODELGATE_LISTEN"]);
        assert_eq!(names(metrics(source)), ["modelgate_requests_total", "http_requests_total"]);
        assert_eq!(flags(source)[0].line, 4);
    }

    #[test]
    fn names_put_together_from_a_prefix_are_found_whole() {
        let source = r#"
let opts = |name| Opts::new(format!("modelgate_operator_{name}"), "Help");
leader: counter("leader", "Whether this one leads.")?,
applies: counter(
    "apply_total",
"#;
        assert_eq!(names(metrics(source)), ["modelgate_operator_leader", "modelgate_operator_apply_total"]);
    }
}
