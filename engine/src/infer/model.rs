//! One GGUF file in memory: its vocabulary, its chat template and its limits.

use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

use llama_cpp_2::{
    LogOptions,
    llama_backend::LlamaBackend,
    model::{LlamaChatMessage, LlamaChatTemplate, LlamaModel, params::LlamaModelParams},
    send_logs_to_tracing,
};

/// A token of the model's vocabulary.
pub use llama_cpp_2::token::LlamaToken as Token;

/// Longest context taken without being asked for: the memory for keys and values grows with it.
const DEFAULT_CONTEXT: u32 = 4096;

/// Why a model file cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file cannot be opened or read.
    #[error("--model {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file does not begin as a GGUF file does.
    #[error("--model {}: not a GGUF file (its first bytes are not \"GGUF\"); convert the model to GGUF first", path.display())]
    NotGguf {
        /// The file.
        path: PathBuf,
    },
    /// llama.cpp does not accept the file.
    #[error(
        "--model {}: llama.cpp cannot load this file: it is cut short, damaged, of an unknown architecture, \
         or larger than the memory (RUST_LOG=llama-cpp-2=debug shows its own words)",
        path.display()
    )]
    Refused {
        /// The file.
        path: PathBuf,
    },
    /// This processor lacks instructions that the library was compiled for.
    #[error(
        "this processor lacks {missing}: the engine needs an x86-64-v3 processor (AVX2, FMA, F16C, BMI2)"
    )]
    Processor {
        /// The first missing instruction set.
        missing: &'static str,
    },
    /// The library could not start.
    #[error("llama.cpp did not start: {0}")]
    Backend(String),
}

/// A turn of a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turn {
    /// `system`, `user` or `assistant`.
    pub role: String,
    /// What was said.
    pub content: String,
}

/// Why a conversation cannot become a prompt.
#[derive(Debug, thiserror::Error)]
pub enum ChatError {
    /// The file has no chat template, or one that needs a Jinja interpreter.
    #[error("this model has no chat template that llama.cpp recognises; use /v1/completions")]
    NoTemplate,
    /// C strings cannot hold a NUL.
    #[error("a message contains a NUL character")]
    Nul,
}

/// A loaded model. Cheap to share between threads; computing needs a `Session`.
#[derive(Debug)]
pub struct Model {
    // Order matters: the model is freed before the library shuts down.
    model: LlamaModel,
    template: Option<LlamaChatTemplate>,
    backend: LlamaBackend,
}

impl Model {
    /// Loads a file, for as long as `go_on` says so. Takes seconds or minutes; call it on a thread that may block.
    ///
    /// # Errors
    /// `LoadError` names the file and the reason; the process stays usable.
    pub fn load(path: &Path, go_on: impl Fn() -> bool + 'static) -> Result<Self, LoadError> {
        check_processor()?;
        check_file(path)?;
        send_logs_to_tracing(LogOptions::default());
        let backend = LlamaBackend::init().map_err(|error| LoadError::Backend(error.to_string()))?;
        let params = LlamaModelParams::default().with_progress_callback(move |_| go_on());
        let model = LlamaModel::load_from_file(&backend, path, &params)
            .map_err(|_| LoadError::Refused { path: path.into() })?;
        let mut loaded = Self { model, template: None, backend };
        loaded.template = loaded.usable_template();
        Ok(loaded)
    }

    /// The context length to serve: what was asked for, else the model's own up to a default.
    #[must_use]
    pub fn context_length(&self, asked: Option<u32>) -> u32 {
        asked.unwrap_or_else(|| self.trained_context().clamp(16, DEFAULT_CONTEXT))
    }

    /// The context length that the model was trained with, in tokens.
    #[must_use]
    pub fn trained_context(&self) -> u32 {
        self.model.n_ctx_train()
    }

    /// Size of the vocabulary.
    #[must_use]
    pub fn vocabulary(&self) -> i32 {
        self.model.n_vocab()
    }

    /// Text to tokens; special tokens written in the text are recognised, as infill prompts need.
    #[must_use]
    pub fn tokenize(&self, text: &str) -> Vec<Token> {
        self.model.vocab().tokenize(text.as_bytes(), true, true)
    }

    /// Prefix and suffix in the order this model was trained to fill between; `None` if it has no tokens for that.
    #[must_use]
    pub fn infill(&self, prefix: &str, suffix: &str) -> Option<Vec<Token>> {
        let vocab = self.model.vocab();
        let [pre, suf, mid] = [vocab.fim_pre(), vocab.fim_suf(), vocab.fim_mid()];
        if [pre, suf, mid].iter().any(|token| token.0 < 0) {
            return None;
        }
        let mut tokens = Vec::new();
        if vocab.should_add_bos() {
            tokens.push(vocab.bos());
        }
        tokens.push(pre);
        tokens.extend(vocab.tokenize(prefix.as_bytes(), false, false));
        tokens.push(suf);
        tokens.extend(vocab.tokenize(suffix.as_bytes(), false, false));
        tokens.push(mid);
        Some(tokens)
    }

    /// A conversation as the model's template writes it, ending where the assistant speaks.
    ///
    /// # Errors
    /// `NoTemplate` if the model was not made for conversations.
    pub fn chat_prompt(&self, turns: &[Turn]) -> Result<String, ChatError> {
        let template = self.template.as_ref().ok_or(ChatError::NoTemplate)?;
        self.render(template, turns)
    }

    /// The bytes that a token stands for; special tokens stand for none.
    #[must_use]
    pub fn piece(&self, token: Token) -> Vec<u8> {
        self.model.vocab().token_to_piece(token, false, None)
    }

    /// Whether the model says with this token that its answer is complete.
    #[must_use]
    pub fn is_end(&self, token: Token) -> bool {
        self.model.vocab().is_eog(token)
    }

    /// The library's own handles, for a session.
    pub(super) fn handles(&self) -> (&LlamaModel, &LlamaBackend) {
        (&self.model, &self.backend)
    }

    /// The file's template, tried once so that a template the library cannot render is known at start.
    fn usable_template(&self) -> Option<LlamaChatTemplate> {
        let template = self.model.chat_template(None).ok()?;
        let turn = Turn { role: "user".into(), content: "Hello".into() };
        self.render(&template, &[turn]).ok().map(|_| template)
    }

    fn render(&self, template: &LlamaChatTemplate, turns: &[Turn]) -> Result<String, ChatError> {
        let messages = turns
            .iter()
            .map(|turn| LlamaChatMessage::new(turn.role.clone(), turn.content.clone()))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_| ChatError::Nul)?;
        self.model.apply_chat_template(template, &messages, true).map_err(|_| ChatError::NoTemplate)
    }
}

/// Reads the first bytes, so that the common mistakes get their own words.
fn check_file(path: &Path) -> Result<(), LoadError> {
    let unreadable = |source| LoadError::Unreadable { path: path.into(), source };
    let mut magic = [0_u8; 4];
    let mut file = File::open(path).map_err(unreadable)?;
    match file.read_exact(&mut magic) {
        Ok(()) if &magic == b"GGUF" => Ok(()),
        Err(error) if error.kind() != std::io::ErrorKind::UnexpectedEof => Err(unreadable(error)),
        _ => Err(LoadError::NotGguf { path: path.into() }),
    }
}

/// llama.cpp is compiled for x86-64-v3; on an older processor it would die of SIGILL without a word.
#[cfg(target_arch = "x86_64")]
fn check_processor() -> Result<(), LoadError> {
    let features = [
        ("AVX2", std::is_x86_feature_detected!("avx2")),
        ("FMA", std::is_x86_feature_detected!("fma")),
        ("F16C", std::is_x86_feature_detected!("f16c")),
        ("BMI2", std::is_x86_feature_detected!("bmi2")),
    ];
    match features.into_iter().find(|(_, present)| !present) {
        Some((missing, _)) => Err(LoadError::Processor { missing }),
        None => Ok(()),
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn check_processor() -> Result<(), LoadError> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{LoadError, check_file};

    #[test]
    fn a_missing_file_a_foreign_file_and_an_empty_file_are_told_apart_before_the_library_sees_them() {
        let folder = std::env::temp_dir().join(format!("modelgate-engine-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let missing = check_file(&folder.join("none.gguf")).unwrap_err();
        assert!(missing.to_string().contains("none.gguf: No such file"), "{missing}");
        for (name, bytes) in [("text.gguf", &b"hello"[..]), ("empty.gguf", &b""[..])] {
            let path = folder.join(name);
            std::fs::write(&path, bytes).unwrap();
            assert!(matches!(check_file(&path), Err(LoadError::NotGguf { .. })), "{name}");
        }
        std::fs::write(folder.join("good.gguf"), b"GGUF....").unwrap();
        assert!(check_file(&folder.join("good.gguf")).is_ok());
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
