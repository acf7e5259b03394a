//! Sessions of messages (OMA-TS-SIMPLE_IM §7.2, §7.4).

use super::{Stage, Unexpected};
use crate::world::identity;

/// Peer to peer (§4.1.1): the descriptions pass the server untouched, so MSRP does not.
pub(super) async fn peer_to_peer(stage: &Stage) -> Result<(), Unexpected> {
    let world = &stage.world;
    stage.tell("Alice invites Bob to a session of messages.");
    let call = world.ue("alice").invite(&identity("bob")).await;
    stage.expect("the answer", call.answer.status, 200)?;
    let alice = stage.some("a session of Alice", call.chat)?;
    stage.pause().await;
    let bob = stage.some("a session of Bob", world.ue("bob").chats().pop())?;
    stage.tell("They talk.");
    stage.expect("what Alice says is taken", alice.say("Hello Bob!").await, 200)?;
    stage.expect("what Bob says is taken", bob.say("Hello Alice!").await, 200)?;
    stage.pause().await;
    stage.expect("what Alice heard", alice.texts(), ["Hello Alice!"])?;
    stage.expect("what Bob heard", bob.texts(), ["Hello Bob!"])?;
    stage.tell("Bob leaves.");
    stage.expect("the answer", bob.leave().await.status, 200)?;
    stage.pause().await;
    stage.expect("Alice's session has ended", alice.is_over(), true)
}
