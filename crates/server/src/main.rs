//! The binary `parlance`.

use std::process::ExitCode;

use clap::Parser;
use parlance_server::cli::Cli;
use tikv_jemallocator::Jemalloc;

/// What one thread takes another gives back all the time here. With that the allocator of the
/// system grows for hours, by some MB in each, while no more is in use; this one does not.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    Cli::parse().run()
}
