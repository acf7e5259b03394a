//! INVITEs that take the place of a dialog (RFC 3891 §3, OMA-TS-SIMPLE_IM §6.1.3.2.4).
//!
//! | the dialog that `Replaces` names         | answer                 |
//! |------------------------------------------|------------------------|
//! | none of the session                      | 481                    |
//! | one that is over                         | 603                    |
//! | early, of a call to the session          | 481                    |
//! | of somebody else                         | 403                    |
//! | early, of a call of the session          | 2xx, and CANCEL for it |
//! | confirmed, with `early-only`             | 486                    |
//! | confirmed                                | 2xx, and BYE in it     |

use std::collections::VecDeque;

use parlance_sip::dialog::DialogId;
use parlance_sip::header::{From, Header, Replaces, To};
use parlance_sip::{HeaderName, Method, Request, Response};

use super::{Session, Stage, end};
use crate::focus::{Caller, EndpointId};
use crate::list::Invitee;
use crate::refusal::Refusal;

/// Dialogs of a session that are over and remembered. Local limit: of older ones is said that they
/// never were.
const ENDED_MAX: usize = 64;

/// Early dialogs of one call that are remembered, one for each fork. Local limit.
const FORKS_MAX: usize = 8;

/// The dialog whose place an INVITE is to take.
///
/// # Errors
/// It has several, cannot be read, also wants to join a dialog (RFC 3911 §4), or is no INVITE.
pub(crate) fn of_request(request: &Request) -> Result<Option<Replaces<'_>>, Refusal> {
    let mut values = request.values(HeaderName::Replaces);
    let Some(value) = values.next() else { return Ok(None) };
    if request.method() != Method::Invite {
        return Err(Refusal::Malformed("Replaces is for INVITE"));
    }
    if values.next().is_some() {
        return Err(Refusal::Malformed("More than one Replaces"));
    }
    if request.named(b"Join").is_some() {
        return Err(Refusal::Malformed("Replaces and Join"));
    }
    let replaces = Replaces::parse(value).map_err(|_| Refusal::Malformed("Bad Replaces"))?;
    Ok(Some(replaces))
}

/// An INVITE where there is no dialog whose place it could take.
///
/// # Errors
/// It wants to.
pub(crate) fn none_here(request: &Request) -> Result<(), Refusal> {
    of_request(request)?.map_or(Ok(()), |_| Err(Refusal::NoDialog))
}

/// Whether `dialog` is the one named; `0` is no tag, too (RFC 3891 §6.1).
fn names(replaces: &Replaces<'_>, dialog: &DialogId) -> bool {
    let is = |tag: &str, known: &str| tag == known || tag == "0" && known.is_empty();
    replaces.call_id.as_str() == &*dialog.call_id
        && is(replaces.to_tag, &dialog.local_tag)
        && is(replaces.from_tag, &dialog.remote_tag)
}

/// The early dialog that a provisional response to an INVITE of ours makes.
pub(super) fn early_dialog(response: &Response) -> Option<DialogId> {
    let from = response.header::<From<'_>>().ok().flatten()?;
    let to = response.header::<To<'_>>().ok().flatten()?;
    Some(DialogId {
        call_id: std::str::from_utf8(response.call_id()).ok()?.into(),
        local_tag: from.tag()?.into(),
        remote_tag: to.tag()?.into(),
    })
}

/// Remembers an early dialog of a call.
pub(super) fn note_early(known: &mut Vec<DialogId>, dialog: DialogId) {
    if known.len() < FORKS_MAX && !known.contains(&dialog) {
        known.push(dialog);
    }
}

/// Remembers that a dialog is over.
pub(super) fn note_ended(ended: &mut VecDeque<DialogId>, dialog: DialogId) {
    if ended.len() >= ENDED_MAX {
        ended.pop_front();
    }
    ended.push_back(dialog);
}

impl Session {
    /// The endpoint whose place an INVITE of `caller`, who was admitted, is to take.
    ///
    /// # Errors
    /// It cannot.
    pub(super) fn replaced_by(
        &self,
        request: &Request,
        caller: &Caller,
    ) -> Result<Option<EndpointId>, Refusal> {
        let Some(replaces) = of_request(request)? else { return Ok(None) };
        let mut found = None;
        for (endpoint, participant) in &self.participants {
            let is_it = match &participant.stage {
                Stage::In(inside) => {
                    inside.dialog.as_ref().is_some_and(|dialog| names(&replaces, dialog))
                }
                Stage::Calling(call) => call.early.iter().any(|dialog| names(&replaces, dialog)),
            };
            if is_it && found.replace((*endpoint, participant)).is_some() {
                // One that is not the only one is none.
                return Err(Refusal::NoDialog);
            }
        }
        let Some((endpoint, participant)) = found else {
            let is_over = self.ended.iter().any(|dialog| names(&replaces, dialog));
            return Err(if is_over { Refusal::DialogOver } else { Refusal::NoDialog });
        };
        if !caller.names().iter().any(|name| participant.caller.names().contains(name)) {
            return Err(Refusal::NotAllowed);
        }
        match participant.stage {
            Stage::In(_) if replaces.early_only => Err(Refusal::DialogConfirmed),
            Stage::In(_) | Stage::Calling(_) => Ok(Some(endpoint)),
        }
    }

    /// `new` has taken the place of `old`.
    pub(super) fn replace(&mut self, old: EndpointId, new: EndpointId) {
        let is_in = self.participants.get(&new).is_some_and(
            |participant| matches!(&participant.stage, Stage::In(inside) if inside.leg.is_some()),
        );
        if !is_in {
            return;
        }
        let referral = match self.participants.get_mut(&old).map(|it| &mut it.stage) {
            Some(Stage::Calling(call)) => call.take_referral(),
            Some(Stage::In(_)) | None => None,
        };
        self.referral_is_over(referral, 200, "OK");
        if let Some(registered) = &mut self.registered {
            registered.unpair();
        }
        self.remove(old, end::REPLACED);
    }

    /// Whom to call so that the dialog he has himself is replaced: a list of somebody who was in a
    /// conference of two with him names the other end of it.
    pub(super) fn with_own_dialog(&self, invitee: &Invitee) -> Invitee {
        let mut invitee = invitee.clone();
        for (name, value) in &mut invitee.headers {
            if *name != "Replaces" {
                continue;
            }
            let Ok(replaces) = Replaces::parse(value.as_bytes()) else { continue };
            let named = DialogId {
                call_id: replaces.call_id.as_str().into(),
                local_tag: replaces.to_tag.into(),
                remote_tag: replaces.from_tag.into(),
            };
            let Some(other) = self.hosted.register.other_end(&named) else { continue };
            let early = if replaces.early_only { ";early-only" } else { "" };
            let DialogId { call_id, local_tag, remote_tag } = other;
            *value = format!("{call_id};to-tag={remote_tag};from-tag={local_tag}{early}");
        }
        invitee
    }

    /// Says which dialogs a conference of two has, as long as it is one.
    pub(super) fn pair_up(&mut self) {
        let Some(registered) = &mut self.registered else { return };
        let is_pair = self.focus.kind() == crate::focus::Kind::OneToOne
            && self.focus.counts().inside == 2
            && self.participants.len() == 2;
        if is_pair == registered.is_paired() {
            return;
        }
        registered.unpair();
        let dialogs =
            self.participants.values().filter_map(|participant| match &participant.stage {
                Stage::In(inside) => inside.dialog.clone(),
                Stage::Calling(_) => None,
            });
        let dialogs: Vec<DialogId> = dialogs.collect();
        if let ([one, other], true) = (&*dialogs, is_pair) {
            registered.pair(one.clone(), other.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use parlance_sip::dialog::DialogId;
    use parlance_sip::header::{Header, Replaces};

    use super::{ENDED_MAX, FORKS_MAX, names, note_early, note_ended};

    fn dialog(call_id: &str, local: &str, remote: &str) -> DialogId {
        DialogId { call_id: call_id.into(), local_tag: local.into(), remote_tag: remote.into() }
    }

    // Covers: CLI-016
    #[test]
    fn a_dialog_is_named_from_the_side_of_who_is_asked() {
        let named = |value: &str, local: &str, remote: &str| {
            names(&Replaces::parse(value.as_bytes()).unwrap(), &dialog("a@b", local, remote))
        };
        assert!(named("a@b;to-tag=1;from-tag=2", "1", "2"));
        assert!(!named("a@b;to-tag=1;from-tag=2", "2", "1"));
        assert!(!named("A@b;to-tag=1;from-tag=2", "1", "2"));
        assert!(named("a@b;to-tag=1;from-tag=0", "1", ""));
        assert!(named("a@b;to-tag=1;from-tag=0", "1", "0"));
        assert!(!named("a@b;to-tag=1;from-tag=0", "1", "2"));
    }

    #[test]
    fn what_is_remembered_has_a_limit() {
        let (mut ended, mut early) = (VecDeque::new(), Vec::new());
        for number in 0..ENDED_MAX + 5 {
            note_ended(&mut ended, dialog(&number.to_string(), "1", "2"));
            note_early(&mut early, dialog(&number.to_string(), "1", "2"));
            note_early(&mut early, dialog("0", "1", "2"));
        }
        assert_eq!((ended.len(), early.len()), (ENDED_MAX, FORKS_MAX));
        assert_eq!(&*ended[0].call_id, "5");
    }
}
