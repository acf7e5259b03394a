//! A file of lines of JSON that other threads add to.
//!
//! Lines wait in a queue for a thread of their own, so that no request waits for the disk. When the
//! queue is full, or the disk refuses a line, it is lost and counted.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use metrics::Counter;
use serde::Serialize;

/// Lines written together at most, and the octets after which no more are added.
const BATCH: usize = 1024;
const BATCH_OCTETS: usize = 1 << 20;

/// Octets of lines that may wait, whatever their number: 64 MiB. Local limit.
const WAITING_OCTETS_MAX: usize = 64 << 20;

/// The file. Cheap to clone: each shard has it.
#[derive(Clone)]
pub struct LineFile(Arc<Shared>);

struct Shared {
    queue: SyncSender<Told>,
    waiting: Arc<AtomicUsize>,
    lost: Counter,
    writer: Mutex<Option<JoinHandle<()>>>,
}

/// What the writer is told.
enum Told {
    Line(Vec<u8>),
    /// The file was renamed: a new one begins.
    Reopen,
    End,
}

impl LineFile {
    /// Opens `path` to add lines to it, of which `lines_max` may wait, and no more than 64 MiB;
    /// `name` is that of its thread. What is lost is counted in `lost`.
    ///
    /// # Errors
    /// The file cannot be opened, or there is no thread to be had.
    pub fn open(name: &str, path: &Path, lines_max: usize, lost: Counter) -> io::Result<Self> {
        let file = append_to(path)?;
        let (queue, told) = sync_channel(lines_max.max(1));
        let waiting = Arc::new(AtomicUsize::new(0));
        let (path, counted) = (path.to_owned(), Arc::clone(&waiting));
        let writer = Writer { path, file, waiting: counted, lost: lost.clone() };
        let thread = std::thread::Builder::new().name(name.to_owned());
        let thread = thread.spawn(move || writer.run(&told))?;
        Ok(Self(Arc::new(Shared { queue, waiting, lost, writer: Mutex::new(Some(thread)) })))
    }

    /// Adds a line.
    pub fn add(&self, line: &impl Serialize) {
        let Shared { queue, waiting, lost, .. } = &*self.0;
        let Ok(mut line) = serde_json::to_vec(line) else { return };
        line.push(b'\n');
        let octets = line.len();
        let before = waiting.fetch_add(octets, Ordering::Relaxed);
        let fits = before.saturating_add(octets) <= WAITING_OCTETS_MAX;
        if !fits || queue.try_send(Told::Line(line)).is_err() {
            waiting.fetch_sub(octets, Ordering::Relaxed);
            lost.increment(1);
        }
    }

    /// Goes on in a file of the same name, after the old one was renamed.
    pub fn reopen(&self) {
        // A writer that is gone has said so in the log.
        let _ = self.0.queue.send(Told::Reopen);
    }

    /// Writes what waits and closes the file. What comes later is lost and counted.
    pub fn close(&self) {
        self.0.close();
    }
}

impl Shared {
    fn close(&self) {
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(writer) = writer {
            let _ = self.queue.send(Told::End);
            let _ = writer.join();
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.close();
    }
}

impl fmt::Debug for LineFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LineFile").finish_non_exhaustive()
    }
}

fn append_to(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    // It names users: nobody but the owner reads it.
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}

/// The thread that writes.
struct Writer {
    path: PathBuf,
    file: File,
    waiting: Arc<AtomicUsize>,
    lost: Counter,
}

impl Writer {
    fn run(mut self, told: &Receiver<Told>) {
        let mut lines = Vec::new();
        let mut count = 0;
        while let Ok(first) = told.recv() {
            let mut next = Some(first);
            while let Some(Told::Line(line)) = next {
                lines.extend_from_slice(&line);
                count += 1;
                let goes_on = count < BATCH && lines.len() < BATCH_OCTETS;
                next = if goes_on { told.try_recv().ok() } else { None };
            }
            self.write(&mut lines, &mut count);
            match next {
                Some(Told::Reopen) => self.reopen(),
                Some(Told::End) => return self.sync(),
                Some(Told::Line(_)) | None => {}
            }
        }
        self.sync();
    }

    fn write(&mut self, lines: &mut Vec<u8>, count: &mut usize) {
        if let Err(error) = self.file.write_all(lines) {
            tracing::error!(%error, path = %self.path.display(), lines = *count, "lines are lost");
            self.lost.increment(*count as u64);
        }
        self.waiting.fetch_sub(lines.len(), Ordering::Relaxed);
        lines.clear();
        lines.shrink_to(BATCH_OCTETS);
        *count = 0;
    }

    fn reopen(&mut self) {
        match append_to(&self.path) {
            Ok(file) => self.file = file,
            Err(error) => {
                tracing::error!(%error, path = %self.path.display(), "not opened again");
            }
        }
    }

    fn sync(&self) {
        if let Err(error) = self.file.sync_all() {
            let path = self.path.display();
            tracing::error!(%error, %path, "lines may not be on the disk");
        }
    }
}

#[cfg(test)]
mod tests {
    use metrics::Counter;

    use super::{LineFile, WAITING_OCTETS_MAX};

    #[test]
    fn what_waits_is_bounded_in_octets_too() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lines");
        let file = LineFile::open("lines", &path, 16, Counter::noop()).unwrap();
        file.add(&"x".repeat(WAITING_OCTETS_MAX));
        file.add(&"fits");
        file.close();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "\"fits\"\n");
    }
}
