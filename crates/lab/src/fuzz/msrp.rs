//! The readers of MSRP.

use parlance_msrp::header::success_report;
use parlance_msrp::header::{ByteRange, Expires, FailureReport, Status, UseNickname};
use parlance_msrp::{
    Continuation, Framer, Head, Limits, MsrpUri, Path, Piece, TransactionId, path, write,
};

/// What a stream said: the messages in it, and what could not be read.
#[derive(Debug, PartialEq, Eq)]
enum Said {
    Message { raw: Vec<u8>, body: Vec<u8>, end: Option<Continuation> },
    Malformed(String),
    Broken(String),
}

fn said(framer: &mut Framer, read: &[u8], said: &mut Vec<Said>) {
    let mut at = 0;
    while let Some(piece) = framer.next(read, &mut at) {
        match piece {
            Piece::Head { head, body, end } => {
                examine(&head);
                said.push(Said::Message { raw: head.raw.to_vec(), body: body.to_vec(), end });
            }
            Piece::Body { body: more, end: flag } => match said.last_mut() {
                Some(Said::Message { body, end, .. }) => {
                    body.extend_from_slice(more);
                    *end = flag;
                }
                other => assert!(other.is_some(), "body without a head"),
            },
            Piece::Malformed { error, .. } => said.push(Said::Malformed(error.to_string())),
            Piece::Broken(error) => said.push(Said::Broken(error.to_string())),
        }
    }
    assert_eq!(at, read.len(), "octets were left");
}

/// A head says what its octets say.
fn examine(head: &Head<'_>) {
    let lines: usize = head.lines().map(|line| line.octets.len()).sum();
    assert_eq!(lines, head.rest.len(), "a header was lost");
    assert!(head.raw.len() > head.rest.len() + head.from_path.as_bytes().len());
    assert_eq!(TransactionId::check(head.id()), Ok(()));
    assert!(!head.to_path.is_empty() && !head.from_path.is_empty());
}

/// However a stream is cut, it says the same; and what was said can be written and read again.
pub(super) fn framer(input: &[u8]) -> usize {
    let mut expected = Vec::new();
    said(&mut Framer::new(Limits::default()), input, &mut expected);
    let sum = input.iter().fold(0_usize, |sum, octet| sum.wrapping_add(usize::from(*octet)));
    let mut cut = Framer::new(Limits::default());
    let mut found = Vec::new();
    for read in input.chunks(1 + sum % 97) {
        said(&mut cut, read, &mut found);
    }
    assert_eq!(found, expected, "the cuts changed what was said");
    found.len()
}

/// A URI, alone and as a path.
pub(super) fn uri(input: &[u8]) -> usize {
    let path = Path::new(input);
    let uris: Vec<_> = path.iter().collect();
    assert_eq!(path.is_single(), uris.len() == 1);
    assert_eq!(path.first(), uris.first().copied().unwrap_or_default());
    let mut items = uris.len().min(1);
    for octets in uris {
        let Ok(uri) = MsrpUri::parse(octets) else { continue };
        let parts = uri.parts();
        assert_eq!(path::session_id(octets), parts.session_id.map(str::as_bytes));
        assert!(uri.matches(octets) && uri.equivalent(&uri), "a URI differs from itself");
        assert_eq!(uri.to_string().as_bytes(), octets);
        items += 1;
    }
    items
}

/// Each typed header, on the input as its value; what was read is written and read again.
pub(super) fn headers(value: &[u8]) -> usize {
    let mut items = 0;
    if let Ok(range) = ByteRange::parse(value) {
        let mut line = Vec::new();
        write::byte_range(&mut line, range);
        let again = line.strip_prefix(b"Byte-Range: ").map(<[u8]>::trim_ascii);
        assert_eq!(again.map(ByteRange::parse), Some(Ok(range)));
        items += 1;
    }
    if let Ok(nickname) = UseNickname::parse(value) {
        assert_eq!(UseNickname::parse(nickname.to_string().as_bytes()), Ok(nickname));
        items += 1;
    }
    if let Ok(expires) = Expires::parse(value) {
        assert_eq!(Expires::parse(expires.to_string().as_bytes()), Ok(expires));
        items += 1;
    }
    items += usize::from(Status::parse(value).is_ok());
    items += usize::from(FailureReport::parse(value).is_ok());
    items += usize::from(success_report(value).is_ok());
    items += usize::from(TransactionId::check(value).is_ok());
    items + usize::from(TransactionId::parse(value).is_some())
}
