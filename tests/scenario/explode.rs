//! MESSAGE to many: lists and groups.

use parlance_lab::ue::{Answer, Behaviour, Draft};
use parlance_lab::world::{Builder, World};

use crate::{ALICE, BOB, CAROL, alice_and_bob, people, seconds, story};

const EXPLODER: &str = "sip:im-exploder@ims.test";

/// Alice writes `text` to a list.
async fn to_list(world: &World, recipients: &[&str], text: &str) -> Answer {
    let entries: String = recipients
        .iter()
        .map(|uri| format!("<entry uri=\"{uri}\" cp:copyControl=\"to\"/>"))
        .collect();
    let body = format!(
        "--b\r\nContent-Type: text/plain\r\n\r\n{text}\r\n--b\r\n\
         Content-Type: application/resource-lists+xml\r\nContent-Disposition: recipient-list\r\n\r\n\
         <resource-lists xmlns=\"urn:ietf:params:xml:ns:resource-lists\" \
         xmlns:cp=\"urn:ietf:params:xml:ns:copycontrol\"><list>{entries}</list></resource-lists>\
         \r\n--b--\r\n"
    );
    let draft = Draft::message(EXPLODER, "").header("Require", "recipient-list-message");
    let draft = draft.body("multipart/mixed;boundary=b", body.as_bytes());
    world.ue("alice").send(draft).await
}

/// How many MESSAGEs a user took that have `text` in them.
fn taken(world: &World, name: &str, text: &str) -> usize {
    world.ue(name).texts().iter().filter(|taken| taken.contains(text)).count()
}

// Covers: CF-010, CF-011, CF-012, CF-017, CORE-064, DF-015, ROLE-005
#[tokio::test(start_paused = true)]
async fn everybody_on_a_list_gets_the_message() {
    story(async || {
        let world = alice_and_bob(people()).await;
        // Bob is there; Carol is not, and her own side keeps it for her.
        let answer = to_list(&world, &[BOB, CAROL], "to all").await;
        assert_eq!(answer.status, 202);
        world.settle(seconds(5)).await;
        assert_eq!(taken(&world, "bob", "to all"), 1);
        assert_eq!((world.waiting("bob").await, world.waiting("carol").await), (0, 1));
        let got = &world.ue("bob").received()[0];
        assert_eq!(got.header("P-Asserted-Identity"), Some(format!("<{ALICE}>")));
        assert!(got.header("From").is_some_and(|from| from.contains(ALICE)));
        for expected in ["recipient-list-history", BOB, CAROL] {
            assert!(got.text().contains(expected), "{expected}: {}", got.text());
        }
        assert_eq!(world.ue("carol").register().await.status, 200);
        world.settle(seconds(10)).await;
        assert_eq!(taken(&world, "carol", "to all"), 1);
        assert!(world.ue("alice").received().is_empty());
    })
    .await;
}

// Covers: CF-002, CF-005, CF-010
#[tokio::test(start_paused = true)]
async fn a_list_that_may_not_be_is_refused() {
    story(async || {
        let builder = people().configuration("[controlling]\nadhoc_group_size_max = 2\n");
        let world = alice_and_bob(builder).await;
        let answer = to_list(&world, &[BOB, CAROL, "sip:dave@ims.test"], "too many").await;
        assert_eq!(answer.status, 403);
        let plain = world.ue("alice").message(EXPLODER, "no list").await;
        assert_eq!(plain.status, 400);
        world.settle(seconds(5)).await;
        assert!(world.ue("bob").received().is_empty());
    })
    .await;
}

const CLUB: &str = "sip:im-group-club@ims.test";

/// A directory with the document of a group of Alice, Bob and Carol.
fn club() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let entries: String =
        [ALICE, BOB, CAROL].iter().map(|uri| format!("<entry uri=\"{uri}\"/>")).collect();
    let document = format!(
        "<group xmlns=\"urn:oma:xml:poc:list-service\"><list-service uri=\"{CLUB}\">\
         <list>{entries}</list></list-service></group>"
    );
    std::fs::write(directory.path().join("club.xml"), document).unwrap();
    directory
}

// Covers: CF-015, CF-016, DF-015, ROLE-005, CORE-064
#[tokio::test(start_paused = true)]
async fn members_of_a_group_get_the_message() {
    story(async || {
        let directory = club();
        let groups = format!("[controlling]\ngroups = {:?}\n", directory.path());
        let world = alice_and_bob(people().configuration(&groups)).await;
        assert_eq!(world.ue("alice").message(CLUB, "to the club").await.status, 202);
        world.settle(seconds(5)).await;
        assert_eq!(world.ue("bob").texts(), ["to the club"]);
        assert_eq!((world.waiting("bob").await, world.waiting("carol").await), (0, 1));
        assert!(world.ue("alice").received().is_empty(), "the sender gets none");
        let got = &world.ue("bob").received()[0];
        assert_eq!(got.header("Referred-By"), Some(format!("<{CLUB}>")));
        assert!(got.header("From").is_some_and(|from| from.contains(ALICE)));
        let nobody = world.ue("alice").message("sip:im-group-none@ims.test", "x").await;
        assert_eq!(nobody.status, 404);
    })
    .await;
}

/// Alice and forty users, all registered.
async fn crowd(builder: Builder) -> (World, Vec<String>) {
    let world = builder.users(40).build().await.unwrap();
    world.register_all().await;
    let names = (0..40).map(parlance_lab::world::user_name).collect();
    (world, names)
}

// Covers: CF-010, CF-018
#[tokio::test(start_paused = true)]
async fn a_killed_server_goes_on_where_it_was() {
    story(async || {
        let pace = "[explode]\noutstanding_max = 8\n";
        let (mut world, names) = crowd(World::builder().user("alice").configuration(pace)).await;
        let uris: Vec<String> = names.iter().map(|name| format!("sip:{name}@ims.test")).collect();
        let uris: Vec<&str> = uris.iter().map(String::as_str).collect();
        for name in &names {
            world.ue(name).behave(Behaviour::After(seconds(1), 200));
        }
        assert_eq!(to_list(&world, &uris, "once").await.status, 202);
        world.settle(seconds(2)).await;
        let before: usize = names.iter().map(|name| world.ue(name).received().len()).sum();
        assert!((8..40).contains(&before), "some of them: {before}");
        world.restart_server().await.unwrap();
        world.settle(seconds(60)).await;
        for name in &names {
            let got = world.ue(name).received();
            let mut calls: Vec<_> = got.iter().filter_map(|one| one.header("Call-ID")).collect();
            assert!(!calls.is_empty(), "{name} got nothing");
            calls.dedup();
            assert_eq!(calls.len(), 1, "{name} got it as the same request");
        }
    })
    .await;
}
