//! The focus as its task sees it.

use std::sync::Arc;

use parlance_content::common_policy::{Condition, Rule};
use parlance_content::conference_info::DisconnectionMethod::{Booted, Departed, Failed};
use parlance_content::conference_info::{ConferenceInfo, Document, Status};
use parlance_content::list_service;
use parlance_sip::uri::Aor;
use parlance_store::Millis;

use super::{Caller, EndpointId, Focus, Kind, Release, Seen, Setup, admission};
use crate::groups::Group;
use crate::groups::tests::{aor, document, one, rule};
use crate::policy::{AdHocPolicy, InviteRight, Policy};
use crate::refusal::Refusal;

const ALICE: &str = "sip:alice@ims.test";
const BOB: &str = "sip:bob@ims.test";
const CAROL: &str = "sip:carol@ims.test";
const EVE: &str = "sip:eve@ims.test";

fn names(text: &str) -> Vec<Aor> {
    vec![aor(text)]
}

fn caller(text: &str) -> Caller {
    Caller::new(aor(text))
}

fn anonymous(text: &str) -> Caller {
    Caller { anonymous: true, ..caller(text) }
}

fn policy() -> Policy {
    Policy { adhoc_group_size_max: 3, ..Policy::default() }
}

fn focus_with(kind: Kind, group: Option<Group>, policy: Policy) -> Focus {
    let setup = Setup {
        kind,
        entity: "sip:s1@sessions.test".into(),
        creator: aor(ALICE),
        subject: None,
        group: group.map(Arc::new),
    };
    Focus::new(setup, Arc::new(policy))
}

fn focus(kind: Kind) -> Focus {
    focus_with(kind, None, policy())
}

fn join(focus: &mut Focus, who: &Caller) -> EndpointId {
    let endpoint = focus.dial_in(who);
    focus.connected(endpoint, "sip:device@10.0.0.1", who.anonymous);
    endpoint
}

fn invite(focus: &mut Focus, who: &str) -> EndpointId {
    let endpoint = focus.dial_out(&caller(who), false);
    focus.connected(endpoint, "sip:device@10.0.0.2", false);
    endpoint
}

/// The document of a group of three, whose members have these rights.
fn rules(invites: bool, actions: &[(&str, bool)]) -> list_service::Group {
    let rules = vec![rule(vec![Condition::ListMember], actions)];
    list_service::Group { invite_members: invites, ..document(&[ALICE, BOB, CAROL], rules) }
}

/// The same with another rule.
fn with(mut document: list_service::Group, rule: Rule) -> list_service::Group {
    document.ruleset.rules.push(rule);
    document
}

fn made(document: list_service::Group) -> Group {
    Group::new(document).unwrap()
}

fn group(invites: bool, actions: &[(&str, bool)]) -> Group {
    made(rules(invites, actions))
}

fn key(uri: &str) -> Rule {
    rule(vec![one(uri)], &[("is-key-participant", true)])
}

const JOIN: &[(&str, bool)] = &[("join-handling", true)];
const INITIATE: &[(&str, bool)] = &[("join-handling", true), ("allow-initiate-conference", true)];

/// What a subscriber knows after a full document.
fn info(focus: &mut Focus) -> ConferenceInfo {
    let document = focus.document(&mut Seen::default(), true).unwrap();
    let mut info = ConferenceInfo::new();
    info.apply(Document::parse(&document).unwrap());
    info
}

fn shown(focus: &mut Focus) -> String {
    String::from_utf8(focus.document(&mut Seen::default(), true).unwrap().to_vec()).unwrap()
}

// Covers: CF-036, SEC-015
#[test]
fn who_was_invited_or_took_part_may_come_back() {
    let mut focus = focus(Kind::AdHoc);
    let alice = join(&mut focus, &caller(ALICE));
    let bob = invite(&mut focus, BOB);
    assert_eq!(focus.admit(&caller(EVE)), Err(Refusal::NotMember));
    focus.leave(bob, Departed);
    assert_eq!(focus.admit(&caller(BOB)), Ok(()));
    focus.leave(alice, Departed);
    assert_eq!(focus.admit(&caller(ALICE)), Ok(()), "the one who began it");
    let carol = focus.dial_out(&caller(CAROL), false);
    focus.leave(carol, Failed);
    assert_eq!(focus.admit(&caller(CAROL)), Ok(()), "invited, though he did not answer");
}

// Covers: CF-036, CF-053, CF-074
#[test]
fn who_was_removed_needs_a_new_invitation() {
    let mut focus = focus(Kind::AdHoc);
    join(&mut focus, &caller(ALICE));
    let bob = invite(&mut focus, BOB);
    assert_eq!(focus.may_expel(&names(BOB), &aor(ALICE)), Err(Refusal::NotAllowed));
    assert_eq!(focus.may_expel(&names(ALICE), &aor(EVE)), Err(Refusal::NoParticipant));
    assert_eq!(focus.may_expel(&names(ALICE), &aor(BOB)), Ok(()));
    assert_eq!(focus.may_expel(&names(BOB), &aor(BOB)), Ok(()), "everybody may remove himself");
    assert_eq!(focus.endpoints_of(&aor(BOB)), [bob]);
    focus.leave(bob, Booted);
    assert_eq!(focus.admit(&caller(BOB)), Err(Refusal::Blocked));
    let mut chat = focus_with(Kind::Chat, Some(group(false, JOIN)), policy());
    let bob = join(&mut chat, &caller(BOB));
    chat.leave(bob, Booted);
    assert_eq!(chat.admit(&caller(BOB)), Err(Refusal::Blocked), "in a group too");
    chat.dial_out(&caller(BOB), false);
    assert_eq!(chat.admit(&caller(BOB)), Ok(()));
}

// Covers: CF-037, CF-038
#[test]
fn the_checks_have_their_order() {
    let times = Condition::Validity(vec![(0, 100)]);
    let sometimes = rule(vec![one("sip:dave@ims.test"), times], JOIN);
    let out = rule(vec![one(EVE)], &[("join-handling", false)]);
    let mut document = with(with(rules(false, JOIN), out), sometimes);
    document.supported_services = vec!["poc".into()];
    let open = made(document.clone());
    document.max_participant_count = Some(1);
    let full = made(document);
    let focus = |group: &Group| {
        let mut focus = focus_with(Kind::Chat, Some(group.clone()), policy());
        join(&mut focus, &caller(ALICE));
        focus.at(Millis(200_000));
        focus
    };
    // Each has all the faults that come after its own.
    #[rustfmt::skip]
    let table = [
        (&full, anonymous(EVE),                 Refusal::Blocked),
        (&full, anonymous("sip:x@away.test"),   Refusal::NotMember),
        (&full, anonymous("sip:dave@ims.test"), Refusal::Closed),
        (&full, anonymous(BOB),                 Refusal::Anonymous),
        (&full, caller(BOB),                    Refusal::Full),
        (&open, caller(BOB),                    Refusal::NotAllowed),
        (&full, caller(ALICE),                  Refusal::NotAllowed),
    ];
    for (group, who, refusal) in table {
        assert_eq!(focus(group).admit(&who), Err(refusal.clone()), "{who:?}");
        // Nobody is in yet when a session begins.
        let refusal = if refusal == Refusal::Full { Refusal::NotAllowed } else { refusal };
        let begun = admission::begin(group, &who, Millis(200_000), &policy());
        assert_eq!(begun, Err(refusal), "{who:?}");
    }
    let im = Policy { enablers: vec!["im".into(), "poc".into()], ..policy() };
    assert_eq!(focus_with(Kind::Chat, Some(open), im).admit(&caller(BOB)), Ok(()));
}

// Covers: CF-033, CF-035
#[test]
fn a_group_begins_when_its_rules_let_it() {
    let policy = policy();
    let begin = |document: list_service::Group, who| {
        admission::begin(&made(document), &caller(who), Millis(0), &policy)
    };
    assert_eq!(begin(rules(true, JOIN), ALICE), Err(Refusal::NotAllowed));
    assert_eq!(begin(rules(true, INITIATE), ALICE), Ok(()));
    let small = list_service::Group { max_participant_count: Some(2), ..rules(true, INITIATE) };
    assert_eq!(begin(small, ALICE), Err(Refusal::ListTooLong));
    assert_eq!(begin(rules(false, JOIN), BOB), Ok(()));
    let chat = with(rules(false, JOIN), key(ALICE));
    assert_eq!(begin(chat.clone(), BOB), Err(Refusal::NobodyThere));
    assert_eq!(begin(chat, ALICE), Ok(()));
}

// Covers: CF-035, CF-063
#[test]
fn a_session_waits_for_those_it_needs() {
    let document = list_service::Group {
        min_participant_count: Some(2),
        required_participants: vec![CAROL.into()],
        ..with(rules(true, INITIATE), key(BOB))
    };
    let mut focus = focus_with(Kind::PreArranged, Some(made(document)), policy());
    let alice = focus.dial_in(&caller(ALICE));
    assert!(!focus.may_begin(Some(alice)), "one is not enough");
    invite(&mut focus, BOB);
    assert!(!focus.may_begin(None));
    assert!(!focus.may_begin(Some(alice)), "carol is required");
    let carol = invite(&mut focus, CAROL);
    assert!(focus.may_begin(None) && focus.may_begin(Some(alice)));
    focus.leave(carol, Departed);
    assert!(!focus.may_begin(None));
}

// Covers: CF-039, CF-005
#[test]
fn whoever_is_on_his_way_takes_a_place() {
    let mut focus = focus(Kind::AdHoc);
    join(&mut focus, &caller(ALICE));
    for number in 0..2 {
        focus.dial_out(&caller(&format!("sip:u{number}@ims.test")), false);
    }
    assert_eq!((focus.counts().places, focus.counts().inside), (3, 1));
    assert_eq!(focus.may_invite(&names(ALICE), 1), Ok(()));
    assert_eq!(focus.may_invite(&names(ALICE), 2), Err(Refusal::TooMany));
    let bob = focus.dial_out(&caller(BOB), false);
    assert_eq!(focus.may_invite(&names(ALICE), 1), Err(Refusal::TooMany));
    focus.leave(bob, Failed);
    assert_eq!(focus.may_invite(&names(ALICE), 1), Ok(()));
    // A second device of somebody who is in takes none.
    invite(&mut focus, BOB);
    assert_eq!(focus.admit(&caller(ALICE)), Ok(()));
}

// Covers: CF-051
#[test]
fn adding_is_for_those_who_may() {
    let mut everybody = focus(Kind::AdHoc);
    join(&mut everybody, &caller(ALICE));
    invite(&mut everybody, BOB);
    assert_eq!(everybody.may_invite(&names(BOB), 1), Ok(()));
    assert_eq!(everybody.may_invite(&names(CAROL), 1), Err(Refusal::NotAllowed), "takes no part");
    let ad_hoc = AdHocPolicy { invite: InviteRight::Creator, ..AdHocPolicy::default() };
    let mut strict = focus_with(Kind::AdHoc, None, Policy { ad_hoc, ..policy() });
    join(&mut strict, &caller(ALICE));
    invite(&mut strict, BOB);
    assert_eq!(strict.may_invite(&names(BOB), 1), Err(Refusal::NotAllowed));
    assert_eq!(strict.may_invite(&names(ALICE), 1), Ok(()));
    let mut chat = focus_with(Kind::Chat, Some(group(false, JOIN)), policy());
    join(&mut chat, &caller(BOB));
    assert_eq!(chat.may_invite(&names(BOB), 1), Err(Refusal::NotAllowed), "no rule lets him");
}

// Covers: CF-057
#[test]
fn only_participants_may_watch() {
    let mut focus = focus(Kind::AdHoc);
    join(&mut focus, &caller(ALICE));
    assert_eq!(focus.may_watch(&names(ALICE)), Ok(()));
    assert_eq!(focus.may_watch(&names(EVE)), Err(Refusal::StateNotAllowed));
    let mut closed = focus_with(Kind::Chat, Some(group(false, JOIN)), policy());
    join(&mut closed, &caller(BOB));
    assert_eq!(closed.may_watch(&names(BOB)), Err(Refusal::StateNotAllowed), "no rule lets him");
}

// Covers: CF-041, CF-059, CF-077, SEC-043
#[test]
fn nothing_is_told_of_who_is_anonymous() {
    let mut focus = focus(Kind::Chat);
    let alice = Caller { display_name: Some("Alice".into()), ..anonymous(ALICE) };
    let endpoint = join(&mut focus, &alice);
    focus.nickname(endpoint, Some("The Queen"));
    let told = shown(&mut focus);
    for secret in ["alice", "Alice", "10.0.0.1", "device"] {
        assert!(!told.contains(secret), "{secret}: {told}");
    }
    let user = info(&mut focus).user("sip:anonymous1@anonymous.invalid").cloned().unwrap();
    assert_eq!(user.display_text.as_deref(), Some("Anonymous1"));
    assert_eq!(user.nickname.as_deref(), Some("The Queen"));
    assert_eq!(user.endpoints[0].entity, "sip:anonymous1@anonymous.invalid");
    assert_eq!(user.endpoints[0].status, Some(Status::Connected));
    // He comes back under the same name; another one gets another.
    focus.leave(endpoint, Departed);
    let bob = join(&mut focus, &anonymous(BOB));
    let alice = join(&mut focus, &anonymous(ALICE));
    let uri = |focus: &Focus, endpoint| focus.shown_uri(endpoint).unwrap();
    assert_eq!(uri(&focus, alice), "sip:anonymous1@anonymous.invalid");
    assert_eq!(uri(&focus, bob), "sip:anonymous2@anonymous.invalid");
    let pseudonym = aor("sip:anonymous2@anonymous.invalid");
    assert_eq!(focus.endpoints_of(&pseudonym), [bob], "he can be removed by it");
}

// Covers: CF-041
#[test]
fn whoever_answers_anonymously_is_anonymous() {
    let mut focus = focus(Kind::AdHoc);
    let bob = focus.dial_out(&caller(BOB), false);
    assert!(shown(&mut focus).contains("bob"));
    focus.connected(bob, "sip:b@10.0.0.9", true);
    let told = shown(&mut focus);
    assert!(!told.contains("bob") && !told.contains("10.0.0.9"), "{told}");
    assert!(told.contains("anonymous1@anonymous.invalid"));
}

// Covers: CF-081
#[test]
fn a_blind_copy_is_hidden_until_he_is_in() {
    let mut focus = focus(Kind::AdHoc);
    let mut seen = Seen::default();
    let carol = focus.dial_out(&caller(CAROL), true);
    let first = focus.document(&mut seen, true).unwrap();
    assert!(!String::from_utf8_lossy(&first).contains("carol"));
    let mut known = ConferenceInfo::new();
    known.apply(Document::parse(&first).unwrap());
    assert!(known.user("sip:anonymous1@anonymous.invalid").is_some());
    focus.connected(carol, "sip:c@10.0.0.3", false);
    known.apply(Document::parse(&focus.document(&mut seen, false).unwrap()).unwrap());
    assert!(known.user(CAROL).is_some());
    assert!(known.user("sip:anonymous1@anonymous.invalid").is_none());

    let hidden = focus.dial_out(&caller(BOB), true);
    focus.leave(hidden, Failed);
    assert!(!shown(&mut focus).contains("bob"), "also when he does not come");
}

// Covers: CF-060
#[test]
fn statuses_and_methods_are_told() {
    let mut focus = focus(Kind::AdHoc);
    let mut seen = Seen::default();
    let status = |focus: &mut Focus, who: &str| {
        let user = info(focus).user(who).cloned().unwrap();
        user.endpoints[0].status.unwrap()
    };
    let alice = focus.dial_in(&caller(ALICE));
    assert_eq!(status(&mut focus, ALICE), Status::DialingIn);
    focus.connected(alice, "sip:a@10.0.0.1", false);
    assert_eq!(status(&mut focus, ALICE), Status::Connected);
    focus.hold(alice, true);
    assert_eq!(status(&mut focus, ALICE), Status::OnHold);
    focus.hold(alice, false);
    let bob = focus.dial_out(&caller(BOB), false);
    focus.hold(bob, true);
    assert_eq!(status(&mut focus, BOB), Status::DialingOut, "nothing to hold yet");
    focus.alerting(bob);
    assert_eq!(status(&mut focus, BOB), Status::Alerting);
    focus.connected(bob, "sip:b@10.0.0.2", false);
    focus.document(&mut seen, true);
    focus.disconnecting(bob);
    assert_eq!(focus.counts().places, 1);
    focus.leave(bob, Booted);
    let told = Document::parse(&focus.document(&mut seen, false).unwrap()).unwrap();
    let endpoint = told.users.unwrap().rows[0].endpoints[0].endpoint.clone();
    assert_eq!(endpoint.status, Some(Status::Disconnected));
    assert_eq!(endpoint.disconnection_method, Some(Booted));
    assert!(!focus.leave(bob, Departed), "he is gone already");
}

#[test]
fn two_devices_are_one_user() {
    let mut focus = focus(Kind::AdHoc);
    let first = join(&mut focus, &caller(ALICE));
    let second = join(&mut focus, &caller(ALICE));
    let user = info(&mut focus).user(ALICE).cloned().unwrap();
    assert_eq!(user.endpoints.len(), 2);
    assert_ne!(user.endpoints[0].entity, user.endpoints[1].entity, "keys differ");
    assert_eq!(focus.counts().inside, 1);
    focus.leave(first, Departed);
    assert!(focus.is_in(&names(ALICE)));
    focus.leave(second, Departed);
    assert_eq!(focus.release(), Some(Release::Empty));
}

// Covers: CF-064, CF-067
#[test]
fn each_kind_ends_by_its_rule() {
    for (kind, group) in [
        (Kind::OneToOne, None),
        (Kind::AdHoc, None),
        (Kind::PreArranged, Some(group(true, INITIATE))),
        (Kind::Chat, Some(group(false, JOIN))),
    ] {
        let mut focus = focus_with(kind, group, policy());
        let alice = join(&mut focus, &caller(ALICE));
        assert_eq!(focus.release(), None, "{kind:?} begins with one");
        let bob = invite(&mut focus, BOB);
        let carol = (kind != Kind::OneToOne).then(|| invite(&mut focus, CAROL));
        focus.leave(alice, Departed);
        let expected = match kind {
            Kind::OneToOne => Some(Release::TooFew),
            Kind::AdHoc | Kind::Chat => None,
            Kind::PreArranged => Some(Release::CreatorLeft),
        };
        assert_eq!(focus.release(), expected, "{kind:?} without the creator");
        let Some(carol) = carol else { continue };
        focus.leave(carol, Departed);
        let expected = if kind == Kind::Chat { None } else { Some(Release::TooFew) };
        assert_eq!(focus.release(), expected, "{kind:?} with one");
        focus.leave(bob, Departed);
        assert_eq!(focus.release(), Some(Release::Empty), "{kind:?} with nobody");
    }
}

// Covers: CF-035, CF-064
#[test]
fn a_group_ends_with_its_last_key_participant() {
    let document = with(rules(true, INITIATE), key(BOB));
    let mut focus = focus_with(Kind::PreArranged, Some(made(document)), policy());
    join(&mut focus, &caller(ALICE));
    invite(&mut focus, CAROL);
    assert_eq!(focus.release(), None, "none has been in yet");
    let bob = invite(&mut focus, BOB);
    assert_eq!(focus.release(), None);
    focus.leave(bob, Departed);
    assert_eq!(focus.release(), Some(Release::NoKeyParticipant));
}

#[test]
fn somebody_added_to_two_makes_it_a_conference() {
    let mut focus = focus(Kind::OneToOne);
    let alice = join(&mut focus, &caller(ALICE));
    invite(&mut focus, BOB);
    focus.extend();
    invite(&mut focus, CAROL);
    focus.leave(alice, Departed);
    assert_eq!((focus.kind(), focus.release()), (Kind::AdHoc, None));
}
