//! What the bodies of these protocols share: how they are read, and what no request may ask for.

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::depth;
use crate::limits;

/// Stop words of a request at most.
const MOST_STOPS: usize = 16;
/// Code points of a refusal.
const SHOWN: usize = 300;
/// Highest temperature that any of the originals takes.
const HOTTEST: f64 = 2.0;

/// Why a body is no request, in a sentence for the caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadBody(pub String);

impl BadBody {
    pub(super) fn new(why: &str) -> Self {
        Self(why.into())
    }
}

/// Reads a body.
pub(super) fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, BadBody> {
    let text = std::str::from_utf8(body).map_err(|_| BadBody::new("the body is not UTF-8"))?;
    if !text.trim_start().starts_with('{') {
        return Err(BadBody::new("the body must be a JSON object"));
    }
    if !depth::is_within(body, limits::JSON_DEPTH) {
        return Err(BadBody(format!("the body is nested deeper than {}", limits::JSON_DEPTH)));
    }
    serde_json::from_str(text).map_err(|error| {
        let what = error.to_string().chars().take(SHOWN).collect::<String>();
        BadBody(format!("the body could not be read: {what}"))
    })
}

/// One word or several.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum Stops {
    One(String),
    Many(Vec<String>),
}

/// The stop words of a request; empty ones mean nothing.
pub(super) fn stops(given: Option<Stops>) -> Result<Vec<String>, BadBody> {
    let given = match given {
        None => Vec::new(),
        Some(Stops::One(one)) => vec![one],
        Some(Stops::Many(many)) => many,
    };
    let stops: Vec<String> = given.into_iter().filter(|stop| !stop.is_empty()).collect();
    if stops.len() > MOST_STOPS {
        return Err(BadBody(format!("\"stop\" has more than {MOST_STOPS} words")));
    }
    Ok(stops)
}

/// A temperature that models know.
pub(super) fn temperature(given: Option<f64>) -> Result<Option<f64>, BadBody> {
    match given {
        Some(given) if !(0.0..=HOTTEST).contains(&given) => {
            Err(BadBody(format!("\"temperature\" must be from 0 to {HOTTEST}")))
        }
        given => Ok(given),
    }
}

/// A share of the probability mass.
pub(super) fn top_p(given: Option<f64>) -> Result<Option<f64>, BadBody> {
    match given {
        Some(given) if !(0.0..=1.0).contains(&given) => Err(BadBody::new("\"top_p\" must be from 0 to 1")),
        given => Ok(given),
    }
}
