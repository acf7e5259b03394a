use std::sync::Arc;

use super::super::tests::disk::{Disk, JOURNAL};
use super::{BLOCK, FRAME_HEAD, Journal, JournalError, Mark, blocks, head_block};

const MARK: Mark = Mark { identity: [7; 16], generation: 5, closed: false };
const MAX: u64 = 1 << 20;

fn disk(octets: Vec<u8>) -> Arc<Disk> {
    Arc::new(Disk::of([Vec::new(), octets]))
}

fn content(disk: &Disk) -> Vec<u8> {
    disk.content.lock().unwrap()[JOURNAL].clone()
}

fn open(disk: &Arc<Disk>, mark: Option<Mark>) -> Result<Journal, JournalError> {
    Journal::open(disk.journal(), mark, [9; 16], MAX)
}

/// What a start with `mark` finds in a file of `octets`.
fn found(octets: &[u8], mark: Mark) -> Result<Vec<Vec<u8>>, JournalError> {
    let mut records = Vec::new();
    open(&disk(octets.to_vec()), Some(mark))?.replay(|record| {
        records.push(record.to_vec());
        Ok(())
    })?;
    Ok(records)
}

fn frame(record: &[u8]) -> Vec<u8> {
    [&[0; FRAME_HEAD], record].concat()
}

fn records() -> Vec<Vec<u8>> {
    [1, 10_000, 0, 4096 - FRAME_HEAD, 4097 - FRAME_HEAD]
        .iter()
        .enumerate()
        .map(|(number, length)| vec![number as u8; *length])
        .collect()
}

/// A journal with [`records`].
fn written() -> Vec<u8> {
    let disk = disk(head_block(&MARK.identity));
    let mut journal = open(&disk, Some(MARK)).unwrap();
    assert_eq!(journal.replay(|_| unreachable!()).unwrap(), 0);
    for record in records() {
        journal.append(frame(&record)).unwrap();
    }
    content(&disk)
}

#[test]
fn what_was_appended_is_found_in_order_and_again() {
    let octets = written();
    for _ in 0..2 {
        assert_eq!(found(&octets, MARK).unwrap(), records());
    }
    // Another start goes on behind it.
    let disk = disk(octets);
    let mut journal = open(&disk, Some(MARK)).unwrap();
    assert_eq!(journal.replay(|_| Ok(())).unwrap(), 5);
    journal.append(frame(b"more")).unwrap();
    assert_eq!(found(&content(&disk), MARK).unwrap().last().unwrap(), b"more");
}

#[test]
fn a_torn_tail_is_cut_off() {
    let whole = written();
    let last = blocks(FRAME_HEAD + 10_000);
    let short: Vec<u8> = whole.iter().copied().take((2 * BLOCK + last) as usize).collect();
    assert_eq!(found(&short, MARK).unwrap(), records()[..2]);
    // Its octets up to any point; behind it what an earlier generation left there.
    let stale = {
        let disk = disk(head_block(&MARK.identity));
        let mut journal = open(&disk, Some(Mark { generation: 4, ..MARK })).unwrap();
        for _ in 0..8 {
            journal.append(frame(&[4; 3_000])).unwrap();
        }
        content(&disk)
    };
    for cut in (0..FRAME_HEAD + 10_000).step_by(97) {
        let mut octets = stale.clone();
        let from = (2 * BLOCK) as usize;
        octets[BLOCK as usize..from + cut].copy_from_slice(&short[BLOCK as usize..from + cut]);
        assert_eq!(found(&octets, MARK).unwrap(), records()[..1], "cut at {cut}");
    }
    // Any of its blocks missing.
    for block in 2..2 + last / BLOCK {
        let mut octets = short.clone();
        let at = (block * BLOCK) as usize;
        octets[at..at + BLOCK as usize].fill(0);
        assert_eq!(found(&octets, MARK).unwrap(), records()[..1], "without block {block}");
    }
}

#[test]
fn damage_to_what_was_acknowledged_is_refused() {
    let whole = written();
    for at in [BLOCK as usize + 3, BLOCK as usize + FRAME_HEAD, 2 * BLOCK as usize + 5_000] {
        let mut octets = whole.clone();
        octets[at] ^= 1;
        let refused = found(&octets, MARK);
        assert!(matches!(refused, Err(JournalError::Damaged)), "octet {at}: {refused:?}");
    }
    for at in 0..52 {
        let mut octets = whole.clone();
        octets[at] ^= 1;
        let refused = found(&octets, MARK);
        assert!(matches!(refused, Err(JournalError::Damaged)), "head octet {at}: {refused:?}");
    }
    let said = JournalError::Damaged.to_string();
    assert!(said.contains("damaged") && said.contains("restore"), "{said}");
}

#[test]
fn an_earlier_generation_is_done_already() {
    let next = MARK.next(false);
    assert_eq!(found(&written(), next).unwrap(), Vec::<Vec<u8>>::new());
    // And is written over.
    let disk = disk(written());
    let mut journal = open(&disk, Some(next)).unwrap();
    journal.append(frame(b"new")).unwrap();
    assert_eq!(found(&content(&disk), next).unwrap(), [b"new"]);
}

#[test]
fn what_does_not_belong_together_is_refused() {
    let refused = |octets: &[u8], mark| open(&disk(octets.to_vec()), mark).map(drop).unwrap_err();
    let whole = written();
    // The database is older than its journal.
    let older = Mark { generation: 4, ..MARK };
    assert!(matches!(refused(&whole, Some(older)), JournalError::Ahead));
    // Another store's journal, beside a store in use, one that was closed, and a new one.
    let other = Mark { identity: [8; 16], ..MARK };
    for mark in [Some(other), Some(Mark { closed: true, ..other }), None] {
        assert!(matches!(refused(&whole, mark), JournalError::Foreign));
    }
    assert!(matches!(refused(&head_block(&[8; 16]), Some(MARK)), JournalError::Foreign));
    // No journal, although the store was not closed.
    assert!(matches!(refused(&[], Some(MARK)), JournalError::Missing));
    assert!(matches!(refused(&whole[..2_000], Some(MARK)), JournalError::Damaged));
    for error in [JournalError::Ahead, JournalError::Foreign, JournalError::Missing] {
        let said = error.to_string();
        assert!(["restore", "put"].iter().any(|advice| said.contains(advice)), "{said}");
    }
}

#[test]
fn what_needs_no_journal_gets_one() {
    for (octets, mark) in [
        (Vec::new(), None),
        (Vec::new(), Some(Mark { closed: true, ..MARK })),
        // The start of a new store was cut off.
        (head_block(&[8; 16]), None),
        (head_block(&[8; 16])[..100].to_vec(), None),
    ] {
        let disk = disk(octets);
        let mut journal = open(&disk, mark).unwrap();
        let mark = journal.mark();
        assert_eq!(mark.identity, if mark.generation == 5 { [7; 16] } else { [9; 16] });
        assert_eq!(journal.replay(|_| unreachable!()).unwrap(), 0);
        let mark = mark.next(false);
        journal.begin(mark);
        journal.append(frame(b"first")).unwrap();
        assert_eq!(found(&content(&disk), mark).unwrap(), [b"first"]);
    }
    // An empty file that was there before is the operator's word that nothing is missing.
    let medium = super::Medium { made: false, ..disk(Vec::new()).journal() };
    Journal::open(medium, Some(MARK), [9; 16], MAX).unwrap();
}

#[test]
fn a_later_version_is_refused() {
    let mut head = [super::MAGIC.as_slice(), &2_u32.to_be_bytes(), &MARK.identity].concat();
    let digest = super::digest(&[], &head);
    head.extend_from_slice(&digest);
    head.resize(BLOCK as usize, 0);
    let refused = found(&head, MARK);
    assert!(matches!(refused, Err(JournalError::Newer(2))), "{refused:?}");
}

#[test]
fn the_bound_is_told_and_reached() {
    let disk = disk(head_block(&MARK.identity));
    let mut journal = Journal::open(disk.journal(), Some(MARK), [9; 16], 3 * BLOCK).unwrap();
    assert_eq!(journal.room(), 2 * BLOCK as usize - FRAME_HEAD);
    journal.append(frame(&vec![1; journal.room()])).unwrap();
    assert_eq!(journal.room(), 0);
    assert_eq!(content(&disk).len() as u64, 3 * BLOCK);
    journal.begin(MARK.next(false));
    assert_eq!(journal.room(), 2 * BLOCK as usize - FRAME_HEAD);
}
