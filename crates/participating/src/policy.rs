//! How the operator wants messages treated: the section `[participating]` of the configuration.

use std::time::Duration;

use parlance_isc::{Downstream, warning};
use parlance_msrp::HoldLimits;
use parlance_sip::grammar::is_token;
use parlance_sip::publication;
use parlance_sip::session_timer::Policy as Timer;
use serde::{Deserialize, Serialize};

use crate::target::TargetPattern;

/// What a message that is too large is answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SizeAnswer {
    /// `403 Forbidden`.
    #[default]
    Forbidden,
    /// `413 Request Entity Too Large`.
    TooLarge,
}

/// What an anonymous sender is answered whom the recipient does not want.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AnonymousAnswer {
    /// `403 Forbidden`.
    #[default]
    Forbidden,
    /// `433 Anonymity Disallowed` (RFC 5079 §5).
    AnonymityDisallowed,
}

/// What an originating session beyond the limit is answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExcessAnswer {
    /// `403 Forbidden`.
    #[default]
    Forbidden,
    /// `486 Busy Here`.
    Busy,
}

/// How the function takes part in the sessions of its users.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SessionMedia {
    /// As a record-routing proxy; session descriptions pass untouched.
    #[default]
    Proxy,
    /// As a back-to-back user agent through which the messages pass.
    Anchor,
    /// The same, and clients with `msrp-cema` (RFC 6714) do not see it.
    Cema,
}

/// How sessions are treated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SessionPolicy {
    /// How the function takes part. Default `proxy`. A session whose INVITE neither offers MSRP nor
    /// wants an offer is proxied in any case; one is anchored in any case when the client that
    /// begins it asks for priority or a lock, or when its messages go into a history.
    pub media: SessionMedia,
    /// Whether users of a domain may have sessions between themselves. Default false: such a
    /// session is a conference of the two, where conferences run (OMA-AD-SIMPLE_IM §5.3.2.1.1).
    pub peer_to_peer: bool,
    /// Sessions a user may take part in at a time, the immediate messages apart. Default 16; 0 sets
    /// no limit. Local limit; OMA-TS-SIMPLE_IM §7.2.2.10.1 leaves it to the operator.
    pub sessions_max: u32,
    /// What a user is answered who begins one more; who is invited to one more is busy, 486.
    /// Default `forbidden`, 403.
    pub excess_answer: ExcessAnswer,
    /// Seconds in which an invited user must answer before the inviter gets 480. Default 60, range
    /// 1 to 170: it must end before Timer C (RFC 3261 §16.6).
    pub answer_wait_s: u32,
    /// Octets of an immediate message sent in a session. Default 10 MiB. A larger one is refused as
    /// `size_answer` says when its description tells the size, and in an anchored session with 413
    /// over MSRP.
    pub large_octets_max: u64,
    /// Whether a session for an immediate message ends when it carries a second message, or one
    /// back. Default false: it goes on (OMA-TS-SIMPLE_IM §7.2.2.5). Only anchored sessions.
    pub large_is_strict: bool,
    /// Messages of one session that are held while another session of the user is locked. Default
    /// 100; 0 holds nothing. One more has failed, with REPORT 408 (OMA-TS-SIMPLE_IM §7.2.2.10.3).
    pub held_messages_max: u32,
    /// Octets of them. Default 1 MiB.
    pub held_octets_max: u64,
    /// Octets of the largest message of a session that is kept in a history. Default 1 MiB; one
    /// that is larger is delivered and not kept. Local limit.
    pub history_octets_max: u64,
    /// The session interval asked for and the longest let through, in seconds. Default 1800
    /// (RFC 4028 §4).
    pub interval_s: u32,
    /// The shortest session interval let through, in seconds. Default and least 90 (RFC 4028 §5).
    pub min_se_s: u32,
    /// Seconds after which a session without a session timer, of which nothing was heard, does not
    /// count any more. Default 43,200. Local limit.
    pub lost_after_s: u32,
}

impl Default for SessionPolicy {
    fn default() -> Self {
        Self {
            media: SessionMedia::default(),
            peer_to_peer: false,
            sessions_max: 16,
            excess_answer: ExcessAnswer::default(),
            answer_wait_s: 60,
            large_octets_max: 10 << 20,
            large_is_strict: false,
            held_messages_max: 100,
            held_octets_max: 1 << 20,
            history_octets_max: 1 << 20,
            interval_s: 1_800,
            min_se_s: 90,
            lost_after_s: 43_200,
        }
    }
}

impl SessionPolicy {
    /// How much is held of one session.
    pub(crate) fn hold_limits(&self) -> HoldLimits {
        HoldLimits { messages: self.held_messages_max, octets: self.held_octets_max }
    }

    /// The session timer (RFC 4028).
    pub(crate) fn timer(&self) -> Timer {
        Timer { interval: self.interval_s, min_se: self.min_se_s, ..Timer::default() }
    }
}

/// How sessions are pre-established. Whether they can be is decided before
/// (`parlance_isc::service::Running`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PreEstablishedPolicy {
    /// Sessions one user may have pre-established, one for each client. Default 4. Beyond: as
    /// `excess_answer` of the sessions says. Local limit.
    pub per_user_max: u32,
    /// Sessions one shard has pre-established. Default 10,000; one takes some 8 KiB. Beyond: 480
    /// with Retry-After. Local limit.
    pub per_shard_max: u32,
    /// The conference factory, which is called for a REFER to a list. Default none: such a REFER is
    /// answered 400.
    pub factory: Option<String>,
}

impl Default for PreEstablishedPolicy {
    fn default() -> Self {
        Self { per_user_max: 4, per_shard_max: 10_000, factory: None }
    }
}

/// The texts of `Warning: 399` (RFC 3261 §20.43). `{n}` stands for a number where one is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Warnings {
    /// The user may not use the service. Default `127 Service not authorised`.
    pub not_authorised: String,
    /// The body is too large; `{n}` is the limit in octets. Default
    /// `133 Size exceeded, limit {n}`.
    pub size_exceeded: String,
    /// The content is not let through. Default `Content not allowed`.
    pub content: String,
    /// The CPIM From is not an identity of the sender. Default
    /// `CPIM From is not an identity of the originator`.
    pub foreign_from: String,
    /// Messages may not be sent there. Default `Destination not allowed`.
    pub blocked_target: String,
    /// The message is older than its Expires. Default `Message expired`.
    pub expired: String,
    /// The other side failed; `{n}` is its status code. Default `Downstream answered {n}`.
    pub downstream: String,
    /// The user takes part in as many sessions as he may, `{n}`. Default
    /// `103 Maximum number of sessions reached`.
    pub sessions_exceeded: String,
    /// The invited user did not answer. Default `No response`.
    pub no_answer: String,
    /// A REFER is for a method that is not allowed, or an inviter may not have a client answer
    /// against its user's settings. Default `100 Function not allowed`.
    pub function_not_allowed: String,
    /// The state of a conference may not be subscribed to. Default
    /// `105 Subscription of conference state not allowed`.
    pub subscription: String,
}

impl Default for Warnings {
    fn default() -> Self {
        Self {
            not_authorised: "127 Service not authorised".to_owned(),
            size_exceeded: "133 Size exceeded, limit {n}".to_owned(),
            content: "Content not allowed".to_owned(),
            foreign_from: "CPIM From is not an identity of the originator".to_owned(),
            blocked_target: "Destination not allowed".to_owned(),
            expired: "Message expired".to_owned(),
            downstream: "Downstream answered {n}".to_owned(),
            sessions_exceeded: "103 Maximum number of sessions reached".to_owned(),
            no_answer: "No response".to_owned(),
            function_not_allowed: "100 Function not allowed".to_owned(),
            subscription: "105 Subscription of conference state not allowed".to_owned(),
        }
    }
}

/// The message that tells a user of his new profile (OMA-TS-SIMPLE_IM §7.2.1).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Notice {
    /// Whether it is sent. Default true.
    pub enabled: bool,
    /// Who sends it: a SIP URI of the service. Default `sip:im@im.invalid`; set it to an identity
    /// of the operator's domain.
    pub from: String,
    /// Its text, at most 600 octets, so that the whole request stays below 1300 (RFC 3428 §8).
    /// Default `Welcome. Your messaging settings can be changed at any time.`
    pub text: String,
    /// The feature tag it asks for in Accept-Contact. Default `+g.oma.sip-im`.
    pub feature_tag: String,
}

impl Default for Notice {
    fn default() -> Self {
        Self {
            enabled: true,
            from: "sip:im@im.invalid".to_owned(),
            text: "Welcome. Your messaging settings can be changed at any time.".to_owned(),
            feature_tag: "+g.oma.sip-im".to_owned(),
        }
    }
}

/// How settings are published (OMA-TS-SIMPLE_IM §6.1.2, §7.2.3.16; RFC 3903).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SettingsPolicy {
    /// The event package. Default `im-settings`; OMA-TS-SIMPLE_IM leaves the name open.
    pub event: String,
    /// Seconds a publication lasts that asks for no time. Default 3600.
    pub expires_default_s: u32,
    /// A shorter time is answered 423 with this many seconds. Default 60.
    pub expires_min_s: u32,
    /// A longer time becomes this many seconds. Default 86,400.
    pub expires_max_s: u32,
}

impl Default for SettingsPolicy {
    fn default() -> Self {
        Self {
            event: "im-settings".to_owned(),
            expires_default_s: 3_600,
            expires_min_s: 60,
            expires_max_s: 86_400,
        }
    }
}

impl SettingsPolicy {
    pub(crate) fn limits(&self) -> publication::Limits {
        publication::Limits {
            expires_default: self.expires_default_s,
            expires_min: self.expires_min_s,
            expires_max: self.expires_max_s,
            ..publication::Limits::default()
        }
    }
}

/// The usual content type of a group advertisement.
pub const GROUP_ADVERTISEMENT: &str = "application/vnd.poc.group-advertisement+xml";

/// The usual content type of an instant personal alert.
pub const PERSONAL_ALERT: &str = "application/vnd.poc.instant-personal-alert+xml";

/// How the participating function treats messages.
///
/// Which users have the service, and whether From must be an identity of the sender, is decided
/// before (`parlance_isc::decision::DecisionPolicy`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// Octets of a message body at most. Default 1300, which RFC 3428 §8 allows a whole request on
    /// paths that are not congestion safe; the head is not counted, since the core makes it grow.
    /// A recipient may want less.
    pub body_octets_max: u32,
    /// What a larger one is answered. Default `forbidden`, 403.
    pub size_answer: SizeAnswer,
    /// The host in Warning. Default `im.invalid`; set it to the name of the server.
    pub warning_host: String,
    /// The texts in Warning.
    pub warnings: Warnings,
    /// Content types let through, `type/subtype` or `type/*`; those of containers
    /// (`message/cpim`, `multipart/mixed`) and of what is in them both count. Default empty: all.
    pub accepted_content: Vec<String>,
    /// Content types not let through, whatever `accepted_content` says. Default empty.
    pub blocked_content: Vec<String>,
    /// Content types of group advertisements, which need a right of their own and which a user may
    /// block (OMA-TS-SIMPLE_IM §7.2.2.9, §7.2.4.7).
    /// Default `application/vnd.poc.group-advertisement+xml`.
    pub group_advertisement_types: Vec<String>,
    /// Content types of instant personal alerts, which a user may block (OMA-TS-SIMPLE_IM §6.2.4).
    /// Default `application/vnd.poc.instant-personal-alert+xml`; no specification names one.
    pub personal_alert_types: Vec<String>,
    /// Words that a text must not contain, compared without regard to case. Default empty.
    pub blocked_words: Vec<String>,
    /// Where users may not send to: `sip:user@host` or `tel:+NUMBER` for one identity, `tel:+1900*`
    /// for numbers that begin so, `*@host` for a domain. Default empty.
    pub blocked_targets: Vec<TargetPattern>,
    /// Seconds in which the recipient's client must take a message before it is stored or
    /// answered 480. Default 20, range 1 to 30: it must end before Timer F of the sender, 32 s
    /// (RFC 4320 §4.2).
    pub deliver_wait_s: u32,
    /// Final responses of the recipient's side after which a message is stored. Default 404, 408,
    /// 430, 480, 500, 503, 504; 404 counts only for a user known here.
    pub deferral_statuses: Vec<u16>,
    /// Whether a 5xx of the other side is relayed as it is. Default false: it becomes 480, since a
    /// 5xx makes the S-CSCF go on without the server. A 408 is never relayed (RFC 4320 §4.2).
    pub relay_5xx: bool,
    /// Whether anonymous senders are let through to users who leave it to the operator. Default
    /// true.
    pub accept_anonymous: bool,
    /// What an anonymous sender is answered otherwise. Default `forbidden`, 403.
    pub anonymous_answer: AnonymousAnswer,
    /// Whether a user with entries in his accept list gets messages from those senders only.
    /// Default false: the list only lifts what is decided about anonymous senders.
    pub accept_list_only: bool,
    /// Messages a second that a user may send for long. Default 20; 0 sets no limit. Local limit;
    /// no specification sets one.
    pub rate_per_user: u32,
    /// Messages that a user may send at once before `rate_per_user` counts. Default 100, at least
    /// 1.
    pub rate_burst: u32,
    /// Retry-After in seconds of a 480 that is the server's own fault. Default 10, at least 1.
    pub retry_after_s: u32,
    /// Whether a display name in From goes that P-Asserted-Identity does not have. Default false.
    pub strip_unverified_display_names: bool,
    /// Whether From of a `message/cpim` must be an identity of the sender, or anonymous. Default
    /// true.
    pub cpim_from_must_match: bool,
    /// The operator's inter-operator identifier, which completes P-Charging-Vector in answers as
    /// `term-ioi` and stands in the notice as `orig-ioi` (RFC 7315 §4.6). Default none: nothing is
    /// added.
    pub ioi: Option<String>,
    /// The message to a user who registered for the first time.
    pub notice: Notice,
    /// How sessions are treated.
    pub session: SessionPolicy,
    /// How settings are published.
    pub settings: SettingsPolicy,
    /// How sessions are pre-established.
    pub pre_established: PreEstablishedPolicy,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            body_octets_max: 1300,
            size_answer: SizeAnswer::default(),
            warning_host: "im.invalid".to_owned(),
            warnings: Warnings::default(),
            accepted_content: Vec::new(),
            blocked_content: Vec::new(),
            group_advertisement_types: vec![GROUP_ADVERTISEMENT.to_owned()],
            personal_alert_types: vec![PERSONAL_ALERT.to_owned()],
            blocked_words: Vec::new(),
            blocked_targets: Vec::new(),
            deliver_wait_s: 20,
            deferral_statuses: vec![404, 408, 430, 480, 500, 503, 504],
            relay_5xx: false,
            accept_anonymous: true,
            anonymous_answer: AnonymousAnswer::default(),
            accept_list_only: false,
            rate_per_user: 20,
            rate_burst: 100,
            retry_after_s: 10,
            strip_unverified_display_names: false,
            cpim_from_must_match: true,
            ioi: None,
            notice: Notice::default(),
            session: SessionPolicy::default(),
            settings: SettingsPolicy::default(),
            pre_established: PreEstablishedPolicy::default(),
        }
    }
}

/// A value of [`Policy`] that cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {fault}")]
pub struct PolicyMistake {
    /// The key within the section.
    pub key: &'static str,
    /// What is wrong with it.
    pub fault: &'static str,
}

/// Octets of a notice at most; see [`Notice::text`].
const NOTICE_OCTETS_MAX: usize = 600;

impl Policy {
    /// Everything that is wrong with the values; empty when they can be used.
    pub fn mistakes(&self) -> Vec<PolicyMistake> {
        let is_line = |text: &str| !text.chars().any(char::is_control);
        let is_type = |text: &String| {
            text.split_once('/').is_some_and(|(kind, subtype)| {
                [kind, subtype].iter().all(|part| !part.is_empty() && is_line(part))
            })
        };
        let texts = [
            &self.warnings.not_authorised,
            &self.warnings.size_exceeded,
            &self.warnings.content,
            &self.warnings.foreign_from,
            &self.warnings.blocked_target,
            &self.warnings.expired,
            &self.warnings.downstream,
            &self.warnings.sessions_exceeded,
            &self.warnings.no_answer,
            &self.warnings.function_not_allowed,
            &self.warnings.subscription,
        ];
        let triggers = |status: &u16| (300..700).contains(status);
        let ioi = self.ioi.as_deref().unwrap_or("x");
        let from = self.notice.from.parse::<parlance_sip::uri::Aor>();
        let one_word = |text: &str| {
            !text.is_empty() && !text.chars().any(|c| c.is_whitespace() || c.is_control())
        };
        let is_name = |text: &str| !text.is_empty() && text.bytes().all(is_token);
        #[rustfmt::skip]
        let rules = [
            ("warning_host", one_word(&self.warning_host), "must be a host name"),
            ("warnings", texts.iter().all(|text| is_line(text)), "must be texts of one line"),
            ("accepted_content", self.accepted_content.iter().all(is_type), "must be type/subtype"),
            ("blocked_content", self.blocked_content.iter().all(is_type), "must be type/subtype"),
            ("group_advertisement_types", self.group_advertisement_types.iter().all(is_type),
                "must be type/subtype"),
            ("personal_alert_types", self.personal_alert_types.iter().all(is_type),
                "must be type/subtype"),
            ("blocked_words", !self.blocked_words.iter().any(|word| word.trim().is_empty()),
                "must not be empty"),
            ("deliver_wait_s", (1..=30).contains(&self.deliver_wait_s), "must be 1 to 30"),
            ("deferral_statuses", self.deferral_statuses.iter().all(triggers),
                "must be 300 to 699"),
            ("rate_burst", self.rate_burst > 0, "must be at least 1"),
            ("rate_per_user", self.rate_per_user <= 1000, "must be 0 to 1000"),
            ("retry_after_s", self.retry_after_s > 0, "must be at least 1"),
            ("ioi", one_word(ioi) && !ioi.contains(['"', ';']), "must be a name"),
            ("notice.from", from.is_ok_and(|from| from.scheme() == "sip"), "must be a SIP URI"),
            ("notice.text", self.notice.text.len() <= NOTICE_OCTETS_MAX, "is over 600 octets"),
            ("notice.feature_tag", one_word(&self.notice.feature_tag), "must be a feature tag"),
            ("session.answer_wait_s", (1..=170).contains(&self.session.answer_wait_s),
                "must be 1 to 170"),
            ("session.min_se_s", self.session.min_se_s >= 90, "must be at least 90"),
            ("session.interval_s", self.session.interval_s >= self.session.min_se_s,
                "must be at least min_se_s"),
            ("session.lost_after_s", self.session.lost_after_s > 0, "must be at least 1"),
            ("settings.event", is_name(&self.settings.event), "must name an event package"),
            ("settings.expires_min_s", self.settings.expires_min_s > 0, "must be at least 1"),
            ("settings.expires_default_s",
                self.settings.expires_default_s >= self.settings.expires_min_s,
                "must be at least expires_min_s"),
            ("settings.expires_max_s",
                self.settings.expires_max_s >= self.settings.expires_default_s,
                "must be at least expires_default_s"),
        ];
        let wrong = rules.into_iter().filter(|(_, holds, _)| !holds);
        wrong.map(|(key, _, fault)| PolicyMistake { key, fault }).collect()
    }

    /// [`Policy::deliver_wait_s`].
    pub fn deliver_wait(&self) -> Duration {
        Duration::from_secs(self.deliver_wait_s.into())
    }

    /// The value of a Warning with `text`, in which `n` stands for `{n}` (RFC 3261 §20.43).
    pub(crate) fn warning(&self, text: &str, n: u32) -> String {
        let text = text.replace("{n}", &n.to_string());
        warning(399, &self.warning_host, &text)
    }

    /// How the failures of the other side go back.
    pub(crate) fn downstream(&self) -> Downstream<'_> {
        let text = &self.warnings.downstream;
        Downstream { relay_5xx: self.relay_5xx, host: &self.warning_host, text }
    }
}

#[cfg(test)]
mod tests {
    use super::{Notice, Policy, SessionPolicy, SettingsPolicy, Warnings};

    #[test]
    fn an_empty_section_is_the_default() {
        let read: Policy = serde_json::from_str("{}").unwrap();
        assert_eq!(read, Policy::default());
        assert_eq!(read.mistakes(), []);
        let written = serde_json::to_string(&read).unwrap();
        assert_eq!(serde_json::from_str::<Policy>(&written).unwrap(), read);
    }

    #[test]
    fn unknown_keys_are_refused() {
        for text in [
            r#"{"body_octet_max":1}"#,
            r#"{"notice":{"to":"x"}}"#,
            r#"{"warnings":{"size":"x"}}"#,
            r#"{"size_answer":"rude"}"#,
            r#"{"blocked_targets":["nobody"]}"#,
        ] {
            assert!(serde_json::from_str::<Policy>(text).is_err(), "{text}");
        }
    }

    #[test]
    fn every_mistake_is_told() {
        let policy = Policy {
            warning_host: "two words".into(),
            warnings: Warnings { content: "a\r\nb".into(), ..Warnings::default() },
            accepted_content: vec!["text".into()],
            blocked_content: vec!["text/".into()],
            blocked_words: vec![" ".into()],
            deliver_wait_s: 31,
            deferral_statuses: vec![200],
            rate_burst: 0,
            rate_per_user: 1001,
            retry_after_s: 0,
            ioi: Some("a b".into()),
            notice: Notice {
                from: "tel:+1".into(),
                text: "x".repeat(601),
                feature_tag: String::new(),
                ..Notice::default()
            },
            session: SessionPolicy {
                answer_wait_s: 171,
                min_se_s: 89,
                interval_s: 88,
                lost_after_s: 0,
                ..SessionPolicy::default()
            },
            settings: SettingsPolicy {
                event: "im settings".into(),
                expires_min_s: 0,
                expires_default_s: 100,
                expires_max_s: 99,
            },
            ..Policy::default()
        };
        let keys: Vec<_> = policy.mistakes().iter().map(|mistake| mistake.key).collect();
        let expected = [
            "warning_host",
            "warnings",
            "accepted_content",
            "blocked_content",
            "blocked_words",
            "deliver_wait_s",
            "deferral_statuses",
            "rate_burst",
            "rate_per_user",
            "retry_after_s",
            "ioi",
            "notice.from",
            "notice.text",
            "notice.feature_tag",
            "session.answer_wait_s",
            "session.min_se_s",
            "session.interval_s",
            "session.lost_after_s",
            "settings.event",
            "settings.expires_min_s",
            "settings.expires_max_s",
        ];
        assert_eq!(keys, expected);
        let settings = SettingsPolicy { expires_default_s: 59, ..SettingsPolicy::default() };
        let [mistake] = &Policy { settings, ..Policy::default() }.mistakes()[..] else { panic!() };
        assert_eq!(mistake.key, "settings.expires_default_s");
        let at_limit = Policy { deliver_wait_s: 30, rate_per_user: 1000, ..Policy::default() };
        assert_eq!(at_limit.mistakes(), []);
    }
}
