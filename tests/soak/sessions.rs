//! What users do in sessions.

use std::time::Duration;

use parlance_lab::ue::{Behaviour, Chat, Invitation, Ue};
use tokio::time::sleep;

use crate::load::Actor;

const FACTORY: &str = "sip:im-conf-factory@ims.test";
const ROOM: &str = "sip:im-group-tea@ims.test";

/// The session of somebody who was called.
async fn called(actor: &Actor, ue: &Ue) -> Option<Chat> {
    actor.until("who is called is in the session", || !ue.chats().is_empty()).await;
    ue.chats().pop()
}

/// All say something, and everybody hears all others.
async fn talk(actor: &Actor, chats: &[&Chat]) {
    actor.until("everybody is connected", || chats.iter().all(|chat| chat.is_connected())).await;
    // Who has just come need not hear what is said at that moment.
    sleep(Duration::from_millis(500)).await;
    let mut said: Vec<Vec<String>> = vec![Vec::new(); chats.len()];
    for _ in 0..=actor.dice(4) {
        for (chat, said) in chats.iter().zip(&mut said) {
            let number = actor.dice(usize::MAX);
            let text = format!("{number} {}", "y".repeat(actor.dice(2000)));
            actor.expect("what is said", chat.say(&text).await, 200);
            said.push(text);
            actor.pause(Duration::from_millis(60)).await;
        }
    }
    let hears = |listener: usize, chat: &Chat| {
        let heard = chat.texts();
        let others = said.iter().enumerate().filter(|(speaker, _)| *speaker != listener);
        others.flat_map(|(_, texts)| texts).all(|text| heard.contains(text))
    };
    let all = || chats.iter().enumerate().all(|(listener, chat)| hears(listener, chat));
    actor.until("everybody hears everything", all).await;
}

/// A session of two at the server between them (a pair of MSRP sessions); some do not answer, some
/// refuse, some vanish.
pub(crate) async fn of_two(actor: &Actor, [alice, bob]: &[Ue; 2]) {
    match actor.dice(10) {
        0 => {
            bob.script([Behaviour::Silent]);
            let mut ringing = alice.call(&bob.identity());
            actor.expect("it rings", ringing.rings().await, true);
            let (_, answer) = ringing.cancel().await;
            actor.expect("a call that was cancelled", answer.status, 487);
            return actor.pause(Duration::from_millis(500)).await;
        }
        1 => {
            bob.script([Behaviour::Answer(486)]);
            let call = alice.invite(&bob.identity()).await;
            actor.expect("a call that was refused", call.answer.status, 486);
            return actor.pause(Duration::from_millis(500)).await;
        }
        _ => {}
    }
    let call = alice.invite(&bob.identity()).await;
    actor.expect("a call", call.answer.status, 200);
    let (Some(from), Some(to)) = (call.chat, called(actor, bob).await) else { return };
    talk(actor, &[&from, &to]).await;
    match actor.dice(4) {
        // The connection goes, and nothing is said; the server says it.
        0 => to.disconnect(),
        _ => _ = actor.expect("somebody leaves", to.leave().await.status, 200),
    }
    if actor.until("the session ends", || from.is_over()).await {
        actor.done("sessions between two");
    }
    if !to.is_over() {
        actor.until("the session ends", || to.is_over()).await;
    }
    actor.pause(Duration::from_secs(1)).await;
}

/// A conference of two.
pub(crate) async fn at_focus(actor: &Actor, [alice, bob]: &[Ue; 2]) {
    let invitation = Invitation::to(FACTORY).with(&[&bob.identity()]);
    let call = alice.invite_as(invitation).await;
    actor.expect("a conference of two", call.answer.status, 200);
    let (Some(from), Some(to)) = (call.chat, called(actor, bob).await) else { return };
    talk(actor, &[&from, &to]).await;
    actor.expect("somebody leaves", from.leave().await.status, 200);
    if actor.until("the conference of two ends", || to.is_over()).await {
        actor.done("conferences of two");
    }
    actor.pause(Duration::from_secs(1)).await;
}

/// A conference that is watched; somebody is added, somebody expelled, somebody vanishes.
pub(crate) async fn of_many(actor: &Actor, [alice, bob, carol, dave]: &[Ue; 4]) {
    let invitation = Invitation::to(FACTORY).with(&[&bob.identity(), &carol.identity()]);
    let call = alice.invite_as(invitation).await;
    actor.expect("a conference", call.answer.status, 200);
    let chats = (call.chat, called(actor, bob).await, called(actor, carol).await);
    let (Some(for_alice), Some(for_bob), Some(for_carol)) = chats else { return };
    let watch = alice.watch(&for_alice.remote_target()).await;
    actor.expect("a subscription", watch.answer.status, 200);
    actor.expect("a nickname", for_bob.nickname(Some("Bobby")).await, 200);
    talk(actor, &[&for_alice, &for_bob, &for_carol]).await;
    let added = for_bob.add(&dave.identity()).await.status;
    actor.expect("somebody is added", (200..300).contains(&added), true);
    let Some(for_dave) = called(actor, dave).await else { return };
    let told = for_dave.say_to(&bob.identity(), "for you alone").await;
    actor.expect("what is said to one", told, 200);
    talk(actor, &[&for_alice, &for_bob, &for_carol, &for_dave]).await;
    let expelled = for_alice.expel(&carol.identity()).await.status;
    actor.expect("somebody is expelled", (200..300).contains(&expelled), true);
    actor.until("who is expelled is out", || for_carol.is_over()).await;
    for_dave.disconnect();
    actor.until("who vanishes is out", || for_dave.is_over()).await;
    let both = || watch.connected().len() == 2;
    actor.until("who watches is told", both).await;
    actor.expect("documents that follow each other", watch.conference().gaps, 0);
    if actor.dice(2) == 0 {
        actor.expect("a subscription ends", watch.end().await.status, 200);
    }
    actor.expect("somebody leaves", for_alice.leave().await.status, 200);
    if actor.until("the conference ends", || for_bob.is_over()).await {
        actor.done("conferences");
    }
    actor
        .until("the subscription ends", || {
            watch.state().is_some_and(|state| state.starts_with("terminated"))
        })
        .await;
    actor.pause(Duration::from_secs(1)).await;
}

/// Three come to a chat room where others are, and leave it.
pub(crate) async fn room(actor: &Actor, users: &[Ue; 3]) {
    let mut chats = Vec::new();
    for ue in users {
        let call = ue.invite(ROOM).await;
        actor.expect("a chat room", call.answer.status, 200);
        chats.extend(call.chat);
        actor.pause(Duration::from_millis(300)).await;
    }
    let [first, second, third] = &chats[..] else { return };
    let watch = users[0].watch(&first.remote_target()).await;
    actor.expect("a subscription", watch.answer.status, 200);
    talk(actor, &[first, second, third]).await;
    if actor.dice(3) == 0 {
        second.disconnect();
        actor.until("who vanishes is out", || second.is_over()).await;
    }
    actor.expect("a subscription ends", watch.end().await.status, 200);
    for chat in chats.iter().filter(|chat| !chat.is_over()) {
        actor.expect("somebody leaves", chat.leave().await.status, 200);
    }
    actor.done("visits to a room");
    actor.pause(Duration::from_secs(2)).await;
}

/// A large message to somebody who is there, and to somebody who is away.
pub(crate) async fn large(actor: &Actor, [from, to]: &[Ue; 2]) {
    let is_there = actor.dice(2) == 0;
    if !is_there {
        actor.expect("de-registration", to.deregister().await.status, 200);
        sleep(Duration::from_millis(300)).await;
    }
    let before = to.texts().len();
    let invitation = Invitation::to(&to.identity());
    let invitation = invitation.header("Accept-Contact", "*;+g.oma.sip-im.large-message");
    let call = from.invite_as(invitation).await;
    actor.expect("a large message", call.answer.status, 200);
    let Some(chat) = call.chat else { return };
    let text = "The whole story. ".repeat(1 + actor.dice(2000));
    actor.expect("it", chat.send_octets("text/plain", text.as_bytes()).await, 200);
    if is_there {
        let heard = || to.chats().iter().any(|chat| chat.texts().contains(&text));
        actor.until("it comes", heard).await;
    }
    actor.expect("its end", chat.leave().await.status, 200);
    if !is_there {
        actor.expect("registration", to.register().await.status, 200);
        actor.until("it comes later", || to.texts().len() > before).await;
    }
    actor.done("large messages");
    actor.pause(Duration::from_secs(1)).await;
}
