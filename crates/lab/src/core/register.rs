//! Registration, and its third-party REGISTER (TS 24.229 §5.4.1.2, §5.4.1.7).

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use parlance_isc::ifc::{RegistrationType, SessionCase, Subject, evaluate};
use parlance_sip::header::{Contact, Require};
use parlance_sip::uri::Aor;
use parlance_sip::{Edits, HeaderName, Request, RequestBuilder, ResponseBuilder, Transport};

use super::{State, Tag};
use crate::transaction::{ClientId, Peer, ServerId};

/// A third-party REGISTER and what came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ThirdParty {
    /// The registered identity.
    pub identity: String,
    /// Its `Expires`, in seconds.
    pub expires: u64,
    /// The final status; `None` as long as there is none.
    pub status: Option<u16>,
    /// `Expires` of the response.
    pub confirmed: Option<String>,
}

/// Whether a client that registers for instant messaging requires that its preferences be
/// honoured, and says its release (OMA-TS-SIMPLE_IM §6.1.1.1).
fn registers_as_it_must(request: &Request) -> bool {
    let mut contacts = request.list::<Contact<'_>>().flatten();
    let is_im = contacts.any(|contact| contact.to_string().contains("+g.oma.sip-im"));
    let prefers = request.list::<Require<'_>>().flatten().any(|tag| tag.is("pref"));
    let agent = request.field(HeaderName::UserAgent).unwrap_or_default();
    !is_im || prefers && agent.starts_with(b"IM-client/OMA")
}

/// What a UE asks for without saying it.
const PERIOD: Duration = Duration::from_secs(3600);

impl State {
    /// Serves a REGISTER of a UE.
    pub(super) fn register(&mut self, peer: Peer, server: &ServerId, request: &Request) {
        let to = request.header::<parlance_sip::header::To<'_>>().ok().flatten();
        let identity =
            to.and_then(|to| Aor::from_uri(&to.uri())).map(|aor| aor.as_str().to_owned());
        let known = identity.filter(|identity| {
            let user = self.subscribers.get(identity);
            user.is_some_and(|user| user.has_address(peer.address))
        });
        let Some(identity) = known else {
            let refusal = self.response_to(request, 403).build();
            return self.answer(peer, server, 403, refusal);
        };
        if !registers_as_it_must(request) {
            let refusal = self.response_to(request, 400).build();
            return self.answer(peer, server, 400, refusal);
        }
        let expires = request.field(HeaderName::Expires);
        let expires = expires.and_then(|text| std::str::from_utf8(text).ok()?.trim().parse().ok());
        let mut period = expires.map_or(PERIOD, Duration::from_secs);
        let mut kind = None;
        let mut confirmed = Vec::new();
        for contact in request.list::<Contact<'_>>().flatten() {
            let Some(user) = self.subscribers.get_mut(&identity) else { return };
            let Some(address) = contact.address() else {
                user.clear();
                period = Duration::ZERO;
                kind = Some(RegistrationType::DeRegistration);
                continue;
            };
            if let Some(seconds) = contact.expires() {
                period = Duration::from_secs(u64::from(seconds));
            }
            let uri = address.uri.to_string();
            kind = Some(user.bind(&uri, peer.address, period));
            confirmed.push(format!("<{uri}>;expires={}", period.as_secs()));
        }
        let mut response = self.response_to(request, 200);
        for contact in confirmed.iter().filter(|_| !period.is_zero()) {
            response = response.header(HeaderName::Contact, contact);
        }
        let user = self.subscribers.get_mut(&identity);
        let aliases = user.map(|user| user.subscription.aliases.clone()).unwrap_or_default();
        let identities = std::iter::once(&identity).chain(&aliases);
        for identity in identities {
            response = response.header(HeaderName::PAssociatedUri, format_args!("<{identity}>"));
        }
        let own = format!("<sip:{};lr>", self.local);
        let octets = response.header(HeaderName::ServiceRoute, own).build();
        self.answer(peer, server, 200, octets);
        if let Some(kind) = kind {
            self.tell_servers(&identity, kind, request, period);
        }
    }

    pub(super) fn response_to(&mut self, request: &Request, status: u16) -> ResponseBuilder {
        let tag = self.token();
        ResponseBuilder::new(request, status, &tag)
    }

    /// Tells every application server whose criteria hold.
    fn tell_servers(
        &mut self,
        identity: &str,
        kind: RegistrationType,
        request: &Request,
        period: Duration,
    ) {
        let embedded = self.as_received_by_the_scscf(request);
        if let Some(user) = self.subscribers.get_mut(identity) {
            user.last = Some((embedded.clone(), period));
        }
        let session_case = SessionCase::Originating;
        let subject = Subject { request, session_case, registration: Some(kind) };
        let servers: Vec<String> = evaluate(&self.criteria, &subject)
            .into_iter()
            .filter(|criterion| criterion.application_server.include_register_request)
            .map(|criterion| criterion.application_server.server_name.clone())
            .collect();
        for server in servers {
            self.third_party_register(identity, &server, &embedded, period);
        }
    }

    pub(super) fn third_party_again(&mut self, identity: &str) {
        let last = self.subscribers.get(identity).and_then(|user| user.last.clone());
        let Some((embedded, period)) = last else { return };
        let includes = |server: &&parlance_isc::ifc::InitialFilterCriteria| {
            server.application_server.include_register_request
        };
        let name = |server: &parlance_isc::ifc::InitialFilterCriteria| {
            server.application_server.server_name.clone()
        };
        let servers: Vec<String> = self.criteria.iter().filter(includes).map(name).collect();
        for server in servers {
            self.third_party_register(identity, &server, &embedded, period);
        }
    }

    /// The REGISTER of the UE, with what the P-CSCF put in.
    fn as_received_by_the_scscf(&mut self, request: &Request) -> Bytes {
        let mut edits = Edits::new();
        let branch = self.branch();
        let via = format!("SIP/2.0/UDP {};branch={branch}", self.local);
        edits.prepend(request, HeaderName::Via, via);
        let domain = &self.config.domain;
        edits.append(HeaderName::Path, format_args!("<sip:term@{};lr>", self.local));
        edits.append(HeaderName::PVisitedNetworkId, format_args!("\"visited.{domain}\""));
        let mut out = BytesMut::new();
        edits.write(request, &mut out);
        out.freeze()
    }

    fn third_party_register(
        &mut self,
        identity: &str,
        server: &str,
        embedded: &Bytes,
        period: Duration,
    ) {
        let Some(peer) = self.peer_of(server) else { return };
        let local = self.local;
        let (branch, tag, number) = (self.branch(), self.token(), self.token());
        let expires = if period.is_zero() { Duration::ZERO } else { period + self.config.grace };
        let aliases = self.subscribers.get(identity).map(|user| user.subscription.aliases.clone());
        // Kamailio puts all identities into one pair of brackets, which no grammar allows.
        let all = std::iter::once(identity.to_owned()).chain(aliases.unwrap_or_default());
        let associated = all.collect::<Vec<_>>().join(", ");
        let transport = peer.transport.token();
        let icid = self.token();
        let domain = self.config.domain.clone();
        let (request, _) = server.split_once(";transport=").unwrap_or((server, ""));
        let register = RequestBuilder::new("REGISTER", request)
            .header(HeaderName::Via, format_args!("SIP/2.0/{transport} {local};branch={branch}"))
            .header(HeaderName::To, format_args!("<{identity}>"))
            .header(HeaderName::From, format_args!("<sip:{local}>;tag={tag}"))
            .header(HeaderName::CSeq, "10 REGISTER")
            .header(HeaderName::CallId, format_args!("{number}@{}", local.ip()))
            .header(HeaderName::UserAgent, "S-CSCF")
            .header(HeaderName::Event, "registration")
            .header(HeaderName::MaxForwards, 10)
            .header(HeaderName::Expires, expires.as_secs())
            .header(HeaderName::Path, format_args!("<sip:{local};lr>,<sip:term@{local};lr>"))
            .header(HeaderName::Contact, format_args!("<sip:{local}>"))
            .header(HeaderName::PVisitedNetworkId, format_args!("\"visited.{domain}\""))
            .header(
                HeaderName::PChargingVector,
                format_args!("icid-value=\"{icid}\";icid-generated-at={}", local.ip()),
            )
            .header(HeaderName::PAssociatedUri, format_args!("<{associated}>"))
            .header(HeaderName::ContentType, "message/sip")
            .build(embedded);
        let Some(register) = register else { return };
        let number = self.third_party.len();
        self.third_party.push(ThirdParty {
            identity: identity.to_owned(),
            expires: expires.as_secs(),
            status: None,
            confirmed: None,
        });
        let id = ClientId { branch, method: "REGISTER".to_owned() };
        self.counts.send_to_server += 1;
        self.start(id, peer, register.bytes(), Tag::ThirdParty(number));
    }

    /// Where a URI of the criteria leads.
    pub(super) fn peer_of(&self, uri: &str) -> Option<Peer> {
        let parsed = parlance_sip::uri::Uri::parse(uri.as_bytes()).ok()?;
        let sip = *parsed.as_sip()?;
        let host = sip.host.as_str();
        let ip = sip.host.ip().or_else(|| self.config.names.get(host).copied())?;
        let port = sip.port.unwrap_or(5060);
        let port = self.config.ports.get(&port).copied().unwrap_or(port);
        let transport = sip.transport().unwrap_or(Transport::Udp);
        Some(Peer { transport, address: (ip, port).into() })
    }
}
