//! What the operator is told of sessions.

use super::groups::{chat, may};
use super::world::{CHESS, Ue, World, answer, entries, invitation};
use crate::policy::Policy;
use crate::register::Untold;

// Covers: CF-001, CF-076
#[tokio::test(start_paused = true)]
async fn the_operator_sees_who_takes_part() {
    let world = World::new(Policy::default());
    world.shelf.put(chat(&[may("bob", &[("allow-anonymity", true)])]));
    assert_eq!(world.register.list(None, 10), []);
    let (mut alice, _) = world.join("alice", CHESS, "").await;
    let hidden = "Privacy: id\r\nFrom: \"A\" <sip:anonymous@anonymous.invalid>;tag=t-bob\r\n";
    let (mut bob, _) = world.join("bob", CHESS, hidden).await;
    let mut carol = Ue::new("carol");
    let sent = world.send(&carol.invite_list("", &entries(&["dave"]))).await;
    let dave = invitation(&sent, "dave");
    world.send(&answer(&dave, 180, "d", "", "")).await;

    let all = world.register.list(None, 10);
    assert_eq!(all.len(), 2);
    assert_eq!(world.register.list(None, 1), all[..1]);
    assert_eq!(world.register.list(Some(&all[0].session), 10), all[1..]);
    let of = |kind| all.iter().find(|line| line.kind == kind).unwrap();
    let (room, call) = (of("chat"), of("1-1"));
    assert_eq!((room.group.as_deref(), room.users), (Some(CHESS), 2));
    assert_eq!((call.group.as_deref(), call.users), (None, 0));
    assert!(room.session.starts_with("sip:im-sess-"), "{}", room.session);

    let told = async |session: &str| world.during(world.register.session(session)).await;
    let (line, participants) = told(&room.session).await.unwrap();
    assert_eq!(line, *room);
    let lines: Vec<_> = participants.iter().map(|it| serde_json::json!(it).to_string()).collect();
    let connected = r#"[{"joining":"dialed-in","status":"connected"}]"#;
    assert!(lines[0].contains("sip:alice@ims.test") && lines[0].contains(connected), "{lines:?}");
    assert!(lines[1].contains("anonymous1@anonymous.invalid"), "{lines:?}");
    assert!(!lines.concat().contains("bob"), "nobody is told who he is: {lines:?}");
    let (_, participants) = told(&call.session).await.unwrap();
    let dave = participants.iter().find(|it| it.user == "sip:dave@ims.test").unwrap();
    let endpoint = &dave.endpoints[0];
    assert_eq!((endpoint.status, endpoint.joining), ("alerting", "dialed-out"));

    world.send(&alice.within("BYE", "", "")).await;
    world.send(&bob.within("BYE", "", "")).await;
    world.send(&carol.within("CANCEL", "", "")).await;
    let all = world.register.list(None, 10);
    assert_eq!((all.len(), all[0].users), (1, 0), "the room waits empty: {all:?}");
    assert_eq!(told(&call.session).await.unwrap_err(), Untold::NotFound);
    world.seconds(301).await;
    assert_eq!(world.register.list(None, 10), []);
    world.is_clean().await;
}
