//! MSRP, as a role sees it: sessions that end here, pairs of sessions, rooms.
//!
//! | what | handle | machine |
//! |---|---|---|
//! | a session whose messages begin and end here | [`MediaSession`] | `msrp::endpoint` |
//! | two sessions of a B2BUA, messages pass from one to the other | [`Pair`] | `msrp::relay` |
//! | a room, and each session in it | [`Room`], [`RoomLeg`] | `msrp::switch` |
//!
//! The machines run on cores of their own, behind [`MediaCores`]. A handle is opened by the core
//! and exists once its URI does, so that no description names a URI that nobody knows yet. What
//! the peer's description says is told by `agree`, from an
//! [`Agreement`]: from then on nobody but the peer that its
//! `a=path` names can use the session (RFC 4975 §7.3, §14.1), and its messages go no other way.
//!
//! **Invariant:** what a handle opened ends with the handle, however it ends, and also when a
//! future of this module is dropped before it is ready. The end of a dialog so ends its MSRP
//! session; the other way round the session says so with an event, and the role ends the dialog.

mod cores;
#[cfg(test)]
mod fixture;
mod gate;
mod heard;
mod held;
mod hosts;
mod lent;
mod pair;
mod room;
mod session;
mod tls;

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};

use parlance_msrp::endpoint::EndpointConfig;
use parlance_msrp::negotiate::Agreement;
use parlance_msrp::relay::PairConfig;
use parlance_msrp::switch::RoomConfig;
use parlance_msrp::{LocalAddress, MsrpUri};
use parlance_sip::sdp::Fingerprint;
use tokio::sync::oneshot;

pub use self::cores::{AtCore, Command, CoreError, MediaCores, Sink, Sinks};
pub use self::gate::Gate;
pub use self::heard::Heard;
pub use self::hosts::{Addresses, Hosts};
pub use self::pair::{Pair, PairEvent};
pub use self::room::{JoinFailure, Room, RoomEvent, RoomFailure, RoomLeg};
pub use self::session::{MediaSession, SendFailure, SessionEvent};
pub use self::tls::{Security, TlsRules};

use self::held::{Held, What};

/// Events that wait for a role, for each session or pair; the connection is not read when as many
/// wait. Local limit.
const EVENTS_MAX: usize = 64;

/// The same for a room, with all its sessions.
const ROOM_EVENTS_MAX: usize = 256;

/// All MSRP cores. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Media {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    cores: Arc<dyn MediaCores>,
    tls: TlsRules,
    /// How many handles were opened: the next goes to the next core.
    opened: AtomicUsize,
}

/// Why something of MSRP cannot be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MediaError {
    /// The core has as much to do as it may: 480 with Retry-After.
    #[error("the MSRP core has too much to do")]
    Busy,
    /// There are no cores, or they have ended: 480.
    #[error("there is no MSRP core")]
    Gone,
    /// Nobody listens with the security that is needed: 488.
    #[error("there is no MSRP listener with this security")]
    NoListener,
}

impl From<CoreError> for MediaError {
    fn from(error: CoreError) -> Self {
        match error {
            CoreError::Busy => Self::Busy,
            CoreError::Gone => Self::Gone,
        }
    }
}

impl Media {
    /// The cores behind `cores`; `tls` says which peers are spoken to over TLS (SEC-010).
    pub fn new(cores: Arc<dyn MediaCores>, tls: TlsRules) -> Self {
        Self { shared: Arc::new(Shared { cores, tls, opened: AtomicUsize::new(0) }) }
    }

    /// MSRP where nobody listens: nothing can be opened.
    pub fn none() -> Self {
        Self::new(Arc::new(cores::None), TlsRules::default())
    }

    /// Which peers are spoken to over TLS.
    pub fn tls(&self) -> &TlsRules {
        &self.shared.tls
    }

    /// What our URIs say, with TLS (`msrps`) or without; `None`: nobody listens so.
    pub fn address(&self, secure: bool) -> Option<LocalAddress> {
        self.shared.cores.address(secure)
    }

    /// The `a=fingerprint` of each certificate that is shown over TLS (RFC 8122); none when
    /// authorities vouch for them.
    pub fn fingerprints(&self) -> Vec<Fingerprint> {
        self.shared.cores.fingerprints()
    }

    /// Opens a session whose messages begin and end here.
    ///
    /// # Errors
    /// [`MediaError`]; nothing is open then.
    pub async fn endpoint(
        &self,
        secure: bool,
        config: EndpointConfig,
    ) -> Result<MediaSession, MediaError> {
        let address = self.address(secure).ok_or(MediaError::NoListener)?;
        MediaSession::open(self.place(), address, config).await
    }

    /// Opens a pair: a URI towards who made the offer, and one towards who answers it, each with
    /// TLS or without.
    ///
    /// # Errors
    /// [`MediaError`]; nothing is open then.
    pub async fn pair(
        &self,
        secure: Towards<bool>,
        config: PairConfig,
    ) -> Result<Pair, MediaError> {
        let address = |secure| self.address(secure).ok_or(MediaError::NoListener);
        let addresses =
            Towards { offerer: address(secure.offerer)?, answerer: address(secure.answerer)? };
        Pair::open(self.place(), addresses, config).await
    }

    /// Opens a room, with nobody in it.
    ///
    /// # Errors
    /// [`RoomFailure`]; nothing is open then.
    pub async fn room(&self, config: RoomConfig) -> Result<Room, RoomFailure> {
        Room::open(self.clone(), self.place(), config).await
    }

    /// The core of the next handle: each in its turn.
    fn place(&self) -> Place {
        let Shared { cores, opened, .. } = &*self.shared;
        let turn = opened.fetch_add(1, Ordering::Relaxed);
        let core = u8::try_from(turn % usize::from(cores.cores()).max(1)).unwrap_or(0);
        Place { cores: Arc::clone(cores), core }
    }
}

/// Something for each side of a pair.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Towards<T> {
    /// For the side of who made the offer.
    pub offerer: T,
    /// For the side of who answers it.
    pub answerer: T,
}

/// One core.
#[derive(Clone, Debug)]
struct Place {
    cores: Arc<dyn MediaCores>,
    core: u8,
}

impl Place {
    /// Does something at the core and says what came of it. Waits in the core's mailbox from now
    /// on, whether the future is polled or not.
    async fn run<T, F>(&self, act: F) -> Result<T, MediaError>
    where
        T: Send + 'static,
        F: FnOnce(&mut AtCore<'_>) -> T + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        self.cores.run(
            self.core,
            Box::new(move |at| {
                // Nobody may wait any more; what was opened ends with the answer.
                let _ = answer.send(act(at));
            }),
        )?;
        answered.await.map_err(|_| MediaError::Gone)
    }

    /// What `what` names, to be ended by the handle.
    fn hold(&self, what: What) -> Held {
        Held::new(self.clone(), what)
    }
}

/// What `future` gives without waiting, if it does.
fn at_once<T>(future: impl Future<Output = T>) -> Option<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}

/// What of an agreement a session is told at its core.
#[derive(Debug)]
struct Told {
    path: Box<[u8]>,
    agreement: Agreement,
}

impl Told {
    fn new(agreement: &Agreement) -> Self {
        let uris: Vec<&str> = agreement.peer_path.iter().map(MsrpUri::as_str).collect();
        Self { path: uris.join(" ").into_bytes().into(), agreement: agreement.clone() }
    }

    fn path(&self) -> parlance_msrp::Path<'_> {
        parlance_msrp::Path::new(&self.path)
    }

    /// Holds `session` to the path and the certificates of the peer, and connects when that is for
    /// us to do. A session that goes on with the URIs it had keeps its connection (RFC 4975 §8.4),
    /// unless the peer has another certificate now.
    fn tell(&self, at: &mut AtCore<'_>, session: parlance_msrp::SessionKey, again: bool) {
        let Agreement { from_rule, hop, .. } = &self.agreement;
        let fingerprints = self.agreement.peer_certificates();
        at.node.set_peer(at.now, session, self.path(), *from_rule, fingerprints);
        if again && at.node.connection(session).is_some() {
            return;
        }
        if let Some(hop) = hop {
            at.node.connect(at.now, session, hop.clone());
        }
    }
}

#[cfg(test)]
mod tests;
