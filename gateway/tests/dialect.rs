//! Every dialect both ways, from files: `tests/golden/dialect/NAME.json` holds what is asked and what a server answers,
//! `NAME.snap` the request it becomes and what is read. `UPDATE=1` writes the snaps anew. And: however a stream is cut into
//! frames, the same is read.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fmt::Write;
use std::path::{Path, PathBuf};

use http::StatusCode;
use modelgate_gateway::dialect::{Abilities, Dialect, Event, Generation, TritonModel, vertex};
use proptest::prelude::{any, proptest};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    dialect: String,
    ask: Generation,
    answers: Vec<Answer>,
}

#[derive(Deserialize)]
#[serde(untagged, deny_unknown_fields)]
enum Answer {
    Whole { status: u16, body: String },
    Stream { stream: String },
}

/// The configuration that Triton's vLLM backend of today shows.
const TELLING: &[u8] = br#"{"backend":"vllm","input":[{"name":"text_input"},{"name":"stream"},{"name":"sampling_parameters"},
    {"name":"return_finish_reason"},{"name":"return_num_input_tokens"},{"name":"return_num_output_tokens"}]}"#;

fn dialect(name: &str) -> Dialect {
    match name.split('/').collect::<Vec<_>>().as_slice() {
        ["OpenAI"] => Dialect::OpenAi,
        ["Mistral"] => Dialect::Mistral,
        ["TGI"] => Dialect::Tgi,
        ["LlamaCpp"] => Dialect::LlamaCpp,
        ["Triton"] => Dialect::Triton(TritonModel::default()),
        ["Triton", "vLLM"] => Dialect::Triton(TritonModel::of_config(br#"{"backend":"vllm"}"#).unwrap()),
        ["Triton", "vLLM", "telling"] => Dialect::Triton(TritonModel::of_config(TELLING).unwrap()),
        ["Triton", "FasterTransformer"] => {
            let config = br#"{"input":[{"name":"prompt"},{"name":"request_output_len"}]}"#;
            Dialect::Triton(TritonModel::of_config(config).unwrap())
        }
        ["VertexAI", publisher, model] => {
            Dialect::Vertex(vertex::Place::new("my-project", "us-central1", publisher, model))
        }
        _ => panic!("no dialect {name}"),
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/dialect")
}

fn cases() -> Vec<(PathBuf, Case)> {
    let mut files: Vec<_> = std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "json"));
    files.sort();
    let read = |file: PathBuf| {
        let case = serde_json::from_slice(&std::fs::read(&file).unwrap())
            .unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        (file, case)
    };
    files.into_iter().map(read).collect()
}

fn snap(case: &Case) -> String {
    let dialect = dialect(&case.dialect);
    let mut text = String::new();
    match dialect.render(&case.ask, &Abilities::of(&dialect)) {
        Ok(wire) => {
            let body: serde_json::Value = serde_json::from_slice(&wire.body).unwrap();
            writeln!(text, "{} {}{}", wire.method, wire.path, if wire.stream { " (stream)" } else { "" })
                .unwrap();
            writeln!(text, "{body:#}").unwrap();
        }
        Err(unsupported) => writeln!(text, "nothing is sent: {unsupported}").unwrap(),
    }
    for answer in &case.answers {
        match answer {
            Answer::Whole { status, body } => {
                let read = dialect.read(StatusCode::from_u16(*status).unwrap(), body.as_bytes());
                match read {
                    Ok(generated) => writeln!(text, "\n{status} -> {generated:#?}").unwrap(),
                    Err(fault) => writeln!(text, "\n{status} -> {fault}").unwrap(),
                }
            }
            Answer::Stream { stream } => {
                let (told, complete) = events(&dialect, [stream.as_bytes()]);
                writeln!(text, "\nstream -> {}", if complete { "complete" } else { "not complete" }).unwrap();
                for event in told {
                    writeln!(text, "  {event:?}").unwrap();
                }
            }
        }
    }
    text
}

fn events<'a>(dialect: &Dialect, frames: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Event>, bool) {
    let mut reader = dialect.events();
    let mut told: Vec<Event> = frames.into_iter().flat_map(|frame| reader.push(frame)).collect();
    told.extend(reader.finish());
    let complete = reader.is_complete();
    (told, complete)
}

#[test]
fn every_case_becomes_the_request_and_the_reading_that_its_snap_holds() {
    let mut wrong = Vec::new();
    let cases = cases();
    assert!(cases.len() > 20, "the cases are there");
    for (file, case) in &cases {
        let found = snap(case);
        let snap = file.with_extension("snap");
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&snap, &found).unwrap();
        } else if std::fs::read_to_string(&snap).unwrap_or_default() != found {
            wrong.push(format!("{}:\n{found}", snap.display()));
        }
    }
    assert!(wrong.is_empty(), "UPDATE=1 writes them anew, if these are right:\n{}", wrong.join("\n"));
}

proptest! {
    #[test]
    fn however_a_stream_is_cut_the_same_is_read(cuts in proptest::collection::vec(any::<proptest::sample::Index>(), 0..12)) {
        for (file, case) in cases() {
            let dialect = dialect(&case.dialect);
            for answer in &case.answers {
                let Answer::Stream { stream } = answer else { continue };
                let bytes = stream.as_bytes();
                let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
                cuts.extend([0, bytes.len()]);
                cuts.sort_unstable();
                let frames = cuts.windows(2).map(|cut| &bytes[cut[0]..cut[1]]);
                assert_eq!(events(&dialect, frames), events(&dialect, [bytes]), "{}", file.display());
            }
        }
    }
}
