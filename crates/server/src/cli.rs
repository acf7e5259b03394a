//! The command line.

mod ifc;
mod msrp;
mod user;

use std::fmt::Display;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use tokio::runtime::{Builder, Runtime};

use crate::config::Config;
use crate::serve;

use ifc::IfcArgs;
use msrp::{RelayArgs, RoomArgs};
use user::UserCommand;

/// Parlance, an instant-messaging application server for IMS.
#[derive(Debug, Parser)]
#[command(version, about)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    source: Source,
}

/// Where the configuration comes from.
#[derive(Args, Clone, Debug, Default)]
pub struct Source {
    /// The configuration file; without one the defaults hold. The environment
    /// (PARLANCE_SECTION__KEY) goes before both.
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the server; also what runs without a command.
    Serve,
    /// Checks the configuration and lists every mistake.
    CheckConfig,
    /// Prints the filter criteria to give to the HSS, for the addresses of the configuration.
    Ifc(IfcArgs),
    /// Provisions and inspects users and their stored messages.
    #[command(subcommand)]
    User(UserCommand),
    /// Runs the MSRP relay of the configuration, without SIP.
    MsrpRelay(RelayArgs),
    /// Opens MSRP sessions and prints their URIs as JSON, to load MSRP without SIP.
    MsrpRoom(RoomArgs),
}

/// What went wrong: a wrong configuration or use is told apart from a failure.
enum Failed {
    Usage(String),
    Failure(String),
}

impl Failed {
    fn failure(error: impl Display) -> Self {
        Self::Failure(error.to_string())
    }
}

impl Cli {
    /// Does what was asked. Exit status 2 for a wrong configuration, 1 for any other failure.
    pub fn run(self) -> ExitCode {
        let source = self.source;
        let done = match self.command.unwrap_or(Command::Serve) {
            Command::Serve => run_server(&source),
            Command::CheckConfig => check_config(&source),
            Command::Ifc(args) => print_ifc(&source, &args),
            Command::User(command) => run_user(&source, command),
            Command::MsrpRelay(args) => {
                run_msrp(&source, |config, file| msrp::relay(config, file, args))
            }
            Command::MsrpRoom(args) => {
                run_msrp(&source, |config, file| msrp::room(config, file, args))
            }
        };
        let (status, text) = match done {
            Ok(()) => return ExitCode::SUCCESS,
            Err(Failed::Usage(text)) => (2, text),
            Err(Failed::Failure(text)) => (1, text),
        };
        // Nothing is left to do when standard error is closed.
        let _ = writeln!(io::stderr(), "parlance: {text}");
        ExitCode::from(status)
    }
}

impl Source {
    fn load(&self) -> Result<Config, Failed> {
        load(self.config.as_deref()).map_err(Failed::Usage)
    }
}

/// Reads the configuration.
///
/// # Errors
/// A text that lists every mistake.
pub(crate) fn load(file: Option<&Path>) -> Result<Config, String> {
    let environment = std::env::vars_os()
        .filter_map(|(name, text)| Some((name.into_string().ok()?, text.into_string().ok()?)));
    Config::load(file, environment).map_err(|mistakes| {
        let place = file.map_or("the environment".to_owned(), |file| file.display().to_string());
        let count = mistakes.iter().count();
        let noun = if count == 1 { "mistake" } else { "mistakes" };
        format!("{count} {noun} in the configuration ({place}):\n{mistakes}")
    })
}

fn run_server(source: &Source) -> Result<(), Failed> {
    let config = source.load()?;
    let log = crate::log::start(&config.log).map_err(Failed::failure)?;
    runtime()?
        .block_on(serve::serve(config, source.config.as_deref(), &log))
        .map_err(Failed::failure)
}

fn check_config(source: &Source) -> Result<(), Failed> {
    source.load()?;
    let place =
        source.config.as_ref().map_or("the default".to_owned(), |file| file.display().to_string());
    print(&format!("{place}: the configuration is right\n"))
}

fn print_ifc(source: &Source, args: &IfcArgs) -> Result<(), Failed> {
    let config = source.load()?;
    print(&args.render(&config).map_err(Failed::Usage)?)
}

fn run_user(source: &Source, command: UserCommand) -> Result<(), Failed> {
    let config = source.load()?;
    let shown = runtime()?.block_on(user::run(&config, command)).map_err(Failed::Failure)?;
    let text = serde_json::to_string_pretty(&shown).map_err(Failed::failure)?;
    print(&format!("{text}\n"))
}

fn run_msrp<'a, F: Future<Output = Result<(), Failed>>>(
    source: &'a Source,
    run: impl FnOnce(Config, Option<&'a Path>) -> F,
) -> Result<(), Failed> {
    let config = source.load()?;
    crate::log::start(&config.log).map_err(Failed::failure)?;
    runtime()?.block_on(run(config, source.config.as_deref()))
}

fn runtime() -> Result<Runtime, Failed> {
    Builder::new_current_thread().enable_all().build().map_err(Failed::failure)
}

/// Prints to standard output; a reader that went away (`| head`) is no failure.
fn print(text: &str) -> Result<(), Failed> {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failed::failure(error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::{Cli, Command};

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn without_a_command_it_serves() {
        let parsed = |args: &[&str]| Cli::try_parse_from([&["parlance"], args].concat());
        assert!(parsed(&[]).unwrap().command.is_none());
        let bare = parsed(&["--config", "x"]).unwrap();
        assert!(bare.command.is_none() && bare.source.config.is_some());
        let named = parsed(&["serve", "--config", "x"]).unwrap();
        assert!(matches!(named.command, Some(Command::Serve)) && named.source.config.is_some());
        assert!(parsed(&["fly"]).is_err());
        assert!(
            parsed(&["user", "inbox", "sip:a@b", "--show", "1"]).is_err(),
            "a reason is needed"
        );
        assert!(parsed(&["user", "set", "sip:a@b"]).is_err(), "a change is needed");
    }
}
