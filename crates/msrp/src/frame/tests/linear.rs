//! Whatever comes and however it is cut, each octet is looked at a bounded number of times.

use super::{PATHS, crlf, feed};
use crate::{EXAMINED, Framer, Limits};

/// How often an octet is looked at, at most and on average: four dashes have the 44 octets that may
/// be an end-line looked at.
const TIMES_MAX: usize = 20;

/// Octets looked at for `stream` in reads of `octets`.
fn looked_at(stream: &[u8], octets: usize) -> usize {
    let (mut framer, mut seen) = (Framer::new(Limits::default()), Vec::new());
    EXAMINED.set(0);
    for read in stream.chunks(octets) {
        feed(&mut framer, read, &mut seen);
    }
    assert!(!seen.is_empty() || stream.len() < Limits::default().head_octets_max);
    EXAMINED.get()
}

fn check(name: &str, stream: &[u8]) {
    for octets in [1, 2, 7, 44, 1460, usize::MAX] {
        let (looked, came) = (looked_at(stream, octets), stream.len());
        assert!(looked >= came.min(4096), "{name}: nothing is counted");
        let most = TIMES_MAX * came + 4096;
        assert!(looked <= most, "{name} in reads of {octets}: {looked} for {came}");
    }
}

// Covers: MSRP-001
#[test]
fn of_bodies() {
    let head = format!("MSRP abcd SEND\n{PATHS}Message-ID: m\nContent-Type: a/b\n\n");
    let units = [
        "x",
        "-",
        "\r",
        "\n",
        "\r\n",
        "\r\n-",
        "\r\n------",
        "\r\n-------",
        "\r-------",
        "\r\n-------abcd",
        "\r\n-------abcd!\r\n",
        "\r\n-------abcd$\r",
        "----x",
    ];
    for unit in units {
        for size in [4096, 65_536] {
            let body = unit.repeat(size / unit.len());
            let end = "\r\n-------abcd$\r\n".as_bytes();
            check(unit, &[&crlf(&head), body.as_bytes(), end].concat());
        }
    }
}

// Covers: MSRP-081
#[test]
fn of_heads() {
    let long = format!("MSRP abcd {}\n", "X".repeat(4000));
    let start = format!("MSRP abcd SEND\n{PATHS}");
    let units = ["A:\n", "-\n", "--------\n", "-------abcd!\n", "Subject", " ", "\r", "a: b\nc"];
    for first in [&start, &long] {
        for unit in units {
            let room = 8000_usize.saturating_sub(first.len());
            let head = format!("{first}{}\n-------abcd$\n", unit.repeat(room / (unit.len() + 1)));
            check(unit, &crlf(&head));
            // The first line is there when the others come.
            let (line, rest) = head.split_once('\n').unwrap();
            let mut framer = Framer::new(Limits::default());
            EXAMINED.set(0);
            feed(&mut framer, &crlf(&format!("{line}\n")), &mut Vec::new());
            feed(&mut framer, &crlf(rest), &mut Vec::new());
            let looked = EXAMINED.get();
            assert!(looked <= TIMES_MAX * crlf(&head).len() + 4096, "{unit}: {looked}");
        }
    }
}

#[test]
fn of_many_messages() {
    let message = crlf(&format!("MSRP abcd 200 OK\n{PATHS}-------abcd$\n"));
    check("responses", &message.repeat(300));
}
