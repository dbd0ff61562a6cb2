//! Generation on request: a conversation for models that follow instructions, made of what stands before the cursor.

use super::{BackendTraits, Message, Prompt, PromptError, PromptKind, Section, Settings, Shape, cut};
use crate::text::Document;
use crate::tokens::Estimate;

/// What the model is told to do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Instruction {
    /// Continue the file, as the comments before the cursor ask.
    #[default]
    Continue,
    /// What the user wrote.
    Text(String),
}

/// Fewest backticks of a fence.
const FENCE: usize = 3;

/// Makes the conversation. It never has more tokens, by the backend's counter, than the window leaves beside the answer.
///
/// # Errors
/// When the window is too small for the instruction alone.
pub fn generation(
    document: &Document,
    instruction: &Instruction,
    backend: &BackendTraits<'_>,
    settings: &Settings,
) -> Result<Prompt, PromptError> {
    let max_tokens = settings.max_tokens.min(backend.window / 2).max(1);
    let tag = document.language().map_or("", |language| language.id());
    let human = document.language().map_or("the language of the file", |language| language.human());
    let system = format!(
        "You write code in {human}. Answer with the code that follows the given text, in one fenced block, and nothing else."
    );
    let asked = match instruction {
        Instruction::Continue => "Write what comes next.".to_owned(),
        Instruction::Text(text) => text.clone(),
    };
    let user = |code: &str| {
        let fence = "`".repeat(FENCE.max(longest_run(code) + 1));
        format!("File: {}\n{fence}{tag}\n{code}\n{fence}\n{asked}", document.file_name())
    };
    let count = |code: &str| backend.counter.count(&system) + backend.counter.count(&user(code));
    let reserved = max_tokens + count("");
    let Some(room) = backend.window.checked_sub(reserved) else {
        return Err(PromptError::Window { window: backend.window, reserved });
    };
    let mut target = room.min(settings.max_prompt);
    let code = loop {
        let from = cut::prefix(document.prefix(), target, backend.counter);
        let code = document.prefix().get(from..).unwrap_or_default();
        let over = count(code).saturating_sub(backend.window - max_tokens);
        if over == 0 || target == 0 {
            break code;
        }
        target = target.saturating_sub(over);
    };
    let tokens = Estimate { tokens: count(code), exact: backend.counter.is_exact() };
    let messages = vec![
        Message { role: "system".into(), content: system.clone() },
        Message { role: "user".into(), content: user(code) },
    ];
    Ok(Prompt {
        sections: vec![Section { name: "prefix", tokens: backend.counter.count(code) }],
        kind: PromptKind::Chat { messages },
        stops: Vec::new(),
        max_tokens,
        tokens,
        shape: Shape::Block,
        shown_from: document.prefix().len() - code.len(),
    })
}

/// The longest run of backticks.
fn longest_run(text: &str) -> usize {
    text.split(|character| character != '`').map(str::len).max().unwrap_or_default()
}
