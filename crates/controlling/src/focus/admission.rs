//! Who may begin, join, invite, remove and watch (OMA-TS-SIMPLE_IM §7.4.3.4 to §7.4.3.7, §7.4.3.9,
//! §7.4.3.12, §7.4.3.14).

use parlance_sip::uri::Aor;
use parlance_store::Millis;

use super::memory::Past;
use super::{Caller, Focus, Kind};
use crate::groups::{Group, Rights, Who};
use crate::policy::{InviteRight, Policy};
use crate::refusal::Refusal;

/// Whether somebody may begin a session of a group at `now` (CF-033, CF-037).
///
/// # Errors
/// The first of the checks that fails.
pub fn begin(group: &Group, caller: &Caller, now: Millis, policy: &Policy) -> Result<(), Refusal> {
    let names = caller.names();
    let who = Who { names: &names, anonymous: caller.anonymous, now };
    let rights = group.rights(who);
    if rights.blocked {
        return Err(Refusal::Blocked);
    }
    if !rights.join {
        return Err(not_member(group, who));
    }
    if caller.anonymous && !rights.anonymity {
        return Err(Refusal::Anonymous);
    }
    if !group.supports(&policy.enablers) {
        return Err(Refusal::NotAllowed);
    }
    if group.invites_members() && !rights.initiate {
        return Err(Refusal::NotAllowed);
    }
    // Whoever is invited can be a key participant; a room has nobody but the one who comes.
    if !group.invites_members() && group.has_key_participants() && !rights.key_participant {
        return Err(Refusal::NobodyThere);
    }
    if group.invites_members() && group.members().len() > policy.participants_max(Some(group)) {
        return Err(Refusal::ListTooLong);
    }
    Ok(())
}

/// Why somebody who may not join may not: the group is closed to him now, or always.
fn not_member(group: &Group, who: Who<'_>) -> Refusal {
    if group.is_closed_to(who) { Refusal::Closed } else { Refusal::NotMember }
}

impl Focus {
    /// What whoever goes by these identities may do.
    pub fn rights(&self, names: &[Aor]) -> Rights {
        self.rights_of(Who { names, anonymous: false, now: self.now })
    }

    fn rights_of(&self, who: Who<'_>) -> Rights {
        let names = who.names;
        if let Some(group) = &self.setup.group {
            return group.rights(who);
        }
        let is_creator = names.contains(&self.setup.creator);
        let policy = &self.policy.ad_hoc;
        Rights {
            join: is_creator || self.memory.of(names).is_some() || self.takes_place(names),
            initiate: true,
            see_state: true,
            invite: policy.invite == InviteRight::Everybody || is_creator,
            expel: is_creator,
            anonymity: policy.anonymity,
            private_messages: policy.private_messages,
            blocked: false,
            key_participant: false,
        }
    }

    /// Whether somebody may join, now that the session runs: blocked, member, anonymous, room, and
    /// what else there is, in this order (CF-038).
    ///
    /// # Errors
    /// The first of the checks that fails.
    pub fn admit(&self, caller: &Caller) -> Result<(), Refusal> {
        let names = caller.names();
        let who = Who { names: &names, anonymous: caller.anonymous, now: self.now };
        let group = self.setup.group.as_deref();
        if self.memory.of(&names) == Some(Past::Expelled) {
            return Err(Refusal::Blocked);
        }
        let rights = self.rights_of(who);
        if rights.blocked {
            return Err(Refusal::Blocked);
        }
        // Whoever was brought in by somebody who may do that can come back (CF-036).
        if !rights.join && self.memory.of(&names).is_none() {
            return Err(group.map_or(Refusal::NotMember, |group| not_member(group, who)));
        }
        if caller.anonymous && !rights.anonymity {
            return Err(Refusal::Anonymous);
        }
        if !self.takes_place(&names) && !self.has_room(1) {
            return Err(Refusal::Full);
        }
        if group.is_some_and(|group| !group.supports(&self.policy.enablers)) {
            return Err(Refusal::NotAllowed);
        }
        Ok(())
    }

    /// Whether so many more users can come in. Those who are on their way count (CF-039).
    pub fn has_room(&self, more: usize) -> bool {
        let max = self.policy.participants_max(self.setup.group.as_deref());
        self.roster.counts().places.saturating_add(more) <= max
    }

    /// Whether a participant may have somebody invited (CF-051).
    ///
    /// # Errors
    /// He takes no part or may not, or there is no room.
    pub fn may_invite(&self, names: &[Aor], how_many: usize) -> Result<(), Refusal> {
        if !self.is_in(names) || !self.rights(names).invite {
            return Err(Refusal::NotAllowed);
        }
        if !self.has_room(how_many) {
            return Err(Refusal::TooMany);
        }
        Ok(())
    }

    /// Whether somebody may have whoever is known as `target` removed (CF-053). Everybody may
    /// remove himself.
    ///
    /// # Errors
    /// He may not, or there is nobody of that name.
    pub fn may_expel(&self, names: &[Aor], target: &Aor) -> Result<(), Refusal> {
        let is_himself = names.contains(target);
        if !self.is_in(names) || !is_himself && !self.rights(names).expel {
            return Err(Refusal::NotAllowed);
        }
        if self.endpoints_of(target).is_empty() {
            return Err(Refusal::NoParticipant);
        }
        Ok(())
    }

    /// Whether somebody may see who takes part (CF-057).
    ///
    /// # Errors
    /// He takes no part or may not.
    pub fn may_watch(&self, names: &[Aor]) -> Result<(), Refusal> {
        if self.takes_place(names) && self.rights(names).see_state {
            return Ok(());
        }
        Err(Refusal::StateNotAllowed)
    }

    /// Whether a participant may send others private messages (RFC 7701 §6.2).
    pub fn may_send_privately(&self, names: &[Aor]) -> bool {
        self.rights(names).private_messages
    }

    /// Whether the session is a room in which participants have nicknames and private messages.
    pub fn is_room(&self) -> bool {
        self.setup.kind != Kind::OneToOne
    }
}
