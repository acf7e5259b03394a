//! Checks of what is being exploded.

use super::{explosion, ok};
use crate::{Begun, EXPLODED_WINDOW, ExplosionId, Millis, NewExplosion, Store, StoreError};

const NOW: Millis = Millis(1_000_000);
const MOST: u64 = 100;

/// Begins an explosion that must be new.
async fn begun(store: &Store, new: NewExplosion) -> ExplosionId {
    match ok(store.explosions.begin(new, MOST, NOW)).await {
        Begun::New(id) => id,
        other => panic!("{other:?}"),
    }
}

// Covers: CF-010
/// What was accepted is there, in the order of arrival, until it is finished.
pub async fn keeps_what_it_accepted(store: &Store) {
    let first = begun(store, explosion(1)).await;
    let second = begun(store, explosion(2)).await;
    assert!(first < second);
    let all = |after| store.explosions.explosions(after, 10);
    assert_eq!(ok(all(ExplosionId(0))).await, [first, second]);
    assert_eq!(ok(all(first)).await, [second]);
    assert_eq!(ok(store.explosions.explosions(ExplosionId(0), 1)).await, [first]);
    let kept = ok(store.explosions.explosion(first)).await;
    assert_eq!(kept, Some(explosion(1).numbered(first)));
    assert!(ok(store.explosions.finish(first)).await);
    assert!(!ok(store.explosions.finish(first)).await);
    assert_eq!(ok(store.explosions.explosion(first)).await, None);
    assert_eq!(ok(all(ExplosionId(0))).await, [second]);
}

// Covers: CF-010
/// Each recipient is settled once.
pub async fn settles_each_recipient_once(store: &Store) {
    let id = begun(store, explosion(1)).await;
    let beside = begun(store, explosion(2)).await;
    let settle = |id, place, outcome| store.explosions.settle(id, place, outcome);
    assert!(ok(settle(id, 2, 202)).await);
    assert!(ok(settle(id, 0, 480)).await);
    assert!(!ok(settle(id, 2, 200)).await, "it was done");
    assert!(!ok(settle(id, 3, 200)).await, "there is nobody");
    assert!(!ok(settle(ExplosionId(99), 0, 200)).await);
    let outcomes = |explosion: Option<crate::Explosion>| explosion.map(|found| found.outcomes);
    let expected = Some([(0, 480), (2, 202)].into());
    assert_eq!(outcomes(ok(store.explosions.explosion(id)).await), expected);
    let untouched = outcomes(ok(store.explosions.explosion(beside)).await);
    assert_eq!(untouched, Some([].into()));
    assert!(ok(store.explosions.finish(id)).await);
    assert!(!ok(settle(id, 1, 200)).await);
    assert!(ok(store.explosions.explosion(beside)).await.is_some());
}

// Covers: CF-010
/// A message that comes again is recognised for a while, also when it is finished.
pub async fn recognises_an_explosion(store: &Store) {
    let id = begun(store, explosion(1)).await;
    let again = |at| store.explosions.begin(explosion(1), MOST, at);
    let known = |number, at| store.explosions.known(explosion(number).dedup, at);
    assert_eq!(ok(known(1, NOW)).await, Some(id));
    assert_eq!(ok(known(2, NOW)).await, None);
    assert_eq!(ok(again(NOW)).await, Begun::Duplicate(id));
    ok(store.explosions.finish(id)).await;
    let last = Millis(NOW.0 - 1) + EXPLODED_WINDOW;
    assert_eq!(ok(again(last)).await, Begun::Duplicate(id));
    assert_eq!(ok(known(1, last)).await, Some(id), "also when it is finished");
    assert_eq!(ok(known(1, NOW + EXPLODED_WINDOW)).await, None);
    let Begun::New(later) = ok(again(NOW + EXPLODED_WINDOW)).await else { panic!("it aged") };
    assert!(later > id);
    assert_eq!(ok(again(NOW + EXPLODED_WINDOW)).await, Begun::Duplicate(later));
    let all = ok(store.explosions.explosions(ExplosionId(0), 10)).await;
    assert_eq!(all, [later]);
}

/// There are only so many at a time.
pub async fn bounds_the_explosions(store: &Store) {
    let begin = |number| store.explosions.begin(explosion(number), 2, NOW);
    let Begun::New(first) = ok(begin(1)).await else { panic!("there is room") };
    assert!(matches!(ok(begin(2)).await, Begun::New(_)));
    assert_eq!(ok(begin(3)).await, Begun::Full);
    assert_eq!(ok(begin(1)).await, Begun::Duplicate(first), "it is there");
    ok(store.explosions.finish(first)).await;
    assert!(matches!(ok(begin(3)).await, Begun::New(_)), "refused is not remembered");
}

/// What no implementation takes changes nothing.
pub async fn refuses_an_explosion_too_large(store: &Store) {
    let recipients = vec![String::new(); crate::RECIPIENTS_MAX + 1];
    let large = NewExplosion { recipients, ..explosion(1) };
    let refused = store.explosions.begin(large, MOST, NOW).await;
    assert_eq!(refused, Err(StoreError::Invalid("too many recipients")));
    begun(store, explosion(1)).await;
}
