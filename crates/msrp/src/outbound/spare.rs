//! Buffers that were written, kept for whoever writes next on this thread.
//!
//! A busy core fills and empties a buffer for each of its connections in every turn; given back to
//! the allocator, their pages go back to the system and are cleared before they come again.

use std::cell::RefCell;

/// Octets of the smallest and of the largest buffer that is kept, powers of two; smaller ones cost
/// the allocator little, and larger ones are rare.
const SMALLEST: u32 = 12;
const LARGEST: u32 = 16;

/// Octets of all that are kept on one thread. Local limit; what is more is freed.
const KEPT_OCTETS_MAX: usize = 4 * 1024 * 1024;

/// What is kept, by the power of two that each has at least.
#[derive(Default)]
struct Kept {
    octets: usize,
    buffers: [Vec<Vec<u8>>; (LARGEST - SMALLEST + 1) as usize],
}

thread_local! {
    static KEPT: RefCell<Kept> = RefCell::default();
}

/// An empty buffer with room for `octets`.
pub(super) fn take(octets: usize) -> Vec<u8> {
    let octets = octets.next_power_of_two();
    let kept = place(octets).and_then(|place| {
        KEPT.with_borrow_mut(|kept| {
            let buffer = kept.buffers.get_mut(place)?.pop()?;
            kept.octets -= buffer.capacity();
            Some(buffer)
        })
    });
    kept.unwrap_or_else(|| Vec::with_capacity(octets))
}

/// Keeps a buffer, or frees it.
pub(super) fn give_back(mut buffer: Vec<u8>) {
    let Some(place) = place(buffer.capacity()) else { return };
    buffer.clear();
    KEPT.with_borrow_mut(|kept| {
        if kept.octets + buffer.capacity() <= KEPT_OCTETS_MAX
            && let Some(buffers) = kept.buffers.get_mut(place)
        {
            kept.octets += buffer.capacity();
            buffers.push(buffer);
        }
    });
}

/// Where buffers of so many octets, or a little more, are kept.
fn place(octets: usize) -> Option<usize> {
    let power = octets.checked_ilog2().filter(|power| *power <= LARGEST)?;
    Some(power.checked_sub(SMALLEST)? as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_given_back_comes_again() {
        let mut buffer = take(5000);
        assert_eq!(buffer.capacity(), 8192);
        buffer.push(1);
        let place = buffer.as_ptr();
        give_back(buffer);
        assert_eq!(take(100).capacity(), 128, "no other size");
        let again = take(8192);
        assert_eq!((again.as_ptr(), again.len(), again.capacity()), (place, 0, 8192));
        let other = take(8192);
        assert_ne!(other.as_ptr(), place, "that one is in use");
    }

    #[test]
    fn no_more_is_kept_than_allowed() {
        let octets = || KEPT.with_borrow(|kept| kept.octets);
        let buffers: Vec<_> = (0..100).map(|_| take(65_536)).collect();
        buffers.into_iter().for_each(give_back);
        assert_eq!(octets(), KEPT_OCTETS_MAX);
        give_back(Vec::with_capacity(1 << 20));
        give_back(Vec::with_capacity(64));
        assert_eq!(octets(), KEPT_OCTETS_MAX);
        drop(take(65_536));
        assert_eq!(octets(), KEPT_OCTETS_MAX - 65_536);
    }
}
