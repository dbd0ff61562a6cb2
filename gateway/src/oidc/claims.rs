//! Claims that the configuration asks for besides those of every token.

use std::collections::HashMap;
use std::fmt;

use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::Refusal;
use super::token::json;

/// Every member of an object, none of which may stand twice: who reads the first and who reads the last must agree.
struct Members(HashMap<String, Value>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Once;
        impl<'de> Visitor<'de> for Once {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = HashMap::new();
                while let Some((name, value)) = map.next_entry::<String, Value>()? {
                    if members.insert(name, value).is_some() {
                        return Err(A::Error::custom("a member stands twice"));
                    }
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Once)
    }
}

/// Whether the payload has every claim asked for: one of the values, or a list that holds one of them.
pub(super) fn check(payload: &str, asked: &[(String, Vec<String>)]) -> Result<(), Refusal> {
    if asked.is_empty() {
        return Ok(());
    }
    let Members(members) = json(payload).ok_or(Refusal::Malformed("the claims: one stands twice"))?;
    let holds = |(name, values): &(String, Vec<String>)| match members.get(name) {
        Some(Value::Array(list)) => list.iter().any(|item| is_one(item, values)),
        Some(value) => is_one(value, values),
        None => false,
    };
    if asked.iter().all(holds) { Ok(()) } else { Err(Refusal::Claim) }
}

/// Text is compared exactly; numbers and booleans as JSON writes them. Objects, lists and null are never equal.
fn is_one(value: &Value, values: &[String]) -> bool {
    match value {
        Value::String(text) => values.contains(text),
        Value::Bool(_) | Value::Number(_) => values.contains(&value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    use super::*;

    #[test]
    fn claims_are_compared_exactly() {
        let asked = [("groups".to_owned(), vec!["admin".to_owned(), "7".to_owned(), "true".to_owned()])];
        let many: Vec<String> = (0..10_000).map(|index| format!("\"g{index}\"")).collect();
        let many = format!("{{\"groups\":[{},\"admin\"]}}", many.join(","));
        for (claims, expected) in [
            (r#"{"groups":"admin"}"#, Ok(())),
            (r#"{"groups":["x","admin"]}"#, Ok(())),
            (r#"{"groups":7}"#, Ok(())),
            (r#"{"groups":true}"#, Ok(())),
            (many.as_str(), Ok(())),
            (r#"{"groups":"Admin"}"#, Err(Refusal::Claim)),
            (r#"{"groups":"admin "}"#, Err(Refusal::Claim)),
            // A Cyrillic letter that looks the same.
            ("{\"groups\":\"\u{430}dmin\"}", Err(Refusal::Claim)),
            (r#"{"groups":"admin,x"}"#, Err(Refusal::Claim)),
            (r#"{"groups":["x",["admin"]]}"#, Err(Refusal::Claim)),
            (r#"{"groups":{"admin":true}}"#, Err(Refusal::Claim)),
            (r#"{"groups":null}"#, Err(Refusal::Claim)),
            (r#"{"groups":[]}"#, Err(Refusal::Claim)),
            (r#"{"Groups":"admin"}"#, Err(Refusal::Claim)),
            ("{}", Err(Refusal::Claim)),
            (r#"{"groups":"x","groups":"admin"}"#, Err(Refusal::Malformed("the claims: one stands twice"))),
        ] {
            assert_eq!(check(&URL_SAFE_NO_PAD.encode(claims), &asked), expected, "{claims:.60}");
        }
        assert_eq!(check("not even JSON", &[]), Ok(()));
    }
}
