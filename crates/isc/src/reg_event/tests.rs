mod bench;

use parlance_sip::endpoint::shard_of_tag;

use super::{RegEventPolicy, WAITING_MAX};
use bench::{Bench, Dialog, OTHER_TAG, TAG, document, field, on_local_set, policy, respond, row};

// Covers: CORE-021, CORE-020, CORE-037
#[tokio::test(start_paused = true)]
async fn a_registration_is_subscribed_to() {
    on_local_set(async {
        let bench = Bench::new(1, Some(policy()));
        let subscribe = bench.register("alice", 1, 7_200).await.unwrap();
        let via = field(&subscribe, "Via");
        assert_eq!(
            subscribe,
            format!(
                "SUBSCRIBE sip:alice@ims.test SIP/2.0\r\nVia: {via}\r\n\
                 Route: <sip:scscf@127.0.0.13:6060;lr>\r\nTo: <sip:alice@ims.test>\r\n\
                 Max-Forwards: 70\r\nFrom: <sip:im-as.ims.test>;tag=s000000000000000006\r\n\
                 Call-ID: s000000000000000004s000000000000000005\r\nCSeq: 1 SUBSCRIBE\r\n\
                 Contact: <sip:127.0.0.20:5080>\r\nP-Asserted-Identity: <sip:im-as.ims.test>\r\n\
                 P-Charging-Vector: icid-value=\"00000000000000070000000000000008\";\
                 orig-ioi=\"home1.example\"\r\n\
                 P-Charging-Function-Addresses: ccf=192.0.2.40\r\n\
                 Event: reg\r\nAccept: application/reginfo+xml\r\nExpires: 3600\r\n\
                 Content-Length: 0\r\n\r\n"
            )
        );
        assert!(bench.register("alice", 2, 7_200).await.is_none(), "one for a registration");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn without_the_option_nobody_is_subscribed_to() {
    on_local_set(async {
        let bench = Bench::new(1, None);
        assert!(bench.register("alice", 1, 600).await.is_none());
    })
    .await;
}

// Covers: CORE-059, CORE-021
#[tokio::test(start_paused = true)]
async fn a_terminated_registration_ends_ours_although_no_register_came() {
    on_local_set(async {
        let bench = Bench::new(1, Some(policy()));
        let mut dialog = bench.subscribed(TAG).await;
        let gone = document(1, "partial", "terminated", "");
        assert_eq!(bench.notify(&mut dialog, "active;expires=9", &gone).await, "200 OK");
        assert_eq!(bench.told(), "gone Notified");
        assert!(bench.alice().await.is_none());
        let leaving = bench.one();
        assert_eq!(field(&leaving, "Expires"), "0");
        bench.receive(&respond(&leaving, "200 OK", "Expires: 0\r\n")).await;
        assert_eq!(bench.notify(&mut dialog, "terminated;reason=timeout", "").await, "200 OK");
        let late = bench.notify(&mut dialog, "active", &document(2, "full", "active", TAG)).await;
        assert_eq!(late, "481 Call/Transaction Does Not Exist");
        assert!(bench.register("alice", 3, 600).await.is_some(), "he may come back");
    })
    .await;
}

// Covers: CORE-059
#[tokio::test(start_paused = true)]
async fn when_the_subscription_ends_with_the_registration_nothing_more_is_sent() {
    on_local_set(async {
        let bench = Bench::new(1, Some(policy()));
        let mut dialog = bench.subscribed(TAG).await;
        let gone = document(1, "full", "terminated", &row(1, "terminated", ""));
        let state = "terminated;reason=deactivated";
        assert_eq!(bench.notify(&mut dialog, state, &gone).await, "200 OK");
        assert_eq!(bench.told(), "gone Notified");
        bench.wait(3_600).await;
        assert_eq!(bench.sent(), Vec::<String>::new());
    })
    .await;
}

// Covers: CORE-059
#[tokio::test(start_paused = true)]
async fn a_registration_without_contact_for_im_ends() {
    on_local_set(async {
        #[rustfmt::skip]
        let table = [
            // The tag went, another device went, all went.
            (TAG.to_owned(), document(1, "full", "active", OTHER_TAG), "gone TagLost"),
            (TAG.to_owned(), document(1, "full", "active", " "),       "gone TagLost"),
            (
                row(1, "active", TAG) + &row(2, "active", OTHER_TAG),
                document(1, "partial", "active", &row(1, "terminated", TAG)),
                "gone TagLost",
            ),
            (
                TAG.to_owned(),
                document(1, "partial", "active", &row(1, "terminated", TAG)),
                "gone Notified",
            ),
            (TAG.to_owned(), document(1, "full", "init", ""),          "gone Notified"),
        ];
        for (before, after, told) in table {
            let bench = Bench::new(1, Some(policy()));
            let mut dialog = bench.subscribed(&before).await;
            assert_eq!(bench.notify(&mut dialog, "active", &after).await, "200 OK");
            assert_eq!(bench.told(), told, "{after}");
            // Who is there without the tag is bound, but for instant messages he is not there.
            let left = bench.alice().await;
            assert_eq!(left.is_some(), told == "gone TagLost", "{after}");
            assert!(!left.is_some_and(|left| crate::registration::has_im_contact(&left)));
        }
    })
    .await;
}

// Covers: CORE-059
#[tokio::test(start_paused = true)]
async fn contacts_and_their_tags_update_the_record() {
    on_local_set(async {
        let bench = Bench::new(1, Some(policy()));
        let instance = "<unknown-param name='+sip.instance'>\"&lt;urn:x:1&gt;\"</unknown-param>";
        let text = "<unknown-param name='text'>a b</unknown-param><unknown-param name='{}'/>";
        let first = row(1, "active", &format!("{TAG}{instance}{text}"));
        let mut dialog = bench.subscribed(&first).await;
        let before = bench.alice().await.unwrap();
        let contact = &before.contacts[0];
        assert_eq!(contact.uri, "sip:alice@192.0.2.1:5060");
        assert_eq!(contact.instance.as_deref(), Some("urn:x:1"));
        assert_eq!(contact.tags, ["+g.oma.sip-im", "text=\"a b\""]);
        assert!(contact.has_im_tag);

        bench.wait(100).await;
        let second = document(1, "partial", "active", &row(2, "active", OTHER_TAG));
        assert_eq!(bench.notify(&mut dialog, "active", &second).await, "200 OK");
        assert_eq!(bench.told(), "registered new=false");
        let after = bench.alice().await.unwrap();
        let tags: Vec<_> = after.contacts.iter().map(|contact| contact.has_im_tag).collect();
        assert_eq!(tags, [true, false]);
        assert_eq!((after.id, after.since), (before.id, before.since));
        assert_eq!(after.expires_at, before.expires_at, "the time left is what it was");
        assert_eq!(after.lapses_at, before.lapses_at);

        let same = document(2, "full", "active", &(first + &row(2, "active", OTHER_TAG)));
        assert_eq!(bench.notify(&mut dialog, "active", &same).await, "200 OK");
        assert_eq!(bench.told(), "", "nothing new");
        assert!(bench.register("alice", 2, 7_200).await.is_none(), "the next REGISTER is taken");
        assert_eq!(bench.told(), "registered new=false");
    })
    .await;
}

// Covers: CORE-059
#[tokio::test(start_paused = true)]
async fn a_notifier_that_tells_no_parameters_leaves_the_tags_open() {
    on_local_set(async {
        let bench = Bench::new(1, Some(policy()));
        let mut dialog = bench.subscribed(&row(1, "active", "")).await;
        let other = document(1, "full", "active", &row(2, "active", ""));
        assert_eq!(bench.notify(&mut dialog, "active", &other).await, "200 OK");
        assert!(bench.alice().await.is_some());
        let none = document(2, "full", "active", "");
        assert_eq!(bench.notify(&mut dialog, "active", &none).await, "200 OK");
        assert_eq!(bench.told(), "gone Notified");
    })
    .await;
}

// Covers: CORE-059
#[tokio::test(start_paused = true)]
async fn a_gap_asks_for_the_whole_state_and_nothing_ends_before_it_is_there() {
    on_local_set(async {
        let bench = Bench::new(1, Some(policy()));
        let mut dialog = bench.subscribed(TAG).await;
        let terminated =
            |version| document(version, "partial", "active", &row(1, "terminated", ""));
        assert_eq!(bench.notify(&mut dialog, "active", &terminated(0)).await, "200 OK");
        assert_eq!(bench.notify(&mut dialog, "active", &terminated(2)).await, "200 OK");
        assert_eq!(bench.told(), "");
        let refresh = bench.one();
        assert_eq!(field(&refresh, "CSeq"), "2 SUBSCRIBE");
        assert_eq!(field(&refresh, "Expires"), "3600");
        bench.receive(&respond(&refresh, "200 OK", "Expires: 3600\r\n")).await;

        // A notifier that goes on like this is not asked all the time.
        assert_eq!(bench.notify(&mut dialog, "active", &terminated(4)).await, "200 OK");
        bench.wait(31).await;
        assert_eq!(bench.sent(), Vec::<String>::new());
        bench.wait(1).await;
        let refresh = bench.one();
        assert_eq!(field(&refresh, "CSeq"), "3 SUBSCRIBE");
        bench.receive(&respond(&refresh, "200 OK", "Expires: 3600\r\n")).await;

        let whole = document(9, "full", "active", &row(2, "active", TAG));
        assert_eq!(bench.notify(&mut dialog, "active", &whole).await, "200 OK");
        assert_eq!(bench.told(), "registered new=false");
        assert_eq!(bench.alice().await.unwrap().contacts[0].uri, "sip:alice@192.0.2.2:5060");
        bench.wait(100).await;
        assert_eq!(bench.sent(), Vec::<String>::new());
    })
    .await;
}

// Covers: CORE-021, CORE-048
#[tokio::test(start_paused = true)]
async fn it_is_refreshed_in_its_dialog_before_it_expires() {
    on_local_set(async {
        let bench = Bench::new(1, Some(policy()));
        let mut dialog = bench.subscribed(TAG).await;
        bench.wait(2_999).await;
        assert_eq!(bench.sent(), Vec::<String>::new());
        bench.wait(1).await;
        let refresh = bench.one();
        assert!(refresh.starts_with("SUBSCRIBE sip:reg@127.0.0.13:6060 SIP/2.0\r\n"), "{refresh}");
        let routes =
            "\r\nRoute: <sip:a@127.0.0.13:6060;lr>\r\nRoute: <sip:b@127.0.0.13:6060;lr>\r\n";
        assert!(refresh.contains(routes), "{refresh}");
        assert_eq!(field(&refresh, "To"), "<sip:alice@ims.test>;tag=n");
        assert_eq!(field(&refresh, "From"), dialog.from);
        assert_eq!(field(&refresh, "Call-ID"), dialog.call_id);
        assert_eq!(field(&refresh, "CSeq"), "2 SUBSCRIBE");
        bench.receive(&respond(&refresh, "200 OK", "Expires: 3600\r\n")).await;
        let state = "active;expires=3600";
        assert_eq!(bench.notify(&mut dialog, state, "").await, "200 OK");
        bench.wait(3_000).await;
        let refresh = bench.one();
        assert_eq!(field(&refresh, "CSeq"), "3 SUBSCRIBE");
        bench.receive(&respond(&refresh, "200 OK", "Expires: 3600\r\n")).await;
        assert_eq!(bench.notify(&mut dialog, state, "").await, "200 OK");

        // The registration ran out at 7,230 s, and nobody told the subscription.
        bench.wait(3_000).await;
        let leaving = bench.one();
        assert_eq!(field(&leaving, "CSeq"), "4 SUBSCRIBE");
        assert_eq!(field(&leaving, "Expires"), "0");
    })
    .await;
}

// Covers: CORE-021
#[tokio::test(start_paused = true)]
async fn a_notification_may_come_before_the_answer() {
    on_local_set(async {
        let bench = Bench::new(1, Some(policy()));
        let subscribe = bench.register("alice", 1, 7_200).await.unwrap();
        let mut dialog = Dialog::of(&subscribe);
        let whole = document(0, "full", "active", OTHER_TAG);
        assert_eq!(bench.notify(&mut dialog, "active;expires=600", &whole).await, "200 OK");
        assert_eq!(bench.told(), "registered new=true, gone TagLost");
        assert_eq!(field(&bench.one(), "Expires"), "0");
    })
    .await;
}

// Covers: CORE-048, CLI-042
#[tokio::test(start_paused = true)]
async fn what_is_no_notification_of_ours_is_refused() {
    on_local_set(async {
        let bench = Bench::new(1, Some(policy()));
        let mut dialog = bench.subscribed(TAG).await;
        let gone = document(1, "full", "terminated", "");
        let active = "active;expires=600";
        type Change = fn(&mut Dialog);
        #[rustfmt::skip]
        let table: [(&str, Change, &str, &str, &str); 9] = [
            ("481", |dialog| dialog.from = "<sip:x@h>;tag=s00".into(), active, &gone, ""),
            ("481", |dialog| dialog.call_id = "another".into(), active, &gone, ""),
            ("481", |dialog| dialog.remote_tag = "fork", active, &gone, ""),
            ("481", |dialog| dialog.event = "reg;id=1", active, &gone, ""),
            ("489", |dialog| dialog.event = "presence", active, &gone, "Allow-Events: reg"),
            ("415", |dialog| dialog.content_type = "application/pidf+xml", active, &gone,
                "Accept: application/reginfo+xml"),
            ("400", |_| {}, active, "<reginfo", ""),
            ("400", |_| {}, "active;expires=soon", &gone, ""),
            ("500", |dialog| dialog.cseq = 0, active, &gone, ""),
        ];
        for (status, change, state, body, header) in table {
            let kept = (dialog.call_id.clone(), dialog.from.clone(), dialog.cseq + 1);
            change(&mut dialog);
            bench.receive(&dialog.notify(state, body)).await;
            let answer = bench.one();
            assert!(answer.starts_with(&format!("SIP/2.0 {status} ")), "{answer}");
            assert!(answer.contains(header), "{answer}");
            let (call_id, from, cseq) = kept;
            let (remote_tag, event, content_type) = ("n", "reg", "application/reginfo+xml");
            let sent = dialog.sent;
            dialog = Dialog { call_id, from, remote_tag, event, content_type, cseq, sent };
        }
        let message = dialog.notify(active, &gone).replace("NOTIFY", "MESSAGE");
        bench.receive(&message).await;
        let answer = bench.one();
        assert!(answer.starts_with("SIP/2.0 405 ") && answer.contains("Allow: NOTIFY"), "{answer}");
        assert_eq!(bench.told(), "");
        assert!(bench.alice().await.is_some());
    })
    .await;
}

// Covers: CORE-021
#[tokio::test(start_paused = true)]
async fn a_deregistration_by_register_ends_the_subscription() {
    on_local_set(async {
        let bench = Bench::new(1, Some(policy()));
        let mut dialog = bench.subscribed(TAG).await;
        let leaving = bench.register("alice", 2, 0).await.unwrap();
        assert_eq!(field(&leaving, "Expires"), "0");
        assert_eq!(bench.told(), "gone ByCore");
        bench.receive(&respond(&leaving, "200 OK", "Expires: 0\r\n")).await;
        let gone = document(1, "full", "terminated", "");
        assert_eq!(bench.notify(&mut dialog, "terminated;reason=timeout", &gone).await, "200 OK");
        assert_eq!(bench.told(), "", "once");
    })
    .await;
}

// Covers: CORE-048
#[tokio::test(start_paused = true)]
async fn a_refused_subscription_is_tried_again_as_the_notifier_wants_it() {
    on_local_set(async {
        // The answer, then how long nothing comes, and whether something does after that.
        #[rustfmt::skip]
        let table = [
            ("503 X", "Retry-After: 90\r\n",  89, true),
            ("480 X", "",                      31, true),
            ("403 X", "",                   1_000, false),
            ("489 X", "Retry-After: 9\r\n", 1_000, false),
        ];
        for (status, headers, silent, again) in table {
            let bench = Bench::new(1, Some(policy()));
            let subscribe = bench.register("alice", 1, 7_200).await.unwrap();
            bench.receive(&respond(&subscribe, status, headers)).await;
            bench.wait(silent).await;
            assert_eq!(bench.sent(), Vec::<String>::new(), "{status}");
            bench.wait(1).await;
            let sent = bench.sent();
            assert_eq!(!sent.is_empty(), again, "{status}");
            if let Some(anew) = sent.first() {
                assert_ne!(field(anew, "Call-ID"), field(&subscribe, "Call-ID"));
            } else {
                assert!(bench.register("alice", 2, 7_200).await.is_some(), "{status}");
            }
        }
        let bench = Bench::new(1, Some(policy()));
        let subscribe = bench.register("alice", 1, 7_200).await.unwrap();
        bench.receive(&respond(&subscribe, "423 X", "Min-Expires: 7000\r\n")).await;
        let longer = bench.one();
        assert_eq!(field(&longer, "Call-ID"), field(&subscribe, "Call-ID"));
        assert_eq!(field(&longer, "CSeq"), "2 SUBSCRIBE");
        assert_eq!(field(&longer, "Expires"), "7000");
    })
    .await;
}

// Covers: CORE-048
#[tokio::test(start_paused = true)]
async fn a_subscription_that_the_notifier_ends_is_made_anew_while_the_user_is_registered() {
    on_local_set(async {
        let bench = Bench::new(1, Some(policy()));
        let mut dialog = bench.subscribed(TAG).await;
        let state = "terminated;reason=deactivated";
        assert_eq!(bench.notify(&mut dialog, state, "").await, "200 OK");
        assert_eq!(bench.told(), "", "the end of a subscription is not that of a registration");
        bench.wait(31).await;
        assert_eq!(bench.sent(), Vec::<String>::new(), "a notifier may not make us hurry");
        bench.wait(1).await;
        let anew = bench.one();
        assert!(!anew.contains(&dialog.call_id));
        let mut dialog = Dialog::of(&anew);
        let whole = document(0, "full", "active", TAG);
        assert_eq!(bench.notify(&mut dialog, "active", &whole).await, "200 OK", "from 0 again");
        bench.receive(&respond(&anew, "200 OK", "Expires: 3600\r\n")).await;

        let state = "terminated;reason=probation;retry-after=8000";
        assert_eq!(bench.notify(&mut dialog, state, "").await, "200 OK");
        bench.sent();
        bench.wait(9_000).await;
        assert_eq!(bench.sent(), Vec::<String>::new(), "by then he is not registered");
    })
    .await;
}

// Covers: CORE-021
#[tokio::test(start_paused = true)]
async fn a_user_who_moves_to_another_s_cscf_is_followed() {
    on_local_set(async {
        let bench = Bench::new(1, Some(policy()));
        let _dialog = bench.subscribed(TAG).await;
        let moved = "REGISTER sip:127.0.0.20:5080 SIP/2.0\r\n\
             Via: SIP/2.0/UDP 127.0.0.13:6060;branch=z9hG4bKmoved\r\nMax-Forwards: 10\r\n\
             To: <sip:alice@ims.test>\r\nFrom: <sip:127.0.0.14>;tag=x\r\nCSeq: 10 REGISTER\r\n\
             Call-ID: moved\r\nExpires: 600\r\nContact: <sip:127.0.0.14:6060>\r\n\r\n";
        bench.receive(moved).await;
        let sent = bench.sent();
        let subscribes: Vec<_> = sent.iter().filter(|text| text.starts_with("SUB")).collect();
        let of_expires = |expires| subscribes.iter().find(|text| field(text, "Expires") == expires);
        assert_eq!(field(of_expires("3600").unwrap(), "Route"), "<sip:127.0.0.14:6060;lr>");
        assert!(of_expires("0").is_some(), "the old one is left");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn beyond_the_limit_a_user_waits_for_his_next_register() {
    on_local_set(async {
        let bench = Bench::new(1, Some(RegEventPolicy { subscriptions_max: 1, ..policy() }));
        let mut dialog = bench.subscribed(TAG).await;
        assert!(bench.register("bob", 2, 7_200).await.is_none());
        let leaving = bench.register("alice", 3, 0).await.unwrap();
        assert!(bench.register("bob", 4, 7_200).await.is_none(), "hers is still there");
        bench.receive(&respond(&leaving, "200 OK", "")).await;
        assert_eq!(bench.notify(&mut dialog, "terminated", "").await, "200 OK");
        let subscribe = bench.register("bob", 5, 7_200).await.unwrap();
        assert!(subscribe.starts_with("SUBSCRIBE sip:bob@ims.test "), "{subscribe}");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn beyond_the_limit_a_notification_is_asked_to_come_again() {
    on_local_set(async {
        let bench = Bench::new(1, Some(policy()));
        let mut dialog = bench.subscribed(TAG).await;
        for _ in 0..=WAITING_MAX {
            bench.queue(&dialog.notify("active", "")).await;
        }
        bench.settle().await;
        let mut sent = bench.sent();
        let refused = sent.iter().position(|text| text.starts_with("SIP/2.0 500 ")).unwrap();
        assert!(sent.remove(refused).contains("\r\nRetry-After: 1\r\n"));
        assert_eq!(sent.len(), WAITING_MAX);
        assert!(sent.iter().all(|text| text.starts_with("SIP/2.0 200 ")), "{sent:#?}");
    })
    .await;
}

// Covers: CORE-021
#[tokio::test(start_paused = true)]
async fn the_notification_finds_the_shard_that_subscribed() {
    on_local_set(async {
        let bench = Bench::new(4, Some(policy()));
        let mut shards = std::collections::BTreeSet::new();
        for number in 0..16 {
            let user = format!("u{number}");
            let subscribe = bench.register(&user, number * 10, 7_200).await.unwrap();
            let from = field(&subscribe, "From");
            shards.insert(shard_of_tag(from.rsplit('=').next().unwrap()).unwrap());
            let mut dialog = Dialog::of(&subscribe);
            let whole = document(0, "full", "active", TAG);
            assert_eq!(bench.notify(&mut dialog, "active", &whole).await, "200 OK");
            for again in 1..4 {
                let anew = bench.register(&user, number * 10 + again, 7_200).await;
                assert!(anew.is_none(), "whichever shard the REGISTER comes to");
            }
        }
        assert_eq!(shards.len(), 4);
    })
    .await;
}
