//! Rules about who may do what (RFC 4745), with the conditions that OMA XDM adds.
//!
//! A [`Ruleset`] is part of another document, such as a group ([`crate::list_service`]); which
//! actions there are is that document's. Whether a URI of a rule means the one who asks, only the
//! caller can tell: [`Asker`].

use roxmltree::Node;

use crate::date_time;
use crate::xml::Namespace;

/// The namespace of the elements (RFC 4745 §6).
const NAMESPACE: Namespace = Namespace("urn:ietf:params:xml:ns:common-policy");

/// The namespaces in which the conditions of OMA XDM are found.
const OMA: [&str; 3] =
    ["urn:oma:xml:xdm:common-policy", "urn:oma:xml:xdm:extensions", "urn:oma:xml:poc:list-service"];

/// Most rules, conditions of a rule, identities of a condition and actions of a rule. Local limit:
/// a list with more belongs into a list, which has a condition of its own.
const ROWS_MAX: usize = 512;

/// Rules; all that match count.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ruleset {
    /// In the order of the document.
    pub rules: Vec<Rule>,
}

/// A rule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// Its name.
    pub id: String,
    /// What must all be so for it to match; a rule without a condition always matches.
    pub conditions: Vec<Condition>,
    /// What it says.
    pub actions: Vec<Action>,
}

/// Something that must be so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// The one who asks is one of these (RFC 4745 §7.1).
    Identity(Vec<Identity>),
    /// He is on the list of the document, `is-list-member`.
    ListMember,
    /// No other rule names him, `other-identity`.
    OtherIdentity,
    /// He does not want to be known, `anonymous-request`.
    AnonymousRequest,
    /// He is on one of these lists, `external-list`: the `anc` of each.
    ExternalList(Vec<String>),
    /// It is one of these times, seconds from 1970: from the first to before the second (§7.4).
    Validity(Vec<(i64, i64)>),
    /// Something nobody here knows of, such as a sphere (§7.3): it is never so (§7).
    Unknown,
}

/// Who is meant (RFC 4745 §7.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// The user with this URI.
    One(String),
    /// Everybody.
    Many {
        /// Only who is in this domain, if given.
        domain: Option<String>,
        /// Except these.
        except: Vec<Except>,
    },
}

/// Who is not meant (RFC 4745 §7.1.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Except {
    /// The user with this URI.
    One(String),
    /// The users of this domain.
    Domain(String),
}

/// What a rule says about one thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Action {
    /// The namespace of the element.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its text without the blanks around it.
    pub value: String,
}

/// Somebody who asks.
#[derive(Clone, Copy)]
pub struct Asker<'a> {
    /// Whether a URI of the document is one of his; he is authenticated.
    pub is: &'a dyn Fn(&str) -> bool,
    /// The domain of his identity.
    pub domain: &'a str,
    /// Whether he is on the list of the document; lists elsewhere are the caller's to look up.
    pub is_member: bool,
    /// Whether he is on the list with this `anc`.
    pub is_on: &'a dyn Fn(&str) -> bool,
    /// Whether he does not want to be known. His identity is compared nevertheless: it is known to
    /// the server, and the rules say what he may do without it.
    pub is_anonymous: bool,
    /// The time, in seconds from 1970.
    pub now: i64,
}

/// Why rules were refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RulesetError {
    /// There are more than 512 rules, or more conditions, identities or actions in one of them.
    #[error("there are too many rules, conditions, identities or actions")]
    Rows,
    /// An `id` of a rule is missing, empty or there twice.
    #[error("the id of a rule is missing or not the only one")]
    RuleId,
    /// A `one` or `except` has no `id`, or an `except` neither `id` nor `domain`.
    #[error("an identity has no id")]
    Identity,
    /// A `validity` is not made of pairs of `from` and `until`, each a `dateTime`.
    #[error("a validity has no pairs of from and until")]
    Validity,
    /// An entry of `external-list` has no `anc`.
    #[error("an external list has no anchor")]
    Anchor,
}

impl Ruleset {
    /// Reads the children of a `ruleset`, which is part of another document.
    pub(crate) fn read(parent: Node<'_, '_>) -> Result<Option<Self>, RulesetError> {
        let Some(node) = NAMESPACE.child(parent, "ruleset") else { return Ok(None) };
        let rules = bounded(NAMESPACE.children(node, "rule").map(rule))?;
        let mut ids: Vec<&str> = rules.iter().map(|rule| rule.id.as_str()).collect();
        ids.sort_unstable();
        if ids.windows(2).any(|pair| pair.first() == pair.last()) {
            return Err(RulesetError::RuleId);
        }
        Ok(Some(Self { rules }))
    }

    /// The rules that match (RFC 4745 §10.1).
    pub fn matching(&self, asker: &Asker<'_>) -> impl Iterator<Item = &Rule> {
        let named = self.rules.iter().any(|rule| rule.names(asker));
        let holds = move |rule: &&Rule| rule.conditions.iter().all(|c| c.holds(asker, named));
        self.rules.iter().filter(holds)
    }

    /// What the matching rules say together about an action (RFC 4745 §10.2): whether one of them
    /// says true; `None` when none says anything.
    pub fn permits(&self, asker: &Asker<'_>, namespaces: &[&str], name: &str) -> Option<bool> {
        combined(self.matching(asker), namespaces, name)
    }
}

/// What `rules` say together about an action; see [`Ruleset::permits`].
pub(crate) fn combined<'a>(
    rules: impl Iterator<Item = &'a Rule>,
    namespaces: &[&str],
    name: &str,
) -> Option<bool> {
    let actions = rules.flat_map(|rule| &rule.actions);
    let actions = actions
        .filter(|action| action.name == name && namespaces.contains(&action.namespace.as_str()));
    actions.map(|action| matches!(action.value.as_str(), "true" | "1")).max()
}

impl Rule {
    /// Whether the rule names the one who asks, in a condition about who he is.
    fn names(&self, asker: &Asker<'_>) -> bool {
        self.conditions.iter().any(|condition| match condition {
            Condition::Identity(_) | Condition::ListMember | Condition::ExternalList(_) => {
                condition.holds(asker, true)
            }
            Condition::OtherIdentity
            | Condition::AnonymousRequest
            | Condition::Validity(_)
            | Condition::Unknown => false,
        })
    }
}

impl Condition {
    fn holds(&self, asker: &Asker<'_>, is_named: bool) -> bool {
        match self {
            Self::Identity(identities) => identities.iter().any(|identity| identity.is(asker)),
            Self::ListMember => asker.is_member,
            Self::OtherIdentity => !is_named,
            Self::AnonymousRequest => asker.is_anonymous,
            Self::ExternalList(anchors) => anchors.iter().any(|anchor| (asker.is_on)(anchor)),
            Self::Validity(times) => {
                times.iter().any(|(from, until)| *from <= asker.now && asker.now < *until)
            }
            Self::Unknown => false,
        }
    }
}

impl Identity {
    fn is(&self, asker: &Asker<'_>) -> bool {
        match self {
            Self::One(uri) => (asker.is)(uri),
            Self::Many { domain, except } => {
                let inside = domain.as_ref().is_none_or(|domain| is_domain(domain, asker));
                inside
                    && !except.iter().any(|except| match except {
                        Except::One(uri) => (asker.is)(uri),
                        Except::Domain(domain) => is_domain(domain, asker),
                    })
            }
        }
    }
}

fn is_domain(domain: &str, asker: &Asker<'_>) -> bool {
    domain.eq_ignore_ascii_case(asker.domain)
}

fn rule(node: Node<'_, '_>) -> Result<Rule, RulesetError> {
    let id = node.attribute("id").unwrap_or_default().trim();
    if id.is_empty() {
        return Err(RulesetError::RuleId);
    }
    let inside = |name| NAMESPACE.child(node, name).into_iter().flat_map(elements);
    let actions = inside("actions").map(|action| {
        Ok(Action {
            namespace: action.tag_name().namespace().unwrap_or_default().to_owned(),
            name: action.tag_name().name().to_owned(),
            value: action.text().unwrap_or_default().trim().to_owned(),
        })
    });
    Ok(Rule {
        id: id.to_owned(),
        conditions: bounded(inside("conditions").map(condition))?,
        actions: bounded(actions)?,
    })
}

fn condition(node: Node<'_, '_>) -> Result<Condition, RulesetError> {
    let namespace = node.tag_name().namespace().unwrap_or_default();
    let common = namespace == NAMESPACE.0;
    match node.tag_name().name() {
        "identity" if common => Ok(Condition::Identity(bounded(elements(node).map(identity))?)),
        "validity" if common => validity(node),
        _ if !OMA.contains(&namespace) => Ok(Condition::Unknown),
        "is-list-member" => Ok(Condition::ListMember),
        "other-identity" => Ok(Condition::OtherIdentity),
        "anonymous-request" => Ok(Condition::AnonymousRequest),
        "external-list" => {
            let anchors = elements(node).filter(|entry| entry.tag_name().name() == "entry");
            let anchors = anchors.map(|entry| attribute(entry, "anc").ok_or(RulesetError::Anchor));
            Ok(Condition::ExternalList(bounded(anchors)?))
        }
        _ => Ok(Condition::Unknown),
    }
}

fn identity(node: Node<'_, '_>) -> Result<Identity, RulesetError> {
    match node.tag_name().name() {
        "one" if NAMESPACE.is(node, "one") => {
            Ok(Identity::One(attribute(node, "id").ok_or(RulesetError::Identity)?))
        }
        "many" if NAMESPACE.is(node, "many") => {
            let except = NAMESPACE.children(node, "except").map(|node| {
                let one = attribute(node, "id").map(Except::One);
                let except = one.or_else(|| attribute(node, "domain").map(Except::Domain));
                except.ok_or(RulesetError::Identity)
            });
            Ok(Identity::Many { domain: attribute(node, "domain"), except: bounded(except)? })
        }
        // What is not known is nobody (RFC 4745 §7.1.1).
        _ => Ok(Identity::Many { domain: Some(String::new()), except: Vec::new() }),
    }
}

fn validity(node: Node<'_, '_>) -> Result<Condition, RulesetError> {
    let mut times = bounded(elements(node).map(|node| {
        let time = date_time::seconds(node.text().unwrap_or_default());
        Ok((node.tag_name().name() == "from", time.ok_or(RulesetError::Validity)?))
    }))?
    .into_iter();
    let mut pairs = Vec::new();
    while let Some(first) = times.next() {
        match (first, times.next()) {
            ((true, from), Some((false, until))) => pairs.push((from, until)),
            _ => return Err(RulesetError::Validity),
        }
    }
    Ok(Condition::Validity(pairs))
}

fn attribute(node: Node<'_, '_>, name: &str) -> Option<String> {
    let value = node.attribute(name)?.trim();
    (!value.is_empty()).then(|| value.to_owned())
}

fn elements<'a, 'i>(node: Node<'a, 'i>) -> impl Iterator<Item = Node<'a, 'i>> {
    node.children().filter(Node::is_element)
}

fn bounded<T>(rows: impl Iterator<Item = Result<T, RulesetError>>) -> Result<Vec<T>, RulesetError> {
    let mut found = Vec::new();
    for row in rows {
        if found.len() >= ROWS_MAX {
            return Err(RulesetError::Rows);
        }
        found.push(row?);
    }
    Ok(found)
}

#[cfg(test)]
mod tests;
