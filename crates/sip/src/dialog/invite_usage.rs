//! INVITE and UPDATE inside a dialog: who may send one now, glare, and how a session is refreshed
//! (RFC 3261 §14, RFC 3311 §5).
//!
//! Offers and answers are looked at only so far as to know that one is outstanding.
//!
//! | Peer sends        | While                                  | Answer                      |
//! |-------------------|----------------------------------------|-----------------------------|
//! | INVITE            | an INVITE of ours is unanswered        | 491                         |
//! | INVITE            | an INVITE of the peer's is unanswered  | 500, Retry-After 0 to 10 s  |
//! | UPDATE            | an UPDATE of the peer's is unanswered  | 500, Retry-After 0 to 10 s  |
//! | UPDATE with offer | an offer of ours is unanswered         | 491                         |
//! | UPDATE with offer | an offer of the peer's is unanswered   | 500, Retry-After 0 to 10 s  |
//!
//! We wait with an INVITE while any INVITE is in progress at either end, until the ACK of a 2xx we
//! sent (§14.1), and with an offer while another is unanswered.

use std::time::Duration;

use super::{DialogRefusal, Role};
use crate::entropy::{Entropy, below};

/// What a session is refreshed with (RFC 4028 §7.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refresh {
    /// UPDATE without an offer: the peer's `Allow` lists it.
    Update,
    /// re-INVITE with the unchanged offer.
    Invite,
}

/// Why a request of ours has to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("another INVITE, UPDATE or offer is in progress")]
pub struct Busy;

/// How far an INVITE or UPDATE has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    Idle,
    Unanswered { offer: bool },
    AwaitingAck,
}

impl Progress {
    fn is_idle(self) -> bool {
        match self {
            Self::Idle => true,
            Self::Unanswered { .. } | Self::AwaitingAck => false,
        }
    }

    fn is_unanswered(self) -> bool {
        match self {
            Self::Unanswered { .. } => true,
            Self::Idle | Self::AwaitingAck => false,
        }
    }

    fn has_offer(self) -> bool {
        match self {
            Self::Unanswered { offer } => offer,
            Self::Idle | Self::AwaitingAck => false,
        }
    }
}

/// The INVITE usage of one dialog.
#[derive(Clone, Debug)]
pub struct InviteUsage {
    role: Role,
    local_invite: Progress,
    remote_invite: Progress,
    local_update: Progress,
    remote_update: Progress,
    peer_allows_update: bool,
}

impl InviteUsage {
    /// Nothing is in progress. The role tells who owns the Call-ID.
    pub fn new(role: Role) -> Self {
        Self {
            role,
            local_invite: Progress::Idle,
            remote_invite: Progress::Idle,
            local_update: Progress::Idle,
            remote_update: Progress::Idle,
            peer_allows_update: false,
        }
    }

    /// An `Allow` header field came from the peer; the last one counts.
    pub fn allow_received(&mut self, lists_update: bool) {
        self.peer_allows_update = lists_update;
    }

    /// What to refresh the session with.
    pub fn refresh(&self) -> Refresh {
        if self.peer_allows_update { Refresh::Update } else { Refresh::Invite }
    }

    /// We are about to send an INVITE.
    pub fn send_invite(&mut self, offer: bool) -> Result<(), Busy> {
        let invites_idle = self.local_invite.is_idle() && self.remote_invite.is_idle();
        if !invites_idle || (offer && self.is_offer_outstanding()) {
            return Err(Busy);
        }
        self.local_invite = Progress::Unanswered { offer };
        Ok(())
    }

    /// Our INVITE got its final response, or none will come.
    pub fn invite_answered(&mut self) {
        self.local_invite = Progress::Idle;
    }

    /// We are about to send an UPDATE.
    pub fn send_update(&mut self, offer: bool) -> Result<(), Busy> {
        if !self.local_update.is_idle() || (offer && self.is_offer_outstanding()) {
            return Err(Busy);
        }
        self.local_update = Progress::Unanswered { offer };
        Ok(())
    }

    /// Our UPDATE got its final response, or none will come.
    pub fn update_answered(&mut self) {
        self.local_update = Progress::Idle;
    }

    /// The offer in the pending INVITE of either end was answered early, in a reliable provisional
    /// response (RFC 3262 §5).
    pub fn offer_answered(&mut self) {
        for invite in [&mut self.local_invite, &mut self.remote_invite] {
            if invite.is_unanswered() {
                *invite = Progress::Unanswered { offer: false };
            }
        }
    }

    /// The peer sent an INVITE.
    pub fn invite_received(
        &mut self,
        offer: bool,
        entropy: &mut impl Entropy,
    ) -> Result<(), DialogRefusal> {
        if self.local_invite.is_unanswered() {
            return Err(DialogRefusal::Glare);
        }
        if self.remote_invite.is_unanswered() {
            return Err(overlap(entropy));
        }
        self.remote_invite = Progress::Unanswered { offer };
        Ok(())
    }

    /// We answered the peer's INVITE. A 2xx keeps our own INVITEs back until its ACK.
    pub fn answer_invite(&mut self, status: u16) {
        self.remote_invite = match status {
            100..200 => return,
            200..300 => Progress::AwaitingAck,
            0..100 | 300.. => Progress::Idle,
        };
    }

    /// The ACK for our 2xx came, or it was given up.
    pub fn acknowledged(&mut self) {
        if self.remote_invite == Progress::AwaitingAck {
            self.remote_invite = Progress::Idle;
        }
    }

    /// The peer sent an UPDATE.
    pub fn update_received(
        &mut self,
        offer: bool,
        entropy: &mut impl Entropy,
    ) -> Result<(), DialogRefusal> {
        if self.remote_update.is_unanswered() {
            return Err(overlap(entropy));
        }
        if offer && (self.local_invite.has_offer() || self.local_update.has_offer()) {
            return Err(DialogRefusal::Glare);
        }
        if offer && self.remote_invite.has_offer() {
            return Err(overlap(entropy));
        }
        self.remote_update = Progress::Unanswered { offer };
        Ok(())
    }

    /// We gave the peer's UPDATE its final response.
    pub fn answer_update(&mut self) {
        self.remote_update = Progress::Idle;
    }

    /// How long to wait after a 491 before the request is tried once more (RFC 3261 §14.1): 2.1 to
    /// 4 s for the owner of the Call-ID, 0 to 2 s for the other end, in units of 10 ms.
    pub fn glare_wait(&self, entropy: &mut impl Entropy) -> Duration {
        let (least, most) = match self.role {
            Role::Uac => (210, 400),
            Role::Uas => (0, 200),
        };
        Duration::from_millis(10 * (least + below(entropy, most - least + 1)))
    }

    fn is_offer_outstanding(&self) -> bool {
        [self.local_invite, self.remote_invite, self.local_update, self.remote_update]
            .into_iter()
            .any(Progress::has_offer)
    }
}

fn overlap(entropy: &mut impl Entropy) -> DialogRefusal {
    let retry_after_secs = u8::try_from(below(entropy, 11)).unwrap_or(10);
    DialogRefusal::Overlap { retry_after_secs }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert, proptest};

    use super::*;
    use crate::entropy::seeded;

    fn usage() -> InviteUsage {
        InviteUsage::new(Role::Uac)
    }

    // Covers: CORE-043
    #[test]
    fn invites_that_cross_are_refused_with_491() {
        let mut usage = usage();
        usage.send_invite(true).unwrap();
        let refusal = usage.invite_received(true, &mut seeded(1)).unwrap_err();
        assert_eq!(refusal.status(), 491);
        usage.invite_answered();
        assert_eq!(usage.invite_received(true, &mut seeded(1)), Ok(()));
    }

    // Covers: CORE-043
    #[test]
    fn a_second_invite_of_the_peer_is_refused_with_500_and_retry_after() {
        let mut usage = usage();
        usage.invite_received(true, &mut seeded(1)).unwrap();
        usage.answer_invite(180);
        for seed in 0..100 {
            match usage.invite_received(true, &mut seeded(seed)) {
                Err(DialogRefusal::Overlap { retry_after_secs: 0..=10 }) => {}
                other => panic!("{other:?}"),
            }
        }
        usage.answer_invite(486);
        assert_eq!(usage.invite_received(false, &mut seeded(1)), Ok(()));
    }

    // Covers: CORE-043
    #[test]
    fn our_invite_waits_for_the_ack_of_our_2xx() {
        let mut usage = usage();
        usage.acknowledged();
        usage.invite_received(true, &mut seeded(1)).unwrap();
        assert_eq!(usage.send_invite(false), Err(Busy));
        usage.answer_invite(200);
        assert_eq!(usage.send_invite(false), Err(Busy));
        usage.acknowledged();
        assert_eq!(usage.send_invite(false), Ok(()));
        assert_eq!(usage.send_invite(false), Err(Busy));
    }

    // Covers: CORE-043
    #[test]
    fn updates_with_offers_that_cross_are_refused() {
        let mut entropy = seeded(1);
        let mut crossed = usage();
        crossed.send_update(true).unwrap();
        assert_eq!(crossed.update_received(true, &mut entropy), Err(DialogRefusal::Glare));
        assert_eq!(crossed.update_received(false, &mut entropy), Ok(()), "no offer, no glare");
        let again = crossed.update_received(false, &mut entropy).unwrap_err();
        assert_eq!(again.status(), 500);
        crossed.answer_update();
        crossed.update_answered();
        assert_eq!(crossed.update_received(true, &mut entropy), Ok(()));
        assert_eq!(crossed.send_update(true), Err(Busy));
        assert_eq!(crossed.send_update(false), Ok(()));

        let mut early = usage();
        early.invite_received(true, &mut entropy).unwrap();
        assert_eq!(early.update_received(true, &mut entropy).unwrap_err().status(), 500);
        early.offer_answered();
        assert_eq!(early.update_received(true, &mut entropy), Ok(()));

        let mut ours = usage();
        ours.send_invite(true).unwrap();
        assert_eq!(ours.update_received(true, &mut entropy), Err(DialogRefusal::Glare));
        ours.offer_answered();
        assert_eq!(ours.update_received(true, &mut entropy), Ok(()));
    }

    // Covers: CORE-043
    #[test]
    fn the_wait_after_491_depends_on_the_owner_of_the_call_id() {
        let ms = |count| Duration::from_millis(count);
        let table = [
            (Role::Uac, 0, ms(2_100)),
            (Role::Uac, u64::MAX, ms(4_000)),
            (Role::Uas, 0, ms(0)),
            (Role::Uas, u64::MAX, ms(2_000)),
        ];
        for (role, random, wait) in table {
            assert_eq!(InviteUsage::new(role).glare_wait(&mut || random), wait, "{role:?}");
        }
        let mut entropy = seeded(3);
        for _ in 0..100 {
            assert_eq!(usage().glare_wait(&mut entropy).as_millis() % 10, 0);
        }
    }

    // Covers: CORE-043
    #[test]
    fn update_refreshes_only_a_peer_that_allows_it() {
        let mut usage = usage();
        assert_eq!(usage.refresh(), Refresh::Invite);
        usage.allow_received(true);
        assert_eq!(usage.refresh(), Refresh::Update);
        usage.allow_received(false);
        assert_eq!(usage.refresh(), Refresh::Invite);
    }

    proptest! {
        #[test]
        fn whatever_happened_all_is_free_once_all_is_answered(
            steps in proptest::collection::vec((0_u8..11, proptest::bool::ANY, 100_u16..700), 0..40),
        ) {
            let mut entropy = seeded(1);
            let mut usage = usage();
            for (step, offer, status) in steps {
                match step {
                    0 => drop(usage.send_invite(offer)),
                    1 => drop(usage.send_update(offer)),
                    2 => drop(usage.invite_received(offer, &mut entropy)),
                    3 => drop(usage.update_received(offer, &mut entropy)),
                    4 => usage.invite_answered(),
                    5 => usage.update_answered(),
                    6 => usage.answer_invite(status),
                    7 => usage.answer_update(),
                    8 => usage.acknowledged(),
                    9 => usage.offer_answered(),
                    _ => usage.allow_received(offer),
                }
            }
            usage.invite_answered();
            usage.update_answered();
            usage.answer_invite(200);
            usage.acknowledged();
            usage.answer_update();
            prop_assert!(usage.send_invite(true).is_ok());
            usage.invite_answered();
            prop_assert!(usage.send_update(true).is_ok());
            usage.update_answered();
            prop_assert!(usage.invite_received(true, &mut entropy).is_ok());
            usage.answer_invite(488);
            prop_assert!(usage.update_received(true, &mut entropy).is_ok());
        }
    }
}
