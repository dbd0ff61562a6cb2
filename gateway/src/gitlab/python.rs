//! How Python spells and converts values: `repr` of floats, `int()` of strings, `json.dumps`.

use std::collections::HashMap;
use std::fmt::Write;

use super::json::Value;

/// Zeros of the blocks of decimal digits beyond ASCII in Unicode 14, which Python 3.11's `int()` reads.
const ZEROS: [u32; 65] = [
    0x660, 0x6f0, 0x7c0, 0x966, 0x9e6, 0xa66, 0xae6, 0xb66, 0xbe6, 0xc66, 0xce6, 0xd66, 0xde6, 0xe50, 0xed0,
    0xf20, 0x1040, 0x1090, 0x17e0, 0x1810, 0x1946, 0x19d0, 0x1a80, 0x1a90, 0x1b50, 0x1bb0, 0x1c40, 0x1c50,
    0xa620, 0xa8d0, 0xa900, 0xa9d0, 0xa9f0, 0xaa50, 0xabf0, 0xff10, 0x104a0, 0x10d30, 0x11066, 0x110f0,
    0x11136, 0x111d0, 0x112f0, 0x11450, 0x114d0, 0x11650, 0x116c0, 0x11730, 0x118e0, 0x11950, 0x11c50,
    0x11d50, 0x11da0, 0x16a60, 0x16ac0, 0x16b50, 0x1d7ce, 0x1d7d8, 0x1d7e2, 0x1d7ec, 0x1d7f6, 0x1e140,
    0x1e2f0, 0x1e950, 0x1fbf0,
];
/// pydantic reads no longer number from a string.
const MAX_INTEGER_TEXT: usize = 4300;

/// An integer of any size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Integer {
    /// One that fits.
    Small(i128),
    /// Canonical decimal digits, with a `-` where it is negative.
    Big(String),
}

impl Integer {
    /// From canonical digits.
    pub(super) fn from_digits(digits: String) -> Self {
        digits.parse().map_or(Self::Big(digits), Self::Small)
    }

    /// The nearest value that a counter takes.
    #[must_use]
    pub fn clamp_to_count(&self) -> u64 {
        match self {
            Self::Small(value) => u64::try_from((*value).max(0)).unwrap_or(u64::MAX),
            Self::Big(digits) if digits.starts_with('-') => 0,
            Self::Big(_) => u64::MAX,
        }
    }
}

impl std::fmt::Display for Integer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Small(value) => value.fmt(formatter),
            Self::Big(digits) => digits.fmt(formatter),
        }
    }
}

/// Decimal digits with at most a sign → without leading zeros, without `+`, and no negative zero.
pub(super) fn canonical(number: &str) -> String {
    let (sign, digits) = match number.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", number.strip_prefix('+').unwrap_or(number)),
    };
    match digits.trim_start_matches('0') {
        "" => "0".to_owned(),
        digits => format!("{sign}{digits}"),
    }
}

/// `int(text)`, with pydantic's limit of length.
pub(super) fn int_of_text(text: &str) -> Option<Integer> {
    if text.chars().count() > MAX_INTEGER_TEXT {
        return None;
    }
    let ascii: String = text.chars().map(to_ascii).collect();
    let number = ascii.trim_matches([' ', '\t', '\n', '\x0b', '\x0c', '\r']);
    let digits = number.strip_prefix(['+', '-']).unwrap_or(number);
    let grouped =
        digits.split('_').all(|group| !group.is_empty() && group.bytes().all(|byte| byte.is_ascii_digit()));
    grouped.then(|| Integer::from_digits(canonical(&number.replace('_', ""))))
}

fn to_ascii(letter: char) -> char {
    if letter.is_ascii() {
        return letter;
    }
    if letter.is_whitespace() {
        return ' ';
    }
    let code = u32::from(letter);
    let block = ZEROS.partition_point(|zero| *zero <= code).checked_sub(1).and_then(|index| ZEROS.get(index));
    block.and_then(|zero| char::from_digit(code - zero, 10)).unwrap_or('?')
}

/// `int(value)` of a float; infinities and NaN have none.
pub(super) fn int_of_float(value: f64) -> Option<Integer> {
    value.is_finite().then(|| Integer::from_digits(canonical(&format!("{:.0}", value.trunc()))))
}

/// `repr(value)`: the shortest digits that read back, with an exponent below 1e-4 and from 1e16 on.
pub(super) fn float_repr(value: f64) -> String {
    if value.is_nan() {
        return "nan".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "inf" } else { "-inf" }.to_owned();
    }
    let scientific = format!("{value:e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..16).contains(&exponent) {
        let plain = value.to_string();
        return if plain.contains('.') { plain } else { plain + ".0" };
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{mantissa}e{sign}{:02}", exponent.unsigned_abs())
}

/// `str.strip()`: Python also takes the four separators before the space as white space.
pub(super) fn strip(text: &str) -> &str {
    text.trim_matches(|letter: char| letter.is_whitespace() || ('\x1c'..='\x1f').contains(&letter))
}

/// `json.dumps(text, ensure_ascii=False)`.
pub(super) fn write_text(out: &mut String, text: &str) {
    out.push('"');
    for letter in text.chars() {
        match letter {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\0'..='\x1f' => drop(write!(out, "\\u{:04x}", u32::from(letter))),
            _ => out.push(letter),
        }
    }
    out.push('"');
}

/// `json.dumps` of a value that is no list and no dict. NaN and infinities, at which the original fails, are null.
pub(super) fn write_scalar(out: &mut String, value: &Value) {
    match value {
        Value::Bool(value) => drop(write!(out, "{value}")),
        Value::Integer(digits) => out.push_str(digits),
        Value::Float(value) if value.is_finite() => out.push_str(&float_repr(*value)),
        Value::Float(_) | Value::Null | Value::Array(_) | Value::Object(_) => out.push_str("null"),
        Value::Text(text) => write_text(out, text),
    }
}

/// A dict's members: each name once, where it first appeared, with its last value.
pub(super) fn unique(members: &[(String, Value)]) -> Vec<(&str, &Value)> {
    let mut places: HashMap<&str, usize> = HashMap::with_capacity(members.len());
    let mut out: Vec<(&str, &Value)> = Vec::with_capacity(members.len());
    for (name, value) in members {
        let place = *places.entry(name).or_insert(out.len());
        match out.get_mut(place) {
            Some(member) => member.1 = value,
            None => out.push((name, value)),
        }
    }
    out
}
