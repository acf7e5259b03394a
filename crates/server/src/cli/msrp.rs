//! `parlance msrp-relay` and `parlance msrp-room`: MSRP without SIP.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, ValueEnum};
use parlance_msrp::header::FailureReport;
use parlance_msrp::relay::{PairConfig, PairSide};
use parlance_msrp::switch::{LegConfig, RoomConfig, RoomId};
use parlance_msrp::{Event, FromRule, LocalAddress, MsrpUri, Path, Scheme, SessionKey};
use parlance_net::msrp::{AtCore, Sink};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::Failed;
use crate::config::{Config, MsrpListen, Tables};
use crate::msrp::{Service, resolver};
use crate::serve::until_told;

/// What `msrp-relay` is asked.
#[derive(Args, Clone, Debug)]
pub(super) struct RelayArgs {
    /// Prints one line of JSON once it listens: the URI to send AUTH to, and where that is.
    #[arg(long)]
    json: bool,
}

/// What `msrp-room` is asked.
#[derive(Args, Clone, Debug)]
pub(super) struct RoomArgs {
    /// Address and port to listen on, instead of those of the configuration.
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// Certificate for that address, PEM: TLS is spoken.
    #[arg(long, value_name = "FILE", requires_all = ["key", "listen"])]
    certificate: Option<PathBuf>,
    /// Its private key, PEM.
    #[arg(long, value_name = "FILE", requires = "certificate")]
    key: Option<PathBuf>,
    /// Speaks WebSocket on that address.
    #[arg(long, requires = "listen")]
    websocket: bool,
    /// Threads; 0 for one on each processor. Each room and pair is on one of them.
    #[arg(long, value_name = "N")]
    cores: Option<u64>,
    /// Rooms.
    #[arg(long, value_name = "N", default_value_t = 0)]
    rooms: usize,
    /// Participants of each room.
    #[arg(long, value_name = "N", default_value_t = 10)]
    size: usize,
    /// What the recipients of copies in rooms are asked to answer: everything, failures, nothing;
    /// else as the configuration says.
    #[arg(long, value_name = "WHAT")]
    recipients_answer: Option<RecipientsAnswer>,
    /// Lets participants whose connection has ended come back under the same URI: one server serves
    /// load after load. Each costs memory that is no session's.
    #[arg(long)]
    again: bool,
    /// Pairs of sessions to be passed on between.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pairs: usize,
}

/// A value of Failure-Report (RFC 4975 §7.1.2).
#[derive(Clone, Copy, Debug, ValueEnum)]
enum RecipientsAnswer {
    Yes,
    Partial,
    No,
}

impl From<RecipientsAnswer> for FailureReport {
    fn from(answer: RecipientsAnswer) -> Self {
        match answer {
            RecipientsAnswer::Yes => Self::Yes,
            RecipientsAnswer::Partial => Self::Partial,
            RecipientsAnswer::No => Self::No,
        }
    }
}

/// Runs the relay of the configuration until it is told to end.
pub(super) async fn relay(
    config: Config,
    file: Option<&std::path::Path>,
    args: RelayArgs,
) -> Result<(), Failed> {
    if !config.msrp.relay {
        return Err(Failed::Usage("msrp.relay: is not true, so there is no relay".to_owned()));
    }
    let service = start(&config).await?;
    if args.json {
        super::print(&format!("{}\n", json!({ "auth": auth(&service) })))?;
    }
    until_told(file, |config| service.reload(config)).await.map_err(Failed::failure)?;
    service.drain().await;
    Ok(())
}

/// Opens rooms and pairs, says where, and runs until it is told to end.
pub(super) async fn room(
    mut config: Config,
    file: Option<&std::path::Path>,
    args: RoomArgs,
) -> Result<(), Failed> {
    if let Some(address) = args.listen {
        config.msrp.listen = Tables(vec![MsrpListen {
            address: Some(address),
            websocket: args.websocket,
            certificate: args.certificate.clone(),
            key: args.key.clone(),
            ..MsrpListen::default()
        }]);
    }
    if let Some(cores) = args.cores {
        config.msrp.cores = cores.min(64);
    }
    if !config.msrp.is_on() {
        let what = "msrp.listen: there is no listener; configure one or give --listen";
        return Err(Failed::Usage(what.to_owned()));
    }
    let service = start(&config).await?;
    let address = service.address(0).ok_or_else(|| Failed::failure("no listener"))?;
    let (sink, events) = mpsc::channel(EVENTS_MAX);
    let mut seats = HashMap::new();
    let mut rooms = String::new();
    for number in 0..args.rooms {
        let (core, address, size) = (core_of(&service, number), address.clone(), args.size);
        let sink = args.again.then(|| sink.clone());
        let mut switch = config.msrp.switch_config();
        if let Some(answer) = args.recipients_answer {
            switch.failure_report = answer.into();
        }
        let room = service.msrp().run(core, move |at| {
            at.node.set_switch(switch);
            open_room(at, &address, sink.as_ref(), number, size)
        });
        let (room, taken) = room.await.map_err(Failed::failure)?.map_err(Failed::Failure)?;
        put(&mut rooms, &room);
        seats.extend(taken);
    }
    let mut pairs = String::new();
    for number in 0..args.pairs {
        let (core, address) = (core_of(&service, number), address.clone());
        let pair = service.msrp().run(core, move |at| pair(at, &address));
        put(&mut pairs, &pair.await.map_err(Failed::failure)?);
    }
    let auth = auth(&service);
    super::print(&format!("{{\"rooms\":[{rooms}],\"pairs\":[{pairs}],\"auth\":{auth}}}\n"))?;
    // What was said of the sessions must not weigh on each of them from now on.
    drop((rooms, pairs));
    tokio::select! {
        told = until_told(file, |config| service.reload(config)) => told.map_err(Failed::failure)?,
        () = let_back(&service, seats, (sink, events)) => {}
    }
    service.drain().await;
    Ok(())
}

/// Appends a value to the elements of an array: as values, all of them together would be larger
/// than the sessions they are about.
fn put(elements: &mut String, value: &Value) {
    if !elements.is_empty() {
        elements.push(',');
    }
    elements.push_str(&value.to_string());
}

/// The place of a participant of a room, which is kept.
struct Seat {
    core: u8,
    room: RoomId,
    uri: MsrpUri,
    peer: String,
    config: LegConfig,
}

impl Seat {
    /// Gives the place, under its URI, to whoever connects next.
    fn take(&self, at: &mut AtCore<'_>, sink: Sink) -> Option<SessionKey> {
        let Self { room, uri, peer, config, .. } = self;
        // The room is as it was, without this participant.
        let session = at.node.add_leg_as(at.now, *room, uri.clone(), config).ok()?;
        at.node.set_peer(at.now, session, Path::new(peer.as_bytes()), FromRule::Whole, &[]);
        at.subscribe(session, sink);
        Some(session)
    }
}

/// Events of participants that wait; more hold back who causes them. Local limit.
const EVENTS_MAX: usize = 1024;

/// Whoever has lost the connection may come back under the same URI: one server serves load after
/// load.
async fn let_back(
    service: &Service,
    mut seats: HashMap<SessionKey, Seat>,
    (sink, mut events): (Sink, mpsc::Receiver<Event>),
) {
    while let Some(event) = events.recv().await {
        let Event::Lost { session, .. } = event else { continue };
        let Some(seat) = seats.remove(&session) else { continue };
        let (core, sink) = (seat.core, sink.clone());
        let taken = service.msrp().run(core, move |at| (seat.take(at, sink), seat));
        if let Ok((Some(session), seat)) = taken.await {
            seats.insert(session, seat);
        }
    }
}

async fn start(config: &Config) -> Result<Service, Failed> {
    let resolver = resolver(config).map_err(Failed::failure)?;
    let trusted = Arc::new(|address: std::net::IpAddr| address.is_loopback());
    Service::start(config, resolver, trusted).await.map_err(Failed::failure)
}

fn core_of(service: &Service, number: usize) -> u8 {
    u8::try_from(number % usize::from(service.msrp().cores())).unwrap_or(0)
}

/// The URI that AUTH goes to, when there is a relay.
fn auth(service: &Service) -> Value {
    let Some((place, address)) = service.relay_address() else { return Value::Null };
    let LocalAddress { scheme, host, port, .. } = address;
    let scheme = if scheme == Scheme::Msrps { "msrps" } else { "msrp" };
    let connect = service.msrp().local_addr(place).map(|bound| bound.to_string());
    json!({ "uri": format!("{scheme}://{host}:{port};tcp"), "connect": connect })
}

/// Opens a room with a session for each of its participants.
fn open_room(
    at: &mut AtCore<'_>,
    address: &LocalAddress,
    sink: Option<&Sink>,
    number: usize,
    size: usize,
) -> Result<(Value, HashMap<SessionKey, Seat>), String> {
    let uri = format!("sip:room{number}@parlance.invalid");
    let policy = RoomConfig { welcome: false, ..RoomConfig::new(vec![uri.clone()]) };
    let room = at.node.open_room(at.now, policy).map_err(|error| error.to_string())?;
    let (mut legs, mut seats) = (Vec::with_capacity(size), HashMap::new());
    for place in 0..size {
        let participant = format!("sip:p{place}@parlance.invalid");
        let config = LegConfig::new(&participant);
        let session = at.node.add_leg(at.now, room, address, &config);
        let session = session.map_err(|error| error.to_string())?;
        let peer = peer(at, session, address);
        let uri = at.node.uri(session).cloned().ok_or("the session is gone")?;
        legs.push(json!({ "uri": uri.as_str(), "peer": peer, "participant": participant }));
        if let Some(sink) = sink {
            at.subscribe(session, sink.clone());
            seats.insert(session, Seat { core: at.core, room, uri, peer, config });
        }
    }
    Ok((json!({ "uri": uri, "legs": legs }), seats))
}

/// Opens two sessions whose messages are passed on between them.
fn pair(at: &mut AtCore<'_>, address: &LocalAddress) -> Value {
    let pair = at.node.open_pair(at.now, address, address, PairConfig::default());
    let sides = [PairSide::Offerer, PairSide::Answerer];
    let sessions = sides.into_iter().filter_map(|side| at.node.pair_session(pair, side));
    let sessions: Vec<SessionKey> = sessions.collect();
    let legs: Vec<Value> = sessions.into_iter().map(|session| leg(at, session, address)).collect();
    json!({ "legs": legs })
}

/// A session and its peer.
fn leg(at: &mut AtCore<'_>, session: SessionKey, address: &LocalAddress) -> Value {
    let peer = peer(at, session, address);
    json!({ "uri": at.node.uri(session).map(MsrpUri::as_str), "peer": peer })
}

/// Gives a session a peer, as its SDP would have: the path of the peer.
fn peer(at: &mut AtCore<'_>, session: SessionKey, address: &LocalAddress) -> String {
    let scheme = if address.scheme == Scheme::Msrps { "msrps" } else { "msrp" };
    let id = format!("{:016x}{:016x}", rand::random::<u64>(), rand::random::<u64>());
    let peer = format!("{scheme}://127.0.0.1:9/{id};{}", address.transport);
    at.node.set_peer(at.now, session, Path::new(peer.as_bytes()), FromRule::Whole, &[]);
    peer
}
