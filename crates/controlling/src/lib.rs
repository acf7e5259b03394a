//! The controlling function (OMA-TS-SIMPLE_IM §7.4): the groups hosted here and the conferences
//! that run in them.
//!
//! [`Policy`] is the operator's configuration, [`Groups`] says which groups there are. [`focus`]
//! is the model of one session: who takes part, who may, and what subscribers are told.
//!
//! **Invariant:** no 408 and no 5xx is answered: over ISC it would make the S-CSCF go on without
//! the server.

pub mod focus;
mod groups;
pub mod list;
mod policy;
mod refusal;

pub use groups::{
    FileFault, Group, GroupFault, GroupFiles, Groups, GroupsUnavailable, Member, Rights, Who, Why,
};
pub use policy::{
    AdHocPolicy, AnonymousAnswer, AnswerAt, InviteRight, Policy, PolicyMistake, ReleasePolicies,
    ReleasePolicy, Warnings, WithoutList,
};
pub use refusal::{Refusal, refusal};
