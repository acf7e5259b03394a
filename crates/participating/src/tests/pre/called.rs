//! Invitations that are answered for the user.

use parlance_isc::Local;
use parlance_isc::SessionCase::Terminating;
use parlance_sip::uri::Aor;
use parlance_store::UserId;

use super::*;
use crate::access::Lists;

/// Bob, or a focus in his name, invites Alice; what is sent then.
async fn bob_invites(pre: &Pre, headers: &str, name: &str) -> (String, Vec<Message>) {
    let all = format!(
        "Request-URI: sip:alice@ims.test\nTo: <sip:alice@ims.test>\nFrom: <sip:bob@ims.test>;tag=b1\n\
         P-Asserted-Identity: <sip:bob@ims.test>\nContent-Type: application/sdp\n\
         P-Served-User: <sip:alice@ims.test>;sescase=term;regstate=reg\n\
         Contact: <sip:conf@192.0.2.20>;isfocus;+g.oma.sip-im\n{headers}"
    );
    let invite = pre.world.text(Terminating, &all, &sdp(name)).replace("MESSAGE", "INVITE");
    pre.world.receive(Terminating, invite.clone().into()).await;
    (invite, pre.world.sent())
}

// Covers: PF-064, PF-065
#[tokio::test(start_paused = true)]
async fn an_invitation_is_answered_and_the_client_hears_only_the_messages() {
    let pre = Pre::new().await;
    for _ in 0..2 {
        let (_, sent) = bob_invites(&pre, "", "bob").await;
        assert_eq!(kinds(&sent), ["200"], "nothing goes to Alice");
        let ok = text(&sent[0]);
        assert!(ok.contains("a=accept-types:message/cpim text/x-alice"), "as she has said: {ok}");
        assert_eq!(value(&ok, "P-Asserted-Identity"), "<sip:alice@ims.test>");
        assert_ne!(path(&ok), path(&pre.ok));
        pre.within(&ok, "ACK", 1, "", "").await;
        let bob = pre.core.accept();
        assert!(pre.sends_on(bob, "bob", &path(&ok), "hello").contains(" 200 OK"));
        assert!(pre.core.written(pre.media).contains("hello"));
        assert!(pre.sends("alice", &path(&pre.ok), "hi").contains(" 200 OK"));
        assert!(pre.core.written(bob).contains("hi"));
        // While he is there the next one rings.
        let (_, sent) = bob_invites(&pre, "", "other").await;
        assert_eq!(kinds(&sent), ["INVITE"]);
        assert_eq!(lines(&sent[0], HeaderName::AnswerMode), ["Auto"]);
        pre.answers(&Request::new(sent[0].clone()).unwrap(), 486, "").await;
        pre.world.sent();
        let refused = pre.asks("REFER", "Refer-To: <sip:carol@ims.test>", "").await;
        assert_eq!(kinds(&refused), ["486"]);
        pre.within(&ok, "BYE", 2, "", "").await;
        assert_eq!(kinds(&pre.world.sent()), ["200"]);
        assert_eq!(pre.core.sessions(), 1);
    }
    // She leaves, by the name of the focus.
    let (_, sent) = bob_invites(&pre, "", "bob").await;
    pre.within(&text(&sent[0]), "ACK", 1, "", "").await;
    let sent =
        pre.asks("REFER", "Refer-To: <sip:conf@192.0.2.20;method=BYE>\nRefer-Sub: false", "");
    assert_eq!(kinds(&sent.await), ["200", "BYE"]);
    // She hangs up.
    let (_, sent) = bob_invites(&pre, "", "bob").await;
    pre.within(&text(&sent[0]), "ACK", 1, "", "").await;
    assert_eq!(kinds(&pre.asks("BYE", "", "").await), ["200", "BYE"]);
    pre.nothing_is_left().await;
}

// Covers: PF-064
#[tokio::test(start_paused = true)]
async fn what_does_not_suit_rings() {
    let pre = Pre::new().await;
    let large = "Accept-Contact: *;+g.oma.sip-im.large-message";
    let carol = "P-Asserted-Identity: <sip:carol@ims.test>";
    for headers in [large, carol] {
        let all = headers.to_owned();
        let all = if headers == carol { all + "\nFrom: <sip:carol@ims.test>;tag=c" } else { all };
        let invite = {
            let all = format!(
                "Request-URI: sip:alice@ims.test\nTo: <sip:alice@ims.test>\n\
                 Content-Type: application/sdp\nContact: <sip:x@192.0.2.20>;+g.oma.sip-im\n\
                 P-Served-User: <sip:alice@ims.test>;sescase=term;regstate=reg\n{all}"
            );
            pre.world.text(Terminating, &all, &sdp("bob")).replace("MESSAGE", "INVITE")
        };
        pre.world.receive(Terminating, invite.into()).await;
        assert_eq!(kinds(&pre.world.sent()), ["INVITE"], "{headers}");
    }
    // Her media are not there.
    let core = Core::new();
    let world = World::new(setup(policy(), &core)).await;
    invites(&world, "", &sdp("alice")).await;
    let ok = text(&world.answered());
    let media = core.accept();
    let pre = Pre { world, core, ok, media, cseq: Cell::new(1) };
    let (_, sent) = bob_invites(&pre, "", "bob").await;
    assert_eq!(kinds(&sent), ["INVITE"]);
    assert_eq!(pre.core.sessions(), 1);
}

/// A list that takes a moment.
struct Slow(Rc<RefCell<bool>>);

impl Lists for Slow {
    fn contains<'a>(&'a self, _: &'a UserId, _: &'a str, _: &'a Aor) -> Local<'a, Option<bool>> {
        Box::pin(async {
            if *self.0.borrow() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Some(true)
        })
    }
}

// Covers: PF-064
#[tokio::test(start_paused = true)]
async fn an_invitation_that_is_cancelled_meanwhile_leaves_the_session_free() {
    let core = Core::new();
    let slow = Rc::new(RefCell::new(true));
    let alice = Profile { auto_answer: vec![Entry::List("friends".into())], ..alice() };
    let world = World::new(Setup {
        lists: Some(Rc::new(Slow(Rc::clone(&slow)))),
        profiles: vec![alice],
        ..setup(policy(), &core)
    });
    let pre = Pre::of(world.await, core).await;
    let (invite, sent) = bob_invites(&pre, "", "bob").await;
    assert_eq!(kinds(&sent), [""; 0]);
    pre.world.receive(Terminating, invite.replace("INVITE", "CANCEL").into()).await;
    pre.world.pass(Duration::from_millis(30)).await;
    let sent = pre.world.sent();
    let codes: Vec<_> = sent.iter().map(status).collect();
    assert!(codes.contains(&487) && !codes.contains(&0), "{codes:?}");
    pre.world.pass(Duration::from_millis(1)).await;
    assert_eq!(pre.core.sessions(), 1, "nobody is there");
    *slow.borrow_mut() = false;
    let (_, sent) = bob_invites(&pre, "", "bob").await;
    assert_eq!(kinds(&sent), ["200"]);
}
