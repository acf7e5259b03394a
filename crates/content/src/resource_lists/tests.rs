use proptest::prelude::*;

use super::*;

fn parse(text: &str) -> Result<ResourceLists, ResourceListsError> {
    ResourceLists::parse(text.as_bytes(), &Limits::default())
}

/// A document with one list around `inner`.
fn document(inner: &str) -> String {
    format!(
        "<resource-lists xmlns='urn:ietf:params:xml:ns:resource-lists' xmlns:x='urn:x' \
         xmlns:cp='urn:ietf:params:xml:ns:copycontrol'><list>{inner}</list></resource-lists>"
    )
}

/// The recipients of a document in few words.
fn render(octets: &[u8]) -> String {
    let entries = ResourceLists::parse(octets, &Limits::default()).unwrap().entries();
    let recipients = recipients(entries, |uri| Some(uri.to_ascii_lowercase()));
    let one = |recipient: &Recipient| {
        let anonymous = if recipient.anonymize { "*" } else { "" };
        format!("{} {}{anonymous}", recipient.uri, recipient.copy_control.as_str())
    };
    recipients.iter().map(one).collect::<Vec<_>>().join(", ")
}

// Covers: CF-012
#[test]
fn the_lists_of_the_rfcs_are_read() {
    let seven = "sip:bill@example.com to, sip:randy@example.net to*, sip:eddy@example.com to*, \
                 sip:joe@example.org cc, sip:carol@example.net cc*, sip:ted@example.net bcc, \
                 sip:andy@example.com bcc";
    #[rustfmt::skip]
    let table: [(&[u8], &str); 4] = [
        (include_bytes!("../../testdata/resource-lists/rfc5364-6-recipients.xml"), seven),
        (include_bytes!("../../testdata/resource-lists/rfc5366-capital.xml"), seven), // ns:copyControl
        (
            include_bytes!("../../testdata/resource-lists/rfc5368-bye.xml"),
            "sip:bill@example.com?method=BYE bcc, sip:joe@example.org?method=BYE bcc, \
             sip:ted@example.net?method=BYE bcc",
        ),
        (
            include_bytes!("../../testdata/resource-lists/rfc4826-3.3.xml"),
            "sip:bill@example.com bcc, sip:joe@example.com bcc, sip:nancy@example.com bcc",
        ),
    ];
    for (octets, expected) in table {
        assert_eq!(render(octets), expected);
    }
}

// Covers: CF-003
#[test]
fn lists_inside_lists_and_references_are_kept() {
    let octets = include_bytes!("../../testdata/resource-lists/rfc4826-3.3.xml");
    let document = ResourceLists::parse(octets, &Limits::default()).unwrap();
    let [friends] = document.lists.as_slice() else { panic!("{document:?}") };
    assert_eq!(friends.name.as_deref(), Some("friends"));
    let references: Vec<_> = friends.references();
    let [Member::EntryRef(entry), Member::External(list)] = references.as_slice() else {
        panic!("{references:?}")
    };
    assert!(entry.uri.starts_with("resource-lists/users/sip:bill@example.com/index/~~/"));
    assert!(list.uri.starts_with("http://xcap.example.org/resource-lists/users/"));
    let marketing = DisplayName { text: "Marketing".to_owned(), language: None };
    assert_eq!(list.display_name, Some(marketing));
    let again = parse(&document.to_string()).unwrap();
    assert_eq!(again, document);
}

// Covers: CF-012, SEC-048
#[test]
fn the_recipients_see_the_list_of_the_rfc() {
    let octets = include_bytes!("../../testdata/resource-lists/rfc5364-6-recipients.xml");
    let seen = include_bytes!("../../testdata/resource-lists/rfc5364-6-history.xml");
    let limits = Limits::default();
    let entries = ResourceLists::parse(octets, &limits).unwrap().entries();
    let recipients = recipients(entries, |uri| Some(uri.to_owned()));
    let written = history(&recipients).unwrap();
    assert_eq!(written, ResourceLists::parse(seen, &limits).unwrap());
    let expect = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n\
        <resource-lists xmlns=\"urn:ietf:params:xml:ns:resource-lists\" \
        xmlns:cp=\"urn:ietf:params:xml:ns:copycontrol\">\r\n  <list>\r\n    \
        <entry uri=\"sip:bill@example.com\" cp:copyControl=\"to\"/>\r\n    \
        <entry uri=\"sip:anonymous@anonymous.invalid\" cp:copyControl=\"to\" cp:count=\"2\"/>\r\n    \
        <entry uri=\"sip:joe@example.org\" cp:copyControl=\"cc\"/>\r\n    \
        <entry uri=\"sip:anonymous@anonymous.invalid\" cp:copyControl=\"cc\" cp:count=\"1\"/>\r\n  \
        </list>\r\n</resource-lists>\r\n";
    assert_eq!(written.to_string(), expect);
}

// Covers: CF-012, SEC-048
#[test]
fn blind_copies_are_seen_by_nobody() {
    let bcc = "<entry uri='sip:a@h'/><entry uri='sip:b@h' cp:copyControl='bcc'/>\
               <entry uri='sip:c@h' cp:copyControl='bcc' cp:anonymize='true'/>\
               <entry uri='sip:d@h' cp:anonymize='true'/>";
    let seen = |inner: &str| {
        let entries = parse(&document(inner)).unwrap().entries();
        history(&recipients(entries, |uri| Some(uri.to_owned())))
    };
    assert_eq!(seen(bcc), None);
    assert_eq!(seen(""), None);
    let to = format!("{bcc}<entry uri='sip:e@h' cp:copyControl='to'/>");
    let list = seen(&to).unwrap();
    assert_eq!(list.entries().len(), 1);
    assert!(list.to_string().contains("sip:e@h"));
}

// Covers: CF-006
#[test]
fn one_recipient_is_taken_once() {
    let entry = |uri: &str, rest: &str| format!("<entry uri='{uri}' {rest}/>");
    #[rustfmt::skip]
    let table = [
        ("cp:copyControl='cc'", "cp:copyControl='to'",                        "sip:a@h to"),
        ("cp:copyControl='to'", "cp:copyControl='bcc'",                       "sip:a@h to"),
        ("",                    "cp:copyControl='cc'",                        "sip:a@h cc"),
        ("",                    "",                                           "sip:a@h bcc"),
        ("cp:copyControl='cc' cp:anonymize='1'", "cp:copyControl='to'",       "sip:a@h to*"),
        ("cp:copyControl='bcc' cp:anonymize='true'", "cp:copyControl='to'",   "sip:a@h to"),
        ("cp:copyControl='to' cp:anonymize='0'", "cp:copyControl='cc'",       "sip:a@h to"),
    ];
    for (first, second, expected) in table {
        let inner = entry("sip:a@h", first) + &entry("sip:A@H", second);
        assert_eq!(render(document(&inner).as_bytes()), expected, "{first} {second}");
    }
    // Who has no key is no recipient.
    let entries = parse(&document(&entry("mailto:a@h", ""))).unwrap().entries();
    assert_eq!(recipients(entries, |_| None::<u8>), []);
}

#[test]
fn attributes_of_a_list_hold_for_what_is_inside() {
    let inner = "<list cp:copyControl='cc' cp:anonymize='true'><entry uri='sip:a@h'/>\
                 <list><entry uri='sip:b@h' cp:copyControl='to'/></list>\
                 <entry uri='sip:c@h' cp:anonymize='false'/></list><entry uri='sip:d@h'/>";
    let expected = "sip:a@h cc*, sip:b@h to*, sip:c@h cc, sip:d@h bcc";
    assert_eq!(render(document(inner).as_bytes()), expected);
}

#[test]
fn extensions_are_passed_over() {
    let inner = "<x:entry uri='sip:x@h'/><entry uri=' sip:a@h ' x:copyControl='to' copyControl='to'>\
                 <x:display-name>X</x:display-name><display-name xml:lang='de'> A </display-name>\
                 </entry><other/>text";
    let entries = parse(&document(inner)).unwrap().entries();
    let name = DisplayName { text: " A ".to_owned(), language: Some("de".to_owned()) };
    let expected = Entry {
        uri: "sip:a@h".to_owned(),
        display_name: Some(name),
        copy: CopyAttributes::default(),
    };
    assert_eq!(entries, [expected]);
}

#[test]
fn refuses() {
    use ResourceListsError::{Copy, Uri, Xml};
    let entry = |attributes: &str| document(&format!("<entry {attributes}/>"));
    #[rustfmt::skip]
    let table = [
        (String::new(),                                      Xml(XmlError::NotWellFormed)),
        (document("").replace("ns:resource-lists", "ns:x"),  Xml(XmlError::Root)),
        (document(&" ".repeat(512 * 1024)),                  Xml(XmlError::TooLarge)),
        (document(&"<x:a/>".repeat(33_000)),                 Xml(XmlError::TooLarge)),
        (entry(""),                                          Uri),
        (entry("uri=' '"),                                   Uri),
        (document("<external/>"),                            Uri),
        (document("<entry-ref uri='a'/>"),                   Uri),
        (entry("uri='sip:a@h' cp:copyControl='TO'"),         Copy),
        (entry("uri='sip:a@h' cp:anonymize='yes'"),          Copy),
        (entry("uri='sip:a@h' cp:count='-1'"),               Copy),
        (document("<list cp:copyControl=''/>"),              Copy),
    ];
    for (text, error) in table {
        assert_eq!(parse(&text), Err(error), "{text:.300}");
    }
}

// Covers: CF-019
#[test]
fn members_and_depth_are_bounded() {
    let limits = Limits { members_max: 10, depth_max: 3, ..Limits::default() };
    let read = |inner: &str| ResourceLists::parse(document(inner).as_bytes(), &limits).err();
    let entries = |count| "<entry uri='sip:a@h'/>".repeat(count);
    assert_eq!(read(&entries(9)), None); // the list around them is the tenth
    assert_eq!(read(&entries(10)), Some(ResourceListsError::Members));
    let nested = |depth| format!("{}{}", "<list>".repeat(depth), "</list>".repeat(depth));
    assert_eq!(read(&nested(2)), None);
    assert_eq!(read(&nested(3)), Some(ResourceListsError::Depth));
    let deep = nested(16_000);
    assert_eq!(parse(&document(&deep)), Err(ResourceListsError::Depth));
}

fn display_names() -> impl Strategy<Value = Option<DisplayName>> {
    let name = ("[ -~é\n]{0,8}", prop::option::of("[a-z]{2}"));
    prop::option::of(name.prop_map(|(text, language)| DisplayName { text, language }))
}

fn copies() -> impl Strategy<Value = CopyAttributes> {
    let control = prop::sample::select(vec![CopyControl::To, CopyControl::Cc, CopyControl::Bcc]);
    let (control, anonymize, count) =
        (prop::option::of(control), any::<Option<bool>>(), any::<Option<u32>>());
    (control, anonymize, count).prop_map(|(control, anonymize, count)| CopyAttributes {
        control,
        anonymize,
        count,
    })
}

fn members() -> impl Strategy<Value = Member> {
    let member = (0..3, "[!-~]{1,12}", display_names(), copies());
    member.prop_map(|(kind, uri, display_name, copy)| match kind {
        0 => Member::Entry(Entry { uri, display_name, copy }),
        1 => Member::EntryRef(Reference { uri, display_name, copy }),
        _ => Member::External(Reference { uri, display_name, copy }),
    })
}

fn lists() -> impl Strategy<Value = List> {
    let list = |members: BoxedStrategy<Vec<Member>>| {
        let name = prop::option::of("[ -~]{0,6}");
        (name, display_names(), copies(), members).prop_map(
            |(name, display_name, copy, members)| List { name, display_name, copy, members },
        )
    };
    let leaf = list(prop::collection::vec(members(), 0..4).boxed());
    leaf.prop_recursive(3, 20, 4, move |inner| {
        let member = prop_oneof![members(), inner.prop_map(Member::List)];
        list(prop::collection::vec(member, 0..4).boxed())
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn display_then_parse_is_identity(lists in prop::collection::vec(lists(), 0..3)) {
        let written = ResourceLists { lists };
        prop_assert_eq!(parse(&written.to_string()), Ok(written));
    }

    #[test]
    fn never_panics(octets: Vec<u8>) {
        let _ = ResourceLists::parse(&octets, &Limits::default());
    }

    #[test]
    fn never_panics_on_what_is_nearly_a_document(
        parts in prop::collection::vec(prop::sample::select(vec![
            "<resource-lists xmlns='urn:ietf:params:xml:ns:resource-lists'>", "<list>", "</list>",
            "<entry uri='a'/>", "<entry uri='b'>", "</entry>", "</resource-lists>", "<external/>",
            "<display-name>", "</display-name>", "&lt;", "<!--", "-->", "<![CDATA[", "]]>",
        ]), 0..20),
    ) {
        let _ = parse(&parts.concat());
    }

    /// Nobody who is a blind copy or to be anonymous is on the list that the others see, and
    /// everybody else is.
    #[test]
    fn nobody_hidden_is_shown(
        entries in prop::collection::vec(("[a-f]", copies()), 0..12),
    ) {
        let entries: Vec<Entry> = entries
            .into_iter()
            .map(|(user, copy)| Entry { uri: format!("sip:{user}@h"), copy, ..Entry::default() })
            .collect();
        let recipients = recipients(entries, |uri| Some(uri.to_owned()));
        let seen = history(&recipients).map_or_else(Vec::new, |list| list.entries());
        for recipient in &recipients {
            let hidden = recipient.anonymize || recipient.copy_control == CopyControl::Bcc;
            let shown = seen.iter().filter(|entry| entry.uri == recipient.uri).count();
            prop_assert_eq!(shown, usize::from(!hidden));
        }
        let counted: u32 = seen.iter().filter_map(|entry| entry.copy.count).sum();
        let anonymous = recipients.iter().filter(|recipient| {
            recipient.anonymize && recipient.copy_control != CopyControl::Bcc
        });
        prop_assert_eq!(usize::try_from(counted).unwrap(), anonymous.count());
    }
}
