//! Sessions of served users, and what else they ask of a focus (OMA-TS-SIMPLE_IM §7.2.2.5,
//! §7.2.3, §7.2.4.2).
//!
//! An INVITE is checked for the user it serves and goes on, by [`crate::SessionPolicy::media`] as
//! at a record-routing proxy or as at a back-to-back user agent through which the messages pass; or
//! it becomes a conference of two. Sessions that users establish ahead of time are in [`pre`].

mod anchor;
pub(crate) mod chronicle;
mod control;
pub(crate) mod description;
mod hosted;
mod identities;
mod originating;
mod pre;
mod proxy;
mod refer;
mod seats;
mod terminating;

use parlance_isc::SessionCase;
use parlance_sip::Method;

pub(crate) use originating::Asked;
pub use pre::PreEstablished;
pub(crate) use pre::serve as pre_establish;
pub(crate) use seats::Seat;
pub use seats::Seats;

use crate::passage::Passage;

/// Serves an INVITE, REFER or SUBSCRIBE of or to a user.
pub(crate) async fn serve(passage: Passage<'_>) {
    match (passage.request().method(), passage.case) {
        (Method::Invite, SessionCase::Originating) => originating::serve(passage).await,
        (Method::Invite, SessionCase::Terminating) => terminating::serve(passage).await,
        _ => refer::serve(passage).await,
    }
}
