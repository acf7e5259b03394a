//! Whether a session goes on (OMA-TS-SIMPLE_IM §7.4.3.16).

use parlance_sip::uri::Aor;

use super::{EndpointId, Focus, Kind};

/// Why a session ends by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Release {
    /// Nobody is left.
    Empty,
    /// Too few are left.
    TooFew,
    /// The one who began it has left.
    CreatorLeft,
    /// The last key participant has left.
    NoKeyParticipant,
}

impl Focus {
    /// Why the session has to end now, if it has. An empty chat room may wait a while for others.
    pub fn release(&self) -> Option<Release> {
        let counts = self.roster.counts();
        let rule = self.rule();
        if counts.places == 0 {
            return Some(Release::Empty);
        }
        // A session that was never larger is not smaller now.
        let min = usize::try_from(rule.left_min).unwrap_or(usize::MAX);
        if self.peak >= min && counts.places < min {
            return Some(Release::TooFew);
        }
        if rule.creator_leaves && self.creator_left {
            return Some(Release::CreatorLeft);
        }
        if rule.key_participant_leaves
            && self.had_key_participant
            && counts.key_participants == 0
            && self.needs_key_participant()
        {
            return Some(Release::NoKeyParticipant);
        }
        None
    }

    /// Whether the session may begin: enough are in, those are in without whom it does not, and a
    /// key participant if the group has such (CF-035, CF-063). `founder` waits for that to come
    /// in, and counts.
    pub fn may_begin(&self, founder: Option<EndpointId>) -> bool {
        let Some(group) = &self.setup.group else { return true };
        let counts = self.roster.counts();
        let founder = founder.and_then(|endpoint| self.user_of(endpoint));
        let waits = founder.filter(|founder| !founder.is_in());
        let inside = counts.inside + usize::from(waits.is_some());
        let is_key = waits.is_some_and(|founder| founder.key_participant);
        let is_there = |name: &Aor| {
            let names = std::slice::from_ref(name);
            self.is_in(names) || waits.is_some_and(|founder| founder.is(names))
        };
        inside >= usize::try_from(group.participants_min()).unwrap_or(usize::MAX)
            && (is_key || counts.key_participants > 0 || !group.has_key_participants())
            && group.required().iter().all(is_there)
    }

    fn needs_key_participant(&self) -> bool {
        self.setup.group.as_ref().is_some_and(|group| group.has_key_participants())
    }

    /// The rule for sessions of this kind.
    fn rule(&self) -> Rule {
        let policies = &self.policy.release;
        let (policy, is_pre_arranged, left_min) = match self.setup.kind {
            Kind::OneToOne => (&policies.one_to_one, false, 2),
            Kind::AdHoc => (&policies.ad_hoc, false, 2),
            Kind::PreArranged => (&policies.pre_arranged, true, 2),
            Kind::Chat => (&policies.chat, false, 1),
        };
        Rule {
            left_min: policy.left_min.unwrap_or(left_min),
            creator_leaves: policy.creator_leaves.unwrap_or(is_pre_arranged),
            key_participant_leaves: policy.key_participant_leaves.unwrap_or(is_pre_arranged),
        }
    }
}

/// A [`ReleasePolicy`](crate::ReleasePolicy) with what it does not say filled in.
struct Rule {
    left_min: u32,
    creator_leaves: bool,
    key_participant_leaves: bool,
}
