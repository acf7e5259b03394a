//! A room and the sessions in it (RFC 7701), as the focus has them.

use parlance_msrp::negotiate::Agreement;
use parlance_msrp::switch::{
    self, Counts, JoinError, LegConfig, Nickname, Passed, RoomConfig, RoomError, RoomId,
};
use parlance_msrp::{Event, Lost, MsrpUri, SessionKey};
use tokio::sync::mpsc;

use super::gate::{Gate, To};
use super::held::{Held, What};
use super::{AtCore, Media, MediaError, Place, ROOM_EVENTS_MAX, Told, at_once};

/// One room. Dropped: it is closed, and all sessions in it end.
#[derive(Debug)]
pub struct Room {
    held: Held,
    media: Media,
    id: RoomId,
    sink: super::Sink,
    events: mpsc::Receiver<Event>,
}

/// One session in a room. Dropped: it ends; what waits on its connection is still written.
#[derive(Debug)]
pub struct RoomLeg {
    held: Held,
    key: SessionKey,
    uri: MsrpUri,
    agreed: Option<Agreement>,
}

/// What happens in a room, and to which [`RoomLeg::key`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RoomEvent {
    /// The connection of a session stands: it gets what is said from now on.
    Connected(SessionKey),
    /// A session has failed and is gone: its dialog is to be ended.
    Lost(SessionKey, Lost),
    /// A session has no connection any more, or none could be made, and stays in the room without:
    /// [`RoomLeg::reconnect`], or the peer, may give it another.
    Suspended(SessionKey, Lost),
    /// Somebody has another nickname, or none (RFC 7701 §7).
    Nickname(SessionKey, Option<Nickname>),
    /// Somebody did not take its messages, and the session is gone: BYE with a Reason of 503
    /// (MSRP-070).
    Slow(SessionKey),
    /// A chunk has passed that somebody wants ([`RoomLeg::copy`]).
    Passed(Box<Passed>),
}

/// Why there is no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RoomFailure {
    /// The core did not take it.
    #[error(transparent)]
    Media(#[from] MediaError),
    /// The configuration is wrong.
    #[error(transparent)]
    Room(#[from] RoomError),
}

/// Why nobody came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JoinFailure {
    /// The core did not take it.
    #[error(transparent)]
    Media(#[from] MediaError),
    /// The room did not take it.
    #[error(transparent)]
    Join(#[from] JoinError),
}

impl Room {
    pub(super) async fn open(
        media: Media,
        place: Place,
        config: RoomConfig,
    ) -> Result<Self, RoomFailure> {
        let (sink, events) = mpsc::channel(ROOM_EVENTS_MAX);
        let at_place = place.clone();
        let opened = place.run(move |at| {
            let id = at.node.open_room(at.now, config)?;
            Ok::<_, RoomError>((at_place.hold(What::Room(id)), id))
        });
        let (held, id) = opened.await??;
        Ok(Self { held, media, id, sink, events })
    }

    /// Lets a session of a participant in: who it is, and what its description says as far as it
    /// is known. Its URI goes into our description; [`RoomLeg::agree`] follows, once the peer's is
    /// known.
    ///
    /// # Errors
    /// [`JoinFailure`]; nothing has changed then.
    pub async fn join(&self, secure: bool, config: LegConfig) -> Result<RoomLeg, JoinFailure> {
        let address = self.media.address(secure).ok_or(MediaError::NoListener)?;
        let (id, sink, place) = (self.id, self.sink.clone(), self.held.place().clone());
        let joined = self.held.place().run(move |at| {
            let key = at.node.add_leg(at.now, id, &address, &config)?;
            at.sinks.subscribe(key, sink);
            let held = place.hold(What::Leg(key));
            Ok::<_, JoinError>(at.node.uri(key).cloned().map(|uri| (held, key, uri)))
        });
        let (held, key, uri) = joined.await??.ok_or(MediaError::Gone)?;
        Ok(RoomLeg { held, key, uri, agreed: None })
    }

    /// Replaces the policy.
    ///
    /// # Errors
    /// [`RoomFailure`]; the old one stays.
    pub async fn set_policy(&self, config: RoomConfig) -> Result<(), RoomFailure> {
        let id = self.id;
        Ok(self.held.place().run(move |at| at.node.set_room(at.now, id, config)).await??)
    }

    /// What was sent in the room so far, for timers and charging: without what only says that
    /// somebody is writing, and without disposition notifications.
    ///
    /// # Errors
    /// [`MediaError`].
    pub async fn counts(&self) -> Result<Counts, MediaError> {
        let id = self.id;
        let counts = self.held.place().run(move |at| at.node.room_counts(id)).await?;
        counts.ok_or(MediaError::Gone)
    }

    /// Closes the room and ends all sessions in it; what was sent.
    ///
    /// # Errors
    /// [`MediaError`]: what was sent is not known. The room is closed all the same.
    pub async fn close(self) -> Result<Counts, MediaError> {
        let id = self.id;
        let counts = self.held.place().run(move |at| {
            let counts = at.node.room_counts(id);
            at.node.close_room(at.now, id);
            counts
        });
        counts.await?.ok_or(MediaError::Gone)
    }

    /// The next event. Cancel-safe. Of a leg that was dropped, an event may still come.
    pub async fn next(&mut self) -> RoomEvent {
        loop {
            // The room has a sender itself: there always is another event to wait for.
            let Some(event) = self.events.recv().await else {
                return std::future::pending().await;
            };
            match event {
                Event::Bound { session } => return RoomEvent::Connected(session),
                Event::Lost { session, why } => return RoomEvent::Lost(session, why),
                Event::Switch(switch::Event::Nickname { leg, nickname, .. }) => {
                    return RoomEvent::Nickname(leg, nickname);
                }
                Event::Switch(switch::Event::Suspended { leg, why, .. }) => {
                    return RoomEvent::Suspended(leg, why);
                }
                Event::Switch(switch::Event::Slow { leg, .. }) => return RoomEvent::Slow(leg),
                Event::Switch(switch::Event::Passed(passed)) => return RoomEvent::Passed(passed),
                // Not of a room.
                Event::Relay(_) | Event::Endpoint(_) => {}
            }
        }
    }

    /// What has happened by now, if anything has.
    pub fn told(&mut self) -> Option<RoomEvent> {
        at_once(self.next())
    }
}

impl RoomLeg {
    /// What the events of the room call it.
    pub fn key(&self) -> SessionKey {
        self.key
    }

    /// Our URI towards the participant, for `a=path`.
    pub fn uri(&self) -> &MsrpUri {
        &self.uri
    }

    /// The session is as the participant and we described it: only its peer can use it, it gets
    /// the types that it takes and what it knows of chat rooms, and we connect when that is for us
    /// to do. Said again with the same paths, only types, certificates and chat room change
    /// (RFC 7701 §8).
    ///
    /// # Errors
    /// [`MediaError`]; nothing has changed then.
    pub async fn agree(&mut self, agreement: &Agreement) -> Result<(), MediaError> {
        let (key, told) = (self.key, Told::new(agreement));
        let again = self.agreed.as_ref().is_some_and(|before| agreement.continues(before));
        self.held
            .place()
            .run(move |at| {
                let Agreement { accepts, chatroom, .. } = &told.agreement;
                let types = (accepts.types.clone(), accepts.wrapped.clone());
                at.node.set_leg(at.now, key, chatroom.clone(), types);
                told.tell(at, key, again);
            })
            .await?;
        self.agreed = Some(agreement.clone());
        Ok(())
    }

    /// Whether it is for us to connect (RFC 4975 §5.4, RFC 6135).
    pub fn is_active(&self) -> bool {
        self.agreed.as_ref().is_some_and(|agreement| agreement.hop.is_some())
    }

    /// Connects again, when that is for us to do and the session has no connection.
    ///
    /// # Errors
    /// [`MediaError`]; it is not done then.
    pub async fn reconnect(&self) -> Result<(), MediaError> {
        let hop = self.agreed.as_ref().and_then(|agreement| agreement.hop.clone());
        let (key, Some(hop)) = (self.key, hop) else { return Ok(()) };
        let connected = self.held.place().run(move |at| {
            if at.node.connection(key).is_none() {
                at.node.connect(at.now, key, hop);
            }
        });
        connected.await
    }

    /// What the participant sends and gets from now on is given out as [`RoomEvent::Passed`].
    pub fn copy(&self) {
        let (key, place) = (self.key, self.held.place());
        let copy = move |at: &mut AtCore<'_>| at.node.copy_leg(at.now, key);
        place.cores.run_always(place.core, Box::new(copy));
    }

    /// Where what he gets can be held.
    pub fn gate(&self) -> Gate {
        Gate::new(self.held.place(), To::Leg(self.key))
    }

    /// The participant does not want to be known any more: from now on others know the session by
    /// `pseudonym` alone.
    ///
    /// # Errors
    /// [`JoinFailure`]; nothing has changed then.
    pub async fn hide(&self, pseudonym: String) -> Result<(), JoinFailure> {
        let key = self.key;
        let hidden = self.held.place().run(move |at| at.node.hide_leg(at.now, key, &pseudonym));
        Ok(hidden.await??)
    }

    /// What the participant has sent in this session; `None`: the session is gone.
    ///
    /// # Errors
    /// [`MediaError`].
    pub async fn counts(&self) -> Result<Option<Counts>, MediaError> {
        let key = self.key;
        self.held.place().run(move |at| at.node.leg_counts(key)).await
    }
}
