//! What is taken off an answer to a prompt: chat models put code between fences, editors want the code alone.

/// The text without fence lines and without back-ticks at its end.
#[must_use]
pub fn unfenced(text: &str) -> String {
    if !text.contains("```") {
        return text.to_owned();
    }
    let mut kept = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        if !line.trim_start().starts_with("```") {
            kept.push_str(line);
        }
    }
    kept.truncate(kept.trim_end_matches('`').len());
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fences_go_and_code_stays() {
        for (text, expected) in [
            ("x = 1\n", "x = 1\n"),
            ("```python\nx = 1\n```\n", "x = 1\n"),
            ("```\na\n```python\nb```", "a\nb"),
            ("let s = `${a}`;\n", "let s = `${a}`;\n"),
            ("a\r\n```\r\n", "a\r\n"),
        ] {
            assert_eq!(unfenced(text), expected);
        }
    }
}
