//! Changes to an input: of bits, octets, pieces, numbers and words of the grammar.

use rand::RngExt;
use rand::rngs::StdRng;

/// The largest input that is made; local limit, what the server reads of a head and a body.
const OCTETS_MAX: usize = 64 * 1024;

/// Words and signs that mean something to one reader or another.
const WORDS: &[&[u8]] = &[
    b"\r\n",
    b"\r\n\r\n",
    b"\r\n ",
    b"\r\n\t",
    b"\n",
    b"\r",
    b"\0",
    b"\xff",
    b"\xc3\x28",
    b"\xe2\x82",
    b" ",
    b";",
    b",",
    b":",
    b"=",
    b"<",
    b">",
    b"\"",
    b"\\",
    b"\\\"",
    b"(",
    b")",
    b"[",
    b"]",
    b"%",
    b"%00",
    b"%zz",
    b"@",
    b"?",
    b"&",
    b"*",
    b"--",
    b"sip:",
    b"sips:",
    b"tel:",
    b"urn:",
    b"[::1]",
    b";lr",
    b";tag=",
    b";branch=z9hG4bK",
    b";rport",
    b";maddr=",
    b";transport=tcp",
    b"SIP/2.0",
    b"SIP/2.0/UDP ",
    b"Via: ",
    b"v: ",
    b"Content-Length: ",
    b"l: ",
    b"CSeq: ",
    b"0",
    b"-1",
    b"255",
    b"65536",
    b"2147483648",
    b"4294967296",
    b"99999999999999999999",
    b"INVITE ",
    b"ACK ",
    b"CANCEL ",
    b"MESSAGE ",
    b"Content-Type: multipart/mixed;boundary=x\r\n",
    b"--x\r\n",
    b"--x--",
    b"m=message 1 TCP/MSRP *\r\n",
    b"a=path:",
    b"v=0\r\n",
    b"NS: a <b>\r\n",
    b"<![CDATA[",
    b"&amp;",
];

/// An input made from `start` by one to eight changes.
pub(super) fn mutate(start: &[u8], corpus: &[Vec<u8>], random: &mut StdRng) -> Vec<u8> {
    let mut input = start.to_vec();
    for _ in 0..random.random_range(1..=8) {
        change(&mut input, corpus, random);
        input.truncate(OCTETS_MAX);
    }
    input
}

fn change(input: &mut Vec<u8>, corpus: &[Vec<u8>], random: &mut StdRng) {
    let at = random.random_range(0..=input.len());
    let longest = input.len() - at;
    let length = random.random_range(0..=longest.min(64));
    match random.random_range(0..9) {
        0 => {
            if let Some(octet) = input.get_mut(at) {
                *octet ^= 1 << random.random_range(0..8);
            }
        }
        1 => {
            if let Some(octet) = input.get_mut(at) {
                *octet = random.random();
            }
        }
        2 => _ = input.drain(at..at + length),
        3 => {
            let piece: Vec<u8> = input.get(at..at + length).unwrap_or_default().to_vec();
            let times = random.random_range(1..=32);
            input.splice(at..at, piece.repeat(times));
        }
        4 => input.truncate(at),
        5 | 6 => {
            let word = WORDS.get(random.random_range(0..WORDS.len())).copied().unwrap_or_default();
            let times = if random.random_bool(0.1) { random.random_range(1..=300) } else { 1 };
            input.splice(at..at, word.repeat(times));
        }
        7 => {
            let other = corpus.get(random.random_range(0..corpus.len().max(1)));
            let other = other.map(Vec::as_slice).unwrap_or_default();
            let from = random.random_range(0..=other.len());
            let to = random.random_range(from..=other.len());
            input.splice(at..at + length, other.get(from..to).unwrap_or_default().to_vec());
        }
        _ => swap_lines(input, random),
    }
}

/// Swaps two lines.
fn swap_lines(input: &mut Vec<u8>, random: &mut StdRng) {
    let mut lines: Vec<Vec<u8>> =
        input.split_inclusive(|octet| *octet == b'\n').map(<[u8]>::to_vec).collect();
    if lines.len() > 1 {
        let one = random.random_range(0..lines.len());
        let other = random.random_range(0..lines.len());
        lines.swap(one, other);
        *input = lines.concat();
    }
}
