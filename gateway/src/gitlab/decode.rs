//! Bytes of a body → text, with the encodings that Python's `json.loads` takes: UTF-8, UTF-16 and UTF-32, with or without
//! a byte order mark. Lone surrogates, which Python keeps, become U+FFFD: one code point for one, so positions stay.

use std::borrow::Cow;

/// The text, or `None` where Python would fail to decode it.
pub(super) fn decode(body: &[u8]) -> Option<Cow<'_, str>> {
    match body {
        [0, 0, 0xfe, 0xff, rest @ ..] => utf32(rest, u32::from_be_bytes),
        [0xff, 0xfe, 0, 0, rest @ ..] => utf32(rest, u32::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => utf16(rest, u16::from_be_bytes),
        [0xff, 0xfe, rest @ ..] => utf16(rest, u16::from_le_bytes),
        [0xef, 0xbb, 0xbf, rest @ ..] => utf8(rest),
        [0, 0, _, _, ..] => utf32(body, u32::from_be_bytes),
        [0, _, _, _, ..] | [0, _] => utf16(body, u16::from_be_bytes),
        [_, 0, 0, 0, ..] => utf32(body, u32::from_le_bytes),
        [_, 0, _, _, ..] | [_, 0] => utf16(body, u16::from_le_bytes),
        _ => utf8(body),
    }
}

fn utf8(body: &[u8]) -> Option<Cow<'_, str>> {
    let mut rest = body;
    let mut owned = String::new();
    loop {
        match std::str::from_utf8(rest) {
            Ok(text) if owned.is_empty() => return Some(Cow::Borrowed(text)),
            Ok(text) => {
                owned.push_str(text);
                return Some(Cow::Owned(owned));
            }
            Err(error) => {
                let (valid, broken) = rest.split_at_checked(error.valid_up_to())?;
                let [0xed, 0xa0..=0xbf, 0x80..=0xbf, after @ ..] = broken else { return None };
                owned.push_str(std::str::from_utf8(valid).ok()?);
                owned.push(char::REPLACEMENT_CHARACTER);
                rest = after;
            }
        }
    }
}

fn utf16(body: &[u8], unit: fn([u8; 2]) -> u16) -> Option<Cow<'static, str>> {
    let (pairs, rest) = body.as_chunks::<2>();
    let units = pairs.iter().map(|pair| unit(*pair));
    let text = char::decode_utf16(units).map(|read| read.unwrap_or(char::REPLACEMENT_CHARACTER)).collect();
    rest.is_empty().then_some(Cow::Owned(text))
}

fn utf32(body: &[u8], unit: fn([u8; 4]) -> u32) -> Option<Cow<'static, str>> {
    let (quads, rest) = body.as_chunks::<4>();
    let read = quads.iter().map(|quad| match unit(*quad) {
        0xd800..=0xdfff => Some(char::REPLACEMENT_CHARACTER),
        code => char::from_u32(code),
    });
    let text = read.collect::<Option<String>>()?;
    rest.is_empty().then_some(Cow::Owned(text))
}
