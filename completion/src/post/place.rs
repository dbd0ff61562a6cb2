//! What is found out once about a place in a file and serves every look at the answers for it: a stream is looked at piece by
//! piece, and neither the text before the cursor nor the tree of the file changes meanwhile.

use std::sync::OnceLock;

use tree_sitter::Tree;

use super::context::Open;

/// What is known of a place. It belongs to one document and its caps; for another, begin another.
#[derive(Default)]
pub struct Place {
    pub(super) open: OnceLock<Open>,
    /// The text round the cursor and its tree; no tree where time was up.
    pub(super) tree: OnceLock<Option<(String, Tree)>>,
}

impl std::fmt::Debug for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Place").field("parsed", &self.tree.get().is_some()).finish_non_exhaustive()
    }
}
