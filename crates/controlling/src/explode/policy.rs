//! How the operator wants messages exploded: the section `[controlling.explode]`.

use serde::{Deserialize, Serialize};

use super::consent::{CONSENTS_MAX, ConsentOf, is_consent};

/// How messages to lists and groups are exploded. How long a list may be is
/// [`crate::Policy::adhoc_group_size_max`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ExplodePolicy {
    /// Copies of one message that are on their way at once. Default 50, range 1 to 1000.
    pub outstanding_max: u32,
    /// Copies of all messages that are on their way at once, on the whole server: as many MESSAGEs,
    /// and as many sessions for large messages. Default 2000, range 1 to 100000. Further ones wait;
    /// a copy waits no longer than its message lives.
    pub in_flight_max: u32,
    /// Messages that are being exploded at once. Default 1000, at least 1. One more is answered
    /// 480 with Retry-After.
    pub explosions_max: u32,
    /// Copies a second that one user may have sent for long. Default 5, at most 1000; 0 sets no
    /// limit. Beyond it his message is answered 480 with Retry-After.
    pub copies_per_second: u32,
    /// Copies that he may have sent at once. Default 1000; not less than a list may have.
    pub copies_burst: u32,
    /// Octets of content at most, the list not counted. Default 1300 (RFC 3428 §8). More is
    /// answered 403.
    pub content_octets_max: u32,
    /// Octets of a copy beyond which the list of the other recipients is left out. Default 1300
    /// (RFC 3428 §8); raise it where the core is TCP throughout.
    pub copy_octets_max: u32,
    /// Octets of a large message at most, which comes over MSRP. Default 1048576, range 1 to
    /// 3000000. More is answered 403 when the INVITE says so, else 413.
    pub large_octets_max: u32,
    /// Sessions in which large messages come at once, and large messages that are being exploded at
    /// once. Default 100, at least 1. With `large_octets_max` it bounds their memory. One more
    /// session is answered 480 with Retry-After, one more message 413.
    pub large_max: u32,
    /// Seconds for which such a session may be without a whole message: as long as one may take to
    /// come. Default 300, at least 1. Then it is ended with BYE.
    pub large_idle_s: u32,
    /// Seconds in which a recipient who accepted must have the whole message. Default 600, at least
    /// 1.
    pub large_transfer_s: u32,
    /// Whether what came over MSRP goes as a MESSAGE when it is small enough for one. Default true.
    pub large_as_message: bool,
    /// Seconds after which copies that are not sent yet are given up, if the message does not say
    /// less. Default 3600, at least 1.
    pub give_up_s: u32,
    /// Whose consent a message to a list needs (RFC 5360). Default `nobody`. Who has not given it
    /// makes the message answered 470. A user of this server gives it with his list of accepted
    /// senders, everybody with `consents`.
    pub consent: ConsentOf,
    /// Who gave it, as `recipient sender`: a URI or `*@domain`, and the URI of a sender or of the
    /// service, or `*`. Default none; at most 10000.
    pub consents: Vec<String>,
    /// Whether a copy to a member of a group names the group in `Referred-By`. Default true.
    pub referred_by: bool,
    /// What a sender is told who wants to know how it went; `{delivered}` and `{recipients}` stand
    /// for numbers. Default `Delivered to {delivered} of {recipients} recipients.`
    pub report_text: String,
    /// What he is told of each recipient of a list, those that were not reached first, as far as
    /// `content_octets_max` allows; `{recipient}` and `{status}` stand for him and for what became
    /// of his copy. Empty: nothing. Default `{recipient}: {status}`.
    pub report_line: String,
}

impl Default for ExplodePolicy {
    fn default() -> Self {
        Self {
            outstanding_max: 50,
            in_flight_max: 2000,
            explosions_max: 1000,
            copies_per_second: 5,
            copies_burst: 1000,
            content_octets_max: 1300,
            copy_octets_max: 1300,
            large_octets_max: 1024 * 1024,
            large_max: 100,
            large_idle_s: 300,
            large_transfer_s: 600,
            large_as_message: true,
            give_up_s: 3600,
            consent: ConsentOf::Nobody,
            consents: Vec::new(),
            referred_by: true,
            report_text: "Delivered to {delivered} of {recipients} recipients.".to_owned(),
            report_line: "{recipient}: {status}".to_owned(),
        }
    }
}

impl ExplodePolicy {
    /// Which values cannot be, `list_max` being how long a list may be: key, whether it holds, and
    /// what would.
    pub(crate) fn rules(&self, list_max: u32) -> [(&'static str, bool, &'static str); 13] {
        [
            (
                "explode.outstanding_max",
                (1..=1000).contains(&self.outstanding_max),
                "must be 1 to 1000",
            ),
            (
                "explode.in_flight_max",
                (1..=100_000).contains(&self.in_flight_max),
                "must be 1 to 100000",
            ),
            (
                "explode.large_octets_max",
                (1..=3_000_000).contains(&self.large_octets_max),
                "must be 1 to 3000000",
            ),
            ("explode.large_max", self.large_max > 0, "must be at least 1"),
            ("explode.large_idle_s", self.large_idle_s > 0, "must be at least 1"),
            ("explode.large_transfer_s", self.large_transfer_s > 0, "must be at least 1"),
            ("explode.explosions_max", self.explosions_max > 0, "must be at least 1"),
            ("explode.copies_per_second", self.copies_per_second <= 1000, "must be at most 1000"),
            (
                "explode.copies_burst",
                self.copies_burst >= list_max,
                "must not be less than adhoc_group_size_max",
            ),
            ("explode.give_up_s", self.give_up_s > 0, "must be at least 1"),
            (
                "explode.consents",
                self.consents.len() <= CONSENTS_MAX
                    && self.consents.iter().all(|consent| is_consent(consent)),
                "must be at most 10000 of the form \"recipient sender\"",
            ),
            (
                "explode.report_line",
                !self.report_line.chars().any(char::is_control),
                "must be a text of one line",
            ),
            (
                "explode.report_text",
                !self.report_text.chars().any(char::is_control),
                "must be a text of one line",
            ),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::ExplodePolicy;

    #[test]
    fn every_mistake_is_told() {
        let wrong = |policy: &ExplodePolicy, list_max| {
            let rules = policy.rules(list_max).into_iter();
            rules.filter(|(_, holds, _)| !holds).map(|(key, ..)| key).collect::<Vec<_>>()
        };
        let policy = ExplodePolicy::default();
        assert!(wrong(&policy, 50).is_empty());
        assert_eq!(wrong(&policy, 1001), ["explode.copies_burst"]);
        let policy = ExplodePolicy {
            outstanding_max: 0,
            in_flight_max: 0,
            large_octets_max: 0,
            large_max: 0,
            large_idle_s: 0,
            large_transfer_s: 0,
            explosions_max: 0,
            copies_per_second: 1001,
            copies_burst: 0,
            give_up_s: 0,
            consents: vec!["sip:bob@home2.test".into()],
            report_text: "a\nb".into(),
            report_line: "a\nb".into(),
            ..policy
        };
        assert_eq!(wrong(&policy, 1).len(), 13);
        assert!(serde_json::from_str::<ExplodePolicy>("{\"outstanding\": 1}").is_err());
    }
}
