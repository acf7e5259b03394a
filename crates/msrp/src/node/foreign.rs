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
