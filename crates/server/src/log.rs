//! Logs: text for people or JSON for programs, on standard error.

use std::io;

use parlance_isc::show_private;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::reload;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt};

use crate::config::{Format, Log};

/// Changes what is logged while the server runs.
#[derive(Clone, Debug)]
pub struct LogHandle(reload::Handle<EnvFilter, Registry>);

impl LogHandle {
    /// Takes level and redaction of `log`; the format stays.
    ///
    /// # Errors
    /// The level is none.
    pub fn apply(&self, log: &Log) -> Result<(), ParseError> {
        let filter = filter(log)?;
        // The subscriber lives as long as the process, so the handle is never stale.
        let _ = self.0.reload(filter);
        show_private(log.show_private);
        Ok(())
    }
}

/// Starts logging for the process. Only the first call has an effect on where lines go.
///
/// # Errors
/// The level is none.
pub fn start(log: &Log) -> Result<LogHandle, ParseError> {
    show_private(log.show_private);
    let (subscriber, handle) = subscriber(log, io::stderr)?;
    // A process that embeds the server may have a subscriber of its own, which then stays.
    let _ = tracing::subscriber::set_global_default(subscriber);
    Ok(handle)
}

fn filter(log: &Log) -> Result<EnvFilter, ParseError> {
    EnvFilter::builder().parse(&log.level)
}

fn subscriber<W>(
    log: &Log,
    writer: W,
) -> Result<(impl tracing::Subscriber + Send + Sync, LogHandle), ParseError>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let (filter, handle) = reload::Layer::new(filter(log)?);
    let lines = fmt::layer().with_writer(writer).with_ansi(false);
    let lines: Box<dyn Layer<_> + Send + Sync> = match log.format {
        Format::Text => lines.boxed(),
        Format::Json => lines.json().flatten_event(true).with_span_list(false).boxed(),
    };
    Ok((Registry::default().with(filter).with(lines), LogHandle(handle)))
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};
    use std::sync::{Arc, Mutex};

    use parlance_isc::{Private, show_private};

    use super::subscriber;
    use crate::config::{Format, Log, Secret};

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(octets);
            Ok(octets.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Lines {
        fn take(&self) -> String {
            String::from_utf8(std::mem::take(&mut self.0.lock().unwrap())).unwrap()
        }
    }

    fn say_something() {
        let (user, token) = (Private("sip:alice@ims.test"), Secret::from("a token".to_owned()));
        let body = Private("good morning");
        tracing::info!(call_id = "c1@h", branch = "z9hG4bK-1", %user, ?body, ?token, "delivered");
        tracing::debug!("not at this level");
    }

    // One test, because the switch of redaction is the process's.
    // Covers: SEC-020
    #[test]
    fn users_are_shown_only_when_asked_for_and_secrets_never() {
        let lines = Lines::default();
        let log = Log { format: Format::Json, ..Log::default() };
        let sink = lines.clone();
        let (json, handle) = subscriber(&log, move || sink.clone()).unwrap();
        tracing::subscriber::with_default(json, || {
            say_something();
            let line: serde_json::Value = serde_json::from_str(&lines.take()).unwrap();
            let field = |name: &str| line[name].as_str().unwrap_or_default().to_owned();
            assert_eq!(field("call_id") + &field("branch"), "c1@hz9hG4bK-1");
            assert_eq!([field("user"), field("body"), field("token")], ["…", "…", "…"]);

            let shown = Log { show_private: true, level: "debug".to_owned(), ..log.clone() };
            handle.apply(&shown).unwrap();
            say_something();
            let both = lines.take();
            assert!(both.contains("sip:alice@ims.test") && both.contains("good morning"));
            assert!(!both.contains("a token"), "a secret is never shown");
            assert!(both.contains("not at this level"), "the level is reloaded too");
        });
        show_private(false);

        let sink = lines.clone();
        let (text, _) = subscriber(&Log::default(), move || sink.clone()).unwrap();
        tracing::subscriber::with_default(text, say_something);
        let line = lines.take();
        assert!(line.contains("call_id=\"c1@h\"") && !line.contains("alice"), "{line}");
        let bad = Log { level: "loud=quiet=x".to_owned(), ..Log::default() };
        assert!(subscriber(&bad, io::sink).is_err());
    }
}
