//! The scenarios as templates. Header order and forms are those a Kamailio S-CSCF puts on the
//! wire; the texts are ours.

use std::net::SocketAddr;

use super::message::{Leg, Marker};
use super::options::{Options, Scenario, Transport};
use super::template::{Template, TemplateError};

/// One load: what is sent, where to, and what must come back.
#[derive(Debug)]
pub(crate) struct Plan {
    /// The request.
    pub(crate) request: Template,
    /// Where it goes.
    pub(crate) to: SocketAddr,
    /// Header lines put on top of the request on its second passage, and where that goes.
    pub(crate) second: Option<(Template, SocketAddr)>,
    /// The only final response that is right.
    pub(crate) expect: u16,
    /// Users take turns instead of being drawn.
    pub(crate) in_turn: bool,
    /// Finds this run's branches.
    pub(crate) marker: Marker,
}

const HEAD: &str = "\
MESSAGE sip:user{to}@{domain} SIP/2.0
{routing}\
Via: SIP/2.0/{transport} {us};branch={marker}{first}{seq}
Via: SIP/2.0/UDP 127.0.0.11;branch=z9hG4bKdee6.{seq}{run}f532af2411e71f5cc9e.0
Via: SIP/2.0/UDP 127.0.0.41:5060;received=127.0.0.41;branch=z9hG4bK-{run}-{seq};rport=5060
Max-Forwards: 68
From: <sip:user{from}@{domain}>;tag={run}{seq}
To: <sip:user{to}@{domain}>
Call-ID: {seq}-{run}@127.0.0.41
CSeq: {cseq} MESSAGE
Accept-Contact: *;+g.oma.sip-im
User-Agent: IM-client/OMA1.0 lab
Content-Type: text/plain
Content-Length: {length}
P-Asserted-Identity: <sip:user{from}@{domain}>
P-Charging-Vector: icid-value=\"{run}-{seq}\";icid-generated-at=127.0.0.11
P-Visited-Network-ID: \"visited.{domain}\"
P-Access-Network-Info: IEEE-802.11;i-wlan-node-id=000000000000

{body}";

const ORIGINATING: &str = "\
Route: <sip:im-orig@{orig};lr{tp}>, <sip:odi@{us};lr{tp};s=2;h=0;d=0;o={seq}>
P-Served-User: <sip:user{from}@{domain}>;sescase=orig;regstate=reg
";

const TERMINATING: &str = "\
Route: <sip:im-term@{term};lr{tp}>, <sip:odi@{us};lr{tp};s=3;h=0;d=1;o={seq}>
P-Served-User: <sip:user{to}@{domain}>;sescase=term;regstate={regstate}
";

const SECOND_VIA: &str = "\
Via: SIP/2.0/{transport} {us};branch={marker}{second}{seq}
";

const THIRD_PARTY_REGISTER: &str = "\
REGISTER sip:im-reg@{registrar} SIP/2.0
Via: SIP/2.0/{transport} {us};branch={marker}{first}{seq}
To: <sip:user{from}@{domain}>
From: <sip:{us}>;tag={run}{seq}
CSeq: 10 REGISTER
Call-ID: {seq}-{run}@{us}
Content-Length: {length}
User-Agent: S-CSCF
Event: registration
Max-Forwards: 10
Expires: {expires}
Path: <sip:{us};lr{tp}>,<sip:term@127.0.0.11:5060;lr>
Contact: <sip:{us}{tp}>
P-Visited-Network-ID: \"visited.{domain}\"
P-Charging-Vector: icid-value=\"{run}-{seq}\";icid-generated-at=127.0.0.11
Content-Type: message/sip

REGISTER sip:{us} SIP/2.0
Via: SIP/2.0/UDP 127.0.0.41:5060;received=127.0.0.41;branch=z9hG4bK-{run}-{seq};rport=5060
Max-Forwards: 67
From: <sip:user{from}@{domain}>;tag=u{seq}
To: <sip:user{from}@{domain}>
Call-ID: r{from}@127.0.0.41
CSeq: {cseq} REGISTER
Contact: <sip:user{from}@127.0.0.41:5060>;+g.oma.sip-im
Expires: {expires}
Supported: path
Content-Length: 0
Path: <sip:term@127.0.0.11:5060;lr>

";

const PLAIN_REGISTER: &str = "\
REGISTER sip:{domain} SIP/2.0
Via: SIP/2.0/{transport} {us};branch={marker}{first}{seq}
Max-Forwards: 70
From: <sip:user{from}@{domain}>;tag={run}{seq}
To: <sip:user{from}@{domain}>
Call-ID: r{from}-{run}@{us}
CSeq: {cseq} REGISTER
{contact}\
User-Agent: IM-client/OMA1.0 lab
Content-Length: {length}

";

const CONTACT: &str = "\
Contact: <sip:user{from}@{us}{tp}>;+g.oma.sip-im
Expires: {expires}
";

/// Takes every contact of the user away (RFC 3261 §10.2.2).
const NO_CONTACT: &str = "\
Contact: *
Expires: 0
";

impl Plan {
    /// The load of the scenario; `us` is where we listen and `run` sets its branches apart.
    pub(crate) fn load(options: &Options, us: SocketAddr, run: u32) -> Result<Self, TemplateError> {
        let (routing, to, expect) = match options.scenario {
            Scenario::RelayIscOrig | Scenario::Full => (ORIGINATING, options.orig, 200),
            Scenario::RelayIscTerm => (TERMINATING, options.term, 200),
            Scenario::Defer => (TERMINATING, options.term, 202),
            Scenario::RelayRegistrar => ("", options.proxy, 200),
            Scenario::Register => return Self::register(options, us, run),
        };
        let marker = Marker::new(run);
        let writer = Writer { options, us, run, marker: &marker };
        let request = writer.template(&HEAD.replace("{routing}", routing))?;
        let second = match options.scenario {
            Scenario::Full => {
                let lines = format!("{TERMINATING}{SECOND_VIA}");
                Some((writer.template(&lines)?, options.term))
            }
            Scenario::RelayIscOrig
            | Scenario::RelayIscTerm
            | Scenario::Defer
            | Scenario::RelayRegistrar
            | Scenario::Register => None,
        };
        Ok(Self { request, to, second, expect, in_turn: false, marker })
    }

    /// One REGISTER per user: third-party, or plain before `relay-registrar`.
    pub(crate) fn register(
        options: &Options,
        us: SocketAddr,
        run: u32,
    ) -> Result<Self, TemplateError> {
        let (text, to) = match options.scenario {
            Scenario::RelayRegistrar => {
                (PLAIN_REGISTER.replace("{contact}", CONTACT), options.proxy)
            }
            Scenario::RelayIscOrig
            | Scenario::RelayIscTerm
            | Scenario::Full
            | Scenario::Defer
            | Scenario::Register => (THIRD_PARTY_REGISTER.to_owned(), options.registrar),
        };
        Self::registration(options, us, run, &text, to)
    }

    /// One plain REGISTER per user that takes away what an earlier run has left: its contacts
    /// name a port that nobody listens on any more.
    pub(crate) fn clear(
        options: &Options,
        us: SocketAddr,
        run: u32,
    ) -> Result<Self, TemplateError> {
        let text = PLAIN_REGISTER.replace("{contact}", NO_CONTACT);
        Self::registration(options, us, run, &text, options.proxy)
    }

    fn registration(
        options: &Options,
        us: SocketAddr,
        run: u32,
        text: &str,
        to: SocketAddr,
    ) -> Result<Self, TemplateError> {
        let marker = Marker::new(run);
        let request = Writer { options, us, run, marker: &marker }.template(text)?;
        Ok(Self { request, to, second: None, expect: 200, in_turn: true, marker })
    }

    /// Server passages of one transaction.
    pub(crate) fn passages(&self) -> u64 {
        if self.second.is_some() { 2 } else { 1 }
    }
}

/// Puts the constants of a run into a text.
struct Writer<'a> {
    options: &'a Options,
    us: SocketAddr,
    run: u32,
    marker: &'a Marker,
}

impl Writer<'_> {
    fn template(&self, text: &str) -> Result<Template, TemplateError> {
        let options = self.options;
        let (transport, tp) = match options.transport {
            Transport::Udp => ("UDP", ""),
            Transport::Tcp => ("TCP", ";transport=tcp"),
        };
        let regstate = if options.scenario == Scenario::Defer { "unreg" } else { "reg" };
        let constants = [
            ("transport", transport),
            ("tp", tp),
            ("regstate", regstate),
            ("us", &self.us.to_string()),
            ("orig", &options.orig.to_string()),
            ("term", &options.term.to_string()),
            ("registrar", &options.registrar.to_string()),
            ("domain", &options.domain),
            ("run", &format!("{:08x}", self.run)),
            ("marker", self.marker.text()),
            ("first", &Leg::First.letter().to_string()),
            ("second", &Leg::Second.letter().to_string()),
            ("expires", &options.expires.to_string()),
            ("body", &body(options.size)),
        ];
        Template::parse(text, &constants)
    }
}

/// Readable text of `size` octets.
fn body(size: u16) -> String {
    const TEXT: &str = "Hello from the lab, this is one of very many messages. ";
    TEXT.chars().cycle().take(usize::from(size)).collect()
}

#[cfg(test)]
mod tests {
    use super::super::template::Fields;
    use super::*;

    fn rendered(scenario: Scenario, transport: Transport) -> String {
        let options = Options { scenario, transport, ..Options::default() };
        let us = "127.0.0.1:6060".parse().unwrap();
        let plan = Plan::load(&options, us, 7).unwrap();
        let mut out = [0; 4096];
        let fields = Fields { seq: 3, from: 1, to: 2 };
        let len = plan.request.render(&fields, &mut out).unwrap();
        assert_eq!(plan.marker.find(&out[..len]), Some((Leg::First, 3)));
        String::from_utf8(out[..len].to_vec()).unwrap()
    }

    #[test]
    fn originating_message_is_as_the_core_sends_it() {
        let text = rendered(Scenario::RelayIscOrig, Transport::Udp);
        assert!((1000..1300).contains(&text.len()), "about 1.1 KB: {}", text.len());
        for line in [
            "MESSAGE sip:user0000002@ims.test SIP/2.0",
            "Route: <sip:im-orig@127.0.0.20:5080;lr>, \
             <sip:odi@127.0.0.1:6060;lr;s=2;h=0;d=0;o=000000000003>",
            "P-Served-User: <sip:user0000001@ims.test>;sescase=orig;regstate=reg",
            "Via: SIP/2.0/UDP 127.0.0.1:6060;branch=z9hG4bKlab00000007o000000000003",
            "Content-Length: 60",
        ] {
            assert!(text.contains(&format!("{line}\r\n")), "{line}\n{text}");
        }
        assert_eq!(text.split("\r\n\r\n").nth(1).map(str::len), Some(60));
    }

    #[test]
    fn each_scenario_serves_its_user() {
        #[rustfmt::skip]
        let table = [
            (Scenario::RelayIscTerm,   "user0000002@ims.test>;sescase=term;regstate=reg\r\n"),
            (Scenario::Full,           "user0000001@ims.test>;sescase=orig;regstate=reg\r\n"),
            (Scenario::Defer,          "user0000002@ims.test>;sescase=term;regstate=unreg\r\n"),
            (Scenario::Register,       "\r\nExpires: 3600\r\n"),
        ];
        for (scenario, expect) in table {
            assert!(rendered(scenario, Transport::Udp).contains(expect), "{scenario:?}");
        }
        let plain = rendered(Scenario::RelayRegistrar, Transport::Udp);
        assert!(!plain.contains("Route:") && !plain.contains("P-Served-User"));
    }

    #[test]
    fn plain_registrations_bind_one_contact_and_clear_all() {
        let options = Options { scenario: Scenario::RelayRegistrar, ..Options::default() };
        let us = "127.0.0.1:6060".parse().unwrap();
        let text = |plan: Plan| {
            let mut out = [0; 4096];
            let len = plan.request.render(&Fields::default(), &mut out).unwrap();
            String::from_utf8(out[..len].to_vec()).unwrap()
        };
        let bound = text(Plan::register(&options, us, 7).unwrap());
        assert!(bound.contains(
            "\r\nContact: <sip:user0000000@127.0.0.1:6060>;+g.oma.sip-im\r\nExpires: 3600\r\n"
        ));
        let cleared = text(Plan::clear(&options, us, 7).unwrap());
        assert!(cleared.contains("\r\nContact: *\r\nExpires: 0\r\nUser-Agent: "));
    }

    #[test]
    fn streams_say_so_in_route_and_via() {
        let text = rendered(Scenario::RelayIscOrig, Transport::Tcp);
        assert!(text.contains("Via: SIP/2.0/TCP 127.0.0.1:6060"));
        assert!(text.contains("<sip:odi@127.0.0.1:6060;lr;transport=tcp;s=2"));
    }

    #[test]
    fn a_registration_carries_the_registration_of_the_client() {
        let text = rendered(Scenario::Register, Transport::Udp);
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("\r\nContent-Length: {}\r\n", body.len())));
        assert!(body.starts_with("REGISTER ") && body.contains(";+g.oma.sip-im\r\n"));
    }
}
