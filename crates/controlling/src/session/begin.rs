//! How a session begins: by a call to the conference factory (OMA-TS-SIMPLE_IM §7.4.3.3, RFC 5366)
//! or to a group (§7.4.3.4, §7.4.3.6).

use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::FuturesUnordered;
use parlance_isc::Cx;
use parlance_isc::media::RoomFailure;
use parlance_isc::session::{Body, Inbox, Invite, Lost};
use parlance_sip::HeaderName;
use parlance_sip::uri::Aor;

use super::join::Arrival;
use super::replace;
use super::timers::Timers;
use super::{Ending, Session, Stage};
use crate::caller;
use crate::describe;
use crate::focus::{Caller, EndpointId, Focus, Kind, Setup, admission};
use crate::groups::Group;
use crate::list::{self, Body as Parts, Invitee};
use crate::policy::{AnswerAt, Policy, WithoutList, seconds_of};
use crate::refusal::{Refusal, refusal};
use crate::role::Hosted;

/// Whoever began a session and waits for the others.
pub(super) struct Founder {
    pub(super) invite: Invite,
    pub(super) endpoint: EndpointId,
    arrival: Arrival,
    /// Whether somebody's client rings.
    rings: bool,
    /// The best refusal of those who were called.
    best: Option<u16>,
}

/// When the founder's INVITE is lost; never without one.
pub(super) async fn lost(founder: Option<&Founder>) -> Lost {
    match founder {
        Some(founder) => founder.invite.cancelled().await,
        None => std::future::pending().await,
    }
}

/// What is needed to begin a session.
pub(crate) struct Beginning {
    kind: Kind,
    caller: Caller,
    subject: Option<String>,
    group: Option<Arc<Group>>,
    invitees: Vec<Invitee>,
    body: Parts,
}

impl Beginning {
    /// Whom whoever begins it invites.
    pub(crate) fn invitees(&self) -> &[Invitee] {
        &self.invitees
    }
}

/// An INVITE to the conference factory, taken apart (CF-003 to CF-006).
///
/// # Errors
/// Why it is refused.
pub(crate) async fn ad_hoc(
    hosted: &Hosted,
    invite: &Invite,
    policy: &Policy,
) -> Result<Beginning, Refusal> {
    let caller = caller_of(invite)?;
    replace::none_here(invite.request())?;
    let body = read(invite)?;
    let max = usize::try_from(policy.adhoc_group_size_max).unwrap_or(usize::MAX);
    let mut invitees = list::invitees(&body.lists, &caller.names(), max)?;
    if body.lists.is_empty() && policy.without_list == WithoutList::Forbidden {
        return Err(Refusal::NotAllowed);
    }
    let named = invitees.len();
    skip_groups(hosted, &mut invitees).await?;
    if invitees.is_empty() && named > 0 {
        return Err(Refusal::Nested);
    }
    let kind = if invitees.len() == 1 { Kind::OneToOne } else { Kind::AdHoc };
    let subject = subject(invite);
    Ok(Beginning { kind, caller, subject, group: None, invitees, body })
}

/// An INVITE from one user to another, to be served as a conference of two.
///
/// # Errors
/// Why it is refused.
pub(crate) async fn one_to_one(hosted: &Hosted, invite: &Invite) -> Result<Beginning, Refusal> {
    let caller = caller_of(invite)?;
    let body = read(invite)?;
    if !body.lists.is_empty() {
        return Err(Refusal::Malformed("A user is no list"));
    }
    let uri = String::from_utf8_lossy(invite.request().uri_text()).into_owned();
    let mut invitee = Invitee::new(&uri)?;
    // It is for the client of the user to have one of its dialogs replaced.
    if replace::of_request(invite.request())?.is_some()
        && let Some(value) = invite.request().field(HeaderName::Replaces)
    {
        invitee.headers.push(("Replaces", String::from_utf8_lossy(value).into_owned()));
    }
    if hosted.is_group(&invitee.address).await? {
        return Err(Refusal::Nested);
    }
    let (subject, invitees) = (subject(invite), vec![invitee]);
    Ok(Beginning { kind: Kind::OneToOne, caller, subject, group: None, invitees, body })
}

/// A group is not invited to a conference (CF-019).
async fn skip_groups(hosted: &Hosted, invitees: &mut Vec<Invitee>) -> Result<(), Refusal> {
    let mut kept = Vec::with_capacity(invitees.len());
    for invitee in invitees.drain(..) {
        if !hosted.is_group(&invitee.address).await? {
            kept.push(invitee);
        }
    }
    *invitees = kept;
    Ok(())
}

/// An INVITE to a group that has no session yet (CF-033, CF-037).
///
/// # Errors
/// Why it is refused.
pub(crate) fn of_group(
    cx: &Cx,
    invite: &Invite,
    group: Arc<Group>,
    policy: &Policy,
) -> Result<Beginning, Refusal> {
    let caller = caller_of(invite)?;
    admission::begin(&group, &caller, cx.now(), policy)?;
    replace::none_here(invite.request())?;
    let body = read(invite)?;
    if !body.lists.is_empty() {
        return Err(Refusal::Malformed("A group has its own list"));
    }
    let names = caller.names();
    let others = group.members().iter().filter(|member| !names.contains(&member.address));
    let invitees = match group.invites_members() {
        true => others
            .filter_map(|member| {
                let display_name = member.display_name.clone();
                Some(Invitee { display_name, ..Invitee::new(&member.uri).ok()? })
            })
            .collect(),
        false => Vec::new(),
    };
    let kind = if group.invites_members() { Kind::PreArranged } else { Kind::Chat };
    let subject = subject(invite);
    Ok(Beginning { kind, caller, subject, group: Some(group), invitees, body })
}

/// Who calls: he is authenticated, and may have sessions.
pub(super) fn caller_of(invite: &Invite) -> Result<Caller, Refusal> {
    let decision = invite.decision();
    let originator = decision.originator.as_ref().ok_or(Refusal::NotAllowed)?;
    let may = |profile: &Arc<parlance_store::Profile>| profile.rights.session && !profile.barred;
    if decision.subscriber.has(&originator.address)
        && !decision.subscriber.profile().is_none_or(may)
    {
        return Err(Refusal::NotAllowed);
    }
    Ok(caller::of_request(invite.request(), originator))
}

/// The body of an INVITE.
pub(crate) fn read(invite: &Invite) -> Result<Parts, Refusal> {
    let body = Parts::read(invite.request())?;
    if body.asks_for_more() {
        return Err(Refusal::UnsupportedBody(&[
            "application/sdp",
            "application/resource-lists+xml",
            "multipart/mixed",
        ]));
    }
    Ok(body)
}

fn subject(invite: &Invite) -> Option<String> {
    let text = std::str::from_utf8(invite.request().field(HeaderName::Subject)?).ok()?.trim();
    (!text.is_empty() && !text.chars().any(char::is_control)).then(|| text.to_owned())
}

/// Begins a session and runs it to its end. The INVITE is answered in any case.
pub(crate) async fn run(
    cx: Cx,
    hosted: Rc<Hosted>,
    policy: Arc<Policy>,
    invite: Invite,
    beginning: Beginning,
) {
    let group = beginning.group.as_ref().map(|group| group.identity().clone());
    let opened = open(&cx, &hosted, &policy, &beginning).await;
    let session = match opened {
        Ok(session) => session,
        Err(refused) => {
            hosted.meter.refused(&refused);
            return invite.reply(&refusal(&refused, &policy));
        }
    };
    // Somebody else may have begun a session of the same group meanwhile.
    let running = group.and_then(|group| hosted.table.borrow().find(&group));
    if let Some(address) = running {
        if let Err(event) = address.give(parlance_isc::session::Event::Joining(invite)) {
            drop(event);
        }
        return;
    }
    hosted.table.borrow_mut().begin(&session.identities, &session.address);
    session.found(invite, beginning).await;
}

async fn open(
    cx: &Cx,
    hosted: &Rc<Hosted>,
    policy: &Arc<Policy>,
    beginning: &Beginning,
) -> Result<Session, Refusal> {
    let permit = hosted.quota.begin(policy)?;
    let entity = cx.session_uri(&hosted.prefix, &hosted.domain);
    let own = Aor::parse(&entity).map_err(|_| Refusal::Unavailable)?;
    let group = beginning.group.as_ref().map(|group| group.identity().clone());
    let identities: Vec<Aor> = std::iter::once(own).chain(group).collect();
    let named = entity.clone();
    let setup = Setup {
        kind: beginning.kind,
        entity,
        creator: beginning.caller.address.clone(),
        subject: beginning.subject.clone(),
        group: beginning.group.clone(),
    };
    let mut focus = Focus::new(setup, Arc::clone(policy));
    focus.at(cx.now());
    let uris = identities.iter().map(|identity| identity.as_str().to_owned()).collect();
    let room = hosted.media.room(describe::room(&focus, uris)).await;
    let room = room.map_err(|failure| match failure {
        RoomFailure::Media(_) | RoomFailure::Room(_) => Refusal::Unavailable,
    })?;
    let inbox = Inbox::new(cx);
    let address = inbox.address();
    let (registered, questions) = hosted.register.begin(&named, &focus, cx.now());
    let timers = Timers::new(policy, beginning.group.is_some(), tokio::time::Instant::now());
    Ok(Session {
        cx: cx.clone(),
        hosted: Rc::clone(hosted),
        focus,
        identities,
        inbox,
        address,
        room,
        participants: HashMap::new(),
        legs: HashMap::new(),
        ended: VecDeque::new(),
        keys: HashMap::new(),
        losses: HashMap::new(),
        founder: None,
        work: FuturesUnordered::new(),
        watchers: HashMap::new(),
        referrals: HashMap::new(),
        timers,
        ending: None,
        registered: Some(registered),
        questions,
        _permit: permit,
    })
}

/// How long a founder hears nothing while nobody rings; local value. Most clients ring or answer
/// sooner, and then a 183 would say less than what follows it.
const QUIET: Duration = Duration::from_secs(1);

impl Session {
    /// Lets the founder in, calls whom he invites, and runs.
    async fn found(mut self, invite: Invite, beginning: Beginning) {
        self.hosted.meter.begun(beginning.kind);
        let Beginning { caller, invitees, body, .. } = beginning;
        match self.arrive(&caller, &body, false).await {
            Err(refused) => {
                invite.reply(&self.reply(&refused));
                self.end_with(Ending::Over);
            }
            Ok(arrival) => {
                let endpoint = arrival.endpoint;
                self.invite_all(&caller, &invitees).await;
                let may_begin = self.focus.may_begin(Some(endpoint));
                let at_once = self.policy().answer_at == AnswerAt::Once && may_begin;
                let founder = Founder { invite, endpoint, arrival, rings: false, best: None };
                self.founder = Some(founder);
                if self.is_calling() && !at_once {
                    self.timers.progress = Some(self.now() + QUIET);
                } else {
                    self.answer_founder();
                }
            }
        }
        self.run().await;
    }

    /// Whether somebody is being called.
    fn is_calling(&self) -> bool {
        self.participants.values().any(|other| matches!(other.stage, Stage::Calling(_)))
    }

    /// Sends the founder another provisional response: 180 when somebody's client rings, before
    /// that 183. It is repeated, or a proxy would give up (RFC 3261 §13.3.1.1).
    pub(super) fn repeat_progress(&mut self) {
        let terms = self.terms();
        let Some(founder) = &self.founder else { return };
        let response = founder.invite.response(if founder.rings { 180 } else { 183 });
        founder.invite.progress(response, &Body::none(), &terms);
        let wait = seconds_of(self.focus.policy().progress_repeat_s);
        self.timers.progress = Some(self.now() + wait);
    }

    /// Somebody's client rings.
    pub(super) fn founder_hears_ringing(&mut self) {
        let Some(founder) = &mut self.founder else { return };
        if !std::mem::replace(&mut founder.rings, true) {
            self.repeat_progress();
        }
    }

    /// Answers the founder when the session may begin (CF-031, CF-035, CF-063).
    pub(super) fn answer_founder_if_ready(&mut self) {
        let ready = self.founder.as_ref().is_some_and(|founder| {
            self.focus.counts().inside > 0 && self.focus.may_begin(Some(founder.endpoint))
        });
        if ready {
            self.answer_founder();
        }
    }

    fn answer_founder(&mut self) {
        self.timers.progress = None;
        let Some(Founder { invite, arrival, .. }) = self.founder.take() else { return };
        self.accept(arrival, invite);
    }

    /// Somebody who was called does not come: when nobody is left who could, the founder is told
    /// why, with the best of their answers (CF-031).
    pub(super) fn founder_hears_refusal(&mut self, status: u16) {
        let Some(founder) = &mut self.founder else { return };
        founder.best = Some(better(founder.best, status));
        if self.is_calling() {
            return;
        }
        let Some(Founder { invite, best, .. }) = self.founder.take() else { return };
        let status = best.filter(|_| self.focus.counts().inside == 0).unwrap_or(480);
        let response = invite.response(status);
        invite.refuse(response);
        self.end_with(Ending::Over);
    }

    /// The founder has cancelled (CF-056).
    pub(super) fn founder_lost(&mut self) {
        let Some(Founder { endpoint, .. }) = self.founder.take() else { return };
        self.timers.progress = None;
        if self.focus.kind() == Kind::Chat {
            return self.remove(endpoint, crate::session::end::DEPARTED);
        }
        self.end_with(Ending::Cancelled);
    }

    /// Refuses a founder who still waits when the session ends.
    pub(super) fn refuse_founder(&mut self, refused: &Refusal) {
        if let Some(Founder { invite, .. }) = self.founder.take() {
            invite.reply(&self.reply(refused));
        }
    }
}

/// The better of two final responses for a caller (RFC 3261 §16.7 step 6, made to fit one who
/// called many): a 6xx is meant for all, then comes what says most. What is no answer for him, or
/// would make the S-CSCF go on without the server, is a 480.
fn better(known: Option<u16>, status: u16) -> u16 {
    let status = match status {
        403 | 404 | 410 | 433 | 480 | 486 | 488 | 600..=699 => status,
        _ => 480,
    };
    let rank = |status: u16| match status {
        600..=699 => 0,
        486 => 1,
        480 => 2,
        _ => 3,
    };
    match known {
        Some(known) if rank(known) <= rank(status) => known,
        Some(_) | None => status,
    }
}

#[cfg(test)]
mod tests {
    use super::better;

    // Covers: CF-031
    #[test]
    fn the_best_final_response_is_passed_on() {
        #[rustfmt::skip]
        let table = [
            (&[486][..],           486),
            (&[404],               404),
            (&[404, 480],          480),
            (&[480, 486],          486),
            (&[486, 603],          603),
            (&[603, 486],          603),
            (&[408],               480),
            (&[503, 500],          480),
            (&[404, 504],          480),
            (&[401],               480),
            (&[302],               480),
        ];
        for (all, best) in table {
            let found = all.iter().fold(None, |known, status| Some(better(known, *status)));
            assert_eq!(found, Some(best), "{all:?}");
        }
    }
}
