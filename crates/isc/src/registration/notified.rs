//! What notifications of the `reg` event change about a registration (RFC 3680; CORE-059).

use std::sync::Arc;
use std::time::Duration;

use parlance_content::reginfo::{self, RegInfo};
use parlance_sip::grammar::is_token;
use parlance_sip::header::{Contact, Header};
use parlance_store::{
    self as store, Binding, Bound, LIST_MAX, Millis, Registration, RegistrationId, StoreError,
    UserId,
};

use super::contacts::{is_same, kept};
use super::{Ended, Registrar, RegistrationEvent, ended};

/// What the registration state shown by the core means for the registration kept here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The user is gone.
    Gone,
    /// His last contact for instant messages is; these are left.
    TagLost(Vec<store::Contact>),
    /// His contacts are these.
    Contacts(Vec<store::Contact>),
    /// Nothing new.
    Unchanged,
}

/// Judges `shown` against what is kept.
///
/// `told_params` is whether the core tells the parameters of contacts in this subscription. One
/// that does not leaves the feature tags open: they are then those the REGISTER showed, and a
/// contact that no REGISTER showed may well be one for instant messages.
pub(crate) fn verdict(shown: &RegInfo, told_params: bool, kept_here: &Registration) -> Verdict {
    if shown.registrations().is_empty() {
        return Verdict::Unchanged;
    }
    let mut contacts: Vec<store::Contact> = Vec::new();
    let mut is_open = false;
    let mut is_gone = true;
    for row in shown.active_contacts() {
        is_gone = false;
        let told = read(row);
        let bare = || store::Contact { uri: row.uri.clone(), ..store::Contact::default() };
        let contact = match told {
            Some(contact) if told_params => Some(contact),
            told => {
                let known = told.unwrap_or_else(bare);
                kept_here.contacts.iter().find(|contact| is_same(contact, &known)).cloned()
            }
        };
        match contact {
            None => is_open = true,
            Some(contact) if contacts.iter().any(|known| is_same(known, &contact)) => {}
            Some(contact) if contacts.len() < LIST_MAX => contacts.push(contact),
            Some(contact) => is_open |= contact.has_im_tag,
        }
    }
    if is_gone {
        return Verdict::Gone;
    }
    if !contacts.iter().any(|contact| contact.has_im_tag) {
        return if is_open { Verdict::Unchanged } else { Verdict::TagLost(contacts) };
    }
    let is_known = |contact| kept_here.contacts.contains(contact);
    if contacts.len() == kept_here.contacts.len() && contacts.iter().all(is_known) {
        return Verdict::Unchanged;
    }
    Verdict::Contacts(contacts)
}

/// A contact as a REGISTER would have shown it; `None` when it cannot be written as one.
fn read(row: &reginfo::Contact) -> Option<store::Contact> {
    let mut text = format!("<{}>", row.uri);
    for (name, value) in &row.params {
        if name.is_empty() || !name.bytes().all(is_token) {
            continue;
        }
        text.push(';');
        text.push_str(name);
        if value.is_empty() {
            continue;
        }
        text.push('=');
        // The value stands as in Contact, or without the quotes it had there.
        if value.starts_with('"') || value.bytes().all(is_token) {
            text.push_str(value);
        } else {
            text.push('"');
            text.push_str(&value.replace('\\', "\\\\").replace('"', "\\\""));
            text.push('"');
        }
    }
    kept(&Contact::parse(text.as_bytes()).ok()?)
}

/// The NOTIFY that shows contacts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Notification<'a> {
    /// Its Call-ID.
    pub(crate) call_id: &'a str,
    /// Its CSeq number.
    pub(crate) cseq: u32,
}

impl Registrar {
    /// The registration numbered `id`, if it is still there.
    pub(crate) async fn current(
        &self,
        user: &UserId,
        id: RegistrationId,
        now: Millis,
    ) -> Result<Option<Arc<Registration>>, StoreError> {
        let found = self.registrations.lookup(user).await?;
        Ok(found.filter(|found| found.id == id && !found.has_lapsed(now)))
    }

    /// Ends the registration numbered `id`; one that came after it stays.
    pub(crate) async fn end_notified(
        &self,
        user: &UserId,
        id: RegistrationId,
        why: Ended,
        now: Millis,
    ) -> Result<Option<RegistrationEvent>, StoreError> {
        if self.current(user, id, now).await?.is_none() {
            return Ok(None);
        }
        let was = self.registrations.unbind(user).await?;
        Ok(ended(user.clone(), was, why))
    }

    /// Ends the registration `known` for instant messages; the contacts left stay bound.
    pub(crate) async fn lose_tag(
        &self,
        known: &Registration,
        left: Vec<store::Contact>,
        notification: Notification<'_>,
        now: Millis,
    ) -> Result<Option<RegistrationEvent>, StoreError> {
        let Some(user) = &known.user else { return Ok(None) };
        let event = self.end_notified(user, known.id, Ended::TagLost, now).await?;
        if event.is_some() {
            self.show_contacts(known, left, notification, now).await?;
        }
        Ok(event)
    }

    /// Puts the contacts that `notification` shows into the registration `known`. Its expiry stays.
    pub(crate) async fn show_contacts(
        &self,
        known: &Registration,
        contacts: Vec<store::Contact>,
        notification: Notification<'_>,
        now: Millis,
    ) -> Result<Option<RegistrationEvent>, StoreError> {
        let (Some(user), Some(public_id)) = (&known.user, known.public_ids.first()) else {
            return Ok(None);
        };
        let left = known.expires_at.since(now);
        let Notification { call_id, cseq } = notification;
        let binding = Binding {
            user: user.clone(),
            public_id: public_id.clone(),
            aliases: Some(known.aliases.clone()),
            scscf: known.scscf.clone(),
            expires: u32::try_from(left.as_secs()).unwrap_or(u32::MAX),
            grace: known.lapses_at.since(now).saturating_sub(Duration::from_secs(left.as_secs())),
            contacts: Some(contacts),
            charging: Some(known.charging.clone()),
            orig_ioi: known.orig_ioi.clone(),
            barred: known.barred,
            // Every REGISTER has a Call-ID of its own (TS 24.229 §5.4.1.7), so that the next one
            // is taken whatever its number.
            call_id: call_id.to_owned(),
            cseq,
        };
        let registration = match self.registrations.bind(binding, now).await? {
            Bound::New(registration) | Bound::Refreshed(registration) => registration,
            Bound::Stale => return Ok(None),
        };
        Ok(Some(RegistrationEvent::Registered { registration, new: false, first_ever: false }))
    }
}

#[cfg(test)]
mod tests {
    use parlance_content::reginfo::{Document, RegInfo};
    use parlance_store::{Contact, LIST_MAX, Millis, Registration, RegistrationId, Store, UserId};

    use super::{Verdict, verdict};
    use crate::registration::{Ended, Registrar, RegistrationPolicy};

    /// A full document from `identity state` and contacts, `;` between registrations; a contact is
    /// `name` or `name+`, with the feature tag.
    fn shown(text: &str) -> RegInfo {
        let registration = |text: &str| {
            let mut words = text.split_whitespace();
            let (id, state) = (words.next().unwrap(), words.next().unwrap());
            let contact = |text: &str| {
                let name = text.trim_end_matches('+');
                let tag =
                    if text.ends_with('+') { "<unknown-param name='+g.oma.sip-im'/>" } else { "" };
                format!(
                    "<contact id='{name}' state='active'><uri>sip:{name}@h</uri>{tag}</contact>"
                )
            };
            let contacts: String = words.map(contact).collect();
            format!(
                "<registration aor='sip:{id}' id='{id}' state='{state}'>{contacts}</registration>"
            )
        };
        let rows: String =
            text.split(';').filter(|row| !row.is_empty()).map(registration).collect();
        let text = format!(
            "<reginfo xmlns='urn:ietf:params:xml:ns:reginfo' version='0' state='full'>{rows}\
             </reginfo>"
        );
        let mut table = RegInfo::new();
        table.apply(Document::parse(text.as_bytes()).unwrap());
        table
    }

    /// A record from contacts as above.
    fn record(contacts: &str) -> Registration {
        let contact = |text: &str| Contact {
            uri: format!("sip:{}@h", text.trim_end_matches('+')),
            instance: None,
            tags: text.ends_with('+').then(|| "+g.oma.sip-im".to_owned()).into_iter().collect(),
            has_im_tag: text.ends_with('+'),
        };
        let contacts = contacts.split_whitespace().map(contact).collect();
        Registration { contacts, ..Registration::default() }
    }

    // Covers: CORE-059
    #[test]
    fn what_is_shown_is_judged_against_what_is_kept() {
        let contacts = |text: &str| Verdict::Contacts(record(text).contacts);
        let gone = || Verdict::Gone;
        let tag_lost = |text: &str| Verdict::TagLost(record(text).contacts);
        #[rustfmt::skip]
        let table = [
            // Told parameters.
            (true,  "r active a+",                       "a+",    Verdict::Unchanged),
            (true,  "r active b a+",                     "a+ b",  Verdict::Unchanged),
            (true,  "r active a+ b",                     "a+",    contacts("a+ b")),
            (true,  "r active a+",                       "",      contacts("a+")),
            (true,  "r active a",                        "a+",    tag_lost("a")),
            (true,  "r active a",                        "",      tag_lost("a")),
            // Every identity of a registration set has a row for each device.
            (true,  "r active a+;q active a+",           "a+",    Verdict::Unchanged),
            (true,  "r terminated;q active a+",          "a+",    Verdict::Unchanged),
            (true,  "r terminated;q active a",           "a+",    tag_lost("a")),
            (true,  "r terminated;q terminated",         "a+",    gone()),
            (true,  "r init",                            "a+",    gone()),
            (true,  "r terminated a+",                   "a+",    gone()),
            (true,  "",                                  "a+",    Verdict::Unchanged),
            // Not told: what the REGISTER showed counts.
            (false, "r active a b",                      "a+ b",  Verdict::Unchanged),
            (false, "r active a",                        "a+ b",  contacts("a+")),
            (false, "r active b",                        "a+ b",  tag_lost("b")),
            (false, "r active c",                        "a+ b",  Verdict::Unchanged),
            (false, "r active c",                        "",      Verdict::Unchanged),
            (false, "r terminated",                      "",      gone()),
        ];
        for (told, text, kept, expected) in table {
            assert_eq!(verdict(&shown(text), told, &record(kept)), expected, "{text} | {kept}");
        }
    }

    #[test]
    fn a_record_takes_no_more_contacts_than_it_holds() {
        let names = |prefix: &str, count: usize| -> String {
            (0..count).map(|n| format!(" {prefix}{n}+")).collect()
        };
        let text = format!("r active{};q active{}", names("a", LIST_MAX), names("b", 1));
        match verdict(&shown(&text), true, &record("")) {
            Verdict::Contacts(contacts) => assert_eq!(contacts.len(), LIST_MAX),
            other => panic!("{other:?}"),
        }
    }

    // Covers: CORE-059
    #[tokio::test]
    async fn a_later_registration_is_not_ended() {
        let store = Store::memory();
        let registrar = Registrar::new(
            store.profiles.clone(),
            store.registrations.clone(),
            RegistrationPolicy::default(),
        );
        let user = UserId::from("sip:alice@ims.test");
        let binding = |call_id: &str| parlance_store::Binding {
            user: user.clone(),
            public_id: user.to_string(),
            aliases: None,
            scscf: "sip:s".to_owned(),
            expires: 600,
            grace: std::time::Duration::ZERO,
            contacts: None,
            charging: None,
            orig_ioi: None,
            barred: false,
            call_id: call_id.to_owned(),
            cseq: 1,
        };
        store.registrations.bind(binding("1"), Millis(0)).await.unwrap();
        let first = store.registrations.lookup(&user).await.unwrap().unwrap().id;
        store.registrations.unbind(&user).await.unwrap();
        store.registrations.bind(binding("2"), Millis(0)).await.unwrap();
        let end = |id: RegistrationId, now| {
            registrar.end_notified(&user, id, Ended::Notified, Millis(now))
        };
        assert_eq!(end(first, 1).await, Ok(None));
        let second = store.registrations.lookup(&user).await.unwrap().unwrap().id;
        assert_eq!(end(second, 600_000).await, Ok(None), "that one is to be found lapsed");
        assert!(end(second, 1).await.unwrap().is_some());
        assert!(store.registrations.lookup(&user).await.unwrap().is_none());
    }
}
