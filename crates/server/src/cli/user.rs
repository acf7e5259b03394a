//! `parlance user`: through the running server, or on the store when none runs.

use std::time::SystemTime;

use clap::Subcommand;
use parlance_store::{Millis, Store};
use serde_json::Value;

use crate::admin::{Account, Admin, Command};
use crate::client::{self, ClientError};
use crate::config::Config;
use crate::{http, storage};

/// What to do with users.
#[derive(Clone, Debug, Subcommand)]
pub(super) enum UserCommand {
    /// Adds a user, with the default profile and these changes.
    Add {
        /// The identity that names him.
        user: String,
        /// `key=value`; see `set`.
        changes: Vec<String>,
    },
    /// Shows profile, registration and size of the inbox.
    Show {
        /// One of his identities.
        user: String,
    },
    /// Changes a profile: `barred=true`, `rights.pager=false`, `reject+=sip:eve@ims.test`,
    /// `accept-=domain:spam.test`, `deferral=push-message`, `lists.friends+=sip:carol@ims.test` and
    /// then `accept+=list:friends`.
    Set {
        /// One of his identities.
        user: String,
        /// The changes: key=value, and for lists key+=value and key-=value.
        #[arg(required = true)]
        changes: Vec<String>,
    },
    /// Removes everything kept about a user, stored messages included.
    Remove {
        /// One of his identities.
        user: String,
    },
    /// Lists profiles.
    List {
        /// The user before the first one.
        #[arg(long)]
        after: Option<String>,
        /// At most so many.
        #[arg(long, default_value_t = 100)]
        limit: usize,
    },
    /// Lists the stored messages of a user, without content.
    Inbox {
        /// One of his identities.
        user: String,
        /// Shows one message with its content.
        #[arg(long, value_name = "SEQ", requires = "reason", conflicts_with = "discard")]
        show: Option<u64>,
        /// Removes one message.
        #[arg(long, value_name = "SEQ", requires = "reason")]
        discard: Option<u64>,
        /// Why; kept in the audit trail.
        #[arg(long)]
        reason: Option<String>,
        /// The number before the first one.
        #[arg(long, default_value_t = 0)]
        after: u64,
        /// At most so many.
        #[arg(long, default_value_t = 100)]
        limit: usize,
    },
    /// Lists who looked at or changed what, newest first.
    Audit {
        /// So many are left out.
        #[arg(long, default_value_t = 0)]
        skip: usize,
        /// At most so many.
        #[arg(long, default_value_t = 100)]
        limit: usize,
    },
}

impl From<UserCommand> for Command {
    fn from(command: UserCommand) -> Self {
        match command {
            UserCommand::Add { user, changes } => Self::Add { user, changes },
            UserCommand::Show { user } => Self::Show { user },
            UserCommand::Set { user, changes } => Self::Set { user, changes },
            UserCommand::Remove { user } => Self::Remove { user },
            UserCommand::List { after, limit } => Self::List { after, limit },
            UserCommand::Inbox { user, show, discard, reason, after, limit } => {
                let reason = reason.unwrap_or_default();
                match (show, discard) {
                    (Some(seq), _) => Self::Content { user, seq, reason },
                    (None, Some(seq)) => Self::Discard { user, seq, reason },
                    (None, None) => Self::Inbox { user, after, limit },
                }
            }
            UserCommand::Audit { skip, limit } => Self::Audit { skip, limit },
        }
    }
}

/// Does `command` and returns what it shows.
///
/// # Errors
/// In words.
pub(super) async fn run(config: &Config, command: UserCommand) -> Result<Value, String> {
    let command = Command::from(command);
    let operator = operator();
    if client::is_running(config.http.listen).await {
        let token = http::read_admin_token(config).map_err(|error| error.to_string())?;
        let sent = client::send(config.http.listen, &token, &operator, &command).await;
        match sent {
            // It ended between the two.
            Err(ClientError::NotRunning(_)) => {}
            sent => return sent.map_err(|error| error.to_string()),
        }
    }
    let store = storage::open(config).await.map_err(|error| error.to_string())?;
    on_store(store, operator, command).await
}

async fn on_store(store: Store, operator: String, command: Command) -> Result<Value, String> {
    #[expect(clippy::disallowed_methods, reason = "the time of an entry made by hand")]
    let admin = Admin::new(store, || Millis::from(SystemTime::now()));
    let account = Account { proof: "store", name: operator };
    admin.run(&account, command).await.map_err(|error| error.to_string())
}

/// The name of who runs the command, as the system has it.
fn operator() -> String {
    let user = nix::unistd::User::from_uid(nix::unistd::Uid::current());
    match user {
        Ok(Some(user)) => user.name,
        _ => nix::unistd::Uid::current().to_string(),
    }
}
