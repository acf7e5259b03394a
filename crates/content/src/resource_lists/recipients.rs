//! The recipients that a list names, and what they see of one another (RFC 5364 §4, §6).

use std::collections::HashMap;
use std::collections::hash_map;
use std::hash::Hash;

use super::{CopyAttributes, CopyControl, DisplayName, Entry, List, Member, ResourceLists};

/// The URI that stands for the recipients that are not disclosed (RFC 5364 §4).
pub const ANONYMOUS: &str = "sip:anonymous@anonymous.invalid";

/// Somebody whom a request on a list goes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipient {
    /// The URI of the first entry that names him.
    pub uri: String,
    /// What users call him, when an entry told.
    pub display_name: Option<DisplayName>,
    /// The highest level among the entries that name him.
    pub copy_control: CopyControl,
    /// Whether the other recipients are not to see his URI.
    pub anonymize: bool,
}

/// Each recipient once, in the order of the entries.
///
/// Entries whose `key` is equal name the same recipient; an entry without one is left out. The
/// highest copy level of them counts (RFC 5364 §4). Any of them that is no blind copy may ask not
/// to disclose the URI, so that what one entry hides no other entry shows.
pub fn recipients<K: Eq + Hash>(
    entries: impl IntoIterator<Item = Entry>,
    key: impl Fn(&str) -> Option<K>,
) -> Vec<Recipient> {
    let mut places: HashMap<K, usize> = HashMap::new();
    let mut found: Vec<Recipient> = Vec::new();
    for Entry { uri, display_name, copy } in entries {
        let Some(key) = key(&uri) else { continue };
        let copy_control = copy.control.unwrap_or(CopyControl::Bcc);
        let anonymize = copy.anonymize == Some(true) && copy_control > CopyControl::Bcc;
        match places.entry(key) {
            hash_map::Entry::Vacant(place) => {
                place.insert(found.len());
                found.push(Recipient { uri, display_name, copy_control, anonymize });
            }
            hash_map::Entry::Occupied(place) => {
                let known = found.get_mut(*place.get()).expect("places are those of found");
                known.copy_control = known.copy_control.max(copy_control);
                known.anonymize |= anonymize;
                if known.display_name.is_none() {
                    known.display_name = display_name;
                }
            }
        }
    }
    found
}

/// The list that the recipients see, `recipient-list-history` (RFC 5364 §6); `None` when they see
/// nobody.
///
/// At each level first those who may be seen, then one anonymous entry that counts the others.
/// Blind copies are on it never, also when they are to be anonymous: a list that would show each of
/// them to himself alone would have to be written once for each.
pub fn history<'a>(recipients: impl IntoIterator<Item = &'a Recipient>) -> Option<ResourceLists> {
    let (mut to, mut cc) = (Level::default(), Level::default());
    for recipient in recipients {
        let level = match recipient.copy_control {
            CopyControl::To => &mut to,
            CopyControl::Cc => &mut cc,
            CopyControl::Bcc => continue,
        };
        if recipient.anonymize {
            level.anonymous = level.anonymous.saturating_add(1);
            continue;
        }
        level.seen.push(Member::Entry(Entry {
            uri: recipient.uri.clone(),
            display_name: recipient.display_name.clone(),
            copy: CopyAttributes {
                control: Some(recipient.copy_control),
                ..CopyAttributes::default()
            },
        }));
    }
    let mut members = to.into_members(CopyControl::To);
    members.extend(cc.into_members(CopyControl::Cc));
    let list = List::new(members);
    (!list.members.is_empty()).then(|| ResourceLists { lists: vec![list] })
}

/// The recipients of one level.
#[derive(Default)]
struct Level {
    seen: Vec<Member>,
    anonymous: u32,
}

impl Level {
    fn into_members(mut self, control: CopyControl) -> Vec<Member> {
        if self.anonymous > 0 {
            self.seen.push(Member::Entry(Entry {
                uri: ANONYMOUS.to_owned(),
                display_name: None,
                copy: CopyAttributes {
                    control: Some(control),
                    anonymize: None,
                    count: Some(self.anonymous),
                },
            }));
        }
        self.seen
    }
}
