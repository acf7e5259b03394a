//! The buffers that one core reads into.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

/// Octets of one read at most.
pub(crate) const READ_OCTETS: usize = 64 * 1024;

/// Buffers remembered whose octets are still in use; older ones are forgotten and freed by whoever
/// uses them last.
const LENT_MAX: usize = 32;

/// One buffer serves every connection, as long as nobody keeps what was read: then another one is
/// taken, and the kept one comes back when it is free.
#[derive(Default)]
pub(crate) struct Buffers {
    idle: Option<BytesMut>,
    lent: VecDeque<Bytes>,
}

impl Buffers {
    /// A buffer of [`READ_OCTETS`] octets, whatever they are.
    pub(crate) fn take(&mut self) -> BytesMut {
        if let Some(idle) = self.idle.take() {
            return idle;
        }
        for _ in 0..self.lent.len() {
            let Some(oldest) = self.lent.pop_front() else { break };
            match oldest.try_into_mut() {
                Ok(free) => return free,
                Err(used) => self.lent.push_back(used),
            }
        }
        BytesMut::zeroed(READ_OCTETS)
    }

    /// Gives back a buffer that was taken and not frozen.
    pub(crate) fn give_back(&mut self, buffer: BytesMut) {
        self.idle = Some(buffer);
    }

    /// Gives back a buffer of which slices may be in use.
    pub(crate) fn lend(&mut self, buffer: Bytes) {
        match buffer.try_into_mut() {
            Ok(free) => self.idle = Some(free),
            Err(used) => {
                if self.lent.len() >= LENT_MAX {
                    self.lent.pop_front();
                }
                self.lent.push_back(used);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back_when_nobody_uses_it() {
        let mut buffers = Buffers::default();
        let first = buffers.take().freeze();
        let place = first.as_ptr();
        let kept = first.slice(10..20);
        buffers.lend(first);
        let second = buffers.take();
        assert_ne!(second.as_ptr(), place, "it is in use");
        assert_eq!(second.len(), READ_OCTETS);
        drop(kept);
        let third = buffers.take();
        assert_eq!((third.as_ptr(), third.len()), (place, READ_OCTETS));
        buffers.give_back(second);
        assert_eq!(buffers.take().len(), READ_OCTETS);
    }

    #[test]
    fn those_in_use_are_bounded() {
        let mut buffers = Buffers::default();
        let kept: Vec<Bytes> = (0..LENT_MAX + 5)
            .map(|_| {
                let whole = buffers.take().freeze();
                let part = whole.slice(..1);
                buffers.lend(whole);
                part
            })
            .collect();
        assert_eq!(buffers.lent.len(), LENT_MAX);
        drop(kept);
    }
}
