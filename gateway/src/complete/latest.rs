//! The newest completion of each editor and file: a newer one replaces the older, whose generation ends at the backend
//! unless somebody else waits for it too.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use super::order::Key;

/// The newest completions.
#[derive(Clone, Default)]
pub(super) struct Latest {
    list: Arc<Mutex<HashMap<Key, Entry>>>,
}

struct Entry {
    key: Key,
    replaced: Arc<Notify>,
}

/// A completion's place as the newest; given back when dropped.
pub(super) struct Newest {
    all: Latest,
    editor: Option<Key>,
    replaced: Arc<Notify>,
}

impl Latest {
    /// Takes the place of the editor's older completion. One that asks for the very same does not replace it.
    pub(super) fn take_over(&self, editor: Option<Key>, key: Key) -> Newest {
        let replaced = Arc::new(Notify::new());
        if let Some(editor) = editor {
            let entry = Entry { key, replaced: Arc::clone(&replaced) };
            let old = self.list.lock().unwrap_or_else(PoisonError::into_inner).insert(editor, entry);
            if let Some(old) = old.filter(|old| old.key != key) {
                old.replaced.notify_one();
            }
        }
        Newest { all: self.clone(), editor, replaced }
    }
}

impl Newest {
    /// Waits until a newer completion takes the place; for ever without an editor.
    pub(super) async fn replaced(&self) {
        self.replaced.notified().await;
    }
}

impl Drop for Newest {
    fn drop(&mut self) {
        let Some(editor) = self.editor else { return };
        let mut list = self.all.list.lock().unwrap_or_else(PoisonError::into_inner);
        if list.get(&editor).is_some_and(|entry| Arc::ptr_eq(&entry.replaced, &self.replaced)) {
            list.remove(&editor);
        }
    }
}
