//! Whether the special tokens of the model's family are the model's own, asked of the backend's tokenizer. It costs nothing.
//! A model that was not trained with them would take them for text, so then it is only asked to go on from the text before
//! the cursor.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::Method;
use modelgate_api::v1alpha1::Measured;
use modelgate_completion::family::{Verdict, judge};
use serde_json::{Value, json};

use super::Measuring;
use crate::complete::family_of;
use crate::dialect::{Dialect, Wire};

impl Measuring<'_> {
    /// The question for the tokens of a text; `None` where the kind of server has no such path.
    pub(super) fn tokenize(&self, text: &str) -> Option<Wire> {
        let model = &self.backend.config.model;
        let body = match self.dialect {
            Dialect::OpenAi => json!({"model": model, "prompt": text, "add_special_tokens": false}),
            Dialect::LlamaCpp => json!({"content": text, "add_special": false, "parse_special": true}),
            Dialect::Tgi => json!({"inputs": text, "add_special_tokens": false}),
            Dialect::Mistral | Dialect::Triton(_) | Dialect::Vertex(_) => return None,
        };
        let body = Bytes::from(body.to_string());
        Some(Wire { method: Method::POST, path: "/tokenize".into(), body, stream: false })
    }

    /// The ids of a text's tokens, where the server tells them.
    async fn ids(&self, text: &str) -> Option<Vec<u32>> {
        let (status, body) = self.send(self.tokenize(text)?).await.ok()?;
        let answer: Value = serde_json::from_slice(&body).ok().filter(|_| status.is_success())?;
        // A list, or an object with one; of numbers, or of objects with an id.
        let list = answer.get("tokens").unwrap_or(&answer).as_array()?;
        let id = |token: &Value| u32::try_from(token.get("id").unwrap_or(token).as_u64()?).ok();
        list.iter().map(id).collect()
    }

    /// Judges the family that the configuration or the model's name says.
    pub(super) async fn family(&mut self) {
        let Some(family) = family_of(&self.backend.config).filter(|_| self.abilities.raw) else { return };
        let mut ids = BTreeMap::new();
        for token in family.required_tokens() {
            let Some(mut found) = self.ids(token).await else { return };
            // Tokenizers of Llama's kind have some tokens only behind the space that begins a word.
            if found.len() != 1
                && let Some(behind_space) = self.ids(&format!(" {token}")).await
                && behind_space.len() == 1
            {
                found = behind_space;
            }
            ids.insert((*token).to_owned(), found);
        }
        let name = family.name;
        let why = match judge(family, &ids) {
            Verdict::Fits if family.required_tokens().is_empty() => return,
            Verdict::Fits => {
                let detail = format!("{name}: each of its tokens is one of the model's, by /tokenize");
                return self.found("family", Measured::Supported, detail);
            }
            Verdict::Splits { token, ids } => format!("\"{token}\" becomes {ids} tokens"),
            Verdict::Alike { token, other } => format!("\"{token}\" and \"{other}\" are the same token"),
            Verdict::Missing { token } => format!("\"{token}\" could not be asked for"),
        };
        self.abilities.family = false;
        let detail =
            format!("{name}: {why}; what follows the cursor is not sent. Correct spec.model.fim.family");
        self.found("family", Measured::Refused, detail);
    }
}
