//! Stories of whole requests: UEs built on other libraries, a small core that evaluates the shipped
//! filter criteria, and the real server between them, on a simulated network and virtual time.

#![expect(clippy::unwrap_used, reason = "this is all tests")]

#[path = "scenario/cema.rs"]
mod cema;
#[path = "scenario/chaos.rs"]
mod chaos;
#[path = "scenario/chat.rs"]
mod chat;
#[path = "scenario/conference.rs"]
mod conference;
#[path = "scenario/deferred.rs"]
mod deferred;
#[path = "scenario/explode.rs"]
mod explode;
#[path = "scenario/flow.rs"]
mod flow;
#[path = "scenario/history.rs"]
mod history;
#[path = "scenario/isc.rs"]
mod isc;
#[path = "scenario/large.rs"]
mod large;
#[path = "scenario/large_to_many.rs"]
mod large_to_many;
#[path = "scenario/loss.rs"]
mod loss;
#[path = "scenario/nodes.rs"]
mod nodes;
#[path = "scenario/pager.rs"]
mod pager;
#[path = "scenario/pre.rs"]
mod pre;
#[path = "scenario/session.rs"]
mod session;
#[path = "scenario/settings.rs"]
mod settings;
#[path = "scenario/simultaneous.rs"]
mod simultaneous;
#[path = "scenario/summary.rs"]
mod summary;

use std::time::Duration;

use parlance_lab::world::{Builder, World};
use tokio::task::LocalSet;

/// Tells a story on a `LocalSet` of its own.
async fn story(tell: impl AsyncFnOnce()) {
    LocalSet::new().run_until(tell()).await;
}

/// Alice, Bob and Carol, nobody registered.
fn people() -> Builder {
    World::builder().user("alice").user("bob").user("carol")
}

/// The same, and sessions of two are between the users themselves.
fn peers() -> Builder {
    people().configuration("[participating]\nnotice = false\npeer_to_peer = true")
}

/// A world where alice and bob are registered.
async fn alice_and_bob(builder: Builder) -> World {
    let world = builder.build().await.expect("the world can be built");
    for name in ["alice", "bob"] {
        assert_eq!(world.ue(name).register().await.status, 200, "{name} registers");
    }
    world.settle(seconds(1)).await;
    world
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

const ALICE: &str = "sip:alice@ims.test";
const BOB: &str = "sip:bob@ims.test";
const CAROL: &str = "sip:carol@ims.test";
