//! A profile as pprof reads it: the message `perftools.profiles.Profile` of google/pprof's profile.proto, of which these are
//! the fields that a profile of processor time has. Pure.

use std::collections::HashMap;
use std::time::Duration;

/// A function on a stack.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Frame {
    pub name: String,
    pub file: String,
    pub line: u64,
}

/// A stack, innermost function first, and how often it was seen.
#[derive(Clone, Debug)]
pub(super) struct Stack {
    pub thread: String,
    pub frames: Vec<Frame>,
    pub count: i64,
}

/// What was seen.
#[derive(Clone, Debug)]
pub(super) struct Profile {
    pub stacks: Vec<Stack>,
    /// When it began, since 1970.
    pub begun: Duration,
    pub time: Duration,
    /// Processor time between two samples.
    pub period: Duration,
}

/// The tables of a profile: each text, function and place once.
#[derive(Default)]
struct Tables {
    texts: HashMap<String, u64>,
    listed: Vec<String>,
    functions: HashMap<(u64, u64), u64>,
    locations: HashMap<(u64, u64), u64>,
    message: Message,
}

impl Tables {
    fn text(&mut self, text: &str) -> u64 {
        if let Some(known) = self.texts.get(text) {
            return *known;
        }
        let number = self.listed.len() as u64;
        self.listed.push(text.to_owned());
        self.texts.insert(text.to_owned(), number);
        number
    }

    /// The number of a place in the code; 1 is the first.
    fn location(&mut self, frame: &Frame) -> u64 {
        let (name, file) = (self.text(&frame.name), self.text(&frame.file));
        let next = self.functions.len() as u64 + 1;
        let function = *self.functions.entry((name, file)).or_insert(next);
        if function == next {
            let entry =
                Message::default().number(1, function).number(2, name).number(3, name).number(4, file);
            self.message.nested(5, &entry);
        }
        let next = self.locations.len() as u64 + 1;
        let location = *self.locations.entry((function, frame.line)).or_insert(next);
        if location == next {
            let mut entry = Message::default().number(1, location);
            entry.nested(4, &Message::default().number(1, function).number(2, frame.line));
            self.message.nested(4, &entry);
        }
        location
    }
}

impl Profile {
    /// The message's bytes.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut tables = Tables::default();
        // Its first text is empty, by the format's rule.
        tables.text("");
        let period = nanoseconds(self.period);
        let mut kind = |kind: &str, unit: &str| {
            let (kind, unit) = (tables.text(kind), tables.text(unit));
            Message::default().number(1, kind).number(2, unit)
        };
        let (samples, cpu) = (kind("samples", "count"), kind("cpu", "nanoseconds"));
        let thread = tables.text("thread");
        tables.message.nested(1, &samples);
        tables.message.nested(1, &cpu);
        for stack in &self.stacks {
            let places: Vec<u64> = stack.frames.iter().map(|frame| tables.location(frame)).collect();
            let count = u64::try_from(stack.count).unwrap_or_default();
            let name = tables.text(&stack.thread);
            let mut sample = Message::default();
            sample.packed(1, &places);
            sample.packed(2, &[count, count.saturating_mul(period)]);
            sample.nested(3, &Message::default().number(1, thread).number(2, name));
            tables.message.nested(2, &sample);
        }
        let mut message = tables.message;
        for text in &tables.listed {
            message.bytes(6, text.as_bytes());
        }
        let mut message = message.number(9, nanoseconds(self.begun)).number(10, nanoseconds(self.time));
        message.nested(11, &cpu);
        message.number(12, period).0
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// Fields of a message, as protocol buffers write them.
#[derive(Clone, Debug, Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push((number & 0x7f) as u8 | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
    }

    /// A number; none is written where it is 0, which is what absence means.
    fn number(mut self, field: u64, number: u64) -> Self {
        if number > 0 {
            self.varint(field << 3);
            self.varint(number);
        }
        self
    }

    fn bytes(&mut self, field: u64, bytes: &[u8]) {
        self.varint(field << 3 | 2);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    fn nested(&mut self, field: u64, message: &Message) {
        self.bytes(field, &message.0);
    }

    fn packed(&mut self, field: u64, numbers: &[u64]) {
        let mut packed = Message::default();
        numbers.iter().for_each(|number| packed.varint(*number));
        self.nested(field, &packed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_is_written_field_by_field_as_the_format_says() {
        let frame = |name: &str, line| Frame { name: name.into(), file: "a.rs".into(), line };
        let stack = |frames: &[Frame], count| Stack { thread: "t".into(), frames: frames.to_vec(), count };
        let profile = Profile {
            stacks: vec![
                stack(&[frame("f", 3), frame("main", 300)], 2),
                stack(&[frame("f", 4), frame("main", 300)], 1),
            ],
            begun: Duration::from_nanos(5),
            time: Duration::from_nanos(7),
            period: Duration::from_nanos(10),
        };
        // Worked out by hand from profile.proto: field << 3 | kind, length, content.
        let expected: Vec<u8> = [
            // Kinds of values: samples in count (texts 1, 2), cpu in nanoseconds (3, 4).
            vec![10, 4, 8, 1, 16, 2],
            vec![10, 4, 8, 3, 16, 4],
            // Functions f (text 6 in file 7) and main (8), their lines, and the first sample at them.
            vec![42, 8, 8, 1, 16, 6, 24, 6, 32, 7],
            vec![34, 8, 8, 1, 34, 4, 8, 1, 16, 3],
            vec![42, 8, 8, 2, 16, 8, 24, 8, 32, 7],
            vec![34, 9, 8, 2, 34, 5, 8, 2, 16, 172, 2],
            vec![18, 14, 10, 2, 1, 2, 18, 2, 2, 20, 26, 4, 8, 5, 16, 9],
            // Another line of f, and the second sample.
            vec![34, 8, 8, 3, 34, 4, 8, 1, 16, 4],
            vec![18, 14, 10, 2, 3, 2, 18, 2, 1, 10, 26, 4, 8, 5, 16, 9],
        ]
        .concat();
        let bytes = profile.encode();
        assert_eq!(bytes.get(..expected.len()), Some(expected.as_slice()), "{bytes:?}");
        let texts: Vec<u8> =
            ["", "samples", "count", "cpu", "nanoseconds", "thread", "f", "a.rs", "main", "t"]
                .iter()
                .flat_map(|text| [&[50, text.len() as u8], text.as_bytes()].concat())
                .collect();
        let end = [72, 5, 80, 7, 90, 4, 8, 3, 16, 4, 96, 10];
        assert_eq!(bytes.get(expected.len()..), Some([texts.as_slice(), &end].concat().as_slice()));
    }
}
