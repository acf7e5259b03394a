use proptest::prelude::*;

use super::*;

const CHESS_CLUB: &str = include_str!("../../testdata/list-service/chess-club.xml");

fn parse(text: &str) -> Result<Group, GroupError> {
    Group::parse(text.as_bytes())
}

/// A group around `inner`.
fn group(inner: &str) -> String {
    format!(
        "<group xmlns='urn:oma:xml:poc:list-service' xmlns:rl='urn:ietf:params:xml:ns:resource-lists' \
         xmlns:cp='urn:ietf:params:xml:ns:common-policy' xmlns:oxe='urn:oma:xml:xdm:extensions' \
         xmlns:x='urn:x'><list-service uri='sip:g@h'>{inner}</list-service></group>"
    )
}

fn rights(group: &Group, user: &str, is_anonymous: bool) -> Rights {
    let is = |uri: &str| uri == user;
    group.rights(&Asker {
        is: &is,
        domain: "h",
        is_member: group.entries.iter().any(|entry| is(&entry.uri)),
        is_on: &|_| false,
        is_anonymous,
        now: 0,
    })
}

// Covers: CF-034
#[test]
fn a_group_is_read() {
    let group = parse(CHESS_CLUB).unwrap();
    assert_eq!(group.uri, "sip:chess-club@im.home1.example");
    assert_eq!(group.display_name(None), Some("Chess club"));
    assert_eq!(group.display_name(Some("en")), Some("Chess club"));
    assert_eq!(group.subject.as_deref(), Some("Openings"));
    let uris: Vec<&str> = group.entries.iter().map(|entry| entry.uri.as_str()).collect();
    assert_eq!(uris, ["sip:alice@home1.example", "sip:bob@home2.example"]);
    let names = group.entries.iter().map(|entry| entry.display_name.as_ref());
    let names: Vec<_> = names.map(|name| name.map(|name| name.text.as_str())).collect();
    assert_eq!(names, [Some("Alice"), None]);
    assert_eq!(group.externals.len(), 1);
    assert!(group.externals[0].ends_with("list%5b@name=%22friends%22%5d"));
    assert!(group.invite_members && !group.searchable);
    assert_eq!((group.max_participant_count, group.min_participant_count), (Some(10), None));
    assert!(group.supports("org.openmobilealliance:IM"));
}

// Covers: CF-034, CF-035
#[test]
fn the_rules_of_a_group_give_rights() {
    let group = parse(CHESS_CLUB).unwrap();
    let member = Rights {
        join_handling: Some(true),
        allow_initiate_conference: Some(true),
        allow_conference_state: Some(true),
        allow_invite_users_dynamically: Some(false),
        allow_anonymity: Some(false),
        allow_private_message: Some(true),
        allow_expelling: Some(false),
        ..Rights::default()
    };
    assert_eq!(rights(&group, "sip:bob@home2.example", false), member);
    let owner = Rights { allow_expelling: Some(true), ..member };
    assert_eq!(rights(&group, "sip:alice@home1.example", false), owner);
    assert_eq!(rights(&group, "sip:alice@home1.example", true), owner);
    assert_eq!(rights(&group, "sip:mallory@h", false), Rights::default());
}

// Covers: CF-034, CF-035
#[test]
fn every_right_is_read() {
    let mut all = Rights::default();
    for (name, _) in all.places() {
        for prefix in ["", "oxe:"] {
            let rule = format!(
                "<cp:ruleset><cp:rule id='1'><cp:actions><{prefix}{name}>true</{prefix}{name}>\
                 <x:{name}>false</x:{name}></cp:actions></cp:rule></cp:ruleset>"
            );
            let mut given = rights(&parse(&group(&rule)).unwrap(), "sip:a@h", false);
            let given: Vec<&str> = given
                .places()
                .iter()
                .filter(|(_, it)| **it == Some(true))
                .map(|(n, _)| *n)
                .collect();
            assert_eq!(given, [name]);
        }
    }
}

// Covers: CF-034, CF-063
#[test]
fn what_a_session_needs_is_read() {
    let inner = "<display-name xml:lang='en'>Chess</display-name><display-name xml:lang='de'> Schach \
        </display-name><invite-members>0</invite-members><max-participant-count> 4 \
        </max-participant-count><oxe:min-participant-count>2</oxe:min-participant-count>\
        <oxe:required-participants-list><entry uri='sip:a@h'/><oxe:entry uri='sip:b@h'/>\
        </oxe:required-participants-list><oxe:supported-services><oxe:service enabler='x:IM'/>\
        </oxe:supported-services><oxe:searchable>true</oxe:searchable><oxe:schedule>x</oxe:schedule>\
        <x:list/><list><rl:entry uri=' sip:a@h '/><x:entry/></list>";
    let group = parse(&group(inner)).unwrap();
    assert_eq!(group.display_name(Some("de")), Some("Schach"));
    assert_eq!(group.display_name(Some("fr")), Some("Chess"));
    assert_eq!((group.max_participant_count, group.min_participant_count), (Some(4), Some(2)));
    assert_eq!(group.required_participants, ["sip:a@h", "sip:b@h"]);
    assert!(group.supports("x:IM") && !group.supports("x:POC"));
    assert!(!group.invite_members && group.searchable);
    assert_eq!(group.entries[0].uri, "sip:a@h");
}

#[test]
fn refuses_and_says_why() {
    let action = |value: &str| {
        group(&format!(
            "<cp:ruleset><cp:rule id='1'><cp:actions><join-handling>{value}</join-handling>\
             </cp:actions></cp:rule></cp:ruleset>"
        ))
    };
    #[rustfmt::skip]
    let table = [
        (String::new(),                                     "document is not well-formed XML"),
        ("<group/>".to_owned(),                             "root element is that of another document"),
        (group(&" ".repeat(1024 * 1024)),                   "document is too large"),
        (group("").replace("<list-service uri='sip:g@h'></list-service>", ""),
                                                            "list-service is missing or not the only one"),
        (group("").replace("</group>", "<list-service uri='sip:h@h'/></group>"),
                                                            "list-service is missing or not the only one"),
        (group("").replace("sip:g@h", ""),                  "uri of list-service is missing or empty"),
        (group("<list><entry/></list>"),                    "uri of entry is missing or empty"),
        (group("<list><external/></list>"),                 "anchor of external is missing or empty"),
        (group("<list><entry uri='a'/><entry uri='a'/></list>"), "uri of entry is there twice"),
        (group("<invite-members>maybe</invite-members>"),   "invite-members has a value that it cannot have"),
        (group("<invite-members/>"),                        "invite-members has a value that it cannot have"),
        (group("<max-participant-count>0</max-participant-count>"),
                                                            "max-participant-count has a value that it cannot have"),
        (group("<oxe:min-participant-count>x</oxe:min-participant-count>"),
                                                            "min-participant-count has a value that it cannot have"),
        (group("<max-participant-count>2</max-participant-count>\
                <oxe:min-participant-count>3</oxe:min-participant-count>"),
                                                            "min-participant-count is above max-participant-count"),
        (group("<oxe:required-participants-list><entry/></oxe:required-participants-list>"),
                                                            "required-participants-list is missing or empty"),
        (action("yes"),                                     "join-handling has a value that it cannot have"),
        (action("").replace("id='1'", ""),                  "the id of a rule is missing or not the only one"),
    ];
    for (text, error) in table {
        let refused = parse(&text).map_err(|error| error.to_string());
        assert_eq!(refused, Err(error.to_owned()), "{text:.300}");
    }
}

// Covers: CF-034
#[test]
fn members_are_bounded() {
    let members = |count: usize| {
        let entries: String = (0..count).map(|n| format!("<entry uri='{n}'/>")).collect();
        parse(&group(&format!("<list>{entries}<external anchor='http://h/'/></list>")))
    };
    assert_eq!(members(4095).unwrap().entries.len(), 4095);
    assert_eq!(members(4096), Err(GroupError::Members));
}

proptest! {
    #[test]
    fn never_panics(octets: Vec<u8>, at in 0_usize..2000, octet: u8) {
        let _ = Group::parse(&octets);
        let mut octets = CHESS_CLUB.as_bytes().to_vec();
        if let Some(place) = octets.get_mut(at) {
            *place = octet;
        }
        if let Ok(group) = Group::parse(&octets) {
            rights(&group, "sip:alice@home1.example", true);
        }
    }
}
