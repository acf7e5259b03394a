//! Dialogs, RFC 3261 §12: identity, sequence numbers, route set and remote target.
//!
//! | State      | Input                               | Next       | Effect                     |
//! |------------|-------------------------------------|------------|----------------------------|
//! | (new)      | 1xx with To tag sent or received    | Early      | §12.1                      |
//! | (new)      | 2xx sent or received                | Confirmed  | §12.1                      |
//! | Early      | 2xx                                 | Confirmed  | route set anew (§13.2.2.4) |
//! | Early      | 300-699                             | Terminated | §12.3                      |
//! | any        | BYE, 481, 408, no answer            | Terminated | §12.2.1.2, §15             |
//! | any        | request with a lower CSeq           | the same   | 500 (§12.2.2)              |
//! | any        | target refresh accepted             | the same   | remote target replaced     |
//!
//! A dialog knows no message: texts are owned and stand as they did in the message, so that what
//! is not understood in them is sent back unchanged. What happens inside it is elsewhere:
//! [`invite_usage`] for INVITE and UPDATE, [`accept`] and [`acknowledge`] for the 2xx and its ACK.

pub mod accept;
pub mod acknowledge;
pub mod invite_usage;
mod table;

pub use table::Dialogs;

use std::borrow::Cow;

/// What names a dialog at this end (RFC 3261 §12).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DialogId {
    /// The `Call-ID`, octet for octet.
    pub call_id: Box<str>,
    /// Our tag: in `To` of what the peer sends.
    pub local_tag: Box<str>,
    /// The peer's tag: in `From` of what the peer sends. Empty for a peer of RFC 2543 without one.
    pub remote_tag: Box<str>,
}

/// How far a dialog has come (RFC 3261 §12).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DialogState {
    /// Made by a provisional response.
    Early,
    /// Made or confirmed by a 2xx.
    Confirmed,
    /// Over. Nothing more is sent in it.
    Terminated,
}

/// Which role the local end had in the request that made the dialog.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// We sent the request. The Call-ID is ours.
    Uac,
    /// The peer sent it.
    Uas,
}

/// The facts a dialog is made from (RFC 3261 §12.1).
#[derive(Clone, Debug)]
pub struct Foundation {
    /// Which end we are.
    pub role: Role,
    /// The identity.
    pub id: DialogId,
    /// The URI in our header field: `To` as UAS, `From` as UAC.
    pub local_uri: Box<str>,
    /// The URI in the peer's header field: `From` as UAS, `To` as UAC.
    pub remote_uri: Box<str>,
    /// The URI in the peer's `Contact`, without angle brackets.
    pub remote_target: Box<str>,
    /// The sequence number of the request that makes the dialog.
    pub cseq: u32,
    /// The `Record-Route` values of the request (as UAS) or of the response (as UAC), in the order
    /// they stand there.
    pub record_routes: Vec<Box<str>>,
    /// Whether the request came or went over TLS to a SIPS URI.
    pub secure: bool,
    /// [`DialogState::Early`] for a provisional response, [`DialogState::Confirmed`] for a 2xx.
    pub state: DialogState,
}

/// One dialog (RFC 3261 §12).
#[derive(Clone, Debug)]
pub struct Dialog {
    role: Role,
    id: DialogId,
    state: DialogState,
    secure: bool,
    local_uri: Box<str>,
    remote_uri: Box<str>,
    remote_target: Box<str>,
    local_cseq: Option<u32>,
    remote_cseq: Option<u32>,
    route_set: Vec<Box<str>>,
}

/// Why a request inside a dialog is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DialogRefusal {
    /// No dialog has this identity (RFC 3261 §12.2.2).
    #[error("no such dialog")]
    Unknown,
    /// The sequence number is lower than the last (RFC 3261 §12.2.2).
    #[error("sequence number out of order")]
    OutOfOrder,
    /// The same kind of request is still unanswered (RFC 3261 §14.2, RFC 3311 §5.2).
    #[error("an earlier request is pending")]
    Overlap {
        /// For `Retry-After`: 0 to 10 seconds, random.
        retry_after_secs: u8,
    },
    /// Both ends sent one at the same time (RFC 3261 §14.2, RFC 3311 §5.2).
    #[error("request pending at both ends")]
    Glare,
}

impl DialogRefusal {
    /// The status code of the answer.
    pub fn status(&self) -> u16 {
        match self {
            Self::Unknown => 481,
            Self::OutOfOrder | Self::Overlap { .. } => 500,
            Self::Glare => 491,
        }
    }
}

/// Where a request inside the dialog goes (RFC 3261 §12.2.1.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Routing<'a> {
    /// The Request-URI.
    pub request_uri: Cow<'a, str>,
    /// The `Route` values, in order; none when empty.
    pub routes: Vec<Cow<'a, str>>,
    /// The URI whose address the request is sent to (RFC 3261 §8.1.2).
    pub next_hop: Cow<'a, str>,
}

/// The highest sequence number (RFC 3261 §8.1.1.5: less than 2**31).
const CSEQ_MAX: u32 = (1 << 31) - 1;

impl Dialog {
    /// Makes the dialog state (RFC 3261 §12.1.1, §12.1.2).
    pub fn new(foundation: Foundation) -> Self {
        let Foundation { role, id, local_uri, remote_uri, remote_target, cseq, .. } = foundation;
        let (local_cseq, remote_cseq) = match role {
            Role::Uac => (Some(cseq), None),
            Role::Uas => (None, Some(cseq)),
        };
        Self {
            role,
            id,
            state: foundation.state,
            secure: foundation.secure,
            local_uri,
            remote_uri,
            remote_target,
            local_cseq,
            remote_cseq,
            route_set: route_set(role, foundation.record_routes),
        }
    }

    /// The identity.
    pub fn id(&self) -> &DialogId {
        &self.id
    }

    /// How far it has come.
    pub fn state(&self) -> DialogState {
        self.state
    }

    /// Which role we had in the request that made it.
    pub fn role(&self) -> Role {
        self.role
    }

    /// Whether our `Contact` must be a SIPS URI (RFC 3261 §12.1.1).
    pub fn is_secure(&self) -> bool {
        self.secure
    }

    /// The URI for `From` in requests we send.
    pub fn local_uri(&self) -> &str {
        &self.local_uri
    }

    /// The URI for `To` in requests we send.
    pub fn remote_uri(&self) -> &str {
        &self.remote_uri
    }

    /// The peer's `Contact` URI.
    pub fn remote_target(&self) -> &str {
        &self.remote_target
    }

    /// The highest sequence number the peer used; `None` before its first request.
    pub fn remote_cseq(&self) -> Option<u32> {
        self.remote_cseq
    }

    /// The 2xx was sent or received. As UAC its `Record-Route` values, in the order they stand,
    /// replace the route set of the early dialog and nothing else (RFC 3261 §13.2.2.4).
    pub fn confirm(&mut self, record_routes: Vec<Box<str>>) {
        match (self.state, self.role) {
            (DialogState::Early, Role::Uac) => {
                self.route_set = route_set(self.role, record_routes);
                self.state = DialogState::Confirmed;
            }
            (DialogState::Early, Role::Uas) => self.state = DialogState::Confirmed,
            (DialogState::Confirmed | DialogState::Terminated, Role::Uac | Role::Uas) => {}
        }
    }

    /// The dialog ends (RFC 3261 §12.3).
    pub fn terminate(&mut self) {
        self.state = DialogState::Terminated;
    }

    /// Takes note of a request from the peer, other than ACK and CANCEL, whose numbers are those
    /// of another request (RFC 3261 §12.2.2). A gap is no error.
    pub fn receive(&mut self, cseq: u32) -> Result<(), DialogRefusal> {
        if self.state == DialogState::Terminated {
            return Err(DialogRefusal::Unknown);
        }
        if self.remote_cseq.is_some_and(|last| cseq < last) {
            return Err(DialogRefusal::OutOfOrder);
        }
        self.remote_cseq = Some(cseq);
        Ok(())
    }

    /// A target refresh request was accepted, or the 2xx to ours came: its `Contact` URI is the new
    /// remote target (RFC 3261 §12.2.1.2, §12.2.2). Not for a refused one, which changes nothing.
    pub fn refresh_target(&mut self, contact: Box<str>) {
        self.remote_target = contact;
    }

    /// The sequence number for the next request other than ACK and CANCEL (RFC 3261 §12.2.1.1).
    ///
    /// `None` when the dialog is over, or after 2**31 - 1, where a number may not wrap.
    pub fn next_cseq(&mut self) -> Option<u32> {
        if self.state == DialogState::Terminated {
            return None;
        }
        let next = match self.local_cseq {
            Some(last) => last.checked_add(1).filter(|next| *next <= CSEQ_MAX)?,
            None => 1,
        };
        self.local_cseq = Some(next);
        Some(next)
    }

    /// Where a request goes, ACK for a 2xx included (RFC 3261 §12.2.1.1).
    pub fn routing(&self) -> Routing<'_> {
        let target = Cow::Borrowed(&*self.remote_target);
        let Some((first, rest)) = self.route_set.split_first() else {
            return Routing { request_uri: target.clone(), routes: Vec::new(), next_hop: target };
        };
        if is_loose(first) {
            let routes = self.route_set.iter().map(|route| Cow::Borrowed(&**route)).collect();
            return Routing { request_uri: target, routes, next_hop: uri_of(first).into() };
        }
        // A strict router of RFC 2543: it takes the Request-URI for its own address and goes on
        // with the first Route value, so our target travels as the last one.
        let mut routes: Vec<_> = rest.iter().map(|route| Cow::Borrowed(&**route)).collect();
        routes.push(Cow::Owned(format!("<{target}>")));
        let request_uri = as_request_uri(uri_of(first));
        Routing { next_hop: request_uri.clone(), request_uri, routes }
    }
}

fn route_set(role: Role, mut record_routes: Vec<Box<str>>) -> Vec<Box<str>> {
    match role {
        Role::Uas => {}
        Role::Uac => record_routes.reverse(),
    }
    record_routes
}

/// The URI of a route value: what is between the angle brackets.
fn uri_of(route: &str) -> &str {
    let Some((_, after)) = route.rsplit_once('<') else { return route };
    after.split_once('>').map_or(after, |(uri, _)| uri)
}

/// Whether the URI of a route value has the `lr` parameter (RFC 3261 §19.1.1).
fn is_loose(route: &str) -> bool {
    parameters(uri_of(route)).any(|parameter| {
        let name = parameter.split_once('=').map_or(parameter, |(name, _)| name);
        name.eq_ignore_ascii_case("lr")
    })
}

/// The parameters of a SIP URI. A user part may hold `;` and `?`, so they are looked for after it.
fn parameters(uri: &str) -> impl Iterator<Item = &str> {
    let after_user = uri.rsplit_once('@').map_or(uri, |(_, host)| host);
    let without_headers = after_user.split_once('?').map_or(after_user, |(host, _)| host);
    without_headers.split(';').skip(1)
}

/// Without what may not stand in a Request-URI: headers and `method` (RFC 3261 §19.1.1, Table 1).
fn as_request_uri(uri: &str) -> Cow<'_, str> {
    let host_at = uri.rfind('@').map_or(0, |at| at + 1);
    let (user, after_user) = uri.split_at_checked(host_at).unwrap_or(("", uri));
    let without_headers = after_user.split_once('?').map_or(after_user, |(host, _)| host);
    let is_method = |parameter: &str| {
        let name = parameter.split_once('=').map_or(parameter, |(name, _)| name);
        name.eq_ignore_ascii_case("method")
    };
    if without_headers.len() == after_user.len() && !parameters(uri).any(is_method) {
        return Cow::Borrowed(uri);
    }
    let mut text = String::with_capacity(uri.len());
    text.push_str(user);
    for (index, part) in without_headers.split(';').enumerate() {
        if index == 0 {
            text.push_str(part);
        } else if !is_method(part) {
            text.push(';');
            text.push_str(part);
        }
    }
    Cow::Owned(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert, proptest};

    use super::*;

    pub(crate) fn foundation(role: Role, state: DialogState, routes: &[&str]) -> Foundation {
        Foundation {
            role,
            id: DialogId {
                call_id: "a84b4c76e66710".into(),
                local_tag: "ours".into(),
                remote_tag: "theirs".into(),
            },
            local_uri: "sip:alice@atlanta.com".into(),
            remote_uri: "sip:bob@biloxi.com".into(),
            remote_target: "sip:user@remoteua".into(),
            cseq: 314,
            record_routes: routes.iter().map(|route| (*route).into()).collect(),
            secure: false,
            state,
        }
    }

    /// Where a request goes from a UAS whose request had these `Record-Route` values.
    #[track_caller]
    fn check_routing(routes: &[&str], request_uri: &str, expected: &[&str], next_hop: &str) {
        let dialog = Dialog::new(foundation(Role::Uas, DialogState::Confirmed, routes));
        let routing = dialog.routing();
        assert_eq!(routing.request_uri, request_uri);
        assert_eq!(routing.routes, expected);
        assert_eq!(routing.next_hop, next_hop);
    }

    // Covers: CORE-008
    #[test]
    fn requests_follow_the_route_set() {
        check_routing(&[], "sip:user@remoteua", &[], "sip:user@remoteua");
        check_routing(
            &["<sip:p1;lr>;x=y", "\"<P>\" <sip:p2;LR=on>"],
            "sip:user@remoteua",
            &["<sip:p1;lr>;x=y", "\"<P>\" <sip:p2;LR=on>"],
            "sip:p1;lr",
        );
        // The example of RFC 3261 §12.2.1.1.
        check_routing(
            &["<sip:proxy1>", "<sip:proxy2>", "<sip:proxy3;lr>", "<sip:proxy4>"],
            "sip:proxy1",
            &["<sip:proxy2>", "<sip:proxy3;lr>", "<sip:proxy4>", "<sip:user@remoteua>"],
            "sip:proxy1",
        );
        check_routing(
            &["<sip:a;lr@strict;method=INVITE;transport=tcp?Subject=x>"],
            "sip:a;lr@strict;transport=tcp",
            &["<sip:user@remoteua>"],
            "sip:a;lr@strict;transport=tcp",
        );
    }

    // Covers: CORE-008
    #[test]
    fn the_uac_takes_record_route_in_reverse() {
        let routes = ["<sip:last;lr>", "<sip:first;lr>"];
        let mut dialog = Dialog::new(foundation(Role::Uac, DialogState::Early, &routes));
        assert_eq!(dialog.routing().routes, ["<sip:first;lr>", "<sip:last;lr>"]);
        dialog.confirm(vec!["<sip:c;lr>".into(), "<sip:b;lr>".into(), "<sip:a;lr>".into()]);
        assert_eq!(dialog.state(), DialogState::Confirmed);
        assert_eq!(dialog.routing().routes, ["<sip:a;lr>", "<sip:b;lr>", "<sip:c;lr>"]);
        dialog.confirm(Vec::new());
        assert_eq!(dialog.routing().routes.len(), 3, "a repeated 2xx changes nothing");
    }

    #[test]
    fn the_uas_keeps_the_route_set_of_the_request() {
        let mut dialog = Dialog::new(foundation(Role::Uas, DialogState::Early, &["<sip:p;lr>"]));
        dialog.confirm(Vec::new());
        assert_eq!(dialog.state(), DialogState::Confirmed);
        assert_eq!(dialog.routing().routes, ["<sip:p;lr>"]);
    }

    // Covers: CORE-008
    #[test]
    fn sequence_numbers_are_kept_for_each_end() {
        let mut uas = Dialog::new(foundation(Role::Uas, DialogState::Confirmed, &[]));
        assert_eq!(uas.remote_cseq(), Some(314));
        assert_eq!((uas.next_cseq(), uas.next_cseq()), (Some(1), Some(2)));
        assert_eq!(uas.receive(315), Ok(()));
        assert_eq!(uas.receive(400), Ok(()), "a gap is no error");
        let refusal = uas.receive(399).unwrap_err();
        assert_eq!((refusal, refusal.status()), (DialogRefusal::OutOfOrder, 500));
        assert_eq!(uas.remote_cseq(), Some(400));

        let mut uac = Dialog::new(foundation(Role::Uac, DialogState::Confirmed, &[]));
        assert_eq!(uac.next_cseq(), Some(315));
        assert_eq!(uac.remote_cseq(), None);
        assert_eq!(uac.receive(7), Ok(()), "the first number of the peer is free");
        assert_eq!(uac.receive(6), Err(DialogRefusal::OutOfOrder));
    }

    #[test]
    fn a_sequence_number_never_wraps() {
        let mut last = foundation(Role::Uac, DialogState::Confirmed, &[]);
        last.cseq = CSEQ_MAX - 1;
        let mut dialog = Dialog::new(last);
        assert_eq!(dialog.next_cseq(), Some(CSEQ_MAX));
        assert_eq!(dialog.next_cseq(), None);
    }

    // Covers: CORE-008
    #[test]
    fn the_target_is_replaced_only_by_a_refresh() {
        let mut dialog = Dialog::new(foundation(Role::Uas, DialogState::Confirmed, &[]));
        dialog.receive(315).unwrap();
        assert_eq!(dialog.remote_target(), "sip:user@remoteua");
        dialog.refresh_target("sip:user@elsewhere".into());
        assert_eq!(dialog.routing().request_uri, "sip:user@elsewhere");
    }

    #[test]
    fn a_terminated_dialog_is_unknown() {
        let mut dialog = Dialog::new(foundation(Role::Uas, DialogState::Early, &[]));
        dialog.terminate();
        assert_eq!(dialog.receive(999), Err(DialogRefusal::Unknown));
        assert_eq!(dialog.next_cseq(), None);
        dialog.confirm(Vec::new());
        assert_eq!(dialog.state(), DialogState::Terminated);
    }

    #[test]
    fn refusals_have_their_status() {
        #[rustfmt::skip]
        let table = [
            (DialogRefusal::Unknown,                         481),
            (DialogRefusal::OutOfOrder,                      500),
            (DialogRefusal::Overlap { retry_after_secs: 3 }, 500),
            (DialogRefusal::Glare,                           491),
        ];
        for (refusal, status) in table {
            assert_eq!(refusal.status(), status, "{refusal}");
        }
    }

    proptest! {
        #[test]
        fn routing_never_panics_and_ends_at_the_target(routes: Vec<String>, target: String) {
            let routes: Vec<&str> = routes.iter().map(String::as_str).collect();
            let mut dialog = Dialog::new(foundation(Role::Uas, DialogState::Early, &routes));
            dialog.refresh_target(target.as_str().into());
            let routing = dialog.routing();
            let at_the_end = routing.routes.last().is_some_and(|last| last.contains(&target));
            prop_assert!(routing.request_uri == target || at_the_end);
        }
    }
}
