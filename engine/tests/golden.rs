//! The engine's greedy choices against those of an independent llama.cpp on the same file.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

#[path = "support/model_file.rs"]
mod model_file;

use modelgate_engine::infer::{
    model::{Model, Token},
    sampling::Sampling,
    session::{CHUNK, Session, SessionOptions},
};
use serde::Deserialize;

/// Two logits nearer than this may change places between builds: the order of additions differs.
const TIE: f64 = 0.1;

#[derive(Deserialize)]
struct Golden {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    prompt: String,
    prompt_tokens: Vec<i32>,
    steps: Vec<Step>,
}

#[derive(Deserialize)]
struct Step {
    token: i32,
    best: Vec<Candidate>,
}

#[derive(Deserialize)]
struct Candidate {
    token: i32,
    logprob: f64,
}

#[test]
fn every_greedy_choice_is_llama_cpps_unless_its_two_best_tokens_are_nearly_tied() {
    let golden: Golden = serde_json::from_str(include_str!("golden/golden.json")).unwrap();
    assert_eq!(golden.cases.len(), 10);
    let model = Model::load(&model_file::path(), || true).unwrap();
    let options = SessionOptions { context_length: 512, sequences: 2, threads: 1 };
    let mut session = Session::new(&model, &options).unwrap();
    let greedy = Sampling {
        temperature: 0.0,
        top_p: 1.0,
        top_k: 0,
        presence_penalty: 0.0,
        frequency_penalty: 0.0,
        seed: 0,
    };
    let (mut equal, mut tied) = (0, 0);
    for (index, case) in golden.cases.iter().enumerate() {
        let sequence = u16::try_from(index % 2).unwrap();
        let tokens = model.tokenize(&case.prompt);
        assert_eq!(
            tokens.iter().map(|token| token.0).collect::<Vec<_>>(),
            case.prompt_tokens,
            "{:?}",
            case.prompt
        );
        assert!(tokens.len() <= CHUNK);
        assert!(case.steps.len() == 32 || model.is_end(Token::new(case.steps.last().unwrap().token)));
        session.clear(sequence).unwrap();
        session.feed(sequence, 0, &tokens).unwrap();
        let mut sampler = greedy.sampler(model.vocabulary(), options.context_length);
        for (at, step) in case.steps.iter().enumerate() {
            assert_eq!(step.token, step.best[0].token, "the reference is not greedy");
            let choice = session.sample(&mut sampler).0;
            let margin = step.best[0].logprob - step.best[1].logprob;
            if choice == step.token {
                equal += 1;
            } else {
                assert!(
                    margin < TIE,
                    "{:?}, step {at}: chose {choice}, llama.cpp {} by {margin}",
                    case.prompt,
                    step.token
                );
                tied += 1;
            }
            // The reference's token goes on, so that one tie does not excuse the rest.
            session.feed(sequence, tokens.len() + at, &[Token::new(step.token)]).unwrap();
        }
    }
    println!("{equal} equal, {tied} nearly tied");
    assert!(equal >= 250, "only {equal} equal choices: the golden file is too short");
}
