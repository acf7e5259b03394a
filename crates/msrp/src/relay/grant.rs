//! The URIs that were handed out in a `Use-Path` (RFC 4976 §6.3).

use std::collections::VecDeque;
use std::time::Instant;

use crate::node::ConnectionId;
use crate::pending::Fifo;
use crate::relay::back::Forwarded;
use crate::session::SessionKey;

/// From-Paths that are remembered for each grant, for reports. Local limit: a session has two. At
/// the limit the oldest is forgotten, and no report goes to it.
pub(super) const PATHS_MAX: usize = 8;

/// One URI of a `Use-Path`: it stands in front of one client.
#[derive(Debug)]
pub(super) struct Grant {
    /// The session that the URI is.
    pub(super) session: SessionKey,
    /// Who got it.
    pub(super) client: Client,
    /// The hop back to the client: the first URI of the From-Path of its AUTH.
    pub(super) hop: Box<[u8]>,
    /// Nothing passes any longer from here on.
    pub(super) expires: Instant,
    /// The way to the other side: a URI that was used last, and the connection to it.
    pub(super) remote: Option<(Box<[u8]>, ConnectionId)>,
    /// What was passed on and may be answered.
    pub(super) forwarded: Fifo<Forwarded>,
    /// Where reports go.
    pub(super) paths: Paths,
}

/// Who got a URI.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Client {
    /// A client: the URI is good on the connection its AUTH came on.
    Connection(ConnectionId),
    /// A client behind a relay: it is good on any connection to that.
    Relay {
        /// The name that the relay has proved.
        name: Box<str>,
        /// The connection to it that was used last.
        last: ConnectionId,
    },
}

/// From-Paths, each with a number; those that come again have the same.
#[derive(Debug, Default)]
pub(super) struct Paths {
    paths: VecDeque<Box<[u8]>>,
    /// The number of the first.
    first: u32,
}

impl Paths {
    /// The number of `path`.
    pub(super) fn number(&mut self, path: &[u8]) -> u32 {
        if let Some(at) = self.paths.iter().position(|one| **one == *path) {
            return self.first.wrapping_add(u32::try_from(at).unwrap_or(0));
        }
        if self.paths.len() >= PATHS_MAX {
            self.paths.pop_front();
            self.first = self.first.wrapping_add(1);
        }
        self.paths.push_back(path.into());
        self.first.wrapping_add(u32::try_from(self.paths.len() - 1).unwrap_or(0))
    }

    /// The path with this number, unless it is forgotten.
    pub(super) fn get(&self, number: u32) -> Option<&[u8]> {
        let at = usize::try_from(number.wrapping_sub(self.first)).ok()?;
        self.paths.get(at).map(|path| &**path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_keeps_its_number_until_it_is_forgotten() {
        let mut paths = Paths::default();
        let numbers: Vec<u32> =
            (0..=PATHS_MAX).map(|path| paths.number(format!("msrp://{path}").as_bytes())).collect();
        assert_eq!(numbers, (0..=8).collect::<Vec<u32>>());
        assert_eq!(paths.number(b"msrp://8"), 8);
        assert_eq!(paths.get(8), Some(&b"msrp://8"[..]));
        assert_eq!(paths.get(1), Some(&b"msrp://1"[..]));
        assert_eq!(paths.get(0), None, "forgotten: no report goes to somebody else");
        assert_eq!(paths.number(b"msrp://0"), 9);
        assert_eq!(paths.get(1), None);
        assert_eq!(paths.get(10), None);
    }
}
