//! pydantic 1.10's rules for the types that GitLab's body uses: what it converts, what it refuses, and in which words.
//! Errors are collected, in the order of the fields' declarations.

use std::borrow::Cow;
use std::fmt::Write;

use super::json::Value;
use super::python::{
    Integer, float_repr, int_of_float, int_of_text, strip, unique, write_scalar, write_text,
};

/// A step of the path to a value.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    Name(&'static str),
    Index(usize),
}

/// Collects errors while values are read; knows where in the body it is.
pub(super) struct Validator {
    path: Vec<Step>,
    errors: Vec<String>,
}

/// What a string field asks for.
#[derive(Clone, Copy)]
pub(super) struct TextRule {
    pub(super) strip: bool,
    /// In code points.
    pub(super) max: Option<usize>,
}

/// A model's members: those of an object, or of what Python's `dict()` makes one from.
pub(super) enum Members<'a> {
    Object(&'a [(String, Value)]),
    Pairs(Vec<(Cow<'a, Value>, Cow<'a, Value>)>),
}

impl Members<'_> {
    fn get(&self, name: &str) -> Option<&Value> {
        match self {
            Self::Object(members) => {
                members.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value)
            }
            Self::Pairs(pairs) => {
                let named = |key: &Value| matches!(key, Value::Text(key) if key == name);
                pairs.iter().rev().find(|(key, _)| named(key)).map(|(_, value)| value.as_ref())
            }
        }
    }

    fn names_are_text(&self) -> bool {
        match self {
            Self::Object(_) => true,
            Self::Pairs(pairs) => pairs.iter().all(|(key, _)| matches!(key.as_ref(), Value::Text(_))),
        }
    }
}

impl Validator {
    pub(super) fn new() -> Self {
        Self { path: vec![Step::Name("body")], errors: Vec::new() }
    }

    /// `{"detail":[…]}`, or `None` when nothing was wrong.
    pub(super) fn into_detail(self) -> Option<String> {
        (!self.errors.is_empty()).then(|| format!("{{\"detail\":[{}]}}", self.errors.join(",")))
    }

    /// Notes an error at the present place; `context` is rendered JSON.
    pub(super) fn refuse(&mut self, message: &str, kind: &str, context: Option<&str>) {
        let mut out = String::from("{\"loc\":[");
        for (index, step) in self.path.iter().enumerate() {
            if index > 0 {
                out.push(',');
            }
            match step {
                Step::Name(name) => write_text(&mut out, name),
                Step::Index(index) => drop(write!(out, "{index}")),
            }
        }
        out.push_str("],\"msg\":");
        write_text(&mut out, message);
        out.push_str(",\"type\":");
        write_text(&mut out, kind);
        if let Some(context) = context {
            out.push_str(",\"ctx\":");
            out.push_str(context);
        }
        out.push('}');
        self.errors.push(out);
    }

    pub(super) fn missing(&mut self) {
        self.refuse("field required", "value_error.missing", None);
    }

    pub(super) fn null(&mut self) {
        self.refuse("none is not an allowed value", "type_error.none.not_allowed", None);
    }

    pub(super) fn not_a_dict(&mut self) {
        self.refuse("value is not a valid dict", "type_error.dict", None);
    }

    /// Reads one step further down.
    pub(super) fn at<T>(&mut self, step: Step, read: impl FnOnce(&mut Self) -> T) -> T {
        self.path.push(step);
        let out = read(self);
        self.path.pop();
        out
    }

    /// Reads a member that must be there and not null.
    pub(super) fn required<T>(
        &mut self,
        members: &Members<'_>,
        name: &'static str,
        read: impl FnOnce(&mut Self, &Value) -> Option<T>,
    ) -> Option<T> {
        self.at(Step::Name(name), |at| match members.get(name) {
            None => {
                at.missing();
                None
            }
            Some(Value::Null) => {
                at.null();
                None
            }
            Some(value) => read(at, value),
        })
    }

    /// Reads a member that may be absent; the outer `Option` is none when it was refused.
    pub(super) fn defaulted<T>(
        &mut self,
        members: &Members<'_>,
        name: &'static str,
        default: T,
        read: impl FnOnce(&mut Self, &Value) -> Option<T>,
    ) -> Option<T> {
        if members.get(name).is_none() { Some(default) } else { self.required(members, name, read) }
    }

    /// Reads a member that may be absent or null; the outer `Option` is none when it was refused.
    pub(super) fn optional<T>(
        &mut self,
        members: &Members<'_>,
        name: &'static str,
        read: impl FnOnce(&mut Self, &Value) -> Option<T>,
    ) -> Option<Option<T>> {
        match members.get(name) {
            None | Some(Value::Null) => Some(None),
            Some(value) => self.at(Step::Name(name), |at| read(at, value)).map(Some),
        }
    }

    /// A model's members.
    pub(super) fn model<'a>(&mut self, value: &'a Value) -> Option<Members<'a>> {
        let Some(members) = dict(value) else {
            self.not_a_dict();
            return None;
        };
        if members.names_are_text() {
            return Some(members);
        }
        self.refuse("keywords must be strings", "type_error", None);
        None
    }

    /// A string, or what pydantic makes one from.
    pub(super) fn text(&mut self, value: &Value, rule: TextRule) -> Option<String> {
        let text = match value {
            Value::Text(text) => Cow::Borrowed(text.as_str()),
            Value::Integer(digits) => Cow::Borrowed(digits.as_str()),
            Value::Bool(true) => Cow::Borrowed("True"),
            Value::Bool(false) => Cow::Borrowed("False"),
            Value::Float(value) => Cow::Owned(float_repr(*value)),
            Value::Null | Value::Array(_) | Value::Object(_) => {
                self.refuse("str type expected", "type_error.str", None);
                return None;
            }
        };
        let kept = if rule.strip { strip(&text) } else { &text };
        if let Some(max) = rule.max
            && kept.chars().nth(max).is_some()
        {
            let message = format!("ensure this value has at most {max} characters");
            self.refuse(
                &message,
                "value_error.any_str.max_length",
                Some(&format!("{{\"limit_value\":{max}}}")),
            );
            return None;
        }
        Some(kept.to_owned())
    }

    /// An integer, or what Python's `int()` makes one from.
    pub(super) fn integer(&mut self, value: &Value) -> Option<Integer> {
        let read = match value {
            Value::Integer(digits) => Some(Integer::from_digits(digits.clone())),
            Value::Bool(value) => Some(Integer::Small(i128::from(*value))),
            Value::Float(value) => int_of_float(*value),
            Value::Text(text) => int_of_text(text),
            Value::Null | Value::Array(_) | Value::Object(_) => None,
        };
        if read.is_none() {
            self.refuse("value is not a valid integer", "type_error.integer", None);
        }
        read
    }

    /// A literal, which floats of the same value equal, and `true` where it is 1.
    pub(super) fn literal(&mut self, value: &Value, wanted: u8) -> Option<u8> {
        let equal = match value {
            Value::Integer(digits) => *digits == wanted.to_string(),
            Value::Float(value) => value.to_bits() == f64::from(wanted).to_bits(),
            Value::Bool(value) => *value && wanted == 1,
            Value::Null | Value::Text(_) => false,
            Value::Array(_) | Value::Object(_) => {
                let kind = if matches!(value, Value::Array(_)) { "list" } else { "dict" };
                self.refuse(&format!("unhashable type: '{kind}'"), "type_error", None);
                return None;
            }
        };
        if equal {
            return Some(wanted);
        }
        let mut context = String::from("{\"given\":");
        write_scalar(&mut context, value);
        context.push_str(&format!(",\"permitted\":[{wanted}]}}"));
        let message = format!("unexpected value; permitted: {wanted}");
        self.refuse(&message, "value_error.const", Some(&context));
        None
    }

    /// An integer within bounds, both of which are allowed.
    pub(super) fn bounded(&mut self, value: &Value, low: u32, high: u32) -> Option<u32> {
        let read = self.integer(value)?;
        let fits = |bound: u32, least: bool| match &read {
            Integer::Small(value) if least => *value >= i128::from(bound),
            Integer::Small(value) => *value <= i128::from(bound),
            Integer::Big(digits) => digits.starts_with('-') != least,
        };
        if !fits(low, true) {
            self.out_of_bounds("greater", "ge", &low.to_string());
            return None;
        }
        if !fits(high, false) {
            self.out_of_bounds("less", "le", &high.to_string());
            return None;
        }
        match read {
            Integer::Small(value) => u32::try_from(value).ok(),
            Integer::Big(_) => None,
        }
    }

    /// A float from 0 to 1, or what Python's `float()` makes one from.
    pub(super) fn share(&mut self, value: &Value) -> Option<f64> {
        let read = match value {
            Value::Float(value) => Some(*value),
            Value::Integer(digits) => digits.parse().ok(),
            Value::Bool(value) => Some(f64::from(u8::from(*value))),
            Value::Text(text) => strip(text).parse().ok(),
            Value::Null | Value::Array(_) | Value::Object(_) => None,
        };
        match read {
            None => self.refuse("value is not a valid float", "type_error.float", None),
            // Nothing is as large as NaN.
            Some(value) if value.is_nan() || value < 0.0 => self.out_of_bounds("greater", "ge", "0.0"),
            Some(value) if value > 1.0 => self.out_of_bounds("less", "le", "1.0"),
            fits => return fits,
        }
        None
    }

    fn out_of_bounds(&mut self, word: &str, kind: &str, limit: &str) {
        let message = format!("ensure this value is {word} than or equal to {limit}");
        let context = format!("{{\"limit_value\":{limit}}}");
        self.refuse(&message, &format!("value_error.number.not_{kind}"), Some(&context));
    }

    /// A truth value.
    pub(super) fn boolean(&mut self, value: &Value) -> Option<bool> {
        match value {
            Value::Bool(value) => Some(*value),
            _ => {
                self.refuse("value could not be parsed to a boolean", "type_error.bool", None);
                None
            }
        }
    }

    /// Takes over what another validator refused.
    pub(super) fn take_errors(&mut self, other: Self) {
        self.errors.extend(other.errors);
    }

    /// Whether nothing was refused so far.
    pub(super) fn is_clean(&self) -> bool {
        self.errors.is_empty()
    }

    /// A list, each item read by `read`; refused items leave the list none.
    pub(super) fn list<T>(
        &mut self,
        value: &Value,
        max: Option<usize>,
        read: impl Fn(&mut Self, &Value) -> Option<T>,
    ) -> Option<Vec<T>> {
        let Value::Array(items) = value else {
            self.refuse("value is not a valid list", "type_error.list", None);
            return None;
        };
        if let Some(max) = max.filter(|max| items.len() > *max) {
            let message = format!("ensure this value has at most {max} items");
            self.refuse(&message, "value_error.list.max_items", Some(&format!("{{\"limit_value\":{max}}}")));
            return None;
        }
        // A plain loop: every item is read, also after one was refused.
        let mut out = Some(Vec::new());
        for (index, item) in items.iter().enumerate() {
            let read = self.at(Step::Index(index), |at| {
                if *item == Value::Null {
                    at.null();
                    return None;
                }
                read(at, item)
            });
            out = out.zip(read).map(|(mut out, item)| {
                out.push(item);
                out
            });
        }
        out
    }
}

/// Python's `dict(value)`, which also takes a sequence of pairs.
fn dict(value: &Value) -> Option<Members<'_>> {
    match value {
        Value::Object(members) => Some(Members::Object(members)),
        Value::Array(items) => items.iter().map(pair).collect::<Option<Vec<_>>>().map(Members::Pairs),
        Value::Text(text) if text.is_empty() => Some(Members::Object(&[])),
        _ => None,
    }
}

/// A sequence of two whose first is hashable.
fn pair(value: &Value) -> Option<(Cow<'_, Value>, Cow<'_, Value>)> {
    let text = |text: String| Cow::Owned(Value::Text(text));
    match value {
        Value::Array(items) => match items.as_slice() {
            [Value::Array(_) | Value::Object(_), _] => None,
            [first, second] => Some((Cow::Borrowed(first), Cow::Borrowed(second))),
            _ => None,
        },
        Value::Text(letters) => {
            let mut letters = letters.chars();
            match (letters.next(), letters.next(), letters.next()) {
                (Some(first), Some(second), None) => {
                    Some((text(first.to_string()), text(second.to_string())))
                }
                _ => None,
            }
        }
        Value::Object(members) => match unique(members).as_slice() {
            [(first, _), (second, _)] => Some((text((*first).to_owned()), text((*second).to_owned()))),
            _ => None,
        },
        _ => None,
    }
}
