//! INVITEs as a real S-CSCF sent them, and the dialogs they make (`testdata/README.md`).

use parlance_isc::SessionCase;
use parlance_isc::SessionCase::{Originating, Terminating};
use parlance_sip::{HeaderName, Message, Request, ResponseBuilder};

use super::{Setup, World, lines, octets, status, testdata};

/// Every header line of a message.
fn fields(message: &Message) -> Vec<String> {
    let fields = message.fields().map(|(_, name, value)| {
        format!("{}: {}", String::from_utf8_lossy(name), String::from_utf8_lossy(value))
    });
    fields.collect()
}

/// All values of a header with several.
fn routes(message: &Message, name: HeaderName) -> Vec<String> {
    let lines = lines(message, name);
    lines.iter().flat_map(|line| line.split(',')).map(|route| route.trim().to_owned()).collect()
}

async fn world() -> World {
    World::new(Setup { registered: vec![("sip:bob@ims.test", true)], ..Setup::default() }).await
}

/// The side of each capture, and our own entry in the route set.
const CAPTURES: [(&str, SessionCase, &str); 2] = [
    ("orig_INVITE", Originating, "<sip:127.0.0.20:5080;lr>"),
    ("term_INVITE", Terminating, "<sip:127.0.0.20:5081;lr>"),
];

// Covers: PF-010, PF-014, PF-050, CORE-032
#[tokio::test(start_paused = true)]
async fn what_came_goes_on_with_the_mark_of_the_s_cscf() {
    for (name, case, own) in CAPTURES {
        let world = world().await;
        let came = octets(testdata(name));
        world.receive(case, testdata(name)).await;
        let sent = world.sent();
        let forwarded = sent.iter().find(|message| message.is_request()).unwrap();
        assert_eq!(forwarded.body(), came.body(), "{name}");
        // Our Route is gone, what stands behind it leads back to the place in the filter criteria.
        let route = routes(&came, HeaderName::Route).split_off(1);
        assert!(
            route.len() == 1 && route[0].contains("<sip:iscmark@127.0.0.13:6060;lr;"),
            "{name}"
        );
        assert_eq!(routes(forwarded, HeaderName::Route), route, "{name}");
        // Our entry is the first; no other is lost, in whatever place and however often it is there.
        let mut record = routes(&came, HeaderName::RecordRoute);
        record.insert(0, own.to_owned());
        assert_eq!(routes(forwarded, HeaderName::RecordRoute), record, "{name}");
        // The tag of the service stands where it stood, and so does everything else.
        for header in [HeaderName::Contact, HeaderName::AcceptContact] {
            assert!(lines(forwarded, header)[0].contains("+g.oma.sip-im"), "{name}");
        }
        let changed = ["Route", "Record-Route", "P-Served-User", "Via", "Max-Forwards"];
        let is_kept = |line: &&String| !changed.iter().any(|name| line.starts_with(name));
        let went = fields(forwarded);
        for line in fields(&came).iter().filter(is_kept) {
            let times = |all: &[String]| all.iter().filter(|other| *other == line).count();
            assert_eq!(times(&went), times(&fields(&came)), "{name}: {line}");
        }
        let vias = |message: &Message| lines(message, HeaderName::Via);
        assert_eq!(vias(forwarded)[1..], vias(&came)[..], "{name}");
    }
}

// Covers: CORE-032, CLI-009, CLI-021
#[tokio::test(start_paused = true)]
async fn the_dialog_goes_through_every_entry_of_its_route_set() {
    for (name, case, own) in CAPTURES {
        let world = world().await;
        world.receive(case, testdata(name)).await;
        let sent = world.sent();
        let invite = sent.iter().find(|message| message.is_request()).unwrap();
        let invite = Request::new(invite.clone()).unwrap();
        let record = routes(&invite, HeaderName::RecordRoute);
        let contact = "<sip:bob@127.0.0.42:5060>;+g.oma.sip-im";
        let ok = ResponseBuilder::new(&invite, 200, "b1").header(HeaderName::Contact, contact);
        let ok = record.iter().fold(ok, |ok, entry| ok.header(HeaderName::RecordRoute, entry));
        world.answer_with(ok.build()).await;
        let answered = world.answered();
        assert_eq!(routes(&answered, HeaderName::RecordRoute), record, "{name}");
        assert_eq!(lines(&answered, HeaderName::Contact), [contact], "{name}");
        // From either end: the same entries come in the one order and in the other.
        let mut from_caller = record.clone();
        from_caller.reverse();
        for (method, route_set) in [("UPDATE", &from_caller), ("BYE", &record)] {
            let at = route_set.iter().position(|entry| entry == own).unwrap();
            let route = &route_set[at..];
            world.receive(case, in_dialog(method, route).into()).await;
            let sent = world.sent();
            let went = sent.iter().find(|message| message.is_request()).unwrap();
            assert_eq!(routes(went, HeaderName::Route), route[1..], "{name} {method}");
            assert!(!went.has(HeaderName::PServedUser), "{name} {method}");
            let target = "sip:somebody@127.0.0.42:5060";
            let line = format!("{method} {target} SIP/2.0\r\n");
            assert!(went.bytes().starts_with(line.as_bytes()), "{name} {method}");
            let went = Request::new(went.clone()).unwrap();
            world.answer(&went, 200).await;
            assert_eq!(status(&world.answered()), 200, "{name} {method}");
        }
    }
}

/// A request in the dialog with this route.
fn in_dialog(method: &str, route: &[String]) -> String {
    format!(
        "{method} sip:somebody@127.0.0.42:5060 SIP/2.0\r\n\
         Via: SIP/2.0/UDP 127.0.0.13:6060;branch=z9hG4bK{method}{}\r\nMax-Forwards: 60\r\n\
         Route: {}\r\nFrom: <sip:alice@ims.test>;tag=3262i1\r\nTo: <sip:bob@ims.test>;tag=b1\r\n\
         Call-ID: 1-3262@127.0.0.41\r\nCSeq: 9 {method}\r\nContent-Length: 0\r\n\r\n",
        route.len(),
        route.join(", ")
    )
}
