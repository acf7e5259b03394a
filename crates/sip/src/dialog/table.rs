//! Which dialog a request belongs to (RFC 3261 §12.2.2).

use hashbrown::HashMap;
use hashbrown::hash_map::Entry;

use super::{Dialog, DialogId, DialogRefusal};

/// The dialogs of one owner, found by their identity, no more than a fixed number.
///
/// Nothing is looked up by Call-ID alone: one request may visit the server twice with the same
/// Call-ID, tags and sequence number.
#[derive(Debug)]
pub struct Dialogs {
    dialogs: HashMap<DialogId, Dialog>,
    dialogs_max: usize,
}

impl Dialogs {
    /// No dialogs yet. Local limit, the RFC sets none: beyond `dialogs_max` none is added.
    pub fn new(dialogs_max: usize) -> Self {
        Self { dialogs: HashMap::new(), dialogs_max }
    }

    /// Adds a dialog, or gives it back when there is one of that name or no room: the request that
    /// would make it is then refused with 503 (overload).
    pub fn insert(&mut self, dialog: Dialog) -> Result<(), Box<Dialog>> {
        let full = self.dialogs.len() >= self.dialogs_max;
        match self.dialogs.entry(dialog.id().clone()) {
            Entry::Vacant(vacant) if !full => {
                vacant.insert(dialog);
                Ok(())
            }
            Entry::Vacant(_) | Entry::Occupied(_) => Err(Box::new(dialog)),
        }
    }

    /// The dialog of that identity.
    pub fn find(&mut self, id: &DialogId) -> Option<&mut Dialog> {
        self.dialogs.get_mut(id)
    }

    /// The dialog a request from the peer belongs to, other than ACK and CANCEL, once its sequence
    /// number was found in order.
    pub fn receive(&mut self, id: &DialogId, cseq: u32) -> Result<&mut Dialog, DialogRefusal> {
        let dialog = self.dialogs.get_mut(id).ok_or(DialogRefusal::Unknown)?;
        dialog.receive(cseq)?;
        Ok(dialog)
    }

    /// Forgets a dialog.
    pub fn remove(&mut self, id: &DialogId) -> Option<Dialog> {
        self.dialogs.remove(id)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.dialogs.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.dialogs.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::foundation;
    use super::super::{DialogState, Role};
    use super::*;

    fn dialog(local_tag: &str) -> Dialog {
        let mut foundation = foundation(Role::Uas, DialogState::Confirmed, &[]);
        foundation.id.local_tag = local_tag.into();
        Dialog::new(foundation)
    }

    // Covers: CORE-008, CORE-062
    #[test]
    fn every_part_of_the_identity_counts() {
        let mut dialogs = Dialogs::new(10);
        dialogs.insert(dialog("first")).unwrap();
        dialogs.insert(dialog("second")).unwrap();
        let id = dialog("first").id().clone();
        assert!(dialogs.receive(&id, 400).is_ok());
        assert_eq!(dialogs.receive(&id, 399).unwrap_err().status(), 500);
        let second = dialog("second").id().clone();
        assert!(dialogs.receive(&second, 399).is_ok(), "each leg has its own numbers");

        let swapped = DialogId {
            local_tag: id.remote_tag.clone(),
            remote_tag: id.local_tag.clone(),
            ..id.clone()
        };
        let other_call = DialogId { call_id: "x".into(), ..id.clone() };
        let other_tag = DialogId { local_tag: "x".into(), ..id.clone() };
        for unknown in [swapped, other_call, other_tag] {
            assert_eq!(dialogs.receive(&unknown, 500).unwrap_err().status(), 481);
        }
        assert!(dialogs.remove(&id).is_some());
        assert_eq!(dialogs.receive(&id, 500).unwrap_err(), DialogRefusal::Unknown);
    }

    #[test]
    fn there_are_no_more_than_the_limit() {
        let mut dialogs = Dialogs::new(2);
        assert!(dialogs.is_empty());
        assert!(dialogs.insert(dialog("1")).is_ok());
        assert!(dialogs.insert(dialog("1")).is_err(), "one of that name is there");
        assert!(dialogs.insert(dialog("2")).is_ok());
        assert!(dialogs.insert(dialog("3")).is_err());
        assert_eq!(dialogs.len(), 2);
        dialogs.remove(dialog("1").id());
        assert!(dialogs.insert(dialog("3")).is_ok());
        assert!(dialogs.find(dialog("3").id()).is_some());
    }
}
