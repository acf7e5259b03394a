//! The embedded store: the suite, restarts, refusals at opening, failing disks, crashes.

mod crash;
pub(super) mod disk;
mod faults;
mod model;
mod power;

use std::path::Path;
use std::sync::Arc;

use redb::{Database, ReadableTableMetadata, TableDefinition};
use tempfile::TempDir;

use super::tables::{AGENDA, META};
use super::{Embedded, EmbeddedConfig, OpenError, SealKey};
use crate::conformance::{binding, explosion, item, quota};
use crate::{
    Accepted, Access, Audit, AuditEntry, Begun, Bound, Cached, ExplosionId, Explosions, Inboxes,
    Millis, NewItem, Profile, Profiles, Publication, Registrations, Seq, Store, StoreError,
};

const ALICE: &str = "sip:alice@ims.test";

fn config(directory: &Path) -> EmbeddedConfig {
    EmbeddedConfig {
        cache_entries: 64,
        page_cache_octets: 16 << 20,
        ..EmbeddedConfig::new(directory.join("store.redb"))
    }
}

fn sealed(directory: &Path, id: u32) -> EmbeddedConfig {
    EmbeddedConfig { keys: vec![SealKey::new(id, [id as u8; 32])], ..config(directory) }
}

/// A store in a directory that lives as long as the process.
fn fresh(configure: impl Fn(&Path) -> EmbeddedConfig) -> Store {
    let directory = TempDir::new().unwrap();
    let store = Store::of(Arc::new(Embedded::open(configure(directory.path())).unwrap()));
    // The open file stays usable; its name is not needed any more.
    drop(directory);
    store
}

mod plain {
    crate::conformance::suite!(async || super::fresh(super::config));
}

mod sealed_records {
    crate::conformance::suite!(async || super::fresh(|path| super::sealed(path, 1)));
}

fn error(config: EmbeddedConfig) -> OpenError {
    Embedded::open(config).map(|_| ()).unwrap_err()
}

// Covers: PF-003, DF-017, STO-014
#[tokio::test]
async fn everything_survives_a_restart() {
    let directory = TempDir::new().unwrap();
    let profile =
        Profile { aliases: vec!["tel:+1".into()], ..Profile::new(ALICE.into(), Millis(1)) };
    let entry = AuditEntry {
        when: Millis(1),
        who: "ann".into(),
        what: Access::ListItems,
        user: ALICE.into(),
        detail: String::new(),
    };
    let (registration, profile) = {
        let store = Embedded::open(config(directory.path())).unwrap();
        let bound = store.bind(binding(ALICE), Millis(0)).await.unwrap();
        let Bound::New(registration) = bound else { panic!("{bound:?}") };
        store.accept(item(ALICE, 1), quota(), Millis(0)).await.unwrap();
        store.append(entry.clone()).await.unwrap();
        let begun = store.begin(explosion(1), 9, Millis(0)).await.unwrap();
        assert_eq!(begun, Begun::New(ExplosionId(1)));
        assert!(Explosions::settle(&store, ExplosionId(1), 1, 480).await.unwrap());
        (registration, store.put(profile).await.unwrap())
    };
    let store = Embedded::open(config(directory.path())).unwrap();
    assert_eq!(Registrations::cached(&store, ALICE), Cached::Unknown, "read from the file");
    assert_eq!(store.lookup(&ALICE.into()).await.unwrap(), Some(registration.clone()));
    assert_eq!(Registrations::cached(&store, ALICE), Cached::Known(Some(registration.clone())));
    assert_eq!(store.profile(&ALICE.into()).await.unwrap(), Some(profile));
    assert_eq!(store.resolve("tel:+1").await.unwrap(), Some(ALICE.into()));
    assert_eq!(store.newest(0, 9).await.unwrap(), [entry]);
    assert_eq!(store.waiting(), 1);
    let items = store.head(&ALICE.into(), Seq(0), 9).await.unwrap();
    assert_eq!(items, [item(ALICE, 1).numbered(Seq(1))]);
    let again = store.accept(item(ALICE, 1), quota(), Millis(1)).await.unwrap();
    assert_eq!(again, Accepted::Duplicate(Seq(1)));
    let exploding = store.explosion(ExplosionId(1)).await.unwrap();
    let outcomes = exploding.as_ref().map(|exploding| exploding.outcomes.clone());
    assert_eq!(outcomes, Some([(1, 480)].into()));
    let fresh = explosion(1).numbered(ExplosionId(1));
    let exploding = exploding.map(|kept| crate::Explosion { outcomes: [].into(), ..kept });
    assert_eq!(exploding, Some(fresh));
    let begun = store.begin(explosion(1), 9, Millis(1)).await.unwrap();
    assert_eq!(begun, Begun::Duplicate(ExplosionId(1)));
    let more = store.accept(item(ALICE, 2), quota(), Millis(1)).await.unwrap();
    assert_eq!(more, Accepted::Stored(Seq(2)));
    let refreshed = crate::Binding { call_id: "call-2".into(), ..binding(ALICE) };
    let bound = store.bind(refreshed, Millis(1)).await.unwrap();
    let Bound::Refreshed(refreshed) = bound else { panic!("{bound:?}") };
    assert_eq!(refreshed.id, registration.id);
}

#[test]
fn a_second_process_is_refused() {
    let directory = TempDir::new().unwrap();
    let store = Embedded::open(config(directory.path())).unwrap();
    let refused = error(config(directory.path()));
    assert!(matches!(refused, OpenError::Locked(_)), "{refused:?}");
    assert!(refused.to_string().contains("in use by another process"), "{refused}");
    drop(store);
    Embedded::open(config(directory.path())).unwrap();
}

#[test]
fn foreign_files_are_refused_and_left_alone() {
    let directory = TempDir::new().unwrap();
    let path = config(directory.path()).path;
    std::fs::write(&path, "SQLite format 3\0 and so on").unwrap();
    assert!(matches!(error(config(directory.path())), OpenError::Foreign(_)));
    assert_eq!(std::fs::read(&path).unwrap(), b"SQLite format 3\0 and so on");
    std::fs::write(&path, b"re").unwrap();
    assert!(matches!(error(config(directory.path())), OpenError::Foreign(_)));
    std::fs::remove_file(&path).unwrap();
    let other: TableDefinition<u64, u64> = TableDefinition::new("somebody else's");
    let database = Database::create(&path).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction.open_table(other).unwrap().insert(1, 1).unwrap();
    transaction.commit().unwrap();
    drop(database);
    assert!(matches!(error(config(directory.path())), OpenError::Foreign(_)));
}

#[test]
fn a_directory_that_is_not_there_is_told() {
    let missing = error(EmbeddedConfig::new("/nonexistent/store.redb"));
    assert!(matches!(missing, OpenError::Store(StoreError::Io { .. })), "{missing:?}");
}

/// Changes the file below the store.
fn tamper(path: &Path, work: impl FnOnce(&redb::WriteTransaction)) {
    let database = Database::create(path).unwrap();
    let transaction = database.begin_write().unwrap();
    work(&transaction);
    transaction.commit().unwrap();
}

fn set_schema(transaction: &redb::WriteTransaction, version: u32) {
    let mut meta = transaction.open_table(META).unwrap();
    meta.insert("schema", version.to_be_bytes().as_slice()).unwrap();
}

// Covers: STO-014
#[tokio::test]
async fn version_1_is_brought_to_the_present() {
    let directory = TempDir::new().unwrap();
    {
        let store = Embedded::open(sealed(directory.path(), 1)).unwrap();
        let due = NewItem { due: Some(Millis(7)), expires: Millis(9), ..item(ALICE, 1) };
        store.accept(due, quota(), Millis(0)).await.unwrap();
        store.bind(binding(ALICE), Millis(0)).await.unwrap();
        let publication = Publication { etag: "e".into(), ..Publication::default() };
        store.publish(&ALICE.into(), Some(publication), None, Millis(0)).await.unwrap();
    }
    let path = config(directory.path()).path;
    tamper(&path, |transaction| {
        set_schema(transaction, 1);
        assert!(transaction.delete_table(AGENDA).unwrap());
    });
    let store = Embedded::open(sealed(directory.path(), 1)).unwrap();
    assert_eq!(store.due(Millis(7), 9).await.unwrap(), [ALICE.into()]);
    assert_eq!(store.expired(Millis(9), 9).await.unwrap().len(), 1);
    assert_eq!(store.lapsed(Millis::MAX, 9).await.unwrap().len(), 1);
    assert_eq!(store.lapsed_publications(Millis(0), 9).await.unwrap(), [ALICE.into()]);
    drop(store);
    tamper(&path, |transaction| {
        // Registration, due, expiry, dedup keys, publication.
        assert_eq!(transaction.open_table(AGENDA).unwrap().len().unwrap(), 5);
    });
}

// Covers: STO-014
#[test]
fn a_later_version_is_refused() {
    let directory = TempDir::new().unwrap();
    drop(Embedded::open(config(directory.path())).unwrap());
    let path = config(directory.path()).path;
    tamper(&path, |transaction| set_schema(transaction, 99));
    let refused = error(config(directory.path()));
    assert!(matches!(refused, OpenError::Newer { found: 99, known: 5 }), "{refused:?}");
    assert!(refused.to_string().contains("run the later version"), "{refused}");
    tamper(&path, |transaction| set_schema(transaction, 0));
    assert!(matches!(error(config(directory.path())), OpenError::Corrupt(_)));
}

// Covers: DF-014, STO-015
#[tokio::test]
async fn sealed_content_is_not_in_the_file() {
    let directory = TempDir::new().unwrap();
    let mut message = item(ALICE, 1);
    message.payload = bytes::Bytes::from_static(b"the-secret-payload");
    message.originator = "sip:the-secret-sender@ims.test".into();
    let store = Embedded::open(sealed(directory.path(), 1)).unwrap();
    store.accept(message.clone(), quota(), Millis(0)).await.unwrap();
    let scscf = "sip:the-secret-scscf.ims.test".to_owned();
    store.bind(crate::Binding { scscf, ..binding(ALICE) }, Millis(0)).await.unwrap();
    let blocked_content = vec!["the-secret/type".into()];
    let profile = Profile { blocked_content, ..Profile::new(ALICE.into(), Millis(0)) };
    store.put(profile).await.unwrap();
    drop(store);
    for file in ["store.redb", "store.journal"] {
        let octets = std::fs::read(directory.path().join(file)).unwrap();
        assert!(octets.len() > 4096, "{file} was written");
        assert!(!octets.windows(10).any(|window| window == b"the-secret"), "{file}");
    }
    assert!(matches!(error(config(directory.path())), OpenError::KeyMissing(1)));
    let wrong = EmbeddedConfig { keys: vec![SealKey::new(1, [9; 32])], ..config(directory.path()) };
    assert!(matches!(error(wrong), OpenError::WrongKey(1)));
    let store = Embedded::open(sealed(directory.path(), 1)).unwrap();
    let items = store.head(&ALICE.into(), Seq(0), 9).await.unwrap();
    assert_eq!(items, [message.numbered(Seq(1))]);
}

// Covers: DF-014
#[tokio::test]
async fn keys_rotate_and_the_old_one_can_go() {
    let directory = TempDir::new().unwrap();
    let store = Embedded::open(config(directory.path())).unwrap();
    store.accept(item(ALICE, 1), quota(), Millis(0)).await.unwrap();
    drop(store);
    let store = Embedded::open(sealed(directory.path(), 1)).unwrap();
    store.accept(item(ALICE, 2), quota(), Millis(0)).await.unwrap();
    let bound = store.bind(binding(ALICE), Millis(0)).await.unwrap();
    let Bound::New(registration) = bound else { panic!("{bound:?}") };
    let profile = store.put(Profile::new(ALICE.into(), Millis(0))).await.unwrap();
    let entry = AuditEntry {
        when: Millis(1),
        who: "ann".into(),
        what: Access::Purge,
        user: ALICE.into(),
        detail: "all".into(),
    };
    store.append(entry.clone()).await.unwrap();
    store.begin(explosion(1), 9, Millis(0)).await.unwrap();
    drop(store);
    let both = EmbeddedConfig {
        keys: vec![SealKey::new(2, [2; 32]), SealKey::new(1, [1; 32])],
        ..config(directory.path())
    };
    let store = Embedded::open(both.clone()).unwrap();
    // Two heads, two bodies, registration, profile, names, audit entry, list and payload.
    assert_eq!(store.reseal().await.unwrap(), 10);
    assert_eq!(store.reseal().await.unwrap(), 0);
    drop(store);
    let store = Embedded::open(sealed(directory.path(), 2)).unwrap();
    let items = store.head(&ALICE.into(), Seq(0), 9).await.unwrap();
    let expected = [item(ALICE, 1).numbered(Seq(1)), item(ALICE, 2).numbered(Seq(2))];
    assert_eq!(items, expected);
    assert_eq!(store.lookup(&ALICE.into()).await.unwrap(), Some(registration));
    assert_eq!(store.profile(&ALICE.into()).await.unwrap(), Some(profile));
    assert_eq!(store.newest(0, 9).await.unwrap(), [entry]);
    let exploding = store.explosion(ExplosionId(1)).await.unwrap();
    assert_eq!(exploding, Some(explosion(1).numbered(ExplosionId(1))));
}

// A committer on a thread of its own would let the paused clock run past the commit.
#[tokio::test(start_paused = true)]
async fn a_paused_clock_waits_for_the_commit() {
    let directory = TempDir::new().unwrap();
    let store = Embedded::open(config(directory.path())).unwrap();
    let limit = std::time::Duration::from_nanos(1_000_000);
    for number in 0..20 {
        let accepting = store.accept(item(ALICE, number), quota(), Millis(0));
        let accepted = tokio::time::timeout(limit, accepting).await.expect("no time passed");
        assert!(matches!(accepted, Ok(Accepted::Stored(_))), "{accepted:?}");
    }
}

#[test]
fn a_runtime_that_ends_leaves_the_store_usable() {
    let directory = TempDir::new().unwrap();
    let store = Arc::new(Embedded::open(config(directory.path())).unwrap());
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for number in 0..20 {
        let first = runtime();
        let accepting = store.clone();
        first.block_on(async move {
            tokio::spawn(
                async move { accepting.accept(item(ALICE, number), quota(), Millis(0)).await },
            );
            tokio::task::yield_now().await;
        });
        first.shutdown_background();
    }
    let accepted = runtime().block_on(store.accept(item(ALICE, 99), quota(), Millis(0)));
    assert!(matches!(accepted, Ok(Accepted::Stored(_))), "{accepted:?}");
}

#[tokio::test]
async fn what_is_over_the_queue_is_refused() {
    let directory = TempDir::new().unwrap();
    let narrow = EmbeddedConfig { queue_max: 4, ..config(directory.path()) };
    let store = Arc::new(Embedded::open(narrow).unwrap());
    let tasks: Vec<_> = (0..200)
        .map(|number| {
            let store = store.clone();
            tokio::spawn(async move { store.accept(item(ALICE, number), quota(), Millis(0)).await })
        })
        .collect();
    let (mut stored, mut busy) = (0, 0);
    for task in tasks {
        match task.await.unwrap() {
            Ok(Accepted::Stored(_)) => stored += 1,
            Err(StoreError::Busy) => busy += 1,
            other => panic!("{other:?}"),
        }
    }
    assert!(stored >= 4 && busy > 0, "{stored} stored, {busy} refused");
    assert_eq!(store.waiting(), stored);
    let after = store.accept(item(ALICE, 999), quota(), Millis(0)).await;
    assert!(matches!(after, Ok(Accepted::Stored(_))), "{after:?}");
}

#[tokio::test]
async fn the_queue_is_bounded_in_octets_too() {
    let directory = TempDir::new().unwrap();
    let narrow = EmbeddedConfig { queue_octets_max: 1000, ..config(directory.path()) };
    let store = Arc::new(Embedded::open(narrow).unwrap());
    // One that is larger than the bound passes when nothing waits.
    let big = |number| NewItem { payload: vec![7; 2000].into(), ..item(ALICE, number) };
    let tasks: Vec<_> = (0..50)
        .map(|number| {
            let store = store.clone();
            tokio::spawn(async move { store.accept(big(number), quota(), Millis(0)).await })
        })
        .collect();
    let mut busy = 0;
    for task in tasks {
        busy += u32::from(task.await.unwrap() == Err(StoreError::Busy));
    }
    assert!((1..50).contains(&busy), "{busy} refused");
}

// Covers: DF-086
#[tokio::test]
async fn aged_dedup_keys_leave_the_file() {
    let directory = TempDir::new().unwrap();
    let store = Embedded::open(config(directory.path())).unwrap();
    for number in 0..10 {
        let user = format!("sip:user{number}@ims.test");
        store.accept(item(&user, number), quota(), Millis(0)).await.unwrap();
    }
    let later = Millis(0) + crate::DEDUP_WINDOW;
    // Some of his keys go to rows of their own.
    for number in 0..30 {
        store.accept(item("sip:busy@ims.test", number), quota(), Millis(0)).await.unwrap();
    }
    let again = store.accept(item("sip:busy@ims.test", 0), quota(), Millis(1)).await.unwrap();
    assert_eq!(again, Accepted::Duplicate(Seq(1)));
    for number in 0..3 {
        store.accept(item(ALICE, number), quota(), later).await.unwrap();
    }
    drop(store);
    tamper(&config(directory.path()).path, |transaction| {
        let inbox = transaction.open_table(super::tables::INBOX).unwrap();
        let agenda = transaction.open_table(AGENDA).unwrap();
        // A state and an item for each of ten, a state and thirty items, a state and three.
        assert_eq!(inbox.len().unwrap(), 10 * 2 + 31 + 4);
        // The items expire; one recipient has keys left.
        assert_eq!(agenda.len().unwrap(), 43 + 1);
    });
}
