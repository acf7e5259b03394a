//! The controlling function (OMA-TS-SIMPLE_IM §7.4): the groups hosted here and the conferences
//! that run in them.
//!
//! [`Policy`] is the operator's configuration.
//!
//! **Invariant:** no 408 and no 5xx is answered: over ISC it would make the S-CSCF go on without
//! the server.

mod policy;

pub use policy::{AnonymousAnswer, Policy, PolicyMistake, Warnings};
