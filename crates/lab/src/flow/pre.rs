//! Pre-established sessions (OMA-TS-SIMPLE_IM §7.2.3.2).

use parlance_store::Entry;

use super::{Stage, Unexpected};
use crate::ue::Chat;
use crate::world::identity;

/// The service with which clients establish sessions ahead of time.
pub const SERVICE: &str = "sip:im-session@ims.test";

/// The chat room of [`super::ROOM_DOCUMENT`].
const ROOM: &str = "sip:im-group-tea@ims.test";

/// A client has one session for long, joins a room by it and leaves again, and is invited into it.
pub(super) async fn pre_established(stage: &Stage) -> Result<(), Unexpected> {
    let world = &stage.world;
    let bobs = vec![Entry::Identity(identity("bob"))];
    let lets_in = world.change_profile("alice", |profile| profile.auto_answer = bobs).await;
    stage.expect("Alice lets Bob in without being asked", lets_in.is_ok(), true)?;
    stage.tell("Alice establishes a session ahead of time.");
    let call = world.ue("alice").invite(SERVICE).await;
    stage.expect("the answer", call.answer.status, 200)?;
    let alice = stage.some("a session of Alice", call.chat)?;
    stage.pause().await;
    stage.expect("her media stand", alice.is_connected(), true)?;
    room(stage, &alice).await?;
    invited(stage, &alice).await?;
    stage.tell("Alice ends it.");
    stage.expect("the answer", alice.leave().await.status, 200)?;
    stage.pause().await;
    let (_, sessions) = world.server.msrp_load();
    stage.expect("sessions of the server", sessions, 0)
}

/// She joins a room, and leaves it.
async fn room(stage: &Stage, alice: &Chat) -> Result<(), Unexpected> {
    let call = stage.world.ue("bob").invite(ROOM).await;
    let bob = stage.some("a session of Bob", call.chat)?;
    stage.tell("She refers it to a chat room where Bob is.");
    stage.expect("the answer to REFER", alice.add(ROOM).await.status, 202)?;
    stage.pause().await;
    stage.expect("what she says is taken", alice.say_to(ROOM, "Hello all!").await, 200)?;
    stage.expect("what Bob says is taken", bob.say("Hello Alice!").await, 200)?;
    stage.pause().await;
    stage.expect("what Bob heard", heard(&bob, "bob"), ["Hello all!"])?;
    stage.expect("what Alice heard", heard(alice, "alice"), ["Hello Alice!"])?;
    stage.tell("She leaves the room, and her session stays.");
    stage.expect("the answer to REFER", alice.expel(ROOM).await.status, 202)?;
    stage.pause().await;
    stage.expect("what she says goes nowhere", alice.say_to(ROOM, "Anybody?").await, 403)?;
    stage.expect("the answer", bob.leave().await.status, 200)?;
    stage.pause().await;
    stage.expect("her session is over", alice.is_over(), false)
}

/// Bob calls her; her client hears nothing before what he says.
async fn invited(stage: &Stage, alice: &Chat) -> Result<(), Unexpected> {
    stage.tell("Bob calls Alice, and is answered from it.");
    let call = stage.world.ue("bob").invite(&identity("alice")).await;
    stage.expect("the answer", call.answer.status, 200)?;
    let bob = stage.some("a session of Bob", call.chat)?;
    stage.pause().await;
    stage.expect("sessions of Alice's client", stage.world.ue("alice").chats().len(), 1)?;
    stage.expect("what Bob says is taken", bob.say("Are you there?").await, 200)?;
    stage.pause().await;
    let said = stage.some("what Alice heard", alice.said().pop())?;
    stage.expect("what Alice heard", said.cpim.text, "Are you there?")?;
    let answered = alice.say_to(&said.cpim.to, "Yes.").await;
    stage.expect("what she says is taken", answered, 200)?;
    stage.pause().await;
    stage.expect("what Bob heard", heard(&bob, "bob"), ["Yes."])?;
    stage.tell("He leaves, and her session stays.");
    stage.expect("the answer", bob.leave().await.status, 200)?;
    stage.pause().await;
    stage.expect("her session is over", alice.is_over(), false)
}

/// What others said, oldest first.
fn heard(chat: &Chat, name: &str) -> Vec<String> {
    let users = chat.said().into_iter().filter(|said| said.cpim.from != identity(name));
    let users =
        users.filter(|said| ["alice", "bob"].iter().any(|it| said.cpim.from == identity(it)));
    users.map(|said| said.cpim.text).collect()
}
