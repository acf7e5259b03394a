//! The configuration: a TOML file, then the environment; read and checked as a whole.
//!
//! Each section is a table of its keys in a file of its own; the
//! shipped `deploy/parlance.toml` is written from these tables by a test.

mod check;
mod controlling;
mod document;
mod explode;
mod mistakes;
mod msrp;
mod net;
mod operation;
mod roles;
mod secret;
pub(crate) mod section;
mod settings;
mod sip;
mod store;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use toml::Table;

pub use controlling::Controlling;
pub use explode::Explode;
pub use mistakes::{Mistake, Mistakes};
pub use msrp::{Msrp, MsrpListen, MsrpPeer, TlsUse};
pub use net::Net;
pub use operation::{Events, Format, History, Http, Log, Shards};
pub use roles::{Deferred, Participating, ProvisioningName, Registration, UnknownUserName};
pub use secret::Secret;
pub use section::Tables;
pub use settings::Settings;
pub use sip::{Authentication, Kind, Listen, PeerTable, Side, Sip, TransportName};
pub use store::Store;

pub(crate) use check::host_port;
pub(crate) use net::size;
use section::{Documented, Reader, Section, Variable};

/// What begins the name of every variable of the environment that sets a key.
const PREFIX: &str = "PARLANCE_";

/// Defines the whole out of its sections.
macro_rules! sections {
    ($($(#[doc = $about:literal])* $name:ident: $section:ty,)*) => {
        /// The whole configuration. Its default is what runs without a file.
        #[derive(Clone, Debug, Default, PartialEq)]
        pub struct Config {
            $($(#[doc = $about])* pub $name: $section,)*
        }

        impl Config {
            /// The keys, `section.key`, whose values differ in `other`.
            pub fn changed(&self, other: &Self) -> Vec<String> {
                let mut keys = Vec::new();
                $(for key in Section::changed(&self.$name, &other.$name) {
                    keys.push(format!("{}.{key}", stringify!($name)));
                })*
                keys
            }
        }

        /// The names of the sections, in order.
        const SECTIONS: &[&str] = &[$(stringify!($name)),*];

        fn documented() -> Vec<(&'static str, Documented)> {
            vec![$((stringify!($name), <$section>::documented())),*]
        }

        fn read(
            mut take: impl FnMut(&str, &mut Mistakes) -> Table,
            environment: &mut BTreeMap<String, Variable>,
            mistakes: &mut Mistakes,
        ) -> Config {
            Config {
                $($name: {
                    let name = stringify!($name);
                    let table = take(name, mistakes);
                    let mut reader = Reader::new(name.to_owned(), table, environment, mistakes);
                    let section = <$section as Section>::read(&mut reader);
                    reader.finish();
                    section
                },)*
            }
        }
    };
}

sections! {
    /// Signalling.
    sip: Sip,
    /// The network below it.
    net: Net,
    /// What must survive.
    store: Store,
    /// Registrations.
    registration: Registration,
    /// What users may send and get.
    participating: Participating,
    /// What users publish about their service.
    settings: Settings,
    /// Groups and conferences.
    controlling: Controlling,
    /// One message to many.
    explode: Explode,
    /// Messages for users who are away.
    deferred: Deferred,
    /// Sessions, rooms and relays of MSRP.
    msrp: Msrp,
    /// The HTTP listener.
    http: Http,
    /// Logs.
    log: Log,
    /// What happens to messages and sessions.
    events: Events,
    /// What users have said and heard.
    history: History,
    /// How the work is shared out.
    shards: Shards,
}

impl Config {
    /// Reads `file`, if there is one, and `environment`, and checks the result.
    ///
    /// # Errors
    /// Every mistake of both.
    pub fn load(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, Mistakes> {
        let text = match file {
            None => String::new(),
            Some(file) => std::fs::read_to_string(file)
                .map_err(|error| Mistakes::one(&file.display().to_string(), error.to_string()))?,
        };
        let (config, mut mistakes) = Self::parse(&text, environment);
        config.check(&mut mistakes);
        if mistakes.is_empty() { Ok(config) } else { Err(mistakes) }
    }

    /// The configuration that `text` and `environment` describe, with the defaults where they say
    /// nothing of use, and what is wrong with them. Looks at no file; see [`Config::check`].
    pub fn parse(
        text: &str,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> (Self, Mistakes) {
        let mut mistakes = Mistakes::default();
        let mut table = text.parse::<Table>().unwrap_or_else(|error| {
            let line = error.span().map_or(1, |span| line_of(text, span.start));
            mistakes.add(&format!("line {line}"), error.message().to_owned());
            Table::new()
        });
        let mut variables = environment_of(environment);
        let take = |name: &str, mistakes: &mut Mistakes| match table.remove(name) {
            None => Table::new(),
            Some(toml::Value::Table(table)) => table,
            Some(_) => {
                mistakes.add(name, format!("must be a section, [{name}]"));
                Table::new()
            }
        };
        let config = read(take, &mut variables, &mut mistakes);
        for name in table.keys() {
            let known = SECTIONS.join(", ");
            mistakes.add(name, format!("unknown section; known are {known}"));
        }
        for variable in variables.values() {
            mistakes.add(&variable.name, "sets no key that is known".to_owned());
        }
        (config, mistakes)
    }

    /// The documented file: every key with its comment and its default.
    pub fn document() -> String {
        document::document(&documented())
    }

    /// Where the token of the administration interface is kept.
    pub fn admin_token_path(&self) -> PathBuf {
        self.store.path.join(&self.http.admin_token_file)
    }
}

/// The variables that set keys, by `section.key`. One without `__` is not meant for us.
fn environment_of(
    environment: impl IntoIterator<Item = (String, String)>,
) -> BTreeMap<String, Variable> {
    let key = |name: &str| {
        let (section, key) = name.strip_prefix(PREFIX)?.split_once("__")?;
        Some(format!("{section}.{key}").to_ascii_lowercase())
    };
    let of = |(name, text): (String, String)| Some((key(&name)?, Variable { name, text }));
    environment.into_iter().filter_map(of).collect()
}

fn line_of(text: &str, octet: usize) -> usize {
    1 + text.bytes().take(octet).filter(|octet| *octet == b'\n').count()
}

#[cfg(test)]
mod tests;
