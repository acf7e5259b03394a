//! INVITE passes through the record-routing proxy.

use parlance_lab::ue::Behaviour;
use parlance_lab::world::{SERVER, World};
use rsip::Method;

use crate::{BOB, alice_and_bob, peers, seconds, story};

/// How many requests of a method the core sent to the server and got from it.
fn passed(world: &World, method: &str) -> (usize, usize) {
    let start = format!("{method} ");
    let count = |sent: bool| {
        let traced = world.core.trace();
        let of = traced.iter().filter(|traced| {
            traced.sent == sent
                && traced.peer.ip() == SERVER
                && traced.octets.starts_with(start.as_bytes())
        });
        of.count()
    };
    (count(true), count(false))
}

#[tokio::test(start_paused = true)]
async fn a_session_passes_from_invite_to_bye() {
    story(async || {
        let world = alice_and_bob(peers()).await;
        let call = world.ue("alice").invite(BOB).await;
        assert_eq!((call.answer.status, &call.provisional[..]), (200, &[180][..]));
        let description = call.description.expect("sdp-rs reads it");
        assert_eq!(description.media_descriptions.len(), 1);
        let mut dialog = call.dialog.expect("a 2xx makes a dialog");
        for port in [5080, 5081] {
            let ours = format!("{SERVER}:{port}");
            assert!(
                dialog.route().iter().any(|hop| hop.contains(&ours)),
                "{port} stays in the path"
            );
        }
        world.settle(seconds(5)).await;
        assert_eq!(world.ue("bob").sessions().len(), 1, "the ACK arrived");
        assert_eq!(passed(&world, "INVITE"), (2, 2));
        assert_eq!(passed(&world, "ACK"), (2, 2));
        for method in [Method::Update, Method::Info, Method::Bye] {
            assert_eq!(world.ue("alice").within(&mut dialog, method).await.status, 200, "{method}");
            assert_eq!(passed(&world, &method.to_string()), (2, 2), "{method}");
        }
        assert!(world.ue("bob").sessions().is_empty());
        assert!(world.ue("bob").unreadable().is_empty());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_called_side_may_end_it_too() {
    story(async || {
        let world = alice_and_bob(peers()).await;
        let call = world.ue("alice").invite(BOB).await;
        assert_eq!(call.answer.status, 200);
        world.settle(seconds(1)).await;
        let mut dialog = world.ue("bob").sessions().pop().expect("bob is in a session");
        assert_eq!(world.ue("bob").within(&mut dialog, Method::Bye).await.status, 200);
        assert_eq!(passed(&world, "BYE"), (2, 2));
    })
    .await;
}

// Covers: PF-036
#[tokio::test(start_paused = true)]
async fn a_call_that_rings_can_be_cancelled() {
    story(async || {
        let world = alice_and_bob(peers()).await;
        world.ue("bob").behave(Behaviour::Silent);
        let mut ringing = world.ue("alice").call(BOB);
        assert!(ringing.rings().await);
        world.settle(seconds(3)).await;
        let (cancel, invite) = ringing.cancel().await;
        assert_eq!((cancel.status, invite.status), (200, 487));
        let got = world.ue("bob").received();
        let methods: Vec<Method> = got.iter().map(|got| got.request.method).collect();
        assert_eq!(methods, [Method::Invite, Method::Cancel]);
        assert_eq!(got[0].status, Some(487));
        world.settle(seconds(40)).await;
        assert_eq!(world.ue("alice").contradictions(), 0);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_refused_call_is_refused_to_the_caller() {
    story(async || {
        let world = alice_and_bob(peers()).await;
        for status in [486, 603, 488] {
            world.ue("bob").script([Behaviour::Answer(status)]);
            assert_eq!(world.ue("alice").invite(BOB).await.answer.status, status);
        }
        assert_eq!(world.waiting("bob").await, 0);
        world.settle(seconds(40)).await;
        assert_eq!(world.core.under_way(), 0);
    })
    .await;
}
