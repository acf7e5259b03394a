//! The service in ten seconds: the real server, the core and four users on loopback sockets.
//!
//! A message is delivered, one is refused, and one waits for a user who is away until he comes;
//! then they meet in a conference. The server is the production one, with its threads, sockets and
//! store; core and UEs are those of the scenarios, on [`crate::network::udp`] instead of the
//! simulated network.

mod group;

use std::io::{self, IsTerminal, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use parlance_server::config::{Listen, MsrpListen, Side, TransportName};
use parlance_server::server::StartError;
use parlance_server::{Config, Mistakes, Server};
use parlance_store::{Entry, Millis, Profile, StoreError};
use tokio::time::Instant;

use crate::core::{Core, CoreConfig, SHIPPED_CRITERIA, Subscription};
use crate::network::{self, Streams};
use crate::ue::{Answer, Ue, UeConfig};

/// Why there is no demonstration.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// A socket, a directory, or the output.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The server does not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The server refuses its configuration.
    #[error("configuration: {0}")]
    Configuration(Mistakes),
    /// The shipped filter criteria are none.
    #[error(transparent)]
    Criteria(#[from] parlance_isc::ifc::IfcError),
    /// The store refuses a profile.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Something happened that should not.
    #[error("{0} of {COUNT} things happened as they should")]
    Otherwise(usize),
}

/// How many things are shown.
const COUNT: usize = 3 + group::COUNT;

/// How long is waited for a message that is on its way.
const PATIENCE: Duration = Duration::from_secs(5);

/// Runs the demonstration and writes it to `out`, coloured when standard output is a terminal.
///
/// # Errors
/// [`DemoError`].
pub fn command(out: &mut impl Write) -> Result<(), DemoError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let tasks = tokio::task::LocalSet::new();
    let show = Show { out, coloured: io::stdout().is_terminal() };
    tasks.block_on(&runtime, run(show))
}

/// The users.
const NAMES: [&str; 4] = ["alice", "bob", "carol", "dave"];

async fn run<W: Write>(mut show: Show<'_, W>) -> Result<(), DemoError> {
    let start = Instant::now();
    let directory = tempfile::tempdir()?;
    let core_link = network::udp(loopback()).await?;
    let core_address = core_link.outlet().local();
    let server = Server::start(configuration(&directory, core_address)?).await?;
    let core = Core::start(core_link, core_configuration(&server))?;
    let mut users = Vec::new();
    for (seed, name) in (1..).zip(NAMES) {
        let link = network::udp(loopback()).await?;
        let identity = identity(name);
        core.subscribe(Subscription {
            identity: identity.clone(),
            aliases: Vec::new(),
            addresses: vec![link.outlet().local()],
        });
        let ue = Ue::start(link, UeConfig { identity, core: core_address, seed });
        users.push(ue.with_msrp(Streams::Real(Ipv4Addr::LOCALHOST.into()))?);
    }
    show.title("parlance", &places(&server))?;
    show.title("core", &format!("{core_address}, with the filter criteria of ifc/user.xml"))?;
    let mut good = 0;
    if let [alice, bob, carol, dave] = &users[..] {
        good = story(&mut show, &server, &core, [alice, bob, carol]).await?;
        let status = dave.register().await.status;
        show.line("dave", "registers", &status.to_string(), status == 200)?;
        let told = || core.third_party().iter().filter(|told| told.status == Some(200)).count();
        until(|| told() >= users.len()).await;
        good += group::story(&mut show, [alice, bob, carol, dave]).await?;
    }
    server.stop().await;
    let seconds = start.elapsed().as_secs_f64();
    show.title("", &format!("{good} of {COUNT} as it should be, after {seconds:.1} s"))?;
    if good == COUNT { Ok(()) } else { Err(DemoError::Otherwise(good)) }
}

/// Three messages; how many went as they should.
async fn story<W: Write>(
    show: &mut Show<'_, W>,
    server: &Server,
    core: &Core,
    [alice, bob, carol]: [&Ue; 3],
) -> Result<usize, DemoError> {
    for (name, ue) in [("alice", alice), ("bob", bob)] {
        let answer = ue.register().await;
        show.line(name, "registers", &format!("{}", answer.status), answer.status == 200)?;
    }
    let told = || core.third_party().iter().filter(|told| told.status == Some(200)).count() >= 2;
    until(told).await;
    let mut good = 0;

    let answer = alice.message(&identity("bob"), "Hello Bob").await;
    until(|| !bob.texts().is_empty()).await;
    let delivered = answer.status == 200 && bob.texts() == ["Hello Bob"];
    show.sent("alice", "bob", "Hello Bob", &answer, delivered)?;
    show.got("bob", bob)?;

    let profiles = &server.assembly().store().profiles;
    let profile = Profile::new(identity("bob").as_str().into(), Millis(0));
    let reject = vec![Entry::Identity(identity("alice"))];
    profiles.put(Profile { reject, ..profile.clone() }).await?;
    show.line("bob", "blocks alice", "", true)?;
    let answer = alice.message(&identity("bob"), "Still there?").await;
    let refused = answer.status == 403 && bob.texts().len() == 1;
    show.sent("alice", "bob", "Still there?", &answer, refused)?;

    let answer = alice.message(&identity("carol"), "Call me when you are back").await;
    let mut deferred = answer.status == 202;
    show.sent("alice", "carol", "Call me when you are back", &answer, deferred)?;
    let registered = carol.register().await.status;
    show.line("carol", "registers", &registered.to_string(), registered == 200)?;
    until(|| !carol.texts().is_empty()).await;
    deferred &= carol.texts() == ["Call me when you are back"];
    show.got("carol", carol)?;

    profiles.put(profile).await?;
    show.line("bob", "blocks alice no more", "", true)?;

    for held in [delivered, refused, deferred] {
        good += usize::from(held);
    }
    Ok(good)
}

/// Waits until `holds`, or long enough.
async fn until(holds: impl Fn() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds() && Instant::now() < end {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn loopback() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
}

fn identity(name: &str) -> String {
    format!("sip:{name}@ims.test")
}

fn configuration(directory: &tempfile::TempDir, core: SocketAddr) -> Result<Config, DemoError> {
    let mut config = Config::default();
    let listen = |side: Side| Listen {
        address: loopback(),
        transports: vec![TransportName::Udp],
        side,
        ..Listen::default()
    };
    let sides = [Side::Originating, Side::Terminating, Side::Registration];
    config.sip.listen = parlance_server::config::Tables(sides.map(listen).to_vec());
    config.sip.next_hop = Some(format!("sip:{core};lr"));
    // What is too long for the usual datagram is not over TCP, which the core does not speak here.
    config.sip.udp_octets_max = 65_000;
    config.http.listen = loopback();
    config.msrp.listen = parlance_server::config::Tables(vec![MsrpListen {
        address: Some(loopback()),
        ..MsrpListen::default()
    }]);
    config.store.path = directory.path().join("data");
    config.participating.notice = false;
    config.deferred.settle_ms = 500;
    let mut mistakes = Mistakes::default();
    config.check(&mut mistakes);
    if mistakes.is_empty() { Ok(config) } else { Err(DemoError::Configuration(mistakes)) }
}

/// The documented ports in the criteria lead to those the system chose.
fn core_configuration(server: &Server) -> CoreConfig {
    let mut config = CoreConfig {
        criteria: SHIPPED_CRITERIA.replace(";transport=tcp", ""),
        ..CoreConfig::default()
    };
    config.names.insert("im.ims.test".to_owned(), Ipv4Addr::LOCALHOST.into());
    for bound in server.bound() {
        let documented = match bound.side {
            Side::Originating | Side::Any => 5080,
            Side::Terminating => 5081,
            Side::Registration => 5082,
        };
        config.ports.insert(documented, bound.address.port());
    }
    config
}

fn places(server: &Server) -> String {
    let place = |bound: &parlance_server::server::Bound| {
        let side = match bound.side {
            Side::Originating => "originating",
            Side::Terminating => "terminating",
            Side::Registration => "registration",
            Side::Any => "everything",
        };
        format!("{} {side}", bound.address)
    };
    server.bound().iter().map(place).collect::<Vec<_>>().join(", ")
}

/// Writes what happens, in columns.
struct Show<'w, W> {
    out: &'w mut W,
    coloured: bool,
}

impl<W: Write> Show<'_, W> {
    fn title(&mut self, name: &str, text: &str) -> io::Result<()> {
        writeln!(self.out, "{name:<9} {text}")
    }

    fn line(&mut self, who: &str, what: &str, outcome: &str, good: bool) -> io::Result<()> {
        let mark = if good { "ok" } else { "WRONG" };
        let colour = if good { "\x1b[32m" } else { "\x1b[31m" };
        let (on, off) = if self.coloured { (colour, "\x1b[0m") } else { ("", "") };
        writeln!(self.out, "  {who:<7} {what:<46} {outcome:<14} {on}{mark}{off}")
    }

    fn sent(
        &mut self,
        from: &str,
        to: &str,
        text: &str,
        answer: &Answer,
        good: bool,
    ) -> io::Result<()> {
        let outcome = match answer.status {
            200 => "200 delivered".to_owned(),
            202 => "202 stored".to_owned(),
            403 => "403 refused".to_owned(),
            other => other.to_string(),
        };
        self.line(from, &format!("to {to}: \"{text}\""), &outcome, good)
    }

    fn got(&mut self, who: &str, ue: &Ue) -> io::Result<()> {
        let text = ue.texts().pop();
        let good = text.is_some();
        let text = text.map_or_else(|| "nothing".to_owned(), |text| format!("\"{text}\""));
        self.line(who, &format!("gets {text}"), "", good)
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_demonstration_holds() {
        let mut out = Vec::new();
        let held = super::command(&mut out);
        let shown = String::from_utf8(out).unwrap();
        assert!(held.is_ok(), "{held:?}\n{shown}");
        for expected in ["200 delivered", "403 refused", "202 stored", "9 of 9"] {
            assert!(shown.contains(expected), "{shown}");
        }
        assert!(!shown.contains('\x1b') && !shown.contains("WRONG"), "{shown}");
    }
}
