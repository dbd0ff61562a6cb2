//! What is asked and what has to come back: each request carries a nonce and says what answer it wants, in the text of its
//! prompt, which every gateway passes on. An answer that is another request's, cut or damaged is noticed.

use anyhow::{Result, bail, ensure};

/// Marks the order in a prompt.
const MARK: &[u8] = b"bench:";
/// Bytes of a whole answer's body.
const ANSWER_BYTES: usize = 576;
/// Name of the model.
pub const MODEL: &str = "bench-model";

/// What a request wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order {
    /// Told apart from all others.
    pub nonce: u64,
    /// Events of the stream; 0 asks for a whole answer.
    pub events: u32,
    /// Milliseconds between two events; 0 sends them one after another at once.
    pub pause_ms: u32,
}

/// Path and body of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `/v1/chat/completions`, 2 KB.
    Chat,
    /// `/v1/completions`, 20 KB.
    Completion,
}

impl Kind {
    /// Its path.
    pub fn path(self) -> &'static str {
        match self {
            Self::Chat => "/v1/chat/completions",
            Self::Completion => "/v1/completions",
        }
    }

    fn prompt_bytes(self) -> usize {
        match self {
            Self::Chat => 1900,
            Self::Completion => 20_000,
        }
    }

    /// The body that carries the order.
    pub fn body(self, order: Order) -> String {
        let mark = format!("bench:{:016x}:{}:{}: ", order.nonce, order.events, order.pause_ms);
        let prompt = mark + &"def add(a, b): return a + b # ".repeat(self.prompt_bytes() / 30);
        let stream = order.events > 0;
        match self {
            Self::Chat => format!(
                r#"{{"model":"{MODEL}","messages":[{{"role":"user","content":"{prompt}"}}],"max_tokens":128,"stream":{stream}}}"#
            ),
            Self::Completion => {
                format!(r#"{{"model":"{MODEL}","prompt":"{prompt}","max_tokens":128,"stream":{stream}}}"#)
            }
        }
    }
}

impl Order {
    /// The order in a request's body.
    pub fn of(body: &[u8]) -> Option<Self> {
        let at = body.windows(MARK.len()).position(|window| window == MARK)? + MARK.len();
        let rest = body.get(at..body.len().min(at + 40))?;
        let mut parts = std::str::from_utf8(rest).ok()?.split(':');
        Some(Self {
            nonce: u64::from_str_radix(parts.next()?, 16).ok()?,
            events: parts.next()?.parse().ok()?,
            pause_ms: parts.next()?.parse().ok()?,
        })
    }

    /// The whole answer: 576 bytes.
    pub fn answer(self) -> String {
        let tail = r#"},"finish_reason":"stop"}],"usage":{"prompt_tokens":480,"completion_tokens":64,"total_tokens":544}}"#;
        let head = format!(
            r#"{{"id":"chatcmpl-1","object":"chat.completion","created":1700000000,"model":"{MODEL}","choices":[{{"index":0,"text":"","message":{{"role":"assistant","content":"{:016x} "#,
            self.nonce
        );
        let padding = ANSWER_BYTES.saturating_sub(head.len() + tail.len() + 1);
        head + &"x".repeat(padding) + "\"" + tail
    }

    /// One event of the stream.
    pub fn event(self, index: u32) -> String {
        format!(
            "data: {{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1700000000,\"model\":\"{MODEL}\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{}\"}},\"finish_reason\":null}}]}}\n\n",
            self.piece(index)
        )
    }

    /// What follows the last one; with the usage where it was asked for.
    pub fn ending(with_usage: bool) -> String {
        let end = "data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1700000000,\"model\":\"bench-model\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
        let usage = "data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1700000000,\"model\":\"bench-model\",\"choices\":[],\"usage\":{\"prompt_tokens\":480,\"completion_tokens\":64,\"total_tokens\":544}}\n\n";
        [end, if with_usage { usage } else { "" }, "data: [DONE]\n\n"].concat()
    }

    fn piece(self, index: u32) -> String {
        format!("{:016x}-{index} ", self.nonce)
    }
}

/// The text of a JSON member `content` in a piece of an answer.
fn content(json: &str) -> Option<&str> {
    let at = json.find("\"content\":\"")? + "\"content\":\"".len();
    json.get(at..)?.split('"').next()
}

/// Reads an answer as it comes and says whether it is the one that was asked for.
pub struct Check {
    order: Order,
    rest: Vec<u8>,
    events: u32,
    done: bool,
}

impl Check {
    pub fn new(order: Order) -> Self {
        Self { order, rest: Vec::new(), events: 0, done: false }
    }

    /// Takes a piece of the body; gives how many events came with it.
    pub fn push(&mut self, piece: &[u8]) -> Result<u32> {
        self.rest.extend_from_slice(piece);
        if self.order.events == 0 {
            return Ok(0);
        }
        let before = self.events;
        let mut start = 0;
        while let Some(length) =
            self.rest.get(start..).and_then(|rest| rest.iter().position(|byte| *byte == b'\n'))
        {
            let line = std::str::from_utf8(&self.rest[start..start + length])?;
            start += length + 1;
            let Some(data) = line.strip_prefix("data: ").map(str::trim_end) else { continue };
            if data == "[DONE]" {
                self.done = true;
            } else if let Some(text) = content(data).filter(|text| !text.is_empty()) {
                ensure!(text == self.order.piece(self.events), "event {} says {text:?}", self.events);
                self.events += 1;
            }
        }
        self.rest.drain(..start);
        Ok(self.events - before)
    }

    /// The body has ended.
    pub fn finish(self) -> Result<()> {
        if self.order.events > 0 {
            ensure!(self.events == self.order.events, "{} of {} events", self.events, self.order.events);
            ensure!(self.done, "no [DONE]");
            return Ok(());
        }
        let text = std::str::from_utf8(&self.rest)?;
        let expected = self.order.answer();
        if content(text) != content(&expected) {
            bail!("another answer: {}", text.chars().take(200).collect::<String>());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORDER: Order = Order { nonce: 0xabc, events: 3, pause_ms: 5 };

    #[test]
    fn an_order_is_found_in_either_body_and_an_answer_has_its_size() {
        for kind in [Kind::Chat, Kind::Completion] {
            let body = kind.body(ORDER);
            assert_eq!(Order::of(body.as_bytes()), Some(ORDER));
            assert!(serde_json::from_str::<serde_json::Value>(&body).is_ok(), "{body}");
        }
        let answer = Order { events: 0, ..ORDER }.answer();
        assert_eq!(answer.len(), ANSWER_BYTES);
        assert!(serde_json::from_str::<serde_json::Value>(&answer).is_ok(), "{answer}");
    }

    #[test]
    fn what_is_cut_mixed_up_or_damaged_is_noticed() {
        let whole = (0..3).map(|index| ORDER.event(index)).collect::<String>() + &Order::ending(true);
        let read = |text: &str| {
            let mut check = Check::new(ORDER);
            text.as_bytes().chunks(7).try_for_each(|piece| check.push(piece).map(|_| ()))?;
            check.finish()
        };
        assert!(read(&whole).is_ok());
        assert!(read(&whole.replace("[DONE]", "")).is_err());
        assert!(read(&whole.replace("-1 ", "-7 ")).is_err());
        assert!(read(&(ORDER.event(0) + &Order::ending(true))).is_err());
        let mut other = Check::new(Order { events: 0, ..ORDER });
        other.push(Order { nonce: 1, events: 0, pause_ms: 0 }.answer().as_bytes()).unwrap();
        assert!(other.finish().is_err());
    }
}
