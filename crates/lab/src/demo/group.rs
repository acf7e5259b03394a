//! A conference of four: a nickname, a private message, somebody added and somebody expelled.

use std::io::Write;

use super::{DemoError, Show, identity, until};
use crate::ue::{Chat, Invitation, Ue};

/// How many things are shown.
pub(super) const COUNT: usize = 6;

/// The conference factory.
const FACTORY: &str = "sip:im-conf-factory@ims.test";

/// Plays it; how many things went as they should.
pub(super) async fn story<W: Write>(
    show: &mut Show<'_, W>,
    [alice, bob, carol, dave]: [&Ue; 4],
) -> Result<usize, DemoError> {
    show.title("", "a conference")?;
    let invited = [identity("bob"), identity("carol")];
    let invitation = Invitation::to(FACTORY).with(&[&invited[0], &invited[1]]);
    let call = alice.invite_as(invitation).await;
    until(|| chat(bob).is_some() && chat(carol).is_some()).await;
    let chats = (call.chat, chat(bob), chat(carol));
    let began = call.answer.status == 200;
    show.line("alice", "begins one with bob and carol", &call.answer.status.to_string(), began)?;
    let (Some(for_alice), Some(for_bob), Some(for_carol)) = chats else { return Ok(0) };
    let mut good = usize::from(began);

    let status = for_bob.nickname(Some("Bobby")).await;
    show.line("bob", "wants to be called Bobby", &status.to_string(), status == 200)?;
    good += usize::from(status == 200);

    let status = for_bob.say("Tea at four?").await;
    until(|| heard(&for_alice, "Tea at four?") && heard(&for_carol, "Tea at four?")).await;
    let all =
        status == 200 && heard(&for_alice, "Tea at four?") && heard(&for_carol, "Tea at four?");
    show.line("bob", "to all: \"Tea at four?\"", "alice, carol", all)?;
    good += usize::from(all);

    let status = for_carol.say_to(&identity("bob"), "Bring cake").await;
    until(|| heard(&for_bob, "Bring cake")).await;
    let private =
        status == 200 && heard(&for_bob, "Bring cake") && !heard(&for_alice, "Bring cake");
    show.line("carol", "to bob alone: \"Bring cake\"", "bob", private)?;
    good += usize::from(private);

    let status = for_alice.add(&identity("dave")).await.status;
    until(|| chat(dave).is_some()).await;
    let added = chat(dave).is_some();
    show.line("alice", "has dave added", &status.to_string(), added)?;
    good += usize::from(added);

    let status = for_alice.expel(&identity("bob")).await.status;
    until(|| for_bob.is_over()).await;
    show.line("alice", "has bob expelled", &status.to_string(), for_bob.is_over())?;
    good += usize::from(for_bob.is_over());

    for chat in [Some(for_carol), chat(dave), Some(for_alice)].into_iter().flatten() {
        if !chat.is_over() {
            chat.leave().await;
        }
    }
    Ok(good)
}

fn chat(ue: &Ue) -> Option<Chat> {
    ue.chats().pop()
}

fn heard(chat: &Chat, text: &str) -> bool {
    chat.texts().iter().any(|heard| heard == text)
}
