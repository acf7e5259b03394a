//! The function as a whole: over a shard, with a scripted network and a scripted deferred function.

mod anchored;
mod bodies;
mod captured;
mod control;
mod deferring;
mod history;
mod media;
mod originating;
mod pre;
mod publishing;
mod services;
mod sessions;
mod terminating;
mod unseen;
mod welcoming;
mod world;

use bytes::Bytes;
use parlance_sip::message::Limits;
use parlance_sip::{Message, Request};

pub(crate) use world::{Script, Setup, World, lines, status};

/// A request from a text.
pub(crate) fn request(text: &str) -> Request {
    octets(Bytes::copy_from_slice(text.as_bytes()))
}

fn octets(bytes: Bytes) -> Request {
    Request::new(message(bytes)).expect("it is a request")
}

fn message(bytes: Bytes) -> Message {
    Message::parse_datagram(bytes, &Limits::default()).expect("it is well-formed")
}

/// A file of `testdata`.
fn testdata(name: &str) -> Bytes {
    let path = format!("{}/testdata/{name}.sip", env!("CARGO_MANIFEST_DIR"));
    Bytes::from(std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}")))
}
