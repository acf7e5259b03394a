use std::time::Duration;

use parlance_sip::subscription::notifier::{Cause, Limits};

use super::super::{Body, Due, Event, Inbox, SessionLimits, WatchTerms};
use super::bench::{
    answer, bench, bench_with, events, from_bob, on_local_set, only, terms, value, within,
};
use super::uas::confirmed;

fn watch_terms() -> WatchTerms {
    let limits = Limits {
        expires_default: 3_600,
        expires_min: 60,
        expires_max: 7_200,
        pace: Duration::from_secs(5),
    };
    let contact = terms().contact;
    WatchTerms { packages: &["conference"], limits, contact, headers: Vec::new() }
}

fn subscribe(extra: &str) -> String {
    from_bob("SUBSCRIBE", &format!("Event: conference\r\n{extra}"), "")
}

async fn due(inbox: &mut Inbox) -> Due {
    match only(events(inbox).await) {
        Event::Notify(_, due) => due,
        other => panic!("{other:?}"),
    }
}

// Covers: CORE-048
#[tokio::test(start_paused = true)]
async fn a_subscription_outside_a_dialog() {
    on_local_set(async {
        let bench = bench();
        let mut inbox = Inbox::new(&bench.cx);
        bench.receive(&subscribe("Expires: 600\r\n")).await;
        let incoming = bench.incoming();
        let watcher = bench.cx.watch(incoming, &watch_terms(), &inbox.address()).unwrap();
        let ok = bench.one();
        assert!(ok.starts_with("SIP/2.0 200"), "{ok}");
        assert_eq!(value(&ok, "Expires"), "600");
        assert_eq!(value(&ok, "Contact"), "<sip:im@192.0.2.20:5080>;isfocus");
        let first = due(&mut inbox).await;
        assert!(first.is_full() && !first.is_last());
        first.send(&Body::new("application/conference-info+xml", "<full/>"));
        bench.settle().await;
        let notify = bench.one();
        assert!(notify.starts_with("NOTIFY sip:bob@192.0.2.9:7070"), "{notify}");
        assert_eq!(value(&notify, "Event"), "conference");
        assert_eq!(value(&notify, "Subscription-State"), "active;expires=600");
        assert_eq!(value(&notify, "Content-Type"), "application/conference-info+xml");
        watcher.changed();
        watcher.changed();
        bench.receive(&answer(&notify, 200, "b", "", "")).await;
        assert!(events(&mut inbox).await.is_empty(), "one at a time, at its pace");
        bench.wait(5_000).await;
        let second = due(&mut inbox).await;
        assert!(!second.is_full());
        second.send_without_body();
        bench.settle().await;
        let notify = bench.one();
        bench.receive(&answer(&notify, 200, "b", "", "")).await;
        bench
            .receive(&within(&ok, "SUBSCRIBE", 2, "Event: conference\r\nExpires: 30\r\n", ""))
            .await;
        assert_eq!(value(&bench.one(), "Min-Expires"), "60");
        let refresh = "Event: conference\r\nExpires: 900\r\n";
        bench.receive(&within(&ok, "SUBSCRIBE", 3, refresh, "")).await;
        assert_eq!(value(&bench.one(), "Expires"), "900");
        let again = due(&mut inbox).await;
        assert!(again.is_full(), "RFC 6665 §4.2.1.2");
        drop(again);
        bench.settle().await;
        let notify = bench.one();
        assert_eq!(value(&notify, "Subscription-State"), "active;expires=900");
        bench.receive(&answer(&notify, 200, "b", "", "")).await;
        watcher.end(Cause::ResourceGone);
        let last = due(&mut inbox).await;
        assert!(last.is_last());
        last.send(&Body::new("application/conference-info+xml", "<deleted/>"));
        bench.settle().await;
        let notify = bench.one();
        assert_eq!(value(&notify, "Subscription-State"), "terminated;reason=noresource");
        bench.receive(&answer(&notify, 200, "b", "", "")).await;
        assert!(events(&mut inbox).await.is_empty());
        bench.is_clean();
    })
    .await;
}

// Covers: CORE-048, CLI-042
#[tokio::test(start_paused = true)]
async fn how_a_subscription_ends() {
    on_local_set(async {
        let bench = bench();
        let mut inbox = Inbox::new(&bench.cx);
        for (expires, status, waits) in [(600, 481, 0), (600, 0, 40_000), (600, 200, 610_000)] {
            bench.receive(&subscribe(&format!("Expires: {expires}\r\n"))).await;
            let incoming = bench.incoming();
            let watcher = bench.cx.watch(incoming, &watch_terms(), &inbox.address()).unwrap();
            due(&mut inbox).await.send_without_body();
            bench.settle().await;
            let notify = bench.sent().remove(1);
            if status > 0 {
                bench.receive(&answer(&notify, status, "b", "", "")).await;
            }
            bench.wait(waits).await;
            if waits > 600_000 {
                let last = due(&mut inbox).await;
                assert!(last.is_last());
                last.send_without_body();
                bench.settle().await;
                let notify = bench.one();
                assert_eq!(value(&notify, "Subscription-State"), "terminated;reason=timeout");
                bench.receive(&answer(&notify, 200, "b", "", "")).await;
            }
            assert!(matches!(only(events(&mut inbox).await), Event::Unwatched(_)), "{status}");
            assert!(watcher.is_over());
            bench.sent();
            bench.is_clean();
            drop(watcher);
            bench.wait(40_000).await;
            assert_eq!(bench.lines(), "");
        }
    })
    .await;
}

// Covers: CORE-048
#[tokio::test(start_paused = true)]
async fn what_is_refused() {
    on_local_set(async {
        let bench = bench_with(SessionLimits { dialogs_max: 0, ..SessionLimits::default() });
        let inbox = Inbox::new(&bench.cx);
        let table = [
            (subscribe("Expires: 59\r\n"), 423),
            (subscribe("").replace("Event: conference", "Event: presence"), 489),
            (subscribe("").replace("Contact: <sip:bob@192.0.2.9:7070>\r\n", ""), 400),
            (subscribe(""), 480),
        ];
        for (index, (text, status)) in table.into_iter().enumerate() {
            let text = text.replace("bKSUBSCRIBE1", &format!("bK{index}"));
            bench.receive(&text).await;
            let incoming = bench.incoming();
            assert!(bench.cx.watch(incoming, &watch_terms(), &inbox.address()).is_none());
            let sent = bench.one();
            assert!(sent.starts_with(&format!("SIP/2.0 {status} ")), "{sent}");
            if status == 489 {
                assert_eq!(value(&sent, "Allow-Events"), "conference");
            }
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_dropped_watcher_says_goodbye() {
    on_local_set(async {
        let bench = bench();
        let mut inbox = Inbox::new(&bench.cx);
        bench.receive(&subscribe("")).await;
        let incoming = bench.incoming();
        let watcher = bench.cx.watch(incoming, &watch_terms(), &inbox.address()).unwrap();
        due(&mut inbox).await.send_without_body();
        bench.settle().await;
        let notify = bench.sent().remove(1);
        drop(watcher);
        bench.receive(&answer(&notify, 200, "b", "", "")).await;
        let last = bench.one();
        assert_eq!(value(&last, "Subscription-State"), "terminated;reason=noresource");
        bench.receive(&answer(&last, 200, "b", "", "")).await;
        assert!(events(&mut inbox).await.is_empty());
        bench.is_clean();
    })
    .await;
}

// Covers: CORE-048
#[tokio::test(start_paused = true)]
async fn a_subscription_shares_the_dialog_of_a_leg_and_outlives_it() {
    on_local_set(async {
        let bench = bench_with(SessionLimits { watchers_max: 1, ..SessionLimits::default() });
        let mut inbox = Inbox::new(&bench.cx);
        let (leg, ok) = confirmed(&bench, &mut inbox, "").await;
        let event = "Event: conference;id=7\r\n";
        bench.receive(&within(&ok, "SUBSCRIBE", 2, event, "")).await;
        let Event::Request(_, incoming) = only(events(&mut inbox).await) else { panic!() };
        let watcher = bench.cx.watch(incoming, &watch_terms(), &inbox.address()).unwrap();
        bench.sent();
        due(&mut inbox).await.send_without_body();
        bench.settle().await;
        let notify = bench.one();
        assert_eq!(value(&notify, "Event"), "conference;id=7");
        assert_eq!(value(&notify, "From"), value(&ok, "To"), "the same dialog");
        bench.receive(&answer(&notify, 200, "b", "", "")).await;
        bench.receive(&within(&ok, "SUBSCRIBE", 3, "Event: conference;id=8\r\n", "")).await;
        let Event::Request(_, incoming) = only(events(&mut inbox).await) else { panic!() };
        assert!(bench.cx.watch(incoming, &watch_terms(), &inbox.address()).is_none());
        assert_eq!(bench.lines(), "480", "no more than the limit in one dialog");
        bench.receive(&within(&ok, "BYE", 4, "", "")).await;
        assert_eq!(bench.lines(), "200");
        assert!(leg.is_over() && !watcher.is_over(), "RFC 5057 §4.2");
        assert!(matches!(only(events(&mut inbox).await), Event::Ended(..)));
        bench.receive(&within(&ok, "SUBSCRIBE", 5, &format!("{event}Expires: 0\r\n"), "")).await;
        assert_eq!(bench.lines(), "200");
        let last = due(&mut inbox).await;
        last.send_without_body();
        bench.settle().await;
        let notify = bench.one();
        assert_eq!(value(&notify, "Subscription-State"), "terminated;reason=timeout");
        bench.receive(&answer(&notify, 200, "b", "", "")).await;
        assert!(matches!(only(events(&mut inbox).await), Event::Unwatched(_)));
        bench.is_clean();
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_refer_makes_a_subscription_unless_it_wants_none() {
    on_local_set(async {
        let bench = bench();
        let mut inbox = Inbox::new(&bench.cx);
        let (_leg, ok) = confirmed(&bench, &mut inbox, "").await;
        let refer = "Refer-To: <sip:carol@ims.test>\r\n";
        bench.receive(&within(&ok, "REFER", 2, refer, "")).await;
        let Event::Request(_, incoming) = only(events(&mut inbox).await) else { panic!() };
        let watcher = bench.cx.watch_refer(incoming, &watch_terms(), &inbox.address()).unwrap();
        assert_eq!(bench.lines(), "202");
        let sipfrag = |text: &'static str| Body::new("message/sipfrag;version=2.0", text);
        due(&mut inbox).await.send(&sipfrag("SIP/2.0 100 Trying"));
        bench.settle().await;
        let notify = bench.one();
        assert_eq!(value(&notify, "Event"), "refer;id=2");
        watcher.end(Cause::ResourceGone);
        bench.receive(&answer(&notify, 200, "b", "", "")).await;
        due(&mut inbox).await.send(&sipfrag("SIP/2.0 200 OK"));
        bench.settle().await;
        let notify = bench.one();
        assert!(notify.ends_with("SIP/2.0 200 OK"), "{notify}");
        assert_eq!(value(&notify, "Subscription-State"), "terminated;reason=noresource");

        let without = format!("{refer}Refer-Sub: false\r\n");
        bench.receive(&within(&ok, "REFER", 3, &without, "")).await;
        let Event::Request(_, incoming) = only(events(&mut inbox).await) else { panic!() };
        assert!(bench.cx.watch_refer(incoming, &watch_terms(), &inbox.address()).is_none());
        let sent = bench.one();
        assert!(sent.starts_with("SIP/2.0 200"), "{sent}");
        assert_eq!(value(&sent, "Refer-Sub"), "false");
    })
    .await;
}
