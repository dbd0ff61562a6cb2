//! The targets of quality on a sample of HumanEval-Infilling: correct answers come through unchanged, spoilt ones come back
//! whole. `modelgate-gateway eval` measures all of it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs::File;
use std::io::Read;
use std::path::Path;

use flate2::read::GzDecoder;
use modelgate_completion::Document;
use modelgate_completion::eval::{Form, Mutation, Options, Report, Sample, light, measure, read, typing};
use modelgate_completion::post::{Finish, Incremental, Input, Mode, Progress, run};

fn samples() -> Vec<Sample> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/human-eval-infilling");
    let mut samples = Vec::new();
    for set in ["SingleLine", "MultiLine", "RandomSpan"] {
        let file = File::open(folder.join(format!("HumanEval-{set}Infilling.jsonl.gz"))).unwrap();
        let mut text = String::new();
        GzDecoder::new(file).read_to_string(&mut text).unwrap();
        samples.extend(read(&text).unwrap());
    }
    samples.extend(light(&samples));
    samples
}

#[test]
fn a_sample_in_every_form_meets_the_targets() {
    let outcome = measure(&samples(), &Options { every: 97, ..Options::default() });
    let report = Report(&outcome);
    assert_eq!(report.missed(), Vec::<String>::new(), "{}", report.markdown());
    assert_eq!(outcome.harm.len(), 5 * Form::ALL.len());
}

#[test]
fn typing_leaves_the_head_of_the_prompt_as_it_was() {
    let found = typing(&samples(), 3, "solution.py");
    assert!(found.keystrokes > 100 && found.share() >= 0.9, "{found:?}");
}

#[test]
fn a_stream_shows_what_the_whole_answer_shows() {
    let samples = samples();
    let policy = Options::default().policy;
    let (mut all, mut alike, mut taken, mut length) = (0, 0, 0, 0);
    for (number, sample) in samples.iter().enumerate().step_by(61) {
        let document = Document::new(&sample.prefix, &sample.suffix, "solution.py", None);
        let next = "def other(a, b):\n    return a * b\n";
        for mutation in
            [Mutation::SuffixRepeated, Mutation::NextBlock, Mutation::SpecialTokens, Mutation::RepeatedLines]
        {
            let Some((raw, finish)) = mutation.of(sample, next, number) else { continue };
            let whole = Input {
                document: &document,
                specials: &[],
                stops: &[],
                raw: &raw,
                finish,
                mode: Mode::Multi,
                policy: &policy,
                place: None,
            };
            let mut stream = Incremental::new(whole);
            let mut sent = String::new();
            for piece in raw.as_bytes().chunks(7).map(String::from_utf8_lossy) {
                let progress = stream.push(&piece);
                sent.push_str(&stream.ready());
                if progress == Progress::Cut {
                    break;
                }
            }
            let (rest, processed) = stream.finish(finish);
            sent.push_str(&rest);
            let cut = run(&Input {
                raw: stream.raw(),
                finish: if stream.decided_at().is_some() { Finish::Stop } else { finish },
                ..whole
            });
            assert_eq!(processed.text, cut.text);
            all += 1;
            alike += usize::from(sent == sample.canonical);
            taken += stream.raw().len();
            length += raw.len();
        }
    }
    assert!(alike * 100 >= all * 90, "{alike} of {all} streams show the correct completion");
    assert!(taken * 100 <= length * 90, "{taken} of {length} bytes were read before the end was decided");
}
