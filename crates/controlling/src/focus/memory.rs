//! Who may come back (CF-036): what a session remembers of users who are not in it.

use std::collections::HashMap;

use parlance_sip::uri::Aor;

/// Users that one session remembers at most. Local limit: whoever is removed or invited beyond it
/// takes the place of somebody who was not removed.
pub(super) const REMEMBERED_MAX: usize = 8192;

/// What is remembered of a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Past {
    /// He was invited, or took part: he may come.
    Welcome,
    /// He was removed, and may not come before somebody invites him again.
    Expelled,
}

/// The memory of a session.
#[derive(Debug, Default)]
pub(super) struct Memory {
    users: HashMap<Aor, Past>,
}

impl Memory {
    /// What is remembered of whoever goes by these identities.
    pub(super) fn of(&self, names: &[Aor]) -> Option<Past> {
        let mut known = names.iter().filter_map(|name| self.users.get(name)).copied();
        let first = known.next()?;
        if first == Past::Expelled || known.any(|past| past == Past::Expelled) {
            return Some(Past::Expelled);
        }
        Some(first)
    }

    /// Somebody was invited: he may come, also when he was removed before.
    pub(super) fn invite(&mut self, names: &[Aor]) {
        self.put(names, Past::Welcome);
    }

    /// Somebody took part.
    pub(super) fn leave(&mut self, names: &[Aor]) {
        if self.of(names) != Some(Past::Expelled) {
            self.put(names, Past::Welcome);
        }
    }

    /// Somebody was removed.
    pub(super) fn expel(&mut self, names: &[Aor]) {
        self.put(names, Past::Expelled);
    }

    fn put(&mut self, names: &[Aor], past: Past) {
        for name in names {
            if self.users.len() >= REMEMBERED_MAX && !self.users.contains_key(name) {
                let other = self.users.iter().find(|(_, past)| **past == Past::Welcome);
                let Some(other) = other.map(|(name, _)| name.clone()) else { return };
                self.users.remove(&other);
            }
            self.users.insert(name.clone(), past);
        }
    }
}

#[cfg(test)]
mod tests {
    use parlance_sip::uri::Aor;

    use super::{Memory, Past, REMEMBERED_MAX};

    fn aor(text: &str) -> Aor {
        text.parse().unwrap()
    }

    // Covers: CF-036
    #[test]
    fn who_was_removed_needs_an_invitation() {
        let mut memory = Memory::default();
        let (bob, tel) = ([aor("sip:bob@ims.test")], [aor("tel:+15550002")]);
        let both = [bob.clone(), tel.clone()].concat();
        assert_eq!(memory.of(&bob), None);
        memory.leave(&bob);
        assert_eq!(memory.of(&bob), Some(Past::Welcome));
        memory.expel(&both);
        memory.leave(&bob);
        assert_eq!(memory.of(&tel), Some(Past::Expelled), "by another name");
        assert_eq!(memory.of(&[aor("sip:b2@ims.test"), bob[0].clone()]), Some(Past::Expelled));
        memory.invite(&both);
        assert_eq!(memory.of(&bob), Some(Past::Welcome));
    }

    // Covers: CF-036
    #[test]
    fn whoever_was_removed_is_remembered_longest() {
        let mut memory = Memory::default();
        memory.expel(&[aor("sip:eve@ims.test")]);
        for number in 0..2 * REMEMBERED_MAX {
            memory.leave(&[aor(&format!("sip:u{number}@ims.test"))]);
        }
        assert_eq!(memory.users.len(), REMEMBERED_MAX);
        assert_eq!(memory.of(&[aor("sip:eve@ims.test")]), Some(Past::Expelled));
    }
}
