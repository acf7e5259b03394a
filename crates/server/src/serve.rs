//! `parlance serve`: from the start to the last signal.

use std::io;
use std::path::Path;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{MissedTickBehavior, interval};

use crate::config::Config;
use crate::log::LogHandle;
use crate::msrp::Service;
use crate::server::{Server, StartError};

/// How often the server feels its own pulse; local value.
const PULSE_INTERVAL: Duration = Duration::from_secs(1);

/// Why serving ended.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// It did not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// Signals cannot be received.
    #[error("signals cannot be received: {0}")]
    Signals(io::Error),
    /// A shard died.
    #[error("the thread of a shard ended; see the log")]
    Broken,
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

enum Asked {
    End,
    Reload,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> Asked {
        tokio::select! {
            _ = self.terminate.recv() => Asked::End,
            _ = self.interrupt.recv() => Asked::End,
            _ = self.hang_up.recv() => Asked::Reload,
        }
    }

    async fn end(&mut self) {
        while let Asked::Reload = self.next().await {}
    }
}

/// Serves until SIGTERM or SIGINT, then drains; a second one ends at once. SIGHUP reads `file` and
/// the environment again.
///
/// # Errors
/// [`ServeError`].
pub async fn serve(config: Config, file: Option<&Path>, log: &LogHandle) -> Result<(), ServeError> {
    let mut signals = Signals::new().map_err(ServeError::Signals)?;
    let server = Server::start(config).await?;
    announce(&server);
    notify(&[NotifyState::Ready]);
    let ended = run(&server, &mut signals, file, log).await;
    notify(&[NotifyState::Stopping]);
    if ended.is_ok() {
        tracing::info!("draining");
        tokio::select! {
            in_time = server.drain() => {
                if !in_time {
                    tracing::warn!("transactions are still open; ending all the same");
                }
            }
            () = signals.end() => tracing::warn!("told twice to end"),
        }
    }
    server.stop().await;
    tracing::info!("ended");
    ended
}

/// Waits for SIGTERM or SIGINT. On SIGHUP the configuration is read again and given to `reload`,
/// which says what failed.
pub(crate) async fn until_told(
    file: Option<&Path>,
    reload: impl Fn(&Config) -> Vec<String>,
) -> Result<(), ServeError> {
    let mut signals = Signals::new().map_err(ServeError::Signals)?;
    while let Asked::Reload = signals.next().await {
        match crate::cli::load(file) {
            Err(mistakes) => {
                tracing::error!(%mistakes, "not reloaded; the old configuration holds")
            }
            Ok(config) => {
                for error in reload(&config) {
                    tracing::error!(%error, "not reloaded");
                }
            }
        }
    }
    Ok(())
}

async fn run(
    server: &Server,
    signals: &mut Signals,
    file: Option<&Path>,
    log: &LogHandle,
) -> Result<(), ServeError> {
    let watchdog = sd_notify::watchdog_enabled();
    // Twice in each period, so that one late pulse is not the end (sd_watchdog_enabled(3)).
    let every = watchdog.map_or(PULSE_INTERVAL, |period| PULSE_INTERVAL.min(period / 2));
    let mut pulse = interval(every);
    pulse.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            asked = signals.next() => match asked {
                Asked::End => return Ok(()),
                Asked::Reload => reload(server, file, log),
            },
            _ = pulse.tick() => {
                let alive = server.pulse().await;
                if server.is_broken() {
                    return Err(ServeError::Broken);
                }
                match alive {
                    true if watchdog.is_some() => notify(&[NotifyState::Watchdog]),
                    true => {}
                    false => tracing::error!("a shard does not answer"),
                }
            }
        }
    }
}

fn announce(server: &Server) {
    for bound in server.bound() {
        let (transport, address) = (bound.transport, bound.address);
        tracing::info!(%transport, %address, side = ?bound.side, "listening");
    }
    for (protocol, address) in server.msrp().into_iter().flat_map(Service::bound) {
        tracing::info!(%protocol, %address, "MSRP listening");
    }
    tracing::info!(address = %server.http_address(), "HTTP listening");
    tracing::info!(version = env!("CARGO_PKG_VERSION"), "ready");
}

fn reload(server: &Server, file: Option<&Path>, log: &LogHandle) {
    let mut reloading = vec![NotifyState::Reloading];
    reloading.extend(NotifyState::monotonic_usec_now());
    notify(&reloading);
    match crate::cli::load(file) {
        Err(mistakes) => tracing::error!(%mistakes, "not reloaded; the old configuration holds"),
        Ok(config) => {
            if let Err(error) = log.apply(&config.log) {
                tracing::error!(%error, "log level not reloaded");
            }
            let done = server.reload(config);
            tracing::info!(applied = ?done.applied, "reloaded, certificates included");
            if !done.needs_restart.is_empty() {
                let keys = done.needs_restart;
                tracing::warn!(?keys, "changed, but in force only after a restart");
            }
            for error in done.failed {
                tracing::error!(%error, "not reloaded");
            }
        }
    }
    notify(&[NotifyState::Ready]);
}

/// Tells the service manager, if there is one.
fn notify(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "the service manager cannot be told");
    }
}
