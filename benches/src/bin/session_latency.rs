//! How late a message of a session is through the whole server, beside the bare relay and switch of
//! `parlance msrp-room`, in one run at the same rates.
//!
//! *Participating*: two users at the pair of MSRP sessions of an anchored call. *Controlling*: two
//! users at the room of a conference of two. Each is set up over SIP, and its messages come from
//! the same generator as those of the bare ones. Servers have processor 0, the generator processor
//! 1; texts of 300 octets, latency from the instant a message is due until its recipient has it.
//!
//! `cargo run --release -p parlance-benches --bin session_latency [-- --quick]`
#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

use parlance_benches::msrp::{self, GENERATOR_PROCESSOR, HEADING, Result, asked, line};
use parlance_benches::server::Parlance;
use parlance_benches::signalling::{
    Answered, CALLED, Caller, Offered, Way, answer_calls, identity, own_path,
};
use parlance_lab::msrp_load::{Leg, Legs, Options, Pair, Report, Room, run};

/// Sessions of two that are played.
const SESSIONS: usize = 20;

/// Messages a second, of all of them together.
const RATES: [f64; 2] = [1_000.0, 10_000.0];

fn main() -> Result<()> {
    let offers = answer_calls()?;
    let sessions = SESSIONS.to_string();
    let shapes = [
        ("participating", Shape::Pairs, vec!["--pairs", &sessions]),
        ("controlling", Shape::Rooms, vec!["--rooms", &sessions, "--size", "2"]),
    ];
    println!("{HEADING}");
    let mut summary = Vec::new();
    for (name, shape, groups) in shapes {
        for rate in RATES {
            println!("{name}, {rate} messages/s");
            let options = options(rate);
            let bare = msrp::Server::parlance(&groups)?.play(&options)?;
            println!("{}", line("bare", &bare));
            let server = Parlance::start(shape.configuration())?;
            let legs = set_up(shape, &offers)?;
            let options = Options { pid: vec![i32::try_from(server.pid())?], ..options };
            let full = run(&options, &legs)?;
            println!("{}", line("through the server", &full));
            summary.push((format!("{name}, {rate}/s"), bare, full));
        }
    }
    for (name, bare, full) in &summary {
        let ratio = |of: fn(&Report) -> f64| of(full) / of(bare);
        let p50 = ratio(|report| report.delivery.p50_us);
        let p99 = ratio(|report| report.delivery.p99_us);
        println!("{name}: {p50:.2} of the bare one's p50, {p99:.2} of its p99");
    }
    Ok(())
}

fn options(rate: f64) -> Options {
    Options {
        rate,
        duration: if asked("--quick") { 2.0 } else { 5.0 },
        warm_up: 0.5,
        pin: Some(GENERATOR_PROCESSOR),
        ..Options::default()
    }
}

/// Which function of the server passes the messages on.
#[derive(Clone, Copy)]
enum Shape {
    Pairs,
    Rooms,
}

impl Shape {
    fn configuration(self) -> &'static str {
        match self {
            Self::Pairs => "peer_to_peer = true\nsession_media = \"anchor\"\n",
            Self::Rooms => "",
        }
    }

    fn factory(self) -> Option<String> {
        match self {
            Self::Pairs => None,
            Self::Rooms => Some("sip:im-conf-factory@ims.test".to_owned()),
        }
    }
}

/// Calls everybody; the sessions that came of it.
fn set_up(shape: Shape, offers: &std::sync::mpsc::Receiver<Offered>) -> Result<Legs> {
    let way = Way {
        server: Parlance::SIP.parse()?,
        route: vec![
            format!("<sip:im-orig@{};transport=tcp;lr>", Parlance::SIP),
            format!("<sip:{CALLED};transport=tcp;lr>"),
        ],
        factory: shape.factory(),
    };
    let mut legs = Legs::default();
    for answered in Caller::new(way)?.begin(0, SESSIONS)? {
        let offered = offers.recv()?;
        if offered.number != answered.number {
            return Err("the calls were answered in another order".into());
        }
        let uri = answered.contact.clone();
        let two = [caller(answered), called(offered)];
        match shape {
            Shape::Pairs => legs.pairs.push(Pair { legs: two }),
            Shape::Rooms => legs.rooms.push(Room { uri, legs: two.into() }),
        }
    }
    Ok(legs)
}

fn caller(answered: Answered) -> Leg {
    let Answered { number, path, .. } = answered;
    Leg { uri: path, peer: own_path(true, number), participant: identity(true, number) }
}

fn called(offered: Offered) -> Leg {
    let Offered { number, path } = offered;
    Leg { uri: path, peer: own_path(false, number), participant: identity(false, number) }
}
