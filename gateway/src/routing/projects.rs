//! A list of GitLab projects: ids, full paths, or both as `<id>,<full path>`, one a line. A list in a Secret or ConfigMap is
//! read again and again, so a project that is added needs no restart.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio_util::task::AbortOnDropHandle;

/// How often the file is read again.
const INTERVAL: Duration = Duration::from_secs(1);
/// Largest list that is read; an object of Kubernetes holds 1 MiB.
const MAX_BYTES: u64 = 1024 * 1024;

/// The projects that a route takes.
pub struct Projects {
    list: Arc<ArcSwap<List>>,
    _task: Option<AbortOnDropHandle<()>>,
}

/// Ids and paths in lower case.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct List {
    ids: BTreeSet<String>,
    paths: BTreeSet<String>,
}

impl List {
    /// Reads lines of `<id>`, `<full path>` or `<id>,<full path>`; empty ones and those that begin with `#` are passed over.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut list = Self::default();
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            for part in line.splitn(2, ',').map(str::trim).filter(|part| !part.is_empty()) {
                if part.bytes().all(|byte| byte.is_ascii_digit()) {
                    list.ids.insert(part.to_owned());
                } else {
                    list.paths.insert(part.trim_matches('/').to_ascii_lowercase());
                }
            }
        }
        list
    }

    /// Whether the project with this id or this path is listed.
    #[must_use]
    pub fn holds(&self, id: Option<&str>, path: Option<&str>) -> bool {
        id.is_some_and(|id| self.ids.contains(id))
            || path.is_some_and(|path| self.paths.contains(&path.trim_matches('/').to_ascii_lowercase()))
    }
}

impl Projects {
    /// A list that never changes.
    #[must_use]
    pub fn fixed(items: &[String]) -> Self {
        let list = Arc::new(ArcSwap::from_pointee(List::parse(&items.join("\n"))));
        Self { list, _task: None }
    }

    /// A list in a file that may change, appear and vanish. A file that cannot be read lists nobody.
    #[must_use]
    pub fn in_file(route: &str, path: PathBuf) -> Self {
        let list = Arc::new(ArcSwap::from_pointee(List::default()));
        let mut said = read_into(&list, route, &path, None);
        let (shared, route) = (Arc::clone(&list), route.to_owned());
        let task = tokio::spawn(async move {
            loop {
                tokio::time::sleep(INTERVAL).await;
                said = read_into(&shared, &route, &path, said.as_ref());
            }
        });
        Self { list, _task: Some(AbortOnDropHandle::new(task)) }
    }

    /// Whether the project is listed now.
    #[must_use]
    pub fn holds(&self, id: Option<&str>, path: Option<&str>) -> bool {
        self.list.load().holds(id, path)
    }
}

/// Reads the file; gives what was said about it, so that the same is not said every second.
fn read_into(list: &ArcSwap<List>, route: &str, path: &Path, said: Option<&String>) -> Option<String> {
    let text = std::fs::metadata(path).and_then(|found| {
        if found.len() > MAX_BYTES {
            return Err(std::io::Error::other("larger than 1 MiB"));
        }
        std::fs::read_to_string(path)
    });
    match text {
        Ok(text) => {
            let new = List::parse(&text);
            if **list.load() != new {
                tracing::info!(
                    route,
                    ids = new.ids.len(),
                    paths = new.paths.len(),
                    "the list of projects is read"
                );
                list.store(Arc::new(new));
            }
            None
        }
        Err(error) => {
            list.store(Arc::default());
            let why = error.to_string();
            if said != Some(&why) {
                tracing::warn!(route, path = %path.display(), error = why, "the list of projects cannot be read; the route takes no project");
            }
            Some(why)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_ids_paths_or_both() {
        let list = List::parse("278964,gitlab-org/gitlab\n\n# pilots\n 42 \nGroup/Sub/Project\n7,\n");
        for (id, path, expected) in [
            (Some("278964"), None, true),
            (None, Some("gitlab-org/gitlab"), true),
            (None, Some("GitLab-Org/GitLab"), true),
            (Some("42"), Some("some/other"), true),
            (Some("7"), None, true),
            (None, Some("group/sub/project"), true),
            (Some("1"), Some("gitlab-org/gitlab-shell"), false),
            (Some("-1"), Some(""), false),
            (None, None, false),
        ] {
            assert_eq!(list.holds(id, path), expected, "{id:?} {path:?}");
        }
    }

    #[tokio::test]
    async fn a_list_in_a_file_is_read_again_and_a_missing_one_lists_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("list.txt");
        let projects = Projects::in_file("r", file.clone());
        assert!(!projects.holds(Some("1"), None));
        std::fs::write(&file, "1,a/b\n").unwrap();
        for _ in 0..100 {
            if projects.holds(Some("1"), None) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        assert!(projects.holds(None, Some("a/b")));
    }
}
