//! Checks of registrations, profiles and names.

use std::sync::Arc;

use super::{binding, item, ok, quota};
use crate::{
    Binding, Bound, Cached, Counts, Creation, Deferral, Entry, Millis, Profile, Registration,
    Registrations, Store, StoreError, UserId,
};

const ALICE: &str = "sip:alice@ims.test";
const BOB: &str = "sip:bob@ims.test";

/// The same REGISTER again with another Call-ID, as a real S-CSCF sends it.
fn again(binding: &Binding, call_id: &str) -> Binding {
    Binding { call_id: call_id.into(), ..binding.clone() }
}

async fn bind(store: &Store, binding: &Binding, now: u64) -> Arc<Registration> {
    match ok(store.registrations.bind(binding.clone(), Millis(now))).await {
        Bound::New(record) | Bound::Refreshed(record) => record,
        Bound::Stale => panic!("a stale REGISTER"),
    }
}

async fn lookup(store: &Store) -> Option<Arc<Registration>> {
    ok(store.registrations.lookup(&ALICE.into())).await
}

// Covers: CORE-019, CORE-024, PF-003
/// The first REGISTER binds, the next one with the same CSeq and another Call-ID refreshes.
pub async fn binds_and_refreshes(store: &Store) {
    let first = binding(ALICE);
    let bound = ok(store.registrations.bind(first.clone(), Millis(1_000))).await;
    let Bound::New(record) = bound else { panic!("{bound:?}") };
    assert_eq!(record.expires, 3600);
    assert_eq!(record.expires_at, Millis(3_601_000));
    assert_eq!(record.lapses_at, Millis(3_631_000));
    assert_eq!(record.public_ids, [ALICE]);
    assert_eq!(record.aliases, ["tel:+15551234"]);
    assert_eq!(Some(&record.contacts), first.contacts.as_ref());
    let scscf = "sip:other.ims.test;lr";
    let second =
        Binding { scscf: scscf.into(), expires: 600, barred: true, ..again(&first, "call-2") };
    let bound = ok(store.registrations.bind(second, Millis(2_000))).await;
    let Bound::Refreshed(refreshed) = bound else { panic!("{bound:?}") };
    assert_eq!((refreshed.id, refreshed.since), (record.id, record.since));
    assert_eq!((refreshed.scscf.as_str(), refreshed.expires), (scscf, 600));
    assert_eq!(refreshed.expires_at, Millis(602_000));
    assert!(refreshed.barred);
    assert_eq!(lookup(store).await, Some(refreshed.clone()));
    let ended = ok(store.registrations.unbind(&ALICE.into())).await;
    assert_eq!(ended, Some(refreshed));
    assert_eq!(lookup(store).await, None);
    assert_eq!(ok(store.registrations.unbind(&ALICE.into())).await, None);
}

// Covers: CORE-024
/// The same Call-ID needs a higher CSeq; anything else changes nothing.
pub async fn refuses_a_stale_register(store: &Store) {
    let first = Binding { cseq: 7, ..binding(ALICE) };
    let record = bind(store, &first, 1_000).await;
    for cseq in [7, 6] {
        let stale = Binding { cseq, expires: 60, ..first.clone() };
        assert_eq!(ok(store.registrations.bind(stale, Millis(2_000))).await, Bound::Stale);
        assert_eq!(lookup(store).await, Some(record.clone()));
    }
    let next = bind(store, &Binding { cseq: 8, ..first }, 2_000).await;
    assert_eq!((next.id, next.cseq), (record.id, 8));
}

// Covers: CORE-025
/// A binding counts until its grace is over, then it is swept once, and REGISTER begins anew.
pub async fn lapses_after_the_grace(store: &Store) {
    let record = bind(store, &binding(ALICE), 0).await;
    bind(store, &Binding { expires: 60, ..binding(BOB) }, 0).await;
    let (alice, bob) = (UserId::from(ALICE), UserId::from(BOB));
    let lapsed = async |now| {
        let records = ok(store.registrations.lapsed(Millis(now), 10)).await;
        records.iter().filter_map(|record| record.user.clone()).collect::<Vec<_>>()
    };
    assert_eq!(lapsed(89_999).await, []);
    assert_eq!(lapsed(90_000).await, std::slice::from_ref(&bob));
    assert_eq!(lapsed(3_630_000).await, [bob.clone(), alice.clone()]);
    let one = ok(store.registrations.lapsed(Millis(3_630_000), 1)).await;
    assert_eq!(one.len(), 1, "the limit holds");
    assert_eq!(ok(store.registrations.lapse(&alice, Millis(3_629_999))).await, None);
    assert!(record.has_lapsed(Millis(3_630_000)) && !record.has_lapsed(Millis(3_629_999)));
    let ended = ok(store.registrations.lapse(&alice, Millis(3_630_000))).await;
    assert_eq!(ended, Some(record.clone()));
    assert_eq!(ok(store.registrations.lapse(&alice, Millis(3_630_000))).await, None, "once");
    // Not swept yet, but over: a REGISTER, even with the old Call-ID, is a new registration.
    let anew = ok(store.registrations.bind(binding(BOB), Millis(90_000))).await;
    assert!(matches!(anew, Bound::New(_)), "{anew:?}");
    assert_eq!(lapsed(90_000).await, []);
    // Within the grace it is still the old one.
    let late = again(&binding(BOB), "call-2");
    let bound = ok(store.registrations.bind(late, Millis(90_000 + 3_629_999))).await;
    assert!(matches!(bound, Bound::Refreshed(_)), "{bound:?}");
}

// Covers: CORE-020, CLI-004
/// A refresh that does not tell contacts, aliases or charging keeps them; one that does
/// replaces them.
pub async fn keeps_what_a_refresh_does_not_tell(store: &Store) {
    let charging = crate::ChargingAddresses {
        ccf: vec!["aaa://ccf.ims.test".into()],
        ecf: vec!["aaa://ecf.ims.test".into()],
    };
    let first = Binding { charging: Some(charging.clone()), ..binding(ALICE) };
    let record = bind(store, &first, 0).await;
    let silent = Binding {
        aliases: None,
        contacts: None,
        charging: None,
        orig_ioi: None,
        public_id: "sip:alice.b@ims.test".into(),
        ..again(&first, "call-2")
    };
    let kept = bind(store, &silent, 1).await;
    assert_eq!(kept.contacts, record.contacts);
    assert_eq!(kept.aliases, record.aliases);
    assert_eq!((&kept.charging, kept.orig_ioi.as_deref()), (&charging, Some("ims.test")));
    assert_eq!(kept.public_ids, [ALICE, "sip:alice.b@ims.test"]);
    let without_tag = first.contacts.clone().map(|mut contacts| {
        contacts.iter_mut().for_each(|contact| contact.has_im_tag = false);
        contacts
    });
    let told = Binding { contacts: without_tag, ..again(&first, "call-3") };
    let told = bind(store, &told, 2).await;
    assert!(told.contacts.iter().all(|contact| !contact.has_im_tag), "{:?}", told.contacts);
}

/// A refresh keeps the number of the registration, a new registration has a higher one.
pub async fn numbers_registrations(store: &Store) {
    let mut last = bind(store, &binding(ALICE), 0).await.id;
    for round in 1..5 {
        let refreshed = bind(store, &again(&binding(ALICE), &format!("r{round}")), round).await;
        assert_eq!(refreshed.id, last);
        ok(store.registrations.unbind(&ALICE.into())).await;
        let next = bind(store, &binding(ALICE), round).await.id;
        assert!(next > last, "{next:?} after {last:?}");
        last = next;
    }
}

// Covers: CORE-040
/// Names come from profiles and registrations, lead to one user, and follow changes.
pub async fn resolves_aliases(store: &Store) {
    let alice = UserId::from(ALICE);
    let who = async |name| ok(store.profiles.resolve(name)).await;
    assert_eq!(who("tel:+15551234").await, None);
    bind(store, &binding(ALICE), 0).await;
    for name in [ALICE, "tel:+15551234"] {
        assert_eq!(who(name).await, Some(alice.clone()), "{name}");
    }
    ok(store.registrations.unbind(&alice)).await;
    assert_eq!(who("tel:+15551234").await, Some(alice.clone()), "also while he is away");
    let moved = Binding { aliases: Some(vec!["tel:+15559".into()]), ..binding(ALICE) };
    bind(store, &moved, 1).await;
    assert_eq!(who("tel:+15551234").await, None, "left the implicit registration set");
    let aliases = vec!["tel:+15550".to_owned(), "sip:al@ims.test".to_owned()];
    let profile = Profile { aliases, ..Profile::new(alice.clone(), Millis(2)) };
    ok(store.profiles.put(profile)).await;
    assert_eq!(who("tel:+15550").await, Some(alice.clone()));
    bind(store, &Binding { aliases: Some(vec!["tel:+15550".into()]), ..binding(BOB) }, 3).await;
    assert_eq!(who("tel:+15550").await, Some(alice.clone()), "provisioned beats learnt");
    ok(store.profiles.put(Profile::new(alice.clone(), Millis(2)))).await;
    assert_eq!(who("sip:al@ims.test").await, None);
    assert_eq!(who(ALICE).await, Some(alice));
}

// Covers: PF-002
/// The first time makes it, later times find it.
pub async fn creates_the_default_profile_once(store: &Store) {
    let alice = UserId::from(ALICE);
    let made = ok(store.profiles.create_default(&alice, Millis(5))).await;
    let Creation::Created(profile) = made else { panic!("{made:?}") };
    assert_eq!(*profile, Profile { revision: 1, ..Profile::new(alice.clone(), Millis(5)) });
    let found = ok(store.profiles.create_default(&alice, Millis(9))).await;
    assert_eq!(found, Creation::Existing(profile));
    assert_eq!(ok(store.profiles.resolve(ALICE)).await, Some(alice));
}

// Covers: PF-081
/// A change of an old revision is refused, and a list in a list.
pub async fn puts_with_a_revision(store: &Store) {
    let alice = UserId::from(ALICE);
    let first = ok(store.profiles.put(Profile::new(alice.clone(), Millis(1)))).await;
    assert_eq!(first.revision, 1);
    let friends = vec![Entry::Identity(BOB.to_owned()), Entry::Domain("ims.test".to_owned())];
    let lists = [("friends".to_owned(), friends)].into();
    let change = Profile { deferral: Deferral::PushMsrp, lists, ..(*first).clone() };
    let second = ok(store.profiles.put(change.clone())).await;
    assert_eq!((second.revision, second.deferral), (2, Deferral::PushMsrp));
    assert_eq!(second.lists, change.lists);
    assert_eq!(store.profiles.put(change).await, Err(StoreError::Conflict));
    let nested = [("all".to_owned(), vec![Entry::List("friends".to_owned())])].into();
    let nested = Profile { lists: nested, ..(*second).clone() };
    let refused = store.profiles.put(nested).await;
    assert!(matches!(refused, Err(StoreError::Invalid(_))), "{refused:?}");
    assert_eq!(ok(store.profiles.profile(&alice)).await, Some(second));
    let absent = Profile { revision: 4, ..Profile::new(BOB.into(), Millis(1)) };
    assert_eq!(store.profiles.put(absent).await, Err(StoreError::Conflict));
    assert_eq!(ok(store.profiles.profile(&BOB.into())).await, None);
}

/// Pages follow each other without gap or repetition.
pub async fn lists_profiles(store: &Store) {
    let users: Vec<UserId> =
        (10..20).map(|n| UserId::from(format!("sip:user{n}@ims.test"))).collect();
    for user in users.iter().rev() {
        ok(store.profiles.create_default(user, Millis(0))).await;
    }
    let mut listed: Vec<UserId> = Vec::new();
    loop {
        let page = ok(store.profiles.list(listed.last(), 3)).await;
        if page.is_empty() {
            break;
        }
        assert!(page.len() <= 3);
        listed.extend(page.iter().map(|profile| profile.user.clone()));
    }
    assert_eq!(listed, users);
}

// Covers: STO-015
/// Nothing of a removed user can be found, and others are untouched.
pub async fn removes_everything_of_a_user(store: &Store) {
    let (alice, bob) = (UserId::from(ALICE), UserId::from(BOB));
    for user in [ALICE, BOB] {
        let aliases = Some(vec![format!("tel:{user}")]);
        bind(store, &Binding { aliases, ..binding(user) }, 0).await;
        let aliases = vec![format!("sip:other.{user}")];
        ok(store.profiles.put(Profile { aliases, ..Profile::new(user.into(), Millis(0)) })).await;
        ok(store.inboxes.accept(item(user, 1), quota(), Millis(0))).await;
    }
    assert!(ok(store.profiles.remove(&alice)).await);
    assert_eq!(lookup(store).await, None);
    assert_eq!(ok(store.profiles.profile(&alice)).await, None);
    for name in [ALICE, "tel:sip:alice@ims.test", "sip:other.sip:alice@ims.test"] {
        assert_eq!(ok(store.profiles.resolve(name)).await, None, "{name}");
    }
    assert_eq!(ok(store.inboxes.counts(&alice)).await, Counts::default());
    let later = Millis(10_000_000_000);
    let lapsed = ok(store.registrations.lapsed(later, 10)).await;
    assert_eq!(lapsed.len(), 1, "only the other user's: {lapsed:?}");
    let expired = ok(store.inboxes.expired(later, 10)).await;
    assert!(expired.iter().all(|item| item.recipient == bob), "{expired:?}");
    assert_eq!(ok(store.profiles.resolve("tel:sip:bob@ims.test")).await, Some(bob.clone()));
    assert_eq!(ok(store.inboxes.counts(&bob)).await.items, 1);
    assert!(!ok(store.profiles.remove(&alice)).await, "nothing is left");
}

/// What was just written can be read without waiting, and never the value before.
pub async fn answers_at_once(store: &Store) {
    let alice = UserId::from(ALICE);
    let registrations: &dyn Registrations = &*store.registrations;
    for round in 0..3_u32 {
        let next = Binding { expires: 600 + round, ..again(&binding(ALICE), &round.to_string()) };
        let record = bind(store, &next, 0).await;
        assert_eq!(lookup(store).await, Some(record.clone()));
        if let Cached::Known(known) = registrations.cached(ALICE) {
            assert_eq!(known, Some(record));
        }
    }
    let profile = ok(store.profiles.put(Profile::new(alice.clone(), Millis(0)))).await;
    assert_eq!(ok(store.profiles.profile(&alice)).await, Some(profile.clone()));
    if let Cached::Known(known) = store.profiles.cached(ALICE) {
        assert_eq!(known, Some(profile));
    }
    assert_eq!(ok(store.profiles.resolve("tel:+15551234")).await, Some(alice.clone()));
    if let Cached::Known(known) = store.profiles.resolve_cached("tel:+15551234") {
        assert_eq!(known, Some(alice.clone()));
    }
    ok(store.profiles.remove(&alice)).await;
    for gone in [ALICE, "tel:+15551234"] {
        assert!(!matches!(store.profiles.resolve_cached(gone), Cached::Known(Some(_))), "{gone}");
    }
    assert!(!matches!(store.profiles.cached(ALICE), Cached::Known(Some(_))));
    assert!(!matches!(registrations.cached(ALICE), Cached::Known(Some(_))));
}
