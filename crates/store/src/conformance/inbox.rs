//! Checks of the inboxes.

use std::time::Duration;

use bytes::Bytes;

use super::{item, ok, quota};
use crate::inbox::DEDUP_REMEMBERED_MAX;
use crate::{
    Accepted, Attempt, Counts, DEDUP_WINDOW, Fence, Item, Millis, NewItem, Quota, Seq, Settlement,
    Store, StoreError, UserId, Withdrawn,
};

const ALICE: &str = "sip:alice@ims.test";
const BOB: &str = "sip:bob@ims.test";

async fn accept(store: &Store, item: NewItem, now: u64) -> Accepted {
    ok(store.inboxes.accept(item, quota(), Millis(now))).await
}

async fn fill(store: &Store, user: &str, numbers: std::ops::RangeInclusive<u64>) {
    for number in numbers {
        let accepted = accept(store, item(user, number), 0).await;
        assert!(matches!(accepted, Accepted::Stored(_)), "{accepted:?}");
    }
}

async fn lease(store: &Store, user: &str, holder: u64, until: u64, now: u64) -> Option<Fence> {
    ok(store.inboxes.lease(&user.into(), holder, Millis(until), Millis(now))).await
}

async fn head(store: &Store, user: &str) -> Vec<Item> {
    ok(store.inboxes.head(&user.into(), Seq(0), 100)).await
}

async fn seqs(store: &Store, user: &str) -> Vec<u64> {
    head(store, user).await.iter().map(|item| item.seq.0).collect()
}

async fn due(store: &Store, now: u64) -> Vec<String> {
    ok(store.inboxes.due(Millis(now), 100)).await.into_iter().map(String::from).collect()
}

async fn settle(store: &Store, fence: &Fence, seq: u64) -> Result<bool, StoreError> {
    store.inboxes.settle(fence, Seq(seq), Settlement::Delivered).await
}

async fn withdraw(store: &Store, user: &str, seq: u64, now: u64) -> Withdrawn {
    ok(store.inboxes.withdraw(&user.into(), Seq(seq), Millis(now))).await
}

fn attempt(call_id: &str) -> Attempt {
    Attempt {
        call_id: call_id.into(),
        cseq: 3,
        from_tag: "tag".into(),
        branch: "z9hG4bK-1".into(),
        started: Millis(77),
    }
}

// Covers: DF-012, STO-003
/// Items keep the order of arrival, their numbers grow, and every field comes back.
pub async fn stores_and_gives_back_in_order(store: &Store) {
    let second = NewItem {
        originator: "tel:+15550".into(),
        wants_negative_delivery: true,
        private: true,
        received: Millis(4711),
        payload: Bytes::from((0..=255).cycle().take(5000).collect::<Vec<u8>>()),
        ..item(ALICE, 2)
    };
    assert_eq!(accept(store, item(ALICE, 1), 0).await, Accepted::Stored(Seq(1)));
    assert_eq!(accept(store, second.clone(), 0).await, Accepted::Stored(Seq(2)));
    assert_eq!(accept(store, item(BOB, 2), 0).await, Accepted::Stored(Seq(1)), "his own count");
    let expected = [item(ALICE, 1).numbered(Seq(1)), second.clone().numbered(Seq(2))];
    assert_eq!(head(store, ALICE).await, expected);
    let rest = ok(store.inboxes.head(&ALICE.into(), Seq(1), 100)).await;
    assert_eq!(rest, [second.numbered(Seq(2))]);
    assert_eq!(ok(store.inboxes.head(&ALICE.into(), Seq(0), 1)).await.len(), 1);
    let octets = expected.iter().map(|item| item.payload.len() as u64).sum();
    assert_eq!(ok(store.inboxes.counts(&ALICE.into())).await, Counts { items: 2, octets });
    assert_eq!(store.inboxes.waiting(), 3);
    assert_eq!(head(store, "sip:nobody@ims.test").await, []);
    // A number is not used again when its item left, even when the inbox is empty.
    for seq in [1, 2] {
        assert_eq!(withdraw(store, ALICE, seq, 0).await, Withdrawn::Removed);
    }
    assert_eq!(accept(store, item(ALICE, 3), 0).await, Accepted::Stored(Seq(3)));
    assert_eq!(store.inboxes.waiting(), 2);
}

// Covers: DF-086
/// Any one key recognises a message, for the same recipient only, also after its delivery.
pub async fn recognises_what_came_before(store: &Store) {
    let first = NewItem { dedup: vec![[1; 16], [2; 16]], ..item(ALICE, 1) };
    assert_eq!(accept(store, first.clone(), 0).await, Accepted::Stored(Seq(1)));
    let resent = NewItem { dedup: vec![[9; 16], [2; 16]], ..item(ALICE, 2) };
    assert_eq!(accept(store, first.clone(), 1).await, Accepted::Duplicate(Seq(1)));
    assert_eq!(accept(store, resent.clone(), 1).await, Accepted::Duplicate(Seq(1)));
    let other = NewItem { recipient: BOB.into(), ..first.clone() };
    assert_eq!(accept(store, other, 1).await, Accepted::Stored(Seq(1)));
    let fence = lease(store, ALICE, 1, 1_000, 1).await.expect("nobody has it");
    assert_eq!(settle(store, &fence, 1).await, Ok(true));
    assert_eq!(accept(store, resent, 2).await, Accepted::Duplicate(Seq(1)));
    assert_eq!(head(store, ALICE).await, []);
    let unknown = NewItem { dedup: vec![[9; 16]], ..item(ALICE, 3) };
    assert_eq!(accept(store, unknown, 3).await, Accepted::Stored(Seq(2)));
    // A duplicate is one whatever the quota says; it needs no room.
    let none = Quota { items_max: 0, octets_max: 0 };
    let accepted = ok(store.inboxes.accept(first, none, Millis(4))).await;
    assert_eq!(accepted, Accepted::Duplicate(Seq(1)));
    let keyless = NewItem { dedup: Vec::new(), ..item(ALICE, 4) };
    for seq in [3, 4] {
        assert_eq!(accept(store, keyless.clone(), 5).await, Accepted::Stored(Seq(seq)));
    }
}

// Covers: DF-086
/// The window is exact.
pub async fn forgets_keys_after_the_window(store: &Store) {
    assert_eq!(accept(store, item(ALICE, 1), 5).await, Accepted::Stored(Seq(1)));
    let over = Millis(5) + DEDUP_WINDOW;
    assert_eq!(accept(store, item(ALICE, 1), over.0 - 1).await, Accepted::Duplicate(Seq(1)));
    assert_eq!(accept(store, item(ALICE, 1), over.0).await, Accepted::Stored(Seq(2)));
    assert_eq!(accept(store, item(ALICE, 1), over.0 + 1).await, Accepted::Duplicate(Seq(2)));
}

/// At the bound messages are kept but not recognised; when keys age out they are again.
pub async fn bounds_what_it_remembers(store: &Store) {
    let numbered = |number: u64| {
        let keys = (0..8).map(|key: u64| {
            let text = format!("{number:08}{key:08}");
            text.as_bytes().try_into().expect("16 octets")
        });
        NewItem { dedup: keys.collect(), ..item(ALICE, number) }
    };
    let fits = DEDUP_REMEMBERED_MAX as u64 / 8;
    for start in (0..fits).step_by(64) {
        let group =
            (start..start + 64).map(|n| store.inboxes.accept(numbered(n), quota(), Millis(0)));
        let mut group: Vec<_> = group.collect();
        std::future::poll_fn(|cx| {
            group.retain_mut(|accepting| match accepting.as_mut().poll(cx) {
                std::task::Poll::Pending => true,
                std::task::Poll::Ready(accepted) => {
                    assert!(matches!(accepted, Ok(Accepted::Stored(_))), "{accepted:?}");
                    false
                }
            });
            if group.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
        })
        .await;
    }
    let over = numbered(fits);
    for seq in [fits + 1, fits + 2] {
        assert_eq!(accept(store, over.clone(), 1).await, Accepted::Stored(Seq(seq)));
    }
    let known = accept(store, numbered(3), 1).await;
    assert!(matches!(known, Accepted::Duplicate(_)), "{known:?}");
    let later = (Millis(0) + DEDUP_WINDOW).0;
    assert_eq!(accept(store, over.clone(), later).await, Accepted::Stored(Seq(fits + 3)));
    assert_eq!(accept(store, over, later).await, Accepted::Duplicate(Seq(fits + 3)));
}

// Covers: DF-003
/// Both bounds are exact, and removing makes room.
pub async fn holds_the_quota(store: &Store) {
    let sized = |number, octets| NewItem { payload: vec![7; octets].into(), ..item(ALICE, number) };
    let quota = Quota { items_max: 2, octets_max: 100 };
    let accept = async |item| ok(store.inboxes.accept(item, quota, Millis(0))).await;
    assert_eq!(accept(sized(1, 101)).await, Accepted::Full);
    assert_eq!(accept(sized(1, 60)).await, Accepted::Stored(Seq(1)), "a refusal is no acceptance");
    assert_eq!(accept(sized(2, 41)).await, Accepted::Full);
    assert_eq!(accept(sized(2, 40)).await, Accepted::Stored(Seq(2)));
    assert_eq!(accept(sized(3, 0)).await, Accepted::Full);
    assert_eq!(withdraw(store, ALICE, 1, 0).await, Withdrawn::Removed);
    assert_eq!(accept(sized(3, 60)).await, Accepted::Stored(Seq(3)));
    let counts = ok(store.inboxes.counts(&ALICE.into())).await;
    assert_eq!(counts, Counts { items: 2, octets: 100 });
}

/// One holder at a time; it may prolong, and others follow when the lease is over.
pub async fn leases_to_one_holder(store: &Store) {
    let first = lease(store, ALICE, 1, 100, 0).await.expect("nobody has it");
    assert_eq!(lease(store, ALICE, 2, 100, 50).await, None);
    assert_eq!(lease(store, ALICE, 1, 200, 50).await, Some(first.clone()), "prolonged");
    assert_eq!(lease(store, ALICE, 2, 300, 199).await, None);
    assert!(lease(store, BOB, 2, 300, 199).await.is_some(), "another inbox");
    let second = lease(store, ALICE, 2, 300, 200).await.expect("it ran out");
    assert!(second.token > first.token, "{second:?} after {first:?}");
    let shortened = lease(store, ALICE, 2, 250, 210).await;
    assert_eq!(shortened, Some(second.clone()), "the holder may also shorten it");
    assert!(lease(store, ALICE, 1, 300, 250).await.is_some(), "over when it says");
    assert_eq!(store.inboxes.release(&second).await, Err(StoreError::Fenced));
    let second = lease(store, ALICE, 1, 300, 251).await.expect("it is the holder's");
    ok(store.inboxes.release(&second)).await;
    let third = lease(store, ALICE, 1, 300, 252).await.expect("it was given back");
    assert!(third.token > second.token, "{third:?} after {second:?}");
}

/// An operation of an earlier holder is refused and changes nothing.
pub async fn fences_the_earlier_holder(store: &Store) {
    fill(store, ALICE, 1..=1).await;
    let old = lease(store, ALICE, 1, 100, 0).await.expect("nobody has it");
    // Over, but nobody else leased: still good.
    assert!(ok(store.inboxes.attempt(&old, Seq(1), attempt("old"))).await);
    let new = lease(store, ALICE, 2, 300, 100).await.expect("it ran out");
    let fenced = Err(StoreError::Fenced);
    assert_eq!(store.inboxes.attempt(&old, Seq(1), attempt("x")).await, fenced);
    assert_eq!(settle(store, &old, 1).await, fenced);
    assert_eq!(store.inboxes.postpone(&old, Millis(1), 1).await, Err(StoreError::Fenced));
    assert_eq!(store.inboxes.release(&old).await, Err(StoreError::Fenced));
    let kept = head(store, ALICE).await;
    assert_eq!(kept.first().and_then(|item| item.attempt.clone()), Some(attempt("old")));
    assert_eq!(settle(store, &new, 1).await, Ok(true));
    ok(store.inboxes.release(&new)).await;
    assert_eq!(settle(store, &new, 1).await, Err(StoreError::Fenced), "given back");
}

/// The identifiers of a request are there for whoever comes next.
pub async fn attempts_before_settling(store: &Store) {
    fill(store, ALICE, 1..=2).await;
    let fence = lease(store, ALICE, 1, 100, 0).await.expect("nobody has it");
    assert!(ok(store.inboxes.attempt(&fence, Seq(1), attempt("a"))).await);
    assert!(ok(store.inboxes.attempt(&fence, Seq(1), attempt("b"))).await);
    let attempts: Vec<_> = head(store, ALICE).await.into_iter().map(|item| item.attempt).collect();
    assert_eq!(attempts, [Some(attempt("b")), None]);
    assert_eq!(settle(store, &fence, 1).await, Ok(true));
    assert_eq!(settle(store, &fence, 1).await, Ok(false), "gone already");
    assert!(!ok(store.inboxes.attempt(&fence, Seq(1), attempt("c"))).await);
    for how in [Settlement::Refused, Settlement::Expired] {
        let more = accept(store, NewItem { dedup: Vec::new(), ..item(ALICE, 9) }, 0).await;
        let Accepted::Stored(seq) = more else { panic!("{more:?}") };
        assert!(ok(store.inboxes.settle(&fence, seq, how)).await);
    }
    assert_eq!(seqs(store, ALICE).await, [2]);
    assert_eq!(store.inboxes.waiting(), 1);
}

/// What is being sent stays; before, after a failure and after the lease it can be taken back.
pub async fn withdraws_what_nobody_sends(store: &Store) {
    fill(store, ALICE, 1..=4).await;
    assert_eq!(withdraw(store, ALICE, 1, 0).await, Withdrawn::Removed);
    assert_eq!(withdraw(store, ALICE, 1, 0).await, Withdrawn::Gone);
    assert_eq!(withdraw(store, "sip:nobody@ims.test", 1, 0).await, Withdrawn::Gone);
    let fence = lease(store, ALICE, 1, 100, 0).await.expect("nobody has it");
    for seq in [2, 3] {
        assert!(ok(store.inboxes.attempt(&fence, Seq(seq), attempt("a"))).await);
    }
    assert_eq!(withdraw(store, ALICE, 2, 10).await, Withdrawn::InFlight);
    assert_eq!(withdraw(store, ALICE, 4, 10).await, Withdrawn::Removed, "not attempted");
    ok(store.inboxes.postpone(&fence, Millis(50), 1)).await;
    assert_eq!(withdraw(store, ALICE, 2, 10).await, Withdrawn::Removed, "the attempt is over");
    assert!(ok(store.inboxes.attempt(&fence, Seq(3), attempt("b"))).await);
    assert_eq!(withdraw(store, ALICE, 3, 99).await, Withdrawn::InFlight);
    assert_eq!(withdraw(store, ALICE, 3, 100).await, Withdrawn::Removed, "the lease is over");
    assert_eq!(ok(store.inboxes.counts(&ALICE.into())).await, Counts::default());
}

// Covers: DF-065
/// Back-off is kept, comes due in order, and ends with the last item.
pub async fn backs_off_and_comes_due(store: &Store) {
    fill(store, ALICE, 1..=2).await;
    fill(store, BOB, 1..=1).await;
    assert_eq!(due(store, u64::MAX).await, [""; 0], "nothing was tried");
    let alice = lease(store, ALICE, 1, 10_000, 0).await.expect("nobody has it");
    let bob = lease(store, BOB, 1, 10_000, 0).await.expect("nobody has it");
    ok(store.inboxes.postpone(&alice, Millis(60_000), 1)).await;
    ok(store.inboxes.postpone(&bob, Millis(30_000), 4)).await;
    assert_eq!(due(store, 29_999).await, [""; 0]);
    assert_eq!(due(store, 30_000).await, [BOB]);
    assert_eq!(due(store, 60_000).await, [BOB, ALICE]);
    assert_eq!(ok(store.inboxes.due(Millis(60_000), 1)).await.len(), 1);
    assert_eq!(ok(store.inboxes.failures(&bob.user)).await, 4);
    ok(store.inboxes.postpone(&alice, Millis(20_000), 2)).await;
    assert_eq!(due(store, 30_000).await, [ALICE, BOB], "a later word replaces the earlier");
    assert_eq!(settle(store, &bob, 1).await, Ok(true));
    assert_eq!(ok(store.inboxes.failures(&bob.user)).await, 0);
    assert_eq!(settle(store, &alice, 1).await, Ok(true));
    assert_eq!(due(store, 60_000).await, [ALICE], "one item is left");
    assert_eq!(withdraw(store, ALICE, 2, 60_000).await, Withdrawn::Removed);
    assert_eq!(due(store, 60_000).await, [""; 0]);
    ok(store.inboxes.postpone(&alice, Millis(20_000), 2)).await;
    assert_eq!(due(store, 60_000).await, [""; 0], "an empty inbox is never due");
    let pushed = NewItem { due: Some(Millis(70_000)), ..item(BOB, 2) };
    accept(store, pushed, 60_000).await;
    let sooner = NewItem { due: Some(Millis(65_000)), ..item(BOB, 3) };
    accept(store, sooner, 60_000).await;
    accept(store, NewItem { due: Some(Millis(90_000)), ..item(BOB, 4) }, 60_000).await;
    assert_eq!(due(store, 64_999).await, [""; 0]);
    assert_eq!(due(store, 65_000).await, [BOB]);
}

/// The inbox of a holder that died is due when its lease ends; one given back is not.
pub async fn a_dead_holder_leaves_it_due(store: &Store) {
    fill(store, ALICE, 1..=1).await;
    lease(store, ALICE, 1, 5_000, 0).await.expect("nobody has it");
    assert_eq!(due(store, 4_999).await, [""; 0]);
    assert_eq!(due(store, 5_000).await, [ALICE]);
    let fence = lease(store, ALICE, 2, 9_000, 5_000).await.expect("it ran out");
    assert_eq!(due(store, 8_999).await, [""; 0]);
    ok(store.inboxes.release(&fence)).await;
    assert_eq!(due(store, 9_000).await, [""; 0]);
    // What arrives under a lease is due with it.
    lease(store, BOB, 1, 5_000, 0).await.expect("nobody has it");
    fill(store, BOB, 1..=1).await;
    assert_eq!(due(store, 5_000).await, [BOB]);
}

/// Expired items come oldest first, and only they.
pub async fn finds_the_expired(store: &Store) {
    for (user, number, expires) in [(ALICE, 1, 300), (BOB, 1, 100), (ALICE, 2, 200)] {
        accept(store, NewItem { expires: Millis(expires), ..item(user, number) }, 0).await;
    }
    let expired = async |now, limit| {
        let items = ok(store.inboxes.expired(Millis(now), limit)).await;
        items.iter().map(|item| (item.recipient.to_string(), item.seq.0)).collect::<Vec<_>>()
    };
    assert_eq!(expired(99, 10).await, []);
    assert_eq!(expired(200, 10).await, [(BOB.to_owned(), 1), (ALICE.to_owned(), 2)]);
    assert_eq!(expired(300, 1).await, [(BOB.to_owned(), 1)]);
    assert_eq!(withdraw(store, BOB, 1, 300).await, Withdrawn::Removed);
    assert_eq!(expired(300, 10).await, [(ALICE.to_owned(), 2), (ALICE.to_owned(), 1)]);
}

/// Every recipient with items is listed once, whatever the pages.
pub async fn lists_recipients(store: &Store) {
    let users: Vec<String> = (10..17).map(|n| format!("sip:user{n}@ims.test")).collect();
    for user in &users {
        fill(store, user, 1..=3).await;
    }
    lease(store, "sip:empty@ims.test", 1, 10, 0).await.expect("nobody has it");
    let mut listed: Vec<UserId> = Vec::new();
    loop {
        let page = ok(store.inboxes.recipients(listed.last(), 2)).await;
        if page.is_empty() {
            break;
        }
        listed.extend(page);
    }
    assert!(listed.iter().map(UserId::as_str).eq(users.iter().map(String::as_str)), "{listed:?}");
}

// Covers: STO-015
/// After a purge nothing is there and nothing is remembered; earlier fences are refused.
pub async fn purges_one_user(store: &Store) {
    fill(store, ALICE, 1..=3).await;
    fill(store, BOB, 1..=1).await;
    let fence = lease(store, ALICE, 1, 100, 10).await.expect("nobody has it");
    assert!(ok(store.profiles.remove(&ALICE.into())).await);
    assert_eq!(store.inboxes.waiting(), 1);
    assert_eq!(head(store, ALICE).await, []);
    assert_eq!(due(store, u64::MAX).await, [""; 0]);
    assert_eq!(settle(store, &fence, 1).await, Err(StoreError::Fenced));
    let accepted = accept(store, item(ALICE, 1), 20).await;
    assert!(matches!(accepted, Accepted::Stored(_)), "not a duplicate: {accepted:?}");
    let next = lease(store, ALICE, 1, 200, 20).await.expect("nobody has it");
    assert!(next.token > fence.token, "{next:?} after {fence:?}");
    assert_eq!(seqs(store, BOB).await, [1]);
}

/// Indexes built anew answer as before.
pub async fn rebuilds_the_indexes(store: &Store) {
    fill(store, ALICE, 1..=3).await;
    fill(store, BOB, 1..=2).await;
    let fence = lease(store, ALICE, 1, 100, 0).await.expect("nobody has it");
    ok(store.inboxes.postpone(&fence, Millis(500), 1)).await;
    ok(store.registrations.bind(super::binding(BOB), Millis(0))).await;
    let far = Millis(1_000_000_000_000);
    let before = (
        due(store, 500).await,
        ok(store.inboxes.expired(far, 100)).await,
        ok(store.registrations.lapsed(far, 100)).await,
    );
    assert_eq!((before.0.len(), before.1.len(), before.2.len()), (1, 5, 1));
    assert!(ok(store.inboxes.rebuild()).await >= 7);
    let after = (
        due(store, 500).await,
        ok(store.inboxes.expired(far, 100)).await,
        ok(store.registrations.lapsed(far, 100)).await,
    );
    assert_eq!(after, before);
}

/// Arguments over the limits are refused as the caller's fault.
pub async fn refuses_bad_arguments(store: &Store) {
    let invalid = |result: Result<Accepted, StoreError>| {
        assert!(matches!(result, Err(StoreError::Invalid(_))), "{result:?}");
    };
    let now = Millis(0);
    invalid(store.inboxes.accept(item("", 1), quota(), now).await);
    invalid(store.inboxes.accept(item("sip:a\0b", 1), quota(), now).await);
    let many = NewItem { dedup: vec![[0; 16]; 9], ..item(ALICE, 1) };
    invalid(store.inboxes.accept(many, quota(), now).await);
    let result = store.inboxes.lease(&"".into(), 1, now + Duration::from_secs(1), now).await;
    assert!(matches!(result, Err(StoreError::Invalid(_))), "{result:?}");
    assert_eq!(store.inboxes.waiting(), 0);
}
