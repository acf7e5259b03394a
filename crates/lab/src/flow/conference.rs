//! Sessions at a focus (OMA-TS-SIMPLE_IM §7.4): conferences, groups, chat rooms.

use super::{Stage, Unexpected};
use crate::ue::{Chat, Invitation, Watch};
use crate::world::identity;

/// The conference factory of the world.
const FACTORY: &str = "sip:im-conf-factory@ims.test";

/// The chat room of [`ROOM_DOCUMENT`].
const ROOM: &str = "sip:im-group-tea@ims.test";

/// A chat room for everybody.
pub const ROOM_DOCUMENT: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<group xmlns="urn:oma:xml:poc:list-service" xmlns:cr="urn:ietf:params:xml:ns:common-policy"
       xmlns:oxe="urn:oma:xml:xdm:extensions">
  <list-service uri="sip:im-group-tea@ims.test">
    <display-name xml:lang="en">Tea</display-name>
    <invite-members>false</invite-members>
    <max-participant-count>20</max-participant-count>
    <cr:ruleset>
      <cr:rule id="all">
        <cr:conditions><cr:identity><cr:many/></cr:identity></cr:conditions>
        <cr:actions>
          <join-handling>true</join-handling>
          <allow-initiate-conference>true</allow-initiate-conference>
          <allow-conference-state>true</allow-conference-state>
          <oxe:allow-private-message>true</oxe:allow-private-message>
        </cr:actions>
      </cr:rule>
    </cr:ruleset>
  </list-service>
</group>
"#;

/// The pre-arranged group of [`TEAM_DOCUMENT`].
const TEAM: &str = "sip:im-group-team@ims.test";

/// A group of three whose members are invited.
pub const TEAM_DOCUMENT: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<group xmlns="urn:oma:xml:poc:list-service" xmlns:cr="urn:ietf:params:xml:ns:common-policy">
  <list-service uri="sip:im-group-team@ims.test">
    <display-name xml:lang="en">The team</display-name>
    <list>
      <entry uri="sip:alice@ims.test"/>
      <entry uri="sip:bob@ims.test"/>
      <entry uri="sip:carol@ims.test"/>
    </list>
    <invite-members>true</invite-members>
    <cr:ruleset>
      <cr:rule id="members">
        <cr:conditions><is-list-member/></cr:conditions>
        <cr:actions>
          <join-handling>true</join-handling>
          <allow-initiate-conference>true</allow-initiate-conference>
          <allow-conference-state>true</allow-conference-state>
        </cr:actions>
      </cr:rule>
    </cr:ruleset>
  </list-service>
</group>
"#;

/// The session a called user answered last.
fn answered(stage: &Stage, name: &str) -> Result<Chat, Unexpected> {
    stage.some(&format!("a session of {name}"), stage.world.ue(name).chats().pop())
}

/// What somebody heard that users said, oldest first.
fn heard(chat: &Chat) -> Vec<String> {
    let said = chat.said().into_iter().filter(|said| said.cpim.from != chat.partner());
    said.map(|said| said.cpim.text).collect()
}

/// Alice begins a conference with these.
async fn begin(stage: &Stage, names: &[&str]) -> Result<Chat, Unexpected> {
    let uris: Vec<_> = names.iter().map(|name| identity(name)).collect();
    let uris: Vec<_> = uris.iter().map(String::as_str).collect();
    let call = stage.world.ue("alice").invite_as(Invitation::to(FACTORY).with(&uris)).await;
    stage.expect("the answer", call.answer.status, 200)?;
    let alice = stage.some("a session of Alice", call.chat)?;
    stage.pause().await;
    stage.expect("the other end is a focus", alice.is_focus(), true)?;
    Ok(alice)
}

async fn watch(stage: &Stage, name: &str, chat: &Chat) -> Result<Watch, Unexpected> {
    let watch = stage.world.ue(name).watch(&chat.remote_target()).await;
    stage.expect("the answer to SUBSCRIBE", watch.answer.status, 200)?;
    stage.pause().await;
    Ok(watch)
}

fn identities(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| identity(name)).collect()
}

/// A session of two at the focus (Appendix D, 1-1 session).
pub(super) async fn one_to_one(stage: &Stage) -> Result<(), Unexpected> {
    stage.tell("Alice calls Bob by way of the conference factory.");
    let alice = begin(stage, &["bob"]).await?;
    let bob = answered(stage, "bob")?;
    stage.tell("They talk; each speaks to the focus, and the focus to the other.");
    stage.expect("what Alice says is taken", alice.say("Hello Bob!").await, 200)?;
    stage.expect("what Bob says is taken", bob.say("Hello Alice!").await, 200)?;
    stage.pause().await;
    stage.expect("what Alice heard", heard(&alice), ["Hello Alice!"])?;
    stage.expect("what Bob heard", heard(&bob), ["Hello Bob!"])?;
    stage.tell("Bob leaves, and nobody is left to talk to.");
    stage.expect("the answer", bob.leave().await.status, 200)?;
    stage.pause().await;
    stage.expect("Alice's session has ended", alice.is_over(), true)
}

/// A group that a user puts together (§4.2.1, private conference).
pub(super) async fn ad_hoc(stage: &Stage) -> Result<(), Unexpected> {
    stage.tell("Alice begins a conference with Bob and Carol.");
    let alice = begin(stage, &["bob", "carol"]).await?;
    let (bob, carol) = (answered(stage, "bob")?, answered(stage, "carol")?);
    stage.tell("Alice watches who is in it.");
    let watch = watch(stage, "alice", &alice).await?;
    stage.expect("who is in it", watch.connected(), identities(&["alice", "bob", "carol"]))?;
    stage.tell("What one says all others hear.");
    stage.expect("what Bob says is taken", bob.say("Tea?").await, 200)?;
    stage.pause().await;
    stage.expect("what Alice heard", heard(&alice), ["Tea?"])?;
    stage.expect("what Carol heard", heard(&carol), ["Tea?"])?;
    stage.expect("what Bob heard", heard(&bob), [""; 0])?;
    stage.tell("Carol tells Bob something that Alice does not hear.");
    let told = carol.say_to(&identity("bob"), "Coffee!").await;
    stage.expect("what Carol says is taken", told, 200)?;
    stage.pause().await;
    stage.expect("what Bob heard", heard(&bob), ["Coffee!"])?;
    stage.expect("what Alice heard", heard(&alice), ["Tea?"])
}

/// A chat room that users join (§4.2.2, public conference).
pub(super) async fn join(stage: &Stage) -> Result<(), Unexpected> {
    let mut chats = Vec::new();
    for name in ["alice", "bob"] {
        stage.tell(&format!("{name} joins the room."));
        let call = stage.world.ue(name).invite(ROOM).await;
        stage.expect("the answer", call.answer.status, 200)?;
        chats.push(stage.some("a session", call.chat)?);
        stage.pause().await;
    }
    let [alice, bob] = &chats[..] else { return Ok(()) };
    stage.tell("Bob wants to be called Bobby.");
    stage.expect("the answer", bob.nickname(Some("Bobby")).await, 200)?;
    stage.expect("what Bob says is taken", bob.say("Anybody here?").await, 200)?;
    stage.pause().await;
    stage.expect("what Alice heard", heard(alice), ["Anybody here?"])?;
    stage.tell("Alice looks who that is.");
    let watch = watch(stage, "alice", alice).await?;
    let conference = watch.conference();
    let nickname = conference.users.get(&identity("bob")).and_then(|bob| bob.nickname.clone());
    stage.expect("what Bob is called", nickname, Some("Bobby".to_owned()))?;
    stage.tell("Alice leaves; the room stays for Bob.");
    stage.expect("the answer", alice.leave().await.status, 200)?;
    stage.pause().await;
    stage.expect("Bob's session has ended", bob.is_over(), false)
}

/// A group whose members are invited (§4.2.1).
pub(super) async fn pre_arranged(stage: &Stage) -> Result<(), Unexpected> {
    stage.tell("Alice calls the team, and the other members are invited.");
    let call = stage.world.ue("alice").invite(TEAM).await;
    stage.expect("the answer", call.answer.status, 200)?;
    let alice = stage.some("a session of Alice", call.chat)?;
    stage.pause().await;
    let (bob, carol) = (answered(stage, "bob")?, answered(stage, "carol")?);
    stage.expect("what Carol says is taken", carol.say("All here.").await, 200)?;
    stage.pause().await;
    stage.expect("what Alice heard", heard(&alice), ["All here."])?;
    stage.expect("what Bob heard", heard(&bob), ["All here."])?;
    stage.tell("Alice, who called, leaves: the session ends for all.");
    stage.expect("the answer", alice.leave().await.status, 200)?;
    stage.pause().await;
    stage.expect("Bob's session has ended", bob.is_over(), true)?;
    stage.expect("Carol's session has ended", carol.is_over(), true)
}

/// Somebody is added (Appendix D, add by REFER).
pub(super) async fn add(stage: &Stage) -> Result<(), Unexpected> {
    stage.tell("Alice and Bob are in a conference.");
    let alice = begin(stage, &["bob"]).await?;
    stage.tell("Bob has Carol added.");
    let bob = answered(stage, "bob")?;
    let referred = bob.add(&identity("carol")).await;
    stage.expect("REFER is taken", (200..300).contains(&referred.status), true)?;
    stage.pause().await;
    let carol = answered(stage, "carol")?;
    stage.expect("what Carol says is taken", carol.say("Here I am.").await, 200)?;
    stage.pause().await;
    stage.expect("what Alice heard", heard(&alice), ["Here I am."])?;
    stage.expect("what Bob heard", heard(&bob), ["Here I am."])
}

/// Somebody is expelled (§7.4.3.11).
pub(super) async fn expel(stage: &Stage) -> Result<(), Unexpected> {
    stage.tell("Alice begins a conference with Bob and Carol.");
    let alice = begin(stage, &["bob", "carol"]).await?;
    let (bob, carol) = (answered(stage, "bob")?, answered(stage, "carol")?);
    stage.tell("Alice has Bob expelled.");
    let referred = alice.expel(&identity("bob")).await;
    stage.expect("REFER is taken", (200..300).contains(&referred.status), true)?;
    stage.pause().await;
    stage.expect("Bob's session has ended", bob.is_over(), true)?;
    stage.expect("what Alice says is taken", alice.say("Just us now.").await, 200)?;
    stage.pause().await;
    stage.expect("what Carol heard", heard(&carol), ["Just us now."])?;
    stage.expect("what Bob heard", heard(&bob), [""; 0])
}

/// Somebody leaves, and the others are told (Appendix D, leave).
pub(super) async fn leave(stage: &Stage) -> Result<(), Unexpected> {
    stage.tell("Alice begins a conference with Bob and Carol, and watches it.");
    let alice = begin(stage, &["bob", "carol"]).await?;
    let (bob, carol) = (answered(stage, "bob")?, answered(stage, "carol")?);
    let watch = watch(stage, "alice", &alice).await?;
    stage.tell("Bob leaves.");
    stage.expect("the answer", bob.leave().await.status, 200)?;
    stage.pause().await;
    stage.world.settle(std::time::Duration::from_secs(5)).await;
    stage.expect("who is in it", watch.connected(), identities(&["alice", "carol"]))?;
    stage.tell("Carol leaves; one alone is no conference.");
    stage.expect("the answer", carol.leave().await.status, 200)?;
    stage.pause().await;
    stage.world.settle(std::time::Duration::from_secs(5)).await;
    stage.expect("Alice's session has ended", alice.is_over(), true)
}
