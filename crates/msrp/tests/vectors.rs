//! The messages of the RFCs, read, cut and written again.

use std::path::Path as File;

use parlance_msrp::{Continuation, Framer, Limits, Piece, Start, write};

/// A row of the manifest.
struct Row {
    file: String,
    id: String,
    what: String,
    byte_range: String,
    body: Option<usize>,
    flag: Option<u8>,
    remark: String,
}

fn folder() -> std::path::PathBuf {
    File::new(env!("CARGO_MANIFEST_DIR")).join("testdata")
}

fn rows() -> Vec<Row> {
    let manifest = std::fs::read_to_string(folder().join("MANIFEST.tsv")).expect("it is there");
    let mut rows = Vec::new();
    for line in manifest.lines().skip(1) {
        let mut columns = line.split('\t').map(str::to_owned);
        let mut next = || columns.next().expect("seven columns");
        let (file, id, what, byte_range) = (next(), next(), next(), next());
        let (body, flag, remark) = (next(), next(), next());
        let (body, flag) = (body.parse().ok(), flag.bytes().next());
        rows.push(Row { file, id, what, byte_range, body, flag, remark });
    }
    rows
}

fn octets(row: &Row) -> Vec<u8> {
    std::fs::read(folder().join(&row.file)).expect("it is there")
}

/// What was found in a stream: each message written again, or why there is none.
fn found(stream: &[u8], reads: usize) -> Vec<String> {
    let mut framer = Framer::new(Limits::default());
    let (mut all, mut id) = (Vec::new(), Vec::new());
    for read in stream.chunks(reads) {
        let mut at = 0;
        while let Some(piece) = framer.next(read, &mut at) {
            match piece {
                Piece::Head { head, body, end } => {
                    id = head.id().to_vec();
                    let mut out = head.raw.to_vec();
                    finish(&mut out, body, head.has_body, &id, end);
                    all.push(out);
                }
                Piece::Body { body, end } => {
                    finish(all.last_mut().expect("a head came first"), body, true, &id, end);
                }
                Piece::Malformed { error, .. } => all.push(format!("400: {error}").into_bytes()),
                Piece::Broken(error) => all.push(format!("closed: {error}").into_bytes()),
            }
        }
    }
    all.iter().map(|octets| String::from_utf8_lossy(octets).into_owned()).collect()
}

fn finish(out: &mut Vec<u8>, body: &[u8], has_body: bool, id: &[u8], end: Option<Continuation>) {
    out.extend_from_slice(body);
    match end {
        Some(end) if has_body => write::body_end(out, id, end),
        Some(end) => write::end_line(out, id, end),
        None => {}
    }
}

// Covers: MSRP-001, MSRP-002, MSRP-006
#[test]
fn what_the_manifest_says_is_found() {
    let mut read = 0;
    for row in rows() {
        let (stream, name) = (octets(&row), &row.file);
        let (mut framer, mut at) = (Framer::new(Limits::default()), 0);
        let piece = framer.next(&stream, &mut at);
        // The one reason to refuse one: two chunks of RFC 4975 §5.1 are printed without paths.
        if row.remark.contains("no-From-Path") {
            assert!(matches!(piece, Some(Piece::Broken(_))), "{name}: {piece:?}");
            continue;
        }
        let Some(Piece::Head { head, body, end }) = piece else { panic!("{name}: {piece:?}") };
        assert_eq!(head.id(), row.id.as_bytes(), "{name}");
        match head.start {
            Start::Request { method, .. } => assert_eq!(method.as_bytes(), row.what.as_bytes()),
            Start::Response { code, comment, .. } => {
                assert_eq!(format!("{code} {}", String::from_utf8_lossy(comment)), row.what);
            }
        }
        let range = head.byte_range.map(|range| range.to_string()).unwrap_or_default();
        assert_eq!(range, row.byte_range, "{name}");
        // What `Byte-Range` says of a body does not count, so the misprinted are read as well.
        assert_eq!(head.has_body.then_some(body.len()), row.body, "{name}");
        assert_eq!(end.map(Continuation::octet), row.flag, "{name}");
        assert_eq!(at, stream.len(), "{name}");
        read += 1;
    }
    assert_eq!(read, 77);
}

#[test]
fn what_is_written_again_is_the_same() {
    for row in rows().iter().filter(|row| !row.remark.contains("no-From-Path")) {
        let stream = octets(row);
        assert_eq!(found(&stream, usize::MAX), [String::from_utf8_lossy(&stream)], "{}", row.file);
    }
}

/// The writer makes the octets of the RFC of the start line, the paths and the other headers.
#[test]
fn our_writer_writes_them() {
    for row in rows().iter().filter(|row| !row.remark.contains("no-From-Path")) {
        let stream = octets(row);
        let (mut framer, mut at, mut out) = (Framer::new(Limits::default()), 0, Vec::new());
        let Some(Piece::Head { head, body, end }) = framer.next(&stream, &mut at) else {
            panic!("{}", row.file)
        };
        let (to, from) = (head.to_path.as_bytes(), head.from_path.as_bytes());
        match head.start {
            Start::Request { id, method } => {
                write::request(&mut out, id, method, to, from);
                for line in head.lines() {
                    let name = std::str::from_utf8(line.name).expect("it is a token");
                    write::header(&mut out, name, line.value);
                }
                if head.has_body {
                    out.extend_from_slice(b"\r\n");
                }
                finish(&mut out, body, head.has_body, id, end);
            }
            Start::Response { id, code, comment } => {
                write::response(&mut out, id, code, to, from, head.rest);
                if write::comment(code).map(str::as_bytes) != Some(comment) {
                    continue;
                }
            }
        }
        // RFC 7977 prints two spaces here and there.
        let printed = String::from_utf8_lossy(&stream).replace(":  ", ": ");
        assert_eq!(String::from_utf8_lossy(&out), printed);
    }
}

// Covers: MSRP-002
#[test]
fn every_cut_of_every_message_gives_the_same() {
    for row in rows() {
        let stream = octets(&row);
        let expected = found(&stream, usize::MAX);
        assert_eq!(found(&stream, 1), expected, "{}", row.file);
        for first in 1..stream.len() {
            // One cut: the second read is the rest.
            let mut framer = Framer::new(Limits::default());
            let mut ends = 0;
            for read in [&stream[..first], &stream[first..]] {
                let mut at = 0;
                while let Some(piece) = framer.next(read, &mut at) {
                    ends += match piece {
                        Piece::Head { end, .. } | Piece::Body { end, .. } => {
                            usize::from(end.is_some())
                        }
                        Piece::Malformed { .. } | Piece::Broken(_) => 1,
                    };
                }
            }
            assert_eq!(ends, 1, "{} cut at {first}", row.file);
        }
        for reads in [2, 3, 7, 16, 31, 44, 45, 64] {
            assert_eq!(found(&stream, reads), expected, "{} in reads of {reads}", row.file);
        }
    }
}

#[test]
fn all_of_them_in_one_stream() {
    let mut stream = Vec::new();
    let mut count = 0;
    for row in rows().iter().filter(|row| !row.remark.contains("no-From-Path")) {
        stream.extend(octets(row));
        count += 1;
    }
    let expected = found(&stream, usize::MAX);
    assert_eq!(expected.len(), count);
    assert_eq!(expected.concat().as_bytes(), stream);
    for reads in [1, 5, 1000, 1460, 4096] {
        assert_eq!(found(&stream, reads), expected);
    }
}
