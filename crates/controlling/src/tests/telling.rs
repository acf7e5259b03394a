//! Who takes part, told to subscribers.

use parlance_content::conference_info::{
    Applied, ConferenceInfo, DisconnectionMethod, Document, Extent, Status,
};

use super::groups::{chat, may};
use super::world::{CHESS, FACTORY, Seen, Ue, World, answer, entries, invitation};
use crate::policy::Policy;

fn notify(sent: &[Seen]) -> &Seen {
    let mut notified = sent.iter().filter(|seen| seen.is("NOTIFY"));
    let first = notified.next().unwrap_or_else(|| panic!("no NOTIFY: {sent:?}"));
    assert!(notified.next().is_none(), "{sent:?}");
    first
}

fn document(seen: &Seen) -> Document {
    assert_eq!(seen.value("Content-Type"), "application/conference-info+xml", "{seen:?}");
    Document::parse(seen.body().as_bytes()).unwrap()
}

fn subscribe(extra: &str) -> String {
    format!("Event: conference\r\nAccept: application/conference-info+xml\r\n{extra}")
}

/// Subscribes in the dialog; what was sent.
async fn watch(world: &World, ue: &mut Ue) -> Vec<Seen> {
    let sent = world.send(&ue.within("SUBSCRIBE", &subscribe("Expires: 3600\r\n"), "")).await;
    assert!(sent.iter().any(|seen| seen.status() == 200), "{sent:?}");
    sent
}

// Covers: CF-057, CF-058, CF-060, CF-083
#[tokio::test(start_paused = true)]
async fn a_subscriber_hears_of_everybody() {
    let world = World::new(Policy::default());
    let (mut alice, mut others) = world.conference(&["bob", "carol"]).await;
    let sent = watch(&world, &mut alice).await;
    let first = notify(&sent);
    assert!(first.value("Subscription-State").starts_with("active;expires=3600"), "{first:?}");
    assert_eq!(first.value("Event"), "conference");
    let full = document(first);
    assert_eq!(
        (full.extent, full.version, full.entity.as_str()),
        (Extent::Full, 1, first.contact())
    );
    let mut info = ConferenceInfo::new();
    assert_eq!(info.apply(full), Applied::Taken);
    assert_eq!(info.conference().state.user_count, Some(3));
    assert_eq!(info.conference().description.maximum_user_count, Some(51));
    let bob = info.user("sip:bob@ims.test").unwrap();
    assert_eq!(bob.endpoints[0].status, Some(Status::Connected));
    assert_eq!(bob.endpoints[0].entity, "sip:bob@10.0.0.2:5060");

    world.seconds(6).await;
    let sent = world.send(&others[0].within("BYE", "", "")).await;
    let gone = document(notify(&sent));
    assert_eq!((gone.extent, gone.version), (Extent::Partial, 2));
    let endpoint = gone.users.as_ref().unwrap().rows[0].endpoints[0].endpoint.clone();
    assert_eq!(endpoint.disconnection_method, Some(DisconnectionMethod::Departed));
    info.apply(gone);
    // What happens within five seconds is told together.
    let (mut bob, _) = world.join("bob", first.contact(), "").await;
    world.send(&bob.within("BYE", "", "")).await;
    let (mut bob, _) = world.join("bob", first.contact(), "").await;
    let sent = world.seconds(6).await;
    let back = document(notify(&sent));
    assert_eq!((back.version, back.users.as_ref().unwrap().rows.len()), (3, 1));
    assert_eq!(info.apply(back), Applied::Taken);
    assert_eq!(info.conference().state.user_count, Some(3));
    assert!(world.seconds(20).await.is_empty(), "nothing changes, nothing is told");

    // A refresh brings the whole state, with the version of what is known.
    let sent = watch(&world, &mut alice).await;
    let again = document(notify(&sent));
    assert_eq!((again.extent, again.version), (Extent::Full, 3));

    world.send(&bob.within("BYE", "", "")).await;
    world.seconds(6).await;
    let sent = world.send(&others[1].within("BYE", "", "")).await;
    let last = notify(&sent);
    assert_eq!(last.value("Subscription-State"), "terminated;reason=noresource");
    assert_eq!(document(last).extent, Extent::Deleted);
    world.is_clean().await;
}

// Covers: CF-057, CF-061
#[tokio::test(start_paused = true)]
async fn a_subscription_has_rules() {
    // Nobody refreshes here.
    let world = World::new(Policy { session_expires_s: 86_400, idle_s: 0, ..Policy::default() });
    let (mut alice, ok) = world.join("alice", FACTORY, "").await;
    let session = ok.contact().to_owned();
    let mut eve = Ue::new("eve");
    let refused = world.one(&eve.request("SUBSCRIBE", &session, &subscribe(""), "")).await;
    assert_eq!(refused.status(), 403);
    assert!(refused.value("Warning").contains("105 Subscription"), "{refused:?}");
    let absent = world.one(&eve.request("SUBSCRIBE", CHESS, &subscribe(""), "")).await;
    assert_eq!(absent.status(), 404);
    world.shelf.put(chat(&[]));
    let absent = world.one(&eve.request("SUBSCRIBE", CHESS, &subscribe(""), "")).await;
    assert_eq!(absent.status(), 480, "no session runs");
    let factory = world.one(&eve.request("SUBSCRIBE", FACTORY, &subscribe(""), "")).await;
    assert_eq!(factory.status(), 403);
    #[rustfmt::skip]
    let table = [
        (subscribe("Expires: 59\r\n"), 423, ("Min-Expires", "60")),
        ("Event: presence\r\n".to_owned(), 489, ("Allow-Events", "conference")),
        ("Event: conference\r\nAccept: application/pidf+xml\r\n".to_owned(), 406, ("Warning", "")),
        ("Event: refer\r\n".to_owned(), 403,
            ("Warning", "399 im.invalid \"100 Function not allowed\"")),
    ];
    for (extra, status, (name, value)) in table {
        let refused = world.one(&alice.within("SUBSCRIBE", &extra, "")).await;
        assert_eq!((refused.status(), refused.value(name)), (status, value), "{extra}");
    }
    // Outside the dialog, as another client of his would do it.
    let mut other = Ue::new("alice");
    let sent = world.send(&other.request("SUBSCRIBE", &session, &subscribe(""), "")).await;
    let ok = sent.iter().find(|seen| seen.status() == 200).unwrap();
    assert_eq!(ok.value("Expires"), "3600");
    other.learn(ok);
    world.seconds(6).await;
    let sent = world.send(&other.within("SUBSCRIBE", &subscribe("Expires: 0\r\n"), "")).await;
    let last = notify(&sent);
    assert_eq!(last.value("Subscription-State"), "terminated;reason=timeout");
    let sent = watch(&world, &mut alice).await;
    assert!(notify(&sent).value("Subscription-State").starts_with("active"));
    let sent = world.seconds(3601).await;
    assert!(
        sent.iter().any(|seen| { seen.value("Subscription-State") == "terminated;reason=timeout" }),
        "{sent:?}"
    );
    world.send(&alice.within("BYE", "", "")).await;
    world.is_clean().await;
}

// Covers: CF-057
#[tokio::test(start_paused = true)]
async fn there_is_a_limit_to_subscriptions() {
    let world = World::new(Policy { watchers_max: 1, ..Policy::default() });
    let (mut alice, _) = world.join("alice", FACTORY, "").await;
    watch(&world, &mut alice).await;
    let id = subscribe("").replace("conference\r", "conference;id=2\r");
    let refused = world.one(&alice.within("SUBSCRIBE", &id, "")).await;
    assert_eq!((refused.status(), refused.value("Retry-After")), (480, "10"));
    world.send(&alice.within("BYE", "", "")).await;
    world.is_clean().await;
}

// Covers: CF-041, CF-059, CF-077, CF-081, SEC-041, SEC-043
#[tokio::test(start_paused = true)]
async fn nothing_is_told_of_who_does_not_want_to_be_known() {
    let world = World::new(Policy::default());
    world.shelf.put(chat(&[may("bob", &[("allow-anonymity", true)])]));
    let (mut alice, _) = world.join("alice", CHESS, "").await;
    let named = "Privacy: id\r\nP-Asserted-Identity: \"Bobby\" <sip:bob@ims.test>\r\n";
    let (mut bob, _) = world.join("bob", CHESS, named).await;
    let sent = watch(&world, &mut alice).await;
    let first = notify(&sent);
    for secret in ["bob", "Bobby", "10.0.0.1:5060/bob"] {
        assert!(!first.body().contains(secret), "{secret}: {first:?}");
    }
    assert!(first.body().contains("sip:anonymous1@anonymous.invalid"), "{first:?}");
    // He comes back under the name he had.
    world.send(&bob.within("BYE", "", "")).await;
    world.seconds(6).await;
    let (mut bob, _) = world.join("bob", CHESS, named).await;
    let sent = world.seconds(6).await;
    let back = notify(&sent);
    assert!(back.body().contains("sip:anonymous1@anonymous.invalid"), "{back:?}");
    world.send(&bob.within("BYE", "", "")).await;
    world.send(&alice.within("BYE", "", "")).await;
    world.seconds(301).await;
    world.is_clean().await;

    // A blind copy is not known before he is in, and one who answers so is not known at all.
    let world = World::new(Policy::default());
    let blind = format!("{}<entry uri=\"sip:carol@ims.test\"/>", entries(&["bob", "dave"]));
    let mut alice = Ue::new("alice");
    let sent = world.send(&alice.invite_list("", &blind)).await;
    let (carol, dave) = (invitation(&sent, "carol"), invitation(&sent, "dave"));
    let (_, accepted) = world.accept("bob", &invitation(&sent, "bob"), "").await;
    alice.learn(accepted.iter().find(|seen| seen.status() == 200).unwrap());
    world.send(&alice.within("ACK", "", "")).await;
    let sent = watch(&world, &mut alice).await;
    assert!(!notify(&sent).body().contains("carol"), "{sent:?}");
    world.seconds(6).await;
    let (_, sent) = world.accept("carol", &carol, "").await;
    let told = notify(&sent);
    assert!(told.body().contains("sip:carol@ims.test"), "{told:?}");
    world.seconds(6).await;
    let (_, sent) = world.accept("dave", &dave, "Privacy: id\r\n").await;
    let told = document(notify(&sent));
    let rows = told.users.unwrap().rows;
    let entities: Vec<_> = rows.iter().map(|row| (row.user.entity.as_str(), row.extent)).collect();
    assert!(entities.contains(&("sip:dave@ims.test", Extent::Deleted)), "{entities:?}");
    assert!(entities.contains(&("sip:anonymous2@anonymous.invalid", Extent::Full)), "{entities:?}");
    let sent = world.send(&alice.within("BYE", "", "")).await;
    assert!(!sent.is_empty());
}

// Covers: CF-061
#[tokio::test(start_paused = true)]
async fn whoever_leaves_is_told_nothing_more() {
    let world = World::new(Policy::default());
    let (mut alice, mut others) = world.conference(&["bob", "carol"]).await;
    watch(&world, &mut others[0]).await;
    let sent = world.send(&others[0].within("BYE", "", "")).await;
    let last = notify(&sent);
    assert_eq!(last.value("Subscription-State"), "terminated;reason=noresource");
    assert_eq!(last.body(), "");
    assert!(world.seconds(10).await.is_empty());
    world.send(&alice.within("BYE", "", "")).await;
    world.is_clean().await;
}

// Covers: CF-058
#[tokio::test(start_paused = true)]
async fn all_subscribers_are_told_at_the_same_time() {
    let world = World::new(Policy { adhoc_group_size_max: 50, ..Policy::default() });
    let (mut alice, mut others) = world.conference(&["bob", "carol", "dave", "erin"]).await;
    watch(&world, &mut alice).await;
    // Each subscribes at another time.
    for ue in &mut others {
        world.seconds(1).await;
        watch(&world, ue).await;
    }
    world.seconds(10).await;
    let session = alice_session(&alice);
    let (mut bob, _) = world.join("bob", &session, "").await;
    let sent = world.send(&bob.within("BYE", "", "")).await;
    assert!(!sent.iter().any(|seen| seen.is("NOTIFY")), "they heard a moment ago: {sent:?}");
    let sent = world.seconds(6).await;
    let bodies: Vec<_> = sent.iter().filter(|seen| seen.is("NOTIFY")).map(Seen::body).collect();
    assert_eq!(bodies.len(), 5);
    // But for the version they are the same.
    let rest = |body: &str| {
        let (_, rest) = body.split_once("version=\"")?.1.split_once('>')?;
        let (_, rest) = rest.split_once("version=\"")?.1.split_once('>')?;
        Some(rest.to_owned())
    };
    let rests: Vec<_> = bodies.iter().filter_map(|body| rest(body)).collect();
    assert_eq!(rests.len(), 5, "{bodies:?}");
    assert!(rests.windows(2).all(|pair| pair[0] == pair[1]), "{bodies:?}");
    world.send(&alice.within("BYE", "", "")).await;
}

fn alice_session(alice: &Ue) -> String {
    alice.target().to_owned()
}

// Covers: CF-061
#[tokio::test(start_paused = true)]
async fn a_subscriber_who_does_not_answer_is_forgotten() {
    let world = World::new(Policy::default());
    let (mut alice, mut others) = world.conference(&["bob"]).await;
    world.answers.set(false);
    watch(&world, &mut alice).await;
    world.seconds(40).await;
    world.answers.set(true);
    world.send(&others[0].within("BYE", "", "")).await;
    world.is_clean().await;
    // Nor does the session wait for him for ever.
    let (mut alice, mut others) = world.conference(&["bob"]).await;
    watch(&world, &mut alice).await;
    world.answers.set(false);
    let sent = world.send(&others[0].within("BYE", "", "")).await;
    let bye = sent.iter().find(|seen| seen.is("BYE")).unwrap();
    world.send(&answer(bye, 200, "x", "", "")).await;
    world.seconds(70).await;
    world.is_clean().await;
}
