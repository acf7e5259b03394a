//! Writes the filter criteria an operator gives to the HSS.

use std::fmt::Write as _;

/// Where an S-CSCF finds the server.
///
/// The default is the documented example; everything in `ifc/` is written with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// Served users' own requests: `sip:im-orig@im.ims.test:5080;transport=tcp`.
    pub originating: String,
    /// Requests to served users: `sip:im-term@im.ims.test:5081;transport=tcp`. Those to the
    /// identities of services go here too.
    pub terminating: String,
    /// Third-party REGISTERs: `sip:im-reg@im.ims.test:5082;transport=tcp`.
    pub registration: String,
    /// The event package of the settings a client publishes; default `im-settings`.
    pub settings_event: String,
}

impl Addresses {
    /// The three addresses of a server at `host` on its usual ports, over `transport` (`tcp` or
    /// `udp`, or empty to leave the choice to the S-CSCF).
    ///
    /// TCP is the default because a server may send a 100 at any time over it; over UDP none
    /// comes before 3.5 s, and S-CSCFs give up earlier (RFC 4320 §4.1).
    pub fn at(host: &str, transport: &str) -> Self {
        let parameter = match transport {
            "" => String::new(),
            transport => format!(";transport={transport}"),
        };
        let address = |user: &str, port: u16| format!("sip:{user}@{host}:{port}{parameter}");
        Self {
            originating: address("im-orig", 5080),
            terminating: address("im-term", 5081),
            registration: address("im-reg", 5082),
            settings_event: "im-settings".to_owned(),
        }
    }
}

impl Default for Addresses {
    fn default() -> Self {
        Self::at("im.ims.test", "tcp")
    }
}

/// A public service identity (TS 23.228 §5.4.12).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServiceIdentity {
    /// One identity, `sip:im-conf-factory@ims.test`.
    Distinct(String),
    /// A family of them as TS 23.003 §13.5 writes it, `sip:im-group-!.*!@ims.test`.
    Wildcarded(String),
}

/// The feature tag, as an extended regular expression.
const IM_TAG: &str = r"\+g\.oma\.sip-im";
const SESSION_CONTINUED: u8 = 0;
const SESSION_TERMINATED: u8 = 1;

/// The service profile of a user of the service: what goes into the HSS for each of them.
///
/// `identities` are written into the profile; an HSS that keeps criteria apart takes the criteria
/// only.
pub fn render_user(addresses: &Addresses, identities: &[&str]) -> String {
    let mut out = Writer::new();
    out.open("ServiceProfile");
    for identity in identities {
        out.open("PublicIdentity");
        out.leaf("Identity", identity);
        out.close("PublicIdentity");
    }
    out.comment("Originating: what a served user sends, on the originating address.");
    out.im_criterion(
        10,
        &["INVITE", "MESSAGE", "SUBSCRIBE", "REFER"],
        &[0, 3],
        &addresses.originating,
    );
    out.comment("Originating: the settings a client publishes.");
    out.criterion(11, &addresses.originating, SESSION_CONTINUED, false, |out| {
        out.any_of(0, "Method", &["PUBLISH"]);
        out.header(1, "^Event$", &format!("^{}([ ;]|$)", ere_escaped(&addresses.settings_event)));
        out.any_of(2, "SessionCase", &["0"]);
    });
    out.comment("Terminating: what a served user gets. The unregistered case is what makes");
    out.comment("messages wait for a user who is away.");
    out.im_criterion(20, &["INVITE", "MESSAGE"], &[1, 2], &addresses.terminating);
    out.im_criterion(21, &["SUBSCRIBE", "REFER"], &[1], &addresses.terminating);
    out.comment("Registration: every kind, with the REGISTER of the client inside.");
    out.criterion(30, &addresses.registration, SESSION_CONTINUED, true, |out| {
        out.spt(0, |out| {
            out.leaf("Method", "REGISTER");
            out.open("Extension");
            for kind in ["0", "1", "2"] {
                out.leaf("RegistrationType", kind);
            }
            out.close("Extension");
        });
    });
    out.close("ServiceProfile");
    out.text
}

/// The service profiles of the identities the server hosts: they route what is addressed to a
/// service to the server, whatever it is.
pub fn render_services(addresses: &Addresses, identities: &[ServiceIdentity]) -> String {
    let mut out = Writer::new();
    out.open("IMSSubscription");
    out.leaf("PrivateID", "im-services");
    for identity in identities {
        out.open("ServiceProfile");
        out.open("PublicIdentity");
        match identity {
            ServiceIdentity::Distinct(identity) => {
                out.leaf("Identity", identity);
                out.identity_type("1", None);
            }
            ServiceIdentity::Wildcarded(pattern) => {
                // The identity is any one of the family; the pattern stands in the extension.
                out.leaf("Identity", &pattern.replace("!.*!", "0"));
                out.identity_type("2", Some(pattern));
            }
        }
        out.close("PublicIdentity");
        out.criterion(10, &addresses.terminating, SESSION_TERMINATED, false, |out| {
            out.any_of(0, "SessionCase", &["1", "2"]);
        });
        out.close("ServiceProfile");
    }
    out.close("IMSSubscription");
    out.text
}

/// Escapes what an extended regular expression takes for an operator.
fn ere_escaped(text: &str) -> String {
    let special = |letter: char| letter.is_ascii_punctuation() && !matches!(letter, '-' | '_');
    text.chars().fold(String::new(), |mut out, letter| {
        if special(letter) {
            out.push('\\');
        }
        out.push(letter);
        out
    })
}

/// Writes indented XML.
struct Writer {
    text: String,
    depth: usize,
}

impl Writer {
    fn new() -> Self {
        Self { text: "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n".to_owned(), depth: 0 }
    }

    fn open(&mut self, name: &str) {
        self.line(format_args!("<{name}>"));
        self.depth += 1;
    }

    fn close(&mut self, name: &str) {
        self.depth = self.depth.saturating_sub(1);
        self.line(format_args!("</{name}>"));
    }

    fn leaf(&mut self, name: &str, text: &str) {
        let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        self.line(format_args!("<{name}>{text}</{name}>"));
    }

    fn comment(&mut self, text: &str) {
        self.line(format_args!("<!-- {text} -->"));
    }

    fn line(&mut self, content: std::fmt::Arguments<'_>) {
        // Writing into a string does not fail.
        let _ = writeln!(self.text, "{:width$}{content}", "", width = 2 * self.depth);
    }

    fn identity_type(&mut self, kind: &str, pattern: Option<&str>) {
        self.open("Extension");
        self.leaf("IdentityType", kind);
        if let Some(pattern) = pattern {
            self.open("Extension");
            self.leaf("WildcardedPSI", pattern);
            self.close("Extension");
        }
        self.close("Extension");
    }

    /// A criterion in conjunctive form: every group that `triggers` writes must hold.
    fn criterion(
        &mut self,
        priority: u32,
        server: &str,
        default_handling: u8,
        include_register: bool,
        triggers: impl FnOnce(&mut Self),
    ) {
        self.open("InitialFilterCriteria");
        self.leaf("Priority", &priority.to_string());
        self.open("TriggerPoint");
        self.leaf("ConditionTypeCNF", "1");
        triggers(self);
        self.close("TriggerPoint");
        self.open("ApplicationServer");
        self.leaf("ServerName", server);
        self.leaf("DefaultHandling", &default_handling.to_string());
        if include_register {
            self.open("Extension");
            self.line(format_args!("<IncludeRegisterRequest/>"));
            self.close("Extension");
        }
        self.close("ApplicationServer");
        self.close("InitialFilterCriteria");
    }

    /// The criterion of OMA-TS-SIMPLE_IM Appendix C: a method, the feature tag, a side.
    fn im_criterion(&mut self, priority: u32, methods: &[&str], cases: &[u8], server: &str) {
        let cases: Vec<String> = cases.iter().map(u8::to_string).collect();
        let cases: Vec<&str> = cases.iter().map(String::as_str).collect();
        self.criterion(priority, server, SESSION_CONTINUED, false, |out| {
            out.any_of(0, "Method", methods);
            out.header(1, "^Accept-Contact$", IM_TAG);
            out.any_of(2, "SessionCase", &cases);
        });
    }

    /// One trigger for each value, all in `group`.
    fn any_of(&mut self, group: u32, name: &str, values: &[&str]) {
        for value in values {
            self.spt(group, |out| out.leaf(name, value));
        }
    }

    fn header(&mut self, group: u32, header: &str, content: &str) {
        self.spt(group, |out| {
            out.open("SIPHeader");
            out.leaf("Header", header);
            out.leaf("Content", content);
            out.close("SIPHeader");
        });
    }

    fn spt(&mut self, group: u32, condition: impl FnOnce(&mut Self)) {
        self.open("SPT");
        self.leaf("ConditionNegated", "0");
        self.leaf("Group", &group.to_string());
        condition(self);
        self.close("SPT");
    }
}

#[cfg(test)]
mod tests {
    use super::{Addresses, render_user};
    use crate::fixture::{capture, request};
    use crate::ifc::{
        DefaultHandling, RegistrationType, ServiceProfile, SessionCase, Subject, evaluate, profiles,
    };
    use parlance_sip::Request;

    const USER: &str = include_str!("../../../../ifc/user.xml");
    const SERVICES: &str = include_str!("../../../../ifc/service-identities.xml");

    /// The servers the shipped profile sends `request` to.
    fn servers(
        request: &Request,
        session_case: SessionCase,
        registration: Option<RegistrationType>,
    ) -> Vec<String> {
        let profile: ServiceProfile = profiles(USER).unwrap().remove(0);
        let subject = Subject { request, session_case, registration };
        let matched = evaluate(&profile.criteria, &subject);
        matched.iter().map(|c| c.application_server.server_name.clone()).collect()
    }

    #[test]
    fn the_shipped_file_is_what_is_written_for_the_documented_addresses() {
        let addresses = Addresses::default();
        assert_eq!(render_user(&addresses, &["sip:alice@ims.test", "tel:+15550000001"]), USER);
    }

    // Covers: CORE-026, CORE-066
    #[test]
    fn the_shipped_profile_triggers_where_it_must() {
        let im = |method: &str| {
            request(&format!(
                "{method} sip:b@ims.test SIP/2.0\r\nAccept-Contact: *;+g.oma.sip-im;require\r\n\r\n"
            ))
        };
        let plain = |method: &str| {
            request(&format!("{method} sip:b@ims.test SIP/2.0\r\nAccept-Contact: *;video\r\n\r\n"))
        };
        let (originating, terminating) =
            (Addresses::default().originating, Addresses::default().terminating);
        use SessionCase::{
            Originating, OriginatingUnregistered, TerminatingRegistered, TerminatingUnregistered,
        };
        #[rustfmt::skip]
        let table = [
            ("INVITE",    [true, true, true, true]),
            ("MESSAGE",   [true, true, true, true]),
            ("SUBSCRIBE", [true, true, true, false]),
            ("REFER",     [true, true, true, false]),
            ("OPTIONS",   [false, false, false, false]),
        ];
        let cases =
            [Originating, OriginatingUnregistered, TerminatingRegistered, TerminatingUnregistered];
        for (method, triggers) in table {
            for (case, triggers) in cases.into_iter().zip(triggers) {
                let server = match case {
                    Originating | OriginatingUnregistered => &originating,
                    _ => &terminating,
                };
                let expected = if triggers { vec![server.clone()] } else { Vec::new() };
                assert_eq!(servers(&im(method), case, None), expected, "{method} {case:?}");
                assert!(servers(&plain(method), case, None).is_empty(), "{method} {case:?}");
            }
        }
    }

    // Covers: CORE-026, CORE-066
    #[test]
    fn the_shipped_profile_triggers_on_what_a_core_sends() {
        let addresses = Addresses::default();
        #[rustfmt::skip]
        let table = [
            ("orig_INVITE",        SessionCase::Originating,             &addresses.originating),
            ("orig_MESSAGE",       SessionCase::Originating,             &addresses.originating),
            ("orig_MESSAGE_tcp",   SessionCase::Originating,             &addresses.originating),
            ("term_INVITE",        SessionCase::TerminatingRegistered,   &addresses.terminating),
            ("term_MESSAGE",       SessionCase::TerminatingRegistered,   &addresses.terminating),
            ("term_MESSAGE_tel",   SessionCase::TerminatingRegistered,   &addresses.terminating),
            ("term_MESSAGE_unreg", SessionCase::TerminatingUnregistered, &addresses.terminating),
        ];
        for (name, case, server) in table {
            assert_eq!(
                &servers(&capture(name), case, None),
                std::slice::from_ref(server),
                "{name}"
            );
        }
    }

    // Covers: CORE-066
    #[test]
    fn registrations_and_settings_come_too() {
        let addresses = Addresses::default();
        let register = capture("reg_REGISTER");
        for kind in [
            RegistrationType::Initial,
            RegistrationType::ReRegistration,
            RegistrationType::DeRegistration,
        ] {
            let found = servers(&register, SessionCase::Originating, Some(kind));
            assert_eq!(found, std::slice::from_ref(&addresses.registration));
        }
        let publish = |event: &str| {
            request(&format!("PUBLISH sip:a@ims.test SIP/2.0\r\nEvent: {event}\r\n\r\n"))
        };
        let of = |event, case| servers(&publish(event), case, None);
        let originating = std::slice::from_ref(&addresses.originating);
        assert_eq!(of("im-settings", SessionCase::Originating), originating);
        assert_eq!(of("im-settings;id=1", SessionCase::Originating), originating);
        assert!(of("im-settings-2", SessionCase::Originating).is_empty());
        assert!(of("presence", SessionCase::Originating).is_empty());
        assert!(of("im-settings", SessionCase::TerminatingRegistered).is_empty());
    }

    // Covers: CORE-066
    #[test]
    fn users_go_on_without_the_server_and_services_do_not() {
        let user = profiles(USER).unwrap().remove(0);
        for criterion in &user.criteria {
            let server = &criterion.application_server;
            assert_eq!(server.default_handling, DefaultHandling::SessionContinued);
            assert!(server.server_name.ends_with(";transport=tcp"));
            let of_register = server.server_name == Addresses::default().registration;
            assert_eq!(server.include_register_request, of_register);
        }
        let services = profiles(SERVICES).unwrap();
        assert_eq!(services.len(), 6);
        let request = request("INVITE sip:im-exploder@ims.test SIP/2.0\r\n\r\n");
        for profile in services {
            let [criterion] = &profile.criteria[..] else { panic!("one criterion") };
            let server = &criterion.application_server;
            assert_eq!(server.default_handling, DefaultHandling::SessionTerminated);
            assert_eq!(server.server_name, Addresses::default().terminating);
            let of = |session_case| {
                criterion.holds(&Subject { request: &request, session_case, registration: None })
            };
            assert!(of(SessionCase::TerminatingUnregistered));
            // What the service itself sends does not come back to it.
            assert!(!of(SessionCase::Originating));
        }
    }

    #[test]
    fn text_is_escaped() {
        let addresses = Addresses { settings_event: "a.b<&".into(), ..Addresses::at("h", "") };
        let user = profiles(&render_user(&addresses, &["sip:a&b@h"])).unwrap().remove(0);
        assert_eq!(user.public_identities, ["sip:a&b@h"]);
        assert_eq!(user.criteria[0].application_server.server_name, "sip:im-orig@h:5080");
    }
}
