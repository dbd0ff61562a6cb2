//! The access log's line: JSON for machines, one line of names and values for people.

use std::io::Write;
use std::sync::Arc;

use serde::Serializer;
use serde::ser::SerializeMap;
use serde_json::Value;

use super::sink::Line;
use super::time::rfc3339;
use crate::args::LogFormat;
use crate::server::summary::Summary;

/// A request on its way to the log.
pub(super) struct Access {
    pub(super) summary: Arc<Summary>,
    pub(super) format: LogFormat,
    /// Requests that only a probe sends, whose level is lower.
    pub(super) level: tracing::Level,
}

impl Line for Access {
    fn append(&self, to: &mut Vec<u8>) {
        // Serialising plain values, and writing to memory, do not fail.
        let _infallible = match self.format {
            LogFormat::Json => self.json(to),
            LogFormat::Text => self.text(to).map_err(serde_json::Error::io),
        };
        to.push(b'\n');
    }
}

impl Access {
    fn json(&self, to: &mut Vec<u8>) -> serde_json::Result<()> {
        let mut serializer = serde_json::Serializer::new(to);
        let mut line = serializer.serialize_map(None)?;
        line.serialize_entry("timestamp", &rfc3339(self.summary.time))?;
        line.serialize_entry("level", self.level.as_str())?;
        line.serialize_entry("target", "access")?;
        line.serialize_entry("logger", "api.access")?;
        line.serialize_entry("message", "request")?;
        line.serialize_entry("type", "mlops")?;
        line.serialize_entry("stage", "main")?;
        for (name, value) in self.summary.access() {
            line.serialize_entry(name, &value)?;
        }
        line.end()
    }

    fn text(&self, to: &mut Vec<u8>) -> std::io::Result<()> {
        let request = &self.summary;
        let (time, level) = (rfc3339(request.time), self.level.as_str());
        let (method, path, outcome) = (&request.method, &request.path, request.outcome.as_str());
        write!(to, "{time} {level:>5} access: {method} {path} {} {outcome}", request.status)?;
        for (name, value) in request.access() {
            if matches!(
                name,
                "url" | "path" | "status_code" | "method" | "outcome" | "handler" | "client_port"
            ) {
                continue;
            }
            match value {
                Value::String(word) if is_word(&word) => write!(to, " {name}={word}")?,
                other => write!(to, " {name}={other}")?,
            }
        }
        Ok(())
    }
}

/// Whether a value needs no quotes.
fn is_word(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"')
}
