use modelgate_completion::eval::*;
fn main() {
    let args: Vec<String> = std::env::args().collect();
    let every: usize = args[1].parse().unwrap();
    let failures: usize = args[2].parse().unwrap();
    let all_forms = args.get(3).is_some_and(|f| f == "all");
    let mut samples = Vec::new();
    for f in ["SingleLine", "MultiLine", "RandomSpan"] {
        samples.extend(
            read(&std::fs::read_to_string(format!("/tmp/heipeek/HumanEval-{f}Infilling.jsonl")).unwrap())
                .unwrap(),
        );
    }
    let forms = if all_forms { Form::ALL.to_vec() } else { vec![Form::Lf] };
    let options = Options { forms, every, failures, ..Options::default() };
    let outcome = measure(&samples, &options);
    println!("{}", Report(&outcome).markdown());
    println!("missed: {:#?}", Report(&outcome).missed());
    for (what, sample, raw, text) in &outcome.failures {
        let p: Vec<&str> = sample.prefix.split('\n').collect();
        let s: String = sample.suffix.chars().take(160).collect();
        println!(
            "=== {what} {:?} {}\nPREFIX …{}\nSUFFIX {s:?}\nRIGHT {:?}\nRAW   {:?}\nGOT   {:?}",
            sample.set,
            sample.problem,
            p[p.len().saturating_sub(4)..].join("\n"),
            sample.canonical,
            raw.chars().take(700).collect::<String>(),
            text
        );
    }
}
