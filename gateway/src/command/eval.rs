//! `eval`: how good post-processing is, measured without a model on infilling problems.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use modelgate_completion::eval::{
    Cell, Options, Outcome, Report, Sample, Set, light, long_file, measure, read, time, typing,
};

use super::misuse;

/// Exit code when a target was missed.
const MISSED: u8 = 1;
/// A file of samples is no larger than this when unpacked, in bytes.
const LARGEST_FILE: u64 = 1 << 30;

/// Completions that are typed character by character.
const TYPED: usize = 12;

/// Bytes of the long file that completions are timed in.
const LONG_FILE: usize = 100 * 1024;
/// Completions that are timed in a file.
const TIMED: usize = 400;

/// Arguments of `eval`.
#[derive(Debug, clap::Args)]
pub struct Eval {
    /// Folder with infilling problems: *.jsonl or *.jsonl.gz with task_id, prompt, canonical_solution and suffix
    #[arg(long, value_name = "DIR", required_unless_present = "time")]
    data: Option<PathBuf>,
    /// Measure what the engine itself costs completions from this file; may be repeated
    #[arg(long, value_name = "FILE")]
    time: Vec<PathBuf>,
    /// Take only each N-th sample
    #[arg(long, value_name = "N", default_value_t = 1)]
    every: usize,
    /// Name of the file that the samples are taken from; its extension tells their language
    #[arg(long, value_name = "NAME", default_value = "solution.py")]
    file_name: String,
    /// Also write the result as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Show so many failures of each kind
    #[arg(long, value_name = "N", default_value_t = 0)]
    failures: usize,
}

impl Eval {
    /// 0 when every target is met, 1 otherwise, 2 when the data cannot be read.
    pub(super) fn run(self) -> u8 {
        for file in &self.time {
            match std::fs::read_to_string(file) {
                Ok(text) => print_times(&file.to_string_lossy(), &text),
                Err(error) => return misuse(&[format!("--time {}: {error}", file.display())]),
            }
        }
        let Some(folder) = &self.data else { return 0 };
        let samples = match samples(folder) {
            Ok(samples) => samples,
            Err(fault) => return misuse(&[fault]),
        };
        let mut outcome = self.measure(&samples);
        let typed = typing(&samples, TYPED, &self.file_name);
        outcome.typing = Cell { of: typed.keystrokes, count: typed.stable };
        let report = Report(&outcome);
        println!("{}", report.markdown());
        print_times(&self.file_name, &long_file(&samples, LONG_FILE));
        for (what, sample, raw, text) in &outcome.failures {
            println!(
                "{what} ({}, {})\n  right: {:?}\n  given: {raw:?}\n  made:  {text:?}",
                sample.set.name(),
                sample.problem,
                sample.canonical
            );
        }
        if let Some(file) = &self.json
            && let Err(error) = std::fs::write(file, format!("{:#}\n", report.json()))
        {
            return misuse(&[format!("--json {}: {error}", file.display())]);
        }
        let missed = report.missed();
        missed.iter().for_each(|target| println!("missed: {target}"));
        if missed.is_empty() { 0 } else { MISSED }
    }

    fn measure(&self, samples: &[Sample]) -> Outcome {
        let parts = std::thread::available_parallelism().map_or(1, usize::from);
        let options = |part| Options {
            file_name: self.file_name.clone(),
            every: self.every,
            part: (part, parts),
            failures: self.failures,
            ..Options::default()
        };
        std::thread::scope(|scope| {
            let part = |part| scope.spawn(move || measure(samples, &options(part)));
            let threads: Vec<_> = (0..parts).map(part).collect();
            // A thread that panicked has said so; the others' part of the table would be wrong without it.
            let outcomes = threads
                .into_iter()
                .map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
            outcomes.fold(Outcome::default(), Outcome::with)
        })
    }
}

fn print_times(file_name: &str, text: &str) {
    // Once for what is only made at the first use, such as a grammar's tables in memory.
    let _first = time(text, file_name, 2);
    println!("{}", time(text, file_name, TIMED).markdown(file_name, text.len()));
}

/// The samples of all files, in the files' order; the light set is made from the random spans where it is not there.
fn samples(folder: &Path) -> Result<Vec<Sample>, String> {
    let named = |error: std::io::Error| format!("--data {}: {error}", folder.display());
    let entries = std::fs::read_dir(folder).map_err(named)?;
    let mut files: Vec<PathBuf> =
        entries.filter_map(|entry| Some(entry.ok()?.path())).filter(|path| is_samples(path)).collect();
    files.sort();
    let mut samples = Vec::new();
    for file in &files {
        let text = text(file).map_err(|error| format!("{}: {error}", file.display()))?;
        samples.extend(read(&text).map_err(|why| format!("{}: {why}", file.display()))?);
    }
    if samples.is_empty() {
        return Err(format!("--data {}: no samples in *.jsonl or *.jsonl.gz", folder.display()));
    }
    if !samples.iter().any(|sample| sample.set == Set::Light) {
        samples.extend(light(&samples));
    }
    Ok(samples)
}

fn is_samples(path: &Path) -> bool {
    path.file_name()
        .and_then(|name| name.to_str())
        .is_some_and(|name| name.ends_with(".jsonl") || name.ends_with(".jsonl.gz"))
}

fn text(path: &Path) -> std::io::Result<String> {
    let file = File::open(path)?;
    let packed = path.extension().is_some_and(|extension| extension == "gz");
    let reader: Box<dyn Read> = if packed { Box::new(GzDecoder::new(file)) } else { Box::new(file) };
    let mut text = String::new();
    reader.take(LARGEST_FILE).read_to_string(&mut text)?;
    Ok(text)
}
