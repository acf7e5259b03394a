//! The binary `parlance-lab`: one subcommand per tool of the lab.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
#[cfg(feature = "flow")]
use parlance_lab::flow;
use parlance_lab::{demo, load, msrp_load};

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
    /// MSRP load: both ends of sessions through a relay, or of rooms at a switch.
    MsrpLoad(Box<msrp_load::Options>),
    /// What an MSRP relay or switch would cost without a protocol: the floor of such loads.
    MsrpFloor(msrp_load::FloorOptions),
    /// The service in ten seconds: a message delivered, one refused, one deferred and pushed, and a
    /// conference.
    Demo,
    /// Plays a flow in virtual time and draws its messages; `list` names the flows.
    #[cfg(feature = "flow")]
    Flow {
        /// The name of the flow, or `list`.
        name: String,
    },
}

fn main() -> ExitCode {
    let out = &mut io::stdout().lock();
    let outcome: Result<(), Box<dyn std::error::Error>> = match Arguments::parse().tool {
        Tool::Load(options) => load::command(&options, out).map_err(Into::into),
        Tool::MsrpLoad(options) => msrp_load::command(&options, out).map_err(Into::into),
        Tool::MsrpFloor(options) => msrp_load::floor(&options, out).map_err(Into::into),
        Tool::Demo => demo::command(out).map_err(Into::into),
        #[cfg(feature = "flow")]
        Tool::Flow { name } => flow::command(&name, out).map_err(Into::into),
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
