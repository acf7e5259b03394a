//! The server is killed again and again while it accepts and delivers; nothing it said 202 to may
//! be lost, come out of order, or come twice.

#[cfg(test)]
#[path = "kill/outcome.rs"]
mod outcome;
#[cfg(test)]
#[path = "kill/recipient.rs"]
mod recipient;
#[cfg(test)]
#[path = "kill/sender.rs"]
mod sender;
#[cfg(test)]
#[path = "kill/server.rs"]
mod server;

use std::thread::sleep;
use std::time::{Duration, Instant};

use recipient::Recipients;
use sender::Senders;
use server::{PATIENCE, Server};

/// Users whose messages are delivered while the server is still being killed.
const EARLY: [&str; 4] = ["u0", "u1", "u2", "u3"];
/// Users who come back when that is over; until then messages to them keep coming.
const LATE: [&str; 4] = ["u4", "u5", "u6", "u7"];

/// How many messages must have been accepted since the last start before the server is killed.
const ACCEPTED: usize = 150;

// Covers: DF-003, DF-012, DF-017, STO-014
#[test]
fn what_got_202_is_delivered_once_and_in_order() {
    let long = std::env::var("PARLANCE_LONG").is_ok_and(|long| !matches!(&*long, "" | "0"));
    let kills = if long { 100 } else { 10 };
    let recipients = Recipients::new();
    let mut server = Server::new(recipients.address());
    let start = now();
    server.start();

    let to = |users, pause| Senders::new(server.sip(), recipients.address(), users, pause);
    let early = to(&EARLY, Duration::from_millis(20));
    let late = to(&LATE, Duration::from_millis(60));
    let accepting = kills / 2;
    for kill in 0..accepting {
        under_load(kill, ACCEPTED, usize::MAX, || early.accepted() + late.accepted());
        server.kill_and_start();
    }
    let mut accepted = early.end();
    for user in EARLY {
        recipients.register(server.sip(), user);
    }
    // So that something is left for each kill to interrupt.
    let waiting: usize = accepted.iter().map(|stream| stream.accepted).sum();
    let progress = waiting / (2 * (kills - accepting + 1));
    for kill in accepting..kills {
        under_load(kill, progress, waiting, || recipients.delivered());
        // Half of the time everything that is under way is kept without an answer.
        recipients.withhold(kill % 2 == 0);
        sleep(Duration::from_millis(if kill % 2 == 0 { 30 } else { 0 }));
        server.kill_and_start();
        recipients.restarted();
    }
    accepted.extend(late.end());
    for user in LATE {
        recipients.register(server.sip(), user);
    }
    let total = accepted.iter().map(|stream| stream.accepted).sum();
    while recipients.delivered() < total {
        let before = recipients.delivered();
        wait_for("another message is delivered", || recipients.delivered() > before);
    }
    // What would come twice has time to come.
    sleep(Duration::from_millis(500));
    let delivery = recipients.end();
    let took = now() - start;
    outcome::report(kills, &accepted, &delivery, took);
    outcome::check(&accepted, &delivery);
}

/// Waits until the server has done so much since it started, or `all` there is to do, or only a
/// moment: a start is killed now and then as well.
fn under_load(kill: usize, progress: usize, all: usize, done: impl Fn() -> usize) {
    if kill % 5 != 4 {
        let before = done();
        let enough = all.min(before.saturating_add(progress));
        wait_for("the server works again", || done() >= enough);
    }
    // Not always at the same point of what it does.
    sleep(Duration::from_millis(u64::try_from(kill * 37 % 90).expect("it is small")));
}

/// Waits, but not for ever.
#[track_caller]
fn wait_for(what: &str, holds: impl Fn() -> bool) {
    let end = now() + PATIENCE;
    while !holds() {
        assert!(now() < end, "not in time: {what}");
        sleep(Duration::from_millis(5));
    }
}

/// A process cannot be given another clock.
#[expect(clippy::disallowed_methods, reason = "the server is a process of its own, on real time")]
fn now() -> Instant {
    Instant::now()
}
