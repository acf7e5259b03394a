use bytes::Bytes;
use parlance_sip::Message;
use parlance_sip::endpoint::shard_of;
use parlance_sip::message::Limits;

use super::super::{Event, Inbox, SessionLimits};
use super::bench::{
    Bench, answer, benches, events, from_bob, on_local_set, only, sdp, terms, within,
};

/// Which of two shards the socket gives a message to.
fn home(text: &str) -> usize {
    let message = Message::parse_datagram(Bytes::from(text.to_owned()), &Limits::default());
    shard_of(&message.unwrap(), 2)
}

async fn give<'a>(shards: &'a [Bench], text: &str) -> &'a Bench {
    let shard = &shards[home(text)];
    shard.receive(text).await;
    shard
}

// Covers: ROLE-002
#[tokio::test(start_paused = true)]
async fn a_dialog_is_found_on_its_shard() {
    on_local_set(async {
        for uri in ["sip:im@ims.test", "sip:other@ims.test", "sip:third@ims.test"] {
            let shards = benches(2, SessionLimits::default());
            let text = from_bob("INVITE", "", "offer").replacen("sip:im@ims.test", uri, 1);
            let shard = give(&shards, &text).await;
            let mut inbox = Inbox::new(&shard.cx);
            let invite = shard.cx.take(shard.incoming());
            let response = invite.response(200);
            let leg = invite.accept(response, sdp("answer"), terms(), &inbox.address()).unwrap();
            let ok = shard.one();
            give(&shards, &within(&ok, "ACK", 1, "", "")).await;
            assert!(matches!(only(events(&mut inbox).await), Event::Confirmed(_)));
            give(&shards, &within(&ok, "BYE", 2, "", "")).await;
            assert!(matches!(only(events(&mut inbox).await), Event::Ended(..)));
            drop(leg);
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_session_identity_leads_to_the_shard_that_drew_it() {
    on_local_set(async {
        let shards = benches(2, SessionLimits::default());
        for (number, shard) in shards.iter().enumerate() {
            for _ in 0..8 {
                let uri = shard.cx.session_uri("s-", "ims.test");
                let text = from_bob("INVITE", "", "").replacen("sip:im@ims.test", &uri, 1);
                assert_eq!(home(&text), number, "{uri}");
            }
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_ack_of_a_relayed_failure_finds_its_invite() {
    on_local_set(async {
        let shards = benches(2, SessionLimits::default());
        let text = from_bob("INVITE", "Route: <sip:192.0.2.9:6060;lr>\r\n", "offer");
        let near = home(&text);
        let shard = give(&shards, &text).await;
        let incoming = shard.incoming();
        let cx = shard.cx.clone();
        shard.cx.spawn(crate::pass(cx, incoming, crate::Downstream::default()));
        shard.settle().await;
        let passed = shard.one();
        // The failure is that of a leg on the other shard.
        let far = shards[1 - near].cx.tag();
        shard.receive(&answer(&passed, 486, &far, "", "")).await;
        let relayed = shard.sent().pop().unwrap();
        assert!(relayed.starts_with("SIP/2.0 486"), "{relayed}");
        let ack = from_bob("ACK", "", "")
            .replace("bKACK1", "bKINVITE1")
            .replace("To: <sip:im@ims.test>", &format!("To: <sip:im@ims.test>;tag={far}"));
        assert_eq!(home(&ack), 1 - near, "its tag leads astray");
        give(&shards, &ack).await;
        shard.wait(5_000).await;
        assert_eq!(shard.lines(), "", "the failure is not repeated");
        assert_eq!(shards[1 - near].lines(), "");
    })
    .await;
}
