//! Which content a participant takes (RFC 4975 §8.6), decided once for each type.

use parlance_sip::sdp::MediaRanges;

/// Most types that are remembered in one room. Local limit; a further one is looked up every time.
const TYPES_MAX: usize = 32;

/// Longest type that is remembered. Local limit.
const TYPE_OCTETS_MAX: usize = 128;

/// The types of content that were sent in a room, by number.
#[derive(Debug, Default)]
pub(super) struct MediaTypes(Vec<Box<str>>);

/// A type of content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MediaNumber(u8);

impl MediaTypes {
    /// The number of `media_type`, a new one if need be; `None` when there are too many.
    pub(super) fn number(&mut self, media_type: &str) -> Option<MediaNumber> {
        let at = match self.0.iter().position(|known| **known == *media_type) {
            Some(at) => at,
            None if self.0.len() == TYPES_MAX || media_type.len() > TYPE_OCTETS_MAX => return None,
            None => {
                self.0.push(media_type.into());
                self.0.len() - 1
            }
        };
        u8::try_from(at).ok().map(MediaNumber)
    }

    /// The type with this number.
    pub(super) fn name(&self, number: MediaNumber) -> &str {
        self.0.get(usize::from(number.0)).map_or("", |name| name)
    }
}

impl MediaNumber {
    /// As a plain number.
    pub(super) fn value(self) -> u8 {
        self.0
    }

    /// The number that [`value`](Self::value) gave.
    pub(super) fn from_value(value: u8) -> Option<Self> {
        (usize::from(value) < TYPES_MAX).then_some(Self(value))
    }

    fn bit(self) -> u32 {
        1 << u32::from(self.0)
    }
}

/// What one participant takes.
#[derive(Debug)]
pub(super) struct Accepts {
    /// `accept-types`, which holds inside a wrapper too, and `accept-wrapped-types`.
    ranges: [MediaRanges; 2],
    /// The numbers that were looked up, and those of them that are taken.
    decided: u32,
    taken: u32,
}

impl Accepts {
    pub(super) fn new(types: MediaRanges, wrapped_types: MediaRanges) -> Self {
        Self { ranges: [types, wrapped_types], decided: 0, taken: 0 }
    }

    /// Whether content of this type, with its number, is taken.
    #[inline]
    pub(super) fn takes(&mut self, number: Option<MediaNumber>, media_type: &str) -> bool {
        match number {
            Some(number) => self.takes_numbered(number, || media_type),
            None => self.look_up(media_type),
        }
    }

    /// The same for one of `types`.
    #[inline]
    pub(super) fn takes_one_of(&mut self, types: &MediaTypes, number: MediaNumber) -> bool {
        self.takes_numbered(number, || types.name(number))
    }

    #[inline]
    fn takes_numbered<'a>(
        &mut self,
        number: MediaNumber,
        media_type: impl FnOnce() -> &'a str,
    ) -> bool {
        if self.decided & number.bit() == 0 {
            self.decide(number, media_type());
        }
        self.taken & number.bit() != 0
    }

    /// The peer has refused content of this type: it gets no more of it (RFC 4975 §10.7).
    pub(super) fn refuse(&mut self, number: MediaNumber) {
        self.decided |= number.bit();
        self.taken &= !number.bit();
    }

    #[cold]
    fn decide(&mut self, number: MediaNumber, media_type: &str) {
        self.decided |= number.bit();
        if self.look_up(media_type) {
            self.taken |= number.bit();
        }
    }

    fn look_up(&self, media_type: &str) -> bool {
        self.ranges.iter().any(|ranges| ranges.admits(media_type))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepts(types: &str, wrapped: &str) -> Accepts {
        Accepts::new(types.parse().unwrap(), wrapped.parse().unwrap())
    }

    // Covers: MSRP-068
    #[test]
    fn a_type_of_either_list_is_taken() {
        let mut types = MediaTypes::default();
        let mut alice = accepts("message/cpim text/plain text/html", ""); // RFC 7701 §9.1
        let mut bob = accepts("message/cpim", "image/* text/plain");
        for _ in 0..2 {
            for (media_type, by_alice, by_bob) in [
                ("text/plain", true, true),
                ("TEXT/PLAIN", true, true),
                ("text/html", true, false),
                ("image/png", false, true),
                ("video/mp4", false, false),
            ] {
                let number = types.number(media_type);
                assert_eq!(&*types.0[usize::from(number.unwrap().0)], media_type);
                assert_eq!(alice.takes(number, media_type), by_alice, "{media_type}");
                assert_eq!(bob.takes_one_of(&types, number.unwrap()), by_bob, "{media_type}");
                assert_eq!(bob.takes(None, media_type), by_bob, "{media_type}");
            }
        }
        assert_eq!(types.0.len(), 5);
    }

    #[test]
    fn what_was_refused_is_not_sent_again() {
        let mut types = MediaTypes::default();
        let mut any = accepts("*", "");
        let number = types.number("text/plain").unwrap();
        assert!(any.takes(Some(number), "text/plain"));
        any.refuse(number);
        assert!(!any.takes(Some(number), "text/plain"));
    }

    #[test]
    fn limits_hold() {
        let mut types = MediaTypes::default();
        for number in 0..TYPES_MAX {
            assert!(types.number(&format!("a/{number}")).is_some());
        }
        assert_eq!(types.number("a/new"), None);
        assert!(types.number("a/0").is_some());
        assert!(accepts("a/*", "").takes(None, "a/new"));
        let long = format!("a/{}", "b".repeat(TYPE_OCTETS_MAX));
        assert_eq!(MediaTypes::default().number(&long), None);
    }
}
