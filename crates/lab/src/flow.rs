//! Flows: what the service does, played in virtual time and written as a ladder of its messages.
//!
//! Each flow is a short story told to a [`Stage`]: a world, what is told beside the messages, and
//! what is expected on the way. `parlance-lab flow list` names them, `parlance-lab flow NAME`
//! plays one. They are the examples of OMA-TS-SIMPLE_IM Appendix D and of its catalogue of services
//! (§4), and the scenario tests play them all.

mod chat;
mod conference;
mod deferred;
mod ladder;
mod message;
mod pre;

use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::time::Duration;

use tokio::time::Instant;

use crate::network::Faults;
use crate::world::{CORE, SERVER, World, WorldError};

pub use conference::{ROOM_DOCUMENT, TEAM_DOCUMENT};
pub use ladder::{Arrow, Ladder};
pub use pre::SERVICE as PRE_ESTABLISHED;

/// A flow that can be played.
#[derive(Clone, Copy)]
pub struct Flow {
    /// Its name.
    pub name: &'static str,
    /// What it shows, in a line.
    pub about: &'static str,
    /// Who is in it, in the order of the columns. All register before it begins, but for those
    /// whose names are marked with a `-` in front.
    people: &'static [&'static str],
    /// Sections of the configuration, as TOML.
    configuration: &'static str,
    /// The groups that the server hosts.
    groups: &'static [&'static str],
    play: for<'a> fn(&'a Stage) -> Play<'a>,
}

/// A flow being played.
type Play<'a> = Pin<Box<dyn Future<Output = Result<(), Unexpected>> + 'a>>;

/// All flows, in the order in which they are listed.
pub const FLOWS: &[Flow] = &[
    Flow {
        name: "message",
        about: "a message from user to user",
        people: &["alice", "bob"],
        configuration: "",
        groups: &[],
        play: |stage| Box::pin(message::deliver(stage)),
    },
    Flow {
        name: "explode",
        about: "a message to a list of users, and one copy for each",
        people: &["alice", "bob", "carol"],
        configuration: "",
        groups: &[],
        play: |stage| Box::pin(message::explode(stage)),
    },
    Flow {
        name: "group-message",
        about: "a message to a group, and one copy for each member",
        people: &["alice", "bob", "carol"],
        configuration: "",
        groups: &[TEAM_DOCUMENT],
        play: |stage| Box::pin(message::to_group(stage)),
    },
    Flow {
        name: "peer-to-peer",
        about: "two users talk over MSRP between them, the server a proxy of their SIP",
        people: &["alice", "bob"],
        configuration: "[participating]\nnotice = false\npeer_to_peer = true",
        groups: &[],
        play: |stage| Box::pin(chat::peer_to_peer(stage)),
    },
    Flow {
        name: "anchored",
        about: "two users talk over MSRP through the server, a back-to-back user agent between",
        people: &["alice", "bob"],
        configuration: "[participating]\nnotice = false\npeer_to_peer = true\n\
                        session_media = \"anchor\"",
        groups: &[],
        play: |stage| Box::pin(chat::anchored(stage)),
    },
    Flow {
        name: "one-to-one",
        about: "a session of two at the conference factory",
        people: &["alice", "bob"],
        configuration: "",
        groups: &[],
        play: |stage| Box::pin(conference::one_to_one(stage)),
    },
    Flow {
        name: "ad-hoc-group",
        about: "a conference that a user puts together, watched by a participant",
        people: &["alice", "bob", "carol"],
        configuration: "",
        groups: &[],
        play: |stage| Box::pin(conference::ad_hoc(stage)),
    },
    Flow {
        name: "chat-join",
        about: "users join a chat room; a nickname; one leaves and the room stays",
        people: &["alice", "bob"],
        configuration: "",
        groups: &[ROOM_DOCUMENT],
        play: |stage| Box::pin(conference::join(stage)),
    },
    Flow {
        name: "pre-arranged-group",
        about: "a user calls a group, and its members are invited",
        people: &["alice", "bob", "carol"],
        configuration: "",
        groups: &[TEAM_DOCUMENT],
        play: |stage| Box::pin(conference::pre_arranged(stage)),
    },
    Flow {
        name: "add",
        about: "a participant has somebody added by REFER",
        people: &["alice", "bob", "carol"],
        configuration: "",
        groups: &[],
        play: |stage| Box::pin(conference::add(stage)),
    },
    Flow {
        name: "expel",
        about: "a participant has somebody expelled by REFER",
        people: &["alice", "bob", "carol"],
        configuration: "",
        groups: &[],
        play: |stage| Box::pin(conference::expel(stage)),
    },
    Flow {
        name: "leave",
        about: "participants leave until one is left, and the conference ends",
        people: &["alice", "bob", "carol"],
        configuration: "",
        groups: &[],
        play: |stage| Box::pin(conference::leave(stage)),
    },
    Flow {
        name: "pre-established",
        about: "a session established ahead of time is joined to a room, and to one who calls",
        people: &["alice", "bob"],
        configuration: "[participating]\nnotice = false\npre_established = true",
        groups: &[ROOM_DOCUMENT],
        play: |stage| Box::pin(pre::pre_established(stage)),
    },
    Flow {
        name: "deferral",
        about: "a message for a user who is away is stored, and pushed when the user registers",
        people: &["alice", "-bob"],
        configuration: "[deferred]\nsettle_ms = 500\n[participating]\nnotice = false",
        groups: &[],
        play: |stage| Box::pin(deferred::push(stage)),
    },
    Flow {
        name: "notification",
        about: "a user who registers is told of the messages that wait",
        people: &["alice", "-bob"],
        configuration: "[deferred]\ndelivery = \"notify\"\nsettle_ms = 500\n\
                        [participating]\nnotice = false",
        groups: &[],
        play: |stage| Box::pin(deferred::notification(stage)),
    },
];

/// Something in a flow was not as it has to be.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {found} instead of {expected}")]
pub struct Unexpected {
    what: String,
    expected: String,
    found: String,
}

/// Why a flow was not played to its end.
#[derive(Debug, thiserror::Error)]
pub enum FlowError {
    /// There is no such flow.
    #[error("there is no flow {0}; `flow list` names them")]
    Unknown(String),
    /// Its world cannot be built.
    #[error(transparent)]
    World(#[from] WorldError),
    /// Nothing can be written, or there is no runtime.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// It went another way; what was seen until then.
    #[error("{0}\n{1}")]
    Unexpected(Unexpected, Box<Ladder>),
}

/// What a flow is played on.
pub struct Stage {
    /// The world.
    pub world: World,
    notes: RefCell<Vec<(Instant, String)>>,
    start: Instant,
}

impl Stage {
    /// Tells something beside the messages that follow.
    pub fn tell(&self, text: &str) {
        self.notes.borrow_mut().push((Instant::now(), text.to_owned()));
    }

    /// Goes on when two things are equal.
    ///
    /// # Errors
    /// [`Unexpected`].
    pub fn expect<T, U>(&self, what: &str, found: T, expected: U) -> Result<(), Unexpected>
    where
        T: PartialEq<U> + fmt::Debug,
        U: fmt::Debug,
    {
        if found == expected {
            return Ok(());
        }
        let (expected, found) = (format!("{expected:?}"), format!("{found:?}"));
        Err(Unexpected { what: what.to_owned(), expected, found })
    }

    /// Goes on with what there is.
    ///
    /// # Errors
    /// [`Unexpected`]: there is nothing.
    pub fn some<T>(&self, what: &str, found: Option<T>) -> Result<T, Unexpected> {
        found.ok_or_else(|| Unexpected {
            what: what.to_owned(),
            expected: "one".to_owned(),
            found: "nothing".to_owned(),
        })
    }

    /// Lets a moment pass, so that everything under way arrives.
    pub async fn pause(&self) {
        self.world.settle(Duration::from_secs(1)).await;
    }
}

impl fmt::Debug for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stage").field("world", &self.world).finish_non_exhaustive()
    }
}

impl fmt::Debug for Flow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Flow({})", self.name)
    }
}

/// Plays the flow called `name` and draws it. Must be called on a `LocalSet`, best on a paused
/// clock.
///
/// # Errors
/// [`FlowError`].
pub async fn play(name: &str) -> Result<Ladder, FlowError> {
    let flow = FLOWS.iter().find(|flow| flow.name == name);
    let flow = flow.ok_or_else(|| FlowError::Unknown(name.to_owned()))?;
    let delay = Duration::from_millis(5);
    let faults = Faults { delay: delay..delay, ..Faults::default() };
    let mut builder = World::builder().faults(faults).configuration(flow.configuration);
    let names: Vec<_> = flow.people.iter().map(|name| name.trim_start_matches('-')).collect();
    for name in &names {
        builder = builder.user(name);
    }
    for document in flow.groups {
        builder = builder.group(document);
    }
    let world = builder.build().await?;
    for name in flow.people.iter().filter(|name| !name.starts_with('-')) {
        world.ue(name).register().await;
    }
    world.settle(Duration::from_secs(2)).await;
    world.network.trace_connections();
    let stage = Stage { world, notes: RefCell::default(), start: Instant::now() };
    let played = (flow.play)(&stage).await;
    let ladder = draw(&stage, &names);
    match played {
        Ok(()) => Ok(ladder),
        Err(unexpected) => Err(FlowError::Unexpected(unexpected, Box::new(ladder))),
    }
}

/// Plays a flow on a runtime of its own, in virtual time, and writes its drawing; for `list`, the
/// names of all.
///
/// # Errors
/// [`FlowError`].
#[cfg(feature = "flow")]
pub fn command(name: &str, out: &mut dyn std::io::Write) -> Result<(), FlowError> {
    if name == "list" {
        for Flow { name, about, .. } in FLOWS {
            writeln!(out, "{name:<16} {about}")?;
        }
        return Ok(());
    }
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_all().start_paused(true).build()?;
    let ladder = tokio::task::LocalSet::new().block_on(&runtime, play(name))?;
    write!(out, "{ladder}")?;
    Ok(())
}

fn draw(stage: &Stage, names: &[&str]) -> Ladder {
    let mut columns: Vec<(String, IpAddr)> = Vec::new();
    for (place, name) in names.iter().enumerate() {
        columns.push(((*name).to_owned(), stage.world.ue(name).address().ip()));
        if place == 0 {
            columns.push(("core".to_owned(), CORE.ip()));
            columns.push(("server".to_owned(), SERVER));
        }
    }
    let mut ladder = Ladder::new(columns, stage.start);
    ladder.sip(CORE.ip(), &stage.world.core.trace());
    ladder.msrp(&stage.world.network.carried());
    for (at, note) in stage.notes.borrow().iter() {
        ladder.note(*at, note);
    }
    ladder.sort();
    ladder
}
