//! What a person sees while something runs: one line per step with the seconds it has taken.
//!
//! On a terminal the line is redrawn while the step runs; elsewhere a step prints its start, a line every
//! half minute, and its end.

use std::io::{IsTerminal, Write};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Result;

const REDRAW: Duration = Duration::from_millis(200);
const HEARTBEAT: Duration = Duration::from_secs(30);

/// Runs one step under a title and reports how it ended.
///
/// # Errors
/// The step's own error, after its line was printed.
pub fn step<T>(title: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let started = Instant::now();
    let ticker = Ticker::start(title.to_owned(), started);
    let result = work();
    ticker.stop();
    let mark = if result.is_ok() { "ok  " } else { "FAIL" };
    say(&format!("  {mark} {:>6.1}s  {title}", started.elapsed().as_secs_f64()));
    result
}

/// Prints one line for the person.
pub fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    // A reader that has gone away must not stop the clean-up that is being reported to it.
    let _ = writeln!(out, "{line}");
    let _ = out.flush();
}

struct Ticker {
    done: Sender<()>,
    thread: JoinHandle<()>,
}

impl Ticker {
    fn start(title: String, started: Instant) -> Self {
        let (done, ended) = mpsc::channel::<()>();
        let thread = std::thread::spawn(move || {
            let terminal = std::io::stdout().is_terminal();
            if !terminal {
                say(&format!("  ...           {title}"));
            }
            let period = if terminal { REDRAW } else { HEARTBEAT };
            while ended.recv_timeout(period) == Err(RecvTimeoutError::Timeout) {
                draw(&title, started, terminal);
            }
            if terminal {
                print!("\r\x1b[K");
                let _ = std::io::stdout().flush();
            }
        });
        Self { done, thread }
    }

    fn stop(self) {
        drop(self.done);
        let _ = self.thread.join();
    }
}

fn draw(title: &str, started: Instant, terminal: bool) {
    let line = format!("  ... {:>7.1}s  {title}", started.elapsed().as_secs_f64());
    if terminal {
        print!("\r\x1b[K{line}");
        let _ = std::io::stdout().flush();
    } else {
        say(&line);
    }
}
