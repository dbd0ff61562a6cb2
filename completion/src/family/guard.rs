//! Source text must not speak the model's own language: a special token in a user's file would move the cursor, end the
//! prompt or open another role.

use std::borrow::Cow;

use super::Family;

/// Whether a text holds one of the family's special tokens.
#[must_use]
pub fn contains_special(family: &Family, text: &str) -> bool {
    family.specials().any(|token| text.contains(token))
}

/// The text with a space put behind the first character of every special token, so that none is left. A visible mark: an
/// invisible one could come back in the answer and land in somebody's file.
#[must_use]
pub fn broken<'text>(family: &Family, text: &'text str) -> Cow<'text, str> {
    if !contains_special(family, text) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let (head, tail) = rest.split_at(first.len_utf8());
        safe.push_str(head);
        if family.specials().any(|token| rest.starts_with(token)) {
            safe.push(' ');
        }
        rest = tail;
    }
    Cow::Owned(safe)
}

#[cfg(test)]
mod tests {
    use super::super::FAMILIES;
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_token_in_the_source_is_broken_where_it_begins() {
        let family = Family::of_name("Qwen").unwrap();
        assert_eq!(broken(family, "a <|fim_middle|> b"), "a < |fim_middle|> b");
        assert!(matches!(broken(family, "a <fim> b"), Cow::Borrowed("a <fim> b")));
    }

    proptest! {
        #[test]
        fn no_special_token_is_left(
            index in 0..FAMILIES.len(),
            pieces in proptest::collection::vec((any::<proptest::sample::Index>(), any::<proptest::sample::Index>(), any::<proptest::sample::Index>()), 0..12),
        ) {
            let family = &FAMILIES[index];
            let tokens: Vec<&str> = family.specials().collect();
            let mut text = String::new();
            for (which, from, to) in pieces {
                let token: Vec<char> = tokens[which.index(tokens.len())].chars().collect();
                let (from, to) = (from.index(2), token.len() - to.index(2));
                text.extend(&token[from..to.max(from)]);
            }
            prop_assert!(!contains_special(family, &broken(family, &text)), "{}", text);
        }
    }
}
