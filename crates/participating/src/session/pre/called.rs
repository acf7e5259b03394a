//! An invitation that is answered for a user from his pre-established session
//! (OMA-TS-SIMPLE_IM §7.2.4.2.2): the client hears nothing of it before the first message.

use parlance_isc::Mode;
use parlance_isc::session::{Body, Inbox};
use parlance_sip::HeaderName;
use parlance_sip::header::From;
use parlance_sip::sdp::Sdp;
use parlance_sip::uri::Aor;
use tokio::sync::{mpsc, oneshot};

use super::super::Seat;
use super::super::description::Described;
use super::attached::{Far, Line, line};
use super::establish::terms;
use super::{calling, description as described};
use crate::event::Step;
use crate::passage::Passage;

/// An invitation, as a pre-established session is asked to answer it.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) offer: Sdp,
    /// Whose domain says how he is spoken to.
    pub(super) caller: Option<Aor>,
    /// By which names he goes.
    pub(super) names: Vec<Aor>,
    pub(super) line: Line,
    /// The answer; `None` when the session has another use, or the offer does not suit it.
    pub(super) answer: oneshot::Sender<Option<Sdp>>,
}

/// Answers an invitation from a pre-established session of the user, who lets the inviter in
/// without being asked, and serves it to its end.
///
/// # Errors
/// The invitation, when there is no such session that can take it: it goes to the clients then.
pub(crate) async fn answer(passage: Passage<'_>, seat: Seat) -> Result<(), (Passage<'_>, Seat)> {
    let Some((own, far)) = find(&passage).await else { return Err((passage, seat)) };
    let Some(terms) = terms(&passage, &[]) else { return Err((passage, seat)) };
    passage.note(Step::Answered(200));
    let cx = passage.cx.clone();
    let identity = passage.decision().served.identity.clone();
    let invite = cx.take(passage.into_incoming());
    let inbox = Inbox::new(&cx);
    let ok = match identity {
        Some(identity) => {
            invite.response(200).header(HeaderName::PAssertedIdentity, format_args!("<{identity}>"))
        }
        None => invite.response(200),
    };
    // Cancelled in this very moment, it has its answer, and the session hears by the line.
    if let Ok(leg) = invite.accept(ok, Body::sdp(own.to_string()), terms, &inbox.address()) {
        far.stay(leg, inbox).await;
    }
    drop(seat);
    Ok(())
}

/// The newest session of the user that takes the invitation: its answer.
async fn find(passage: &Passage<'_>) -> Option<(Sdp, Far)> {
    // An immediate message needs more than is agreed with the client.
    if passage.decision().mode != Some(Mode::SessionMode) {
        return None;
    }
    let sessions = passage.functions.pre_established.of(&passage.user);
    if sessions.is_empty() {
        return None;
    }
    let request = passage.request();
    let offer = Described::of(request)?.sdp;
    described::proto(&offer)?;
    let from = request.header::<From<'_>>().ok().flatten();
    let caller = from.and_then(|from| Aor::from_uri(&from.uri()));
    let names: Vec<Aor> = calling::names(request).into_iter().chain(caller.clone()).collect();
    for session in sessions {
        if let Some(found) = ask(session, &offer, &caller, &names).await {
            return Some(found);
        }
    }
    None
}

async fn ask(
    session: mpsc::Sender<Call>,
    offer: &Sdp,
    caller: &Option<Aor>,
    names: &[Aor],
) -> Option<(Sdp, Far)> {
    let (line, far) = line();
    let (answer, told) = oneshot::channel();
    let (offer, caller, names) = (offer.clone(), caller.clone(), names.to_vec());
    session.try_send(Call { offer, caller, names, line, answer }).ok()?;
    // Only the table keeps one: see there.
    drop(session);
    Some((told.await.ok()??, far))
}
