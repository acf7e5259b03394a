//! Disks that fail or fill up, and files with damaged octets.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tempfile::TempDir;

use super::super::{Embedded, EmbeddedConfig};
use super::disk::Disk;
use super::{ALICE, config, sealed};
use crate::conformance::{binding, item, quota};
use crate::{
    Accepted, Inboxes, Millis, NewItem, Profile, Profiles, Registrations, Seq, StoreError,
};

fn open(disk: &Arc<Disk>) -> Embedded {
    let narrow = EmbeddedConfig { journal_octets_max: 64 << 10, ..EmbeddedConfig::new("unused") };
    disk.try_open(narrow).unwrap()
}

// Covers: DF-016, DF-017
#[tokio::test(start_paused = true)]
async fn a_full_disk_refuses_loses_nothing_and_recovers() {
    let disk = Arc::new(Disk::default());
    let store = open(&disk);
    store.bind(binding(ALICE), Millis(0)).await.unwrap();
    let mut acknowledged = Vec::new();
    let mut number = 0;
    for room in [300_000, 150_000, 60_000, 5_000, 0] {
        disk.room.store(room, Ordering::SeqCst);
        let failure = loop {
            number += 1;
            match store.accept(item(ALICE, number), quota(), Millis(0)).await {
                Ok(Accepted::Stored(_)) => acknowledged.push(number),
                Ok(other) => panic!("{other:?}"),
                Err(failure) => break failure,
            }
        };
        assert!(matches!(failure, StoreError::Full(_)), "{failure:?}");
        let still = store.accept(item(ALICE, 0), quota(), Millis(0)).await;
        assert!(still.is_err(), "{still:?}");
        // Room again: no restart is needed.
        disk.room.store(i64::MAX, Ordering::SeqCst);
        tokio::time::advance(std::time::Duration::from_secs(2)).await;
        number += 1;
        let accepted = store.accept(item(ALICE, number), quota(), Millis(0)).await;
        assert!(matches!(accepted, Ok(Accepted::Stored(_))), "{accepted:?}");
        acknowledged.push(number);
    }
    assert!(acknowledged.len() > 12, "{}", acknowledged.len());
    assert!(disk.opened.load(Ordering::SeqCst) > 5);
    assert_kept(&store, &acknowledged).await;
    drop(store);
    assert_kept(&open(&disk), &acknowledged).await;
}

/// Every message that was acknowledged is in the inbox.
async fn assert_kept(store: &Embedded, acknowledged: &[u64]) {
    let kept = store.head(&ALICE.into(), Seq(0), 10_000).await.unwrap();
    let kept: Vec<_> = kept.iter().map(|item| item.received.0 - 1_000).collect();
    let lost: Vec<_> = acknowledged.iter().filter(|number| !kept.contains(number)).collect();
    assert_eq!(lost, [&0; 0]);
    assert_eq!(store.waiting(), kept.len() as u64);
    assert!(store.lookup(&ALICE.into()).await.unwrap().is_some());
}

// Covers: DF-016
#[tokio::test(start_paused = true)]
async fn a_failed_disk_is_left_alone_for_a_while() {
    let disk = Arc::new(Disk::default());
    let store = open(&disk);
    disk.room.store(-1, Ordering::SeqCst);
    // Past the journal, into the database.
    let big = |number| NewItem { payload: vec![7; 100_000].into(), ..item(ALICE, number) };
    for number in 0..50 {
        assert!(store.accept(big(number), quota(), Millis(0)).await.is_err());
    }
    let opened = disk.opened.load(Ordering::SeqCst);
    assert!(opened <= 3, "opened {opened} times");
    tokio::time::advance(std::time::Duration::from_secs(2)).await;
    assert!(store.accept(big(0), quota(), Millis(0)).await.is_err());
    assert!(disk.opened.load(Ordering::SeqCst) > opened, "tried again");
}

#[tokio::test]
async fn damage_to_one_record_hurts_nobody_else() {
    let directory = TempDir::new().unwrap();
    let store = Embedded::open(sealed(directory.path(), 1)).unwrap();
    for user in [ALICE, "sip:bob@ims.test"] {
        store.accept(item(user, 1), quota(), Millis(0)).await.unwrap();
        store.put(Profile::new(user.into(), Millis(0))).await.unwrap();
    }
    drop(store);
    super::tamper(&config(directory.path()).path, |transaction| {
        let state = super::super::keys::state(ALICE);
        let mut inbox = transaction.open_table(super::super::tables::INBOX).unwrap();
        inbox.insert(state.as_slice(), b"rubbish".as_slice()).unwrap();
        let mut profiles = transaction.open_table(super::super::tables::PROFILES).unwrap();
        profiles.insert(ALICE, b"\x01rubbish".as_slice()).unwrap();
    });
    let store = Arc::new(Embedded::open(sealed(directory.path(), 1)).unwrap());
    let tasks = [ALICE, "sip:bob@ims.test", "sip:carol@ims.test", ALICE].map(|user| {
        let store = store.clone();
        tokio::spawn(async move { store.accept(item(user, 2), quota(), Millis(0)).await })
    });
    let mut outcomes = Vec::new();
    for task in tasks {
        outcomes.push(matches!(task.await.unwrap(), Ok(Accepted::Stored(_))));
    }
    assert_eq!(outcomes, [false, true, true, false]);
    let corrupt = store.profile(&ALICE.into()).await;
    assert!(matches!(corrupt, Err(StoreError::Corrupt(_))), "{corrupt:?}");
    assert!(store.profile(&"sip:bob@ims.test".into()).await.unwrap().is_some());
    // Nor when the keys of the damaged inbox age out, and housekeeping comes by.
    let later = Millis(0) + crate::DEDUP_WINDOW;
    for number in 10..13 {
        let accepted = store.accept(item("sip:bob@ims.test", number), quota(), later).await;
        assert!(matches!(accepted, Ok(Accepted::Stored(_))), "{accepted:?}");
    }
}

#[tokio::test]
async fn a_damaged_item_hides_no_other_and_can_be_purged() {
    let directory = TempDir::new().unwrap();
    let store = Embedded::open(sealed(directory.path(), 1)).unwrap();
    for number in 1..=3 {
        store.accept(item(ALICE, number), quota(), Millis(0)).await.unwrap();
    }
    drop(store);
    super::tamper(&config(directory.path()).path, |transaction| {
        let key = super::super::keys::item(ALICE, Seq(1));
        let mut inbox = transaction.open_table(super::super::tables::INBOX).unwrap();
        inbox.insert(key.as_slice(), b"\x01rubbish".as_slice()).unwrap();
    });
    let store = Embedded::open(sealed(directory.path(), 1)).unwrap();
    let expired = store.expired(Millis::MAX, 9).await.unwrap();
    assert_eq!(expired.iter().map(|item| item.seq.0).collect::<Vec<_>>(), [2, 3]);
    assert!(store.remove(&ALICE.into()).await.unwrap());
    assert_eq!(store.head(&ALICE.into(), Seq(0), 9).await.unwrap(), []);
}

#[tokio::test]
async fn damaged_files_never_panic_the_caller() {
    let directory = TempDir::new().unwrap();
    let settings = EmbeddedConfig { page_cache_octets: 1 << 20, ..sealed(directory.path(), 1) };
    let store = Embedded::open(settings.clone()).unwrap();
    for number in 0..200 {
        store.accept(item(ALICE, number), quota(), Millis(0)).await.unwrap();
    }
    store.bind(binding(ALICE), Millis(0)).await.unwrap();
    drop(store);
    let whole = std::fs::read(&settings.path).unwrap();
    let quiet = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| ()));
    let mut refused = 0;
    for round in 0..60_usize {
        let mut octets = whole.clone();
        // A fixed walk over the file: deterministic, and denser at its head.
        let at = if round < 20 { round * 16 } else { round * 7919 * 13 % octets.len() };
        for octet in octets.iter_mut().skip(at).take(64) {
            *octet ^= 0x5A;
        }
        if round % 7 == 6 {
            octets.truncate(octets.len() / 2);
        }
        std::fs::write(&settings.path, &octets).unwrap();
        match Embedded::open(settings.clone()) {
            Err(_) => refused += 1,
            Ok(store) => {
                let _ = store.head(&ALICE.into(), Seq(0), 1000).await;
                let _ = store.lookup(&ALICE.into()).await;
                let _ = store.accept(item(ALICE, 9999), quota(), Millis(0)).await;
            }
        }
    }
    std::panic::set_hook(quiet);
    assert!(refused > 5, "{refused}");
}
