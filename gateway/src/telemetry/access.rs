//! The access log's line: JSON for machines, one line of names and values for people.

use std::sync::Arc;

use serde_json::{Map, Value};

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
        match self.format {
            LogFormat::Json => {
                let mut line = Map::new();
                line.insert("timestamp".into(), rfc3339(self.summary.time).into());
                line.insert("level".into(), self.level.as_str().into());
                line.insert("target".into(), "access".into());
                line.insert("logger".into(), "api.access".into());
                line.insert("message".into(), "request".into());
                line.insert("type".into(), "mlops".into());
                line.insert("stage".into(), "main".into());
                line.append(&mut self.summary.access());
                // Serialising a map of plain values does not fail.
                let _infallible = serde_json::to_writer(&mut *to, &line);
            }
            LogFormat::Text => to.extend_from_slice(self.text().as_bytes()),
        }
        to.push(b'\n');
    }
}

impl Access {
    fn text(&self) -> String {
        let request = &self.summary;
        let (time, level) = (rfc3339(request.time), self.level.as_str());
        let mut text = format!(
            "{time} {level:>5} access: {} {} {} {}",
            request.method,
            request.path,
            request.status,
            request.outcome.as_str()
        );
        for (name, value) in request.access() {
            if matches!(
                &*name,
                "url" | "path" | "status_code" | "method" | "outcome" | "handler" | "client_port"
            ) {
                continue;
            }
            text += &match value {
                Value::String(word)
                    if !word.is_empty()
                        && word.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"') =>
                {
                    format!(" {name}={word}")
                }
                other => format!(" {name}={other}"),
            };
        }
        text
    }
}
