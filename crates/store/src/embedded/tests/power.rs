//! The power fails: at every write to the disk, with any part of what was not synced yet.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::super::{EmbeddedConfig, SealKey};
use super::ALICE;
use super::disk::{DATABASE, Disk, Event, JOURNAL};
use crate::conformance::{item, quota};
use crate::{Accepted, Inboxes, Millis, NewItem, Seq, Settlement, StoreError};

/// Flags an item that was settled.
const SETTLED: u64 = 1 << 32;

fn narrow() -> EmbeddedConfig {
    let keys = vec![SealKey::new(1, [1; 32])];
    EmbeddedConfig { keys, journal_octets_max: 40_000, ..EmbeddedConfig::new("unused") }
}

/// What the disk holds when the power fails after `events`; `luck` picks what else got there.
fn left_by(start: &[Vec<u8>; 2], events: &[Event], mut luck: u64) -> [Vec<u8>; 2] {
    let mut synced = start.clone();
    let mut pending: [Vec<&Event>; 2] = [Vec::new(), Vec::new()];
    for event in events {
        match event {
            Event::Length(file, _) | Event::Write(file, ..) => pending[*file].push(event),
            Event::Sync(file) => {
                pending[*file].drain(..).for_each(|event| put(&mut synced, event, usize::MAX));
            }
            Event::Told(_) => {}
        }
    }
    for event in [DATABASE, JOURNAL].into_iter().flat_map(|file| std::mem::take(&mut pending[file]))
    {
        luck = luck.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        // Everything, nothing, or a part in units of the disk.
        match luck >> 61 {
            0..3 => put(&mut synced, event, usize::MAX),
            3..6 => {}
            part => put(&mut synced, event, part as usize * 512),
        }
    }
    synced
}

fn put(content: &mut [Vec<u8>; 2], event: &Event, most: usize) {
    match event {
        Event::Length(file, length) => content[*file].resize(*length as usize, 0),
        Event::Write(file, offset, data) => {
            let (start, count) = (*offset as usize, data.len().min(most));
            let file = &mut content[*file];
            file.resize(file.len().max(start + count), 0);
            file[start..start + count].copy_from_slice(&data[..count]);
        }
        Event::Sync(_) | Event::Told(_) => {}
    }
}

/// Accepts and settles on `disk`, and tells it what was acknowledged.
async fn use_it(disk: &Arc<Disk>, first: u64) {
    let store = disk.try_open(narrow()).unwrap();
    let until = Millis(1_000_000);
    let fence = store.lease(&ALICE.into(), first, until, Millis(first)).await.unwrap().unwrap();
    for number in first..first + 16 {
        let size = 40 + (number as usize * 977) % 6_000;
        let message = NewItem { payload: vec![7; size].into(), ..item(ALICE, number) };
        let accepted = store.accept(message, quota(), Millis(first)).await.unwrap();
        let Accepted::Stored(seq) = accepted else { panic!("{accepted:?}") };
        disk.tell(number);
        if number.is_multiple_of(3) {
            // From here on both is right, until it is told.
            disk.tell(SETTLED | SETTLED << 1 | number);
            assert!(store.settle(&fence, seq, Settlement::Delivered).await.unwrap());
            disk.tell(SETTLED | number);
        }
    }
    store.release(&fence).await.unwrap();
}

/// Numbers that must be there and numbers that must not, after `events`.
fn told(events: &[Event], before: &BTreeSet<u64>) -> (BTreeSet<u64>, BTreeSet<u64>) {
    let (mut kept, mut gone) = (before.clone(), BTreeSet::new());
    for event in events {
        if let Event::Told(what) = event {
            let number = *what & (SETTLED - 1);
            if *what == number {
                kept.insert(number);
            } else {
                kept.remove(&number);
            }
            if *what == SETTLED | number {
                gone.insert(number);
            }
        }
    }
    (kept, gone)
}

async fn numbers(disk: &Arc<Disk>) -> BTreeSet<u64> {
    let store = disk.try_open(narrow()).unwrap();
    let items = store.head(&ALICE.into(), Seq(0), 10_000).await.unwrap();
    assert!(items.windows(2).all(|pair| pair[0].received < pair[1].received), "in order");
    assert_eq!(store.waiting(), items.len() as u64);
    let counts = store.counts(&ALICE.into()).await.unwrap();
    assert_eq!(counts.items, items.len() as u64);
    assert_eq!(store.expired(Millis::MAX, 10_000).await.unwrap().len(), items.len());
    items.iter().map(|item| item.received.0 - 1_000).collect()
}

// Covers: DF-017, STO-014
#[tokio::test]
async fn what_was_acknowledged_survives_a_power_failure_at_any_write() {
    let first = Arc::new(Disk::default());
    use_it(&first, 0).await;
    let start = first.content.lock().unwrap().clone();
    let before = numbers(&first).await;
    // Again on a store with a history, so that the journal is written over an older one.
    let disk = Arc::new(Disk::of(start.clone()));
    use_it(&disk, 1_000).await;
    let events = disk.events.lock().unwrap().clone();
    let syncs = |of| events.iter().filter(move |event| matches!(event, Event::Sync(f) if *f == of));
    assert!(syncs(JOURNAL).count() > 16 && syncs(DATABASE).count() > 4, "both were written");
    for cut in 0..=events.len() {
        let (kept, gone) = told(&events[..cut], &before);
        for luck in 0..2 {
            let left = left_by(&start, &events[..cut], luck << 7 | cut as u64);
            let crashed = Arc::new(Disk::of(left.clone()));
            let found = numbers(&crashed).await;
            let lost: Vec<_> = kept.difference(&found).collect();
            let back: Vec<_> = gone.intersection(&found).collect();
            assert!(lost.is_empty() && back.is_empty(), "cut {cut} {luck}: {lost:?} {back:?}");
            if cut % 16 == 0 {
                crash_again(&left, &crashed, &found, luck).await;
            }
        }
    }
}

/// The power fails again while the journal is done again: that gives the same.
async fn crash_again(left: &[Vec<u8>; 2], opened: &Disk, found: &BTreeSet<u64>, luck: u64) {
    let events = opened.events.lock().unwrap().clone();
    for cut in (0..=events.len()).step_by(3) {
        let twice = Arc::new(Disk::of(left_by(left, &events[..cut], luck << 9 | cut as u64)));
        assert_eq!(numbers(&twice).await, *found, "cut again at {cut}");
    }
}

// Covers: DF-016
#[tokio::test]
async fn a_full_journal_refuses_and_the_next_change_takes_the_place() {
    use std::sync::atomic::Ordering;
    let disk = Arc::new(Disk::default());
    let store = disk.try_open(narrow()).unwrap();
    store.accept(item(ALICE, 1), quota(), Millis(0)).await.unwrap();
    let opened = disk.opened.load(Ordering::SeqCst);
    for (number, room) in [(2, -1), (3, 100), (4, 4096), (5, 5000)] {
        disk.room.store(room, Ordering::SeqCst);
        let big = NewItem { payload: vec![7; 6_000].into(), ..item(ALICE, number) };
        let refused = store.accept(big, quota(), Millis(0)).await;
        assert!(matches!(refused, Err(StoreError::Full(_))), "{refused:?}");
        disk.room.store(i64::MAX, Ordering::SeqCst);
        let items = store.head(&ALICE.into(), Seq(0), 99).await.unwrap();
        assert!(!items.iter().any(|item| item.received.0 == 1_000 + number), "not seen either");
        store.accept(item(ALICE, 10 + number), quota(), Millis(0)).await.unwrap();
    }
    assert_eq!(disk.opened.load(Ordering::SeqCst), opened, "the database is untouched");
    let crashed = Arc::new(Disk::of(disk.content.lock().unwrap().clone()));
    assert_eq!(numbers(&crashed).await, BTreeSet::from([1, 12, 13, 14, 15]));
    drop(store);
}

#[tokio::test]
async fn a_change_larger_than_the_journal_goes_past_it() {
    let disk = Arc::new(Disk::default());
    let store = disk.try_open(narrow()).unwrap();
    for number in 1..4 {
        let big = NewItem { payload: vec![7; 100_000].into(), ..item(ALICE, number) };
        store.accept(big, quota(), Millis(0)).await.unwrap();
    }
    assert!(disk.content.lock().unwrap()[JOURNAL].len() <= 40_000, "bounded");
    let crashed = Arc::new(Disk::of(disk.content.lock().unwrap().clone()));
    assert_eq!(numbers(&crashed).await, BTreeSet::from([1, 2, 3]));
    drop(store);
}
