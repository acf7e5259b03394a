//! The binary `parlance`: configuration, wiring, administration and signals.
//!
//! It joins the parts of the other crates into a server: sockets of `net`, shards of `isc`, the
//! roles, the store. It holds no protocol of its own. Start with [`Config`] and [`Server`].
//!
//! **Invariant:** a configuration is checked as a whole, and every mistake told, before a port is
//! bound or a file made.
//!
//! **Invariant:** secrets (keys, tokens, hashes of passwords) are wrapped in types that print `…`.

pub mod admin;
pub mod assembly;
pub mod cli;
pub mod client;
pub mod config;
pub mod digest;
pub mod event_file;
pub mod history_file;
pub mod http;
pub mod line_file;
pub mod log;
mod measure;
mod media;
pub mod msrp;
mod record_files;
pub mod serve;
pub mod server;
mod shards;
pub mod sockets;
pub mod storage;
mod wire;

pub use assembly::{Assembly, Parts};
pub use config::{Config, Mistakes};
pub use server::Server;
