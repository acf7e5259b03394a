//! A network that loses, delays, copies and reorders.

use std::collections::BTreeMap;
use std::time::Duration;

use parlance_lab::network::Faults;
use parlance_lab::ue::Ue;
use parlance_lab::world::{World, identity, user_name};
use parlance_sip::Transport;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::{seconds, story};

const USERS: usize = 100;

/// An unoptimised run does the same with fewer messages.
const MESSAGES: usize = if cfg!(debug_assertions) { 500 } else { 10_000 };

/// The shortest time after which anybody takes a message for not delivered: the server's
/// `deliver_wait`.
const GIVES_UP: Duration = Duration::from_secs(20);

fn bad_network() -> Faults {
    Faults {
        loss: 0.2,
        duplication: 0.05,
        reordering: 0.1,
        delay: Duration::ZERO..Duration::from_millis(200),
        piece_octets_max: Some(1_400),
    }
}

/// Registers, however often it takes.
async fn register(ue: Ue) {
    let mut registered = false;
    for _ in 0..10 {
        // For longer than the story takes.
        registered |= ue.register_with(seconds(86_400), true).await.status == 200;
        if registered {
            break;
        }
    }
    assert!(registered, "{} cannot register", ue.identity());
}

/// When each message was sent first, and its final status, by text.
type Outcomes = BTreeMap<String, (u16, Instant)>;

/// What became of the messages, by text: the final statuses at the sender, where a transaction
/// without an answer counts as 408 (RFC 3261 §8.1.3.1).
async fn send_all(world: &World, seed: u64) -> Outcomes {
    let mut random = StdRng::seed_from_u64(seed);
    let mut senders = JoinSet::new();
    for number in 0..USERS {
        let from = world.ue(&user_name(number)).clone();
        let mine = (0..MESSAGES / USERS).map(|message| {
            let other = (number + random.random_range(1..USERS)) % USERS;
            (user_name(other), format!("{number} to {other}, number {message}"))
        });
        let mine: Vec<_> = mine.collect();
        senders.spawn_local(async move {
            let mut outcomes = Vec::new();
            // RFC 3428 §8: one at a time.
            for (to, text) in mine {
                let sent = Instant::now();
                let answer = from.message(&identity(&to), &text).await;
                outcomes.push((text, (answer.status, sent)));
            }
            outcomes
        });
    }
    let mut all = BTreeMap::new();
    while let Some(outcomes) = senders.join_next().await {
        all.extend(outcomes.expect("no sender fails"));
    }
    all
}

/// When each text arrived at the user it was for.
fn arrivals(world: &World) -> BTreeMap<String, Vec<Instant>> {
    let mut arrivals: BTreeMap<String, Vec<Instant>> = BTreeMap::new();
    for got in world.ues().flat_map(Ue::received) {
        arrivals.entry(got.text()).or_default().push(got.at);
    }
    arrivals
}

/// Lets the server deliver what it keeps.
async fn empty_the_inboxes(world: &World) {
    let mut waiting = 0;
    for _ in 0..200 {
        world.settle(seconds(60)).await;
        waiting = 0;
        for number in 0..USERS {
            waiting += world.waiting(&user_name(number)).await;
        }
        if waiting == 0 {
            break;
        }
    }
    assert_eq!(waiting, 0, "some messages are never delivered");
}

/// Every outcome against what arrived; what there was of each kind.
fn compare(world: &World, outcomes: &Outcomes) -> String {
    let arrivals = arrivals(world);
    let mut count: BTreeMap<u16, usize> = BTreeMap::new();
    let mut twice = 0;
    for (text, (status, sent)) in outcomes {
        *count.entry(*status).or_default() += 1;
        let arrived = arrivals.get(text).map(Vec::as_slice).unwrap_or_default();
        assert!([200, 202, 408].contains(status), "{status} for {text}");
        assert!(*status == 408 || !arrived.is_empty(), "{status} for {text}, which is lost");
        // What nobody confirmed in time is sent again, by the server from its store or by the core
        // without the server: a message may come twice, but never before somebody gave up.
        if let [_, .., last] = arrived {
            twice += 1;
            assert!(*last - *sent >= GIVES_UP, "{text} came twice at once: {sent:?}, {arrived:?}");
        }
    }
    let statistics = world.network.statistics();
    assert!(twice <= MESSAGES / 300 + 1, "{twice} came twice");
    let of = |status: u16| count.get(&status).copied().unwrap_or(0);
    assert!(of(200) > MESSAGES / 2 && of(202) > MESSAGES / 20, "{count:?}");
    assert!(of(408) <= MESSAGES / 100, "{} senders heard nothing", of(408));
    assert!(statistics.lost > statistics.delivered / 20 && statistics.duplicated > 0);
    format!("{count:?}, {twice} twice, {:?}, {statistics:?}", world.core.counts())
}

async fn check(isc: Transport, seed: u64) -> String {
    // Over UDP the core waits for the server as long as its transaction lasts: with its usual
    // three seconds it would go on without the server whenever two datagrams are lost.
    let isc_wait = (isc == Transport::Tcp).then_some(seconds(3));
    let world = World::builder()
        .seed(seed)
        .faults(bad_network())
        .isc(isc)
        .shards(2)
        .users(USERS)
        .core(|core| {
            core.isc_wait = isc_wait;
            core.trace_max = 0;
        })
        .configuration("[participating]\nnotice = false\nrate_per_user = 0\n")
        .build()
        .await
        .expect("the world can be built");
    let mut registering = JoinSet::new();
    // Every tenth user is away for now.
    let away = |number: usize| number % 10 == 3;
    for number in (0..USERS).filter(|number| !away(*number)) {
        registering.spawn_local(register(world.ue(&user_name(number)).clone()));
    }
    registering.join_all().await;
    world.settle(seconds(40)).await;
    let outcomes = send_all(&world, seed).await;
    assert_eq!(outcomes.len(), MESSAGES, "each has one outcome");
    for number in (0..USERS).filter(|number| away(*number)) {
        register(world.ue(&user_name(number)).clone()).await;
    }
    world.network.set_faults(Faults::default());
    empty_the_inboxes(&world).await;
    let report = compare(&world, &outcomes);
    for ue in world.ues() {
        assert_eq!(ue.contradictions(), 0, "{} got two different answers", ue.identity());
        assert!(ue.unreadable().is_empty());
    }
    report
}

// Covers: DF-003
#[tokio::test(start_paused = true)]
async fn over_udp_every_message_ends_once() {
    story(async || println!("{}", check(Transport::Udp, 20).await)).await;
}

#[tokio::test(start_paused = true)]
async fn over_tcp_every_message_ends_once() {
    story(async || println!("{}", check(Transport::Tcp, 21).await)).await;
}
