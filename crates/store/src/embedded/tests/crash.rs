//! A process that is killed: what it acknowledged is there afterwards.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use tempfile::TempDir;

use super::super::Embedded;
use super::sealed;
use crate::conformance::{item, quota};
use crate::{Accepted, Inboxes, Millis, Seq, Settlement, UserId};

/// Names the directory to a child process.
const DIRECTORY: &str = "PARLANCE_STORE_CRASH_DIRECTORY";
/// Names its first message number.
const FIRST: &str = "PARLANCE_STORE_CRASH_FIRST";

const USERS: u64 = 8;

fn user(number: u64) -> UserId {
    UserId::from(format!("sip:user{}@ims.test", number % USERS))
}

fn say(line: std::fmt::Arguments<'_>) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").unwrap();
    out.flush().unwrap();
}

/// The child: accepts messages, settles every third, and says so after each answer.
async fn run(directory: &Path, first: u64) {
    let store = Arc::new(Embedded::open(sealed(directory, 1)).unwrap());
    let lanes = (0..USERS).map(|lane| {
        let store = store.clone();
        tokio::spawn(async move {
            let owner = user(lane);
            let until = Millis(1_000_000 + first);
            let fence = store.lease(&owner, first, until, Millis(first)).await.unwrap().unwrap();
            for number in (first + lane..).step_by(USERS as usize) {
                let message = item(owner.as_str(), number);
                match store.accept(message, quota(), Millis(first)).await.unwrap() {
                    Accepted::Stored(seq) => {
                        say(format_args!("+{number}"));
                        if number % 3 == 0 {
                            let how = Settlement::Delivered;
                            assert!(store.settle(&fence, seq, how).await.unwrap());
                            say(format_args!("-{number}"));
                        }
                    }
                    other => panic!("{other:?}"),
                }
            }
        })
    });
    for lane in lanes.collect::<Vec<_>>() {
        lane.await.unwrap();
    }
}

// Covers: DF-017, STO-014
#[tokio::test]
async fn what_was_acknowledged_survives_a_kill() {
    if let Ok(directory) = std::env::var(DIRECTORY) {
        let first = std::env::var(FIRST).unwrap().parse().unwrap();
        return run(Path::new(&directory), first).await;
    }
    let directory = TempDir::new().unwrap();
    let (mut accepted, mut settled) = (BTreeSet::new(), BTreeSet::new());
    for round in 0..4_u64 {
        let first = round * 1_000_000_000 * USERS;
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "embedded::tests::crash::what_was_acknowledged_survives_a_kill"])
            .args(["--nocapture", "--test-threads=1"])
            .env(DIRECTORY, directory.path())
            .env(FIRST, first.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut heard = |line: &str| match line.split_at_checked(1) {
            Some(("+", number)) => number.parse().is_ok_and(|number| accepted.insert(number)),
            Some(("-", number)) => number.parse().is_ok_and(|number| settled.insert(number)),
            _ => false,
        };
        let wanted = 150 + round * 77;
        let mut count = 0;
        while count < wanted {
            count += u64::from(heard(&lines.next().expect("the child runs").unwrap()));
        }
        child.kill().unwrap();
        // What it said before it died counts as well; its last line may be cut.
        while let Some(Ok(line)) = lines.next() {
            if line.len() > 1 {
                heard(&line);
            }
        }
        child.wait().unwrap();
    }
    let store = Embedded::open(sealed(directory.path(), 1)).unwrap();
    let mut kept = BTreeSet::new();
    for lane in 0..USERS {
        let items = store.head(&user(lane), Seq(0), 10_000).await.unwrap();
        assert!(items.windows(2).all(|pair| pair[0].received < pair[1].received), "in order");
        kept.extend(items.iter().map(|item| item.received.0 - 1_000));
    }
    let lost: Vec<_> = accepted.difference(&settled).filter(|n| !kept.contains(n)).collect();
    // A settlement whose line was not heard is no loss.
    let lost: Vec<_> = lost.into_iter().filter(|number| *number % 3 != 0).collect();
    assert_eq!(lost, [&0; 0], "acknowledged and lost");
    let back: Vec<_> = settled.intersection(&kept).collect();
    assert_eq!(back, [&0; 0], "settled and back");
    assert!(accepted.len() > 400 && settled.len() > 100, "{} {}", accepted.len(), settled.len());
    assert_eq!(store.waiting(), kept.len() as u64);
}
