//! REPORT requests: what became of a message (RFC 4975 §7.1.2 to §7.1.4, §7.3.2).

use crate::header::{ByteRange, Status};
use crate::session::Session;
use crate::{Continuation, Head, Method, Outbound, write};

/// What a REPORT says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Report<'a> {
    /// The message.
    pub(crate) message_id: &'a [u8],
    /// Which octets of it.
    pub(crate) range: Option<ByteRange>,
    /// What became of them, as in a response.
    pub(crate) code: u16,
}

impl<'a> Report<'a> {
    /// What a REPORT with `head` says; `None` when it has no Message-ID or Status, or a status of
    /// another namespace than `000`, of which nothing is known.
    pub(crate) fn read(head: &Head<'a>) -> Option<Self> {
        let Status { namespace: 0, code, .. } = head.status()? else { return None };
        Some(Self { message_id: head.message_id?, range: head.byte_range, code })
    }

    /// Writes it as a REPORT in `session`, to the whole path of the peer.
    pub(crate) fn write(&self, out: &mut Outbound, id: &[u8], session: &Session) {
        let comment = write::comment(self.code).unwrap_or_default().as_bytes();
        let out = out.tail();
        let method = Method::Report.as_bytes();
        for part in [b"MSRP ", id, b" ", method, session.request_paths()] {
            out.extend_from_slice(part);
        }
        write::header(out, "Message-ID", self.message_id);
        if let Some(range) = self.range {
            write::byte_range(out, range);
        }
        let status = Status { namespace: 0, code: self.code, comment };
        write::header(out, "Status", status.to_string().as_bytes());
        write::end_line(out, id, Continuation::Last);
    }
}
