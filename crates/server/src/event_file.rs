//! What happens to messages and sessions, as lines of JSON in a file: for charging, for lawful
//! interception, and to trace who sent what (OMA-AD-SIMPLE_IM §5.3.2.3.1, Appendix B).
//!
//! Each line is one object:
//!
//! | key | value |
//! |---|---|
//! | `at` | when, in milliseconds since 1970 |
//! | `step`, `detail` | what happened, and the status or reason if there is one |
//! | `side` | `orig` or `term`: whether the user sends or receives |
//! | `user` | the served user |
//! | `method`, `to`, `call_id`, `cseq` | the request |
//! | `asserted` | who sent it, as the core says (P-Asserted-Identity) |
//! | `private` | whether he asked for privacy; this file names him all the same |
//! | `icid` | the charging identifier (P-Charging-Vector) |
//! | `octets` | the length of the body |
//!
//! Lines wait in a queue for a thread of their own, so that no request waits for the disk. When the
//! queue is full, or the disk refuses a line, it is lost and counted in
//! `parlance_event_lines_lost_total`.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use metrics::{Counter, counter};
use parlance_isc::SessionCase;
use parlance_participating::{Event, EventSink, Step};
use parlance_sip::HeaderName;
use parlance_sip::header::{PChargingVector, Privacy, PrivacyValue};
use serde::Serialize;

/// Lines written together at most.
const BATCH: usize = 1024;

/// The file. Cheap to clone: each shard has it.
#[derive(Clone)]
pub struct EventFile(Arc<Shared>);

struct Shared {
    queue: SyncSender<Told>,
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

impl EventFile {
    /// Opens `path` to add lines to it, of which `lines_max` may wait.
    ///
    /// # Errors
    /// The file cannot be opened, or there is no thread to be had.
    pub fn open(path: &Path, lines_max: usize) -> io::Result<Self> {
        let file = append_to(path)?;
        let (queue, told) = sync_channel(lines_max.max(1));
        let lost = counter!("parlance_event_lines_lost_total");
        let writer = Writer { path: path.to_owned(), file, lost: lost.clone() };
        let thread = std::thread::Builder::new().name("events".to_owned());
        let thread = thread.spawn(move || writer.run(&told))?;
        Ok(Self(Arc::new(Shared { queue, lost, writer: Mutex::new(Some(thread)) })))
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

impl EventSink for EventFile {
    fn record(&self, event: &Event<'_>) {
        let Ok(mut line) = serde_json::to_vec(&Line::of(event)) else { return };
        line.push(b'\n');
        if self.0.queue.try_send(Told::Line(line)).is_err() {
            self.0.lost.increment(1);
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.close();
    }
}

impl fmt::Debug for EventFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventFile").finish_non_exhaustive()
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
                next = if count < BATCH { told.try_recv().ok() } else { None };
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
            tracing::error!(%error, lines = *count, "events cannot be written");
            self.lost.increment(*count as u64);
        }
        lines.clear();
        *count = 0;
    }

    fn reopen(&mut self) {
        match append_to(&self.path) {
            Ok(file) => self.file = file,
            Err(error) => tracing::error!(%error, "the file of events is not opened again"),
        }
    }

    fn sync(&self) {
        if let Err(error) = self.file.sync_all() {
            tracing::error!(%error, "events may not be on the disk");
        }
    }
}

/// One line.
#[derive(Serialize)]
struct Line<'a> {
    at: u64,
    step: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    side: &'static str,
    user: &'a str,
    method: String,
    to: String,
    call_id: String,
    cseq: u32,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    asserted: Vec<String>,
    private: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    icid: Option<String>,
    octets: usize,
}

impl<'a> Line<'a> {
    fn of(event: &Event<'a>) -> Self {
        let request = event.request;
        let (step, detail) = told(event.step);
        let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
        let privacy = request.header::<Privacy<'_>>().ok().flatten();
        let vector = request.header::<PChargingVector<'_>>().ok().flatten();
        Self {
            at: event.at.0,
            step,
            detail,
            side: match event.case {
                SessionCase::Originating => "orig",
                SessionCase::Terminating => "term",
            },
            user: event.user.as_str(),
            method: text(request.method().as_str().as_bytes()),
            to: text(request.uri_text()),
            call_id: text(request.call_id()),
            cseq: request.cseq().map_or(0, |cseq| cseq.number),
            asserted: request.values(HeaderName::PAssertedIdentity).map(text).collect(),
            private: privacy.is_some_and(|privacy| privacy.has(PrivacyValue::Id)),
            icid: vector.map(|vector| text(&vector.icid.unquoted())),
            octets: request.body().len(),
        }
    }
}

fn told(step: Step) -> (&'static str, Option<String>) {
    match step {
        Step::Received => ("received", None),
        Step::Forwarded => ("forwarded", None),
        Step::Answered(status) => ("answered", Some(status.to_string())),
        Step::Deferred(cause) => ("deferred", Some(cause.to_string())),
        Step::DeliveredLate => ("delivered-late", None),
        Step::Abandoned => ("abandoned", None),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use parlance_isc::Cause;
    use parlance_sip::message::Limits;
    use parlance_sip::{Message, Request};
    use parlance_store::{Millis, UserId};

    use super::*;

    fn request() -> Request {
        let text = "MESSAGE sip:bob@ims.test SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\n\
                    From: <sip:anonymous@anonymous.invalid>;tag=1\r\nTo: <sip:bob@ims.test>\r\n\
                    Call-ID: c\"1\r\nCSeq: 7 MESSAGE\r\nPrivacy: id\r\n\
                    P-Asserted-Identity: <sip:alice@ims.test>\r\n\
                    P-Charging-Vector: icid-value=abc;orig-ioi=x\r\n\r\nhello";
        let bytes = Bytes::from_static(text.as_bytes());
        Request::new(Message::parse_datagram(bytes, &Limits::default()).unwrap()).unwrap()
    }

    fn record(file: &EventFile, step: Step) {
        let (user, request) = (UserId::from("sip:bob@ims.test"), request());
        let (at, case) = (Millis(1000), SessionCase::Terminating);
        file.record(&Event { at, case, user: &user, request: &request, step });
    }

    // Covers: PF-096, SEC-016
    #[test]
    fn each_event_is_a_line_that_names_the_sender() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("events");
        let file = EventFile::open(&path, 16).unwrap();
        record(&file, Step::Received);
        record(&file, Step::Deferred(Cause::Unregistered));
        file.close();
        let written = std::fs::read_to_string(&path).unwrap();
        let rest = "\"side\":\"term\",\"user\":\"sip:bob@ims.test\",\"method\":\"MESSAGE\",\
                    \"to\":\"sip:bob@ims.test\",\"call_id\":\"c\\\"1\",\"cseq\":7,\
                    \"asserted\":[\"<sip:alice@ims.test>\"],\"private\":true,\"icid\":\"abc\",\
                    \"octets\":5}\n";
        let expected = format!(
            "{{\"at\":1000,\"step\":\"received\",{rest}{{\"at\":1000,\"step\":\"deferred\",\
             \"detail\":\"the recipient is not registered\",{rest}"
        );
        assert_eq!(written, expected);
    }

    #[test]
    fn a_renamed_file_is_left_behind() {
        let directory = tempfile::tempdir().unwrap();
        let (path, old) = (directory.path().join("events"), directory.path().join("events.1"));
        let file = EventFile::open(&path, 16).unwrap();
        record(&file, Step::Received);
        std::fs::rename(&path, &old).unwrap();
        file.reopen();
        record(&file, Step::Answered(200));
        file.close();
        record(&file, Step::Abandoned);
        let lines = |path| std::fs::read_to_string(path).unwrap().lines().count();
        let [before, after] = [lines(&old), lines(&path)];
        assert_eq!(before + after, 2);
        assert!(std::fs::read_to_string(&path).unwrap().contains("\"detail\":\"200\""));
    }

    #[test]
    fn a_directory_that_is_not_there_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        assert!(EventFile::open(&directory.path().join("no/events"), 1).is_err());
    }
}
