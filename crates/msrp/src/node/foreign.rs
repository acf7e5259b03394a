//! What belongs to a session of another core, and is passed on as it came.

use bytes::{BufMut, Bytes};

use crate::node::cx::Cx;
use crate::node::{ConnectionId, Output};
use crate::{Continuation, Head, write};

impl Cx {
    /// Passes a head on, with what is there of its body.
    pub(super) fn foreign_head(
        &mut self,
        connection: ConnectionId,
        core: u8,
        head: &Head<'_>,
        body: &[u8],
        end: Option<Continuation>,
    ) {
        if let Some(found) = self.connections.get_mut(connection) {
            found.used = Some(self.now);
            found.shared = true;
        }
        let mut octets = Vec::with_capacity(head.raw.len() + body.len() + 64);
        octets.put_slice(head.raw);
        octets.put_slice(body);
        put_end(&mut octets, head.id(), head.has_body, end);
        self.foreign(connection, core, octets.into());
    }

    /// Passes more of a body on.
    pub(super) fn foreign_body(
        &mut self,
        connection: ConnectionId,
        core: u8,
        id: &[u8],
        body: &[u8],
        end: Option<Continuation>,
    ) {
        let mut octets = Vec::with_capacity(body.len() + 64);
        octets.put_slice(body);
        put_end(&mut octets, id, true, end);
        self.foreign(connection, core, octets.into());
    }

    /// A connection to the core that has the session of ours that `uri` names, if its session-id
    /// says one: what a relay would have to connect to itself for.
    pub(crate) fn join(&mut self, uri: &[u8]) -> Option<ConnectionId> {
        let core = (self.places)(uri).filter(|core| *core < self.cores)?;
        Some(self.connections.to_core(core).unwrap_or_else(|| {
            let connection = self.connections.insert_to_core(self.now, core);
            self.push(Output::Join { connection, core });
            connection
        }))
    }

    fn foreign(&mut self, connection: ConnectionId, core: u8, octets: Bytes) {
        if !octets.is_empty() {
            self.push(Output::Foreign { connection, core, octets });
        }
    }
}

fn put_end(octets: &mut Vec<u8>, id: &[u8], has_body: bool, end: Option<Continuation>) {
    match end {
        None => {}
        Some(end) if has_body => write::body_end(octets, id, end),
        Some(end) => write::end_line(octets, id, end),
    }
}
