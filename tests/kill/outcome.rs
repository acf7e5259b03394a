//! What must hold after the last message, and the figures.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::recipient::Delivery;
use crate::sender::Stream;

/// All that was accepted came, and nothing else; of each sender in order; nothing again once the
/// server knew that it had arrived.
pub(crate) fn check(accepted: &[Stream], delivery: &Delivery) {
    let mut wrong = Vec::new();
    for stream in accepted {
        if !stream.refused.is_empty() {
            wrong.push(format!("{stream:?}"));
        }
        let expected: Vec<usize> = (0..stream.accepted).collect();
        let key = (stream.user.to_owned(), stream.sender.to_owned());
        let found = delivery.first.get(&key).cloned().unwrap_or_default();
        if found != expected {
            let missing = expected.iter().filter(|number| !found.contains(number)).count();
            let ordered = found.is_sorted_by(|one, other| one < other);
            wrong.push(format!(
                "{key:?}: {} of {} came, {missing} are missing, in order: {ordered}",
                found.len(),
                stream.accepted
            ));
        }
    }
    wrong.extend(delivery.faults.iter().cloned());
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    assert!(delivery.absorbed > 0, "no request that was under way at a kill was sent again");
}

/// Prints the figures.
pub(crate) fn report(kills: usize, accepted: &[Stream], delivery: &Delivery, took: Duration) {
    let mut answers: BTreeMap<&str, usize> = BTreeMap::new();
    for stream in accepted {
        *answers.entry("202").or_default() += stream.accepted;
        *answers.entry("repeated until answered").or_default() += stream.repeated;
    }
    println!(
        "{kills} kills in {:.1} s: {answers:?}; delivered {}, sent again after a kill and absorbed \
         {}, retransmitted {}, delivered twice {}",
        took.as_secs_f64(),
        delivery.first.values().map(Vec::len).sum::<usize>(),
        delivery.absorbed,
        delivery.retransmitted,
        delivery.duplicates,
    );
}
