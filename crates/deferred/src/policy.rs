//! What the operator decides: the `[deferred]` section of the configuration.

use std::time::Duration;

use parlance_store::{Deferral, Quota};
use serde::{Deserialize, Serialize};

/// How stored messages reach a user who is back (OMA-TS-SIMPLE_IM §7.3.4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Delivery {
    /// A MESSAGE tells him how many there are.
    Notify,
    /// They are sent to him as MESSAGEs.
    #[default]
    PushMessage,
    /// They are sent over MSRP. Until the server has sessions this is the same as `notify`.
    PushMsrp,
    /// Nothing is sent.
    None,
}

impl Delivery {
    /// What applies to a user whose profile says `own`.
    pub(crate) fn of(self, own: Deferral) -> Delivery {
        match own {
            Deferral::Operator => self,
            Deferral::Notify => Delivery::Notify,
            Deferral::PushMessage => Delivery::PushMessage,
            Deferral::PushMsrp => Delivery::PushMsrp,
            Deferral::None => Delivery::None,
        }
    }
}

/// The operator's decisions about deferred messages. `Default` is what stands beside each field;
/// values are ours unless a section is named.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// Whether messages are stored at all. Default true. False: what would be stored is answered
    /// 480; what is stored already is still delivered.
    pub enabled: bool,
    /// Whether a message is stored about which neither recipient nor sender says anything
    /// (OMA-TS-SIMPLE_IM §6.1.12.8.3). Default true. False: it must be the recipient's setting, or
    /// the sender must ask with `Request-Disposition: queue` or with `Expires`.
    pub keep_unasked: bool,
    /// Most messages kept for one user. Default 500. One more is answered 480 "mailbox full".
    pub items_max: u64,
    /// Most octets kept for one user. Default 2 MiB. At the bound as `items_max`.
    pub octets_max: u64,
    /// Largest body kept, in octets. Default 65,536. A larger one is answered 480.
    pub message_octets_max: usize,
    /// Octets of the largest message kept that comes over MSRP, 1 to 3,000,000. Default 1 MiB. A
    /// larger one is answered 413, or its INVITE 480 when that says the size.
    pub large_octets_max: u64,
    /// Key `session_idle_s`: how long a session in which a large message is to come may be without
    /// one. Default 60 s. Then it ends, and what came in part is forgotten.
    #[serde(rename = "session_idle_s", with = "seconds")]
    pub session_idle: Duration,
    /// Such sessions at a time. Default 256. One more INVITE is answered 480 with Retry-After.
    pub sessions_max: usize,
    /// Key `age_max_s`: how long a message is kept at most. Default 7 days. Its own `Expires` may
    /// make it shorter (RFC 3428 §5).
    #[serde(rename = "age_max_s", with = "seconds")]
    pub age_max: Duration,
    /// How messages reach a user whose profile leaves it to the operator. Default `push-message`.
    pub delivery: Delivery,
    /// Key `settle_ms`: how long after a new registration delivery begins, so that the client is
    /// ready and all its identities are registered. Default 2 s. Also how long new messages are
    /// collected before a notification tells of them.
    #[serde(rename = "settle_ms", with = "milliseconds")]
    pub settle: Duration,
    /// Key `retry_first_s`: the wait after a first failed delivery; it doubles with every further
    /// one. Default 60 s.
    #[serde(rename = "retry_first_s", with = "seconds")]
    pub retry_first: Duration,
    /// Key `retry_max_s`: the longest such wait. Default 1 h.
    #[serde(rename = "retry_max_s", with = "seconds")]
    pub retry_max: Duration,
    /// Key `pause_ms`: the least time between the end of one delivery to a user and the next.
    /// Default 50 ms: a full inbox of 500 takes at least 25 s.
    #[serde(rename = "pause_ms", with = "milliseconds")]
    pub pause: Duration,
    /// Messages sent each second by one shard at most, 1 to 1,000,000. Default 200.
    pub messages_per_second: u32,
    /// Recipients served at a time by one shard, 1 to 1,000,000. Default 1000. More wait.
    pub lanes_max: usize,
    /// Recipients that may wait for their turn on one shard. Default 100,000. Beyond, they are
    /// found by the next sweep.
    pub waiting_max: usize,
    /// Key `lease_s`: how long one node may deliver for a user without saying that it is still
    /// there; after a crash somebody takes over when it is over. Default 15 s: a client remembers
    /// a request for 32 s (RFC 3261 §17.2.2, Timer J) and recognises it when it comes again.
    #[serde(rename = "lease_s", with = "seconds")]
    pub lease: Duration,
    /// Key `due_interval_ms`: how often the store is asked who is due. Default 1 s.
    #[serde(rename = "due_interval_ms", with = "milliseconds")]
    pub due_interval: Duration,
    /// Key `sweep_interval_s`: how often expired messages are removed. Default 60 s. They are not
    /// delivered in between.
    #[serde(rename = "sweep_interval_s", with = "seconds")]
    pub sweep_interval: Duration,
    /// The identity of this function, which notifications come from. Default
    /// `sip:im-deferred@DOMAIN` with the first domain served.
    pub service_uri: Option<String>,
    /// The text of a notification, UTF-8; `{count}` stands for the number of messages. Default
    /// `You have {count} stored instant messages.`
    pub notification_text: String,
    /// The `Accept-Contact` of what is sent (RFC 3841 §9.2). Default `*;+g.oma.sip-im`: contacts
    /// with the tag are preferred. `;require;explicit` behind it leaves out all others.
    pub accept_contact: String,
    /// The `orig-ioi` of what is sent when the registration told none (RFC 7315 §4.6). Default
    /// none.
    pub orig_ioi: Option<String>,
    /// Octets of a MESSAGE sent by this function, start line, headers and body together. Default
    /// 131,072: whatever is kept is sent, and where the next hop is UDP a request over 1300 goes
    /// by TCP (RFC 3261 §18.1.1). 1300 where a hop further on is not congestion safe (RFC 3428
    /// §8): a message that is larger stays then, and a notification tells of it.
    pub request_octets_max: usize,
    /// How often a disposition notification about a failure is tried again. Default 5. Then it is
    /// counted as lost. One that a message is stored is not tried again.
    pub report_retries: u32,
    /// Subscriptions to `message-summary` at a time. Default 100,000, some 4 KiB each. One more
    /// SUBSCRIBE is answered 480 with Retry-After.
    pub summaries_max: usize,
    /// Disposition notifications in hand on one shard. Default 1000. Beyond, they are counted as
    /// lost.
    pub reports_max: usize,
}

impl Default for Policy {
    fn default() -> Policy {
        Policy {
            enabled: true,
            keep_unasked: true,
            items_max: 500,
            octets_max: 2 * 1024 * 1024,
            message_octets_max: 65_536,
            large_octets_max: 1024 * 1024,
            session_idle: Duration::from_secs(60),
            sessions_max: 256,
            age_max: Duration::from_secs(7 * 24 * 60 * 60),
            delivery: Delivery::PushMessage,
            settle: Duration::from_secs(2),
            retry_first: Duration::from_secs(60),
            retry_max: Duration::from_secs(60 * 60),
            pause: Duration::from_millis(50),
            messages_per_second: 200,
            lanes_max: 1000,
            waiting_max: 100_000,
            lease: Duration::from_secs(15),
            due_interval: Duration::from_secs(1),
            sweep_interval: Duration::from_secs(60),
            service_uri: None,
            notification_text: "You have {count} stored instant messages.".to_owned(),
            accept_contact: "*;+g.oma.sip-im".to_owned(),
            orig_ioi: None,
            request_octets_max: 131_072,
            report_retries: 5,
            summaries_max: 100_000,
            reports_max: 1000,
        }
    }
}

impl Policy {
    /// Every mistake in the values, each beginning with its key; empty when they can be used.
    pub fn mistakes(&self) -> Vec<String> {
        let second = Duration::from_secs(1);
        let line = |text: &str| !text.chars().any(char::is_control);
        let uri_is_good = self.service_uri.as_deref().is_none_or(|uri| {
            uri.parse::<parlance_sip::uri::Aor>().is_ok_and(|aor| aor.scheme() == "sip")
        });
        #[rustfmt::skip]
        let rules = [
            ((1..=3_000_000).contains(&self.large_octets_max),
                "large_octets_max: must be 1 to 3000000"),
            (self.session_idle >= second, "session_idle_s: must be at least 1"),
            (self.age_max >= second, "age_max_s: must be at least 1"),
            (self.retry_first >= second, "retry_first_s: must be at least 1"),
            (self.retry_max >= self.retry_first, "retry_max_s: must not be below retry_first_s"),
            ((1..=1_000_000).contains(&self.messages_per_second),
                "messages_per_second: must be 1 to 1000000"),
            ((1..=1_000_000).contains(&self.lanes_max), "lanes_max: must be 1 to 1000000"),
            (self.lease >= 3 * second, "lease_s: must be at least 3"),
            (!self.due_interval.is_zero(), "due_interval_ms: must not be 0"),
            (self.sweep_interval >= second, "sweep_interval_s: must be at least 1"),
            (uri_is_good, "service_uri: must be a SIP URI"),
            (line(&self.notification_text) && !self.notification_text.is_empty(),
                "notification_text: must be one line of text"),
            (line(&self.accept_contact), "accept_contact: must be one line of text"),
            (self.orig_ioi.as_deref().is_none_or(line), "orig_ioi: must be one line of text"),
        ];
        rules.iter().filter(|(good, _)| !good).map(|(_, why)| (*why).to_owned()).collect()
    }

    /// How much one inbox may hold.
    pub(crate) fn quota(&self) -> Quota {
        Quota { items_max: self.items_max, octets_max: self.octets_max }
    }

    /// The wait after `failures` failed deliveries in a row, counted from 1 (DF-065).
    pub(crate) fn back_off(&self, failures: u32) -> Duration {
        let doubled = 1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX);
        self.retry_first.saturating_mul(doubled).min(self.retry_max)
    }
}

mod seconds {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(value: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u64(value.as_secs())
    }

    pub(super) fn deserialize<'a, D: Deserializer<'a>>(from: D) -> Result<Duration, D::Error> {
        u64::deserialize(from).map(Duration::from_secs)
    }
}

mod milliseconds {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(value: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u64(u64::try_from(value.as_millis()).unwrap_or(u64::MAX))
    }

    pub(super) fn deserialize<'a, D: Deserializer<'a>>(from: D) -> Result<Duration, D::Error> {
        u64::deserialize(from).map(Duration::from_millis)
    }
}

#[cfg(test)]
mod tests {
    use super::{Deferral, Delivery, Duration, Policy};

    #[test]
    fn the_default_has_no_mistakes() {
        assert_eq!(Policy::default().mistakes(), Vec::<String>::new());
    }

    #[test]
    fn reads_what_it_writes_and_refuses_unknown_keys() {
        let policy = Policy { settle: Duration::from_millis(1500), ..Policy::default() };
        let written = toml::to_string(&policy).unwrap();
        assert!(written.contains("age_max_s = 604800\n"), "{written}");
        assert!(written.contains("settle_ms = 1500\n"), "{written}");
        assert_eq!(toml::from_str::<Policy>(&written).unwrap(), policy);
        let some = "delivery = \"notify\"\nitems_max = 3\n";
        let read: Policy = toml::from_str(some).unwrap();
        assert_eq!((read.delivery, read.items_max), (Delivery::Notify, 3));
        assert!(toml::from_str::<Policy>("items = 3\n").is_err());
    }

    #[test]
    fn every_mistake_is_reported() {
        let policy = Policy {
            age_max: Duration::ZERO,
            retry_first: Duration::ZERO,
            retry_max: Duration::ZERO,
            messages_per_second: 0,
            lanes_max: 0,
            lease: Duration::from_secs(2),
            due_interval: Duration::ZERO,
            sweep_interval: Duration::ZERO,
            service_uri: Some("tel:+1555".to_owned()),
            notification_text: "a\r\nb".to_owned(),
            accept_contact: "*\r\nX: y".to_owned(),
            orig_ioi: Some("\n".to_owned()),
            ..Policy::default()
        };
        let keys: Vec<String> = policy
            .mistakes()
            .iter()
            .map(|mistake| mistake.split(':').next().unwrap().to_owned())
            .collect();
        assert_eq!(
            keys.join(" "),
            "age_max_s retry_first_s messages_per_second lanes_max lease_s due_interval_ms \
             sweep_interval_s service_uri notification_text accept_contact orig_ioi"
        );
        let short = Policy { retry_max: Duration::from_secs(59), ..Policy::default() };
        assert_eq!(short.mistakes(), ["retry_max_s: must not be below retry_first_s"]);
    }

    // Covers: DF-062
    #[test]
    fn the_users_choice_goes_before_the_operators() {
        let table = [
            (Deferral::Operator, Delivery::PushMessage),
            (Deferral::Notify, Delivery::Notify),
            (Deferral::PushMessage, Delivery::PushMessage),
            (Deferral::PushMsrp, Delivery::PushMsrp),
            (Deferral::None, Delivery::None),
        ];
        for (own, expected) in table {
            assert_eq!(Delivery::PushMessage.of(own), expected);
        }
        assert_eq!(Delivery::None.of(Deferral::Operator), Delivery::None);
    }

    // Covers: DF-065
    #[test]
    fn the_back_off_doubles_up_to_an_hour() {
        let waits: Vec<u64> =
            [1, 2, 3, 4, 5, 6, 7, 8, 40].map(|n| Policy::default().back_off(n).as_secs()).into();
        assert_eq!(waits, [60, 120, 240, 480, 960, 1920, 3600, 3600, 3600]);
    }
}
