//! The participants of a session and their endpoints (RFC 4575 §5.6, §5.7).

use parlance_content::conference_info::{DisconnectionMethod, JoiningMethod, Status};
use parlance_sip::uri::Aor;

/// One endpoint of one session: a leg of the focus. Never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EndpointId(pub(crate) u32);

/// Somebody who calls, or is to be called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// His IM address.
    pub address: Aor,
    /// The telephone number asserted beside it.
    pub alias: Option<Aor>,
    /// What he is called.
    pub display_name: Option<String>,
    /// Whether he asked not to be known (`Privacy: id`).
    pub anonymous: bool,
    /// Where his client is: the URI of his Contact. Empty until he has answered.
    pub contact: String,
}

impl Caller {
    /// Somebody without anything but an address.
    pub fn new(address: Aor) -> Self {
        Self { address, alias: None, display_name: None, anonymous: false, contact: String::new() }
    }

    /// The identities he goes by.
    pub fn names(&self) -> Vec<Aor> {
        std::iter::once(&self.address).chain(&self.alias).cloned().collect()
    }
}

/// Whether an endpoint takes a place in the session: it is in, or on its way in (CF-039).
pub(super) fn takes_place(status: Status) -> bool {
    !matches!(status, Status::Disconnecting | Status::Disconnected)
}

/// Whether an endpoint is in the session.
pub(super) fn is_in(status: Status) -> bool {
    matches!(status, Status::OnHold | Status::Connected | Status::MutedViaFocus)
}

/// Why somebody who was called did not come, by the final response of his side.
pub fn did_not_come(status: u16) -> DisconnectionMethod {
    match status {
        486 | 600 | 603 => DisconnectionMethod::Busy,
        _ => DisconnectionMethod::Failed,
    }
}

/// One endpoint of a user.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// Which one.
    pub id: EndpointId,
    /// How far it is.
    pub status: Status,
    /// How it came in.
    pub joining: JoiningMethod,
    /// Why it is gone, when it is.
    pub leaving: Option<DisconnectionMethod>,
    /// Where the client is; empty while it is not known.
    pub contact: String,
}

/// By what the others know a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Shown {
    /// By his address.
    Open,
    /// By a pseudonym, for good.
    Pseudonym(u32),
    /// By a pseudonym until he is in (a blind copy, RFC 5364 §4).
    UntilConnected(u32),
}

/// Somebody who takes part, with all his endpoints.
#[derive(Clone, Debug)]
pub struct User {
    /// His address.
    pub address: Aor,
    /// The telephone number asserted beside it.
    pub alias: Option<Aor>,
    /// What he is called.
    pub display_name: Option<String>,
    /// The nickname he chose (RFC 7701 §7).
    pub nickname: Option<String>,
    /// By what the others know him.
    pub shown: Shown,
    /// Whether a group needs one like him.
    pub key_participant: bool,
    /// His endpoints; those that are gone stay until the user is.
    pub endpoints: Vec<Endpoint>,
}

impl User {
    /// Whether some endpoint takes a place.
    pub fn takes_place(&self) -> bool {
        self.endpoints.iter().any(|endpoint| takes_place(endpoint.status))
    }

    /// Whether some endpoint is in the session.
    pub fn is_in(&self) -> bool {
        self.endpoints.iter().any(|endpoint| is_in(endpoint.status))
    }

    /// Whether he goes by one of these identities.
    pub fn is(&self, names: &[Aor]) -> bool {
        names.contains(&self.address)
            || self.alias.as_ref().is_some_and(|alias| names.contains(alias))
    }
}

#[cfg(test)]
mod tests {
    use parlance_content::conference_info::DisconnectionMethod::{Busy, Failed};

    use super::did_not_come;

    // Covers: CF-072
    #[test]
    fn a_final_response_says_why_somebody_did_not_come() {
        for status in [486, 600, 603] {
            assert_eq!(did_not_come(status), Busy, "{status}");
        }
        for status in [300, 403, 404, 408, 480, 487, 488, 500, 503, 606] {
            assert_eq!(did_not_come(status), Failed, "{status}");
        }
    }
}
