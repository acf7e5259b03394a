//! What an operator does to users and their stored messages, and the audit trail of it.
//!
//! A [`Command`] is the same whether it comes over HTTP to a running server or is done on the store
//! by `parlance user` while none runs.
//!
//! **Invariant:** what belongs to a user is given out or changed only after the audit entry about
//! it is durable (DF-014).

mod command;
mod edit;

use parlance_sip::uri::Aor;
use parlance_store::{
    Access, AuditEntry, Creation, Item, Millis, Profile, Seq, Store, StoreError, UserId, Withdrawn,
};
use serde_json::{Value, json};

pub use command::{Account, Command, Method, encode};
pub use edit::edit;

/// Most entries of one listing; local limit.
pub const LIST_MAX: usize = 1_000;

/// Longest reason and account name kept in the audit trail, in octets; longer ones are cut.
const TEXT_OCTETS_MAX: usize = 256;

/// Why a command was not done.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// There is no such user, or no such message.
    #[error("there is no {0}")]
    NotFound(String),
    /// The user is there already.
    #[error("{0} exists already; change it with set")]
    Exists(String),
    /// The caller's mistake; each is named.
    #[error("{}", .0.join("; "))]
    Invalid(Vec<String>),
    /// The message is being sent at this moment.
    #[error("the message is being sent; try again in a minute")]
    InFlight,
    /// The store failed.
    #[error("{0}")]
    Store(#[from] StoreError),
}

impl AdminError {
    fn invalid(what: impl Into<String>) -> Self {
        Self::Invalid(vec![what.into()])
    }
}

/// Does commands on a store.
pub struct Admin {
    store: Store,
    now: Box<dyn Fn() -> Millis + Send + Sync>,
    changed: Option<Box<Told>>,
}

/// Hears whose profile was changed.
type Told = dyn Fn(&UserId) + Send + Sync;

impl Admin {
    /// Works on `store`; `now` tells the time for audit entries.
    pub fn new(store: Store, now: impl Fn() -> Millis + Send + Sync + 'static) -> Self {
        Self { store, now: Box::new(now), changed: None }
    }

    /// Tells `changed` whose profile was changed, afterwards.
    #[must_use]
    pub fn told(mut self, changed: impl Fn(&UserId) + Send + Sync + 'static) -> Self {
        self.changed = Some(Box::new(changed));
        self
    }

    /// Does `command` for `account` and returns what it shows.
    ///
    /// # Errors
    /// [`AdminError`]; then nothing was changed, unless the store failed in the middle.
    pub async fn run(&self, account: &Account, command: Command) -> Result<Value, AdminError> {
        match command {
            Command::List { after, limit } => self.list(account, after, limit).await,
            Command::Show { user } => self.show(account, &user).await,
            Command::Add { user, changes } => self.add(account, &user, &changes).await,
            Command::Set { user, changes } => self.set(account, &user, &changes).await,
            Command::Remove { user } => self.remove(account, &user).await,
            Command::Inbox { user, after, limit } => self.inbox(account, &user, after, limit).await,
            Command::Content { user, seq, reason } => {
                self.content(account, &user, Seq(seq), &reason).await
            }
            Command::Discard { user, seq, reason } => {
                self.discard(account, &user, Seq(seq), &reason).await
            }
            Command::Audit { skip, limit } => self.audit(skip, limit).await,
        }
    }

    /// Notes that `account` is to see a conference that runs, or with `*` the list of them.
    ///
    /// # Errors
    /// [`AdminError::Store`]; then it must not be shown.
    pub async fn saw_session(
        &self,
        account: &Account,
        session: &str,
        detail: String,
    ) -> Result<(), AdminError> {
        self.note(account, Access::ReadSession, &UserId::from(session), detail).await
    }

    async fn list(
        &self,
        account: &Account,
        after: Option<String>,
        limit: usize,
    ) -> Result<Value, AdminError> {
        let after = after.as_deref().map(identity).transpose()?;
        let profiles = self.store.profiles.list(after.as_ref(), limit.min(LIST_MAX)).await?;
        let all = UserId::from("*");
        self.note(account, Access::ReadProfile, &all, format!("list of {}", profiles.len()))
            .await?;
        Ok(profiles.iter().map(|profile| json!(&**profile)).collect())
    }

    async fn show(&self, account: &Account, user: &str) -> Result<Value, AdminError> {
        let user = self.find(user).await?;
        self.note(account, Access::ReadProfile, &user, String::new()).await?;
        let profile = self.store.profiles.profile(&user).await?;
        let registration = self.store.registrations.lookup(&user).await?;
        let now = (self.now)();
        let registration = registration.filter(|known| !known.has_lapsed(now));
        let counts = self.store.inboxes.counts(&user).await?;
        if profile.is_none() && registration.is_none() && counts.items == 0 {
            return Err(AdminError::NotFound(format!("user {user}")));
        }
        Ok(json!({
            "user": user.as_str(),
            "profile": profile.as_deref(),
            "registration": registration.as_deref(),
            "inbox": { "messages": counts.items, "octets": counts.octets },
        }))
    }

    async fn add(
        &self,
        account: &Account,
        user: &str,
        changes: &[String],
    ) -> Result<Value, AdminError> {
        let user = identity(user)?;
        // All changes are judged before anything is made.
        edit(&Profile::new(user.clone(), Millis(0)), changes).map_err(AdminError::Invalid)?;
        self.note(account, Access::ChangeProfile, &user, "added".to_owned()).await?;
        let made = match self.store.profiles.create_default(&user, (self.now)()).await? {
            Creation::Created(profile) => profile,
            Creation::Existing(_) => return Err(AdminError::Exists(format!("user {user}"))),
        };
        if changes.is_empty() {
            return Ok(json!(&*made));
        }
        let changed = edit(&made, changes).map_err(AdminError::Invalid)?;
        Ok(json!(&*self.store.profiles.put(changed).await?))
    }

    /// Changes a profile, or makes one for a user who is only registered.
    async fn set(
        &self,
        account: &Account,
        user: &str,
        changes: &[String],
    ) -> Result<Value, AdminError> {
        if changes.is_empty() {
            return Err(AdminError::invalid("no change is named"));
        }
        let user = self.find(user).await?;
        edit(&Profile::new(user.clone(), Millis(0)), changes).map_err(AdminError::Invalid)?;
        self.note(account, Access::ChangeProfile, &user, changes.join(" ")).await?;
        let known = match self.store.profiles.create_default(&user, (self.now)()).await? {
            Creation::Created(profile) | Creation::Existing(profile) => profile,
        };
        let changed = edit(&known, changes).map_err(AdminError::Invalid)?;
        let written = self.store.profiles.put(changed).await?;
        if let Some(changed) = &self.changed {
            changed(&user);
        }
        Ok(json!(&*written))
    }

    async fn remove(&self, account: &Account, user: &str) -> Result<Value, AdminError> {
        let user = self.find(user).await?;
        self.note(account, Access::Purge, &user, String::new()).await?;
        if !self.store.profiles.remove(&user).await? {
            return Err(AdminError::NotFound(format!("user {user}")));
        }
        Ok(json!({ "removed": user.as_str() }))
    }

    async fn inbox(
        &self,
        account: &Account,
        user: &str,
        after: u64,
        limit: usize,
    ) -> Result<Value, AdminError> {
        let user = self.find(user).await?;
        self.note(account, Access::ListItems, &user, String::new()).await?;
        let items = self.store.inboxes.head(&user, Seq(after), limit.min(LIST_MAX)).await?;
        Ok(items.iter().map(without_content).collect())
    }

    async fn content(
        &self,
        account: &Account,
        user: &str,
        seq: Seq,
        reason: &str,
    ) -> Result<Value, AdminError> {
        let user = self.find(user).await?;
        let item = self.item(&user, seq).await?;
        self.note_with_reason(account, Access::ReadContent, &user, seq, reason).await?;
        let mut shown = without_content(&item);
        if let Value::Object(fields) = &mut shown {
            fields.insert("content".to_owned(), content(&item));
        }
        Ok(shown)
    }

    async fn discard(
        &self,
        account: &Account,
        user: &str,
        seq: Seq,
        reason: &str,
    ) -> Result<Value, AdminError> {
        let user = self.find(user).await?;
        self.item(&user, seq).await?;
        self.note_with_reason(account, Access::RemoveItem, &user, seq, reason).await?;
        match self.store.inboxes.withdraw(&user, seq, (self.now)()).await? {
            Withdrawn::Removed => Ok(json!({ "removed": seq.0 })),
            Withdrawn::InFlight => Err(AdminError::InFlight),
            Withdrawn::Gone => Err(AdminError::NotFound(format!("message {}", seq.0))),
        }
    }

    async fn audit(&self, skip: usize, limit: usize) -> Result<Value, AdminError> {
        let entries = self.store.audit.newest(skip, limit.min(LIST_MAX)).await?;
        Ok(entries.iter().map(|entry| json!(entry)).collect())
    }

    async fn item(&self, user: &UserId, seq: Seq) -> Result<Item, AdminError> {
        let before = Seq(seq.0.saturating_sub(1));
        let items = self.store.inboxes.head(user, before, 1).await?;
        let item = items.into_iter().find(|item| item.seq == seq);
        item.ok_or_else(|| AdminError::NotFound(format!("message {} of {user}", seq.0)))
    }

    /// The user an identity belongs to; one that nobody claimed stands for itself.
    async fn find(&self, text: &str) -> Result<UserId, AdminError> {
        let identity = identity(text)?;
        let owner = self.store.profiles.resolve(identity.as_str()).await?;
        Ok(owner.unwrap_or(identity))
    }

    async fn note_with_reason(
        &self,
        account: &Account,
        what: Access,
        user: &UserId,
        seq: Seq,
        reason: &str,
    ) -> Result<(), AdminError> {
        if reason.trim().is_empty() {
            return Err(AdminError::invalid("a reason is needed: it is kept in the audit trail"));
        }
        self.note(account, what, user, format!("message {}: {reason}", seq.0)).await
    }

    async fn note(
        &self,
        account: &Account,
        what: Access,
        user: &UserId,
        detail: String,
    ) -> Result<(), AdminError> {
        let entry = AuditEntry {
            when: (self.now)(),
            who: cut(account.to_string()),
            what,
            user: user.clone(),
            detail: cut(detail),
        };
        Ok(self.store.audit.append(entry).await?)
    }
}

impl std::fmt::Debug for Admin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Admin").finish_non_exhaustive()
    }
}

fn identity(text: &str) -> Result<UserId, AdminError> {
    let parsed = text.parse::<Aor>();
    let identity =
        parsed.map_err(|error| AdminError::Invalid(vec![format!("{text:?}: {error}")]))?;
    Ok(UserId::from(identity.as_str()))
}

fn cut(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(TEXT_OCTETS_MAX));
    text
}

fn without_content(item: &Item) -> Value {
    json!({
        "seq": item.seq.0,
        "originator": if item.private { "anonymous" } else { item.originator.as_str() },
        "received": item.received,
        "expires": item.expires,
        "octets": item.payload.len(),
        "wants_negative_delivery": item.wants_negative_delivery,
        "last_attempt": item.attempt.as_ref().map(|attempt| attempt.started),
    })
}

/// Text as it is, anything else in hexadecimal.
fn content(item: &Item) -> Value {
    match str::from_utf8(&item.payload) {
        Ok(text) => json!({ "text": text }),
        Err(_) => {
            let digits: String = item.payload.iter().map(|octet| format!("{octet:02x}")).collect();
            json!({ "hexadecimal": digits })
        }
    }
}

#[cfg(test)]
mod tests;
