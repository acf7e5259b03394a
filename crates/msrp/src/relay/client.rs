//! The client of relays: it asks each of them for a URI, and again before they expire
//! (RFC 4976 §5.1).
//!
//! | State   | Input                        | Next    | Output                             |
//! |---------|------------------------------|---------|------------------------------------|
//! | Idle    | `start`                      | Asking  | AUTH to the first relay            |
//! | Asking  | 401, a challenge worth a try | Asking  | AUTH with credentials              |
//! | Asking  | 423                          | Asking  | AUTH with the bound as `Expires`   |
//! | Asking  | 200, further relays          | Asking  | AUTH to the next, through the ones before |
//! | Asking  | 200 of the last relay        | Granted | `Granted`                          |
//! | Asking  | anything else, or 30 s       | Failed  | `Failed`                           |
//! | Granted | time to renew                | Asking  | AUTH to the first relay            |
//!
//! A renewal gives new URIs: the session needs a new offer with them (§9.4). Until then the old
//! ones are used.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use parlance_sip::Entropy;
use parlance_sip::digest::{
    AuthenticationInfo, Credentials, DigestSession, ParametersError, Protected,
};

use crate::pending::RESPONSE_DELAY;
use crate::uri::MsrpUri;
use crate::{Head, Method, Path, Start, TransactionId, write};

/// The port of a relay whose URI has none, when there is no SRV record (RFC 4976 §8).
pub const RELAY_PORT: u16 = 2855;

/// Requests to one relay before it is given up on: one without credentials, one with, one for a
/// stale nonce and one for each bound of `Expires`. Local limit.
const TRIES_MAX: u8 = 5;

/// Who asks which relays.
#[derive(Clone)]
pub struct RelayAccount {
    /// The relays, the one that is connected to first. Never empty.
    pub relays: Vec<MsrpUri>,
    /// The client's own URI.
    pub own: MsrpUri,
    /// The user name, the same at all relays.
    pub username: String,
    /// The password.
    pub password: String,
    /// How long the URIs should last, in seconds; `None`: as long as the relays like.
    pub expires_secs: Option<u32>,
}

impl std::fmt::Debug for RelayAccount {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RelayAccount").field("relays", &self.relays).finish_non_exhaustive()
    }
}

/// How the first relay is found (RFC 4976 §8). The connection is of TLS with the certificate of
/// `host` in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RelayLookup<'a> {
    /// The addresses of `host`, at `port`.
    Address {
        /// Name or address.
        host: &'a str,
        /// The port.
        port: u16,
    },
    /// The SRV records of `_msrps._tcp.host`; without any, the addresses at [`RELAY_PORT`].
    Srv {
        /// The name.
        host: &'a str,
    },
}

/// What the client wants done, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RelayClientOutput {
    /// Write these octets on the connection to the first relay.
    Send(Vec<u8>),
    /// All relays gave a URI: [`RelayClient::own_path`] goes into the next offer.
    Granted,
    /// A relay did not; nothing is asked again until [`RelayClient::start`].
    Failed(RelayClientError),
}

/// Why there are no URIs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RelayClientError {
    /// The relay does not take the credentials.
    #[error("the relay does not accept the credentials")]
    Unauthorized,
    /// The relay's proof that it knows the password is wrong (RFC 4976 §9.4).
    #[error("the relay does not prove that it knows the password")]
    NotProved,
    /// The relay refused with this code.
    #[error("the relay answered {0}")]
    Refused(u16),
    /// The relay's answer lacks what it must have.
    #[error("the relay's answer cannot be understood")]
    Answer,
    /// No answer came.
    #[error("the relay did not answer")]
    Timeout,
}

/// The client side of RFC 4976, for one session.
#[derive(Debug)]
pub struct RelayClient {
    account: RelayAccount,
    state: State,
    /// What the last complete round gave.
    granted: Option<Granted>,
    outputs: VecDeque<RelayClientOutput>,
}

#[derive(Clone, Debug)]
struct Granted {
    use_path: Vec<MsrpUri>,
    expires: Instant,
}

#[derive(Debug)]
enum State {
    Idle,
    Asking(Box<Asking>),
    Granted { renew: Instant },
    Failed,
}

#[derive(Debug)]
struct Asking {
    /// Which relay, from 0.
    relay: usize,
    /// What the relays before it gave.
    use_path: Vec<MsrpUri>,
    /// The earliest expiry of them.
    expires: Option<Instant>,
    id: TransactionId,
    digest: Option<DigestSession>,
    credentials: Option<Credentials>,
    expires_secs: Option<u32>,
    tries: u8,
    due: Instant,
}

impl RelayClient {
    /// Asks nobody yet.
    pub fn new(account: RelayAccount) -> Self {
        Self { account, state: State::Idle, granted: None, outputs: VecDeque::new() }
    }

    /// How the first relay is found.
    pub fn lookup(&self) -> Option<RelayLookup<'_>> {
        let relay = self.account.relays.first()?.parts();
        Some(match relay.port {
            Some(port) => RelayLookup::Address { host: relay.host, port },
            None => RelayLookup::Srv { host: relay.host },
        })
    }

    /// Asks the relays, one after the other; the connection to the first one is there.
    pub fn start(&mut self, now: Instant, entropy: &mut impl Entropy) {
        let asking = Asking {
            relay: 0,
            use_path: Vec::new(),
            expires: None,
            id: TransactionId::new(0, entropy.next_u64(), 0),
            digest: None,
            credentials: None,
            expires_secs: self.account.expires_secs,
            tries: 0,
            due: now,
        };
        self.ask(now, asking, entropy);
    }

    /// Takes a response; `false` when it is none of the client's.
    pub fn handle_response(
        &mut self,
        now: Instant,
        head: &Head<'_>,
        entropy: &mut impl Entropy,
    ) -> bool {
        let Start::Response { id, code, .. } = head.start else { return false };
        if !matches!(&self.state, State::Asking(asking) if asking.id.octets() == *id) {
            return false;
        }
        let State::Asking(asking) = std::mem::replace(&mut self.state, State::Failed) else {
            return false;
        };
        match next_step(now, *asking, code, head, &self.account) {
            Ok(Step::Ask(asking)) => self.ask(now, asking, entropy),
            Ok(Step::Granted(granted)) => {
                // A tenth of the time, at most a minute, is left for the new offer.
                let lasts = granted.expires.saturating_duration_since(now);
                let margin = (lasts / 10).min(Duration::from_secs(60));
                self.state = State::Granted { renew: now + (lasts - margin) };
                self.granted = Some(granted);
                self.outputs.push_back(RelayClientOutput::Granted);
            }
            Err(error) => self.outputs.push_back(RelayClientOutput::Failed(error)),
        }
        true
    }

    /// Time has passed. Harmless when nothing is due.
    pub fn handle_timeout(&mut self, now: Instant, entropy: &mut impl Entropy) {
        match &self.state {
            State::Asking(asking) if asking.due <= now => {
                self.state = State::Failed;
                let failed = RelayClientOutput::Failed(RelayClientError::Timeout);
                self.outputs.push_back(failed);
            }
            State::Granted { renew } if *renew <= now => self.start(now, entropy),
            State::Idle | State::Asking(_) | State::Granted { .. } | State::Failed => {}
        }
    }

    /// The next thing to do; `None` when there is nothing left.
    pub fn poll_output(&mut self) -> Option<RelayClientOutput> {
        self.outputs.pop_front()
    }

    /// When to call [`handle_timeout`](Self::handle_timeout) again.
    pub fn poll_timeout(&self) -> Option<Instant> {
        match &self.state {
            State::Asking(asking) => Some(asking.due),
            State::Granted { renew } => Some(*renew),
            State::Idle | State::Failed => None,
        }
    }

    /// The `path` for the own description: the relays, outermost first, and the own URI
    /// (RFC 4976 §5.1). Only the own URI before anything was granted, or after it expired.
    pub fn own_path(&self, now: Instant) -> Vec<MsrpUri> {
        let relays = self.use_path(now).iter().rev();
        relays.chain([&self.account.own]).cloned().collect()
    }

    /// The `To-Path` to a peer with this path: the relays, then the peer's.
    pub fn to_path(&self, now: Instant, peer: &[MsrpUri]) -> Vec<MsrpUri> {
        self.use_path(now).iter().chain(peer).cloned().collect()
    }

    fn use_path(&self, now: Instant) -> &[MsrpUri] {
        let valid = self.granted.as_ref().filter(|granted| granted.expires > now);
        valid.map_or(&[], |granted| granted.use_path.as_slice())
    }

    fn ask(&mut self, now: Instant, mut asking: Asking, entropy: &mut impl Entropy) {
        let Some(relay) = self.account.relays.get(asking.relay) else { return };
        asking.id = TransactionId::new(0, entropy.next_u64(), 0);
        asking.due = now + RESPONSE_DELAY;
        asking.tries += 1;
        asking.credentials = asking.digest.as_mut().map(|digest| {
            let protected = Protected { method: "AUTH", uri: relay.as_str(), body: b"" };
            digest.authorize(&protected, entropy)
        });
        let to: Vec<&str> = asking.use_path.iter().chain([relay]).map(MsrpUri::as_str).collect();
        let mut out = Vec::new();
        let (to, from) = (to.join(" "), self.account.own.as_bytes());
        let id = asking.id.octets();
        write::request(&mut out, &id, Method::Auth, to.as_bytes(), from);
        if let Some(seconds) = asking.expires_secs {
            write::header(&mut out, "Expires", seconds.to_string().as_bytes());
        }
        if let Some(credentials) = &asking.credentials {
            write::header(&mut out, "Authorization", credentials.to_string().as_bytes());
        }
        write::end_line(&mut out, &id, crate::Continuation::Last);
        self.state = State::Asking(Box::new(asking));
        self.outputs.push_back(RelayClientOutput::Send(out));
    }
}

enum Step {
    Ask(Asking),
    Granted(Granted),
}

/// What an answer leads to.
fn next_step(
    now: Instant,
    mut asking: Asking,
    code: u16,
    head: &Head<'_>,
    account: &RelayAccount,
) -> Result<Step, RelayClientError> {
    match code {
        200 => {}
        401 => {
            let challenge = choose(head).ok_or(RelayClientError::Answer)?;
            let worth = match &asking.digest {
                Some(digest) => digest.is_worth_another_try(&challenge),
                None => true,
            };
            if !worth || asking.tries >= TRIES_MAX {
                return Err(RelayClientError::Unauthorized);
            }
            let (user, password) = (&account.username, &account.password);
            asking.digest = Some(DigestSession::new(challenge, user, password));
            return Ok(Step::Ask(asking));
        }
        423 if asking.tries < TRIES_MAX => {
            let bound = seconds(head, "Min-Expires").or_else(|| seconds(head, "Max-Expires"));
            asking.expires_secs = Some(bound.ok_or(RelayClientError::Answer)?);
            return Ok(Step::Ask(asking));
        }
        code => return Err(RelayClientError::Refused(code)),
    }
    prove(head, &mut asking)?;
    let use_path = head.value("Use-Path").ok_or(RelayClientError::Answer)?;
    let use_path: Result<Vec<MsrpUri>, _> =
        Path::new(use_path).iter().map(MsrpUri::parse).collect();
    asking.use_path = use_path.map_err(|_| RelayClientError::Answer)?;
    let lasts = seconds(head, "Expires").ok_or(RelayClientError::Answer)?;
    let expires = now + Duration::from_secs(u64::from(lasts));
    let expires = asking.expires.map_or(expires, |earlier| earlier.min(expires));
    asking.expires = Some(expires);
    asking.relay += 1;
    if asking.relay < account.relays.len() {
        // The next relay is another realm.
        asking.digest = None;
        asking.tries = 0;
        asking.expires_secs = account.expires_secs;
        return Ok(Step::Ask(asking));
    }
    Ok(Step::Granted(Granted { use_path: asking.use_path, expires }))
}

/// Checks the relay's proof when credentials were sent (RFC 4976 §9.1).
fn prove(head: &Head<'_>, asking: &mut Asking) -> Result<(), RelayClientError> {
    let Some((digest, credentials)) = asking.digest.as_mut().zip(asking.credentials.as_ref())
    else {
        return Ok(());
    };
    let info = head.value("Authentication-Info").ok_or(RelayClientError::Answer)?;
    let info =
        AuthenticationInfo::parse(info).map_err(|_: ParametersError| RelayClientError::Answer)?;
    if !digest.is_proved(credentials, &info) {
        return Err(RelayClientError::NotProved);
    }
    digest.take_next_nonce(&info);
    Ok(())
}

/// The first challenge that is understood.
fn choose(head: &Head<'_>) -> Option<parlance_sip::digest::Challenge> {
    let lines = head.lines().filter(|line| line.name.eq_ignore_ascii_case(b"WWW-Authenticate"));
    DigestSession::choose(lines.map(|line| line.value), None)
}

/// A whole number of seconds.
fn seconds(head: &Head<'_>, name: &str) -> Option<u32> {
    let value = std::str::from_utf8(head.value(name)?).ok()?;
    let digits = value.bytes().all(|digit| digit.is_ascii_digit());
    digits.then(|| value.parse().ok()).flatten()
}
