//! A bounded queue from any thread to one core, which it wakes.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mio::Waker;

/// The sending side; the core drains it with [`Mailbox::take`].
pub(crate) struct Mailbox<T> {
    letters_max: usize,
    letters: Mutex<Letters<T>>,
    waker: Arc<Waker>,
}

struct Letters<T> {
    waiting: VecDeque<T>,
    /// The core is gone: nothing is taken any more.
    closed: bool,
}

/// Why a letter was not taken; it is given back.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Returned<T> {
    /// As many wait as may.
    Full(T),
    /// The core is gone.
    Closed(T),
}

impl<T> Mailbox<T> {
    /// Room for `letters_max` letters; `waker` is that of the core's event queue.
    pub(crate) fn new(letters_max: usize, waker: Arc<Waker>) -> Self {
        let letters = Letters { waiting: VecDeque::new(), closed: false };
        Self { letters_max, letters: Mutex::new(letters), waker }
    }

    fn letters(&self) -> MutexGuard<'_, Letters<T>> {
        // A push or a swap is complete in itself, so what a panic left behind is still usable.
        self.letters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends one letter. Never blocks for longer than a push takes.
    ///
    /// # Errors
    /// The letter, when there is no room or nobody to read it.
    pub(crate) fn send(&self, letter: T) -> Result<(), Returned<T>> {
        let mut letters = self.letters();
        if letters.closed {
            return Err(Returned::Closed(letter));
        }
        if letters.waiting.len() >= self.letters_max {
            return Err(Returned::Full(letter));
        }
        letters.waiting.push_back(letter);
        let first = letters.waiting.len() == 1;
        drop(letters);
        if first && let Err(error) = self.waker.wake() {
            // The core looks into its mailbox at each tick all the same.
            tracing::warn!(%error, "a core cannot be woken");
        }
        Ok(())
    }

    /// Sends one letter whether there is room or not: for the few that end everything.
    pub(crate) fn send_always(&self, letter: T) {
        let mut letters = self.letters();
        if !letters.closed {
            letters.waiting.push_back(letter);
            drop(letters);
            // The core looks into its mailbox at each tick all the same.
            let _ = self.waker.wake();
        }
    }

    /// Everything that waits, in exchange for `emptied`, whose memory is used again.
    pub(crate) fn take(&self, emptied: VecDeque<T>) -> VecDeque<T> {
        debug_assert!(emptied.is_empty());
        std::mem::replace(&mut self.letters().waiting, emptied)
    }

    /// Takes nothing any more, and returns what waits.
    pub(crate) fn close(&self) -> VecDeque<T> {
        let mut letters = self.letters();
        letters.closed = true;
        std::mem::take(&mut letters.waiting)
    }

    /// How many letters wait.
    pub(crate) fn len(&self) -> usize {
        self.letters().waiting.len()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use mio::{Events, Poll, Token};

    use super::*;

    #[test]
    fn a_letter_wakes_and_the_room_is_bounded() {
        let mut poll = Poll::new().unwrap();
        let waker = Arc::new(Waker::new(poll.registry(), Token(7)).unwrap());
        let mailbox = Mailbox::new(2, waker);
        let mut woken = || {
            let mut events = Events::with_capacity(4);
            poll.poll(&mut events, Some(Duration::ZERO)).unwrap();
            events.iter().any(|event| event.token() == Token(7))
        };
        assert!(!woken());
        assert_eq!(mailbox.send(1), Ok(()));
        assert!(woken());
        assert_eq!(mailbox.send(2), Ok(()));
        assert!(!woken(), "it is awake already");
        assert_eq!(mailbox.send(3), Err(Returned::Full(3)));
        assert_eq!(mailbox.len(), 2);
        assert_eq!(mailbox.take(VecDeque::new()), [1, 2]);
        assert_eq!(mailbox.send(4), Ok(()));
        assert!(woken());
        assert_eq!(mailbox.close(), [4]);
        assert_eq!(mailbox.send(5), Err(Returned::Closed(5)));
    }
}
