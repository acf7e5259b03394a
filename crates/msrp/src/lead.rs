//! What the first octets of a connection say of the session it is for.

/// Octets in which the first To-Path must be found; local limit. Beyond it the connection stays
/// where it was accepted, and the framing there says what is wrong.
pub const LEAD_OCTETS_MAX: usize = 8 * 1024;

/// What the first octets of a connection say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lead<'a> {
    /// Nothing yet.
    Unknown,
    /// The first URI of the first To-Path.
    To(&'a [u8]),
    /// That there is none.
    Any,
}

/// Looks for the first URI of the first To-Path, which is the first header (RFC 4975 §9).
pub fn lead(octets: &[u8]) -> Lead<'_> {
    let mut lines = octets.split_inclusive(|octet| *octet == b'\n');
    let (Some(start), Some(line)) = (lines.next(), lines.next()) else {
        return if octets.len() > LEAD_OCTETS_MAX { Lead::Any } else { Lead::Unknown };
    };
    if !start.ends_with(b"\n") || !line.ends_with(b"\n") {
        return if octets.len() > LEAD_OCTETS_MAX { Lead::Any } else { Lead::Unknown };
    }
    let uri = || {
        let (name, value) = line.split_at_checked(line.iter().position(|octet| *octet == b':')?)?;
        if !name.eq_ignore_ascii_case(b"To-Path") {
            return None;
        }
        let value = value.strip_prefix(b":")?.trim_ascii();
        value.split(|octet| *octet == b' ').next().filter(|uri| !uri.is_empty())
    };
    uri().map_or(Lead::Any, Lead::To)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_uri_of_the_first_to_path_is_found() {
        let of = |text| lead(str::as_bytes(text));
        let uri = b"msrp://im.test:2855/300000000000000000000000abcd;tcp";
        let text = String::from_utf8_lossy(uri);
        let whole = format!("MSRP a786hjs2 SEND\r\nTo-Path: {text} msrp://x/y;tcp\r\nFrom");
        assert_eq!(of(&whole), Lead::To(uri));
        for cut in 0..whole.len() - 6 {
            assert_eq!(of(&whole[..cut]), Lead::Unknown, "{cut}");
        }
        #[rustfmt::skip]
        let table = [
            ("MSRP a AUTH\r\nTo-Path: msrps://relay.test:2856;tcp\r\n",      Lead::To(b"msrps://relay.test:2856;tcp")),
            ("MSRP a SEND\r\nto-path:msrp://a/elsewhere;tcp\r\n",            Lead::To(b"msrp://a/elsewhere;tcp")),
            ("MSRP a SEND\r\nTo-Path: \r\n",                                 Lead::Any),
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
