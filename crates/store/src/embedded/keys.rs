//! Keys of the tables. Identities have no control octets, so NUL ends them and keeps their order.

use crate::{DedupKey, Millis, Seq, StoreError};

/// Kinds of records of one recipient, in the order in which they lie beside each other.
pub(super) const STATE: u8 = 0;
pub(super) const DEDUP: u8 = 1;
pub(super) const ITEM: u8 = 2;

/// What is to happen at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Agenda {
    /// Dedup keys of a recipient age out.
    Forget = 1,
    /// A registration lapses.
    Lapse = 2,
    /// An inbox is due.
    Due = 3,
    /// An item expires.
    Expire = 4,
    /// What a user published runs out.
    Publication = 5,
}

/// `user NUL kind rest`.
pub(super) fn inbox(user: &str, kind: u8, rest: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(user.len() + 2 + rest.len());
    key.extend_from_slice(user.as_bytes());
    key.extend_from_slice(&[0, kind]);
    key.extend_from_slice(rest);
    key
}

pub(super) fn state(user: &str) -> Vec<u8> {
    inbox(user, STATE, &[])
}

pub(super) fn dedup(user: &str, key: &DedupKey) -> Vec<u8> {
    inbox(user, DEDUP, key)
}

pub(super) fn item(user: &str, seq: Seq) -> Vec<u8> {
    inbox(user, ITEM, &seq.0.to_be_bytes())
}

/// The first key after every record of `user`.
pub(super) fn after_user(user: &str) -> Vec<u8> {
    inbox(user, u8::MAX, &[])
}

/// The user, the kind and the rest of an inbox key.
pub(super) fn parse_inbox(key: &[u8]) -> Result<(&str, u8, &[u8]), StoreError> {
    let damaged = || StoreError::Corrupt("unreadable inbox key".into());
    let nul = key.iter().position(|octet| *octet == 0).ok_or_else(damaged)?;
    let (user, rest) = key.split_at_checked(nul).ok_or_else(damaged)?;
    let [_, kind, rest @ ..] = rest else { return Err(damaged()) };
    Ok((str::from_utf8(user).map_err(|_| damaged())?, *kind, rest))
}

/// The number in the rest of an item key.
pub(super) fn parse_seq(rest: &[u8]) -> Result<Seq, StoreError> {
    let octets = rest.try_into();
    let octets = octets.map_err(|_| StoreError::Corrupt("unreadable item number".into()))?;
    Ok(Seq(u64::from_be_bytes(octets)))
}

/// `kind when user NUL [seq]`: each kind in the order of time.
pub(super) fn agenda(kind: Agenda, when: Millis, user: &str, seq: Option<Seq>) -> Vec<u8> {
    let mut key = Vec::with_capacity(user.len() + 18);
    key.push(kind as u8);
    key.extend_from_slice(&when.0.to_be_bytes());
    key.extend_from_slice(user.as_bytes());
    key.push(0);
    if let Some(seq) = seq {
        key.extend_from_slice(&seq.0.to_be_bytes());
    }
    key
}

/// The keys of one kind up to and including `now`.
pub(super) fn agenda_until(kind: Agenda, now: Millis) -> (Vec<u8>, Vec<u8>) {
    let mut end = vec![kind as u8];
    match now.0.checked_add(1) {
        Some(next) => end.extend_from_slice(&next.to_be_bytes()),
        None => end = vec![kind as u8 + 1],
    }
    (vec![kind as u8], end)
}

/// The user and the number in an agenda key.
pub(super) fn parse_agenda(key: &[u8]) -> Result<(&str, Option<Seq>), StoreError> {
    let damaged = || StoreError::Corrupt("unreadable agenda key".into());
    let (_, rest) = key.split_at_checked(9).ok_or_else(damaged)?;
    let nul = rest.iter().position(|octet| *octet == 0).ok_or_else(damaged)?;
    let (user, seq) = rest.split_at_checked(nul).ok_or_else(damaged)?;
    let user = str::from_utf8(user).map_err(|_| damaged())?;
    match seq {
        [0] => Ok((user, None)),
        [0, seq @ ..] => Ok((user, Some(parse_seq(seq)?))),
        _ => Err(damaged()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, proptest};

    use super::{Agenda, ITEM, Millis, Seq};
    use super::{agenda, agenda_until, item, parse_agenda, parse_inbox, parse_seq};

    proptest! {
        #[test]
        fn reads_what_it_writes(user in "[ -~]{1,20}", seq: u64, when: u64) {
            let key = item(&user, Seq(seq));
            let (read, kind, rest) = parse_inbox(&key).unwrap();
            assert_eq!((read, kind, parse_seq(rest)), (user.as_str(), ITEM, Ok(Seq(seq))));
            let key = agenda(Agenda::Expire, Millis(when), &user, Some(Seq(seq)));
            assert_eq!(parse_agenda(&key), Ok((user.as_str(), Some(Seq(seq)))));
            let key = agenda(Agenda::Due, Millis(when), &user, None);
            assert_eq!(parse_agenda(&key), Ok((user.as_str(), None)));
            let (start, end) = agenda_until(Agenda::Due, Millis(when));
            assert!(start <= key && key < end);
            let later = agenda(Agenda::Due, Millis(when.saturating_add(1)), "", None);
            assert!(end <= later || when == u64::MAX);
        }

        #[test]
        fn never_panics(octets in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _ = (parse_inbox(&octets), parse_agenda(&octets), parse_seq(&octets));
        }
    }
}
