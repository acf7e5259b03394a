//! Who may write to a user: his reject and accept lists and what he thinks of anonymous senders
//! (OMA-TS-SIMPLE_IM §7.2.4.1).

use metrics::counter;
use parlance_isc::{Decision, Local};
use parlance_sip::header::{From, Privacy, PrivacyValue};
use parlance_sip::uri::Aor;
use parlance_sip::{HeaderName, Request};
use parlance_store::{AnonymousPolicy, Entry, Profile, UserId};

use crate::policy::Policy;
use crate::refusal::Refusal;
use crate::target::host;

/// Lists of identities kept outside the profile, by name. Those in the profile go before.
pub trait Lists {
    /// Whether `sender` is in the list that `owner` calls `list`; `None` when it cannot be found.
    fn contains<'a>(
        &'a self,
        owner: &'a UserId,
        list: &'a str,
        sender: &'a Aor,
    ) -> Local<'a, Option<bool>>;
}

/// The sender, as far as the rules of a recipient go.
#[derive(Clone, Debug)]
pub(crate) struct Sender<'a> {
    /// What the network asserts; empty when it withholds it.
    identities: [Option<&'a Aor>; 2],
    /// Whether the recipient is not to know it.
    is_anonymous: bool,
}

impl<'a> Sender<'a> {
    /// Who sent `request`.
    pub(crate) fn of(request: &Request, decision: &'a Decision) -> Self {
        let originator = decision.originator.as_ref();
        let address = originator.map(|originator| &originator.address);
        let alias = originator.and_then(|originator| originator.alias.as_ref());
        let is_anonymous = originator.is_none() || hides_identity(request);
        Self { identities: [address, alias], is_anonymous }
    }

    fn known(&self) -> impl Iterator<Item = &'a Aor> + use<'a> {
        self.identities.into_iter().flatten()
    }
}

/// Whether the sender asked that the recipient not learn who he is (RFC 3323 §4.2, RFC 3325 §7).
pub(crate) fn hides_identity(request: &Request) -> bool {
    let privacy = request.header::<Privacy<'_>>().ok().flatten();
    let asked = privacy.is_some_and(|privacy| {
        !privacy.is_none() && (privacy.has(PrivacyValue::Id) || privacy.has(PrivacyValue::User))
    });
    asked || is_from_anonymous(request)
}

/// Whether From names nobody (RFC 3323 §4.1.1.3). Where the name stands nowhere in it, that is seen
/// without the parser.
fn is_from_anonymous(request: &Request) -> bool {
    const NOBODY: &str = "anonymous.invalid";
    let text = request.field(HeaderName::From).unwrap_or_default();
    let mut places = text.windows(NOBODY.len());
    if !places.any(|place| place.eq_ignore_ascii_case(NOBODY.as_bytes())) {
        return false;
    }
    let from = request.header::<From<'_>>().ok().flatten();
    let from = from.and_then(|from| Aor::from_uri(&from.uri()));
    from.is_some_and(|from| from.domain() == Some(NOBODY))
}

/// Applies the rules of the user `profile` belongs to.
///
/// The reject list wins. Who may be on it, because a list it names cannot be found, is sent away
/// until it can be. An anonymous sender whose identity the network knows is found there by
/// it, but not in the accept list: whom the recipient may not see he cannot have meant.
///
/// # Errors
/// How the sender is refused.
pub(crate) async fn admit(
    sender: &Sender<'_>,
    profile: &Profile,
    policy: &Policy,
    lists: Option<&dyn Lists>,
) -> Result<(), Refusal> {
    let rules = Rules { sender, profile, lists };
    match rules.find(&profile.reject, true).await {
        Found::Entry(Entry::Anonymous) if is_default(profile) => return Err(Refusal::Anonymous),
        Found::Entry(_) => return Err(Refusal::Rejected(profile.reject_answer)),
        Found::ListLost => return Err(Refusal::Fault),
        Found::Nothing => {}
    }
    if let Found::Entry(_) = rules.find(&profile.accept, !sender.is_anonymous).await {
        return Ok(());
    }
    let takes_anonymous = match profile.anonymous {
        AnonymousPolicy::Operator => policy.accept_anonymous,
        AnonymousPolicy::Accept => true,
        AnonymousPolicy::Reject => false,
    };
    if sender.is_anonymous && !takes_anonymous {
        return Err(Refusal::Anonymous);
    }
    if policy.accept_list_only && !profile.accept.is_empty() {
        return Err(Refusal::Rejected(profile.reject_answer));
    }
    Ok(())
}

/// Whether the sender is in a list of the user `profile` belongs to, as far as he may be seen.
pub(crate) async fn is_among(
    sender: &Sender<'_>,
    entries: &[Entry],
    profile: &Profile,
    lists: Option<&dyn Lists>,
) -> bool {
    let rules = Rules { sender, profile, lists };
    matches!(rules.find(entries, !sender.is_anonymous).await, Found::Entry(_))
}

/// Whether the user left the answer to the operator, who has one for anonymous senders
/// ([`crate::AnonymousAnswer`]); a stealthy answer of the user goes before.
fn is_default(profile: &Profile) -> bool {
    profile.reject_answer == parlance_store::RejectAnswer::default()
}

/// What entries say about a sender.
enum Found<'e> {
    /// The first entry that means him.
    Entry(&'e Entry),
    /// None is known to, but a list that they name cannot be found.
    ListLost,
    /// None does.
    Nothing,
}

struct Rules<'a> {
    sender: &'a Sender<'a>,
    profile: &'a Profile,
    lists: Option<&'a dyn Lists>,
}

impl Rules<'_> {
    async fn find<'e>(&self, entries: &'e [Entry], by_identity: bool) -> Found<'e> {
        let mut is_lost = false;
        for entry in entries {
            let found = match entry {
                Entry::Anonymous => Some(self.sender.is_anonymous),
                _ if !by_identity => Some(false),
                Entry::List(name) => self.is_member(name).await,
                Entry::Identity(_) | Entry::Domain(_) => Some(self.is_named_by(entry)),
            };
            match found {
                Some(true) => return Found::Entry(entry),
                Some(false) => {}
                None => is_lost = true,
            }
        }
        if is_lost { Found::ListLost } else { Found::Nothing }
    }

    /// Whether an entry is an identity of the sender, or the domain of one.
    fn is_named_by(&self, entry: &Entry) -> bool {
        let mut known = self.sender.known();
        match entry {
            Entry::Identity(name) => known.any(|identity| identity.as_str() == name),
            Entry::Domain(domain) => {
                known.filter_map(host).any(|host| host.eq_ignore_ascii_case(domain))
            }
            Entry::Anonymous | Entry::List(_) => false,
        }
    }

    /// Whether the sender is in the list `name`. `None`: it cannot be found, which is counted, so
    /// that an operator can see it.
    async fn is_member(&self, name: &str) -> Option<bool> {
        if let Some(members) = self.profile.lists.get(name) {
            return Some(members.iter().any(|member| self.is_named_by(member)));
        }
        let mut is_lost = false;
        for identity in self.sender.known() {
            let answer = match self.lists {
                Some(lists) => lists.contains(&self.profile.user, name, identity).await,
                None => None,
            };
            match answer {
                Some(true) => return Some(true),
                Some(false) => {}
                None => is_lost = true,
            }
        }
        if is_lost {
            counter!("parlance_participating_lists_not_found_total").increment(1);
            return None;
        }
        Some(false)
    }
}

#[cfg(test)]
mod tests {
    use parlance_isc::Local;
    use parlance_sip::uri::Aor;
    use parlance_store::{AnonymousPolicy, Entry, Profile, RejectAnswer, UserId};

    use super::{Lists, Sender, admit, hides_identity};
    use crate::policy::Policy;
    use crate::refusal::Refusal;
    use crate::tests::request;

    struct Enemies;

    impl Lists for Enemies {
        fn contains<'a>(
            &'a self,
            owner: &'a UserId,
            list: &'a str,
            sender: &'a Aor,
        ) -> Local<'a, Option<bool>> {
            let known = list == "enemies" && owner.as_str() == "sip:bob@ims.test";
            let answer = known.then(|| sender.as_str() == "sip:eve@other.test");
            Box::pin(async move { answer })
        }
    }

    /// What the sender `identities` is told by a user with these lists.
    async fn check(
        identities: [&str; 2],
        is_anonymous: bool,
        profile: Profile,
        policy: &Policy,
    ) -> Result<(), Refusal> {
        let parsed = identities.map(|identity| identity.parse::<Aor>().ok());
        let sender = Sender { identities: parsed.each_ref().map(Option::as_ref), is_anonymous };
        let lists = [("friends".to_owned(), entries(&["sip:al@ims.test", "domain friends.test"]))];
        let user = "sip:bob@ims.test".into();
        let profile = Profile { user, lists: lists.into(), ..profile };
        admit(&sender, &profile, policy, Some(&Enemies)).await
    }

    fn entries(texts: &[&str]) -> Vec<Entry> {
        let entry = |text: &&str| match text.split_once(' ') {
            Some(("domain", domain)) => Entry::Domain(domain.into()),
            Some((_, name)) => Entry::List(name.into()),
            None if *text == "anonymous" => Entry::Anonymous,
            None => Entry::Identity((*text).into()),
        };
        texts.iter().map(entry).collect()
    }

    const REJECTED: Result<(), Refusal> = Err(Refusal::Rejected(RejectAnswer::Forbidden));
    const ANONYMOUS: Result<(), Refusal> = Err(Refusal::Anonymous);
    const FAULT: Result<(), Refusal> = Err(Refusal::Fault);

    // Covers: PF-081, PF-083, PF-097, SEC-033
    #[tokio::test]
    async fn the_reject_list_wins() {
        const EVE: [&str; 2] = ["sip:eve@other.test", "tel:+15550009"];
        const NOBODY: [&str; 2] = ["", ""];
        type Row<'a> = (&'a [&'a str], &'a [&'a str], [&'a str; 2], bool, Result<(), Refusal>);
        #[rustfmt::skip]
        let table: [Row<'_>; 22] = [
            (&[], &[], EVE, false, Ok(())),
            (&["sip:eve@other.test"], &[], EVE, false, REJECTED),
            (&["sip:eve@other.test"], &["sip:eve@other.test"], EVE, false, REJECTED),
            (&["sip:eva@other.test"], &[], EVE, false, Ok(())),
            (&["tel:+15550009"], &[], EVE, false, REJECTED),
            (&["domain other.test"], &["sip:eve@other.test"], EVE, false, REJECTED),
            (&["domain OTHER.test"], &[], ["sip:eve@other.test:5090", ""], false, REJECTED),
            (&["domain ther.test"], &[], EVE, false, Ok(())),
            (&["list enemies"], &[], EVE, false, REJECTED),
            (&["list enemies"], &[], ["sip:al@ims.test", ""], false, Ok(())),
            (&["list friends"], &[], ["sip:al@ims.test", ""], false, REJECTED),
            (&["list friends"], &[], ["sip:x@friends.test", ""], false, REJECTED),
            (&["list friends"], &[], EVE, false, Ok(())),
            // A list that cannot be found lets nobody through whom it may name.
            (&["list lost"], &[], EVE, false, FAULT),
            (&["list lost"], &["sip:eve@other.test"], EVE, true, FAULT),
            (&["list lost", "sip:eve@other.test"], &[], EVE, false, REJECTED),
            (&["list lost"], &["list lost"], NOBODY, true, Ok(())),
            (&["anonymous"], &[], EVE, false, Ok(())),
            (&["anonymous"], &["anonymous"], NOBODY, true, ANONYMOUS),
            (&["anonymous"], &["sip:eve@other.test"], EVE, true, ANONYMOUS),
            // The network knows him, whatever he hides.
            (&["sip:eve@other.test"], &[], EVE, true, REJECTED),
            (&["domain other.test"], &[], NOBODY, true, Ok(())),
        ];
        for (reject, accept, identities, is_anonymous, expected) in table {
            let profile =
                Profile { reject: entries(reject), accept: entries(accept), ..Profile::default() };
            let found = check(identities, is_anonymous, profile, &Policy::default()).await;
            assert_eq!(found, expected, "{reject:?} {accept:?} {identities:?} {is_anonymous}");
        }
    }

    // Covers: PF-081, PF-082, PF-083
    #[tokio::test]
    async fn anonymous_senders_have_rules_of_their_own() {
        use AnonymousPolicy::{Accept, Operator, Reject};
        const EVE: [&str; 2] = ["sip:eve@other.test", ""];
        type Row<'a> = (AnonymousPolicy, bool, &'a [&'a str], Result<(), Refusal>);
        #[rustfmt::skip]
        let table: [Row<'_>; 7] = [
            (Operator, true,  &[],                     Ok(())),
            (Operator, false, &[],                     ANONYMOUS),
            (Accept,   false, &[],                     Ok(())),
            (Reject,   true,  &[],                     ANONYMOUS),
            (Reject,   true,  &["anonymous"],          Ok(())),
            (Operator, false, &["anonymous"],          Ok(())),
            // An identity he hides does not open a door.
            (Reject,   true,  &["sip:eve@other.test"], ANONYMOUS),
        ];
        for (anonymous, accept_anonymous, accept, expected) in table {
            let policy = Policy { accept_anonymous, ..Policy::default() };
            let profile = Profile { anonymous, accept: entries(accept), ..Profile::default() };
            let found = check(EVE, true, profile, &policy).await;
            assert_eq!(found, expected, "{anonymous:?} {accept_anonymous} {accept:?}");
        }
        let stealthy = Profile {
            reject: entries(&["anonymous"]),
            reject_answer: RejectAnswer::Silent,
            ..Profile::default()
        };
        let found = check(EVE, true, stealthy, &Policy::default()).await;
        assert_eq!(found, Err(Refusal::Rejected(RejectAnswer::Silent)));
    }

    // Covers: PF-081
    #[tokio::test]
    async fn an_accept_list_may_be_all_there_is() {
        let policy = Policy { accept_list_only: true, ..Policy::default() };
        let of = |accept: &[&str]| Profile { accept: entries(accept), ..Profile::default() };
        let eve = ["sip:eve@other.test", ""];
        assert_eq!(check(eve, false, of(&["sip:al@ims.test"]), &policy).await, REJECTED);
        assert_eq!(check(eve, false, of(&["domain other.test"]), &policy).await, Ok(()));
        assert_eq!(check(eve, false, of(&[]), &policy).await, Ok(()));
        assert_eq!(check(eve, false, of(&["list lost"]), &policy).await, REJECTED);
        assert_eq!(check(eve, false, of(&["list friends"]), &policy).await, REJECTED);
        let al = ["sip:al@ims.test", ""];
        assert_eq!(check(al, false, of(&["list friends"]), &policy).await, Ok(()));
        let lax = Policy::default();
        assert_eq!(check(eve, false, of(&["sip:al@ims.test"]), &lax).await, Ok(()));
    }

    // Covers: CORE-053
    #[test]
    fn privacy_and_an_anonymous_from_hide_the_sender() {
        #[rustfmt::skip]
        let table = [
            ("Privacy: id",                                       true),
            ("Privacy: header; USER",                             true),
            ("Privacy: history",                                  false),
            ("Privacy: none",                                     false),
            ("Privacy: id;none",                                  false),
            ("From: <sip:anonymous@Anonymous.invalid>;tag=1",     true),
            ("From: <sip:alice@ims.test>;tag=1",                  false),
        ];
        for (header, expected) in table {
            let request = request(&format!("MESSAGE sip:b@h SIP/2.0\r\n{header}\r\n\r\n"));
            assert_eq!(hides_identity(&request), expected, "{header}");
        }
    }
}
