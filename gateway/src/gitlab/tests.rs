//! The golden corpus: bodies, answers and what clients tell. Headers and properties of the readers stand in files of their own.

mod headers;
mod properties;

use http::{HeaderMap, HeaderValue};
use modelgate_api::v1alpha1::Compat;
use serde_json::{Value as Json, json};

use super::render_answer;
use super::{
    Answer, Choice, CodeRequest, Form, Kind, language, parse_completion, parse_components,
    parse_experimental, parse_generation,
};
use crate::complete::PromptOverride;

fn body_of(parts: &Json) -> Vec<u8> {
    let mut out = Vec::new();
    for part in parts.as_array().unwrap() {
        if let Some(text) = part.as_str() {
            out.extend_from_slice(text.as_bytes());
        } else if let Some(hex) = part["hex"].as_str() {
            out.extend(
                hex.as_bytes()
                    .chunks(2)
                    .map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap()),
            );
        } else {
            let times = usize::try_from(part["times"].as_u64().unwrap()).unwrap();
            out.extend_from_slice(part["repeat"].as_str().unwrap().repeat(times).as_bytes());
        }
    }
    out
}

fn shown(text: &str) -> String {
    let length = text.chars().count();
    if length <= 400 { text.to_owned() } else { format!("{length} code points") }
}

fn read(request: &CodeRequest) -> Json {
    let text = |text: &Option<String>| text.as_deref().map(shown);
    json!({
        "prompt_version": request.prompt_version,
        "project_path": text(&request.project_path),
        "project_id": request.project_id.as_ref().map(ToString::to_string),
        "file_name": shown(&request.file_name),
        "language_identifier": text(&request.language_identifier),
        "prefix": shown(&request.prefix),
        "suffix": shown(&request.suffix),
        "telemetry": request.telemetry.iter().map(|item| json!({
            "model_engine": text(&item.model_engine),
            "model_name": text(&item.model_name),
            "lang": text(&item.lang),
            "experiments": item.experiments.iter()
                .map(|experiment| json!([shown(&experiment.name), experiment.variant.to_string()])).collect::<Vec<_>>(),
            "requests": item.requests,
            "accepts": item.accepts,
            "errors": item.errors,
        })).collect::<Vec<_>>(),
    })
}

#[test]
fn every_body_of_the_corpus_is_answered_as_the_original_answers_it() {
    let corpus: Json = serde_json::from_str(include_str!("../../tests/golden/gitlab/requests.json")).unwrap();
    let mut wrong = Vec::new();
    for case in corpus.as_array().unwrap() {
        let expected = if case["ours"].is_null() { case } else { &case["ours"] };
        let ours =
            match parse_completion(Compat::Strict, case["contentType"].as_str(), &body_of(&case["body"])) {
                Ok(request) => json!({"status": 200, "read": read(&request)}),
                Err(refusal) => {
                    json!({"status": refusal.status, "answer": String::from_utf8(refusal.body).unwrap()})
                }
            };
        if ["status", "read", "answer"].iter().any(|member| expected[member] != ours[member]) {
            wrong.push(format!("{}\n  expected {expected}\n  got {ours}", case["name"]));
        }
    }
    assert!(corpus.as_array().unwrap().len() > 300, "the corpus is not whole");
    assert!(wrong.is_empty(), "{} cases differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn bodies_that_choose_among_models_are_answered_as_the_original_answers_them() {
    let corpus: Json = serde_json::from_str(include_str!("../../tests/golden/gitlab/unions.json")).unwrap();
    let corpus = corpus.as_array().unwrap();
    let mut wrong = Vec::new();
    for case in corpus {
        let body = case["body"].as_str().unwrap().as_bytes();
        let kind = Some("application/json");
        let experimental = case["path"] == "/v2/experimental/code/completions";
        let read = if experimental {
            parse_experimental(Compat::Strict, kind, body)
        } else {
            parse_generation(Compat::Strict, kind, body)
        };
        let prompt = |request: &CodeRequest| match &request.prompt {
            Some(PromptOverride::Text(text)) => Some(text.clone()),
            _ => None,
        };
        let ours = match read {
            Ok(request) if experimental => json!({"status": 200, "read": {
                "model": request.models[0], "prefix": request.prefix, "suffix": request.suffix,
                "file_name": Some(&request.file_name).filter(|name| !name.is_empty()),
                "temperature": request.temperature, "max_output_tokens": request.max_tokens, "top_p": request.top_p,
            }}),
            Ok(request) => json!({"status": 200, "read": {
                "version": request.prompt_version, "prompt": prompt(&request), "prefix": request.prefix,
            }}),
            Err(refusal) => {
                json!({"status": refusal.status, "answer": String::from_utf8(refusal.body).unwrap()})
            }
        };
        if ["status", "read", "answer"].iter().any(|member| case[*member] != ours[*member]) {
            wrong.push(format!("{}\n  expected {case}\n  got {ours}", case["body"]));
        }
    }
    assert!(corpus.len() > 60, "the corpus is not whole");
    assert!(wrong.is_empty(), "{} cases differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn a_body_of_today_is_read_and_every_refusal_is_flat() {
    let body = json!({
        "prompt_version": 3, "project_id": "12", "project_path": "a/b", "stream": true, "choices_count": 9,
        "model_provider": "litellm", "model_name": "codestral", "model_identifier": "custom_openai/mine",
        "model_endpoint": "http://169.254.169.254/", "model_api_key": "secret",
        "prompt": [{"role": "system", "content": "s"}, {"role": "user", "content": "u", "more": 1}],
        "context": [{"type": "file", "name": "b.py", "content": "x"}, {"type": "snippet", "name": "f", "content": "y", "resolution_strategy": "imports"}],
        "current_file": {"file_name": "a.py", "content_above_cursor": "p", "content_below_cursor": "s"},
        "telemetry": [{"model_engine": "x".repeat(60), "requests": -1, "accepts": 1, "errors": 0}],
    });
    let request = parse_generation(Compat::Current, None, body.to_string().as_bytes()).unwrap();
    assert_eq!((request.kind, request.stream, request.choices), (Kind::Generation, true, 4));
    assert_eq!(request.models, ["custom_openai/mine", "codestral"]);
    assert_eq!(request.telemetry[0].requests, 0, "no counter takes -1");
    let task = request.into_task();
    let Some(PromptOverride::Messages(messages)) = &task.prompt else { panic!("{:?}", task.prompt) };
    assert_eq!((messages.len(), messages[1].content.as_str()), (2, "u"));
    assert_eq!(task.context.iter().map(|item| item.snippet).collect::<Vec<_>>(), [false, true]);
    assert_eq!(task.project.unwrap().id.as_deref(), Some("12"));

    let file = r#""current_file":{"file_name":"a","content_above_cursor":"","content_below_cursor":""}"#;
    for wrong in [
        "{}".to_owned(),
        "{".to_owned(),
        format!("{{\"prompt_version\":4,{file}}}"),
        format!("{{\"prompt_version\":2,{file}}}"),
        format!("{{\"stream\":\"yes\",{file}}}"),
        format!("{{\"context\":[{{}}],{file}}}"),
        format!("{{\"prompt_version\":3,\"prompt\":[{{\"role\":\"user\"}}],{file}}}"),
    ] {
        let refusal = parse_generation(Compat::Current, None, wrong.as_bytes()).unwrap_err();
        let flat = (422, r#"{"detail":"Validation error"}"#);
        assert_eq!((refusal.status, std::str::from_utf8(&refusal.body).unwrap()), flat, "{wrong}");
    }
    let editor = json!({"prompt_version": 1, "project_path": "", "project_id": -1, "intent": "completion", "choices_count": 1,
        "current_file": {"file_name": "a.py", "content_above_cursor": "p", "content_below_cursor": "s", "stream": false}});
    let task = parse_completion(Compat::Current, Some(" application/json"), editor.to_string().as_bytes())
        .unwrap()
        .into_task();
    assert_eq!((task.project, task.prompt), (None, None));
}

#[test]
fn the_first_component_that_an_editor_made_is_what_is_asked_for() {
    let file = json!({"file_name": "a.py", "content_above_cursor": "p", "content_below_cursor": "s", "stream": true});
    let mut generation = file.clone();
    generation["prompt"] = json!("write it");
    let context =
        json!({"type": "code_context", "payload": {"type": "snippet", "name": "f", "content": "c"}});
    let of = |components: Json| {
        parse_components(None, json!({"prompt_components": components}).to_string().as_bytes())
    };
    let read = of(
        json!([context, {"type": "code_editor_completion", "payload": file, "metadata": {"source": "x"}}]),
    )
    .unwrap();
    assert_eq!(
        (read.kind, read.prefix.as_str(), read.stream, read.context.len()),
        (Kind::Completion, "p", true, 1)
    );
    let read = of(json!([{"type": "code_editor_generation", "payload": generation}])).unwrap();
    assert_eq!((read.kind, read.prompt), (Kind::Generation, Some(PromptOverride::Text("write it".into()))));
    for wrong in [
        json!([]),
        json!([context]),
        json!([{"type": "chat", "payload": {}}]),
        json!([{"type": "code_editor_completion"}]),
        json!(7),
    ] {
        assert_eq!(of(wrong.clone()).unwrap_err().body, br#"{"detail":"Validation error"}"#, "{wrong}");
    }
}

#[test]
fn events_of_a_stream_are_whole_lines_of_json() {
    let answer = Answer {
        id: "i",
        engine: "modelgate",
        name: "m",
        lang: Some("python"),
        experiments: &[],
        created: 5,
        choices: &[],
        one_empty: false,
        region: None,
        tokens: None,
        flags: &["f"],
    };
    assert_eq!(
        super::stream_start(&answer, Form::Suggestions)
            + &super::stream_piece("a\n\"", Form::Suggestions)
            + super::stream_end(Form::Suggestions),
        "event: stream_start\ndata: {\"metadata\":{\"model\":{\"engine\":\"modelgate\",\"name\":\"m\",\"lang\":\"python\"},\"timestamp\":5,\"enabled_feature_flags\":[\"f\"]}}\n\n\
         event: content_chunk\ndata: {\"choices\":[{\"delta\":{\"content\":\"a\\n\\\"\"},\"index\":0}]}\n\n\
         event: stream_end\ndata: null\n\n"
    );
    assert_eq!(
        super::stream_start(&answer, Form::Text)
            + &super::stream_piece("a\n", Form::Text)
            + super::stream_end(Form::Text),
        "a\n"
    );
}

#[test]
fn counts_of_headers_count_only_together_and_labels_are_of_closed_sets() {
    let headers = |values: &[(&'static str, &'static str)]| {
        values
            .iter()
            .map(|(name, value)| (http::HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect::<HeaderMap>()
    };
    let (requests, accepts, errors) = ("x-gitlab-cs-requests", "x-gitlab-cs-accepts", "x-gitlab-cs-errors");
    let told =
        super::telemetry_of_headers(&headers(&[(requests, "5"), (accepts, "2"), (errors, "-1")])).unwrap();
    assert_eq!((told.requests, told.accepts, told.errors), (5, 2, 0));
    assert_eq!(super::telemetry_of_headers(&headers(&[(requests, "5"), (accepts, "2")])), None);
    assert_eq!(
        super::telemetry_of_headers(&headers(&[(requests, "x"), (accepts, "2"), (errors, "1")])),
        None
    );
    let metrics = crate::metrics::Metrics::new().unwrap();
    let lang = |lang: &str| super::Telemetry {
        lang: Some(lang.into()),
        model_name: Some("mine".into()),
        requests: u64::MAX,
        ..told.clone()
    };
    for told in [lang("python"), lang("klingon"), lang("elvish")] {
        metrics.suggestions.count(&told, |name| name == "mine");
    }
    let text = String::from_utf8(metrics.encode().unwrap()).unwrap();
    assert!(
        text.contains(
            r#"code_suggestions_requests_total{lang="other",model_engine="none",model_name="mine"} 20000"#
        ),
        "{text}"
    );
    assert!(
        text.contains(
            r#"code_suggestions_accepts_total{lang="python",model_engine="none",model_name="mine"} 2"#
        ),
        "{text}"
    );
}

#[test]
fn files_have_the_language_of_their_extension() {
    for (name, expected) in [
        ("a.py", Some("python")),
        ("dir.py/b.rb", Some("ruby")),
        ("x.C", Some("cpp")),
        ("x.c", Some("c")),
        ("x.H", Some("cpp")),
        ("x.h++", Some("cpp")),
        ("x.PY", None),
        ("Makefile", None),
        ("", None),
        ("a.tsx", Some("ts")),
        ("a.b.kts", Some("kotlin")),
        ("a.phpt", Some("php")),
        ("a.", None),
        (".py", None),
        ("é.rs", Some("rust")),
        ("a.cs", Some("csharp")),
    ] {
        assert_eq!(language(name), expected, "{name}");
    }
}

#[test]
fn an_answer_is_written_as_the_original_writes_it() {
    let choices = [Choice { text: "é\"\n\u{1f600}", finish_reason: "stop" }];
    let answer = Answer {
        id: "cmpl-1",
        engine: "vertex-ai",
        name: "code-gecko",
        lang: Some("python"),
        experiments: &[("exp_truncate_suffix", 0)],
        created: 1_682_031_100,
        choices: &choices,
        one_empty: true,
        region: Some("us-central1"),
        tokens: Some((7, 3)),
        flags: &["a_flag"],
    };
    let render_answer = |answer: &Answer<'_>, compat| render_answer(answer, Form::Text, compat);
    let strict = String::from_utf8(render_answer(&answer, Compat::Strict)).unwrap();
    assert_eq!(
        strict,
        "{\"id\":\"id\",\"model\":{\"engine\":\"vertex-ai\",\"name\":\"code-gecko\",\"lang\":\"python\"},\"experiments\":[{\"name\":\"exp_truncate_suffix\",\"variant\":0}],\"object\":\"text_completion\",\"created\":1682031100,\"choices\":[{\"text\":\"é\\\"\\n\u{1f600}\",\"index\":0,\"finish_reason\":\"length\"}]}"
    );
    let current = String::from_utf8(render_answer(&answer, Compat::Current)).unwrap();
    assert!(
        current.starts_with("{\"id\":\"cmpl-1\"")
            && current.contains("\"lang\":\"python\",\"tokens_consumption_metadata\":{\"input_tokens\":7,\"output_tokens\":3,\"max_output_tokens_used\":false,")
            && current.contains("\"context_tokens_used\":0},\"region\":\"us-central1\"}")
            && current.ends_with("\"finish_reason\":\"stop\"}],\"metadata\":{\"enabled_feature_flags\":[\"a_flag\"]}}"),
        "{current}"
    );
    let nothing = Answer { lang: None, experiments: &[], choices: &[], tokens: None, flags: &[], ..answer };
    let strict = String::from_utf8(render_answer(&nothing, Compat::Strict)).unwrap();
    assert!(strict.contains("\"lang\":\"\"},\"experiments\":[]"), "{strict}");
    assert!(
        strict.ends_with("\"choices\":[{\"text\":\"\",\"index\":0,\"finish_reason\":\"length\"}]}"),
        "{strict}"
    );
    let nothing = Answer { one_empty: false, ..nothing };
    let current = String::from_utf8(render_answer(&nothing, Compat::Current)).unwrap();
    assert!(current.ends_with("\"choices\":[]}"), "{current}");
}
