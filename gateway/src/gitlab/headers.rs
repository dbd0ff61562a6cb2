//! Headers that the original adds to its answers.

use std::time::Duration;

use uuid::Uuid;

use super::python::float_repr;

/// The value of `X-Request-ID`: the caller's when it is a version 4 UUID, else a new one in 32 hexadecimal digits.
#[must_use]
pub fn request_id(from_caller: Option<&str>) -> String {
    let valid = |value: &&str| Uuid::try_parse(value).is_ok_and(|id| id.get_version_num() == 4);
    match from_caller.filter(valid) {
        Some(kept) => kept.to_owned(),
        None => Uuid::new_v4().simple().to_string(),
    }
}

/// The value of `X-Process-Time`: seconds, spelled as Python spells a float.
#[must_use]
pub fn process_time(took: Duration) -> String {
    float_repr(took.as_secs_f64())
}
