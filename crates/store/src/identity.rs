//! Who a record belongs to.

use std::borrow::Borrow;
use std::fmt::{self, Display};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::StoreError;

/// Longest identity in octets; local limit, the RFCs set none. Longer ones are refused as
/// [`StoreError::Invalid`]: an identity is part of every key.
pub const IDENTITY_OCTETS_MAX: usize = 512;

/// The canonical public identity of a user, such as `sip:alice@ims.test` (TS 23.228 §4.3.3.2).
///
/// The caller writes it in one canonical form (no parameters, host in lower case); the store
/// compares octets. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct UserId(Arc<str>);

impl UserId {
    /// The identity as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for UserId {
    fn from(text: &str) -> UserId {
        UserId(text.into())
    }
}

impl From<String> for UserId {
    fn from(text: String) -> UserId {
        UserId(text.into())
    }
}

impl From<UserId> for String {
    fn from(user: UserId) -> String {
        user.0.as_ref().to_owned()
    }
}

impl Borrow<str> for UserId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What can be said about a record at once, without waiting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cached<T> {
    /// The answer: the record, or that there is none.
    Known(Option<T>),
    /// Not at hand: ask the method that returns a future.
    Unknown,
}

/// Refuses identities that cannot be keys: empty, too long, or with control octets.
pub(crate) fn check_identity(identity: &str) -> Result<(), StoreError> {
    if identity.is_empty() {
        return Err(StoreError::Invalid("empty identity"));
    }
    if identity.len() > IDENTITY_OCTETS_MAX {
        return Err(StoreError::Invalid("identity too long"));
    }
    if identity.bytes().any(|octet| octet < b' ') {
        return Err(StoreError::Invalid("control octet in identity"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{IDENTITY_OCTETS_MAX, UserId, check_identity};
    use crate::StoreError;

    #[test]
    fn refuses_what_cannot_be_a_key() {
        let longest = "x".repeat(IDENTITY_OCTETS_MAX);
        assert_eq!(check_identity("sip:alice@ims.test"), Ok(()));
        assert_eq!(check_identity(&longest), Ok(()));
        #[rustfmt::skip]
        let table = [
            (String::new(),      "empty identity"),
            (longest + "x",      "identity too long"),
            ("sip:a\0b".into(),  "control octet in identity"),
        ];
        for (identity, why) in table {
            assert_eq!(check_identity(&identity), Err(StoreError::Invalid(why)), "{identity}");
        }
    }

    #[test]
    fn survives_serialisation_as_a_plain_string() {
        let user = UserId::from("tel:+15551234");
        let json = serde_json::to_string(&user).unwrap();
        assert_eq!(json, "\"tel:+15551234\"");
        assert_eq!(serde_json::from_str::<UserId>(&json).unwrap(), user);
    }
}
