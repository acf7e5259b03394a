//! Which core a connection belongs to: its first To-Path says so.

use parlance_msrp::{core_of, path::session_id};

/// Octets in which the first To-Path must be found; local limit. Beyond it the connection stays
/// where it was accepted, and the framing there says what is wrong.
pub(crate) const LEAD_OCTETS_MAX: usize = 8 * 1024;

/// What the first octets of a connection say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lead {
    /// Nothing yet.
    Unknown,
    /// The session is of this core.
    Core(u8),
    /// There is no session of ours: any core will do.
    Any,
}

/// Looks for the first URI of the first To-Path, which is the first header (RFC 4975 §9).
pub(crate) fn lead(octets: &[u8]) -> Lead {
    let mut lines = octets.split_inclusive(|octet| *octet == b'\n');
    let (Some(start), Some(line)) = (lines.next(), lines.next()) else {
        return if octets.len() > LEAD_OCTETS_MAX { Lead::Any } else { Lead::Unknown };
    };
    if !start.ends_with(b"\n") || !line.ends_with(b"\n") {
        return if octets.len() > LEAD_OCTETS_MAX { Lead::Any } else { Lead::Unknown };
    }
    let core = || {
        let (name, value) = line.split_at_checked(line.iter().position(|octet| *octet == b':')?)?;
        if !name.eq_ignore_ascii_case(b"To-Path") {
            return None;
        }
        let value = value.strip_prefix(b":")?.trim_ascii();
        let first = value.split(|octet| *octet == b' ').next()?;
        core_of(session_id(first)?)
    };
    core().map_or(Lead::Any, Lead::Core)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "300000000000000000000000abcd";

    #[test]
    fn the_session_of_the_first_to_path_has_the_core() {
        let of = |text: &str| lead(text.as_bytes());
        let whole = format!(
            "MSRP a786hjs2 SEND\r\nTo-Path: msrp://im.test:2855/{ID};tcp msrp://x/y;tcp\r\nFrom"
        );
        assert_eq!(of(&whole), Lead::Core(3));
        for cut in 0..whole.len() - 6 {
            assert_eq!(of(&whole[..cut]), Lead::Unknown, "{cut}");
        }
        #[rustfmt::skip]
        let table = [
            ("MSRP a AUTH\r\nTo-Path: msrps://relay.test:2856;tcp\r\n",      Lead::Any),
            ("MSRP a SEND\r\nto-path:msrp://a/elsewhere;tcp\r\n",            Lead::Any),
            ("MSRP a SEND\r\nFrom-Path: msrp://a/b;tcp\r\n",                 Lead::Any),
            ("GET / HTTP/1.1\r\nHost: x\r\n",                                Lead::Any),
            ("",                                                             Lead::Unknown),
        ];
        for (text, expected) in table {
            assert_eq!(of(text), expected, "{text}");
        }
        assert_eq!(lead(&[b'x'; LEAD_OCTETS_MAX + 1]), Lead::Any, "nobody waits for ever");
    }
}
