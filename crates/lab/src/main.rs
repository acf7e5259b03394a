//! The binary `parlance-lab`: one subcommand per tool of the lab.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use parlance_lab::{demo, load};

/// Tools that stand on the other side of Parlance.
#[derive(Debug, Parser)]
#[command(name = "parlance-lab", version)]
struct Arguments {
    #[command(subcommand)]
    tool: Tool,
}

#[derive(Debug, Subcommand)]
enum Tool {
    /// Pager-mode load: S-CSCF and next hop on one thread.
    Load(Box<load::Options>),
    /// The service in ten seconds: a message delivered, one refused, one deferred and pushed.
    Demo,
}

fn main() -> ExitCode {
    let out = &mut io::stdout().lock();
    let outcome: Result<(), Box<dyn std::error::Error>> = match Arguments::parse().tool {
        Tool::Load(options) => load::command(&options, out).map_err(Into::into),
        Tool::Demo => demo::command(out).map_err(Into::into),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nothing is left to tell when standard error is closed too.
            let _ = writeln!(io::stderr(), "parlance-lab: {error}");
            ExitCode::FAILURE
        }
    }
}
