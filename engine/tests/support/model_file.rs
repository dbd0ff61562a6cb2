//! Where the model for tests is; a missing one fails the test, for a skipped test proves nothing.

use std::{env, path::PathBuf};

const NAME: &str = "SmolLM2-135M-Instruct.Q4_1.gguf";

/// `MODELGATE_TEST_MODEL`, or the file in the cache folder that `make model` fills.
pub fn path() -> PathBuf {
    let set = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let path = set("MODELGATE_TEST_MODEL").unwrap_or_else(|| {
        let cache = set("MODELGATE_CACHE")
            .or_else(|| set("XDG_CACHE_HOME").map(|folder| folder.join("modelgate")))
            .or_else(|| set("HOME").map(|folder| folder.join(".cache/modelgate")))
            .expect("HOME is not set");
        cache.join("models").join(NAME)
    });
    assert!(
        path.is_file(),
        "{} is missing: `make model` fetches it; or set MODELGATE_TEST_MODEL to a copy of {NAME}",
        path.display()
    );
    path
}
