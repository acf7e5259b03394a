//! The controlling function (OMA-TS-SIMPLE_IM §7.4): the groups hosted here and the conferences
//! that run in them.
//!
//! Start with [`Controlling`], which is a role of `parlance-isc`. [`Policy`] is the operator's
//! configuration, [`Groups`] says which groups there are. [`focus`] is the model of one session:
//! who takes part, who may, and what subscribers are told; `session` is the task that drives it,
//! with the dialogs, the room and the subscriptions of the session. [`explode`] sends one message
//! to many.
//!
//! **Invariant:** no 408 and no 5xx is answered: over ISC it would make the S-CSCF go on without
//! the server.

mod caller;
mod describe;
pub mod explode;
pub mod focus;
mod groups;
pub mod list;
mod policy;
mod quota;
mod refusal;
mod register;
mod role;
mod session;
mod table;
#[cfg(test)]
mod tests;

pub use groups::{
    FileFault, Group, GroupFault, GroupFiles, Groups, GroupsUnavailable, Member, Rights, Who, Why,
};
pub use policy::{
    AdHocPolicy, AnonymousAnswer, AnswerAt, InviteRight, Policy, PolicyMistake, ReleasePolicies,
    ReleasePolicy, Warnings, WithoutList,
};
pub use quota::Quota;
pub use refusal::{Refusal, refusal};
pub use register::{EndpointLine, Line, Participant, Register, Untold};
pub use role::{Controlling, Setup};
