//! The groups that are hosted here: chat rooms and pre-arranged groups (OMA-TS-SIMPLE_IM §7.4.3.4,
//! §7.4.3.6; the document: OMA-TS-XDM_Group, "list-service").

use std::sync::Arc;

use parlance_isc::Local;
use parlance_sip::uri::Aor;
use parlance_store::Millis;

/// Where hosted groups are kept.
///
/// A group may change or go at any time; who runs a session of it asks again now and then.
pub trait Groups {
    /// The group of this identity; `None`: none is hosted here.
    fn group<'a>(
        &'a self,
        identity: &'a Aor,
    ) -> Local<'a, Result<Option<Arc<Group>>, GroupsUnavailable>>;
}

/// The groups cannot be asked now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the groups cannot be read now")]
pub struct GroupsUnavailable;

/// A group: its members and what they may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Its identity, which is called to enter it.
    pub identity: Aor,
    /// What users call it.
    pub display_name: Option<String>,
    /// What its sessions are about.
    pub subject: Option<String>,
    /// Its members, in the order of the document, external lists resolved.
    pub members: Vec<Member>,
    /// Whether a session invites all members: a pre-arranged group. Otherwise it is a chat room.
    pub invites_members: bool,
    /// Most participants of a session; `None`: as many as the operator allows.
    pub participants_max: Option<u32>,
    /// Participants that a session needs to begin, the first included.
    pub participants_min: u32,
    /// Users without whom a session does not begin.
    pub required: Vec<Aor>,
    /// When sessions may run; empty: always.
    pub schedule: Vec<Opening>,
    /// Whether instant messaging is one of its services.
    pub supports_im: bool,
    /// Who may do what. Without any rule members may join, begin and see a session, and send
    /// private messages.
    pub rules: Vec<Rule>,
}

/// A member of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Who it is.
    pub address: Aor,
    /// What users call him.
    pub display_name: Option<String>,
}

/// A time in which sessions may run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opening {
    /// The first moment.
    pub from: Millis,
    /// The first moment after it.
    pub until: Millis,
}

/// One rule of a group (RFC 4745 §4, OMA-TS-XDM_Group).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// To whom it applies: to whom any of these does. Empty: to everybody.
    pub conditions: Vec<Condition>,
    /// What they may do.
    pub actions: Actions,
}

/// Whom a rule means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// This user (`identity`, `one`).
    Identity(Aor),
    /// Everybody of a domain but these (`identity`, `many`).
    Domain {
        /// The domain; `None`: everybody.
        domain: Option<String>,
        /// Who is not meant.
        except: Vec<Aor>,
    },
    /// The members (`is-list-member`).
    Member,
    /// Whoever no rule names as identity or member (`other-identity`).
    Other,
}

/// What a rule lets users do; `None`: it does not say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Actions {
    /// `join-handling`: to join a session. `false` in a rule that names a user by his identity
    /// keeps him out, whatever other rules say.
    pub join: Option<bool>,
    /// `allow-initiate-conference`: to begin a session.
    pub initiate: Option<bool>,
    /// `allow-conference-state`: to see who takes part.
    pub see_state: Option<bool>,
    /// `allow-invite-users-dynamically`: to have others invited.
    pub invite: Option<bool>,
    /// `allow-expelling`: to have others removed.
    pub expel: Option<bool>,
    /// `allow-anonymity`: to take part without being known.
    pub anonymity: Option<bool>,
    /// `allow-private-message`.
    pub private_messages: Option<bool>,
    /// `is-key-participant`.
    pub key_participant: Option<bool>,
}

/// What one user may do in a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rights {
    /// A rule names him and keeps him out.
    pub blocked: bool,
    /// To join.
    pub join: bool,
    /// To begin a session.
    pub initiate: bool,
    /// To see who takes part.
    pub see_state: bool,
    /// To have others invited.
    pub invite: bool,
    /// To have others removed.
    pub expel: bool,
    /// To take part without being known.
    pub anonymity: bool,
    /// To send private messages.
    pub private_messages: bool,
    /// A session needs one of those who have it.
    pub key_participant: bool,
}

impl Group {
    /// A chat room of `identity` that everybody may enter, without members.
    pub fn new(identity: Aor) -> Self {
        Self {
            identity,
            display_name: None,
            subject: None,
            members: Vec::new(),
            invites_members: false,
            participants_max: None,
            participants_min: 0,
            required: Vec::new(),
            schedule: Vec::new(),
            supports_im: true,
            rules: Vec::new(),
        }
    }

    /// What the user may do who goes by these identities. What several rules allow adds up
    /// (RFC 4745 §10.2).
    pub fn rights(&self, names: &[Aor]) -> Rights {
        let is_member = self.is_member(names);
        if self.rules.is_empty() {
            return Rights {
                join: is_member,
                initiate: is_member,
                see_state: is_member,
                private_messages: is_member,
                ..Rights::default()
            };
        }
        let named = self.rules.iter().any(|rule| {
            rule.conditions.iter().any(|condition| match condition {
                Condition::Identity(identity) => names.contains(identity),
                Condition::Member => is_member,
                Condition::Domain { .. } | Condition::Other => false,
            })
        });
        let mut rights = Rights::default();
        for rule in &self.rules {
            let applies = |condition: &Condition| match condition {
                Condition::Identity(identity) => names.contains(identity),
                Condition::Domain { domain, except } => {
                    !names.iter().any(|name| except.contains(name))
                        && domain.as_deref().is_none_or(|domain| {
                            names.iter().any(|name| name.domain() == Some(domain))
                        })
                }
                Condition::Member => is_member,
                Condition::Other => !named,
            };
            if rule.conditions.is_empty() || rule.conditions.iter().any(applies) {
                rights.add(&rule.actions);
                let is_named = |condition: &Condition| matches!(condition, Condition::Identity(_));
                let by_name = rule.conditions.iter().filter(|condition| is_named(condition));
                rights.blocked |=
                    rule.actions.join == Some(false) && by_name.map(applies).any(|a| a);
            }
        }
        rights
    }

    /// Whether one of these identities is a member's.
    pub fn is_member(&self, names: &[Aor]) -> bool {
        self.members.iter().any(|member| names.contains(&member.address))
    }

    /// Whether a session needs a key participant: some rule makes one.
    pub fn has_key_participants(&self) -> bool {
        self.rules.iter().any(|rule| rule.actions.key_participant == Some(true))
    }

    /// Whether sessions may run at `now`.
    pub fn is_open(&self, now: Millis) -> bool {
        let open = |opening: &Opening| opening.from <= now && now < opening.until;
        self.schedule.is_empty() || self.schedule.iter().any(open)
    }
}

impl Rights {
    fn add(&mut self, actions: &Actions) {
        let pairs = [
            (&mut self.join, actions.join),
            (&mut self.initiate, actions.initiate),
            (&mut self.see_state, actions.see_state),
            (&mut self.invite, actions.invite),
            (&mut self.expel, actions.expel),
            (&mut self.anonymity, actions.anonymity),
            (&mut self.private_messages, actions.private_messages),
            (&mut self.key_participant, actions.key_participant),
        ];
        for (right, action) in pairs {
            *right |= action == Some(true);
        }
    }
}

#[cfg(test)]
mod tests {
    use parlance_sip::uri::Aor;
    use parlance_store::Millis;

    use super::{Actions, Condition, Group, Member, Opening, Rights, Rule};

    fn aor(text: &str) -> Aor {
        text.parse().unwrap()
    }

    fn group() -> Group {
        let member = |text| Member { address: aor(text), display_name: None };
        let mut group = Group::new(aor("sip:chess@ims.test"));
        group.members = vec![member("sip:alice@ims.test"), member("sip:bob@ims.test")];
        group
    }

    fn rule(conditions: Vec<Condition>, actions: Actions) -> Rule {
        Rule { conditions, actions }
    }

    // Covers: CF-034
    #[test]
    fn rules_say_who_may_do_what() {
        let mut group = group();
        let join = Actions { join: Some(true), ..Actions::default() };
        let expel =
            Actions { expel: Some(true), key_participant: Some(true), ..Actions::default() };
        let out = Actions { join: Some(false), ..Actions::default() };
        let state = Actions { see_state: Some(true), ..Actions::default() };
        let except = vec![aor("sip:eve@away.test")];
        group.rules = vec![
            rule(vec![Condition::Member], join),
            rule(vec![Condition::Identity(aor("sip:alice@ims.test"))], expel),
            rule(vec![Condition::Identity(aor("sip:bob@ims.test"))], out),
            rule(vec![Condition::Domain { domain: Some("away.test".into()), except }], join),
            rule(vec![Condition::Other], state),
        ];
        let joins = Rights { join: true, ..Rights::default() };
        #[rustfmt::skip]
        let table = [
            ("sip:alice@ims.test", Rights { expel: true, key_participant: true, ..joins }),
            ("sip:bob@ims.test",   Rights { blocked: true, ..joins }),
            ("sip:carl@away.test", Rights { see_state: true, ..joins }),
            ("sip:eve@away.test",  Rights { see_state: true, ..Rights::default() }),
            ("tel:+15550000001",   Rights { see_state: true, ..Rights::default() }),
        ];
        for (who, rights) in table {
            assert_eq!(group.rights(&[aor(who)]), rights, "{who}");
        }
        let both = [aor("tel:+15550000001"), aor("sip:alice@ims.test")];
        assert!(group.rights(&both).expel, "any of the identities counts");
        assert!(group.has_key_participants());
    }

    #[test]
    fn without_rules_the_members_are_let_in() {
        let group = group();
        let rights = group.rights(&[aor("sip:bob@ims.test")]);
        assert!(rights.join && rights.initiate && rights.see_state && !rights.invite);
        assert_eq!(group.rights(&[aor("sip:eve@ims.test")]), Rights::default());
        assert!(!group.has_key_participants());
    }

    // Covers: CF-037
    #[test]
    fn a_schedule_has_times_at_which_the_group_is_closed() {
        let mut group = group();
        assert!(group.is_open(Millis(5)));
        group.schedule = vec![Opening { from: Millis(10), until: Millis(20) }];
        assert_eq!(
            [9, 10, 19, 20].map(|now| group.is_open(Millis(now))),
            [false, true, true, false]
        );
    }
}
