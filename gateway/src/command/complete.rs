//! `complete FILE:LINE:COL`: one completion from a terminal, by the same core that serves editors, showing what the backend
//! was sent, what the model answered and what each step made of it.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{HeaderMap, Request};
use modelgate_api::v1alpha1::Compat;
use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::{Given, misuse};
use crate::app::{App, Gateway};
use crate::args::Args;
use crate::complete::{self, Choice, Completed, CompletionTask, SourceDocument, Unavailable};
use crate::error::GatewayError;
use crate::gitlab;
use crate::pipeline::route;
use crate::routing::matcher::Facts;
use crate::series::Handler;
use crate::server::record::{Record, Step};
use crate::server::{Activity, Connection, ids};

/// Exit code when there is no completion.
const NOTHING: u8 = 1;
/// How often it is asked whether a backend is there.
const ASK: Duration = Duration::from_millis(100);
/// Largest file that is read.
const MAX_BYTES: u64 = 4 * 1024 * 1024;

/// Arguments of `complete`, and those of serving.
#[derive(Debug, clap::Args)]
pub struct Complete {
    /// Where the cursor is: line and column count from 1, columns in characters
    #[arg(value_name = "FILE:LINE:COL")]
    cursor: Cursor,
    /// Model to ask for [default: the first route decides]
    #[arg(long, value_name = "NAME")]
    ask_model: Option<String>,
    /// Seconds to wait for a backend that starts or wakes
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    wait: u64,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    serve: Args,
}

/// A place in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Cursor {
    file: PathBuf,
    line: usize,
    column: usize,
}

impl FromStr for Cursor {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.rsplitn(3, ':');
        let number =
            |part: Option<&str>| part.and_then(|part| part.parse().ok()).filter(|number| *number > 0);
        let (column, line, file) = (number(parts.next()), number(parts.next()), parts.next());
        match (file, line, column) {
            (Some(file), Some(line), Some(column)) if !file.is_empty() => {
                Ok(Self { file: file.into(), line, column })
            }
            _ => Err("write FILE:LINE:COL, with lines and columns from 1".into()),
        }
    }
}

impl Cursor {
    /// The text before and after the cursor, byte for byte.
    fn split(&self, text: &str) -> Result<(String, String), String> {
        let mut lines = text.split_inclusive('\n');
        let before: usize = lines.by_ref().take(self.line - 1).map(str::len).sum();
        let count = text.split_inclusive('\n').count() + usize::from(text.is_empty() || text.ends_with('\n'));
        if self.line > count {
            return Err(format!("{}: line {}: the file has {count}", self.file.display(), self.line));
        }
        let line = lines.next().unwrap_or_default().trim_end_matches(['\n', '\r']);
        let length = line.chars().count();
        if self.column > length + 1 {
            return Err(format!(
                "{}: line {}, column {}: the line has {length} characters, so the last place is column {}",
                self.file.display(),
                self.line,
                self.column,
                length + 1
            ));
        }
        let within = line.char_indices().nth(self.column - 1).map_or(line.len(), |(at, _)| at);
        let (prefix, suffix) = text.split_at(before + within);
        Ok((prefix.to_owned(), suffix.to_owned()))
    }

    fn read(&self) -> Result<SourceDocument, String> {
        let name = self.file.display();
        let length = std::fs::metadata(&self.file).map_err(|error| format!("{name}: {error}"))?.len();
        if length > MAX_BYTES {
            return Err(format!("{name}: {length} bytes; at most {MAX_BYTES} are read"));
        }
        let text = std::fs::read_to_string(&self.file).map_err(|error| format!("{name}: {error}"))?;
        let (prefix, suffix) = self.split(&text)?;
        Ok(SourceDocument { file_name: name.to_string(), language_identifier: None, prefix, suffix })
    }
}

/// What was found out.
struct Tried {
    done: Result<Completed, GatewayError>,
    steps: Vec<Step>,
    took: Duration,
}

impl Complete {
    /// 0 with a completion, 1 without, 2 when the command line or the configuration is wrong.
    pub(super) async fn run(self, given: &Given) -> u8 {
        let document = match self.cursor.read() {
            Ok(document) => document,
            Err(fault) => return misuse(&[fault]),
        };
        let mut settings = match self.serve.into_settings(&|name| given.environment.get(name)) {
            Ok(settings) => settings,
            Err(faults) => return misuse(&faults),
        };
        // Beside a gateway that runs: any free ports, on loopback, and no logs of its own.
        let free = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        (settings.listen, settings.metrics_listen) = (Some(free), Some(free));
        (settings.control_listen, settings.debug_listen) = (free, free);
        (settings.usage_log, settings.otlp, settings.drain_grace) = (None, None, Duration::ZERO);
        let app = match App::start(settings).await {
            Ok(app) => app,
            Err(faults) => return misuse(&faults),
        };
        let gateway = app.gateway();
        let (stop, stopped) = oneshot::channel::<()>();
        let running = tokio::spawn(app.run(async {
            // Dropped or sent: both mean stop.
            let _either = stopped.await;
        }));
        let tried = attempt(&gateway, document, self.ask_model, Duration::from_secs(self.wait)).await;
        drop(stop);
        // Children and sockets are cleared away; a fault there changes nothing of the result.
        let _ended = running.await;
        if self.json {
            println!("{:#}", tried.json());
        } else {
            print!("{tried}");
        }
        match &tried.done {
            Ok(completed) if !completed.choices.is_empty() => 0,
            _ => NOTHING,
        }
    }
}

async fn attempt(
    gateway: &Arc<Gateway>,
    document: SourceDocument,
    model: Option<String>,
    wait: Duration,
) -> Tried {
    let snapshot = gateway.snapshot.load_full();
    let headers = HeaderMap::new();
    // The route that an editor's request would take.
    let facts = Facts {
        path: Handler::GitlabCodeCompletions.as_str(),
        model: model.as_deref(),
        language: gitlab::language(&document.file_name),
        project_id: None,
        project_path: None,
        caller: None,
        headers: &headers,
    };
    let route = route::find(&snapshot, &facts);
    let route = match route {
        Ok(route) => route,
        Err(error) => return Tried { done: Err(error), steps: Vec::new(), took: Duration::ZERO },
    };
    let until = Instant::now() + wait;
    while !route.is_serving() && Instant::now() < until {
        tokio::time::sleep(ASK).await;
    }
    let (parts, ()) = Request::new(()).into_parts();
    let connection =
        Connection { peer: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), activity: Activity::default() };
    let ids = ids::of(&headers, Compat::Current);
    let mut record = Record::new(gateway, &snapshot, &connection, &parts, ids);
    record.set_caller(Arc::new(crate::caller::Caller::anonymous()));
    record.keep_steps();
    let began = Instant::now();
    let task =
        CompletionTask { document, model, unavailable: Unavailable::Error, ..CompletionTask::default() };
    let done = complete::run(gateway, &snapshot, &route, task, &mut record).await;
    Tried { done, steps: record.take_steps(), took: began.elapsed() }
}

impl Tried {
    /// The same as the text, for programs.
    fn json(&self) -> Value {
        let step = |Step { name, before, after }: &Step| {
            // What a backend is sent is JSON itself.
            let text = serde_json::from_str(after).ok().filter(Value::is_object);
            let text = text.unwrap_or_else(|| after.as_str().into());
            json!({"name": name, "changed": before != after, "text": text})
        };
        let (outcome, completed) = match &self.done {
            Err(error) => (error.outcome(), json!({"error": error.to_string()})),
            Ok(completed) => {
                let choice = |choice: &Choice| json!({"text": choice.text, "finish": choice.finish.as_str()});
                let Completed { backend, model, language, .. } = completed;
                let choices: Vec<Value> = completed.choices.iter().map(choice).collect();
                let whole =
                    json!({"backend": backend, "model": model, "language": language, "choices": choices});
                (completed.outcome, whole)
            }
        };
        json!({
            "outcome": outcome.as_str(),
            "milliseconds": u64::try_from(self.took.as_millis()).unwrap_or(u64::MAX),
            "steps": self.steps.iter().map(step).collect::<Vec<_>>(),
            "completed": completed,
        })
    }
}

impl fmt::Display for Tried {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Step { name, before, after } in &self.steps {
            if before == after {
                writeln!(formatter, "=== {name}: nothing changed")?;
            } else {
                writeln!(formatter, "=== {name}\n{after}")?;
            }
        }
        let milliseconds = self.took.as_millis();
        match &self.done {
            Err(error) => writeln!(formatter, "=== failed after {milliseconds} ms: {error}"),
            Ok(completed) => {
                let (backend, model) = (&completed.backend, &completed.model);
                let language = completed.language.unwrap_or("unknown");
                writeln!(
                    formatter,
                    "=== {} after {milliseconds} ms by {backend} (model {model}, language {language})",
                    completed.outcome.as_str()
                )?;
                for choice in &completed.choices {
                    writeln!(
                        formatter,
                        "=== completion, finish reason {}\n{}",
                        choice.finish.as_str(),
                        choice.text
                    )?;
                }
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(at: &str, text: &str) -> Result<(String, String), String> {
        at.parse::<Cursor>().unwrap().split(text)
    }

    #[test]
    fn a_cursor_splits_a_file_without_changing_a_byte() {
        let text = "aä\r\n\tb\n";
        for (at, prefix) in
            [("f:1:1", ""), ("f:1:2", "a"), ("f:1:3", "aä"), ("f:2:2", "aä\r\n\t"), ("f:3:1", text)]
        {
            let (before, after) = split(at, text).unwrap();
            assert_eq!(before, prefix, "{at}");
            assert_eq!(before + &after, text, "{at}");
        }
        assert_eq!(split("a:b:1:1", "").unwrap(), (String::new(), String::new()));
    }

    #[test]
    fn a_place_that_is_not_there_is_told_with_the_last_one_that_is() {
        assert!(split("f:1:4", "ab\n").unwrap_err().contains("last place is column 3"));
        assert!(split("f:3:1", "ab\n").unwrap_err().contains("the file has 2"));
        for bad in ["f", "f:1", "f:0:1", "f:1:0", ":1:1", "f:x:1"] {
            assert!(bad.parse::<Cursor>().is_err(), "{bad}");
        }
    }
}
