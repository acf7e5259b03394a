//! Changed descriptions: those of participants (OMA-TS-SIMPLE_IM §7.4.3.8) and ours (§7.4.4.5).

use parlance_isc::Outcome;
use parlance_isc::session::{Body, Leg, LegId, Offer, Reason};
use parlance_msrp::negotiate::{self, Terms};
use parlance_sip::sdp::Sdp;

use super::call::{Done, answer_of};
use super::join::sdp;
use super::{Description, Inside, Participant, Session, Stage, end};
use crate::describe::{self, Concluded, Described};
use crate::focus::EndpointId;
use crate::list::Body as Parts;
use crate::refusal::Refusal;

/// A new offer of ours, answered.
pub(super) struct Reoffered {
    endpoint: EndpointId,
    leg: Leg,
    own: Sdp,
    terms: Box<Terms>,
    outcome: Outcome,
}

impl Session {
    /// A participant offers another description, or asks for ours. What cannot be agreed on is
    /// refused, and the session stays as it was (CF-050).
    pub(super) async fn offered(&mut self, leg: LegId, offer: Offer) {
        let Some(endpoint) = self.legs.get(&leg).copied() else { return };
        let parts = match Parts::read(offer.request()) {
            Ok(parts) => parts,
            Err(refused) => return offer.reply(&self.reply(&refused)),
        };
        let Some(octets) = parts.description() else {
            return match parts.asks_for_more() || !parts.lists.is_empty() {
                true => offer.reply(&self.reply(&Refusal::UnsupportedBody(&["application/sdp"]))),
                false => self.offer_in_answer(endpoint, offer),
            };
        };
        match self.redescribe(endpoint, &octets).await {
            Ok(own) => {
                let response = offer.response(200);
                offer.accept(response, sdp(&own));
            }
            Err(refused) => offer.reply(&self.reply(&refused)),
        }
    }

    /// Agrees on an offered description; our answer.
    async fn redescribe(&mut self, endpoint: EndpointId, octets: &[u8]) -> Result<Sdp, Refusal> {
        let offer = describe::read(octets)?;
        let participant = self.participants.get_mut(&endpoint).ok_or(Refusal::NoParticipant)?;
        let Participant { caller, room_leg, secure, stage, lent, .. } = participant;
        let Stage::In(inside) = stage else { return Err(Refusal::NoParticipant) };
        let before = inside.description.own();
        let media = &self.hosted.media;
        let terms = describe::terms(&self.focus, media, caller, room_leg, *secure);
        let hosts = media.hosts(&offer).await;
        let described = describe::answer(&offer, &terms, 0, Some(before), &hosts)?;
        room_leg.agree(&described.agreement).await.map_err(|_| Refusal::Unavailable)?;
        let (mut own, on_hold) = (described.own.clone(), described.is_on_hold());
        if let Some(lent) = lent {
            lent.described(&offer, Some(&mut own));
        }
        inside.description = Description::Agreed(Box::new(described));
        self.focus.hold(endpoint, on_hold);
        Ok(own)
    }

    /// A re-INVITE without a description is answered with ours, as an offer (RFC 3261 §14.2).
    fn offer_in_answer(&mut self, endpoint: EndpointId, offer: Offer) {
        let Some(participant) = self.participants.get_mut(&endpoint) else { return };
        let Participant { caller, room_leg, secure, stage, .. } = participant;
        let Stage::In(inside) = stage else { return };
        let (own, before) = match &inside.description {
            Description::Agreed(described) => (described.own.clone(), Some(Box::clone(described))),
            Description::Offered { own, before, .. } => (own.clone(), before.clone()),
        };
        let media = &self.hosted.media;
        let terms = describe::terms(&self.focus, media, caller, room_leg, *secure);
        let again = negotiate::offer(&terms, 0).following(&own);
        let body = sdp(&again);
        inside.description = Description::Offered { own: again, terms: Box::new(terms), before };
        let response = offer.response(200);
        offer.accept(response, body);
    }

    /// The answer in the ACK to a 2xx that carried our offer.
    pub(super) async fn answer_came(&mut self, leg: LegId, octets: &[u8]) {
        let Some(endpoint) = self.legs.get(&leg).copied() else { return };
        self.conclude(endpoint, octets).await;
    }

    /// Reads the answer to our offer. Without one that can be used the session is as it was before,
    /// or is none.
    async fn conclude(&mut self, endpoint: EndpointId, octets: &[u8]) {
        let Some(participant) = self.participants.get_mut(&endpoint) else { return };
        let Stage::In(inside) = &mut participant.stage else { return };
        let Description::Offered { own, terms, before } = &mut inside.description else { return };
        match describe::conclude(own, octets, terms, &self.hosted.media).await {
            Ok(Concluded::Agreed(agreement)) => {
                if participant.room_leg.agree(&agreement).await.is_ok() {
                    if let (Some(lent), Ok(his)) = (&mut participant.lent, describe::read(octets)) {
                        lent.described(&his, None);
                    }
                    let described = Described { own: own.clone(), agreement };
                    let on_hold = described.is_on_hold();
                    inside.description = Description::Agreed(Box::new(described));
                    return self.focus.hold(endpoint, on_hold);
                }
            }
            Ok(Concluded::WithoutCema) if terms.msrp_cema => {
                terms.msrp_cema = false;
                return self.offer_again(endpoint);
            }
            Ok(Concluded::WithoutCema) | Err(_) => {}
        }
        match before.take() {
            Some(before) => inside.description = Description::Agreed(before),
            None => self.remove(endpoint, end::NOT_ACCEPTABLE),
        }
    }

    /// Offers our side again, as its terms are now (CF-075). Repetition after 491 is below.
    pub(super) fn offer_again(&mut self, endpoint: EndpointId) {
        let Some(participant) = self.participants.get_mut(&endpoint) else { return };
        let Stage::In(inside) = &mut participant.stage else { return };
        let Inside { leg, description, .. } = &mut **inside;
        let Description::Offered { own, terms, .. } = description else { return };
        let Some(leg) = leg.take() else { return };
        let (own, terms) = (negotiate::offer(terms, 0).following(own), terms.clone());
        let body: Body = sdp(&own);
        self.work.push(Box::pin(async move {
            let outcome = leg.offer(body, &[]).await;
            Done::Offered(Box::new(Reoffered { endpoint, leg, own, terms, outcome }))
        }));
    }

    /// A new offer of ours was answered.
    pub(super) async fn offer_answered(&mut self, reoffered: Reoffered) {
        let Reoffered { endpoint, leg, own, terms, outcome } = reoffered;
        let Some(participant) = self.participants.get_mut(&endpoint) else {
            return leg.end(Some(Reason::sip(487, "Request Terminated")));
        };
        let Stage::In(inside) = &mut participant.stage else { return };
        inside.leg = Some(leg);
        if let Description::Offered { own: known, terms: known_terms, .. } = &mut inside.description
        {
            *known = own;
            *known_terms = terms;
        }
        match answer_of(&outcome) {
            Some(response) => self.conclude(endpoint, response.body()).await,
            None => self.conclude(endpoint, b"").await,
        }
    }
}
