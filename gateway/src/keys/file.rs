//! The file of API keys: what stands in it, how it is read strictly and written whole, and the Secret made of it.

use std::path::Path;

use serde::{Deserialize, Serialize};

/// Largest file that is read: a Secret holds 1 MiB.
const MAX_BYTES: usize = 1024 * 1024;

/// All keys.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyFile {
    /// One entry each.
    pub keys: Vec<Entry>,
}

/// One key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// The part of the key that is no secret.
    pub id: String,
    /// SHA-256 of the whole key, in lower-case hexadecimal digits.
    pub sha256: String,
    /// Whom the key speaks for.
    pub subject: String,
    /// Models that it may ask for; empty means all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<String>,
    /// When it was made, RFC 3339.
    pub created: String,
    /// When it ends, RFC 3339 in UTC; absent means never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
}

impl KeyFile {
    /// Reads a file's bytes.
    ///
    /// # Errors
    /// A sentence, for the first thing that is wrong; nothing of a file with a mistake is used.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        if bytes.len() > MAX_BYTES {
            return Err("larger than 1 MiB".into());
        }
        let file: Self = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        let mut seen = std::collections::HashSet::new();
        for entry in &file.keys {
            let id = &entry.id;
            if id.is_empty() || !id.bytes().all(|byte| byte.is_ascii_alphanumeric()) || !seen.insert(id) {
                return Err(format!("id \"{}\" is not a word of its own", id.escape_debug()));
            }
            if digest(&entry.sha256).is_none() {
                return Err(format!("key {id}: sha256 is not 64 hexadecimal digits"));
            }
            if entry.subject.is_empty() {
                return Err(format!("key {id}: subject is empty"));
            }
            if let Some(expires) = entry.expires.as_deref().filter(|expires| seconds(expires).is_none()) {
                return Err(format!("key {id}: expires \"{expires}\" is not a time as 2030-01-31T12:00:00Z"));
            }
        }
        Ok(file)
    }

    /// Reads a file; one that is not there holds no key.
    ///
    /// # Errors
    /// A sentence that names the file.
    pub fn read(path: &Path) -> Result<Self, String> {
        match std::fs::read(path) {
            Ok(bytes) => Self::parse(&bytes).map_err(|why| format!("{}: {why}", path.display())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(format!("{}: {error}", path.display())),
        }
    }

    /// The text of the file.
    #[must_use]
    pub fn text(&self) -> String {
        // Strings and lists alone: nothing that JSON could not say.
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }

    /// Writes the file whole or not at all, so that a gateway never reads half of it.
    ///
    /// # Errors
    /// A sentence that names the file.
    pub fn write(&self, path: &Path) -> Result<(), String> {
        use std::io::Write;
        use std::os::unix::fs::OpenOptionsExt;

        let fault = |error: std::io::Error| format!("{}: {error}", path.display());
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{}.new", std::process::id()));
        let new = path.with_file_name(name);
        let mut options = std::fs::OpenOptions::new();
        let mut file =
            options.write(true).create(true).truncate(true).mode(0o600).open(&new).map_err(fault)?;
        file.write_all(self.text().as_bytes()).and_then(|()| file.sync_all()).map_err(fault)?;
        std::fs::rename(&new, path).map_err(fault)
    }

    /// The Secret that a ModelGateway names by `auth.apiKeys.secretRef`.
    #[must_use]
    pub fn manifest(&self, name: &str, namespace: Option<&str>) -> String {
        let mut metadata = serde_json::json!({"name": name});
        if let Some(namespace) = namespace {
            metadata["namespace"] = namespace.into();
        }
        let key = modelgate_api::names::DEFAULT_KEYS_KEY;
        let secret = serde_json::json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": metadata,
            "type": "Opaque",
            "stringData": {key: self.text()},
        });
        serde_json::to_string_pretty(&secret).unwrap_or_default() + "\n"
    }
}

/// The 32 bytes of a hash in hexadecimal digits.
pub(super) fn digest(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0_u8; 32];
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (index, byte) in bytes.iter_mut().enumerate() {
        let digits = text.get(index * 2..index * 2 + 2)?;
        *byte = u8::from_str_radix(digits, 16).ok().filter(|_| !digits.contains('+'))?;
    }
    Some(bytes)
}

/// Seconds since 1970 of a time as `2030-01-31T12:00:00Z`, the only form that is written.
pub(super) fn seconds(text: &str) -> Option<u64> {
    let bytes = text.as_bytes();
    let shape = b"dddd-dd-ddTdd:dd:ddZ";
    let fits = |(byte, shape): (&u8, &u8)| match shape {
        b'd' => byte.is_ascii_digit(),
        other => byte == other,
    };
    if bytes.len() != shape.len() || !bytes.iter().zip(shape).all(fits) {
        return None;
    }
    let number = |from: usize, to: usize| text.get(from..to)?.parse::<u64>().ok();
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    if year < 1970 || !(1..=12).contains(&month) || day == 0 || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let longest = [31, if leap { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    if day > *longest.get(usize::try_from(month).ok()? - 1)? {
        return None;
    }
    // Years that begin in March end with the leap day.
    let (shifted, of_year) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days =
        365 * shifted + shifted / 4 - shifted / 100 + shifted / 400 + (153 * of_year + 2) / 5 + day - 1;
    Some((days - 719_468) * 86_400 + hour * 3600 + minute * 60 + second)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[test]
    fn times_are_read_as_they_are_written() {
        for at in [0, 951_782_399, 951_782_400, 1_709_251_199, 1_795_267_445, 4_102_444_800] {
            let text = crate::state::rfc3339(UNIX_EPOCH + Duration::from_secs(at));
            assert_eq!(seconds(&text), Some(at), "{text}");
        }
        for bad in [
            "2030-02-29T00:00:00Z",
            "2030-13-01T00:00:00Z",
            "2030-01-01",
            "2030-01-01T24:00:00Z",
            "",
            "+030-01-01T00:00:00Z",
        ] {
            assert_eq!(seconds(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_file_with_any_mistake_is_refused_whole() {
        let good = format!(
            r#"{{"keys":[{{"id":"a1","sha256":"{}","subject":"s","created":"2030-01-01T00:00:00Z"}}]}}"#,
            "0f".repeat(32)
        );
        assert_eq!(KeyFile::parse(good.as_bytes()).unwrap().keys.len(), 1);
        for (from, to) in [
            ("\"a1\"", "\"a_1\""),
            ("\"a1\"", "\"\""),
            ("0f0f", "0g0f"),
            ("0f0f", "+f0f"),
            ("0f0f", "0f"),
            ("\"s\"", "\"\""),
            ("\"created\"", "\"expires\":\"soon\",\"created\""),
            ("\"created\"", "\"model\":[],\"created\""),
            ("}]", "},{\"id\":\"a1\"}]"),
        ] {
            assert!(KeyFile::parse(good.replacen(from, to, 1).as_bytes()).is_err(), "{from} → {to}");
        }
    }
}
