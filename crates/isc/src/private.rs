//! What must not stand in a log (OMA-TS-SIMPLE_IM §8.3).

use std::fmt;
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether [`Private`] values are shown. One switch for the process, as logs are one stream.
static SHOWN: AtomicBool = AtomicBool::new(false);

/// Shows or hides what [`Private`] wraps, in the whole process. Hidden by default; the operator
/// asks for it in the configuration.
pub fn show_private(shown: bool) {
    SHOWN.store(shown, Ordering::Relaxed);
}

/// An address or a message body of a user: usable as what it is, printed as `…` unless
/// [`show_private`] says otherwise.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Private<T>(pub T);

impl<T> Deref for Private<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> From<T> for Private<T> {
    fn from(value: T) -> Self {
        Self(value)
    }
}

impl<T: fmt::Display> fmt::Display for Private<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if SHOWN.load(Ordering::Relaxed) { self.0.fmt(f) } else { f.write_str("…") }
    }
}

impl<T: fmt::Debug> fmt::Debug for Private<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if SHOWN.load(Ordering::Relaxed) { self.0.fmt(f) } else { f.write_str("…") }
    }
}

#[cfg(test)]
mod tests {
    use super::{Private, show_private};

    // One test, because the switch is the process's.
    // Covers: SEC-020
    #[test]
    fn private_values_are_shown_only_when_asked_for() {
        let alice = Private("sip:alice@ims.test".to_owned());
        assert_eq!(format!("{alice} {alice:?}"), "… …");
        assert_eq!(format!("{:?}", Some(alice.clone())), "Some(…)");
        assert_eq!(alice.len(), 18);
        show_private(true);
        let shown = alice.to_string();
        show_private(false);
        assert_eq!(shown, "sip:alice@ims.test");
    }
}
