//! Values of a GGUF file's metadata, little-endian.

use super::GgufError;

/// Elements of an array that is kept; the largest vocabularies have about 260,000.
const MAX_KEPT: u64 = 1 << 20;
/// Arrays within arrays that are followed.
const MAX_DEPTH: u8 = 4;

/// A value, as far as somebody asks for it.
pub(super) enum Value {
    Text(String),
    Texts(Vec<String>),
    Number(u64),
    Numbers(Vec<u64>),
    Bool(bool),
    Other,
}

pub(super) struct Reader<'bytes> {
    bytes: &'bytes [u8],
    at: usize,
}

impl<'bytes> Reader<'bytes> {
    pub(super) const fn new(bytes: &'bytes [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    pub(super) fn take(&mut self, count: usize) -> Result<&'bytes [u8], GgufError> {
        let end = self.at.checked_add(count).ok_or(GgufError::Damaged("a length beyond all bounds"))?;
        let taken = self.bytes.get(self.at..end).ok_or(GgufError::Short(self.bytes.len()))?;
        self.at = end;
        Ok(taken)
    }

    fn number(&mut self, bytes: usize) -> Result<u64, GgufError> {
        Ok(self.take(bytes)?.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    pub(super) fn u32(&mut self) -> Result<u32, GgufError> {
        u32::try_from(self.number(4)?).map_err(|_| GgufError::Damaged("a number"))
    }

    pub(super) fn u64(&mut self) -> Result<u64, GgufError> {
        self.number(8)
    }

    pub(super) fn string(&mut self) -> Result<String, GgufError> {
        let length =
            usize::try_from(self.u64()?).map_err(|_| GgufError::Damaged("a length beyond all bounds"))?;
        Ok(String::from_utf8_lossy(self.take(length)?).into_owned())
    }

    pub(super) fn value(&mut self) -> Result<Value, GgufError> {
        let kind = self.u32()?;
        self.of_kind(kind, 0)
    }

    fn of_kind(&mut self, kind: u32, depth: u8) -> Result<Value, GgufError> {
        Ok(match kind {
            7 => Value::Bool(self.number(1)? != 0),
            8 => Value::Text(self.string()?),
            9 => self.array(depth)?,
            _ => Value::Number(self.number(size(kind)?)?),
        })
    }

    fn array(&mut self, depth: u8) -> Result<Value, GgufError> {
        if depth >= MAX_DEPTH {
            return Err(GgufError::Damaged("arrays within arrays"));
        }
        let kind = self.u32()?;
        let count = self.u64()?;
        if count > MAX_KEPT {
            return Err(GgufError::Damaged("an array longer than a vocabulary"));
        }
        // No room is taken ahead: a count may lie, the bytes that are there do not.
        let (mut texts, mut numbers) = (Vec::new(), Vec::new());
        for _ in 0..count {
            match self.of_kind(kind, depth + 1)? {
                Value::Text(text) => texts.push(text),
                Value::Number(number) => numbers.push(number),
                _ => {}
            }
        }
        Ok(match (texts.is_empty(), numbers.is_empty()) {
            (false, _) => Value::Texts(texts),
            (_, false) => Value::Numbers(numbers),
            _ => Value::Other,
        })
    }
}

/// Bytes of a scalar.
fn size(kind: u32) -> Result<usize, GgufError> {
    match kind {
        0 | 1 => Ok(1),
        2 | 3 => Ok(2),
        4..=6 => Ok(4),
        10..=12 => Ok(8),
        _ => Err(GgufError::Damaged("a value of unknown type")),
    }
}
