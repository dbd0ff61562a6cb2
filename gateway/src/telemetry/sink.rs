//! Lines on their way to a file or a standard stream. A bounded queue and a thread of its own stand between, so that a
//! full pipe or disk delays no request: what finds no room is dropped and counted.

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// Lines that may wait.
const QUEUE: usize = 16 * 1024;
/// Lines are written together: a thread that is woken for each of them costs more than making the line.
const GATHER: Duration = Duration::from_millis(5);
/// How often the file's name is looked at, and how long flushing waits.
const LOOK: Duration = Duration::from_secs(1);
const FLUSH: Duration = Duration::from_secs(5);
/// Only the user that runs the gateway reads what it writes, unless the file was made beforehand.
const MODE: u32 = 0o600;

/// How often somebody asked for files to be opened anew.
static REOPEN: AtomicU64 = AtomicU64::new(0);

/// Opens every file anew, as after a SIGHUP.
pub fn reopen() {
    REOPEN.fetch_add(1, Ordering::Relaxed);
}

/// Where lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// Standard error.
    Stderr,
    /// Standard output.
    Stdout,
    /// A file, appended to and opened anew when its name leads elsewhere.
    File(PathBuf),
}

/// What can be made into a line; done by the sink's own thread.
pub trait Line: Send + Sync {
    /// Appends the line, with its end.
    fn append(&self, to: &mut Vec<u8>);
}

impl Line for Vec<u8> {
    fn append(&self, to: &mut Vec<u8>) {
        to.extend_from_slice(self);
    }
}

enum Item {
    Line(Box<dyn Line>),
    Flush(SyncSender<()>),
}

/// A way in.
#[derive(Clone)]
pub struct Sink {
    queue: SyncSender<Item>,
    dropped: Arc<AtomicU64>,
}

impl Sink {
    /// Opens the destination and starts its thread.
    ///
    /// # Errors
    /// When the file cannot be opened or the thread not be started.
    pub fn open(destination: &Destination) -> std::io::Result<Self> {
        let writer = Writer::open(destination)?;
        let (queue, lines) = sync_channel(QUEUE);
        std::thread::Builder::new().name("log".into()).spawn(move || writer.run(&lines))?;
        Ok(Self { queue, dropped: Arc::default() })
    }

    /// Hands a line over; never waits.
    pub fn send(&self, line: impl Line + 'static) {
        if self.queue.try_send(Item::Line(Box::new(line))).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Lines dropped since this was last asked.
    #[must_use]
    pub fn take_dropped(&self) -> u64 {
        self.dropped.swap(0, Ordering::Relaxed)
    }

    /// Waits, for a limited time, until what was handed over is written.
    pub fn flush(&self) {
        let (done, written) = sync_channel(1);
        if self.queue.try_send(Item::Flush(done)).is_ok() {
            // A writer that is stuck does not keep the process from ending.
            let _stuck = written.recv_timeout(FLUSH);
        }
    }
}

struct Writer {
    to: Box<dyn Write + Send>,
    file: Option<(PathBuf, (u64, u64))>,
    reopened: u64,
}

impl Writer {
    fn open(destination: &Destination) -> std::io::Result<Self> {
        let reopened = REOPEN.load(Ordering::Relaxed);
        let (to, file): (Box<dyn Write + Send>, _) = match destination {
            Destination::Stderr => (Box::new(BufWriter::new(std::io::stderr())), None),
            Destination::Stdout => (Box::new(BufWriter::new(std::io::stdout())), None),
            Destination::File(path) => {
                let file = append_to(path)?;
                let id = identity(&file.metadata()?);
                (Box::new(BufWriter::new(file)), Some((path.clone(), id)))
            }
        };
        Ok(Self { to, file, reopened })
    }

    fn run(mut self, lines: &Receiver<Item>) {
        let mut text = Vec::new();
        loop {
            match lines.recv_timeout(LOOK) {
                Ok(item) => {
                    self.follow_rotation();
                    if matches!(item, Item::Line(_)) {
                        std::thread::sleep(GATHER);
                    }
                    // Whoever waited for a flush may move the file at once: what follows is looked at anew.
                    let mut is_flushed = matches!(item, Item::Flush(_));
                    self.take(item, &mut text);
                    while !is_flushed && let Ok(item) = lines.try_recv() {
                        is_flushed = matches!(item, Item::Flush(_));
                        self.take(item, &mut text);
                    }
                    // A full disk or a closed pipe: there is no other place to tell it.
                    let _lost = self.to.flush();
                }
                Err(RecvTimeoutError::Timeout) => self.follow_rotation(),
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn take(&mut self, item: Item, text: &mut Vec<u8>) {
        match item {
            Item::Line(line) => {
                text.clear();
                line.append(text);
                let _lost = self.to.write_all(text);
            }
            Item::Flush(done) => {
                let _lost = self.to.flush();
                // Nobody waits any more when this fails.
                let _gone = done.send(());
            }
        }
    }

    /// Opens the file anew when its name leads to another one, as after a rotation, or when asked to.
    fn follow_rotation(&mut self) {
        let Some((path, id)) = &mut self.file else { return };
        let asked = REOPEN.load(Ordering::Relaxed);
        let now = std::fs::metadata(&*path).ok().map(|kind| identity(&kind));
        if now == Some(*id) && asked == self.reopened {
            return;
        }
        self.reopened = asked;
        let _lost = self.to.flush();
        if let Ok(file) = append_to(path)
            && let Ok(kind) = file.metadata()
        {
            *id = identity(&kind);
            self.to = Box::new(BufWriter::new(file));
        }
    }
}

fn append_to(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(MODE).open(path)
}

fn identity(kind: &std::fs::Metadata) -> (u64, u64) {
    (kind.dev(), kind.ino())
}

/// The process's log; absent in tests that start none.
pub(super) static LOG: OnceLock<Sink> = OnceLock::new();

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> Vec<u8> {
        format!("{text}\n").into_bytes()
    }

    #[test]
    fn a_file_that_was_moved_away_is_begun_anew() {
        let folder = tempfile::tempdir().unwrap();
        let (path, moved) = (folder.path().join("log"), folder.path().join("log.1"));
        let sink = Sink::open(&Destination::File(path.clone())).unwrap();
        sink.send(line("one"));
        sink.flush();
        std::fs::rename(&path, &moved).unwrap();
        sink.send(line("two"));
        sink.flush();
        assert_eq!(std::fs::read_to_string(&moved).unwrap(), "one\n");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "two\n");
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, MODE);
    }

    #[test]
    fn lines_that_find_no_room_are_dropped_and_counted_and_nobody_waits() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        // A reader that never reads: the pipe fills and its writer stands still.
        let reader = OpenOptions::new().read(true).write(true).open(&pipe).unwrap();
        let sink = Sink::open(&Destination::File(pipe)).unwrap();
        for _ in 0..3 * QUEUE {
            sink.send(line(&"x".repeat(100)));
        }
        let dropped = sink.take_dropped();
        assert!(dropped > 0 && dropped < 3 * QUEUE as u64, "{dropped}");
        assert_eq!(sink.take_dropped(), 0);
        drop(reader);
    }
}
