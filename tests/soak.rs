//! Everything the service does, for an hour, against the binary over real sockets: messages, stored
//! messages, sessions of two, conferences, a chat room, clients that fail. Its memory must be flat
//! then, and once everybody has left nothing may be left.
//!
//! `SOAK_MINUTES=60 cargo test --release -p parlance-tests --test soak -- --nocapture`; without
//! the variable an hour with `PARLANCE_LONG=1`, and not at all otherwise.

#[cfg(test)]
#[path = "soak/cast.rs"]
mod cast;
#[cfg(test)]
#[path = "soak/load.rs"]
mod load;
#[cfg(test)]
#[path = "soak/run.rs"]
mod run;
#[cfg(test)]
#[path = "soak/server.rs"]
mod server;
#[cfg(test)]
#[path = "soak/sessions.rs"]
mod sessions;
#[cfg(test)]
#[path = "soak/watch.rs"]
mod watch;

#[test]
fn memory_is_flat_and_nothing_is_left() {
    let Some(duration) = run::duration() else { return };
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_all().build().expect("there are threads");
    let tasks = tokio::task::LocalSet::new();
    tasks.block_on(&runtime, run::soak(duration));
}
