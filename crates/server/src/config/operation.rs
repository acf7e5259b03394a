//! `[http]`, `[log]`, `[events]`, `[history]` and `[shards]`: how the server is operated.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use toml::Value;

use super::section::{Setting, leaf, read_leaf, section};
use super::{Mistakes, Secret, Sip};

section! {
    /// The HTTP listener: /metrics (Prometheus), /healthz, /readyz, and /admin for
    /// `parlance user`, the conferences that run (/admin/sessions) and the record of decisions.
    pub struct Http {
        /// Address and port. Not encrypted: keep it on the host or behind a proxy with TLS.
        pub listen: SocketAddr = SocketAddr::from(([127, 0, 0, 1], 8080));
        /// Token for /admin, at least 16 characters, sent as `Authorization: Bearer TOKEN`. Without
        /// one here, a random one is kept in `admin_token_file`.
        pub admin_token: Option<Secret> = None, example "\"a long random text\"";
        /// File of that token, made readable by its owner only when it is not there; relative to
        /// the data directory.
        pub admin_token_file: PathBuf = PathBuf::from("admin-token");
    }
}

section! {
    /// Logs, on standard error.
    pub struct Log {
        /// `text` or `json`, one object a line.
        pub format: Format = Format::Text;
        /// What is logged: `error`, `warn`, `info`, `debug`, `trace`, and for parts
        /// `info,parlance_isc=debug`. Changed by SIGHUP.
        pub level: String = "info".to_owned();
        /// Whether addresses of users and bodies of messages are shown instead of `…`; the law of
        /// most places forbids it outside tests. Changed by SIGHUP.
        pub show_private: bool = false;
    }
}

section! {
    /// What happens to messages and sessions, for charging, lawful interception and to trace who
    /// sent what: a line of JSON for each step.
    pub struct Events {
        /// The file that lines are added to; its owner alone may read it. Without one there is
        /// none. SIGHUP opens it anew, so that it can be renamed.
        pub file: Option<PathBuf> = None, example "\"/var/log/parlance/events\"";
        /// Lines that may wait for the disk, some 400 octets each and no more than 64 MiB; more are
        /// lost and counted.
        pub lines_max: u64 = 65_536, in 1..=10_000_000;
    }
}

section! {
    /// The conversation history of users who have it active (OMA-TS-SIMPLE_IM §7.2.3.16,
    /// `hist-activation`): a line of JSON for each message that they send or get.
    pub struct History {
        /// The file that lines are added to; its owner alone may read it. Without one there is no
        /// history. With one, sessions of such users are anchored, whatever
        /// `participating.session_media` says, so that their messages pass here; those that have
        /// their conference on this server need not be. SIGHUP opens it anew, so that it can be
        /// renamed.
        pub file: Option<PathBuf> = None, example "\"/var/log/parlance/history\"";
        /// Lines that may wait for the disk, and no more than 64 MiB of them; more are lost and
        /// counted.
        pub lines_max: u64 = 8_192, in 1..=1_000_000;
        /// The identity of the history (`conv-hist-func-uri`): a SIP URI; without one,
        /// `sip:im-history@` and the first domain. Nothing can be fetched there: requests to it are
        /// answered 404.
        pub service_uri: Option<String> = None, example "\"sip:im-history@ims.test\"";
    }
}

impl History {
    /// The identity of the history.
    pub(crate) fn identity(&self, sip: &Sip) -> String {
        self.service_uri.clone().unwrap_or_else(|| sip.service("im-history"))
    }
}

section! {
    /// How the work is shared out.
    pub struct Shards {
        /// Threads that receive and handle requests; 0: one for each processor.
        pub count: u64 = 0, in 0..=64;
    }
}

impl Shards {
    /// How many shards run.
    pub fn effective(&self) -> usize {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        match usize::try_from(self.count) {
            Ok(count) if count > 0 => count.min(64),
            _ => cores.min(64),
        }
    }
}

/// How a log line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// For people.
    Text,
    /// For programs.
    Json,
}

leaf!(Format);
