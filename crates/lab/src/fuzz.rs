//! A mutator in the process, over everything that reads what a peer sent.
//!
//! [`Target`] names a reader; [`fuzz`] feeds it inputs made from a corpus by random changes until
//! the time is over. A panic is caught and comes back with the seed and the input, so that it can
//! be repeated and become a row of a table. [`growth`] feeds inputs of doubling size and counts
//! what a reader gives out, which must not grow faster than the input.

mod corpus;
mod documents;
mod grow;
mod msrp;
mod msrp_node;
mod mutate;
mod target;

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::time::Instant;

pub use corpus::own as own_corpus;
pub use grow::{Growth, INPUT_OCTETS_MAX, growth};
pub use target::Target;

use mutate::mutate;

/// What a run without failure did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// Inputs read.
    pub inputs: u64,
    /// What the reader gave out in all; see [`Target::read`].
    pub items: u64,
}

/// A reader panicked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The reader.
    pub target: &'static str,
    /// The seed of the run.
    pub seed: u64,
    /// The number of the input in it.
    pub number: u64,
    /// The input.
    pub input: Vec<u8>,
    /// What the panic said.
    pub message: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { target, seed, number, input, message } = self;
        write!(f, "{target} panicked: {message}; seed {seed}, input {number}: ")?;
        write!(f, "b\"{}\"", input.escape_ascii())
    }
}

/// Inputs between two looks at the clock.
const BATCH: u64 = 64;

/// Feeds `target` the corpus, and then inputs made from it, for `time` (and a little more).
///
/// # Errors
/// [`Failure`]: it panicked. The panic hook has printed the panic by then.
pub fn fuzz(
    target: Target,
    corpus: &[Vec<u8>],
    seed: u64,
    time: Duration,
) -> Result<Run, Box<Failure>> {
    let mut random = StdRng::seed_from_u64(seed);
    let end = Instant::now() + time;
    let mut run = Run { inputs: 0, items: 0 };
    let mut read = |input: Vec<u8>| {
        run.inputs += 1;
        let items = feed(target, seed, run.inputs, input)?;
        run.items += items;
        Ok::<(u64, u64), Box<Failure>>((run.inputs, items))
    };
    // What the reader understands is nearer to its dark corners than what it refuses at once.
    let mut understood = Vec::new();
    let mut number = 0;
    for input in corpus {
        let items;
        (number, items) = read(input.clone())?;
        if items > 0 {
            understood.push(input);
        }
    }
    let all: Vec<&Vec<u8>> = corpus.iter().collect();
    while number % BATCH != 0 || Instant::now() < end {
        let near = !understood.is_empty() && random.random_bool(0.9);
        let from = if near { &understood } else { &all };
        let Some(start) = from.get(random.random_range(0..from.len().max(1))) else { break };
        (number, _) = read(mutate(start, corpus, &mut random))?;
    }
    Ok(run)
}

fn feed(target: Target, seed: u64, number: u64, input: Vec<u8>) -> Result<u64, Box<Failure>> {
    let read = catch_unwind(AssertUnwindSafe(|| target.read(&input)));
    read.map_err(|panic| {
        let message = said(&*panic);
        Box::new(Failure { target: target.name(), seed, number, input, message })
    })
}

fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
    text.unwrap_or_else(|| "a panic without text".to_owned())
}

#[cfg(test)]
mod tests {
    use super::{Target, feed, own_corpus};

    #[test]
    fn a_panic_is_caught_with_what_repeats_it() {
        let failure = feed(Target::Broken, 7, 3, b"boom\r\n".to_vec()).unwrap_err();
        let text = failure.to_string();
        assert_eq!(text, "a reader that panics panicked: boom; seed 7, input 3: b\"boom\\r\\n\"");
        assert!(feed(Target::Broken, 7, 4, b"calm".to_vec()).is_ok());
    }

    #[test]
    fn one_seed_gives_the_same_inputs() {
        use rand::SeedableRng;
        let corpus = own_corpus();
        let made = |seed| {
            let mut random = rand::rngs::StdRng::seed_from_u64(seed);
            let start = &corpus[0];
            (0..50).map(|_| super::mutate(start, &corpus, &mut random)).collect::<Vec<_>>()
        };
        assert_eq!(made(1), made(1));
        assert_ne!(made(1), made(2));
    }
}
