//! Checks of what users publish.

use std::sync::Arc;

use super::{binding, ok};
use crate::{
    Binding, Contact, Deferral, Millis, Profile, Publication, PublishedSettings, Store, StoreError,
    UserId, Visibility,
};

const ALICE: &str = "sip:alice@ims.test";
const BOB: &str = "sip:bob@ims.test";

fn offline(etag: &str, since: u64, expires_at: u64) -> Publication {
    let settings = PublishedSettings {
        visibility: Some(Visibility::Offline),
        deferral: Some(Deferral::Notify),
        ..PublishedSettings::default()
    };
    Publication {
        etag: etag.into(),
        since: Millis(since),
        expires_at: Millis(expires_at),
        settings,
    }
}

async fn found(store: &Store) -> Option<Publication> {
    let profile = ok(store.profiles.profile(&ALICE.into())).await;
    profile.and_then(|profile| profile.published.clone())
}

async fn publish(store: &Store, publication: &Publication) -> Arc<Profile> {
    let user = UserId::from(ALICE);
    ok(store.profiles.publish(&user, Some(publication.clone()), None, publication.since)).await
}

// Covers: PF-055, CLI-006
/// What is published stands in the profile at once, is replaced by who names its entity-tag, and
/// is not touched by a change of the profile.
pub async fn keeps_what_is_published(store: &Store) {
    let alice = UserId::from(ALICE);
    let first = offline("e1", 10, 100);
    let made = publish(store, &first).await;
    assert_eq!((made.revision, made.published.as_ref()), (1, Some(&first)), "a default profile");
    assert_eq!(ok(store.profiles.resolve(ALICE)).await, Some(alice.clone()));
    if let crate::Cached::Known(known) = store.profiles.cached(ALICE) {
        assert_eq!(known, Some(made.clone()));
    }
    let second = offline("e2", 20, 200);
    let over = async |etag, now| {
        store.profiles.publish(&alice, Some(second.clone()), Some(etag), Millis(now)).await
    };
    assert_eq!(over("e0", 20).await, Err(StoreError::Conflict), "another entity-tag");
    assert_eq!(over("e1", 100).await, Err(StoreError::Conflict), "it has run out");
    assert_eq!(found(store).await, Some(first));
    assert_eq!(
        ok(store.profiles.publish(&alice, Some(second.clone()), Some("e1"), Millis(99)))
            .await
            .published
            .as_ref(),
        Some(&second)
    );
    let change = Profile { session_history: true, published: None, ..(*made).clone() };
    let changed = ok(store.profiles.put(change)).await;
    assert_eq!((changed.revision, changed.published.as_ref()), (2, Some(&second)));
    let removed = ok(store.profiles.publish(&alice, None, Some("e2"), Millis(99))).await;
    assert_eq!((removed.published.as_ref(), removed.session_history), (None, true));
    assert_eq!(ok(store.profiles.lapsed_publications(Millis::MAX, 9)).await, []);
    let nobody = store.profiles.publish(&BOB.into(), None, Some("e1"), Millis(1)).await;
    assert_eq!(nobody, Err(StoreError::Conflict));
    assert_eq!(ok(store.profiles.profile(&BOB.into())).await, None);
}

// Covers: PF-055, CLI-006
/// It ends with the registration, however that ends; not with one that is none for instant
/// messages, and not with one that was over before.
pub async fn ends_with_the_registration(store: &Store) {
    let alice = UserId::from(ALICE);
    let bind = async |binding: Binding, now| ok(store.registrations.bind(binding, now)).await;
    let publication = offline("e1", 10, u64::MAX);

    bind(binding(ALICE), Millis(0)).await;
    publish(store, &publication).await;
    let refresh = Binding { call_id: "call-2".into(), ..binding(ALICE) };
    bind(refresh, Millis(20)).await;
    assert_eq!(found(store).await, Some(publication.clone()), "a refresh changes nothing");
    ok(store.registrations.unbind(&alice)).await;
    assert_eq!(found(store).await, None);

    let lapses = bind(binding(ALICE), Millis(0)).await;
    let crate::Bound::New(record) = lapses else { panic!("{lapses:?}") };
    publish(store, &publication).await;
    assert!(ok(store.registrations.lapse(&alice, record.lapses_at)).await.is_some());
    assert_eq!(found(store).await, None);
    assert_eq!(ok(store.profiles.lapsed_publications(Millis::MAX, 9)).await, []);

    // A registration that comes when the one before has lapsed, but was not ended yet.
    bind(binding(ALICE), Millis(0)).await;
    publish(store, &publication).await;
    bind(binding(ALICE), record.lapses_at).await;
    assert_eq!(found(store).await, None);
    let late = offline("e2", record.lapses_at.0 * 3, u64::MAX);
    publish(store, &late).await;
    bind(binding(ALICE), Millis(record.lapses_at.0 * 3 + 1)).await;
    assert_eq!(found(store).await, Some(late), "it belongs to the new one already");

    ok(store.registrations.unbind(&alice)).await;
    let telephone = Some(vec![Contact { uri: "sip:a@h".into(), ..Contact::default() }]);
    bind(Binding { contacts: telephone, ..binding(ALICE) }, Millis(0)).await;
    publish(store, &publication).await;
    ok(store.registrations.unbind(&alice)).await;
    assert_eq!(found(store).await, Some(publication));
    assert!(ok(store.profiles.remove(&alice)).await);
    assert_eq!(ok(store.profiles.lapsed_publications(Millis::MAX, 9)).await, []);
}

// Covers: PF-055
/// What has run out is found, the longest first, and ended once.
pub async fn runs_out_once(store: &Store) {
    let (alice, bob) = (UserId::from(ALICE), UserId::from(BOB));
    publish(store, &offline("e1", 0, 200)).await;
    let bobs = Some(offline("e2", 0, 100));
    ok(store.profiles.publish(&bob, bobs, None, Millis(0))).await;
    let lapsed =
        async |now, limit| ok(store.profiles.lapsed_publications(Millis(now), limit)).await;
    assert_eq!(lapsed(99, 9).await, []);
    assert_eq!(lapsed(100, 9).await, std::slice::from_ref(&bob));
    assert_eq!(lapsed(200, 9).await, [bob.clone(), alice.clone()]);
    assert_eq!(lapsed(200, 1).await, std::slice::from_ref(&bob), "the limit holds");
    // A refresh moves the end.
    let again = Some(offline("e3", 150, 300));
    ok(store.profiles.publish(&alice, again, Some("e1"), Millis(150))).await;
    assert!(!ok(store.profiles.end_publication(&alice, Millis(200))).await);
    assert!(ok(store.profiles.end_publication(&bob, Millis(200))).await);
    assert!(!ok(store.profiles.end_publication(&bob, Millis(200))).await, "once");
    assert_eq!(lapsed(300, 9).await, std::slice::from_ref(&alice));
    assert!(ok(store.profiles.end_publication(&alice, Millis(300))).await);
    assert_eq!(found(store).await, None);
    assert_eq!(lapsed(u64::MAX, 9).await, []);
}
