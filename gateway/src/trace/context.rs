//! W3C trace context: the caller's trace is continued, or one begins here.

use http::{HeaderMap, HeaderValue};

use super::settings::Sampler;

const TRACEPARENT: &str = "traceparent";

/// A request's place in a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Context {
    /// The trace.
    pub trace: u128,
    /// The caller's span.
    pub parent: Option<u64>,
    /// The gateway's span.
    pub server: u64,
    /// The span of what is asked of a backend, which the backend continues.
    pub client: u64,
    /// Whether the trace is recorded.
    pub sampled: bool,
}

impl Context {
    /// The context of a request with these headers. `dice` is in `0..1`.
    #[must_use]
    pub fn of(headers: &HeaderMap, sampler: Sampler, dice: f64) -> Self {
        let given = headers.get(TRACEPARENT).and_then(|value| value.to_str().ok()).and_then(parse);
        let sampled = match given {
            Some((_, _, decided)) if sampler.parent_based => decided,
            _ => dice < sampler.ratio,
        };
        let (trace, parent) = match given {
            Some((trace, parent, _)) => (trace, Some(parent)),
            None => (rand::random::<u128>().max(1), None),
        };
        let span = || rand::random::<u64>().max(1);
        Self { trace, parent, server: span(), client: span(), sampled }
    }

    /// What the backend gets, so that its spans stand below ours. `tracestate` of the caller stays as it is.
    pub fn tell(&self, headers: &mut HeaderMap) {
        let text = format!("00-{:032x}-{:016x}-{:02x}", self.trace, self.client, u8::from(self.sampled));
        if let Ok(value) = HeaderValue::from_str(&text) {
            headers.insert(TRACEPARENT, value);
        }
    }
}

/// Version, trace, span and flags, all in lower-case hexadecimal and none of them zero.
fn parse(text: &str) -> Option<(u128, u64, bool)> {
    let lower =
        text.bytes().all(|byte| byte == b'-' || byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    let mut parts = text.split('-');
    let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let shaped = lower && version.len() == 2 && trace.len() == 32 && span.len() == 16 && flags.len() == 2;
    // A later version may have more parts; of the first there are none.
    if !shaped || version == "ff" || (version == "00" && parts.next().is_some()) {
        return None;
    }
    let (trace, span) = (u128::from_str_radix(trace, 16).ok()?, u64::from_str_radix(span, 16).ok()?);
    let flags = u8::from_str_radix(flags, 16).ok()?;
    (trace != 0 && span != 0).then_some((trace, span, flags & 1 == 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ON: Sampler = Sampler { ratio: 1.0, parent_based: true };

    fn of(text: &str, sampler: Sampler) -> Context {
        let mut headers = HeaderMap::new();
        headers.insert(TRACEPARENT, HeaderValue::from_str(text).unwrap());
        Context::of(&headers, sampler, 0.5)
    }

    #[test]
    fn a_callers_trace_is_continued_and_its_decision_kept() {
        let given = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";
        let context = of(given, ON);
        assert_eq!(context.trace, 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736);
        assert_eq!((context.parent, context.sampled), (Some(0x00f0_67aa_0ba9_02b7), false));
        assert!(of(given, Sampler { parent_based: false, ..ON }).sampled);
        let mut headers = HeaderMap::new();
        context.tell(&mut headers);
        let told = headers[TRACEPARENT].to_str().unwrap();
        assert_eq!(told, format!("00-4bf92f3577b34da6a3ce929d0e0e4736-{:016x}-00", context.client));
    }

    #[test]
    fn what_is_no_context_begins_a_trace_of_its_own() {
        for bad in [
            "",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ] {
            assert_eq!(of(bad, ON).parent, None, "{bad}");
        }
        assert!(!of("", Sampler { ratio: 0.4, parent_based: true }).sampled);
    }
}
