use proptest::prelude::*;

use super::*;

fn read(text: &str) -> Result<Ruleset, RulesetError> {
    let document = roxmltree::Document::parse(text).unwrap();
    Ruleset::read(document.root()).map(Option::unwrap_or_default)
}

/// Rules around `inner`.
fn rules(inner: &str) -> String {
    format!(
        "<ruleset xmlns='urn:ietf:params:xml:ns:common-policy' \
         xmlns:o='urn:oma:xml:xdm:common-policy' xmlns:x='urn:x'>{inner}</ruleset>"
    )
}

/// A rule `id` with `conditions` that says `x:a` is `value`.
fn rule_with(id: &str, conditions: &str, value: &str) -> String {
    format!(
        "<rule id='{id}'><conditions>{conditions}</conditions>\
         <actions><x:a>{value}</x:a></actions><transformations/></rule>"
    )
}

const NOW: i64 = 1_072_281_700;

/// The rules that match a user.
fn matching(ruleset: &Ruleset, user: &str, is_member: bool, is_anonymous: bool) -> String {
    let asker = Asker {
        is: &|uri| uri.eq_ignore_ascii_case(user),
        domain: user.split_once('@').map_or("", |(_, domain)| domain),
        is_member,
        is_on: &|anchor| anchor == "http://h/friends" && user.contains("friend"),
        is_anonymous,
        now: NOW,
    };
    ruleset.matching(&asker).map(|rule| rule.id.as_str()).collect::<Vec<_>>().join(" ")
}

#[test]
fn the_rules_of_the_rfc_match_whom_they_mean() {
    let one = include_str!("../../testdata/common-policy/rfc4745-01-ruleset.xml");
    let any = include_str!("../../testdata/common-policy/rfc4745-02-ruleset.xml");
    let sphere = include_str!("../../testdata/common-policy/rfc4745-03-ruleset.xml");
    let domain = include_str!("../../testdata/common-policy/rfc4745-04-ruleset.xml");
    let spheres = include_str!("../../testdata/common-policy/rfc4745-05-ruleset.xml");
    let past = include_str!("../../testdata/common-policy/rfc4745-06-ruleset.xml");
    #[rustfmt::skip]
    let table = [
        (one,     "sip:alice@example.com", "f3g44r1"),
        (one,     "mailto:bob@example.net", "f3g44r1"),
        (one,     "sip:bob@example.net",   ""),
        (any,     "sip:x@anywhere",        "f3g44r5"),
        (domain,  "sip:carol@example.com", "f3g44r1"),
        (domain,  "sip:carol@EXAMPLE.COM", "f3g44r1"),
        (domain,  "sip:alice@example.com", ""),
        (domain,  "sip:alice@example.org", ""),
        (past,    "sip:alice@example.com", ""), // §7.4: its time is over
        (sphere,  "sip:carol@h",           ""), // §7.3: a sphere is not known here
        (spheres, "sip:john@doe.example.com", ""),
    ];
    for (text, user, expected) in table {
        assert_eq!(matching(&read(text).unwrap(), user, false, false), expected, "{user} {text}");
    }
    let without = sphere.replace("<sphere value=\"work\"/>", "");
    #[rustfmt::skip]
    let table = [ // §7.1.3.2, at a time between from and until
        ("sip:carol@h",               "f3g44r1"),
        ("sip:carol@example.org",     ""),
        ("sip:alice@bad.example.net", ""),
        ("sip:carol@bad.example.net", "f3g44r1"),
        ("tel:+1-212-555-1234",       ""),
    ];
    for (user, expected) in table {
        assert_eq!(matching(&read(&without).unwrap(), user, false, false), expected, "{user}");
    }
}

#[test]
fn the_conditions_of_xdm() {
    let external = "<o:external-list><o:entry anc='http://h/friends'/></o:external-list>";
    let alice = "<identity><one id='sip:alice@h'/></identity>";
    let text = rules(
        &[
            rule_with("all", "", "true"),
            rule_with("alice", alice, "true"),
            rule_with("members", "<o:is-list-member/>", "true"),
            rule_with("friends", external, "true"),
            rule_with("anonymous", "<o:anonymous-request/>", "true"),
            rule_with("others", "<o:other-identity/>", "true"),
            rule_with("both", &format!("{alice}<o:is-list-member/>"), "true"),
            rule_with("never", "<x:is-list-member/>", "true"),
            rule_with("nobody", "<identity><x:one id='sip:alice@h'/></identity>", "true"),
            "<rule id='bare'/>".to_owned(),
        ]
        .concat(),
    );
    let ruleset = read(&text).unwrap();
    #[rustfmt::skip]
    let table = [
        ("sip:alice@h",  false, false, "all alice bare"),
        ("sip:alice@h",  true,  false, "all alice members both bare"),
        ("sip:alice@h",  true,  true,  "all alice members anonymous both bare"),
        ("sip:bob@h",    true,  false, "all members bare"),
        ("sip:bob@h",    false, false, "all others bare"),
        ("sip:bob@h",    false, true,  "all anonymous others bare"),
        ("sip:friend@h", false, false, "all friends bare"),
    ];
    for (user, is_member, is_anonymous, expected) in table {
        assert_eq!(matching(&ruleset, user, is_member, is_anonymous), expected, "{user}");
    }
}

#[test]
fn what_rules_say_is_combined() {
    let alice = "<identity><one id='sip:alice@h'/></identity>";
    #[rustfmt::skip]
    let table = [ // RFC 4745 §10.2, §10.3
        (vec![("", "true"), ("", "false")],      Some(true)),
        (vec![("", "false"), ("", "1")],         Some(true)),
        (vec![("", "false"), ("", "0")],         Some(false)),
        (vec![(alice, "true"), ("", "false")],   Some(false)),
        (vec![(alice, "true")],                  None),
        (vec![],                                 None),
    ];
    for (said, expected) in table {
        let each = said.iter().enumerate().map(|(n, (conditions, value))| {
            rule_with(&n.to_string(), conditions, &format!(" {value} "))
        });
        let ruleset = read(&rules(&each.collect::<String>())).unwrap();
        let asker = Asker {
            is: &|_| false,
            domain: "h",
            is_member: false,
            is_on: &|_| false,
            is_anonymous: false,
            now: NOW,
        };
        assert_eq!(ruleset.permits(&asker, &["urn:x"], "a"), expected, "{said:?}");
        assert_eq!(ruleset.permits(&asker, &["urn:y"], "a"), None);
    }
}

#[test]
fn refuses() {
    use RulesetError::{Anchor, Identity, Rows, RuleId, Validity};
    let with = |conditions: &str| rules(&rule_with("1", conditions, "true"));
    let time = "2003-12-24T17:00:00+01:00";
    #[rustfmt::skip]
    let table = [
        (rules("<rule/>"),                                          RuleId),
        (rules("<rule id=' '/>"),                                   RuleId),
        (rules("<rule id='a'/><rule id='b'/><rule id='a'/>"),       RuleId),
        (with("<identity><one/></identity>"),                       Identity),
        (with("<identity><many><except/></many></identity>"),       Identity),
        (with("<o:external-list><o:entry/></o:external-list>"),     Anchor),
        (with("<validity><from>soon</from></validity>"),            Validity),
        (with(&format!("<validity><from>{time}</from></validity>")), Validity),
        (with(&format!("<validity><until>{time}</until><from>{time}</from></validity>")), Validity),
        (rules(&(0..513).map(|n| format!("<rule id='{n}'/>")).collect::<String>()), Rows),
        (with(&format!("<identity>{}</identity>", "<one id='a'/>".repeat(513))), Rows),
        (with(&"<o:is-list-member/>".repeat(513)),                  Rows),
    ];
    for (text, error) in table {
        assert_eq!(read(&text), Err(error), "{text:.300}");
    }
}

proptest! {
    #[test]
    fn never_panics(
        parts in prop::collection::vec(prop::sample::select(vec![
            "<rule id='a'>", "<rule id='b'>", "</rule>", "<conditions>", "</conditions>", "<identity>",
            "</identity>", "<one id='a'/>", "<many/>", "<validity>", "</validity>", "<from>", "</from>",
            "<o:is-list-member/>", "<o:external-list/>", "<actions/>", "2003-12-24T17:00:00Z",
        ]), 0..20),
    ) {
        let text = rules(&parts.concat());
        if roxmltree::Document::parse(&text).is_ok()
            && let Ok(ruleset) = read(&text)
        {
            matching(&ruleset, "sip:a@h", true, true);
        }
    }
}
