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

    /// Whether an entry of `profile` means him. A list that is not in it says `lost` of who may be
    /// on it: there is no other to look into.
    fn is(&self, entry: &Entry, profile: &Profile, lost: bool) -> bool {
        match entry {
            Entry::Anonymous => self.is_anonymous(),
            Entry::List(name) => {
                profile.lists.get(name).map_or(lost && !self.identities.is_empty(), |members| {
                    members.iter().any(|member| self.is_named_by(member))
                })
            }
            Entry::Identity(_) | Entry::Domain(_) => self.is_named_by(entry),
        }
    }

    /// Whether an entry is an identity of his, or the domain of one.
    fn is_named_by(&self, entry: &Entry) -> bool {
        match entry {
            Entry::Identity(identity) => self.identities.iter().any(|own| own.as_str() == identity),
            Entry::Domain(domain) => self
                .identities
                .iter()
                .any(|own| own.domain().is_some_and(|own| own.eq_ignore_ascii_case(domain))),
            Entry::Anonymous | Entry::List(_) => false,
        }
    }

    /// Whether the rules of `profile` let his messages be kept: he may not be on the block list
    /// unless he is on the accept list, and must be among those whose messages may be kept when
    /// the recipient says who they are.
    pub(crate) fn may_leave_messages(&self, profile: &Profile) -> bool {
        let is_among = |entries: &[Entry], lost: bool| {
            entries.iter().any(|entry| self.is(entry, profile, lost))
        };
        if !is_among(&profile.accept, false) {
            let turned_away = is_among(&profile.reject, true)
                || (self.is_anonymous() && profile.anonymous == AnonymousPolicy::Reject);
            if turned_away {
                return false;
            }
        }
        profile.offline_storage.as_deref().is_none_or(|entries| is_among(entries, false))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

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
        let listed = |members: &[Entry]| Profile {
            reject: vec![Entry::List("x".into())],
            lists: [("x".to_owned(), members.to_vec())].into(),
            ..Profile::default()
        };
        let blocked_list = listed(&accept);
        let lost = Profile { lists: BTreeMap::new(), ..listed(&[]) };
        let some_listed = Profile { lists: listed(&accept).lists, ..elsewhere.clone() };
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
            ("blocked list",       blocked_list,                          [false, false, true]),
            ("a list without him", listed(&[]),                           [true, true, true]),
            ("a lost list blocks", lost,                                  [false, false, true]),
            ("storage for a list", some_listed,                           [true, true, false]),
        ];
        for (what, profile, expected) in table {
            let found = [&open, &hidden, &nobody].map(|sender| sender.may_leave_messages(&profile));
            assert_eq!(found, expected, "{what}");
        }
    }
}
