//! The value of `fingerprint` (RFC 8122 §5; RFC 4572 §5).

use std::fmt;
use std::str::FromStr;

use crate::grammar::is_token;

/// The hash of a certificate that the writer presents, or may present, in TLS.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Fingerprint {
    /// The hash function.
    pub function: HashFunction,
    /// The hash of the certificate in its DER form.
    pub digest: Vec<u8>,
}

/// A hash function by its textual name (RFC 8122 §5); the order is that of strength.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum HashFunction {
    /// One nobody here knows, or MD5 or MD2, that prove nothing any more (RFC 8122 §5.1).
    Other(String),
    /// `sha-1`.
    Sha1,
    /// `sha-224`.
    Sha224,
    /// `sha-256`.
    Sha256,
    /// `sha-384`.
    Sha384,
    /// `sha-512`.
    Sha512,
}

/// Why a `fingerprint` was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FingerprintError {
    /// The value is not a token, a space and pairs of hexadecimal digits with colons.
    #[error("fingerprint is not a hash function and octets")]
    Shape,
    /// The hash has not as many octets as its function gives.
    #[error("fingerprint has another length than its hash function gives")]
    Length,
}

/// Name, function and octets of its hash.
const FUNCTIONS: [(&str, HashFunction, usize); 5] = [
    ("sha-1", HashFunction::Sha1, 20),
    ("sha-224", HashFunction::Sha224, 28),
    ("sha-256", HashFunction::Sha256, 32),
    ("sha-384", HashFunction::Sha384, 48),
    ("sha-512", HashFunction::Sha512, 64),
];

impl Fingerprint {
    /// Whether a certificate is one of those that `fingerprints` name.
    ///
    /// `hash` gives the certificate's hash by one function, `None` when it cannot. The strongest
    /// function that it can decides, and one of the fingerprints made with it must match
    /// (RFC 8122 §5.1); so a weaker one beside it opens nothing.
    pub fn any_matches(
        fingerprints: &[Self],
        mut hash: impl FnMut(&HashFunction) -> Option<Vec<u8>>,
    ) -> bool {
        let mut functions: Vec<&HashFunction> =
            fingerprints.iter().map(|fingerprint| &fingerprint.function).collect();
        functions.sort_unstable();
        let known = functions.into_iter().rev().find_map(|function| match function {
            HashFunction::Other(_) => None,
            _ => hash(function).map(|digest| (function, digest)),
        });
        known.is_some_and(|(function, digest)| {
            fingerprints.iter().any(|one| one.function == *function && one.digest == digest)
        })
    }
}

impl HashFunction {
    /// Reads a name, whatever its case.
    pub fn from_name(name: &str) -> Self {
        FUNCTIONS
            .iter()
            .find(|(known, ..)| known.eq_ignore_ascii_case(name))
            .map_or_else(|| Self::Other(name.to_owned()), |(_, function, _)| function.clone())
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Other(name) => name,
            known => {
                FUNCTIONS.iter().find(|(_, one, _)| one == known).map_or("", |(name, ..)| name)
            }
        }
    }
}

impl FromStr for Fingerprint {
    type Err = FingerprintError;

    fn from_str(value: &str) -> Result<Self, FingerprintError> {
        let (name, octets) = value.trim().split_once(' ').ok_or(FingerprintError::Shape)?;
        if name.is_empty() || !name.bytes().all(is_token) {
            return Err(FingerprintError::Shape);
        }
        let digest = octets.trim_start().split(':').map(octet).collect::<Option<Vec<u8>>>();
        let digest = digest.ok_or(FingerprintError::Shape)?;
        let function = HashFunction::from_name(name);
        let length = FUNCTIONS.iter().find(|(_, one, _)| *one == function).map(|(.., len)| *len);
        if length.is_some_and(|length| length != digest.len()) {
            return Err(FingerprintError::Length);
        }
        Ok(Self { function, digest })
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.function.as_str())?;
        for (index, octet) in self.digest.iter().enumerate() {
            let apart = if index == 0 { ' ' } else { ':' };
            write!(f, "{apart}{octet:02X}")?;
        }
        Ok(())
    }
}

/// Two hexadecimal digits; the RFC has them in upper case, some peers write lower case.
fn octet(pair: &str) -> Option<u8> {
    let digits = pair.len() == 2 && pair.bytes().all(|digit| digit.is_ascii_hexdigit());
    digits.then(|| u8::from_str_radix(pair, 16).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// RFC 8122 §4, and RFC 4975 §14.4's length.
    const SHA_1: &str = "sha-1 4A:AD:B9:B1:3F:82:18:3B:54:02:12:DF:3E:5D:49:6B:19:E5:7C:AB";

    #[test]
    fn parses() {
        let sha_1: Fingerprint = SHA_1.parse().unwrap();
        assert_eq!(sha_1.function, HashFunction::Sha1);
        assert_eq!(sha_1.digest[..3], [0x4a, 0xad, 0xb9]);
        assert_eq!(sha_1.to_string(), SHA_1);
        assert_eq!(SHA_1.to_lowercase().replace("sha", "SHA").parse(), Ok(sha_1));
        for (name, function, octets) in FUNCTIONS {
            let value = format!("{name} {}", vec!["0F"; octets].join(":"));
            let read: Fingerprint = value.parse().unwrap();
            assert_eq!((&read.function, read.digest.len()), (&function, octets), "{name}");
            assert_eq!(read.to_string(), value);
        }
        let other: Fingerprint = "md5 00:01".parse().unwrap();
        assert_eq!(other.function, HashFunction::Other("md5".to_owned()));
    }

    #[test]
    fn refuses() {
        #[rustfmt::skip]
        let table = [
            ("",                     FingerprintError::Shape),
            ("sha-1",                FingerprintError::Shape),
            ("sha-1 ",               FingerprintError::Shape),
            (" 00",                  FingerprintError::Shape),
            ("a@b 00",               FingerprintError::Shape),
            ("x 0",                  FingerprintError::Shape),
            ("x 000",                FingerprintError::Shape),
            ("x +0",                 FingerprintError::Shape),
            ("x 00:",                FingerprintError::Shape),
            ("x 00 00",              FingerprintError::Shape),
            ("sha-1 00:01",          FingerprintError::Length),
            ("sha-256 00",           FingerprintError::Length),
        ];
        for (value, error) in table {
            assert_eq!(value.parse::<Fingerprint>(), Err(error), "{value}");
        }
    }

    #[test]
    fn the_strongest_function_decides() {
        use HashFunction::{Sha1, Sha256, Sha512};
        let of = |function: HashFunction, octet| Fingerprint { function, digest: vec![octet] };
        let other = || of(HashFunction::Other("md5".to_owned()), 1);
        // The certificate's hash is 1 by each function but SHA-512, which cannot be computed.
        let hash = |function: &HashFunction| (*function != Sha512).then(|| vec![1]);
        #[rustfmt::skip]
        let table = [
            (vec![],                                   false),
            (vec![of(Sha1, 1)],                        true),
            (vec![of(Sha1, 2)],                        false),
            (vec![of(Sha1, 1), of(Sha256, 2)],         false),
            (vec![of(Sha256, 1), of(Sha1, 2)],         true),
            (vec![of(Sha256, 2), of(Sha256, 1)],       true), // several certificates
            (vec![of(Sha512, 2), of(Sha1, 1)],         true),
            (vec![of(Sha512, 1)],                      false),
            (vec![other()],                            false),
            (vec![other(), of(Sha1, 1)],               true),
        ];
        for (fingerprints, expect) in table {
            assert_eq!(Fingerprint::any_matches(&fingerprints, hash), expect, "{fingerprints:?}");
        }
    }

    proptest! {
        #[test]
        fn display_then_parse_is_identity(
            name in "x[a-z0-9-]{0,9}", digest in prop::collection::vec(0..=u8::MAX, 1..70),
        ) {
            let fingerprint = Fingerprint { function: HashFunction::Other(name), digest };
            prop_assert_eq!(fingerprint.to_string().parse(), Ok(fingerprint));
        }

        #[test]
        fn never_panics(value: String, near in "(sha-1|sha-256|:| |[0-9A-Fg]){0,30}") {
            let _ = value.parse::<Fingerprint>();
            let _ = near.parse::<Fingerprint>();
        }
    }
}
