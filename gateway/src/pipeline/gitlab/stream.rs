//! Streams of GitLab's routes: pieces of text as they are on `/v2` and `/v3`, although their type says otherwise, and real
//! events on `/v4`.

use http::{HeaderMap, HeaderValue, StatusCode, header};

use super::{ENGINE, now, region};
use crate::complete::{Stream, Telling, Words};
use crate::config::snapshot::Snapshot;
use crate::gitlab::{self, Answer, Form, Kind};
use crate::pipeline::respond::{Reply, ReplyBody};

const STREAM: HeaderValue = HeaderValue::from_static("text/event-stream; charset=utf-8");

/// How a stream of this form is told. Where the model's answer broke off, events say so; pieces of text cannot, so their
/// connection is cut, which the client's HTTP library reports.
pub(super) fn words(snapshot: &Snapshot, form: Form, kind: Kind, flags: &[&str]) -> Words {
    let flags: Vec<String> = flags.iter().map(|flag| (*flag).to_owned()).collect();
    let regions: Vec<(String, String)> = snapshot
        .backends
        .keys()
        .filter_map(|name| Some((name.clone(), region(snapshot, name)?.to_owned())))
        .collect();
    Box::new(move |telling| match telling {
        Telling::Begin(head) => {
            let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
            let region = regions.iter().find(|(name, _)| *name == head.backend);
            let answer = Answer {
                id: "",
                engine: ENGINE,
                name: &head.model,
                lang: head.language,
                experiments: &[],
                created: now(),
                choices: &[],
                one_empty: false,
                region: region.map(|(_, region)| region.as_str()),
                tokens: None,
                flags: &flags,
            };
            Some(gitlab::stream_start(&answer, form))
        }
        // A stream holds one answer.
        Telling::Piece { index, .. } if index > 0 => Some(String::new()),
        Telling::Piece { text, .. } if kind == Kind::Generation => {
            let text = gitlab::unfenced(text);
            Some(if text.is_empty() { text } else { gitlab::stream_piece(&text, form) })
        }
        Telling::Piece { text, .. } => Some(gitlab::stream_piece(text, form)),
        Telling::End(ending) if ending.error.is_none() => Some(gitlab::stream_end(form).to_owned()),
        Telling::End(_) => gitlab::stream_broken(form).map(str::to_owned),
    })
}

/// The answer's head, with the stream as its body.
pub(super) fn reply(stream: Stream, form: Form) -> Reply {
    let mut headers = HeaderMap::from_iter([
        (header::CONTENT_TYPE, STREAM),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
    ]);
    // Proxies in between must not gather pieces.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    if form == Form::Suggestions {
        headers.insert("x-streaming-format", HeaderValue::from_static("sse"));
    }
    Reply { status: StatusCode::OK, headers, body: ReplyBody::Telling(Box::new(stream)) }
}
