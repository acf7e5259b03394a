//! Sessions of messages (OMA-TS-SIMPLE_IM §7.2, §7.4).

use super::{Stage, Unexpected};
use crate::ue::Chat;
use crate::world::{SERVER, identity};

/// Peer to peer (§4.1.1): the descriptions pass the server untouched, so MSRP does not.
pub(super) async fn peer_to_peer(stage: &Stage) -> Result<(), Unexpected> {
    let (alice, bob) = talk(stage).await?;
    let apart = [&alice, &bob].iter().all(|chat| !chat.uri().contains(&SERVER.to_string()));
    stage.expect("each has a URI of its own", apart, true)?;
    leave(stage, &alice, &bob).await
}

/// Anchored at the server (§7.2.2.5): each user has a session with the server, which passes
/// messages on between them (RFC 6714 §6.2).
pub(super) async fn anchored(stage: &Stage) -> Result<(), Unexpected> {
    let (alice, bob) = talk(stage).await?;
    let (_, sessions) = stage.world.server.msrp_load();
    stage.expect("sessions of the server", sessions, 4)?;
    leave(stage, &alice, &bob).await?;
    let (_, sessions) = stage.world.server.msrp_load();
    stage.expect("sessions of the server", sessions, 0)
}

async fn talk(stage: &Stage) -> Result<(Chat, Chat), Unexpected> {
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
    Ok((alice, bob))
}

async fn leave(stage: &Stage, alice: &Chat, bob: &Chat) -> Result<(), Unexpected> {
    stage.tell("Bob leaves.");
    stage.expect("the answer", bob.leave().await.status, 200)?;
    stage.pause().await;
    stage.expect("Alice's session has ended", alice.is_over(), true)
}
