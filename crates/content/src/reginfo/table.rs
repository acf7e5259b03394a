//! What the documents of one subscription add up to (RFC 3680 §5.2).

use super::{Contact, ContactState, Document, Extent, ROWS_MAX, Registration, RegistrationState};

/// The registrations that one subscription tells about.
///
/// A new subscription begins with a new table: versions count within one (§5.1). No more than
/// [`ROWS_MAX`] registrations with [`ROWS_MAX`] contacts each are kept; what changes would add
/// beyond is left out, and the table asks for the whole state as after a gap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RegInfo {
    version: Option<u32>,
    is_complete: bool,
    registrations: Vec<Registration>,
}

/// What became of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    /// Its version is not above the last: it is late or repeated, and was dropped.
    Stale,
    /// It was taken, and the table is whole.
    Taken,
    /// It was taken, but what was told before it is missing: a refresh SUBSCRIBE brings the whole
    /// state (§5.2).
    Incomplete,
}

impl RegInfo {
    /// A table nothing was told to.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes a document.
    pub fn apply(&mut self, document: Document) -> Applied {
        let Document { version, extent, registrations } = document;
        if self.version.is_some_and(|last| version <= last) {
            return Applied::Stale;
        }
        let follows = self.version.and_then(|last| last.checked_add(1)) == Some(version);
        self.version = Some(version);
        match extent {
            Extent::Full => {
                self.registrations.clear();
                self.is_complete = true;
            }
            Extent::Partial => self.is_complete &= follows,
        }
        for registration in registrations {
            self.update(registration);
        }
        if self.is_complete { Applied::Taken } else { Applied::Incomplete }
    }

    /// Whether nothing is missing: a full document came, and every one after it.
    pub fn is_complete(&self) -> bool {
        self.is_complete
    }

    /// The version of the last document; `None` before the first.
    pub fn version(&self) -> Option<u32> {
        self.version
    }

    /// The registrations, those without contacts included.
    pub fn registrations(&self) -> &[Registration] {
        &self.registrations
    }

    /// The contacts that are bound, over all registrations. One device has a row in each of them.
    pub fn active_contacts(&self) -> impl Iterator<Item = &Contact> {
        let active = self.registrations.iter().filter(|row| row.state == RegistrationState::Active);
        active.flat_map(|row| &row.contacts)
    }

    fn update(&mut self, told: Registration) {
        let known = self.registrations.iter().position(|row| row.id == told.id);
        if known.is_none() && self.registrations.len() >= ROWS_MAX {
            self.is_complete = false;
            return;
        }
        let known = known.map(|index| self.registrations.swap_remove(index).contacts);
        let mut contacts = known.unwrap_or_default();
        for contact in told.contacts {
            contacts.retain(|known| known.id != contact.id);
            match contact.state {
                ContactState::Terminated => {}
                ContactState::Active if contacts.len() >= ROWS_MAX => self.is_complete = false,
                ContactState::Active => contacts.push(contact),
            }
        }
        // A registration that is not active has no contacts, whatever is listed.
        if told.state != RegistrationState::Active {
            contacts.clear();
        }
        self.registrations.push(Registration { contacts, ..told });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contact(text: &str) -> Contact {
        let (id, state) = match text.strip_prefix('-') {
            Some(id) => (id, ContactState::Terminated),
            None => (text, ContactState::Active),
        };
        let uri = format!("sip:{id}@h");
        Contact { id: id.into(), state, event: "".into(), uri, expires: None, params: vec![] }
    }

    /// A document from `version full|partial id:contact,contact id!`: `!` is a terminated
    /// registration, `-` a terminated contact.
    fn document(text: &str) -> Document {
        let mut words = text.split(' ');
        let version = words.next().unwrap().parse().unwrap();
        let extent = match words.next() {
            Some("full") => Extent::Full,
            _ => Extent::Partial,
        };
        let registrations = words.map(|word| {
            let (id, contacts) = word.split_once(':').unwrap_or((word, ""));
            let (id, state) = match id.strip_suffix('!') {
                Some(id) => (id, RegistrationState::Terminated),
                None => (id, RegistrationState::Active),
            };
            let contacts = contacts.split(',').filter(|id| !id.is_empty()).map(contact).collect();
            Registration { aor: format!("sip:{id}"), id: id.into(), state, contacts }
        });
        Document { version, extent, registrations: registrations.collect() }
    }

    /// Applies documents in turn: after each the outcome and the contacts that are bound.
    #[track_caller]
    fn check(steps: &[(&str, Applied, &str)]) {
        let mut table = RegInfo::new();
        for (text, applied, contacts) in steps {
            assert_eq!(table.apply(document(text)), *applied, "{text}");
            let bound: Vec<_> = table.active_contacts().map(|row| row.id.as_str()).collect();
            assert_eq!(bound.join(","), *contacts, "{text}");
        }
    }

    use Applied::{Incomplete, Stale, Taken};

    // Covers: CORE-059
    #[test]
    fn documents_add_up() {
        check(&[
            ("0 full r:a,b", Taken, "a,b"),
            ("1 partial r:-a,c", Taken, "b,c"),
            ("2 partial q:d", Taken, "b,c,d"),
            ("3 partial r!:b", Taken, "d"),
            ("4 full q:e", Taken, "e"),
            ("9 full q:f", Taken, "f"),
            ("10 partial q:f,-g", Taken, "f"),
        ]);
    }

    // Covers: CORE-059
    #[test]
    fn what_is_not_above_the_last_version_is_dropped() {
        check(&[
            ("5 full r:a", Taken, "a"),
            ("5 full r:b", Stale, "a"),
            ("4 full r:b", Stale, "a"),
            ("0 partial r:-a", Stale, "a"),
            ("6 partial r:-a", Taken, ""),
            ("4294967295 full r:c", Taken, "c"),
            ("0 full r:d", Stale, "c"),
        ]);
    }

    // Covers: CORE-059
    #[test]
    fn a_gap_before_a_partial_document_asks_for_the_whole_state() {
        check(&[
            ("0 full r:a", Taken, "a"),
            ("2 partial r:b", Incomplete, "a,b"),
            ("3 partial r:c", Incomplete, "a,b,c"),
            ("5 full r:c", Taken, "c"),
            ("6 partial r:-c", Taken, ""),
        ]);
        check(&[("0 partial r:a", Incomplete, "a"), ("1 full r:a,b", Taken, "a,b")]);
    }

    #[test]
    fn the_table_is_bounded() {
        let ids = |range: std::ops::Range<usize>, join: &str| {
            range.map(|n| n.to_string()).collect::<Vec<_>>().join(join)
        };
        let mut table = RegInfo::new();
        assert_eq!(table.apply(document(&format!("0 full r:{}", ids(0..ROWS_MAX, ",")))), Taken);
        assert_eq!(table.apply(document("1 partial r:0")), Taken, "a known one is no further one");
        assert_eq!(table.apply(document("2 partial r:more")), Incomplete);
        assert_eq!(table.active_contacts().count(), ROWS_MAX);

        assert_eq!(table.apply(document(&format!("3 full {}", ids(0..ROWS_MAX, " ")))), Taken);
        assert_eq!(table.apply(document("4 partial more:a")), Incomplete);
        assert_eq!(table.registrations().len(), ROWS_MAX);
    }
}
