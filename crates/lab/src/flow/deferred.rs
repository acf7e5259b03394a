//! Deferred messages (OMA-TS-SIMPLE_IM §7.5).

use super::{Stage, Unexpected};
use crate::world::identity;

async fn leave_a_message(stage: &Stage) -> Result<(), Unexpected> {
    stage.tell("Alice writes to Bob, who is away: the message is stored.");
    let answer = stage.world.ue("alice").message(&identity("bob"), "Call me!").await;
    stage.expect("the answer", answer.status, 202)?;
    stage.pause().await;
    stage.expect("messages that wait", stage.world.waiting("bob").await, 1)
}

/// The message itself is pushed.
pub(super) async fn push(stage: &Stage) -> Result<(), Unexpected> {
    leave_a_message(stage).await?;
    stage.tell("Bob comes, and gets it.");
    stage.expect("the answer", stage.world.ue("bob").register().await.status, 200)?;
    stage.pause().await;
    stage.expect("what Bob got", stage.world.ue("bob").texts(), ["Call me!"])?;
    stage.expect("messages that wait", stage.world.waiting("bob").await, 0)
}

/// The user is told that something waits.
pub(super) async fn notification(stage: &Stage) -> Result<(), Unexpected> {
    leave_a_message(stage).await?;
    stage.tell("Bob comes, and is told.");
    stage.expect("the answer", stage.world.ue("bob").register().await.status, 200)?;
    stage.pause().await;
    stage.expect("how many he is told of", stage.world.ue("bob").texts().len(), 1)?;
    stage.expect("messages that wait", stage.world.waiting("bob").await, 1)
}
