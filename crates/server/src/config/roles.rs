//! `[participating]`, `[deferred]` and `[registration]`: what the operator decides for users.
//!
//! The keys become the policies of the role crates; a field added there breaks the build here.

use std::time::Duration;

use parlance_deferred::Delivery;
use parlance_isc::decision::{DecisionPolicy, Provisioning};
use parlance_isc::registration::{RegistrationPolicy, UnknownUser};
use parlance_isc::{RefusalPolicy, RegEventPolicy};
use parlance_participating::{AnonymousAnswer, ExcessAnswer, Notice, SessionMedia, SessionPolicy};
use parlance_participating::{GROUP_ADVERTISEMENT, PERSONAL_ALERT, PreEstablishedPolicy};
use parlance_participating::{SettingsPolicy, SizeAnswer, TargetPattern, Warnings};
use parlance_sip::ListenerId;
use serde::{Deserialize, Serialize};
use toml::Value;

use super::net::size;
use super::section::{Setting, leaf, read_leaf, section};
use super::{Config, Mistakes, Side, Sip};
use crate::sockets;

section! {
    /// The participating function: what users may send and get (OMA-TS-SIMPLE_IM §7.2). Read again
    /// on SIGHUP.
    pub struct Participating {
        /// Octets of a message body at most; a recipient may want less. RFC 3428 §8 allows a whole
        /// request 1300 on paths that are not congestion safe.
        pub body_bytes_max: u32 = 1_300, in 1..=262_144;
        /// What a larger one is answered: `forbidden`, 403, or `too-large`, 413.
        pub size_answer: SizeAnswer = SizeAnswer::Forbidden;
        /// Content types let through, `type/subtype` or `type/*`, those inside message/cpim and
        /// multipart/mixed included; none: all.
        pub accepted_content: Vec<String> = Vec::new();
        /// Content types not let through, whatever `accepted_content` says.
        pub blocked_content: Vec<String> = Vec::new();
        /// Content types of group advertisements, which a user may send with
        /// `rights.group_advertisement` in his profile and block with
        /// `block_group_advertisements` (OMA-TS-SIMPLE_IM §7.2.2.9, §7.2.4.7).
        pub group_advertisement_types: Vec<String> = vec![GROUP_ADVERTISEMENT.to_owned()];
        /// Content types of instant personal alerts, which he may block with
        /// `block_personal_alerts` (OMA-TS-SIMPLE_IM §6.2.4).
        pub personal_alert_types: Vec<String> = vec![PERSONAL_ALERT.to_owned()];
        /// Words that a text must not contain, whatever their case.
        pub blocked_words: Vec<String> = Vec::new();
        /// Where users may not send to: `sip:user@host`, `tel:+NUMBER`, `tel:+1900*` for numbers
        /// that begin so, `*@host` for a domain.
        pub blocked_targets: Vec<TargetPattern> = Vec::new();
        /// Seconds in which the recipient's client must take a message before it is stored or
        /// answered 480; ends before Timer F of the sender (RFC 4320 §4.2).
        pub deliver_wait_s: u32 = 20, in 1..=30;
        /// Final responses of the recipient's side after which a message is stored.
        pub deferral_statuses: Vec<u16> = vec![404, 408, 430, 480, 500, 503, 504];
        /// Whether a 5xx of the other side is relayed as it is instead of as 480; it makes an
        /// S-CSCF go on without the server.
        pub relay_5xx: bool = false;
        /// Whether anonymous senders are let through to users who leave it to the operator.
        pub accept_anonymous: bool = true;
        /// What one is answered otherwise: `forbidden`, 403, or `anonymity-disallowed`, 433
        /// (RFC 5079 §5).
        pub anonymous_answer: AnonymousAnswer = AnonymousAnswer::Forbidden;
        /// Whether a user with an accept list gets messages from those senders only.
        pub accept_list_only: bool = false;
        /// Whether From must be an identity of the sender, or anonymous.
        pub from_must_match: bool = true;
        /// Whether From inside message/cpim must be (RFC 3862).
        pub cpim_from_must_match: bool = true;
        /// Whether a display name in From goes that P-Asserted-Identity does not have.
        pub strip_unverified_display_names: bool = false;
        /// Messages a second that a user may send for long; 0 for no limit.
        pub rate_per_user: u32 = 20, in 0..=1_000;
        /// Messages that he may send at once before that counts.
        pub rate_burst: u32 = 100, in 1..=1_000_000;
        /// Retry-After of a 480 that is the server's own fault, in seconds.
        pub retry_after_s: u32 = 10, in 1..=3_600;
        /// How the function takes part in sessions: `proxy`, record-routing, descriptions
        /// untouched; `anchor`, as a back-to-back user agent through which the messages pass;
        /// `cema`, the same, but two clients with `msrp-cema` see the paths of each other, and only
        /// `c=` and the port lead here (RFC 6714 §6). With `cema`, a client sees our path as with
        /// `anchor` where the other one has no `msrp-cema`, is behind a relay, or has a path that
        /// another session here goes by; where MSRP is over TLS, which ends here in any case, since
        /// to tunnel it (§6.5) takes a port for each session; and in sessions for immediate
        /// messages, which have a largest size to be told. The path of an inviter is with the other
        /// client before it is known whether that one has `msrp-cema`: without it, it may wait for
        /// our connection, and if it wants to connect it gets a second offer, with our path, which
        /// §4.2 leaves to the inviter. Only an anchored session, and one that the user has begun
        /// with a conference of this server, can be primary, or lock others and be held by their
        /// lock (OMA-TS-SIMPLE_IM §7.2.2.10); with `proxy` those are anchored whose client asks for
        /// it in the first INVITE, and what asks later passes as it is.
        pub session_media: SessionMedia = SessionMedia::Proxy;
        /// Whether two users of a domain may have a session between themselves; otherwise it is a
        /// conference of the two, where conferences run (OMA-AD-SIMPLE_IM §5.3.2.1.1).
        pub peer_to_peer: bool = false;
        /// Sessions a user may take part in at a time, immediate messages apart; 0 for no limit.
        pub sessions_max: u32 = 16, in 0..=100_000;
        /// What a user is answered who begins one more: `forbidden`, 403, or `busy`, 486.
        pub excess_sessions_answer: ExcessAnswer = ExcessAnswer::Forbidden;
        /// Seconds in which an invited user must answer before the inviter gets 480; ends before
        /// Timer C (RFC 3261 §16.6).
        pub answer_wait_s: u32 = 60, in 1..=170;
        /// Octets of an immediate message sent in a session (OMA-TS-SIMPLE_IM §7.2.2.5).
        pub large_bytes_max: u64 = 10_485_760, in 1..=1_099_511_627_776;
        /// Whether a session for an immediate message ends when it carries a second message, or one
        /// back; otherwise it goes on (OMA-TS-SIMPLE_IM §7.2.2.5). Only anchored sessions.
        pub large_session_strict: bool = false;
        /// Messages of one session that are held while another session of the user is locked
        /// (OMA-TS-SIMPLE_IM §7.2.2.10.3); one more has failed, with REPORT 408.
        pub held_messages_max: u32 = 100, in 0..=1_000_000;
        /// Octets of them at most, with their heads.
        pub held_bytes_max: u64 = 1_048_576, in 0..=1_073_741_824;
        /// Octets of the largest message of a session that is kept in a history (`[history]`); a
        /// larger one is delivered and not kept.
        pub history_bytes_max: u64 = 1_048_576, in 1..=1_073_741_824;
        /// The session interval asked for and the longest let through, in seconds (RFC 4028 §4).
        pub session_interval_s: u32 = 1_800, in 90..=86_400;
        /// The shortest session interval let through, in seconds (RFC 4028 §5).
        pub session_min_se_s: u32 = 90, in 90..=86_400;
        /// Seconds after which a session without a timer, of which nothing was heard, does not
        /// count any more.
        pub session_lost_after_s: u32 = 43_200, in 1..=604_800;
        /// Whether clients may establish sessions ahead of time, to be joined to others by REFER,
        /// or by an invitation they let in without asking (OMA-TS-SIMPLE_IM §7.2.3.2). Otherwise
        /// their service is answered 404. Changed by a restart only.
        pub pre_established: bool = false;
        /// That service: a SIP URI that clients know; without one, `sip:im-session@` and the first
        /// domain. Changed by a restart only.
        pub pre_established_uri: Option<String> = None, example "\"sip:im-session@ims.test\"";
        /// Sessions one user may have established with it, one for each client; more are answered
        /// as `excess_sessions_answer` says.
        pub pre_established_per_user_max: u32 = 4, in 1..=1_000;
        /// Sessions one shard may have established with it; more are answered 480 with Retry-After.
        pub pre_established_per_shard_max: u32 = 10_000, in 1..=1_000_000;
        /// The operator's inter-operator identifier, put into answers as `term-ioi` (RFC 7315
        /// §4.6).
        pub ioi: Option<String> = None, example "\"home1.test\"";
        /// Whether a user who registers for the first time is told of his new profile
        /// (OMA-TS-SIMPLE_IM §7.2.1).
        pub notice: bool = true;
        /// Who tells him: a SIP URI; without one, `sip:im@` and the first domain.
        pub notice_from: Option<String> = None, example "\"sip:im@ims.test\"";
        /// What he is told, at most 600 octets.
        pub notice_text: String = Notice::default().text;
        /// Text of Warning 399: the user may not use the service (RFC 3261 §20.43).
        pub warning_not_authorised: String = Warnings::default().not_authorised;
        /// Text of Warning 399: the body is too large; `{n}` is the limit in octets.
        pub warning_size_exceeded: String = Warnings::default().size_exceeded;
        /// Text of Warning 399: the content is not let through.
        pub warning_content: String = Warnings::default().content;
        /// Text of Warning 399: the CPIM From is not an identity of the sender.
        pub warning_foreign_from: String = Warnings::default().foreign_from;
        /// Text of Warning 399: messages may not be sent there.
        pub warning_blocked_target: String = Warnings::default().blocked_target;
        /// Text of Warning 399: the message is older than its Expires.
        pub warning_expired: String = Warnings::default().expired;
        /// Text of Warning 399: the other side failed; `{n}` is its status code.
        pub warning_downstream: String = Warnings::default().downstream;
        /// Text of Warning 399: the user takes part in as many sessions as he may, `{n}`.
        pub warning_sessions_exceeded: String = Warnings::default().sessions_exceeded;
        /// Text of Warning 399: the invited user did not answer.
        pub warning_no_answer: String = Warnings::default().no_answer;
        /// Text of Warning 399: a REFER is for a method that is not allowed, or an inviter may not
        /// override how an invited user answers (RFC 5373).
        pub warning_function_not_allowed: String = Warnings::default().function_not_allowed;
        /// Text of Warning 399: the state of conferences may not be subscribed to.
        pub warning_subscription: String = Warnings::default().subscription;
    }
}

section! {
    /// The deferred function: messages for users who are away (OMA-TS-SIMPLE_IM §7.3). Read again
    /// on SIGHUP, where nothing else is said.
    pub struct Deferred {
        /// Whether messages are stored; otherwise they are answered 480. What is stored already is
        /// still delivered.
        pub enabled: bool = true;
        /// Whether a message is stored about which neither recipient nor sender says anything;
        /// otherwise the recipient's `offline_delivery` must say so, or the sender with
        /// `Request-Disposition: queue` or `Expires` (OMA-TS-SIMPLE_IM §6.1.12.8).
        pub keep_unasked: bool = true;
        /// Messages kept for one user at most; one more is answered 480.
        pub items_max: u64 = 500, in 1..=1_000_000;
        /// Octets kept for one user at most.
        pub octets_max: u64 = 2_097_152, in 1_024..=1_073_741_824;
        /// Octets of a body at most; a larger one is answered 480.
        pub message_octets_max: u64 = 65_536, in 1..=262_144;
        /// The largest message kept that comes over MSRP, in octets. A larger one is answered 413,
        /// or its INVITE 480 when that says the size.
        pub large_octets_max: u64 = 1_048_576, in 1..=3_000_000;
        /// How long a session in which a large message is to come may be without one, in seconds;
        /// then it ends, and what came in part is forgotten.
        pub session_idle_s: u64 = 60, in 1..=3_600;
        /// Such sessions at a time. One more INVITE is answered 480 with Retry-After.
        pub sessions_max: u64 = 256, in 0..=100_000;
        /// How long a message is kept at most, in seconds; its Expires may make it shorter
        /// (RFC 3428 §5).
        pub age_max_s: u64 = 604_800, in 1..=315_360_000;
        /// How messages reach a user whose profile leaves it to the operator: `push-message`, as
        /// MESSAGEs; `push-msrp`, which until there are sessions is `notify`; `notify`, one MESSAGE
        /// that says how many there are; `none`.
        pub delivery: Delivery = Delivery::PushMessage;
        /// How long after a new registration delivery begins, so that the client is ready, in
        /// milliseconds.
        pub settle_ms: u64 = 2_000, in 0..=60_000;
        /// The wait after a first failed delivery, in seconds; it doubles with each further one.
        pub retry_first_s: u64 = 60, in 1..=86_400;
        /// The longest such wait, in seconds.
        pub retry_max_s: u64 = 3_600, in 1..=604_800;
        /// The least time between two deliveries to a user, in milliseconds.
        pub pause_ms: u64 = 50, in 0..=60_000;
        /// Messages sent each second by one shard at most. Changed by a restart only.
        pub messages_per_second: u32 = 200, in 1..=1_000_000;
        /// Recipients served at a time by one shard.
        pub lanes_max: u64 = 1_000, in 1..=1_000_000;
        /// Recipients that may wait for their turn; those beyond are found by the next search.
        pub waiting_max: u64 = 100_000, in 1..=10_000_000;
        /// How long a process may deliver for a user without saying that it lives, in seconds.
        /// After a crash the same node goes on at once, another one when this time is over.
        pub lease_s: u64 = 15, in 3..=600;
        /// How often the store is asked whose messages are due, in milliseconds.
        pub due_interval_ms: u64 = 1_000, in 10..=600_000;
        /// How often messages that are too old are removed, in seconds; in between, they are not
        /// delivered.
        pub sweep_interval_s: u64 = 60, in 1..=86_400;
        /// The identity of the function (`deferred-msg-func-uri`), which notifications come from: a
        /// SIP URI; without one, `sip:im-deferred@` and the first domain. Changed by a restart
        /// only.
        pub service_uri: Option<String> = None, example "\"sip:im-deferred@ims.test\"";
        /// Text of a notification; `{count}` is the number of messages.
        pub notification_text: String = "You have {count} stored instant messages.".to_owned();
        /// Accept-Contact of what is sent (RFC 3841 §9.2); `;require;explicit` behind it leaves out
        /// clients without the tag.
        pub accept_contact: String = "*;+g.oma.sip-im".to_owned();
        /// `orig-ioi` of what is sent when the registration told none (RFC 7315 §4.6).
        pub orig_ioi: Option<String> = None, example "\"home1.test\"";
        /// Octets of a whole MESSAGE that is sent: 1300 where a hop further on is not congestion
        /// safe (RFC 3428 §8). A larger one stays then, and a notification tells of it.
        pub request_octets_max: u64 = 131_072, in 600..=262_144;
        /// How often a disposition notification about a failure is tried again; then it counts as
        /// lost.
        pub report_retries: u32 = 5, in 0..=100;
        /// Subscriptions to `message-summary` at a time (RFC 3842), some 4 KiB each. One more is
        /// answered 480 with Retry-After.
        pub summaries_max: u64 = 100_000, in 0..=10_000_000;
        /// Disposition notifications under way on one shard; those beyond count as lost.
        pub reports_max: u64 = 1_000, in 1..=1_000_000;
    }
}

section! {
    /// Registrations learnt from third-party REGISTERs (TS 24.229 §5.4.1.7). Read again on SIGHUP.
    pub struct Registration {
        /// Who says which users have the service: `by-core`, everybody whose filter criteria lead
        /// here, unless his profile says otherwise; `by-operator`, users with a profile.
        pub provisioning: ProvisioningName = ProvisioningName::ByCore;
        /// What a REGISTER for a user without it is answered: `not-found`, 404, or `ignore`, 200
        /// with nothing kept, for cores that de-register a user on a 4xx.
        pub unknown_user: UnknownUserName = UnknownUserName::NotFound;
        /// How long a registration counts after its expiry, for a refresh that is late, in seconds.
        pub grace_s: u64 = 30, in 0..=3_600;
        /// Whether the server subscribes to the `reg` event of every user who registers (RFC 3680):
        /// then it also learns of registrations that run out, and of a REGISTER that was lost. Off
        /// where the core does not serve the event. Changed by a restart only.
        pub reg_event: bool = false;
        /// Who subscribes: the URI of the server as the core knows it (TS 24.229 §5.4.2.1.1);
        /// without one, the address for third-party REGISTERs. Changed by a restart only.
        pub reg_event_identity: Option<String> = None, example "\"sip:im-reg@im.ims.test:5082\"";
        /// The duration asked for, in seconds (TS 24.229 §5.1.1.3). Changed by a restart only.
        pub reg_event_expires_s: u32 = 600_000, in 60..=10_000_000;
        /// Subscriptions of one shard at most, some 3 KiB each; a user beyond them is followed by
        /// third-party REGISTERs alone. Changed by a restart only.
        pub reg_event_max: u64 = 500_000, in 1..=100_000_000;
    }
}

/// Who says which users have the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProvisioningName {
    /// The core.
    ByCore,
    /// The operator, here.
    ByOperator,
}

/// What is answered for a user without the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UnknownUserName {
    /// 404.
    NotFound,
    /// 200, and nothing is kept.
    Ignore,
}

leaf!(ProvisioningName, UnknownUserName, Delivery, SizeAnswer, AnonymousAnswer);
leaf!(ExcessAnswer, SessionMedia);
leaf!(Vec<u16>, Vec<TargetPattern>);

impl Participating {
    /// The policy of the function.
    pub(crate) fn policy(&self, sip: &Sip) -> parlance_participating::Policy {
        parlance_participating::Policy {
            body_octets_max: self.body_bytes_max,
            size_answer: self.size_answer,
            warning_host: sip.host(),
            warnings: Warnings {
                not_authorised: self.warning_not_authorised.clone(),
                size_exceeded: self.warning_size_exceeded.clone(),
                content: self.warning_content.clone(),
                foreign_from: self.warning_foreign_from.clone(),
                blocked_target: self.warning_blocked_target.clone(),
                expired: self.warning_expired.clone(),
                downstream: self.warning_downstream.clone(),
                sessions_exceeded: self.warning_sessions_exceeded.clone(),
                no_answer: self.warning_no_answer.clone(),
                function_not_allowed: self.warning_function_not_allowed.clone(),
                subscription: self.warning_subscription.clone(),
            },
            accepted_content: self.accepted_content.clone(),
            blocked_content: self.blocked_content.clone(),
            group_advertisement_types: self.group_advertisement_types.clone(),
            personal_alert_types: self.personal_alert_types.clone(),
            blocked_words: self.blocked_words.clone(),
            blocked_targets: self.blocked_targets.clone(),
            deliver_wait_s: self.deliver_wait_s,
            deferral_statuses: self.deferral_statuses.clone(),
            relay_5xx: self.relay_5xx,
            accept_anonymous: self.accept_anonymous,
            anonymous_answer: self.anonymous_answer,
            accept_list_only: self.accept_list_only,
            rate_per_user: self.rate_per_user,
            rate_burst: self.rate_burst,
            retry_after_s: self.retry_after_s,
            strip_unverified_display_names: self.strip_unverified_display_names,
            cpim_from_must_match: self.cpim_from_must_match,
            ioi: self.ioi.clone(),
            notice: Notice {
                enabled: self.notice,
                from: self.notice_from.clone().unwrap_or_else(|| sip.service("im")),
                text: self.notice_text.clone(),
                ..Notice::default()
            },
            session: SessionPolicy {
                media: self.session_media,
                peer_to_peer: self.peer_to_peer,
                sessions_max: self.sessions_max,
                excess_answer: self.excess_sessions_answer,
                answer_wait_s: self.answer_wait_s,
                large_octets_max: self.large_bytes_max,
                large_is_strict: self.large_session_strict,
                held_messages_max: self.held_messages_max,
                held_octets_max: self.held_bytes_max,
                history_octets_max: self.history_bytes_max,
                interval_s: self.session_interval_s,
                min_se_s: self.session_min_se_s,
                lost_after_s: self.session_lost_after_s,
            },
            // Of a section of its own.
            settings: SettingsPolicy::default(),
            pre_established: PreEstablishedPolicy {
                per_user_max: self.pre_established_per_user_max,
                per_shard_max: self.pre_established_per_shard_max,
                // That of another section.
                factory: None,
            },
        }
    }

    /// The identity of the service of pre-established sessions.
    pub(crate) fn pre_established_uri(&self, sip: &Sip) -> String {
        self.pre_established_uri.clone().unwrap_or_else(|| sip.service("im-session"))
    }

    /// How refusals before the function are worded.
    pub(crate) fn refusals(&self, sip: &Sip) -> RefusalPolicy {
        RefusalPolicy {
            host: sip.host(),
            not_provisioned: self.warning_not_authorised.clone(),
            downstream: self.warning_downstream.clone(),
            relay_5xx: self.relay_5xx,
            retry_after: Duration::from_secs(self.retry_after_s.into()),
            ..RefusalPolicy::default()
        }
    }
}

impl Deferred {
    /// The identity of the function.
    pub(crate) fn identity(&self, sip: &Sip) -> String {
        self.service_uri.clone().unwrap_or_else(|| sip.service("im-deferred"))
    }

    /// The policy of the function.
    pub(crate) fn policy(&self, sip: &Sip) -> parlance_deferred::Policy {
        parlance_deferred::Policy {
            enabled: self.enabled,
            keep_unasked: self.keep_unasked,
            items_max: self.items_max,
            octets_max: self.octets_max,
            message_octets_max: size(self.message_octets_max),
            large_octets_max: self.large_octets_max,
            session_idle: Duration::from_secs(self.session_idle_s),
            sessions_max: size(self.sessions_max),
            age_max: Duration::from_secs(self.age_max_s),
            delivery: self.delivery,
            settle: Duration::from_millis(self.settle_ms),
            retry_first: Duration::from_secs(self.retry_first_s),
            retry_max: Duration::from_secs(self.retry_max_s),
            pause: Duration::from_millis(self.pause_ms),
            messages_per_second: self.messages_per_second,
            lanes_max: size(self.lanes_max),
            waiting_max: size(self.waiting_max),
            lease: Duration::from_secs(self.lease_s),
            due_interval: Duration::from_millis(self.due_interval_ms),
            sweep_interval: Duration::from_secs(self.sweep_interval_s),
            service_uri: Some(self.identity(sip)),
            notification_text: self.notification_text.clone(),
            accept_contact: self.accept_contact.clone(),
            orig_ioi: self.orig_ioi.clone(),
            request_octets_max: size(self.request_octets_max),
            report_retries: self.report_retries,
            summaries_max: size(self.summaries_max),
            reports_max: size(self.reports_max),
        }
    }
}

impl Registration {
    /// How registrations are kept.
    pub(crate) fn policy(&self, refusals: RefusalPolicy) -> RegistrationPolicy {
        RegistrationPolicy {
            grace: Duration::from_secs(self.grace_s),
            provisioning: self.provisioning(),
            unknown_user: match self.unknown_user {
                UnknownUserName::NotFound => UnknownUser::NotFound,
                UnknownUserName::Ignore => UnknownUser::Ignore,
            },
            refusals,
        }
    }

    /// How the server subscribes to registrations from `listener`, if it does.
    pub(crate) fn reg_event(
        &self,
        config: &Config,
        listener: ListenerId,
    ) -> Option<RegEventPolicy> {
        let named = || format!("sip:im-reg@{}", sockets::named(&config.sip, Side::Registration));
        let identity = self.reg_event_identity.clone().unwrap_or_else(named);
        self.reg_event.then(|| RegEventPolicy {
            orig_ioi: config.deferred.orig_ioi.clone(),
            expires: self.reg_event_expires_s,
            subscriptions_max: size(self.reg_event_max),
            ..RegEventPolicy::new(identity, listener)
        })
    }

    /// How decisions are made.
    pub(crate) fn decisions(&self, from_must_match: bool) -> DecisionPolicy {
        DecisionPolicy { provisioning: self.provisioning(), from_must_match }
    }

    fn provisioning(&self) -> Provisioning {
        match self.provisioning {
            ProvisioningName::ByCore => Provisioning::ByCore,
            ProvisioningName::ByOperator => Provisioning::ByOperator,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Deferred, Participating, Registration, Sip};

    /// The defaults written here are those of the functions, but for the names of the server.
    #[test]
    fn the_defaults_are_those_of_the_functions() {
        let sip = Sip::default();
        let policy = Participating::default().policy(&sip);
        assert!(policy.mistakes().is_empty(), "{:?}", policy.mistakes());
        let theirs = parlance_participating::Policy::default();
        let named = parlance_participating::Policy {
            warning_host: policy.warning_host.clone(),
            notice: policy.notice.clone(),
            ..theirs.clone()
        };
        assert_eq!(policy, named);
        assert_eq!(policy.warning_host, "im.ims.test");
        assert_eq!(policy.notice.from, "sip:im@ims.test");
        assert_eq!(policy.notice.text, theirs.notice.text);

        let policy = Deferred::default().policy(&sip);
        assert_eq!(policy.mistakes(), Vec::<String>::new());
        assert_eq!(policy.service_uri.as_deref(), Some("sip:im-deferred@ims.test"));
        let theirs = parlance_deferred::Policy::default();
        assert_eq!(parlance_deferred::Policy { service_uri: None, ..policy }, theirs);

        let refusals = Participating::default().refusals(&sip);
        let policy = Registration::default().policy(refusals.clone());
        assert_eq!(policy.grace, parlance_isc::registration::RegistrationPolicy::default().grace);
        assert_eq!(refusals.host, "im.ims.test");
    }
}
