//! Telling everybody in a conference who takes part (RFC 4575): users join one after the other,
//! and each subscribes. Beside it the way that rebuilds the whole document for every subscriber at
//! every join.
//!
//! Three ways, each for 500, 1,000 and 2,000 users:
//! - *paced*: 100 joins a second, and every 5 s each subscriber is told what has changed since, as
//!   the server does it; what all of them have to be told is rendered once.
//! - *at once*: every join is told to every subscriber as it happens.
//! - *naive*: at every join every subscriber gets a full document, rendered for him. Its octets are
//!   counted exactly; its time is measured at every 50th join and scaled.
//!
//! Octets and CPU per join grow with the number of subscribers, since each of them has to be told.
//! The last two columns are for one join and one subscriber: they stay as they are with twice the
//! users, but for the first document of each subscriber, which names everybody who is in.
//!
//! `cargo run --release -p parlance-benches --bin conference_state`
#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]
#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
#![expect(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parlance_controlling::Policy;
use parlance_controlling::focus::{Caller, Focus, Kind, Seen, Setup};

/// Joins between two times at which subscribers are told: 100 a second, 5 s.
const PACE: usize = 500;

/// How much was said, and what it took.
#[derive(Clone, Copy, Default)]
struct Told {
    documents: u64,
    octets: u64,
    time: Duration,
}

fn main() {
    println!(
        "{:8} {:>6} {:>10} {:>14} {:>12} {:>16} {:>16}",
        "", "users", "documents", "octets", "CPU ms", "octets/join/sub.", "ns/join/sub."
    );
    for users in [500, 1000, 2000] {
        let rows = [
            ("paced", changes(users, PACE)),
            ("at once", changes(users, 1)),
            ("naive", naive(users)),
        ];
        for (name, told) in rows {
            // User number n is told of the joins after his own.
            let pairs = (users * users / 2) as f64;
            println!(
                "{name:8} {users:>6} {:>10} {:>14} {:>12.1} {:>16.1} {:>16.1}",
                told.documents,
                told.octets,
                told.time.as_secs_f64() * 1e3,
                told.octets as f64 / pairs,
                told.time.as_secs_f64() * 1e9 / pairs,
            );
        }
    }
}

fn focus(users: usize) -> Focus {
    let max = u32::try_from(users).unwrap_or(u32::MAX);
    let policy = Policy { participants_max: max, adhoc_group_size_max: max, ..Policy::default() };
    let setup = Setup {
        kind: Kind::AdHoc,
        entity: "sip:im-sess-0123456789abcdef@im.ims.test".to_owned(),
        creator: "sip:user0@ims.test".parse().expect("it is a URI"),
        subject: Some("A large conference".to_owned()),
        group: None,
    };
    Focus::new(setup, Arc::new(policy))
}

fn join(focus: &mut Focus, number: usize) {
    let address = format!("sip:user{number}@ims.test").parse().expect("it is a URI");
    let caller = Caller { display_name: Some(format!("User {number}")), ..Caller::new(address) };
    let endpoint = focus.dial_in(&caller);
    focus.connected(endpoint, &format!("sip:user{number}@192.0.2.10:5060"), false);
}

/// Every subscriber is told what has changed, after every `every` joins.
fn changes(users: usize, every: usize) -> Told {
    let mut focus = focus(users);
    let mut subscribers: Vec<Seen> = Vec::with_capacity(users);
    let mut told = Told::default();
    let start = Instant::now();
    for number in 0..users {
        join(&mut focus, number);
        if (number + 1) % every == 0 || number + 1 == users {
            for seen in &mut subscribers {
                if focus.has_news(seen) {
                    count(&mut told, focus.document(seen, false).as_deref());
                }
            }
        }
        let mut seen = Seen::default();
        count(&mut told, focus.document(&mut seen, true).as_deref());
        subscribers.push(seen);
    }
    told.time = start.elapsed();
    told
}

/// Every subscriber gets everything at every join, rendered for him.
fn naive(users: usize) -> Told {
    const SAMPLE: usize = 50;
    let mut focus = focus(users);
    let mut told = Told::default();
    for number in 0..users {
        join(&mut focus, number);
        let whole = focus.document(&mut Seen::default(), true).unwrap_or_default();
        let subscribers = number as u64 + 1;
        told.documents += subscribers;
        told.octets += subscribers * whole.len() as u64;
        if number % SAMPLE == SAMPLE / 2 {
            let start = Instant::now();
            // Another focus with the same users renders anew what this one has kept.
            let fresh = rendered_anew(&mut focus, number);
            told.time += start.elapsed()
                * u32::try_from(number + 1).unwrap_or(u32::MAX)
                * u32::try_from(SAMPLE).unwrap_or(1);
            black_box(fresh);
        }
    }
    told
}

/// A full document that shares nothing with the one before.
fn rendered_anew(focus: &mut Focus, number: usize) -> usize {
    let address = format!("sip:user{number}@ims.test").parse().expect("it is a URI");
    for endpoint in focus.endpoints_of(&address) {
        // A change of no consequence makes what was rendered useless.
        focus.hold(endpoint, true);
        focus.hold(endpoint, false);
    }
    focus.document(&mut Seen::default(), true).map_or(0, |whole| whole.len())
}

fn count(told: &mut Told, document: Option<&[u8]>) {
    if let Some(document) = document {
        told.documents += 1;
        told.octets += document.len() as u64;
        black_box(document);
    }
}
