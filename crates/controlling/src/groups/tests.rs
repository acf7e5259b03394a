use parlance_content::common_policy::{Action, Condition, Except, Identity, Rule, Ruleset};
use parlance_content::list_service;
use parlance_sip::uri::Aor;
use parlance_store::Millis;

use super::{Group, GroupFault, Rights, Who};

pub(crate) fn aor(text: &str) -> Aor {
    text.parse().unwrap()
}

/// A rule with actions by name.
pub(crate) fn rule(conditions: Vec<Condition>, actions: &[(&str, bool)]) -> Rule {
    let action = |(name, value): &(&str, bool)| {
        let extension = ["allow-expelling", "allow-private-message"].contains(name);
        let namespace =
            if extension { "urn:oma:xml:xdm:extensions" } else { "urn:oma:xml:poc:list-service" };
        Action { namespace: namespace.into(), name: (*name).into(), value: value.to_string() }
    };
    let id = format!("{conditions:?}");
    Rule { id, conditions, actions: actions.iter().map(action).collect() }
}

pub(crate) fn one(uri: &str) -> Condition {
    Condition::Identity(vec![Identity::One(uri.into())])
}

/// A document with these members and rules.
pub(crate) fn document(members: &[&str], rules: Vec<Rule>) -> list_service::Group {
    let entry = |uri: &&str| list_service::Entry { uri: (*uri).into(), display_name: None };
    list_service::Group {
        uri: "sip:chess@ims.test".into(),
        entries: members.iter().map(entry).collect(),
        ruleset: Ruleset { rules },
        ..list_service::Group::default()
    }
}

fn group(rules: Vec<Rule>) -> Group {
    Group::new(document(&["sip:alice@ims.test", "sip:bob@ims.test"], rules)).unwrap()
}

fn rights(group: &Group, names: &[&str], now: u64) -> Rights {
    let names: Vec<Aor> = names.iter().map(|name| aor(name)).collect();
    group.rights(Who { names: &names, anonymous: false, now: Millis(now) })
}

// Covers: CF-034
#[test]
fn rules_say_who_may_do_what() {
    let except = vec![Except::One("sip:eve@away.test".into())];
    let away = Identity::Many { domain: Some("away.test".into()), except };
    let group = group(vec![
        rule(vec![Condition::ListMember], &[("join-handling", true)]),
        rule(
            vec![one("sip:alice@ims.test")],
            &[("allow-expelling", true), ("is-key-participant", true)],
        ),
        rule(vec![one("sip:bob@ims.test")], &[("join-handling", false)]),
        rule(vec![Condition::Identity(vec![away])], &[("join-handling", true)]),
        rule(vec![Condition::OtherIdentity], &[("allow-conference-state", true)]),
    ]);
    let joins = Rights { join: true, ..Rights::default() };
    #[rustfmt::skip]
    let table = [
        ("sip:alice@ims.test", Rights { expel: true, key_participant: true, ..joins }),
        ("sip:bob@ims.test",   Rights { blocked: true, ..joins }),
        ("sip:carl@away.test", joins),
        ("sip:eve@away.test",  Rights { see_state: true, ..Rights::default() }),
        ("tel:+15550000001",   Rights { see_state: true, ..Rights::default() }),
    ];
    for (who, expected) in table {
        assert_eq!(rights(&group, &[who], 0), expected, "{who}");
    }
    assert!(
        rights(&group, &["tel:+15550000001", "sip:alice@ims.test"], 0).expel,
        "any name counts"
    );
    assert!(group.has_key_participants());
}

// Covers: CF-034
#[test]
fn every_action_is_a_right() {
    let all = [
        "join-handling",
        "allow-initiate-conference",
        "allow-conference-state",
        "allow-invite-users-dynamically",
        "allow-expelling",
        "allow-anonymity",
        "allow-private-message",
        "is-key-participant",
    ];
    let given = |name: &str| {
        let group = group(vec![rule(Vec::new(), &[(name, true)])]);
        let given = rights(&group, &["sip:x@ims.test"], 0);
        let Rights { blocked, join, initiate, see_state, invite, expel, .. } = given;
        let Rights { anonymity, private_messages, key_participant, .. } = given;
        assert!(!blocked);
        [join, initiate, see_state, invite, expel, anonymity, private_messages, key_participant]
    };
    for (at, name) in all.into_iter().enumerate() {
        let mut expected = [false; 8];
        expected[at] = true;
        assert_eq!(given(name), expected, "{name}");
    }
}

#[test]
fn without_rules_the_members_are_let_in() {
    let group = group(Vec::new());
    let bob = rights(&group, &["sip:bob@ims.test"], 0);
    assert!(bob.join && bob.initiate && bob.see_state && !bob.invite);
    assert_eq!(rights(&group, &["sip:eve@ims.test"], 0), Rights::default());
    assert!(!group.has_key_participants());
}

// Covers: CF-037
#[test]
fn a_group_has_times_at_which_it_is_closed() {
    let times = Condition::Validity(vec![(10, 20)]);
    let group = group(vec![rule(vec![Condition::ListMember, times], &[("join-handling", true)])]);
    let alice = [aor("sip:alice@ims.test")];
    let eve = [aor("sip:eve@ims.test")];
    let at = |names, now: u64| {
        let who = Who { names, anonymous: false, now: Millis(now * 1000) };
        (group.rights(who).join, group.is_closed_to(who))
    };
    assert_eq!(at(&alice, 15), (true, false));
    assert_eq!(at(&alice, 20), (false, true));
    assert_eq!(at(&eve, 20), (false, false), "he may not join at any time");
}

#[test]
fn a_document_is_checked() {
    let read = |members: &[&str]| Group::new(document(members, Vec::new()));
    assert_eq!(read(&["http://x"]).unwrap_err(), GroupFault::Uri("http://x".into()));
    assert_eq!(read(&["sip:a@h", "sip:A@h", "sip:a@H:5060"]).unwrap().members().len(), 2);
    let mut external = document(&[], Vec::new());
    external.externals.push("http://x".into());
    assert_eq!(Group::new(external).unwrap_err(), GroupFault::External);
    let mut services = document(&[], Vec::new());
    services.supported_services.push("poc".into());
    let services = Group::new(services).unwrap();
    assert!(!services.supports(&["im".into()]) && services.supports(&["poc".into()]));
    assert!(matches!(Group::read(b"<x/>"), Err(GroupFault::Document(_))));
}
