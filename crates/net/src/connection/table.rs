//! Which connections there are: by id for answers, by path for requests (RFC 3261 §18.1.1).

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use parlance_sip::{ConnectionId, ListenerId, Target, Transport};

use super::{Connection, Outbound};
use crate::ConnectionLimits;
use crate::admission::{Admission, Admissions, Full};

/// What two requests must share to share a connection.
///
/// The listener is part of it because what arrives on the connection counts as received by that
/// listener, and the listener may decide the session case. The name is part of it because a
/// certificate proves one name, not whoever else is at that address (RFC 5922 §7.3).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Path {
    pub(crate) transport: Transport,
    pub(crate) listener: ListenerId,
    pub(crate) remote: SocketAddr,
    pub(crate) name: Option<Arc<str>>,
}

/// Every connection of a [`crate::Net`].
#[derive(Debug)]
pub(crate) struct Table {
    limits: ConnectionLimits,
    admissions: Arc<Admissions>,
    entries: Mutex<Entries>,
}

#[derive(Debug, Default)]
struct Entries {
    by_id: HashMap<ConnectionId, Arc<Connection>>,
    by_path: HashMap<Path, Arc<Connection>>,
    last_id: u64,
}

impl Table {
    pub(crate) fn new(limits: ConnectionLimits) -> Self {
        let admissions = Admissions::new(limits.total_max, limits.per_source_max);
        Self { limits, admissions: Arc::new(admissions), entries: Mutex::default() }
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        // Each change below is complete in itself, so what a panic left behind is still usable.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes room for one connection; `source` is whom it counts against, if anybody.
    pub(crate) fn admit(&self, source: Option<IpAddr>) -> Result<Admission, Full> {
        self.admissions.admit(source)
    }

    /// The connection to send to `target` on: the one it names, else one with the same path, else
    /// a new one, which the caller must then open.
    pub(crate) fn obtain(
        &self,
        target: &Target,
        path: &Path,
    ) -> Result<(Arc<Connection>, Option<Admission>), Full> {
        let mut entries = self.entries();
        let named = target.connection.and_then(|id| entries.by_id.get(&id));
        let named = named.filter(|connection| connection.transport == target.transport);
        if let Some(connection) = named.or_else(|| entries.by_path.get(path)) {
            return Ok((Arc::clone(connection), None));
        }
        let admission = self.admissions.admit(None)?;
        Ok((self.insert_into(&mut entries, path, true), Some(admission)))
    }

    /// Adds an accepted connection; `requests` says whether requests may be sent on it.
    pub(crate) fn insert(&self, path: &Path, requests: bool) -> Arc<Connection> {
        self.insert_into(&mut self.entries(), path, requests)
    }

    fn insert_into(&self, entries: &mut Entries, path: &Path, requests: bool) -> Arc<Connection> {
        entries.last_id += 1;
        let id = ConnectionId(entries.last_id);
        let outbound =
            Outbound::new(self.limits.outbound_messages_max, self.limits.outbound_octets_max);
        let connection = Arc::new(Connection::new(id, path.transport, outbound));
        entries.by_id.insert(id, Arc::clone(&connection));
        if requests {
            entries.by_path.insert(path.clone(), Arc::clone(&connection));
        }
        connection
    }

    /// The connection stays for answers, but takes no new requests.
    pub(crate) fn retire(&self, path: &Path, id: ConnectionId) {
        let mut entries = self.entries();
        if entries.by_path.get(path).is_some_and(|connection| connection.id == id) {
            entries.by_path.remove(path);
        }
    }

    /// The connection is gone.
    pub(crate) fn remove(&self, path: &Path, id: ConnectionId) {
        self.retire(path, id);
        self.entries().by_id.remove(&id);
    }

    /// Admits nothing any more, and returns what there is.
    pub(crate) fn close(&self) -> Vec<Arc<Connection>> {
        self.admissions.close();
        self.entries().by_id.values().cloned().collect()
    }

    /// Whether no connection has anything to write.
    pub(crate) fn is_flushed(&self) -> bool {
        self.entries().by_id.values().all(|connection| connection.outbound().is_empty())
    }

    /// How many connections there are, those being opened included.
    pub(crate) fn len(&self) -> usize {
        self.entries().by_id.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(total_max: usize, per_source_max: usize) -> Arc<Table> {
        let limits = ConnectionLimits { total_max, per_source_max, ..Default::default() };
        Arc::new(Table::new(limits))
    }

    fn path(listener: u16, name: Option<&str>) -> Path {
        Path {
            transport: Transport::Tls,
            listener: ListenerId(listener),
            remote: "192.0.2.1:5061".parse().unwrap(),
            name: name.map(Arc::from),
        }
    }

    fn target(connection: Option<ConnectionId>) -> Target {
        Target {
            transport: Transport::Tls,
            remote: "192.0.2.1:5061".parse().unwrap(),
            listener: ListenerId(0),
            connection,
        }
    }

    #[test]
    fn requests_share_a_path_and_answers_find_their_connection() {
        let table = table(9, 9);
        let named = path(0, Some("scscf.test"));
        let (scscf, opened) = table.obtain(&target(None), &named).unwrap();
        assert!(opened.is_some(), "a new one");
        let accepted = table.insert(&path(0, None), false);
        assert_eq!(found(&table, None, &named), Some(scscf.id));
        assert_eq!(found(&table, None, &path(0, Some("other.test"))), None, "another name");
        assert_eq!(found(&table, None, &path(1, Some("scscf.test"))), None, "another listener");
        assert_eq!(found(&table, Some(accepted.id), &named), Some(accepted.id));
        let tcp = Target { transport: Transport::Tcp, ..target(Some(accepted.id)) };
        let path = Path { transport: Transport::Tcp, ..path(0, None) };
        assert!(table.obtain(&tcp, &path).unwrap().1.is_some(), "another transport");
    }

    #[test]
    fn a_request_without_room_is_refused() {
        let table = table(1, 1);
        let (_connection, _room) = table.obtain(&target(None), &path(0, None)).unwrap();
        assert!(table.obtain(&target(None), &path(0, None)).is_ok(), "it is there already");
        assert_eq!(table.obtain(&target(None), &path(1, None)).unwrap_err(), Full::Total);
    }

    /// The connection that is there for a target; `None` when a new one would be opened.
    fn found(
        table: &Arc<Table>,
        connection: Option<ConnectionId>,
        path: &Path,
    ) -> Option<ConnectionId> {
        let (connection, opened) = table.obtain(&target(connection), path).unwrap();
        if opened.is_some() {
            table.remove(path, connection.id);
        }
        opened.is_none().then_some(connection.id)
    }

    #[test]
    fn a_retired_connection_still_answers() {
        let table = table(9, 9);
        let key = path(0, Some("scscf.test"));
        let old = table.insert(&key, true);
        let new = table.insert(&key, true);
        table.retire(&key, old.id);
        assert_eq!(found(&table, None, &key), Some(new.id));
        table.retire(&key, new.id);
        assert_eq!(found(&table, None, &key), None);
        assert_eq!(found(&table, Some(old.id), &key), Some(old.id));
        table.remove(&key, old.id);
        assert_eq!(found(&table, Some(old.id), &key), None);
        assert_eq!(table.len(), 1);
    }
}
