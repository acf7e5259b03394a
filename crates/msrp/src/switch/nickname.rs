//! Nicknames: what a participant wants to be called in one room (RFC 7701 §7).
//!
//! A nickname is prepared, enforced and compared by the PRECIS profile for nicknames. That is the
//! one of RFC 8266, which replaced RFC 7700, and on top of it the case folding of RFC 7700: two
//! nicknames that either document takes for the same are the same here.

use std::borrow::Cow;
use std::fmt;
use std::time::{Duration, Instant};

use hashbrown::HashMap;
use parlance_sip::uri::Aor;
use precis_profiles::precis_core::profile::Profile;

use crate::header::{UseNickname, UseNicknameError};

/// Longest nickname in octets (§7.1).
pub const OCTETS_MAX: usize = 1023;

/// Most nicknames in quarantine in one room. Local limit: ten for each participant of a large
/// room. At the limit the one that would be free first is free at once.
pub const QUARANTINED_MAX: usize = 10_000;

/// A nickname as its holder wrote it, blanks put in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nickname {
    shown: String,
    key: String,
}

/// Why a value is no nickname; answered 424 (§7.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NicknameError {
    /// The value is not a quoted string in UTF-8.
    #[error(transparent)]
    Syntax(#[from] UseNicknameError),
    /// The nickname is longer than [`OCTETS_MAX`].
    #[error("nickname is too long")]
    Length,
    /// The nickname has a character the profile does not allow, or nothing but blanks.
    #[error("nickname is not allowed by its PRECIS profile")]
    Profile,
}

/// The nickname is reserved, or somebody else's; answered 425 (§7.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("nickname is reserved or in use")]
pub struct Taken;

impl Nickname {
    /// Reads the value of `Use-Nickname`; `None` is the empty one, which removes (§7.3).
    pub fn parse(value: &[u8]) -> Result<Option<Self>, NicknameError> {
        let UseNickname(text) = UseNickname::parse(value)?;
        if text.is_empty() {
            return Ok(None);
        }
        Self::new(&text).map(Some)
    }

    /// Takes a nickname that is not quoted.
    pub fn new(text: &str) -> Result<Self, NicknameError> {
        if text.len() > OCTETS_MAX {
            return Err(NicknameError::Length);
        }
        let profile = precis_profiles::Nickname::new();
        let enforce = |text: &str| profile.enforce(text).map(Cow::into_owned);
        let shown = enforce(text).map_err(|_| NicknameError::Profile)?;
        // What is one in upper case and one in lower case is one: "ß" and "SS", both sigmas.
        let folded: String =
            shown.chars().flat_map(char::to_uppercase).flat_map(char::to_lowercase).collect();
        let key = enforce(&folded).map_err(|_| NicknameError::Profile)?;
        Ok(Self { shown, key })
    }

    /// The nickname as others see it.
    pub fn as_str(&self) -> &str {
        &self.shown
    }

    /// Whether both are the same to the profile.
    pub fn is_same(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl fmt::Display for Nickname {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

/// Who has which nickname in one room.
#[derive(Debug, Default)]
pub struct Nicknames {
    quarantine: Duration,
    /// By the key of the nickname.
    table: HashMap<String, Holding>,
    quarantined: usize,
}

#[derive(Debug)]
enum Holding {
    /// Nobody may have it.
    Reserved,
    /// That participant has it, in so many sessions.
    Held { by: Aor, sessions: usize },
    /// That participant had it; others may from then on.
    Quarantined { for_: Aor, until: Instant },
}

impl Nicknames {
    /// The table of a room where nobody may be called `reserved`, and where a nickname that was
    /// given up is kept for its last holder for `quarantine` (default 0, §4.1).
    pub fn new(reserved: &[Nickname], quarantine: Duration) -> Self {
        let reserved = reserved.iter().map(|nickname| (nickname.key.clone(), Holding::Reserved));
        Self { quarantine, table: reserved.collect(), quarantined: 0 }
    }

    /// Gives `nickname` to a session of `participant`.
    ///
    /// # Errors
    /// [`Taken`]: nothing has changed then, and whatever nickname the session had it still has
    /// (§7.2).
    pub fn claim(
        &mut self,
        now: Instant,
        participant: &Aor,
        nickname: &Nickname,
    ) -> Result<(), Taken> {
        let held = || Holding::Held { by: participant.clone(), sessions: 1 };
        match self.table.get_mut(&nickname.key) {
            None => {
                self.table.insert(nickname.key.clone(), held());
            }
            Some(Holding::Held { by, sessions }) if by == participant => *sessions += 1,
            Some(place @ Holding::Quarantined { .. }) => {
                if let Holding::Quarantined { for_, until } = place
                    && for_ != participant
                    && *until > now
                {
                    return Err(Taken);
                }
                *place = held();
                self.quarantined -= 1;
            }
            Some(Holding::Held { .. } | Holding::Reserved) => return Err(Taken),
        }
        Ok(())
    }

    /// Takes `nickname` back from one session of its holder.
    pub fn release(&mut self, now: Instant, nickname: &Nickname) {
        let Some(Holding::Held { by, sessions }) = self.table.get_mut(&nickname.key) else {
            return;
        };
        *sessions -= 1;
        if *sessions > 0 {
            return;
        }
        if self.quarantine.is_zero() {
            self.table.remove(&nickname.key);
            return;
        }
        let for_ = by.clone();
        self.make_room(now);
        let until = now + self.quarantine;
        self.table.insert(nickname.key.clone(), Holding::Quarantined { for_, until });
        self.quarantined += 1;
    }

    /// How many entries there are, reserved ones and those in quarantine included.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether nothing is held, reserved or in quarantine.
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// At the limit: forgets what is free by now, and if nothing is, what would be next.
    fn make_room(&mut self, now: Instant) {
        if self.quarantined < QUARANTINED_MAX {
            return;
        }
        let until = |holding: &Holding| match holding {
            Holding::Quarantined { until, .. } => Some(*until),
            Holding::Reserved | Holding::Held { .. } => None,
        };
        let first = self.table.values().filter_map(until).min().map_or(now, |first| first.max(now));
        self.table.retain(|_, holding| until(holding).is_none_or(|until| until > first));
        self.quarantined = self.table.values().filter_map(until).count();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::test_epoch;

    fn aor(text: &str) -> Aor {
        Aor::parse(text).unwrap()
    }

    fn nickname(text: &str) -> Nickname {
        Nickname::new(text).unwrap()
    }

    // Covers: MSRP-064, MSRP-076
    #[test]
    fn reads_values() {
        let longest = format!("\"{}\"", "é".repeat(511) + "x");
        let escaped = format!("\"{}\"", "\\\"".repeat(1023));
        #[rustfmt::skip]
        let table = [
            ("\"Alice the great\"",            Some("Alice the great")), // RFC 7701 §9.2
            ("\"\"",                           None),
            ("\"a \\\"b\\\" \\\\\"",           Some("a \"b\" \\")),
            ("\"  Guybrush \u{3000} T  \"",    Some("Guybrush T")),
            ("\"\u{265a}\"",                   Some("\u{265a}")), // RFC 8266 §3
            (&longest,                         longest.get(1..1024)),
            (&escaped,                         Some(&*"\"".repeat(1023))),
        ];
        for (value, shown) in table {
            let read = Nickname::parse(value.as_bytes()).unwrap();
            assert_eq!(read.as_ref().map(Nickname::as_str), shown, "{value}");
        }
    }

    // Covers: MSRP-064, MSRP-076
    #[test]
    fn refuses_values() {
        let long = format!("\"{}\"", "é".repeat(512));
        #[rustfmt::skip]
        let table: [(&[u8], NicknameError); 13] = [
            (b"",                  UseNicknameError::Quotes.into()),
            (b"alice",             UseNicknameError::Quotes.into()),
            (b"\"",                UseNicknameError::Quotes.into()),
            (b"\"alice",           UseNicknameError::Quotes.into()),
            (b"\"a\"b\"",          UseNicknameError::Quotes.into()),
            (b"\"alice\\\"",       UseNicknameError::Quotes.into()),
            (b"\"a\" ",            UseNicknameError::Quotes.into()),
            (b"\"a\\b\"",          UseNicknameError::Character.into()),
            (b"\"\xff\"",          UseNicknameError::Character.into()),
            (long.as_bytes(),      NicknameError::Length),
            (b"\"   \"",           NicknameError::Profile),
            (b"\"a\tb\"",          NicknameError::Profile),
            (b"\"a\x7f\"",         UseNicknameError::Character.into()),
        ];
        for (value, error) in table {
            let value_text = String::from_utf8_lossy(value);
            assert_eq!(Nickname::parse(value), Err(error), "{value_text:?}");
        }
    }

    // Covers: MSRP-064
    #[test]
    fn compares_as_the_profile_does() {
        #[rustfmt::skip]
        let table = [
            ("Foo",              "foo",       true),  // RFC 8266 §3
            ("Foo Bar",          "foo  bar ", true),
            ("\u{3a3}",          "\u{3c3}",   true),
            ("\u{3c3}",          "\u{3c2}",   true),  // RFC 7700 §3
            ("Richard \u{2163}", "richard iv", true),
            ("STRASSE",          "stra\u{df}e", true), // RFC 7700: full case folding
            ("\u{fb01}x",        "FIX",       true),
            ("e\u{301}",         "\u{c9}",    true),
            ("BOY",              "B0Y",       false), // RFC 7701 §7.1
            ("foo",              "fo o",      false),
        ];
        for (one, other, same) in table {
            assert_eq!(nickname(one).is_same(&nickname(other)), same, "{one} {other}");
        }
    }

    // Covers: MSRP-064, MSRP-065
    #[test]
    fn one_holder_in_as_many_sessions_as_ask() {
        let now = test_epoch();
        let mut table = Nicknames::new(&[nickname("Moderator")], Duration::ZERO);
        let (alice, bob) = (aor("sip:alice@a"), aor("sip:bob@b"));
        assert_eq!(table.claim(now, &alice, &nickname("moderator")), Err(Taken));
        assert_eq!(table.claim(now, &alice, &nickname("Great")), Ok(()));
        assert_eq!(table.claim(now, &bob, &nickname("great")), Err(Taken));
        assert_eq!(table.claim(now, &alice, &nickname("GREAT")), Ok(()));
        table.release(now, &nickname("Great"));
        assert_eq!(table.claim(now, &bob, &nickname("great")), Err(Taken));
        table.release(now, &nickname("great"));
        assert_eq!(table.claim(now, &bob, &nickname("great")), Ok(()));
        table.release(now, &nickname("great"));
        table.release(now, &nickname("great"));
        assert_eq!(table.len(), 1, "what is reserved stays");
    }

    // Covers: MSRP-065
    #[test]
    fn quarantine_keeps_it_for_its_last_holder() {
        let now = test_epoch();
        let quarantine = Duration::from_secs(60);
        let mut table = Nicknames::new(&[], quarantine);
        let (alice, bob) = (aor("sip:alice@a"), aor("sip:bob@b"));
        let great = nickname("Great");
        table.claim(now, &alice, &great).unwrap();
        table.release(now, &great);
        let before = now + quarantine - Duration::from_millis(1);
        assert_eq!(table.claim(before, &bob, &great), Err(Taken));
        assert_eq!(table.claim(before, &alice, &great), Ok(()));
        table.release(before, &great);
        assert_eq!(table.claim(now + quarantine, &bob, &great), Err(Taken));
        assert_eq!(table.claim(before + quarantine, &bob, &great), Ok(()));
    }

    #[test]
    fn quarantine_is_bounded() {
        let now = test_epoch();
        let mut table = Nicknames::new(&[nickname("reserved")], Duration::from_secs(60));
        let (alice, bob) = (aor("sip:alice@a"), aor("sip:bob@b"));
        let mut at = now;
        for number in 0..=QUARANTINED_MAX {
            let name = nickname(&number.to_string());
            table.claim(at, &alice, &name).unwrap();
            table.release(at, &name);
            at += Duration::from_millis(1);
        }
        assert_eq!(table.len(), QUARANTINED_MAX + 1);
        assert_eq!(table.claim(at, &bob, &nickname("0")), Ok(()), "the first was given up");
        assert_eq!(table.claim(at, &bob, &nickname("1")), Err(Taken));
        assert_eq!(table.claim(at, &bob, &nickname("reserved")), Err(Taken));
    }

    proptest! {
        /// Whoever asks when, a nickname never has two holders.
        #[test]
        fn never_two_holders(steps in prop::collection::vec((0_u8..3, 0_u8..3, 0_u64..40), 0..60)) {
            let mut now = test_epoch();
            let mut table = Nicknames::new(&[], Duration::from_secs(30));
            let people = [aor("sip:a@x"), aor("sip:b@x"), aor("sip:c@x")];
            let mut held: Vec<(u8, Nickname)> = Vec::new();
            for (who, name, seconds) in steps {
                now += Duration::from_secs(seconds);
                let wanted = nickname(&format!("n{name}"));
                let others = held.iter().any(|(by, has)| *by != who && has.is_same(&wanted));
                if table.claim(now, &people[usize::from(who)], &wanted).is_ok() {
                    prop_assert!(!others);
                    held.push((who, wanted));
                } else if let Some(at) = held.iter().position(|(by, _)| *by == who) {
                    let (_, given_up) = held.swap_remove(at);
                    table.release(now, &given_up);
                }
            }
        }

        #[test]
        fn never_panics(value: Vec<u8>, text in "\"[\\\\\"a \u{3000}ß]{0,10}\"") {
            let _ = Nickname::parse(&value);
            let _ = Nickname::parse(text.as_bytes());
        }

        #[test]
        fn what_is_shown_is_stable(text in "[a-zA-Z ßé\u{fb01}]{1,20}") {
            if let Ok(once) = Nickname::new(&text) {
                prop_assert_eq!(Nickname::new(once.as_str()), Ok(once.clone()));
            }
        }
    }
}
