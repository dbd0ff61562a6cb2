//! What a backend that turns a request away asks for: `Retry-After` in seconds or as a date, or `retry-after-ms`. Whatever
//! it says, it is believed for at most [`CAP`]: values of days have been seen that were meant as milliseconds.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, header};

/// Longest pause that is believed.
pub const CAP: Duration = Duration::from_secs(30);

/// The pause asked for, at most [`CAP`]; `None` where none is asked for or what stands there makes no sense.
#[must_use]
pub fn parse(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let number = |text: &str| text.parse::<f64>().ok().filter(|number| number.is_finite() && *number >= 0.0);
    if let Some(milliseconds) = text("retry-after-ms").and_then(number) {
        return Some(capped(milliseconds / 1000.0));
    }
    let text = text(header::RETRY_AFTER.as_str())?;
    if let Some(seconds) = number(text) {
        return Some(capped(seconds));
    }
    let date = httpdate::parse_http_date(text).ok()?;
    Some(date.duration_since(now).unwrap_or_default().min(CAP))
}

fn capped(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).map_or(CAP, |pause| pause.min(CAP))
}

/// The header's value for clients: whole seconds, rounded up.
#[must_use]
pub fn header_value(pause: Duration) -> http::HeaderValue {
    http::HeaderValue::from(pause.as_millis().div_ceil(1000).try_into().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn seconds_dates_and_nonsense_are_told_apart_and_nothing_is_believed_for_long() {
        // 2026-11-21 00:00:00 UTC
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_219_200);
        let cases: &[(&str, &str, Option<u64>)] = &[
            ("retry-after", "2", Some(2_000)),
            ("retry-after", " 0 ", Some(0)),
            ("retry-after", "1.5", Some(1_500)),
            ("retry-after", "Sat, 21 Nov 2026 00:00:05 GMT", Some(5_000)),
            ("retry-after", "Saturday, 21-Nov-26 00:00:05 GMT", Some(5_000)),
            ("retry-after", "Fri, 20 Nov 2026 00:00:00 GMT", Some(0)),
            ("retry-after", "Sun, 21 Nov 2027 00:00:00 GMT", Some(30_000)),
            ("retry-after", "259200000", Some(30_000)),
            ("retry-after", "1e300", Some(30_000)),
            ("retry-after", "-5", None),
            ("retry-after", "soon", None),
            ("retry-after", "NaN", None),
            ("retry-after", "", None),
            ("retry-after-ms", "250", Some(250)),
        ];
        for (name, value, expected) in cases {
            let headers = HeaderMap::from_iter([(name.parse().unwrap(), HeaderValue::from_static(value))]);
            assert_eq!(parse(&headers, now), expected.map(Duration::from_millis), "{name}: {value}");
        }
        assert_eq!(parse(&HeaderMap::new(), now), None);
        assert_eq!(header_value(Duration::from_millis(1_001)), "2");
    }
}
