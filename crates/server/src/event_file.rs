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
//! | `traffic` | of an anchored session that has ended: messages and octets, sent and received |
//!
//! A session begins with `started`; `modified` and `ended` follow, the latter with the status code
//! that says why. A proxied one has those only while it counts towards `sessions_max`, and none
//! when nobody says that it is over; one with a conference of this server is not said to be
//! `modified`, and its `traffic` is not known.

use std::fmt;
use std::io;
use std::path::Path;

use parlance_isc::SessionCase;
use parlance_participating::{Ended, Event, EventSink, Step, Traffic};
use parlance_sip::HeaderName;
use parlance_sip::header::{PChargingVector, Privacy, PrivacyValue};
use serde::Serialize;

use crate::line_file::LineFile;

/// The file. Cheap to clone: each shard has it.
#[derive(Clone)]
pub struct EventFile(LineFile);

impl EventFile {
    /// Opens `path` to add lines to it, of which `lines_max` may wait.
    ///
    /// # Errors
    /// The file cannot be opened, or there is no thread to be had.
    pub fn open(path: &Path, lines_max: usize) -> io::Result<Self> {
        let lost = metrics::counter!("parlance_event_lines_lost_total");
        LineFile::open("events", path, lines_max, lost).map(Self)
    }

    /// The file below.
    pub fn lines(&self) -> &LineFile {
        &self.0
    }
}

impl EventSink for EventFile {
    fn record(&self, event: &Event<'_>) {
        self.0.add(&Line::of(event));
    }
}

impl fmt::Debug for EventFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventFile").finish_non_exhaustive()
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
    #[serde(skip_serializing_if = "Option::is_none")]
    traffic: Option<Volumes>,
}

/// What has passed in a session.
#[derive(Serialize)]
struct Volumes {
    messages_sent: u64,
    octets_sent: u64,
    messages_received: u64,
    octets_received: u64,
}

impl Volumes {
    fn of(traffic: &Traffic) -> Self {
        let Traffic { sent, received } = traffic;
        Self {
            messages_sent: sent.messages,
            octets_sent: sent.octets,
            messages_received: received.messages,
            octets_received: received.octets,
        }
    }
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
            traffic: match event.step {
                Step::Ended(Ended { traffic, .. }) => traffic.as_ref().map(Volumes::of),
                _ => None,
            },
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
        Step::Started => ("started", None),
        Step::Modified => ("modified", None),
        Step::Ended(Ended { cause, .. }) => ("ended", Some(cause.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use parlance_isc::Cause;
    use parlance_participating::Volume;
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
        file.lines().close();
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

    // Covers: PF-096, PF-037
    #[test]
    fn the_end_of_a_session_says_what_has_passed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("events");
        let file = EventFile::open(&path, 16).unwrap();
        record(&file, Step::Started);
        record(&file, Step::Modified);
        let sent = Volume { messages: 3, octets: 40 };
        let received = Volume { messages: 1, octets: 5 };
        let traffic = Some(Traffic { sent, received });
        record(&file, Step::Ended(Ended { cause: 408, traffic }));
        record(&file, Step::Ended(Ended { cause: 200, traffic: None }));
        file.lines().close();
        let written = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<_> = written.lines().collect();
        assert!(lines[0].contains("\"step\":\"started\"") && lines[1].contains("\"modified\""));
        assert!(lines[2].contains("\"step\":\"ended\",\"detail\":\"408\""), "{}", lines[2]);
        let traffic = "\"traffic\":{\"messages_sent\":3,\"octets_sent\":40,\
                       \"messages_received\":1,\"octets_received\":5}}";
        assert!(lines[2].ends_with(traffic), "{}", lines[2]);
        assert!(lines[3].contains("\"detail\":\"200\"") && !lines[3].contains("traffic"));
    }

    #[test]
    fn a_renamed_file_is_left_behind() {
        let directory = tempfile::tempdir().unwrap();
        let (path, old) = (directory.path().join("events"), directory.path().join("events.1"));
        let file = EventFile::open(&path, 16).unwrap();
        record(&file, Step::Received);
        std::fs::rename(&path, &old).unwrap();
        file.lines().reopen();
        record(&file, Step::Answered(200));
        file.lines().close();
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
