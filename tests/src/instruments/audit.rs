//! Who wrote what: the API server's audit log as a list of writes, to assert on.

use std::fs::File;
use std::io::{BufRead, BufReader, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::Value;

/// One write that the API server answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// `create`, `update`, `patch`, `delete` or `deletecollection`.
    pub verb: String,
    /// Resource with its subresource, `pods/status`.
    pub resource: String,
    /// Namespace; empty for cluster-scoped objects.
    pub namespace: String,
    /// Name; empty for a create that leaves it to the server.
    pub name: String,
    /// Who asked.
    pub user: String,
    /// Status code of the answer.
    pub code: u64,
}

/// A place in the log, from which later writes are read.
#[derive(Debug, Clone)]
pub struct Mark {
    log: PathBuf,
    offset: u64,
}

impl Mark {
    /// The log's present end.
    ///
    /// # Errors
    /// When there is no such log.
    pub fn now(log: &Path) -> Result<Self> {
        let size = std::fs::metadata(log).with_context(|| format!("no audit log {}", log.display()))?.len();
        Ok(Self { log: log.to_path_buf(), offset: size })
    }

    /// Writes since the mark that `wanted` accepts.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn writes(&self, wanted: impl Fn(&Write) -> bool) -> Result<Vec<Write>> {
        let mut file =
            File::open(&self.log).with_context(|| format!("no audit log {}", self.log.display()))?;
        file.seek(SeekFrom::Start(self.offset))?;
        let mut found = Vec::new();
        for line in BufReader::new(file).lines() {
            // The server may be writing the last line just now.
            if let Ok(event) = serde_json::from_str::<Value>(&line?) {
                found.extend(read(&event).filter(|write| wanted(write)));
            }
        }
        Ok(found)
    }
}

fn read(event: &Value) -> Option<Write> {
    let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let verb = text("/verb");
    let writes = ["create", "update", "patch", "delete", "deletecollection"].contains(&verb.as_str());
    if !writes || text("/stage") != "ResponseComplete" {
        return None;
    }
    let subresource = text("/objectRef/subresource");
    let resource = text("/objectRef/resource");
    Some(Write {
        verb,
        resource: if subresource.is_empty() { resource } else { format!("{resource}/{subresource}") },
        namespace: text("/objectRef/namespace"),
        name: text("/objectRef/name"),
        user: text("/user/username"),
        code: event.pointer("/responseStatus/code").and_then(Value::as_u64).unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    #[test]
    fn only_finished_writes_after_the_mark_count() {
        let mut log = tempfile::NamedTempFile::new().unwrap();
        let line = |verb: &str, stage: &str, name: &str| {
            format!(
                r#"{{"verb":"{verb}","stage":"{stage}","user":{{"username":"u"}},"objectRef":{{"resource":"pods","namespace":"n","name":"{name}","subresource":"status"}},"responseStatus":{{"code":200}}}}"#
            )
        };
        writeln!(log, "{}", line("patch", "ResponseComplete", "before")).unwrap();
        let mark = Mark::now(log.path()).unwrap();
        for (verb, stage) in
            [("get", "ResponseComplete"), ("patch", "RequestReceived"), ("patch", "ResponseComplete")]
        {
            writeln!(log, "{}", line(verb, stage, "after")).unwrap();
        }
        write!(log, "{{\"half").unwrap();
        let writes = mark.writes(|write| write.user == "u").unwrap();
        assert_eq!(writes.len(), 1);
        assert_eq!((writes[0].resource.as_str(), writes[0].name.as_str()), ("pods/status", "after"));
    }
}
