//! Registrations learnt from third-party REGISTERs (RFC 3261 §10.3, TS 24.229 §5.4.1.7).

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::identity::check_identity;
use crate::{Cached, Millis, Pending, StoreError, UserId};

/// Most identities, aliases, contacts or tags in one list of one record; local limit. More are
/// refused as [`StoreError::Invalid`], as one record must stay small.
pub const LIST_MAX: usize = 64;

/// Numbers the registrations of a user: a new registration has a higher one than every earlier
/// registration of that user, a refresh keeps it. What must happen once per registration
/// remembers the number it happened for.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct RegistrationId(pub u64);

/// A contact of the user, as the `message/sip` body of the REGISTER or reginfo shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Contact {
    /// The Contact URI.
    pub uri: String,
    /// The `+sip.instance` value (RFC 5626 §4.1); identifies the device across re-registrations.
    pub instance: Option<String>,
    /// The media feature tags (RFC 3840), as written, without `+sip.instance`.
    pub tags: Vec<String>,
    /// Whether the tag of this service (`+g.oma.sip-im` and its like) is among them.
    pub has_im_tag: bool,
}

/// P-Charging-Function-Addresses (RFC 7315 §4.5), values as received.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ChargingAddresses {
    /// Charging collection functions, in order of preference.
    pub ccf: Vec<String>,
    /// Event charging functions, in order of preference.
    pub ecf: Vec<String>,
}

/// What one third-party REGISTER says.
///
/// Where a field is an `Option`, `None` means that the REGISTER said nothing about it: a refresh
/// then keeps what is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    /// The user, already resolved from the To of the REGISTER.
    pub user: UserId,
    /// The identity in To; the record collects those of one registration.
    pub public_id: String,
    /// The implicit registration set (P-Associated-URI, RFC 7315 §4.1).
    pub aliases: Option<Vec<String>>,
    /// Contact of the REGISTER: the S-CSCF that serves the user.
    pub scscf: String,
    /// The expiry as asked, in seconds; goes back in the 200.
    pub expires: u32,
    /// How long after the expiry the binding still counts; default of the server 30 s.
    pub grace: Duration,
    /// The contacts with their feature tags.
    pub contacts: Option<Vec<Contact>>,
    /// Where charging information goes.
    pub charging: Option<ChargingAddresses>,
    /// The `orig-ioi` of P-Charging-Vector (RFC 7315 §4.6).
    pub orig_ioi: Option<String>,
    /// Whether the network barred the user.
    pub barred: bool,
    /// Call-ID of the REGISTER.
    pub call_id: String,
    /// CSeq number of the REGISTER.
    pub cseq: u32,
}

/// The registration of a user.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Registration {
    /// Whose it is.
    pub user: Option<UserId>,
    /// Its number.
    pub id: RegistrationId,
    /// When it began; a refresh keeps it.
    pub since: Millis,
    /// The identities REGISTERs came for, oldest first.
    pub public_ids: Vec<String>,
    /// The implicit registration set.
    pub aliases: Vec<String>,
    /// URI of the S-CSCF; requests the server originates for the user go there.
    pub scscf: String,
    /// The expiry as asked last, in seconds.
    pub expires: u32,
    /// When that is over.
    pub expires_at: Millis,
    /// When the binding lapses: the same and the grace.
    pub lapses_at: Millis,
    /// The contacts; empty while no REGISTER told them.
    pub contacts: Vec<Contact>,
    /// Where charging information goes.
    pub charging: ChargingAddresses,
    /// The `orig-ioi` for requests originated for the user.
    pub orig_ioi: Option<String>,
    /// Whether the network barred the user.
    pub barred: bool,
    /// Call-ID of the last REGISTER.
    pub call_id: String,
    /// CSeq number of the last REGISTER.
    pub cseq: u32,
}

/// What became of a REGISTER.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bound {
    /// The user was not registered and is now.
    New(Arc<Registration>),
    /// The user was registered and stays so; expiry and data are replaced.
    Refreshed(Arc<Registration>),
    /// The same Call-ID with a CSeq not higher: nothing was changed (RFC 3261 §10.3 step 7).
    Stale,
}

impl Registration {
    /// True once the expiry and its grace are over: the user counts as not registered.
    pub fn has_lapsed(&self, now: Millis) -> bool {
        self.lapses_at <= now
    }

    /// The record after `binding` at `now`, or `None` when the REGISTER is stale.
    ///
    /// `id` numbers it if it is a new registration. One place for the rule, so that every
    /// implementation has the same.
    pub(crate) fn after(
        known: Option<&Registration>,
        binding: &Binding,
        id: RegistrationId,
        now: Millis,
    ) -> Option<Bound> {
        let known = known.filter(|registration| !registration.has_lapsed(now));
        let mut record = known.cloned().unwrap_or_default();
        if known.is_some() && record.call_id == binding.call_id && binding.cseq <= record.cseq {
            return None;
        }
        if known.is_none() {
            record.id = id;
            record.since = now;
            record.user = Some(binding.user.clone());
        }
        if !record.public_ids.contains(&binding.public_id) {
            if record.public_ids.len() >= LIST_MAX {
                record.public_ids.remove(0);
            }
            record.public_ids.push(binding.public_id.clone());
        }
        record.scscf.clone_from(&binding.scscf);
        record.expires = binding.expires;
        record.expires_at = now + Duration::from_secs(u64::from(binding.expires));
        record.lapses_at = record.expires_at + binding.grace;
        record.barred = binding.barred;
        record.call_id.clone_from(&binding.call_id);
        record.cseq = binding.cseq;
        replace(&mut record.aliases, &binding.aliases);
        replace(&mut record.contacts, &binding.contacts);
        replace(&mut record.charging, &binding.charging);
        if binding.orig_ioi.is_some() {
            record.orig_ioi.clone_from(&binding.orig_ioi);
        }
        let record = Arc::new(record);
        Some(if known.is_some() { Bound::Refreshed(record) } else { Bound::New(record) })
    }
}

impl Binding {
    /// Refuses what no implementation takes.
    pub(crate) fn check(&self) -> Result<(), StoreError> {
        check_identity(self.user.as_str())?;
        check_identity(&self.public_id)?;
        let aliases = self.aliases.as_deref().unwrap_or_default();
        let contacts = self.contacts.as_deref().unwrap_or_default();
        if aliases.len() > LIST_MAX
            || contacts.len() > LIST_MAX
            || contacts.iter().any(|contact| contact.tags.len() > LIST_MAX)
        {
            return Err(StoreError::Invalid("list too long"));
        }
        aliases.iter().try_for_each(|alias| check_identity(alias))
    }
}

/// The names a registration tells after `binding`, where `old` were told before.
///
/// A REGISTER that says nothing about the implicit set of a user who was away keeps what the
/// registration before told.
pub(crate) fn told_names(record: &Registration, old: &[String], binding: &Binding) -> Vec<String> {
    let mut names = Vec::with_capacity(1 + record.public_ids.len() + record.aliases.len());
    let kept = if binding.aliases.is_none() { old } else { &[] };
    let own = std::iter::once(binding.user.as_str());
    let told = record.public_ids.iter().chain(&record.aliases).chain(kept).map(String::as_str);
    for name in own.chain(told) {
        if names.len() < 2 * LIST_MAX && !names.iter().any(|known| known == name) {
            names.push(name.to_owned());
        }
    }
    names
}

fn replace<T: Clone>(known: &mut T, said: &Option<T>) {
    if let Some(said) = said {
        known.clone_from(said);
    }
}

/// The registrations of all users.
///
/// A registration also makes its identities and aliases resolvable ([`crate::Profiles::resolve`]).
/// They stay so after it ended, so that a message to the telephone number of a user who is away
/// finds the inbox, until another user's registration or profile claims them.
pub trait Registrations: Send + Sync {
    /// Applies a REGISTER with `Expires` above zero. Durable when the future resolves.
    fn bind(&self, binding: Binding, now: Millis) -> Pending<'_, Bound>;

    /// Ends the registration of `user` and returns what it was.
    fn unbind<'a>(&'a self, user: &'a UserId) -> Pending<'a, Option<Arc<Registration>>>;

    /// Ends the registration of `user` if it has lapsed by `now`, and returns what it was. When
    /// several nodes sweep, one of them gets it.
    fn lapse<'a>(&'a self, user: &'a UserId, now: Millis)
    -> Pending<'a, Option<Arc<Registration>>>;

    /// The registration of `user`, also one that has lapsed but was not yet ended: see
    /// [`Registration::has_lapsed`].
    fn lookup<'a>(&'a self, user: &'a UserId) -> Pending<'a, Option<Arc<Registration>>>;

    /// [`Registrations::lookup`] without waiting, for every relayed message.
    fn cached(&self, user: &str) -> Cached<Arc<Registration>>;

    /// Registrations that have lapsed by `now` and were not ended, the longest first, at most
    /// `limit`. The caller ends each with [`Registrations::lapse`].
    fn lapsed(&self, now: Millis, limit: usize) -> Pending<'_, Vec<Arc<Registration>>>;
}

#[cfg(test)]
mod tests {
    use super::{Binding, LIST_MAX};
    use crate::{StoreError, conformance::binding};

    #[test]
    fn lists_are_bounded() {
        let at_limit = Binding { aliases: Some(vec!["tel:+1".into(); LIST_MAX]), ..binding("a") };
        assert_eq!(at_limit.check(), Ok(()));
        let over = Binding { aliases: Some(vec!["tel:+1".into(); LIST_MAX + 1]), ..binding("a") };
        assert_eq!(over.check(), Err(StoreError::Invalid("list too long")));
    }
}
