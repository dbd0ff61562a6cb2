//! What a GGUF model file says of its vocabulary, read from its beginning alone: enough to tell the family of the model
//! and the name of its architecture. Nothing of the file is trusted: every length is checked against what is there.

mod reader;

use reader::{Reader, Value};

use crate::family::{self, Family};

/// Entries of a file's metadata that are read at most; files have a few dozen.
const MAX_ENTRIES: u64 = 4096;

/// What a model file says of itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ModelFile {
    /// `general.architecture`.
    pub architecture: Option<String>,
    /// `general.name`.
    pub name: Option<String>,
    /// `<architecture>.context_length`: tokens that the model was trained for.
    pub context_length: Option<u64>,
    /// `tokenizer.ggml.model`: `gpt2`, `llama`, …
    pub tokenizer: Option<String>,
    /// `tokenizer.ggml.add_bos_token`.
    pub adds_bos: Option<bool>,
    /// Tokens that no text becomes: those that `tokenizer.ggml.token_type` calls control or user-defined.
    special: Vec<String>,
}

/// Why a file could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GgufError {
    /// Another kind of file.
    #[error("not a GGUF file: it does not begin with GGUF")]
    Magic,
    /// A version that is not known.
    #[error("GGUF version {0} is not known; versions 2 and 3 are")]
    Version(u32),
    /// The bytes end within the metadata.
    #[error(
        "the metadata is not whole: {0} bytes of the file's beginning are too few, or the file is damaged"
    )]
    Short(usize),
    /// A length or type that cannot be.
    #[error("the metadata is damaged: {0}")]
    Damaged(&'static str),
}

impl ModelFile {
    /// Reads the metadata from a file's beginning, which must hold all of it (a vocabulary takes a few megabytes).
    ///
    /// # Errors
    /// When it is no GGUF file, too little of one, or a damaged one.
    pub fn read(bytes: &[u8]) -> Result<Self, GgufError> {
        let mut reader = Reader::new(bytes);
        if reader.take(4)? != b"GGUF" {
            return Err(GgufError::Magic);
        }
        let version = reader.u32()?;
        if !(2..=3).contains(&version) {
            return Err(GgufError::Version(version));
        }
        let _tensors = reader.u64()?;
        let entries = reader.u64()?;
        if entries > MAX_ENTRIES {
            return Err(GgufError::Damaged("more metadata than a model has"));
        }
        let mut file = Self::default();
        let (mut tokens, mut types) = (Vec::new(), Vec::new());
        for _ in 0..entries {
            let key = reader.string()?;
            match (key.as_str(), reader.value()?) {
                ("general.architecture", Value::Text(text)) => file.architecture = Some(text),
                ("general.name", Value::Text(text)) => file.name = Some(text),
                ("tokenizer.ggml.model", Value::Text(text)) => file.tokenizer = Some(text),
                ("tokenizer.ggml.add_bos_token", Value::Bool(set)) => file.adds_bos = Some(set),
                ("tokenizer.ggml.tokens", Value::Texts(list)) => tokens = list,
                ("tokenizer.ggml.token_type", Value::Numbers(list)) => types = list,
                (key, Value::Number(number)) if key.ends_with(".context_length") => {
                    file.context_length = Some(number);
                }
                _ => {}
            }
        }
        // 3: control, 4: user-defined. A file without types says nothing, so any of its tokens may be special.
        let is_special = |at: usize| types.get(at).is_none_or(|kind| matches!(kind, 3 | 4));
        file.special = tokens
            .into_iter()
            .enumerate()
            .filter(|(at, _)| is_special(*at))
            .map(|(_, token)| token)
            .collect();
        file.special.sort_unstable();
        Ok(file)
    }

    /// Whether the vocabulary has this token as a special one.
    #[must_use]
    pub fn has_special(&self, token: &str) -> bool {
        self.special.binary_search_by(|known| known.as_str().cmp(token)).is_ok()
    }

    /// The family whose tokens the vocabulary has.
    #[must_use]
    pub fn family(&self) -> Option<&'static Family> {
        family::by_vocabulary(|token| self.has_special(token))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::family::FAMILIES;
    use proptest::prelude::*;

    /// A model file with these tokens and no tensors.
    fn file(tokens: &[(&str, i32)]) -> Vec<u8> {
        let mut bytes = b"GGUF".to_vec();
        let text = |bytes: &mut Vec<u8>, text: &str| {
            bytes.extend((text.len() as u64).to_le_bytes());
            bytes.extend(text.as_bytes());
        };
        bytes.extend(3_u32.to_le_bytes());
        bytes.extend(0_u64.to_le_bytes());
        bytes.extend(5_u64.to_le_bytes());
        for (key, value) in [("general.architecture", "qwen2"), ("tokenizer.ggml.model", "gpt2")] {
            text(&mut bytes, key);
            bytes.extend(8_u32.to_le_bytes());
            text(&mut bytes, value);
        }
        text(&mut bytes, "qwen2.context_length");
        bytes.extend(4_u32.to_le_bytes());
        bytes.extend(32768_u32.to_le_bytes());
        text(&mut bytes, "tokenizer.ggml.tokens");
        bytes.extend(9_u32.to_le_bytes());
        bytes.extend(8_u32.to_le_bytes());
        bytes.extend((tokens.len() as u64).to_le_bytes());
        tokens.iter().for_each(|(token, _)| text(&mut bytes, token));
        text(&mut bytes, "tokenizer.ggml.token_type");
        bytes.extend(9_u32.to_le_bytes());
        bytes.extend(5_u32.to_le_bytes());
        bytes.extend((tokens.len() as u64).to_le_bytes());
        tokens.iter().for_each(|(_, kind)| bytes.extend(kind.to_le_bytes()));
        bytes
    }

    #[test]
    fn a_model_file_says_its_family_by_its_special_tokens() {
        for family in FAMILIES {
            let mut tokens: Vec<(&str, i32)> = vec![("def", 1), ("Ġ", 1)];
            tokens.extend(family.required.iter().chain(family.distinctive).map(|token| (*token, 3)));
            let read = ModelFile::read(&file(&tokens)).unwrap();
            assert_eq!(read.family().map(|found| found.name), Some(family.name));
            assert_eq!((read.context_length, read.architecture.as_deref()), (Some(32768), Some("qwen2")));
        }
    }

    #[test]
    fn a_vocabulary_in_which_the_tokens_are_plain_text_has_no_family() {
        let family = Family::of_name("Qwen").unwrap();
        let tokens: Vec<(&str, i32)> = family.required.iter().map(|token| (*token, 1)).collect();
        assert_eq!(ModelFile::read(&file(&tokens)).unwrap().family(), None);
    }

    #[test]
    fn damaged_files_are_refused_by_name() {
        assert_eq!(ModelFile::read(b"ELF!"), Err(GgufError::Magic));
        assert_eq!(ModelFile::read(b"GGUF\x09\0\0\0"), Err(GgufError::Version(9)));
        let whole = file(&[("a", 1)]);
        assert_eq!(ModelFile::read(&whole[..60]), Err(GgufError::Short(60)));
    }

    proptest! {
        #[test]
        fn no_bytes_make_reading_fail_otherwise(cut in 0_usize..300, flips in proptest::collection::vec((8_usize..300, any::<u8>()), 0..6)) {
            let mut bytes = file(&[("<|fim_prefix|>", 3), ("b", 1)]);
            for (at, value) in flips {
                if let Some(byte) = bytes.get_mut(at) { *byte = value; }
            }
            bytes.truncate(cut.max(4));
            let _ = ModelFile::read(&bytes);
        }
    }
}
