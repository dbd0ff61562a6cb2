//! Where settings come from besides flags: the process's environment, then a `.env` file in the working directory, as
//! GitLab's gateway of 2023 reads it. The environment wins over the file.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

/// The file that is read from the working directory.
pub const FILE: &str = ".env";
/// Largest such file that is read.
const MAX_BYTES: u64 = 256 * 1024;

/// Names and values, each with its origin.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    process: BTreeMap<String, String>,
    file: BTreeMap<String, String>,
    path: Option<PathBuf>,
}

/// Where a value was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// On the command line.
    Flag(&'static str),
    /// In the process's environment, by this name.
    Environment(String),
    /// In the `.env` file, by this name.
    DotEnv(String),
    /// In the configuration.
    Configuration(&'static str),
    /// Nowhere.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(flag) => write!(formatter, "flag {flag}"),
            Self::Environment(name) => write!(formatter, "environment {name}"),
            Self::DotEnv(name) => write!(formatter, "{FILE} {name}"),
            Self::Configuration(field) => write!(formatter, "configuration {field}"),
            Self::Default => formatter.write_str("default"),
        }
    }
}

impl Environment {
    /// The process's environment and the `.env` file of the working directory, if there is one.
    ///
    /// # Errors
    /// When the file is there and cannot be understood.
    pub fn load() -> Result<Self, String> {
        // A value that is no text is no setting of ours.
        let process = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        Self::new(process.collect(), Path::new(FILE))
    }

    /// Names given by hand, and a file.
    ///
    /// # Errors
    /// When the file is there and cannot be understood, with the line.
    pub fn new(process: BTreeMap<String, String>, path: &Path) -> Result<Self, String> {
        if !path.is_file() {
            return Ok(Self { process, ..Self::default() });
        }
        let length = std::fs::metadata(path).map_or(0, |kind| kind.len());
        if length > MAX_BYTES {
            return Err(format!("{}: {length} bytes; at most {MAX_BYTES} are read", path.display()));
        }
        let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let file = parse(&text).map_err(|why| format!("{}: {why}", path.display()))?;
        Ok(Self { process, file, path: Some(path.to_owned()) })
    }

    /// The value of a name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<String> {
        self.process.get(name).or_else(|| self.file.get(name)).cloned()
    }

    /// The value that only the file gives.
    #[must_use]
    pub fn only_in_file(&self, name: &str) -> Option<&str> {
        if self.process.contains_key(name) { None } else { self.file.get(name).map(String::as_str) }
    }

    /// Where the value of a name comes from.
    #[must_use]
    pub fn origin(&self, name: &str) -> Option<Origin> {
        if self.process.contains_key(name) {
            return Some(Origin::Environment(name.to_owned()));
        }
        self.file.contains_key(name).then(|| Origin::DotEnv(name.to_owned()))
    }

    /// Every name, of both.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.process
            .keys()
            .chain(self.file.keys().filter(|name| !self.process.contains_key(*name)))
            .map(String::as_str)
    }

    /// The file, if there is one.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        self.path.as_deref()
    }
}

/// `NAME=value` lines as python-dotenv reads them: `export` before the name, quotes around the value, comments.
fn parse(text: &str) -> Result<BTreeMap<String, String>, String> {
    let mut found = BTreeMap::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim().trim_start_matches('\u{feff}');
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let line = line.strip_prefix("export ").unwrap_or(line);
        let Some((name, value)) = line.split_once('=') else {
            return Err(format!("line {}: write NAME=value", number + 1));
        };
        let name = name.trim();
        if name.is_empty()
            || !name.chars().all(|character| character.is_ascii_alphanumeric() || character == '_')
        {
            return Err(format!("line {}: the name is made of letters, digits and _", number + 1));
        }
        found.insert(
            name.to_owned(),
            value_of(value.trim())
                .ok_or_else(|| format!("line {}: {name}: the quote is not closed", number + 1))?,
        );
    }
    Ok(found)
}

fn value_of(text: &str) -> Option<String> {
    let Some(quote @ ('"' | '\'')) = text.chars().next() else {
        // A comment begins with a # after white space; one within a word belongs to it.
        let end = text.match_indices('#').map(|(at, _)| at).find(|at| {
            *at == 0 || text.get(..*at).is_some_and(|before| before.ends_with(char::is_whitespace))
        });
        return Some(text.get(..end.unwrap_or(text.len())).unwrap_or_default().trim_end().to_owned());
    };
    let mut value = String::new();
    let mut characters = text.chars().skip(1);
    while let Some(character) = characters.next() {
        match character {
            '\\' if quote == '"' => match characters.next()? {
                'n' => value.push('\n'),
                't' => value.push('\t'),
                other => value.push(other),
            },
            _ if character == quote => return Some(value),
            _ => value.push(character),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_as_python_dotenv_reads_it() {
        let text = "# comment\n\nexport A=1\nB = two # rest\nC='#3 '\nD=\"a\\\"b\\n\"\nE=\nF=x#y\n";
        let found = parse(text).unwrap();
        let found: Vec<(&str, &str)> = found.iter().map(|(name, value)| (&**name, &**value)).collect();
        assert_eq!(found, [("A", "1"), ("B", "two"), ("C", "#3 "), ("D", "a\"b\n"), ("E", ""), ("F", "x#y")]);
        assert!(parse("A=1\nnothing").unwrap_err().contains("line 2"));
        assert!(parse("A='x").unwrap_err().contains("not closed"));
    }

    #[test]
    fn the_environment_wins_over_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        std::fs::write(&path, "A=file\nB=file\n").unwrap();
        let process = BTreeMap::from([("A".to_owned(), "process".to_owned())]);
        let environment = Environment::new(process, &path).unwrap();
        assert_eq!(environment.get("A").as_deref(), Some("process"));
        assert_eq!(environment.origin("A"), Some(Origin::Environment("A".into())));
        assert_eq!(environment.origin("B"), Some(Origin::DotEnv("B".into())));
        assert_eq!(environment.only_in_file("A"), None);
        assert_eq!(environment.names().collect::<Vec<_>>(), ["A", "B"]);
    }
}
