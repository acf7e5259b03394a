//! Why a request was served as it was, in words for the operator.

use std::fmt;

use parlance_sip::HeaderName;

use crate::mark::Origin;
use crate::service::Service;

/// Why a decision was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The neighbour may not speak to us, or not like this.
    UntrustedPeer,
    /// The dialog belongs to a session here.
    InDialogHere,
    /// The dialog passes through.
    InDialog,
    /// There is no such dialog.
    NoDialog,
    /// The core registers a user.
    ThirdPartyRegister,
    /// A user registers himself, which he does with the core.
    FirstPartyRegister,
    /// It is addressed to this service.
    Service(Service),
    /// The service it is addressed to does not run here.
    NotRunning(Service),
    /// The session it is addressed to is over.
    SessionEnded,
    /// The session it is addressed to does not exist.
    NoSession,
    /// It went through a controlling function before and may not enter another.
    Nested,
    /// It asks what a service or the server can do.
    Options,
    /// It is addressed to the server itself.
    ToServer,
    /// The server sent it itself, and here it is back.
    Own(Origin),
    /// A client publishes its settings.
    Settings,
    /// A client subscribes to its stored messages.
    MessageSummary,
    /// Nothing in it asks for instant messaging.
    NotIm,
    /// The filter applied for a core without one does not match.
    NotInFilter,
    /// It asks for instant messaging, in a method that is only passed on.
    OnlyPassed,
    /// Its sender is a served user.
    Originating,
    /// It goes to a served user.
    Terminating,
    /// Nobody says who sent it.
    NotAuthenticated,
    /// Its From is not an identity of its sender.
    ForeignFrom,
    /// The user is not known here.
    UnknownUser,
    /// Nobody who is asked next knows whose the telephone number is.
    UnknownNumber,
    /// The domain is not served here.
    ForeignDomain,
    /// The user does not have the service.
    NotProvisioned,
    /// The store did not answer.
    StoreUnavailable,
    /// It went through too many hops.
    TooManyHops,
    /// It was forked too often.
    TooBroad,
    /// A header asks for what the server does not understand, or is wrong.
    Malformed(HeaderName),
    /// The target is of a scheme no message can be sent to.
    UnsupportedScheme,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::UntrustedPeer => "the neighbour is not trusted on this transport",
            Self::InDialogHere => "its dialog belongs to a session here",
            Self::InDialog => "its dialog passes through the server",
            Self::NoDialog => "its dialog is not known",
            Self::ThirdPartyRegister => "the core registers a user",
            Self::FirstPartyRegister => "a user registers with the core, not here",
            Self::Service(service) => return write!(f, "it is addressed to {service}"),
            Self::NotRunning(service) => return write!(f, "{service} does not run here"),
            Self::SessionEnded => "the session it is addressed to is over",
            Self::NoSession => "the session it is addressed to does not exist",
            Self::Nested => "it went through a controlling function before",
            Self::Options => "it asks for capabilities",
            Self::ToServer => "it is addressed to the server itself",
            Self::Own(Origin::Deferred) => "the deferred function sent it",
            Self::Own(Origin::Notification) => "the server sent it as a notification",
            Self::Own(Origin::Controlling) => "the controlling function sent it",
            Self::Settings => "a client publishes its settings",
            Self::MessageSummary => "a client subscribes to its stored messages",
            Self::NotIm => "Accept-Contact has no feature tag of instant messaging",
            Self::NotInFilter => "no filter criterion matches",
            Self::OnlyPassed => "the server only passes on requests of this method",
            Self::Originating => "its sender is a served user",
            Self::Terminating => "it goes to a served user",
            Self::NotAuthenticated => "nobody says who sent it",
            Self::ForeignFrom => "From is not an identity of the sender",
            Self::UnknownUser => "the user is not known",
            Self::UnknownNumber => "nobody is there who knows whose the number is",
            Self::ForeignDomain => "the domain is not served here",
            Self::NotProvisioned => "the user does not have the service",
            Self::StoreUnavailable => "the store did not answer",
            Self::TooManyHops => "Max-Forwards is used up",
            Self::TooBroad => "Max-Breadth is used up",
            Self::Malformed(name) => return write!(f, "{name} asks for what is not understood"),
            Self::UnsupportedScheme => "its Request-URI is of a scheme that is not understood",
        };
        f.write_str(text)
    }
}
