//! What the focus asks of the switch (RFC 7701 §5).

use std::time::Instant;

use parlance_sip::sdp::{Chatroom, MediaRanges};

use super::hold::Hold;
use super::identity::Identity;
use super::leg::{Leg, Pseudonym};
use super::media::Accepts;
use super::room::{Room, Target};
use super::{
    Counts, JoinError, LegConfig, Nickname, RoomConfig, RoomError, RoomId, Switch, SwitchConfig,
};
use crate::node::cx::Cx;
use crate::session::{LocalAddress, Usage};
use crate::{HoldLimits, MsrpUri, Node, SessionKey};

impl Node {
    /// Sets how all rooms are treated, from now on.
    pub fn set_switch(&mut self, config: SwitchConfig) {
        self.write_rows();
        self.roles.switch.config = config;
    }

    /// Opens a room.
    ///
    /// # Errors
    /// [`RoomError`]: the configuration is wrong.
    pub fn open_room(&mut self, now: Instant, policy: RoomConfig) -> Result<RoomId, RoomError> {
        self.command(now, |roles| roles.switch.open_room(&mut roles.cx, policy))
    }

    /// Replaces the policy of a room; what is reserved and the quarantine stay as they were.
    /// Nothing happens to a room that is not there.
    ///
    /// # Errors
    /// [`RoomError`]: the configuration is wrong; the old one stays.
    pub fn set_room(
        &mut self,
        now: Instant,
        room: RoomId,
        policy: RoomConfig,
    ) -> Result<(), RoomError> {
        self.command(now, |roles| roles.switch.set_room(room, policy))
    }

    /// Ends all sessions of a room, and the room.
    pub fn close_room(&mut self, now: Instant, room: RoomId) {
        self.command(now, |roles| roles.switch.close_room(&mut roles.cx, room));
    }

    /// Lets a session of a participant into a room, with a new URI at `address`. Its path is set
    /// and its connection made as for any other session.
    ///
    /// # Errors
    /// [`JoinError`]: nothing has changed.
    pub fn add_leg(
        &mut self,
        now: Instant,
        room: RoomId,
        address: &LocalAddress,
        config: &LegConfig,
    ) -> Result<SessionKey, JoinError> {
        self.command(now, |roles| {
            roles.switch.add_leg(&mut roles.cx, room, config, |cx, usage| cx.open(address, usage))
        })
    }

    /// The same under the URI `own`, of which the caller answers for that no session has it and
    /// that it cannot be guessed: somebody who lost the connection comes back.
    ///
    /// # Errors
    /// [`JoinError`]: nothing has changed.
    pub fn add_leg_as(
        &mut self,
        now: Instant,
        room: RoomId,
        own: MsrpUri,
        config: &LegConfig,
    ) -> Result<SessionKey, JoinError> {
        self.command(now, |roles| {
            roles
                .switch
                .add_leg(&mut roles.cx, room, config, |cx, usage| cx.sessions.open_as(own, usage))
        })
    }

    /// The SDP of a participant has changed: `a=chatroom`, which a later SDP may leave out and
    /// switch off what it stands for (RFC 7701 §8), and the types that are taken.
    pub fn set_leg(
        &mut self,
        now: Instant,
        leg: SessionKey,
        chatroom: Option<Chatroom>,
        (accept_types, accept_wrapped_types): (MediaRanges, MediaRanges),
    ) {
        self.command(now, |roles| {
            if let Some(leg) = roles.switch.leg_mut(&roles.cx, leg) {
                leg.chatroom = chatroom;
                leg.accepts = Accepts::new(accept_types, accept_wrapped_types);
            }
        });
    }

    /// Every chunk that a participant sends and gets from now on is given out as
    /// [`Event::Passed`](crate::switch::Event::Passed), for a history.
    pub fn copy_leg(&mut self, now: Instant, leg: SessionKey) {
        self.command(now, |roles| {
            if let Some(leg) = roles.switch.leg_mut(&roles.cx, leg) {
                leg.copies = true;
            }
        });
    }

    /// Keeps what a participant is sent, up to `limits`, until it is released; of a session that is
    /// held already the limits change. What is kept when it ends is lost with it.
    pub fn hold_leg(&mut self, now: Instant, leg: SessionKey, limits: HoldLimits) {
        self.command(now, |roles| {
            if let Some(leg) = roles.switch.leg_mut(&roles.cx, leg) {
                leg.hold.get_or_insert_with(|| Box::new(Hold::new(limits))).limits = limits;
            }
        });
    }

    /// What was kept for a participant leaves in its order, and nothing is kept any more.
    pub fn release_leg(&mut self, now: Instant, leg: SessionKey) {
        self.command(now, |roles| {
            let Some(place) = roles.switch.place(&roles.cx, leg) else { return };
            let found = roles.switch.legs.get_mut(place as usize);
            if let Some(hold) = found.and_then(|found| found.hold.take()) {
                hold.let_go(&mut roles.cx, Target { leg: place, session: leg });
            }
        });
    }

    /// A participant does not want to be known any more: from now on others know the session by
    /// `pseudonym` alone (RFC 7701 §5.2). Nothing happens to a session that is not there.
    ///
    /// # Errors
    /// [`JoinError`]: the pseudonym is none, or somebody else's; nothing has changed.
    pub fn hide_leg(
        &mut self,
        now: Instant,
        leg: SessionKey,
        pseudonym: &str,
    ) -> Result<(), JoinError> {
        self.command(now, |roles| roles.switch.hide_leg(&roles.cx, leg, pseudonym))
    }

    /// Takes a session out of its room and ends it. What it has begun is aborted, what waits for it
    /// on its connection is still written.
    pub fn remove_leg(&mut self, now: Instant, leg: SessionKey) {
        self.command(now, |roles| roles.switch.remove_leg(&mut roles.cx, leg));
    }

    /// The nickname of a session of a room.
    pub fn nickname(&self, leg: SessionKey) -> Option<&Nickname> {
        let place = self.roles.switch.place(&self.roles.cx, leg)?;
        self.roles.switch.legs.get(place as usize)?.nickname.as_ref()
    }

    /// What one session has sent.
    pub fn leg_counts(&self, leg: SessionKey) -> Option<Counts> {
        let place = self.roles.switch.place(&self.roles.cx, leg)?;
        Some(self.roles.switch.legs.get(place as usize)?.counts)
    }

    /// What was sent in a room.
    pub fn room_counts(&self, room: RoomId) -> Option<Counts> {
        let found = self.roles.switch.rooms.get(room.index as usize)?;
        (found.generation == room.generation).then_some(found.counts)
    }
}

impl Switch {
    fn open_room(&mut self, cx: &mut Cx, policy: RoomConfig) -> Result<RoomId, RoomError> {
        self.generation = self.generation.wrapping_add(1);
        let room = Room::new(policy, self.generation, cx.random())?;
        let index = u32::try_from(self.rooms.insert(room)).unwrap_or(u32::MAX);
        Ok(RoomId { index, generation: self.generation })
    }

    fn set_room(&mut self, room: RoomId, policy: RoomConfig) -> Result<(), RoomError> {
        self.room_mut(room).map_or(Ok(()), |found| found.set_policy(policy))
    }

    fn close_room(&mut self, cx: &mut Cx, room: RoomId) {
        let Some(found) = self.room_mut(room) else { return };
        // Nobody is told of messages that others have begun: they all leave.
        for place in std::mem::take(&mut found.legs) {
            if let Some(leg) = self.legs.try_remove(place as usize) {
                cx.end(leg.session);
            }
        }
        self.rooms.try_remove(room.index as usize);
    }

    fn add_leg(
        &mut self,
        cx: &mut Cx,
        id: RoomId,
        config: &LegConfig,
        open: impl FnOnce(&mut Cx, Usage) -> SessionKey,
    ) -> Result<SessionKey, JoinError> {
        let max = self.config.legs_max;
        let place = u32::try_from(self.legs.vacant_key()).unwrap_or(u32::MAX);
        let room = self.room_mut(id).ok_or(JoinError::NoSuchRoom)?;
        if room.legs.len() >= max {
            return Err(JoinError::Full);
        }
        let identity = Identity::new(&config.uris)?;
        let pseudonym = config.pseudonym.as_deref().map(Pseudonym::new).transpose()?;
        let joined = room.join(config, &identity, pseudonym.as_ref(), place)?;
        let session = open(cx, Usage::Leg(place));
        let leg = Leg::new(config, session, (id.index, joined), identity, pseudonym);
        self.legs.insert(leg);
        Ok(session)
    }

    fn hide_leg(&mut self, cx: &Cx, leg_key: SessionKey, pseudonym: &str) -> Result<(), JoinError> {
        let pseudonym = Pseudonym::new(pseudonym)?;
        let Some(leg) = self.leg_mut(cx, leg_key) else { return Ok(()) };
        let (room, participant) = (leg.room, leg.participant);
        let before = leg.pseudonym.take();
        let found = self.rooms.get_mut(room as usize);
        let hidden =
            found.map_or(Ok(()), |room| room.rename(participant, before.as_deref(), &pseudonym));
        let Some(leg) = self.leg_mut(cx, leg_key) else { return hidden };
        match hidden {
            Ok(()) => {
                leg.pseudonym = Some(Box::new(pseudonym));
                leg.anonymous = true;
            }
            Err(_) => leg.pseudonym = before,
        }
        hidden
    }

    fn remove_leg(&mut self, cx: &mut Cx, leg: SessionKey) {
        if let Some(place) = self.place(cx, leg) {
            self.take_out(cx, place);
            cx.end(leg);
        }
    }

    fn room_mut(&mut self, room: RoomId) -> Option<&mut Room> {
        let found = self.rooms.get_mut(room.index as usize)?;
        (found.generation == room.generation).then_some(found)
    }

    fn leg_mut(&mut self, cx: &Cx, leg: SessionKey) -> Option<&mut Leg> {
        let place = self.place(cx, leg)?;
        self.legs.get_mut(place as usize)
    }

    fn place(&self, cx: &Cx, leg: SessionKey) -> Option<u32> {
        match cx.sessions.get(leg)?.usage {
            Usage::Leg(place) => Some(place),
            Usage::Endpoint(_) | Usage::Pair(_) | Usage::Grant(_) => None,
        }
    }
}
