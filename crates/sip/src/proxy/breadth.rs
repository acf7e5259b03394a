//! Max-Breadth, RFC 5393 §5: how many branches one request may have at a time.

/// What a request without the header field gets, and the most it is allowed (RFC 5393 §5.3.3).
pub const MAX: u8 = 60;

/// The Incoming Max-Breadth of a request: 60 when missing, cut to 60 when above, 0 when used up.
///
/// For a proxy only; a UAS ignores the header field (§5.3.5).
pub fn incoming(header: Option<u64>) -> u8 {
    header.map_or(MAX, |value| u8::try_from(value).unwrap_or(MAX).min(MAX))
}

/// The shares of up to `branches` parallel branches; together exactly `available`, so that no more
/// is used up than the request had and no less. With less than one for each, the first get one and
/// the others must wait (serial forking).
pub fn split(available: u8, branches: usize) -> impl Iterator<Item = u8> {
    let count = u8::try_from(branches).unwrap_or(u8::MAX).min(available);
    let (each, rest) = match count {
        0 => (0, 0),
        1.. => (available / count, available % count),
    };
    (0..count).map(move |index| each + u8::from(index < rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert, proptest};

    use super::*;

    // Covers: CORE-013
    #[test]
    fn a_missing_or_excessive_value_becomes_60() {
        let table = [(None, 60), (Some(0), 0), (Some(1), 1), (Some(60), 60), (Some(61), 60)];
        for (header, expected) in table {
            assert_eq!(incoming(header), expected, "{header:?}");
        }
        assert_eq!(incoming(Some(u64::MAX)), 60);
    }

    // Covers: CORE-013
    #[test]
    fn shares_are_fair() {
        let table: [(u8, usize, &[u8]); 6] = [
            (60, 1, &[60]),
            (60, 2, &[30, 30]), // RFC 5393 §5.2
            (4, 2, &[2, 2]),
            (5, 3, &[2, 2, 1]),
            (4, 8, &[1, 1, 1, 1]), // RFC 5393 §5.5: the rest one by one
            (0, 3, &[]),
        ];
        for (available, branches, expected) in table {
            let shares: Vec<u8> = split(available, branches).collect();
            assert_eq!(shares, expected, "{available} {branches}");
        }
    }

    proptest! {
        #[test]
        fn the_sum_is_what_was_there(available: u8, branches in 0_usize..1_000) {
            let shares: Vec<u8> = split(available, branches).collect();
            let sum: u32 = shares.iter().copied().map(u32::from).sum();
            prop_assert!(shares.len() <= branches && shares.iter().all(|share| *share > 0));
            prop_assert!(sum == u32::from(available) || branches == 0);
        }
    }
}
