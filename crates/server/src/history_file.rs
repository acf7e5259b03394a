//! The conversation history of users, as lines of JSON in a file
//! (OMA-TS-SIMPLE_IM §7.2.2.4, §7.2.3.16).
//!
//! Each line is one message:
//!
//! | key | value |
//! |---|---|
//! | `at` | when it was delivered, or has passed, in milliseconds since 1970 |
//! | `user` | whose history it is for |
//! | `mode` | `pager`, `large` or `session` |
//! | `direction` | `sent` or `received` |
//! | `from`, `to` | From and Request-URI of the MESSAGE or INVITE, as the user knows them |
//! | `call_id`, `subject` | of the same |
//! | `content_type` | the type of the body |
//! | `text` or `hex` | the body: as it is, or in hexadecimal digits when it is no UTF-8 |

use std::fmt;
use std::io;
use std::path::Path;

use data_encoding::HEXLOWER;
use parlance_isc::Mode;
use parlance_participating::{History, Message};
use parlance_sip::HeaderName;
use parlance_sip::header::From;
use serde::Serialize;

use crate::line_file::LineFile;

/// The file. Cheap to clone: each shard has it.
#[derive(Clone)]
pub struct HistoryFile(LineFile);

impl HistoryFile {
    /// Opens `path` to add lines to it, of which `lines_max` may wait.
    ///
    /// # Errors
    /// The file cannot be opened, or there is no thread to be had.
    pub fn open(path: &Path, lines_max: usize) -> io::Result<Self> {
        let lost = metrics::counter!("parlance_history_messages_lost_total");
        LineFile::open("history", path, lines_max, lost).map(Self)
    }

    /// The file below.
    pub fn lines(&self) -> &LineFile {
        &self.0
    }
}

impl History for HistoryFile {
    fn keep(&self, message: &Message<'_>) {
        self.0.add(&Line::of(message));
    }
}

impl fmt::Debug for HistoryFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HistoryFile").finish_non_exhaustive()
    }
}

/// One line.
#[derive(Serialize)]
struct Line<'a> {
    at: u64,
    user: &'a str,
    mode: &'static str,
    direction: &'static str,
    from: String,
    to: String,
    call_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
    content_type: &'a str,
    #[serde(flatten)]
    body: Body<'a>,
}

/// A body.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
enum Body<'a> {
    Text(&'a str),
    Hex(String),
}

impl<'a> Line<'a> {
    fn of(message: &Message<'a>) -> Self {
        let request = message.request;
        let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
        let from = request.header::<From<'_>>().ok().flatten();
        Self {
            at: message.at.0,
            user: message.user.as_str(),
            mode: match message.mode {
                Mode::PagerMode => "pager",
                Mode::LargeMessageMode => "large",
                Mode::SessionMode => "session",
            },
            direction: if message.is_sent { "sent" } else { "received" },
            from: from.map(|from| from.uri().to_string()).unwrap_or_default(),
            to: text(request.uri_text()),
            call_id: text(request.call_id()),
            subject: request.field(HeaderName::Subject).map(text),
            content_type: message.content_type,
            body: match std::str::from_utf8(message.body) {
                Ok(body) => Body::Text(body),
                Err(_) => Body::Hex(HEXLOWER.encode(message.body)),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use parlance_sip::message::Limits;
    use parlance_sip::{Message as SipMessage, Request};
    use parlance_store::{Millis, UserId};

    use super::*;

    // Covers: PF-023
    #[test]
    fn each_message_is_a_line() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("history");
        let file = HistoryFile::open(&path, 16).unwrap();
        let text = "MESSAGE sip:bob@ims.test SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\n\
                    From: \"A\" <sip:alice@ims.test>;tag=1\r\nTo: <sip:bob@ims.test>\r\n\
                    Call-ID: c1\r\nCSeq: 7 MESSAGE\r\nSubject: Lunch\r\n\r\n";
        let request =
            SipMessage::parse_datagram(Bytes::from_static(text.as_bytes()), &Limits::default());
        let request = Request::new(request.unwrap()).unwrap();
        let user = UserId::from("sip:bob@ims.test");
        for (body, is_sent, mode) in
            [(&b"h\"i"[..], false, Mode::PagerMode), (&[0, 255], true, Mode::SessionMode)]
        {
            let (at, content_type) = (Millis(5), "text/plain");
            let (user, request) = (&user, &request);
            file.keep(&Message { at, user, mode, is_sent, request, content_type, body });
        }
        file.lines().close();
        let rest = "\"from\":\"sip:alice@ims.test\",\"to\":\"sip:bob@ims.test\",\
                    \"call_id\":\"c1\",\"subject\":\"Lunch\",\"content_type\":\"text/plain\"";
        let expected = format!(
            "{{\"at\":5,\"user\":\"sip:bob@ims.test\",\"mode\":\"pager\",\
             \"direction\":\"received\",{rest},\"text\":\"h\\\"i\"}}\n\
             {{\"at\":5,\"user\":\"sip:bob@ims.test\",\"mode\":\"session\",\
             \"direction\":\"sent\",{rest},\"hex\":\"00ff\"}}\n"
        );
        assert_eq!(std::fs::read_to_string(&path).unwrap(), expected);
    }
}
