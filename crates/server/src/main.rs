//! The binary `parlance`.

use std::process::ExitCode;

use clap::Parser;
use parlance_server::cli::Cli;

fn main() -> ExitCode {
    Cli::parse().run()
}
