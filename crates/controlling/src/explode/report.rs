//! Telling the sender what did not go well (RFC 5438 §8, OMA-TS-SIMPLE_IM §7.4.1.6).
//!
//! Who asked in his `message/cpim` for negative delivery notifications gets one for each recipient
//! of his list that was not reached. Of a group, whose members and their number are not disclosed
//! to him, he gets one that names nobody (RFC 5438 §8.3). Who wants reports in general is told in
//! the end how many were reached, and of a list what became of each copy.

use std::collections::BTreeMap;

use parlance_content::date_time;
use parlance_content::imdn::{DeliveryStatus, Disposition, Envelope, Imdn};
use parlance_isc::{Cx, Origin, Way};
use parlance_sip::message::reason_phrase;
use parlance_sip::uri::Aor;
use tokio::sync::oneshot;

use super::Exploder;
use super::accept::cpim_of;
use super::copy::Notice;
use super::job::{About, Ids, Job, Recipient};

/// Numbers what is sent to the sender behind the recipients: notifications from here on down.
const NOTICES: u32 = u32::MAX;

/// The end of a report that has more recipients than room.
const CUT: &str = "\r\n...";

/// A body for the sender.
struct Told {
    /// Numbers it.
    place: u32,
    content_type: &'static str,
    body: Vec<u8>,
}

impl Exploder {
    /// Tells the sender, as he wants it; ready when he was.
    pub(super) async fn report(
        &self,
        cx: &Cx,
        job: &Job,
        recipients: &[String],
        outcomes: &BTreeMap<u32, u16>,
        seed: [u8; 16],
    ) {
        let failed: Vec<u32> = outcomes
            .iter()
            .filter(|(_, outcome)| !(200..300).contains(*outcome))
            .map(|(place, _)| *place)
            .collect();
        let mut told = Vec::new();
        if job.about.notify && !failed.is_empty() {
            told.extend(self.notifications(cx, job, recipients, &failed, &seed));
        }
        if job.about.report {
            let delivered = recipients.len().saturating_sub(failed.len());
            let text = self.policy().explode.report_text.clone();
            let text = text
                .replace("{delivered}", &delivered.to_string())
                .replace("{recipients}", &recipients.len().to_string());
            let mut text = text;
            if !job.about.is_group {
                self.add_lines(&mut text, recipients, outcomes);
            }
            let content_type = "text/plain;charset=utf-8";
            told.push(Told { place: NOTICES, content_type, body: text.into_bytes() });
        }
        if told.is_empty() {
            return;
        }
        let (exploder, about) = (self.clone(), job.about.clone());
        let (done, finished) = oneshot::channel();
        let handed = cx.on_shard_of(&job.about.originator, move |cx| {
            Box::pin(async move {
                for told in told {
                    exploder.tell(&cx, &about, &told, &seed).await;
                }
                let _ = done.send(());
            })
        });
        if handed.is_ok() {
            // Not answered: the shard of the sender is gone.
            let _ = finished.await;
        } else {
            metrics::counter!("parlance_explosion_reports_total", "how" => "lost").increment(1);
        }
    }

    /// What became of each copy, those that failed first, as far as there is room.
    fn add_lines(&self, text: &mut String, recipients: &[String], outcomes: &BTreeMap<u32, u16>) {
        let policy = self.policy();
        let (line, room) = (&policy.explode.report_line, policy.explode.content_octets_max);
        if line.is_empty() {
            return;
        }
        let mut sorted: Vec<_> = outcomes.iter().collect();
        sorted.sort_by_key(|(_, outcome)| (200..300).contains(*outcome));
        for (place, outcome) in sorted {
            let record = usize::try_from(*place).ok().and_then(|place| recipients.get(place));
            let Some(recipient) = record.and_then(|record| Recipient::read(record)) else {
                continue;
            };
            let status = format!("{outcome} {}", reason_phrase(*outcome));
            let status = status.trim_end();
            let line = line.replace("{recipient}", &recipient.uri).replace("{status}", status);
            if text.len() + line.len() + 2 * CUT.len() > room as usize {
                return text.push_str(CUT);
            }
            text.push_str("\r\n");
            text.push_str(&line);
        }
    }

    fn notifications(
        &self,
        cx: &Cx,
        job: &Job,
        recipients: &[String],
        failed: &[u32],
        seed: &[u8; 16],
    ) -> Vec<Told> {
        let Some(cpim) = cpim_of(&job.template) else { return Vec::new() };
        let now = i64::try_from(cx.now().0 / 1000).unwrap_or(i64::MAX);
        let Some(now) = date_time::text(now) else { return Vec::new() };
        let disposition = Disposition::Delivery(DeliveryStatus::Failed);
        let Some(about) = Imdn::about(&cpim, disposition, &now) else { return Vec::new() };
        let failed = if job.about.is_group { failed.get(..1).unwrap_or_default() } else { failed };
        let one = |place: &u32| {
            let record = recipients.get(usize::try_from(*place).ok()?)?;
            let recipient = Recipient::read(record)?.uri;
            let document = match job.about.is_group {
                true => about.clone().without_recipient(),
                false => Imdn { recipient_uri: Some(recipient), ..about.clone() },
            };
            let place = NOTICES - 1 - place;
            let message_id = Ids::of(seed, place, "").from_tag;
            let envelope = Envelope {
                from: &job.about.service,
                to: &job.about.originator,
                message_id: &message_id,
                date_time: &now,
            };
            let body = document.wrap(&cpim, &envelope).ok()?;
            Some(Told { place, content_type: "message/cpim", body: body.to_vec() })
        };
        failed.iter().filter_map(one).collect()
    }

    async fn tell(&self, cx: &Cx, about: &About, told: &Told, seed: &[u8; 16]) {
        let how = match self.try_to_tell(cx, about, told, seed).await {
            Some(200..=299) => "delivered",
            Some(_) => "refused",
            None => "lost",
        };
        metrics::counter!("parlance_explosion_reports_total", "how" => how).increment(1);
    }

    /// The status of the answer; `None` when there was none.
    async fn try_to_tell(
        &self,
        cx: &Cx,
        about: &About,
        told: &Told,
        seed: &[u8; 16],
    ) -> Option<u16> {
        let setup = &self.0.setup;
        let address = Aor::parse(&about.originator).ok()?;
        let way = Way::to(cx, &address, &about.originator, setup.listener).await?;
        let domain = setup.domains.first().map_or("localhost", String::as_str);
        let ids = Ids::of(seed, told.place, domain);
        let policy = self.policy();
        let notice = Notice { cx, policy: &policy, way: &way, about, ids: &ids };
        let request = notice.build(told.content_type, &told.body)?;
        let branch = setup.marks.branch(Origin::Notification, cx.shard(), ids.random, &request);
        match cx.send(request, way.hop.clone(), Some(&branch)).await {
            parlance_isc::Outcome::Final(response) => Some(response.status()),
            _ => None,
        }
    }
}
