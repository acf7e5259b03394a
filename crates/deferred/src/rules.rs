//! The recipient's rules about whose messages are kept (OMA-TS-SIMPLE_IM §7.3.1).

use parlance_sip::uri::Aor;
use parlance_store::{AnonymousPolicy, Entry, Profile};

/// Who sent a message, as far as the recipient's rules can know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sender<'a> {
    /// The identities the core asserts, the IM address first; none when it withholds them.
    pub(crate) identities: &'a [Aor],
    /// Whether he asked for privacy.
    pub(crate) private: bool,
}

impl Sender<'_> {
    fn is_anonymous(&self) -> bool {
        self.private || self.identities.is_empty()
    }

    /// Entries that name a list kept elsewhere match nobody: there is no list here to look into.
    fn is(&self, entry: &Entry) -> bool {
        match entry {
            Entry::Identity(identity) => self.identities.iter().any(|own| own.as_str() == identity),
            Entry::Domain(domain) => self
                .identities
                .iter()
                .any(|own| own.domain().is_some_and(|own| own.eq_ignore_ascii_case(domain))),
            Entry::Anonymous => self.is_anonymous(),
            Entry::List(_) => false,
        }
    }

    fn is_among(&self, entries: &[Entry]) -> bool {
        entries.iter().any(|entry| self.is(entry))
    }

    /// Whether the rules of `profile` let his messages be kept: he may not be on the block list
    /// unless he is on the accept list, and must be among those whose messages may be kept when
    /// the recipient says who they are.
    pub(crate) fn may_leave_messages(&self, profile: &Profile) -> bool {
        if !self.is_among(&profile.accept) {
            let turned_away = self.is_among(&profile.reject)
                || (self.is_anonymous() && profile.anonymous == AnonymousPolicy::Reject);
            if turned_away {
                return false;
            }
        }
        profile.offline_storage.as_deref().is_none_or(|entries| self.is_among(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::{AnonymousPolicy, Entry, Profile, Sender};

    // Covers: DF-007
    #[test]
    fn the_recipient_says_whose_messages_are_kept() {
        let alice = ["sip:alice@ims.test".parse().unwrap(), "tel:+15550000001".parse().unwrap()];
        let open = Sender { identities: &alice, private: false };
        let hidden = Sender { private: true, ..open.clone() };
        let nobody = Sender { identities: &[], private: false };
        let with = |change: fn(&mut Profile)| {
            let mut profile = Profile::default();
            change(&mut profile);
            profile
        };
        let blocked = with(|bob| bob.reject = vec![Entry::Domain("IMS.test".into())]);
        let accept = vec![Entry::Identity("sip:alice@ims.test".into())];
        let accepted = Profile { accept: accept.clone(), ..blocked.clone() };
        let some = Profile { offline_storage: Some(accept.clone()), ..Profile::default() };
        let none = with(|bob| bob.offline_storage = Some(Vec::new()));
        let number = with(|bob| bob.reject = vec![Entry::Identity("tel:+15550000001".into())]);
        let elsewhere = with(|bob| bob.offline_storage = Some(vec![Entry::List("x".into())]));
        #[rustfmt::skip]
        let table = [
            ("nothing said",       Profile::default(),                    [true, true, true]),
            ("blocked domain",     blocked,                               [false, false, true]),
            ("blocked number",     number,                                [false, false, true]),
            ("accepted though",    accepted,                              [true, true, true]),
            ("blocked nameless",   with(|bob| bob.reject = vec![Entry::Anonymous]),
                                                                          [true, false, false]),
            ("no anonymous",       with(|bob| bob.anonymous = AnonymousPolicy::Reject),
                                                                          [true, false, false]),
            ("storage for him",    some,                                  [true, true, false]),
            ("storage for nobody", none.clone(),                          [false, false, false]),
            ("accepted, not kept", Profile { accept, ..none },            [false, false, false]),
            ("a list elsewhere",   elsewhere,                             [false, false, false]),
        ];
        for (what, profile, expected) in table {
            let found = [&open, &hidden, &nobody].map(|sender| sender.may_leave_messages(&profile));
            assert_eq!(found, expected, "{what}");
        }
    }
}
