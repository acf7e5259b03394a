//! Nonces: a time stamp and a random number, proved ours by a keyed MAC over both and the realm.
//!
//! A nonce costs the server nothing until credentials made with it are accepted, and a server that
//! shares the key accepts those of another.

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::entropy::{Entropy, push_number};

/// The key of the MAC: 256 secret bits, made at start or shared by the nodes of one service.
#[derive(Clone)]
pub struct NonceKey([u8; 32]);

impl NonceKey {
    /// A key from outside.
    pub fn new(key: [u8; 32]) -> Self {
        Self(key)
    }

    /// A new key.
    pub fn random(entropy: &mut impl Entropy) -> Self {
        let mut key = [0; 32];
        for part in key.chunks_mut(8) {
            part.copy_from_slice(&entropy.next_u64().to_le_bytes());
        }
        Self(key)
    }
}

impl std::fmt::Debug for NonceKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("NonceKey(…)")
    }
}

/// What a nonce of ours says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Nonce {
    /// When it was issued: seconds since the epoch of the caller's clock.
    pub(super) issued: u64,
    /// Sets apart those issued in one second.
    pub(super) serial: u64,
}

/// Characters of one number in base 32, see [`push_number`].
const NUMBER: usize = 13;

impl Nonce {
    /// The text for `nonce`: time, serial number, MAC; 52 characters, letters and digits only.
    pub(super) fn text(self, key: &NonceKey, realm: &str) -> String {
        let mut text = String::with_capacity(4 * NUMBER);
        push_number(&mut text, self.issued);
        push_number(&mut text, self.serial);
        for part in mac(key, realm, text.as_bytes()) {
            push_number(&mut text, part);
        }
        text
    }

    /// Reads a text; `None` unless it was made with this key for this realm.
    pub(super) fn parse(text: &str, key: &NonceKey, realm: &str) -> Option<Self> {
        let (issued, rest) = text.split_at_checked(NUMBER)?;
        let (serial, _) = rest.split_at_checked(NUMBER)?;
        let nonce = Self { issued: number(issued)?, serial: number(serial)? };
        let ours = nonce.text(key, realm);
        bool::from(ours.as_bytes().ct_eq(text.as_bytes())).then_some(nonce)
    }
}

/// Reads what [`push_number`] wrote.
fn number(text: &str) -> Option<u64> {
    text.bytes().rev().try_fold(0_u64, |number, digit| {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'v' => digit - b'a' + 10,
            _ => return None,
        };
        number.checked_mul(32)?.checked_add(u64::from(value))
    })
}

/// HMAC-SHA-256 (RFC 2104), the first 128 bits.
fn mac(key: &NonceKey, realm: &str, text: &[u8]) -> [u64; 2] {
    let pad = |with: u8| {
        let mut block = [with; 64];
        for (octet, key) in block.iter_mut().zip(key.0) {
            *octet ^= key;
        }
        block
    };
    let mut inner = Sha256::new();
    inner.update(pad(0x36));
    inner.update(text);
    inner.update(realm.as_bytes());
    let mut outer = Sha256::new();
    outer.update(pad(0x5c));
    outer.update(inner.finalize());
    let code = outer.finalize();
    let mut parts = [0; 2];
    for (part, octets) in parts.iter_mut().zip(code.chunks(8)) {
        *part = octets.iter().fold(0, |number, octet| number << 8 | u64::from(*octet));
    }
    parts
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert_eq, proptest};

    use super::*;
    use crate::entropy::seeded;

    fn key(seed: u64) -> NonceKey {
        NonceKey::random(&mut seeded(seed))
    }

    // RFC 4231 §4.3 uses a 4-octet key; zero-padded, as HMAC pads it, it is ours.
    #[test]
    fn the_mac_is_hmac_sha_256() {
        let mut jefe = [0; 32];
        jefe[..4].copy_from_slice(b"Jefe");
        let parts = mac(&NonceKey::new(jefe), "for nothing?", b"what do ya want ");
        assert_eq!(parts, [0x5bdc_c146_bf60_754e, 0x6a04_2426_0895_75c7]);
    }

    // Covers: SEC-019
    #[test]
    fn only_our_own_nonces_are_read() {
        let nonce = Nonce { issued: 1_700_000_000, serial: 7 };
        let text = nonce.text(&key(1), "biloxi.com");
        assert_eq!(text.len(), 52);
        assert_eq!(Nonce::parse(&text, &key(1), "biloxi.com"), Some(nonce));
        assert_eq!(Nonce::parse(&text, &key(2), "biloxi.com"), None, "another key");
        assert_eq!(Nonce::parse(&text, &key(1), "atlanta.com"), None, "another realm");
        for at in 0..text.len() {
            let mut octets = text.clone().into_bytes();
            octets[at] = if octets[at] == b'0' { b'1' } else { b'0' };
            let forged = String::from_utf8(octets).unwrap();
            assert_eq!(Nonce::parse(&forged, &key(1), "biloxi.com"), None, "{forged}");
        }
        for odd in ["", "0", &text[..51], &format!("{text}0")] {
            assert_eq!(Nonce::parse(odd, &key(1), "biloxi.com"), None, "{odd}");
        }
    }

    #[test]
    fn the_key_is_not_printed() {
        assert_eq!(format!("{:?}", NonceKey::new([7; 32])), "NonceKey(…)");
    }

    proptest! {
        #[test]
        fn text_then_parse_is_identity(issued: u64, serial: u64, realm: String) {
            let nonce = Nonce { issued, serial };
            let text = nonce.text(&key(1), &realm);
            prop_assert_eq!(Nonce::parse(&text, &key(1), &realm), Some(nonce));
        }

        #[test]
        fn never_panics(text: String) {
            prop_assert_eq!(Nonce::parse(&text, &key(1), "r"), None);
        }
    }
}
