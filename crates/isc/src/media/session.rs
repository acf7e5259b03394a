//! A session whose messages begin and end here (RFC 4975 §7).

use bytes::Bytes;
use parlance_msrp::endpoint::{self, EndpointConfig, Message, MessageKey, SendError};
use parlance_msrp::header::ByteRange;
use parlance_msrp::negotiate::Agreement;
use parlance_msrp::{Event, LocalAddress, Lost, MsrpUri, SessionKey};
use std::sync::Arc;
use tokio::sync::mpsc;

use super::held::{Held, What};
use super::{AtCore, EVENTS_MAX, MediaError, Place, Told};

/// One session. Dropped: it ends, and what waits to be sent is not sent.
#[derive(Debug)]
pub struct MediaSession {
    held: Held,
    key: SessionKey,
    uri: MsrpUri,
    events: mpsc::Receiver<Event>,
    over: bool,
    agreed: Option<Agreement>,
}

/// What happens in a session.
#[derive(Debug)]
pub enum SessionEvent {
    /// The connection stands: messages go. What was sent before waited for it.
    Connected,
    /// It has failed and is gone: the role ends the dialog. Nothing comes any more.
    Lost(Lost),
    /// Of a message.
    Message(Box<endpoint::Event>),
}

/// Why a message is not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendFailure {
    /// The core did not take it.
    #[error(transparent)]
    Media(#[from] MediaError),
    /// The session did not take it.
    #[error(transparent)]
    Refused(#[from] SendError),
}

impl MediaSession {
    pub(super) async fn open(
        place: Place,
        address: LocalAddress,
        config: EndpointConfig,
    ) -> Result<Self, MediaError> {
        let (sink, events) = mpsc::channel(EVENTS_MAX);
        let at_place = place.clone();
        let opened = place.run(move |at| {
            let key = at.node.open_endpoint(at.now, &address, config);
            at.sinks.subscribe(key, sink);
            let held = at_place.hold(What::Endpoint(key));
            at.node.uri(key).cloned().map(|uri| (held, key, uri))
        });
        let (held, key, uri) = opened.await?.ok_or(MediaError::Gone)?;
        Ok(Self { held, key, uri, events, over: false, agreed: None })
    }

    /// Our URI, for `a=path`.
    pub fn uri(&self) -> &MsrpUri {
        &self.uri
    }

    /// The session is as both sides described it: only the peer of `agreement` can use it, it is
    /// told what may be sent, and it connects when that is for us to do. Said again with the same
    /// paths, only types and certificates change.
    ///
    /// # Errors
    /// [`MediaError`]; nothing has changed then.
    pub async fn agree(&mut self, agreement: &Agreement) -> Result<(), MediaError> {
        let (key, told) = (self.key, Told::new(agreement));
        let again = self.agreed.as_ref().is_some_and(|before| agreement.continues(before));
        let accepts = Arc::new(agreement.accepts.clone());
        self.run(move |at| {
            at.node.set_peer_accepts(at.now, key, accepts);
            told.tell(at, key, again);
        })
        .await?;
        self.agreed = Some(agreement.clone());
        Ok(())
    }

    /// Sends a message, or lets it wait until the session is connected. What becomes of it is told
    /// by `Sent` or `Failed`.
    ///
    /// # Errors
    /// [`SendFailure`]; it is not sent then. Dropped before it is ready: it is sent all the same.
    pub async fn send(&self, message: Message) -> Result<MessageKey, SendFailure> {
        let key = self.key;
        Ok(self.run(move |at| at.node.send(at.now, key, message)).await??)
    }

    /// More octets of a message that is pulled, as `Wanted` asked for; with `last` they are the
    /// last of it.
    ///
    /// # Errors
    /// [`MediaError`]: the octets are to be supplied again.
    pub async fn supply(
        &self,
        message: MessageKey,
        octets: Bytes,
        last: bool,
    ) -> Result<(), MediaError> {
        let key = self.key;
        self.run(move |at| at.node.supply(at.now, key, message, octets, last)).await
    }

    /// Gives a message up that is not sent, or not all of it.
    ///
    /// # Errors
    /// [`MediaError`]: it goes on.
    pub async fn abort(&self, message: MessageKey) -> Result<(), MediaError> {
        let key = self.key;
        self.run(move |at| at.node.abort(at.now, key, message)).await
    }

    /// Answers the chunk that completed a message, with
    /// [`LastAnswer::ByApplication`](endpoint::LastAnswer).
    ///
    /// # Errors
    /// [`MediaError`]: it is not answered.
    pub async fn answer(&self, message_id: &[u8], code: u16) -> Result<(), MediaError> {
        let (key, message_id) = (self.key, Box::<[u8]>::from(message_id));
        self.run(move |at| at.node.answer(at.now, key, &message_id, code)).await
    }

    /// Sends a REPORT for a message that came: 200 when it has arrived where it was to go, or why
    /// it has not (RFC 4975 §7.1.3, §7.1.4).
    ///
    /// # Errors
    /// [`MediaError`]: it is not sent.
    pub async fn report(
        &self,
        message_id: &[u8],
        range: Option<ByteRange>,
        code: u16,
    ) -> Result<(), MediaError> {
        let (key, message_id) = (self.key, Box::<[u8]>::from(message_id));
        self.run(move |at| at.node.report(at.now, key, &message_id, range, code)).await
    }

    /// The next event; after [`SessionEvent::Lost`] none comes. Cancel-safe.
    pub async fn next(&mut self) -> SessionEvent {
        loop {
            if self.over {
                return std::future::pending().await;
            }
            match self.events.recv().await {
                Some(Event::Bound { .. }) => return SessionEvent::Connected,
                Some(Event::Endpoint(event)) => return SessionEvent::Message(event),
                Some(Event::Lost { why, .. }) => {
                    self.over = true;
                    return SessionEvent::Lost(why);
                }
                None => {
                    self.over = true;
                    return SessionEvent::Lost(Lost::Connection);
                }
                // Not of an endpoint.
                Some(Event::Relay(_) | Event::Switch(_)) => {}
            }
        }
    }

    async fn run<T, F>(&self, act: F) -> Result<T, MediaError>
    where
        T: Send + 'static,
        F: FnOnce(&mut AtCore<'_>) -> T + Send + 'static,
    {
        self.held.place().run(act).await
    }
}
