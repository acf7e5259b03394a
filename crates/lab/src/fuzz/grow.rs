//! What a reader gives out, against what it was fed: inputs made to be dear, of doubling size.

use super::Target;

/// The largest input that is fed: what is read of a head and a body.
pub const INPUT_OCTETS_MAX: usize = 64 * 1024;

/// The smallest one.
const INPUT_OCTETS_MIN: usize = 1024;

/// One series of inputs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Growth {
    /// What the inputs are made of.
    pub shape: &'static str,
    /// Octets and items of each input, smallest first.
    pub sizes: Vec<(usize, u64)>,
}

impl Growth {
    /// Whether the items grew at most as the octets did: never more than one for each octet and
    /// reader, and not more than twice as many (and a few) for twice the octets.
    pub fn is_linear(&self, per_octet: u64) -> bool {
        let bounded = self.sizes.iter().all(|(octets, items)| {
            *items <= per_octet * u64::try_from(*octets).unwrap_or(u64::MAX)
        });
        let doubling = self.sizes.windows(2).all(|pair| match pair {
            [(_, small), (_, large)] => *large <= 2 * small + 256,
            _ => true,
        });
        bounded && doubling
    }
}

const MSRP_HEAD: &str = "MSRP abcd SEND\r\nTo-Path: a\r\nFrom-Path: b\r\nContent-Type: a/b\r\n\r\n";
const MSRP_RESPONSE: &str = "MSRP abcd 200 OK\r\nTo-Path: a\r\nFrom-Path: b\r\n-------abcd$\r\n";

/// Heads, repeated middles and tails that have been dear to one parser or another.
const SHAPES: &[(&str, &str, &str, &str)] = &[
    ("commas", "", ",", ""),
    ("semicolons", "sip:a@b", ";", ""),
    ("parameters", "<sip:a@b>", ";x=y", ""),
    ("open quotes", "\"", "\\\"", ""),
    ("quoted strings", "", "\"a\",", ""),
    ("open comments", "a ", "(", ""),
    ("open brackets", "", "<", ""),
    ("closed brackets", "", "<a>,", ""),
    ("escapes", "sip:", "%25", "@b"),
    ("folded lines", "M sip:a SIP/2.0\r\nA: ", "\r\n b", "\r\n\r\n"),
    ("lines", "M sip:a SIP/2.0\r\n", "A: b\r\n", "\r\n"),
    ("Via values", "M sip:a SIP/2.0\r\nVia: ", "SIP/2.0/UDP h,", "SIP/2.0/UDP h\r\n\r\n"),
    ("routes", "M sip:a SIP/2.0\r\nRoute: ", "<sip:a;lr>,", "<sip:a;lr>\r\n\r\n"),
    ("line ends", "", "\r\n", ""),
    ("half line ends", "", "\r", ""),
    ("pings", "", "\r\n\r\n", ""),
    ("small messages", "", "M sip:a SIP/2.0\r\nContent-Length: 0\r\n\r\n", ""),
    ("boundaries", "", "\r\n--b", ""),
    ("parts", "", "--b\r\n\r\n\r\n", "--b--"),
    ("media lines", "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n", "m=a 1 b c\r\n", ""),
    ("attributes", "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n", "a=b:c\r\n", ""),
    ("CPIM headers", "", "A: b\r\n", "\r\n\r\n"),
    ("MSRP end-lines", MSRP_HEAD, "\r\n-------abcd", "\r\n-------abcd$\r\n"),
    ("MSRP messages", "", MSRP_RESPONSE, ""),
    (
        "MSRP headers",
        "MSRP abcd SEND\r\nTo-Path: a\r\nFrom-Path: b\r\n",
        "A:\r\n",
        "-------abcd$\r\n",
    ),
    ("MSRP paths", "", "msrp://h:1/x;tcp ", ""),
    ("elements", "<a>", "<b/>", "</a>"),
    ("open elements", "", "<a>", ""),
];

/// Feeds `target` every shape in doubling sizes up to [`INPUT_OCTETS_MAX`].
pub fn growth(target: Target) -> Vec<Growth> {
    let series = |(shape, head, middle, tail): &(&'static str, &str, &str, &str)| {
        let mut sizes = Vec::new();
        let mut size = INPUT_OCTETS_MIN;
        while size <= INPUT_OCTETS_MAX {
            let room = size.saturating_sub(head.len() + tail.len());
            let input = format!("{head}{}{tail}", middle.repeat(room / middle.len().max(1)));
            sizes.push((input.len(), target.read(input.as_bytes())));
            size *= 2;
        }
        Growth { shape, sizes }
    };
    SHAPES.iter().map(series).collect()
}

#[cfg(test)]
mod tests {
    use super::Growth;

    #[test]
    fn what_grows_faster_is_seen() {
        let of = |sizes: &[(usize, u64)]| Growth { shape: "x", sizes: sizes.to_vec() };
        assert!(of(&[(1000, 500), (2000, 1000), (4000, 2000)]).is_linear(1));
        assert!(of(&[(1000, 32), (2000, 32)]).is_linear(1));
        assert!(!of(&[(1000, 1000), (2000, 4000)]).is_linear(4));
        assert!(!of(&[(1000, 3000)]).is_linear(2));
    }
}
