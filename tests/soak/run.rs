//! A run, from the first registration to the last look.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::cast::Cast;
use crate::load::Load;
use crate::server::Server;
use crate::watch::{Flatness, Look};

/// From when on memory must be flat: before, what is kept for a time is still filling.
const FLAT_FROM: Duration = Duration::from_secs(15 * 60);

/// How long after the last BYE something may still be there: Timer J, the identity of a session
/// that has ended, an unused connection.
const AFTERMATH: Duration = Duration::from_secs(150);

/// How long it is to be; `None`: there is no time for it.
pub(crate) fn duration() -> Option<Duration> {
    let long = std::env::var("PARLANCE_LONG").is_ok_and(|long| !matches!(&*long, "" | "0"));
    let usual = long.then_some(60);
    let minutes = std::env::var("SOAK_MINUTES").ok();
    let minutes = minutes.map(|minutes| minutes.parse().expect("SOAK_MINUTES is a number"));
    minutes.or(usual).map(|minutes: u64| Duration::from_secs(60 * minutes))
}

/// Plays it.
pub(crate) async fn soak(duration: Duration) {
    let server = Server::start().await;
    let cast = Cast::register(&server).await;
    sleep(Duration::from_secs(2)).await;
    let before = server.look().await;
    println!("before: {before}");

    let load = Load::start(&cast);
    let start = Instant::now();
    let mut looks: Vec<(Duration, Look)> = Vec::new();
    while start.elapsed() < duration {
        sleep(Duration::from_secs(5)).await;
        looks.push((start.elapsed(), server.look().await));
        cast.core.forget();
        if looks.len().is_multiple_of(12) {
            let (at, look) = &looks[looks.len() - 1];
            println!("after {:>5} s: {look}", at.as_secs());
        }
    }
    let tally = load.end().await;
    cast.leave().await;

    let after = nothing_left(&server, &before).await;
    println!("after:  {after}\n{tally}");
    let flatness = Flatness::of(&looks, duration / 2);
    println!("{flatness}\n{}", server.log());
    tally.check();
    assert_eq!(after.left_over(&before), Vec::<String>::new(), "something is left");
    assert!(cast.ues().all(|ue| ue.contradictions() == 0), "a second final answer");
    assert!(cast.ues().all(|ue| ue.unreadable().is_empty()), "a message that cannot be read");
    if duration / 2 >= FLAT_FROM {
        assert!(flatness.holds(), "{flatness}");
    }
}

/// Waits until everything has ended; what the server has then.
async fn nothing_left(server: &Server, before: &Look) -> Look {
    let start = Instant::now();
    loop {
        let look = server.look().await;
        if look.left_over(before).is_empty() || start.elapsed() > AFTERMATH {
            return look;
        }
        sleep(Duration::from_secs(1)).await;
    }
}
