//! Initial filter criteria (TS 29.228 Annexes B and E, TS 23.218 §5.2).
//!
//! The S-CSCF evaluates them to find out which initial requests pass the server. The server ships
//! the set an operator gives to the HSS ([`render_user`], [`render_services`]), reads sets back
//! ([`profiles`]), and evaluates one itself for cores that have no filter of their own
//! ([`evaluate`]).

mod ere;
mod evaluate;
mod read;
mod render;

pub use ere::{ERE_OCTETS_MAX, Ere, EreError};
pub use evaluate::{Subject, evaluate};
pub use read::{CRITERIA_MAX, DOCUMENT_OCTETS_MAX, IfcError, IfcFault, SPTS_MAX, profiles};
pub use render::{Addresses, ServiceIdentity, render_services, render_user};

/// One service profile: the criteria that hold for a set of public identities.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceProfile {
    /// The public identities, user's or service's, as written.
    pub public_identities: Vec<String>,
    /// The criteria, lowest priority number first.
    pub criteria: Vec<InitialFilterCriteria>,
}

/// One initial filter criterion: which requests go to which application server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InitialFilterCriteria {
    /// Its place in the order: the lowest number is evaluated first. Unique in a profile.
    pub priority: u32,
    /// When it applies; `None`: to every initial request.
    pub trigger_point: Option<TriggerPoint>,
    /// Where the request goes then.
    pub application_server: ApplicationServer,
    /// Whether it applies only to registered, or only to unregistered users
    /// (`ProfilePartIndicator`); `None`: to both.
    pub profile_part: Option<ProfilePart>,
}

/// The part of a profile a criterion belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProfilePart {
    /// `0`: the user is registered.
    Registered,
    /// `1`: the user is not.
    Unregistered,
}

/// A Boolean expression over service point triggers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TriggerPoint {
    /// How the groups combine.
    pub form: Form,
    /// The triggers. Each names the groups it belongs to.
    pub spts: Vec<Spt>,
}

/// How the groups of a trigger point combine (`ConditionTypeCNF`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Conjunctive: in every group at least one trigger holds.
    Conjunctive,
    /// Disjunctive: in at least one group every trigger holds.
    Disjunctive,
}

/// A service point trigger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spt {
    /// `ConditionNegated`: it holds when its condition does not.
    pub negated: bool,
    /// The groups it belongs to, at least one.
    pub groups: Vec<i32>,
    /// What is looked at.
    pub condition: Condition,
    /// For `Method` `REGISTER`: the kinds of registration meant; empty: all.
    pub registrations: Vec<RegistrationType>,
}

/// What a service point trigger looks at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// The Request-URI is this one (RFC 3261 §19.1.4).
    RequestUri(String),
    /// The method is this one, case and all.
    Method(String),
    /// A header field whose name matches is there and, with `content`, a value of it matches.
    SipHeader {
        /// What the name of the field matches.
        header: Ere,
        /// What its value matches.
        content: Option<Ere>,
    },
    /// The request is in this case.
    SessionCase(SessionCase),
    /// A line of the session description matches.
    SessionDescription {
        /// What the letter of the line matches.
        line: Ere,
        /// What stands behind the equals sign.
        content: Option<Ere>,
    },
}

/// The side a request is on, and whether the served user is registered (`SessionCase`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SessionCase {
    /// `0`, the served user sent it. Written before the value 3 existed, the user may be
    /// unregistered too.
    Originating,
    /// `1`, it goes to the served user, who is registered.
    TerminatingRegistered,
    /// `2`, it goes to the served user, who is not registered.
    TerminatingUnregistered,
    /// `3`, the served user sent it without being registered.
    OriginatingUnregistered,
    /// `4`, it was diverted on behalf of the served user (`ORIGINATING_CDIV`).
    OriginatingDiverted,
}

impl SessionCase {
    /// Reads the number of the schema.
    pub fn from_number(number: u32) -> Option<Self> {
        Some(match number {
            0 => Self::Originating,
            1 => Self::TerminatingRegistered,
            2 => Self::TerminatingUnregistered,
            3 => Self::OriginatingUnregistered,
            4 => Self::OriginatingDiverted,
            _ => return None,
        })
    }

    /// The number of the schema.
    pub fn number(self) -> u32 {
        match self {
            Self::Originating => 0,
            Self::TerminatingRegistered => 1,
            Self::TerminatingUnregistered => 2,
            Self::OriginatingUnregistered => 3,
            Self::OriginatingDiverted => 4,
        }
    }

    /// Whether the served user counts as registered.
    pub fn is_registered(self) -> bool {
        match self {
            Self::Originating | Self::TerminatingRegistered | Self::OriginatingDiverted => true,
            Self::TerminatingUnregistered | Self::OriginatingUnregistered => false,
        }
    }
}

/// What a REGISTER does (`RegistrationType`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RegistrationType {
    /// `0`: it registers a user who was not.
    Initial,
    /// `1`: it refreshes.
    ReRegistration,
    /// `2`: it ends the registration.
    DeRegistration,
}

impl RegistrationType {
    /// Reads the number of the schema.
    pub fn from_number(number: u32) -> Option<Self> {
        [Self::Initial, Self::ReRegistration, Self::DeRegistration]
            .into_iter()
            .find(|kind| kind.number() == number)
    }

    /// The number of the schema.
    pub fn number(self) -> u32 {
        match self {
            Self::Initial => 0,
            Self::ReRegistration => 1,
            Self::DeRegistration => 2,
        }
    }
}

/// An application server, and what the S-CSCF does with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApplicationServer {
    /// The SIP URI requests are routed to.
    pub server_name: String,
    /// What becomes of a request when the server does not answer; by default it goes on.
    pub default_handling: DefaultHandling,
    /// `ServiceInfo`: text for the server, in the body of a third-party REGISTER.
    pub service_info: Option<String>,
    /// Whether a third-party REGISTER carries the UE's REGISTER.
    pub include_register_request: bool,
    /// Whether a third-party REGISTER carries the response to it.
    pub include_register_response: bool,
}

/// What becomes of a request when the application server does not answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DefaultHandling {
    /// `0`: it goes on without the server.
    #[default]
    SessionContinued,
    /// `1`: it fails.
    SessionTerminated,
}
