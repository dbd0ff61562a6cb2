//! Properties of the readers that no corpus shows.

use modelgate_api::v1alpha1::Compat;
use proptest::prelude::{any, prop, prop_assert, prop_assert_eq, proptest};
use serde_json::{Value as Json, json};

use crate::gitlab::json::{Value, parse};
use crate::gitlab::parse_completion;
use crate::gitlab::python::float_repr;

/// Our value as serde_json holds it; `None` where it cannot.
fn as_serde(value: &Value) -> Option<Json> {
    Some(match value {
        Value::Null => Json::Null,
        Value::Bool(value) => Json::Bool(*value),
        Value::Integer(digits) => serde_json::from_str(digits).ok()?,
        Value::Float(value) => serde_json::Number::from_f64(*value)?.into(),
        Value::Text(text) => Json::String(text.clone()),
        Value::Array(items) => items.iter().map(as_serde).collect::<Option<Vec<_>>>()?.into(),
        Value::Object(members) => Json::Object(
            members
                .iter()
                .map(|(name, value)| Some((name.clone(), as_serde(value)?)))
                .collect::<Option<_>>()?,
        ),
    })
}

fn documents() -> impl prop::strategy::Strategy<Value = Json> {
    use prop::strategy::Strategy;
    let leaf = prop::strategy::Union::new([
        any::<Option<bool>>().prop_map(|value| json!(value)).boxed(),
        any::<i64>().prop_map(|value| json!(value)).boxed(),
        // serde_json rounds some decimals; eighths are exact.
        any::<i32>().prop_map(|value| json!(f64::from(value) / 8.0)).boxed(),
        any::<String>().prop_map(|value| json!(value)).boxed(),
    ]);
    leaf.prop_recursive(6, 40, 6, |inner| {
        prop::strategy::Union::new([
            prop::collection::vec(inner.clone(), 0..6).prop_map(Json::from).boxed(),
            prop::collection::hash_map(any::<String>(), inner, 0..6).prop_map(|map| json!(map)).boxed(),
        ])
    })
}

proptest! {
    #[test]
    fn json_that_serde_json_writes_is_read_to_the_same_value(document in documents()) {
        for text in [document.to_string(), serde_json::to_string_pretty(&document).unwrap()] {
            let reread: Json = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(as_serde(&parse(&text).unwrap()), Some(reread));
        }
    }

    #[test]
    fn no_body_panics_and_what_serde_json_takes_is_taken(body in "[\\[\\]{}\",:\\\\ue0-9.+\\-a-zN\u{e9}\u{1f600}\\x00-\\x20]{0,40}") {
        let ours = parse(&body);
        if serde_json::from_str::<Json>(&body).is_ok() {
            prop_assert!(ours.is_ok());
        }
    }

    #[test]
    fn no_bytes_panic(body in prop::collection::vec(any::<u8>(), 0..60)) {
        if let Err(refusal) = parse_completion(Compat::Strict, None, &body) {
            prop_assert!(serde_json::from_slice::<Json>(&refusal.body).is_ok());
        }
    }

    #[test]
    fn a_printed_float_reads_back_to_the_same_float(value in any::<f64>()) {
        prop_assert!(!value.is_finite() || float_repr(value).parse::<f64>().unwrap().to_bits() == value.to_bits());
    }
}
