//! How deep a JSON body is nested. Parsers that skip what they do not know have no limit of their own, and a backend's
//! parser that recurses would be brought down by what passes through.

/// Whether arrays and objects stand in each other at most `limit` deep. `body` need not be JSON: whoever parses it says so.
#[must_use]
pub fn is_within(body: &[u8], limit: usize) -> bool {
    // A body with fewer brackets in all cannot be deeper; most need no closer look.
    if memchr::memchr2_iter(b'[', b'{', body).take(limit + 1).count() <= limit {
        return true;
    }
    let mut depth = 0_usize;
    let mut at = 0;
    while let Some(byte) = body.get(at) {
        match byte {
            b'"' => {
                at = end_of_string(body, at + 1);
                continue;
            }
            b'[' | b'{' => {
                depth += 1;
                if depth > limit {
                    return false;
                }
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        at += 1;
    }
    true
}

/// The place behind the string that `from` is in.
fn end_of_string(body: &[u8], mut from: usize) -> usize {
    while let Some(found) = body.get(from..).and_then(|rest| memchr::memchr2(b'"', b'\\', rest)) {
        let at = from + found;
        if body.get(at) == Some(&b'"') {
            return at + 1;
        }
        from = at + 2;
    }
    body.len()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{Just, Strategy, any, prop_assert_eq, prop_oneof, proptest};
    use serde_json::{Value, json};

    use super::is_within;

    fn depth(value: &Value) -> usize {
        match value {
            Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
            Value::Object(members) => 1 + members.values().map(depth).max().unwrap_or(0),
            _ => 0,
        }
    }

    #[test]
    fn brackets_in_strings_do_not_count() {
        let body = json!({"prompt": "[[[[{{{{\\\"[[[\"[[[", "more": [[], [[]]]}).to_string();
        assert!(is_within(body.as_bytes(), 4));
        assert!(!is_within(body.as_bytes(), 3));
        assert!(!is_within("[".repeat(10_000).as_bytes(), 128));
        assert!(is_within(b"\"never closed \\", 0));
    }

    proptest! {
        #[test]
        fn the_depth_is_that_of_the_document(value in nested(), limit in 0_usize..8) {
            prop_assert_eq!(is_within(value.to_string().as_bytes(), limit), depth(&value) <= limit);
        }
    }

    fn nested() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<i32>().prop_map(Value::from),
            "[\\[\\]{}\"\\\\a]{0,8}".prop_map(Value::from)
        ];
        leaf.prop_recursive(6, 64, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::vec(("[\\[{\"a]{0,3}", inner), 0..4)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }
}
