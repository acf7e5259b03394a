//! Limits with exceptions that can only become fewer and smaller.

use std::collections::BTreeMap;

/// Compares what was measured with a limit. An exception names what may be larger than the limit,
/// and how large it is now: when it shrinks the number here has to follow, and when it is within
/// the limit the exception has to go.
#[track_caller]
pub(crate) fn check(
    limit: usize,
    exceptions: &[(&str, usize)],
    measured: impl IntoIterator<Item = (String, usize)>,
) {
    let mut exceptions: BTreeMap<&str, usize> = exceptions.iter().copied().collect();
    let mut wrong = Vec::new();
    for (name, size) in measured {
        match exceptions.remove(name.as_str()) {
            None if size > limit => wrong.push(format!("{name}: {size}, the limit is {limit}")),
            Some(_) if size <= limit => {
                wrong.push(format!("{name}: {size} is within the limit; take the exception out"));
            }
            Some(known) if size != known => {
                wrong.push(format!("{name}: {size}, and its exception says {known}"));
            }
            None | Some(_) => {}
        }
    }
    wrong.extend(exceptions.keys().map(|name| format!("{name}: an exception for nothing")));
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[cfg(test)]
mod tests {
    fn holds(exceptions: &[(&str, usize)], measured: &[(&str, usize)]) -> bool {
        let measured = measured.iter().map(|(name, size)| ((*name).to_owned(), *size));
        let measured: Vec<_> = measured.collect();
        let exceptions = exceptions.to_vec();
        std::panic::catch_unwind(|| super::check(10, &exceptions, measured)).is_ok()
    }

    #[test]
    fn it_turns_one_way_only() {
        assert!(holds(&[], &[("a", 10), ("b", 3)]));
        assert!(!holds(&[], &[("a", 11)]));
        assert!(holds(&[("a", 12)], &[("a", 12), ("b", 10)]));
        assert!(!holds(&[("a", 12)], &[("a", 13)]), "it grew");
        assert!(!holds(&[("a", 12)], &[("a", 11)]), "it shrank");
        assert!(!holds(&[("a", 12)], &[("a", 10)]), "it needs none");
        assert!(!holds(&[("a", 12)], &[("b", 1)]), "there is no such thing");
    }
}
