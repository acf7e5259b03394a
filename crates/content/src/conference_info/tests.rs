use std::borrow::Cow;

use proptest::prelude::*;

use super::*;
use crate::XmlError;

const ENTITY: &str = "sip:im-sess-7f3a9c@im.home1.example";

fn parse(text: &str) -> Result<Document, ConferenceInfoError> {
    Document::parse(text.as_bytes())
}

fn text(octets: &[u8]) -> String {
    String::from_utf8(octets.to_vec()).unwrap()
}

/// A document around `inner`.
fn document(attributes: &str, inner: &str) -> String {
    format!(
        "<conference-info xmlns='{}' entity='sip:c@h' {attributes}>{inner}</conference-info>",
        NAMESPACE.0
    )
}

fn user(entity: &str, status: Status) -> User {
    let endpoint = Endpoint {
        entity: entity.to_owned(),
        status: Some(status),
        joining_method: Some(JoiningMethod::DialedIn),
        ..Endpoint::default()
    };
    User { entity: entity.to_owned(), endpoints: vec![endpoint], ..User::default() }
}

/// The users that are known, in few words.
fn render(info: &ConferenceInfo) -> String {
    let users = info.conference().users.iter().map(|user| {
        let endpoints = user.endpoints.iter().map(|endpoint| {
            let status = endpoint.status.map(|status| token(&Status::ALL, status));
            format!("{}={}", endpoint.entity, status.unwrap_or("-"))
        });
        format!("{}[{}]", user.entity, endpoints.collect::<Vec<_>>().join(","))
    });
    users.collect::<Vec<_>>().join(" ")
}

// Covers: CF-060
#[test]
fn the_documents_of_rfc_4575_are_read() {
    let basic = include_bytes!("../../testdata/conference-info/rfc4575-7.1.xml");
    let basic = Document::parse(basic).unwrap();
    assert_eq!((basic.entity.as_str(), basic.version), ("sips:conf233@example.com", 1));
    assert_eq!(basic.extent, Extent::Full);
    let subject = basic.description.as_ref().and_then(|described| described.subject.as_deref());
    assert_eq!(subject, Some("Agenda: This month's goals"));
    assert_eq!(basic.state.and_then(|state| state.user_count), Some(33));
    let mut info = ConferenceInfo::new();
    assert_eq!(info.apply(basic), Applied::Taken);
    assert_eq!(
        render(&info),
        "sip:bob@example.com[sip:bob@pc33.example.com=disconnected] \
         sip:alice@example.com[sip:4kfk4j392jsu@example.com;grid=433kj4j3u=connected]"
    );
    let bob = &info.user("sip:bob@example.com").unwrap().endpoints[0];
    assert_eq!(bob.disconnection_method, Some(DisconnectionMethod::Departed));
    let left = bob.disconnection_info.clone().unwrap();
    assert_eq!(left.reason.as_deref(), Some("bad voice quality"));
    assert_eq!(bob.media[0].kind.as_deref(), Some("audio"));

    let rich = include_bytes!("../../testdata/conference-info/rfc4575-7.2.xml");
    let rich = Document::parse(rich).unwrap();
    assert_eq!((rich.version, rich.extent), (5, Extent::Partial));
    let described = rich.description.as_ref().unwrap();
    assert_eq!(described.conf_uris.len(), 3);
    assert_eq!(described.service_uris[1].purpose.as_deref(), Some("recording"));
    assert_eq!(described.available_media[1].id, "34569");
    assert_eq!(described.maximum_user_count, Some(100));
    let row = &rich.users.as_ref().unwrap().rows[0];
    assert_eq!(row.user.roles, ["participant"]);
    let endpoint = &row.endpoints[0].endpoint;
    assert_eq!(endpoint.status, Some(Status::Disconnecting));
    let referred = endpoint.referred.as_ref().and_then(|referred| referred.by.as_deref());
    assert_eq!(referred, Some("sip:mike@example.com"));
    // The versions between are missing.
    assert_eq!(info.apply(rich), Applied::Incomplete);
    assert_eq!(info.version(), Some(1));
}

// Covers: CF-059
#[test]
fn nicknames_are_read_and_written() {
    let octets = include_bytes!("../../testdata/conference-info/rfc7701-fig7.xml");
    let mut info = ConferenceInfo::new();
    assert_eq!(info.apply(Document::parse(octets).unwrap()), Applied::Taken);
    let nickname = |info: &ConferenceInfo| {
        info.user("sip:alice@atlanta.example.com").and_then(|user| user.nickname.clone())
    };
    assert_eq!(nickname(&info).as_deref(), Some("Alice the great"));
    let written = Elements::full(info.conference()).document("sip:c@h", 1);
    let mut again = ConferenceInfo::new();
    assert_eq!(again.apply(Document::parse(&written).unwrap()), Applied::Taken);
    assert_eq!(again.conference(), info.conference());
}

// Covers: CF-058, CF-083
#[test]
fn a_full_document_is_written_in_the_order_of_the_schema() {
    let executed = |reason: &str| {
        Some(Execution {
            when: Some("2005-03-04T20:00:00Z".to_owned()),
            reason: Some(reason.to_owned()),
            by: Some("sip:mike@example.com".to_owned()),
        })
    };
    let some = |text: &str| Some(text.to_owned());
    let endpoint = Endpoint {
        entity: "sip:b@pc".to_owned(),
        display_text: some("Laptop"),
        referred: executed("a"),
        status: Some(Status::Disconnected),
        joining_method: Some(JoiningMethod::DialedOut),
        joining_info: executed("b"),
        disconnection_method: Some(DisconnectionMethod::Booted),
        disconnection_info: executed("c & <d>"),
        media: vec![Medium {
            id: "1".to_owned(),
            display_text: some("main"),
            kind: some("message"),
            status: some("sendrecv"),
        }],
    };
    let bob = User {
        entity: "sip:b@h".to_owned(),
        nickname: some("\"Dopey\""),
        display_text: some("Bob"),
        roles: vec!["participant".to_owned(), "owner".to_owned()],
        endpoints: vec![endpoint],
    };
    let description = Description {
        display_text: some("Sales"),
        subject: some("Plans"),
        free_text: some("More"),
        keywords: some("a b"),
        conf_uris: vec![ServiceUri {
            uri: "sip:c@h".to_owned(),
            display_text: some("here"),
            purpose: some("participation"),
        }],
        service_uris: vec![ServiceUri { uri: "http://h/".to_owned(), ..ServiceUri::default() }],
        maximum_user_count: Some(20),
        available_media: vec![Medium {
            id: "1".to_owned(),
            kind: some("message"),
            ..Medium::default()
        }],
    };
    let state = ConferenceState { user_count: Some(1), active: Some(true), locked: Some(false) };
    let conference = Conference { description, state, users: vec![bob] };
    let written = Elements::full(&conference).document("sip:c@h;a=\"b\"", 7);
    let execution = |name: &str, reason: &str| {
        format!(
            "<{name}><when>2005-03-04T20:00:00Z</when><reason>{reason}</reason>\
             <by>sip:mike@example.com</by></{name}>"
        )
    };
    let expect = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n\
         <conference-info xmlns=\"urn:ietf:params:xml:ns:conference-info\" \
         xmlns:xcon=\"urn:ietf:params:xml:ns:xcon-conference-info\" \
         entity=\"sip:c@h;a=&quot;b&quot;\" state=\"full\" version=\"7\">\
         <conference-description><display-text>Sales</display-text><subject>Plans</subject>\
         <free-text>More</free-text><keywords>a b</keywords>\
         <conf-uris><entry><uri>sip:c@h</uri><display-text>here</display-text>\
         <purpose>participation</purpose></entry></conf-uris>\
         <service-uris><entry><uri>http://h/</uri></entry></service-uris>\
         <maximum-user-count>20</maximum-user-count>\
         <available-media><entry label=\"1\"><type>message</type></entry></available-media>\
         </conference-description>\
         <conference-state><user-count>1</user-count><active>true</active><locked>false</locked>\
         </conference-state><users>\r\n\
         <user entity=\"sip:b@h\" state=\"full\" xcon:nickname=\"&quot;Dopey&quot;\">\
         <display-text>Bob</display-text>\
         <roles><entry>participant</entry><entry>owner</entry></roles>\
         <endpoint entity=\"sip:b@pc\" state=\"full\"><display-text>Laptop</display-text>{}\
         <status>disconnected</status><joining-method>dialed-out</joining-method>{}\
         <disconnection-method>booted</disconnection-method>{}\
         <media id=\"1\"><display-text>main</display-text><type>message</type>\
         <status>sendrecv</status></media></endpoint></user></users></conference-info>\r\n",
        execution("referred", "a"),
        execution("joining-info", "b"),
        execution("disconnection-info", "c &amp; &lt;d&gt;"),
    );
    assert_eq!(text(&written), expect);
    let mut info = ConferenceInfo::new();
    assert_eq!(info.apply(Document::parse(&written).unwrap()), Applied::Taken);
    assert_eq!(*info.conference(), conference);
}

// Covers: CF-058
#[test]
fn an_empty_conference_has_what_a_full_document_must_have() {
    let written = Elements::full(&Conference::default()).document(ENTITY, 0);
    let read = Document::parse(&written).unwrap();
    assert!(read.description.is_some() && read.users.is_some() && read.state.is_none());
    assert_eq!((read.extent, read.version, read.entity.as_str()), (Extent::Full, 0, ENTITY));
}

// Covers: CF-058, CF-083
#[test]
fn changes_add_up_to_the_conference() {
    let anonymous = "sip:anonymous2@anonymous.invalid";
    let conference = Conference {
        description: Description { subject: Some("Saturday".to_owned()), ..Description::default() },
        state: ConferenceState { user_count: Some(2), active: Some(true), locked: None },
        users: vec![user("sip:alice@h", Status::Connected), user(anonymous, Status::Connected)],
    };
    let mut info = ConferenceInfo::new();
    let full = Elements::full(&conference).document(ENTITY, 1);
    assert_eq!(info.apply(Document::parse(&full).unwrap()), Applied::Taken);

    // A participant goes: once as disconnected ...
    let state = ConferenceState { user_count: Some(1), active: Some(true), locked: None };
    let mut gone = user(anonymous, Status::Disconnected).endpoints;
    gone[0].disconnection_method = Some(DisconnectionMethod::Departed);
    let changes = [UserChange::Endpoints(anonymous, &gone)];
    let partial = Elements::partial(None, Some(&state), changes).document(ENTITY, 2);
    let expect = format!(
        "state=\"partial\" version=\"2\"><conference-state><user-count>1</user-count>\
         <active>true</active></conference-state><users state=\"partial\">\r\n\
         <user entity=\"{anonymous}\" state=\"partial\"><endpoint entity=\"{anonymous}\" \
         state=\"full\"><status>disconnected</status><joining-method>dialed-in</joining-method>\
         <disconnection-method>departed</disconnection-method></endpoint></user></users>"
    );
    assert!(text(&partial).contains(&expect), "{}", text(&partial));
    let partial = Document::parse(&partial).unwrap();
    assert_eq!(info.apply(partial.clone()), Applied::Taken);
    assert_eq!(info.apply(partial), Applied::Stale);
    assert_eq!(
        render(&info),
        format!("sip:alice@h[sip:alice@h=connected] {anonymous}[{anonymous}=disconnected]")
    );
    assert_eq!(info.conference().state.user_count, Some(1));
    assert_eq!(info.conference().description.subject.as_deref(), Some("Saturday"));

    // ... and then not at all, while another comes.
    let carol = user("sip:carol@h", Status::Alerting);
    let changes = [UserChange::Deleted(anonymous), UserChange::Whole(Cow::Borrowed(&carol))];
    let partial = Elements::partial(None, None, changes).document(ENTITY, 3);
    assert_eq!(info.apply(Document::parse(&partial).unwrap()), Applied::Taken);
    assert_eq!(
        render(&info),
        "sip:alice@h[sip:alice@h=connected] sip:carol@h[sip:carol@h=alerting]"
    );

    assert_eq!(info.apply(Document::parse(&deleted(ENTITY, 4)).unwrap()), Applied::Over);
    assert!(info.is_over());
    assert_eq!(render(&info), "");
}

// Covers: CF-058
#[test]
fn a_gap_wants_the_whole_state() {
    let full = |version| Elements::full(&Conference::default()).document(ENTITY, version);
    let partial = |version| Elements::partial(None, None, []).document(ENTITY, version);
    let mut info = ConferenceInfo::new();
    #[rustfmt::skip]
    let table = [
        (partial(1), Applied::Incomplete),
        (full(1),    Applied::Taken),
        (partial(2), Applied::Taken),
        (partial(2), Applied::Stale),
        (full(2),    Applied::Stale),
        (partial(4), Applied::Incomplete),
        (partial(5), Applied::Incomplete),
        (full(9),    Applied::Taken),
        (partial(10), Applied::Taken),
        (deleted(ENTITY, 11), Applied::Over),
    ];
    for (octets, applied) in table {
        let document = Document::parse(&octets).unwrap();
        let said = format!("{document:?}");
        assert_eq!(info.apply(document), applied, "{said}");
        assert_eq!(
            info.is_complete(),
            matches!(applied, Applied::Taken | Applied::Stale),
            "{said}"
        );
    }
}

// Covers: CF-083
#[test]
fn what_is_inside_a_full_element_is_full() {
    let mut info = ConferenceInfo::new();
    let both = "<users><user entity='a'><endpoint entity='1'><status>connected</status></endpoint>\
        <endpoint entity='2'/></user><user entity='b'/></users>";
    let apply = |info: &mut ConferenceInfo, attributes: &str, inner: &str| {
        info.apply(parse(&document(attributes, inner)).unwrap())
    };
    assert_eq!(apply(&mut info, "version='1'", both), Applied::Taken);
    assert_eq!(render(&info), "a[1=connected,2=-] b[]");
    #[rustfmt::skip]
    let table = [
        // A partial user: the endpoint is merged, the other stays.
        ("<users state='partial'><user entity='a' state='partial'><endpoint entity='1' \
          state='partial'><display-text>x</display-text></endpoint></user></users>",
         "a[1=connected,2=-] b[]"),
        // Without a state it is full: the endpoint is replaced.
        ("<users state='partial'><user entity='a' state='partial'><endpoint entity='1'/></user></users>",
         "a[1=-,2=-] b[]"),
        ("<users state='partial'><user entity='a' state='partial'>\
          <endpoint entity='2' state='deleted'/></user></users>",
         "a[1=-] b[]"),
        // A full user says partial inside, which cannot be.
        ("<users state='partial'><user entity='a'><endpoint entity='3' state='partial'>\
          <status>on-hold</status></endpoint></user><user entity='c' state='deleted'/></users>",
         "a[3=on-hold] b[]"),
        ("<users><user entity='b' state='partial'/></users>", "b[]"),
        ("<users state='deleted'><user entity='x'/></users>", ""),
        ("<host-info/><sidebars-by-ref state='partial'/>",    ""),
    ];
    for (version, (inner, expected)) in (2..).zip(table) {
        let attributes = format!("version='{version}' state='partial'");
        assert_eq!(apply(&mut info, &attributes, inner), Applied::Taken, "{inner}");
        assert_eq!(render(&info), expected, "{inner}");
    }
}

// Covers: CF-060
#[test]
fn every_status_and_method_is_written_and_read() {
    for (status, name) in Status::ALL {
        for (left, _) in DisconnectionMethod::ALL {
            for (came, _) in JoiningMethod::ALL {
                let mut user = user("sip:a@h", status);
                user.endpoints[0].joining_method = Some(came);
                user.endpoints[0].disconnection_method = Some(left);
                let changes = [UserChange::Whole(Cow::Borrowed(&user))];
                let written = Elements::partial(None, None, changes).document(ENTITY, 1);
                assert!(text(&written).contains(&format!("<status>{name}</status>")));
                let read = Document::parse(&written).unwrap().users.unwrap();
                assert_eq!(read.rows[0].endpoints[0].endpoint, user.endpoints[0]);
            }
        }
    }
}

// Covers: CF-058
#[test]
fn a_partial_document_tells_what_changed_only() {
    let users = |count: usize| -> Vec<User> {
        (0..count).map(|n| user(&format!("sip:u{n}@h"), Status::Connected)).collect()
    };
    let changed = user("sip:u1@h", Status::OnHold);
    let partial = || Elements::partial(None, None, [UserChange::Whole(Cow::Borrowed(&changed))]);
    let (small, large) = (users(10), users(1000));
    let full = |users: &Vec<User>| {
        let (description, state) = (Description::default(), ConferenceState::default());
        Elements::of_users(&description, &state, users).document(ENTITY, 1).len()
    };
    assert!(full(&large) > 50 * full(&small));
    assert!(!partial().is_full());
    let kept = changed.to_string();
    assert_eq!(partial(), Elements::partial(None, None, [UserChange::Written(&kept)]));
    let (description, state) = (Description::default(), ConferenceState::default());
    let written = Elements::of_users(&description, &state, small.iter().map(User::to_string));
    assert_eq!(written, Elements::of_users(&description, &state, &small));
    assert!(partial().document(ENTITY, 2).len() < 600);
}

#[test]
fn refuses() {
    use ConferenceInfoError::{Key, State, Value, Version, Xml};
    let inner = |inner: &str| document("version='1'", inner);
    let endpoint = |inner: &str| {
        document(
            "version='1'",
            &format!(
                "<users><user entity='a'><endpoint entity='b'>{inner}</endpoint></user></users>"
            ),
        )
    };
    #[rustfmt::skip]
    let table = [
        (String::new(),                                     Xml(XmlError::NotWellFormed)),
        (inner("").replace("ns:conference-info", "ns:x"),   Xml(XmlError::Root)),
        (inner(&" ".repeat(2 * 1024 * 1024)),               Xml(XmlError::TooLarge)),
        (document("", ""),                                  Version),
        (document("version='-1'", ""),                      Version),
        (document("version='4294967296'", ""),              Version),
        (document("version='1' state='half'", ""),          State),
        (inner("<users state=''/>"),                        State),
        (inner("").replace("sip:c@h", " "),                 Key),
        (inner("<users><user/></users>"),                   Key),
        (inner("<users><user entity=''/></users>"),         Key),
        (inner("<users><user entity='a'/><user entity='a'/></users>"), Key),
        (inner("<users><user entity='a'><endpoint/></user></users>"), Key),
        (endpoint("<media/>"),                              Key),
        (endpoint("<status>gone</status>"),                 Value),
        (endpoint("<joining-method>x</joining-method>"),    Value),
        (endpoint("<disconnection-method>x</disconnection-method>"), Value),
        (inner("<conference-state><user-count>many</user-count></conference-state>"), Value),
        (inner("<conference-state><active>yes</active></conference-state>"), Value),
        (inner("<conference-description><conf-uris><entry/></conf-uris></conference-description>"), Key),
    ];
    for (text, error) in table {
        assert_eq!(parse(&text), Err(error), "{text:.300}");
    }
}

#[test]
fn rows_are_bounded() {
    let rows = |from: usize, to: usize| -> String {
        (from..to).map(|n| format!("<user entity='{n}'/>")).collect()
    };
    let full =
        |count| parse(&document("version='1'", &format!("<users>{}</users>", rows(0, count))));
    assert_eq!(full(4097), Err(ConferenceInfoError::Rows));
    let mut info = ConferenceInfo::new();
    assert_eq!(info.apply(full(4096).unwrap()), Applied::Taken);
    let more = format!("<users state='partial'>{}</users>", rows(4096, 4097));
    let more = parse(&document("version='2' state='partial'", &more)).unwrap();
    assert_eq!(info.apply(more), Applied::Incomplete);
    assert_eq!(info.conference().users.len(), 4096);
}

fn users() -> impl Strategy<Value = Vec<User>> {
    let status = prop::sample::select(Status::ALL.map(|(status, _)| status).to_vec());
    let endpoint = ("[!-~]{1,6}", prop::option::of(status), prop::option::of("[ -~]{0,6}"));
    let endpoint = endpoint.prop_map(|(entity, status, display_text)| Endpoint {
        entity,
        status,
        display_text,
        ..Endpoint::default()
    });
    let endpoints = prop::collection::vec(endpoint, 0..3).prop_map(|mut endpoints| {
        endpoints.sort_by(|a, b| a.entity.cmp(&b.entity));
        endpoints.dedup_by(|a, b| a.entity == b.entity);
        endpoints
    });
    let user = ("[a-e]", prop::option::of("[ -~é]{0,6}"), endpoints);
    let user = user.prop_map(|(entity, nickname, endpoints)| User {
        entity,
        nickname,
        endpoints,
        ..User::default()
    });
    prop::collection::vec(user, 0..5).prop_map(|mut users| {
        users.sort_by(|a, b| a.entity.cmp(&b.entity));
        users.dedup_by(|a, b| a.entity == b.entity);
        users
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// However a conference changes, a subscriber who reads every change knows it.
    #[test]
    fn changes_lead_from_any_state_to_any_other(states in prop::collection::vec(users(), 1..5)) {
        let mut info = ConferenceInfo::new();
        let mut before: &[User] = &[];
        for (version, users) in (1..).zip(&states) {
            let written = if version == 1 {
                let conference = Conference { users: users.clone(), ..Conference::default() };
                Elements::full(&conference).document(ENTITY, version)
            } else {
                let gone = before.iter().filter(|old| users.iter().all(|user| user.entity != old.entity));
                let gone = gone.map(|user| UserChange::Deleted(&user.entity));
                let changed = users.iter().filter(|user| !before.contains(user));
                let changed = changed.map(|user| UserChange::Whole(Cow::Borrowed(user)));
                Elements::partial(None, None, gone.chain(changed)).document(ENTITY, version)
            };
            prop_assert_eq!(info.apply(Document::parse(&written).unwrap()), Applied::Taken);
            let mut known = info.conference().users.clone();
            known.sort_by(|a, b| a.entity.cmp(&b.entity));
            prop_assert_eq!(&known, users);
            before = users;
        }
    }

    #[test]
    fn never_panics(octets: Vec<u8>) {
        let _ = Document::parse(&octets);
    }

    #[test]
    fn never_panics_on_what_is_nearly_a_document(
        documents in prop::collection::vec(prop::collection::vec(prop::sample::select(vec![
            "<users>", "<users state='partial'>", "<user entity='a' state='partial'>", "<user entity='a'>",
            "<user entity='b' state='deleted'/>", "</user>", "</users>", "<endpoint entity='1'/>",
            "<endpoint entity='1' state='deleted'/>", "<status>connected</status>", "<conference-state/>",
            "<conference-description/>", "<!--", "-->",
        ]), 0..8), 0..4),
    ) {
        let mut info = ConferenceInfo::new();
        for (version, inner) in documents.iter().enumerate() {
            let state = if version == 0 { "full" } else { "partial" };
            let attributes = format!("version='{version}' state='{state}'");
            if let Ok(read) = parse(&document(&attributes, &inner.concat())) {
                info.apply(read);
            }
        }
    }
}
