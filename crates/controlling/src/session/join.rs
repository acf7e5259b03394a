//! Who joins a session that runs, for the first time or again (OMA-TS-SIMPLE_IM §7.4.3.5,
//! §7.4.3.7).

use parlance_isc::media::JoinFailure;
use parlance_isc::session::{Body, Invite};
use parlance_isc::{MediaError, media};
use parlance_msrp::negotiate;
use parlance_msrp::switch::JoinError;
use parlance_sip::HeaderName;
use parlance_sip::sdp::{MsrpProto, Sdp};

use super::{Description, Inside, Participant, Session, Stage, begin};
use crate::describe::{self, Described};
use crate::focus::{Caller, EndpointId, Shown};
use crate::list::Body as Parts;
use crate::refusal::Refusal;

use parlance_content::conference_info::DisconnectionMethod;

/// Somebody with a place in the room and a description for his answer.
pub(super) struct Arrival {
    pub(super) endpoint: EndpointId,
    /// The description that he has offered.
    offer: Option<Sdp>,
}

impl Session {
    /// An INVITE to the session or its group.
    pub(super) async fn joining(&mut self, invite: Invite) {
        match self.join(&invite).await {
            Ok((arrival, replaced)) => {
                let endpoint = arrival.endpoint;
                self.accept(arrival, invite);
                if let Some(replaced) = replaced {
                    self.replace(replaced, endpoint);
                }
                self.answer_founder_if_ready();
            }
            Err(refused) => invite.reply(&self.reply(&refused)),
        }
    }

    /// Who comes, and in whose place.
    async fn join(&mut self, invite: &Invite) -> Result<(Arrival, Option<EndpointId>), Refusal> {
        let caller = begin::caller_of(invite)?;
        self.focus.admit(&caller)?;
        let replaced = self.replaced_by(invite.request(), &caller)?;
        let body = begin::read(invite)?;
        if !body.lists.is_empty() {
            return Err(Refusal::Malformed("A session takes no list"));
        }
        Ok((self.arrive(&caller, &body, replaced.is_some()).await?, replaced))
    }

    /// Gives somebody who was admitted a place in the room, and the description of it; `again`: in
    /// place of one that he has.
    pub(super) async fn arrive(
        &mut self,
        caller: &Caller,
        body: &Parts,
        again: bool,
    ) -> Result<Arrival, Refusal> {
        let policy = self.policy();
        let permit = self.hosted.quota.enter(&caller.address, &policy, again)?;
        let offer = body.description().map(|octets| describe::read(&octets)).transpose()?;
        let secure = self.security_of(caller, offer.as_ref())?;
        let endpoint = self.focus.dial_in(caller);
        let joined = self.join_room(endpoint, caller, secure).await;
        let described = match joined {
            Ok(room_leg) => self.describe(caller, room_leg, offer.as_ref(), secure).await,
            Err(refused) => Err(refused),
        };
        let (room_leg, description) = match described {
            Ok(described) => described,
            Err(refused) => {
                self.focus.leave(endpoint, DisconnectionMethod::Failed);
                return Err(refused);
            }
        };
        self.keys.insert(room_leg.key(), endpoint);
        let inside = Inside { leg: None, dialog: None, description };
        let participant = Participant {
            caller: caller.clone(),
            room_leg,
            secure,
            stage: Stage::In(Box::new(inside)),
            _permit: Some(permit),
            lent: None,
            _present: None,
        };
        self.participants.insert(endpoint, participant);
        Ok(Arrival { endpoint, offer })
    }

    /// Whether his MSRP is over TLS (SEC-010).
    fn security_of(&self, caller: &Caller, offer: Option<&Sdp>) -> Result<bool, Refusal> {
        let media = &self.hosted.media;
        let rule = media.tls().of(caller.address.domain().unwrap_or_default());
        let none = Refusal::Media(302, "Incompatible transport protocol");
        match offer {
            Some(offer) => {
                let tls = describe::wants_tls(offer);
                let tls = tls.ok_or(Refusal::Media(304, "Media type not available"))?;
                let proto = if tls { MsrpProto::Tls } else { MsrpProto::Tcp };
                rule.answers(proto).ok_or(none)
            }
            None => {
                let has_tls = media.address(true).is_some();
                rule.offers(has_tls).first().copied().ok_or(none)
            }
        }
    }

    /// A place in the room.
    pub(super) async fn join_room(
        &self,
        endpoint: EndpointId,
        caller: &Caller,
        secure: bool,
    ) -> Result<media::RoomLeg, Refusal> {
        let user = self.focus.user_of(endpoint);
        let is_hidden = user.is_some_and(|user| matches!(user.shown, Shown::Pseudonym(_)));
        let shown = self.focus.shown_uri(endpoint).filter(|_| is_hidden);
        let joined = self.room.join(secure, describe::leg(&self.focus, caller, shown)).await;
        joined.map_err(|failure| match failure {
            JoinFailure::Media(MediaError::NoListener) => {
                Refusal::Media(302, "Incompatible transport protocol")
            }
            JoinFailure::Media(MediaError::Busy | MediaError::Gone) => Refusal::Unavailable,
            JoinFailure::Join(JoinError::Full) => Refusal::Full,
            JoinFailure::Join(JoinError::NoCpim) => {
                Refusal::Media(305, "Incompatible media format")
            }
            JoinFailure::Join(JoinError::NoSuchRoom) => Refusal::Unavailable,
            JoinFailure::Join(JoinError::Simultaneous | JoinError::Uris(_) | JoinError::Name) => {
                Refusal::NotAllowed
            }
        })
    }

    /// What the switch says to an offer, or offers itself when the INVITE has none.
    async fn describe(
        &self,
        caller: &Caller,
        mut room_leg: media::RoomLeg,
        offer: Option<&Sdp>,
        secure: bool,
    ) -> Result<(media::RoomLeg, Description), Refusal> {
        let terms = describe::terms(&self.focus, &self.hosted.media, caller, &room_leg, secure);
        let number = self.cx.random() >> 1;
        let Some(offer) = offer else {
            let own = negotiate::offer(&terms, number);
            let description = Description::Offered { own, terms: Box::new(terms), before: None };
            return Ok((room_leg, description));
        };
        let hosts = self.hosted.media.hosts(offer).await;
        let described: Described = describe::answer(offer, &terms, number, None, &hosts)?;
        // Held to its path before the description names ours.
        room_leg.agree(&described.agreement).await.map_err(|_| Refusal::Unavailable)?;
        Ok((room_leg, Description::Agreed(Box::new(described))))
    }

    /// Sends the 2xx to somebody who has a place.
    pub(super) fn accept(&mut self, arrival: Arrival, mut invite: Invite) {
        let Arrival { endpoint, offer } = arrival;
        let Some(participant) = self.participants.get_mut(&endpoint) else { return };
        let Stage::In(inside) = &participant.stage else { return };
        let mut own = inside.description.own().clone();
        let mut lent = invite.take_permit();
        if let Some(lent) = &mut lent {
            if lent.listens() {
                participant.room_leg.copy();
            }
            lent.gated(participant.room_leg.gate());
            if let Some(offer) = &offer {
                lent.described(offer, Some(&mut own));
            }
        }
        let response = invite.response(200).header(HeaderName::AllowEvents, "conference");
        let leg = invite.accept(response, sdp(&own), self.terms(), &self.address);
        let Some(participant) = self.participants.get_mut(&endpoint) else { return };
        match (leg, &mut participant.stage) {
            (Ok(leg), Stage::In(inside)) => {
                self.legs.insert(leg.id(), endpoint);
                inside.dialog = Some(leg.dialog().id().clone());
                inside.leg = Some(leg);
                let Caller { contact, anonymous, .. } = &participant.caller;
                self.focus.connected(endpoint, contact, *anonymous);
                if let Some(lent) = &mut lent {
                    lent.started();
                }
                participant.lent = lent;
                participant._present = Some(self.hosted.meter.joined());
            }
            (Ok(_) | Err(_), _) => self.forget(endpoint, DisconnectionMethod::Failed),
        }
    }
}

/// A description as a body.
pub(super) fn sdp(description: &Sdp) -> Body {
    Body::sdp(description.to_string())
}
