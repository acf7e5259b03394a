//! How the operator wants groups and conferences: the section `[controlling]` of the configuration.

mod mistakes;

use std::time::Duration;

use parlance_isc::warning;
use serde::{Deserialize, Serialize};

pub use mistakes::PolicyMistake;

use crate::explode::ExplodePolicy;
use crate::groups::Group;

/// What somebody is answered who wants to stay anonymous where nobody may.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AnonymousAnswer {
    /// `403 Forbidden`.
    #[default]
    Forbidden,
    /// `433 Anonymity Disallowed` (RFC 5079 §5).
    AnonymityDisallowed,
}

/// When whoever makes a conference is answered 200 (OMA-TS-SIMPLE_IM §7.4.3.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AnswerAt {
    /// When the first of those he invites accepts.
    #[default]
    FirstAcceptance,
    /// At once.
    Once,
}

/// Who may have others invited to an ad-hoc session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum InviteRight {
    /// Every participant.
    #[default]
    Everybody,
    /// The one who began it.
    Creator,
}

/// What an INVITE to the conference factory without a list is answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WithoutList {
    /// A conference begins with whoever calls alone in it.
    #[default]
    Begin,
    /// `403 Forbidden`.
    Forbidden,
}

/// The texts of `Warning: 399` (RFC 3261 §20.43).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Warnings {
    /// The user may not do this. Default `100 Function not allowed`.
    pub not_allowed: String,
    /// The user does not have the service, or not this of it. Default
    /// `127 Service not authorised`.
    pub not_authorised: String,
    /// The list, or the session, is too large. Default `102 Too many participants`.
    pub too_many: String,
    /// The user has as many sessions as he may. Default
    /// `103 Maximum number of sessions reached`.
    pub sessions: String,
    /// The user may not see the participants. Default
    /// `105 Subscription of conference state not allowed`.
    pub conference_state: String,
    /// A message is too large; `{n}` stands for the limit. Default
    /// `133 Size exceeded, limit {n}`.
    pub size_exceeded: String,
    /// A group would be invited to a group. Default `Nested groups are not allowed`.
    pub nested: String,
}

impl Default for Warnings {
    fn default() -> Self {
        Self {
            not_allowed: "100 Function not allowed".to_owned(),
            not_authorised: "127 Service not authorised".to_owned(),
            too_many: "102 Too many participants".to_owned(),
            sessions: "103 Maximum number of sessions reached".to_owned(),
            conference_state: "105 Subscription of conference state not allowed".to_owned(),
            size_exceeded: "133 Size exceeded, limit {n}".to_owned(),
            nested: "Nested groups are not allowed".to_owned(),
        }
    }
}

/// When a session of one kind ends (OMA-TS-SIMPLE_IM §7.4.3.16). What is not said is as the kind
/// has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReleasePolicy {
    /// It ends when fewer users than this are left, those who are being called counted. 1: when it
    /// is empty. Default 2; for chat rooms 1.
    pub left_min: Option<u32>,
    /// It ends when the user who began it leaves. Default false; for pre-arranged groups true.
    pub creator_leaves: Option<bool>,
    /// It ends when the last key participant leaves. Default false; for pre-arranged groups true.
    pub key_participant_leaves: Option<bool>,
}

/// When sessions of each kind end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReleasePolicies {
    /// Conferences of two.
    pub one_to_one: ReleasePolicy,
    /// Other conferences that a user put together.
    pub ad_hoc: ReleasePolicy,
    /// Groups whose members are invited.
    pub pre_arranged: ReleasePolicy,
    /// Chat rooms.
    pub chat: ReleasePolicy,
}

/// What is allowed in sessions without a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdHocPolicy {
    /// Who may have others invited. Default `everybody`.
    pub invite: InviteRight,
    /// Whether participants may be anonymous. Default true.
    pub anonymity: bool,
    /// Whether they may send each other private messages. Default true.
    pub private_messages: bool,
}

impl Default for AdHocPolicy {
    fn default() -> Self {
        Self { invite: InviteRight::Everybody, anonymity: true, private_messages: true }
    }
}

/// How the controlling function treats groups and conferences.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// The host in Warning. Default `im.invalid`; set it to the name of the server.
    pub warning_host: String,
    /// The texts in Warning.
    pub warnings: Warnings,
    /// Entries of a list that makes a conference at most, nested lists resolved and duplicates
    /// removed (`max_adhoc_group_size`). Default 50, range 1 to 1000. More are answered 403.
    pub adhoc_group_size_max: u32,
    /// Participants of one session at most, those who are being called counted. A group may want
    /// less. Default 1000, range 2 to 1000. One more is answered 486, or 403 to a REFER.
    pub participants_max: u32,
    /// Sessions in which one user may be by calling at once. Default 20, at least 1. One more is
    /// answered 486.
    pub sessions_per_user_max: u32,
    /// Sessions that the server has at once. Default 10000, at least 1. One more is answered 480
    /// with Retry-After.
    pub sessions_max: u32,
    /// Retry-After in seconds of a 480 that is the server's own fault. Default 10, at least 1.
    pub retry_after_s: u32,
    /// What somebody is answered who wants to stay anonymous where nobody may. Default
    /// `forbidden`, 403.
    pub anonymous_answer: AnonymousAnswer,
    /// What an INVITE to the conference factory without a list is answered. Default `begin`.
    pub without_list: WithoutList,
    /// When whoever makes a conference is answered. Default `first-acceptance`.
    pub answer_at: AnswerAt,
    /// Seconds that somebody who is called has to answer. Default 180, range 1 to 600.
    pub ring_s: u32,
    /// Seconds after which a provisional response is sent again. Default 60, range 1 to 60
    /// (RFC 3261 §13.3.1.1).
    pub progress_repeat_s: u32,
    /// Whether those who are invited are told whom else (`recipient-list-history`, RFC 5366 §7).
    /// Default true.
    pub list_history: bool,
    /// Whether a user is called where a 3xx of his own domain says. Default true.
    pub redirects: bool,
    /// Whether the Contact of a session says what kind it is (`session=`). Default false.
    pub session_type_in_contact: bool,
    /// What is allowed in sessions without a group.
    pub ad_hoc: AdHocPolicy,
    /// When sessions end.
    pub release: ReleasePolicies,
    /// Seconds for which a chat room without participants stays, with what it remembers. Default
    /// 300; 0 ends it with the last one.
    pub empty_room_s: u32,
    /// Seconds in which a participant whose MSRP connection is lost, or cannot be made, may get
    /// another: the server connects again where that is for it to do, or waits for him to connect
    /// or to send another description. Then he is taken out. Default 10, range 0 to 600; 0: at
    /// once.
    pub reconnect_s: u32,
    /// Seconds without any message after which a session ends. Default 1800; 0: never.
    pub idle_s: u32,
    /// Seconds after which a session ends in any case. Default 0: never.
    pub session_s_max: u32,
    /// Seconds after which a running session looks again whether its group is still there and as
    /// it was. Default 60, at least 1.
    pub group_refresh_s: u32,
    /// What instant messaging is called among the services of a group (`supported-services`). A
    /// group that names services has sessions when one of these is among them. Default `im`; no
    /// specification fixes the name.
    pub enablers: Vec<String>,
    /// Seconds for which a session that has ended is answered 410 rather than 404. Default 600.
    pub ended_s: u32,
    /// Whether a participant may have nicknames (RFC 7701 §7). Default true.
    pub nicknames: bool,
    /// What nobody may be called. Default empty.
    pub reserved_nicknames: Vec<String>,
    /// Octets of one message in a session at most. Default 10485760.
    pub message_octets_max: u64,
    /// The content of messages, as in `a=accept-wrapped-types`. Default `*`.
    pub wrapped_types: String,
    /// Whether messages that are not wrapped in `message/cpim` are wrapped by the switch, as ones
    /// to the room; otherwise whoever does not take `message/cpim` is answered 488. Default false.
    pub wraps: bool,
    /// Session timer in seconds (RFC 4028). Default 1800, range 90 to 86400.
    pub session_expires_s: u32,
    /// The smallest session timer that is agreed to, in seconds. Default 90, range 90 to 86400.
    pub session_expires_s_min: u32,
    /// Seconds of a subscription that names none. Default 3600, range 60 to 86400.
    pub subscription_s: u32,
    /// Seconds of a subscription at least; less is answered 423. Default 60, range 0 to 3600.
    pub subscription_s_min: u32,
    /// Seconds between two notifications of changes to one subscriber; changes in between are put
    /// together. Default 5, range 1 to 60.
    pub notify_pace_s: u32,
    /// Subscriptions to one session at most. Default 2000. One more is answered 480.
    pub watchers_max: u32,
    /// Whether full documents show users who have left. Default false.
    pub shows_left_users: bool,
    /// How messages to lists and groups are exploded.
    pub explode: ExplodePolicy,
    /// The operator's inter-operator identifier, `orig-ioi` of what the server originates (RFC
    /// 7315 §4.6). Default none.
    pub ioi: Option<String>,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            warning_host: "im.invalid".to_owned(),
            warnings: Warnings::default(),
            adhoc_group_size_max: 50,
            participants_max: 1000,
            sessions_per_user_max: 20,
            sessions_max: 10_000,
            retry_after_s: 10,
            anonymous_answer: AnonymousAnswer::default(),
            without_list: WithoutList::default(),
            answer_at: AnswerAt::default(),
            ring_s: 180,
            progress_repeat_s: 60,
            list_history: true,
            redirects: true,
            session_type_in_contact: false,
            ad_hoc: AdHocPolicy::default(),
            release: ReleasePolicies::default(),
            empty_room_s: 300,
            reconnect_s: 10,
            idle_s: 1800,
            session_s_max: 0,
            group_refresh_s: 60,
            enablers: vec!["im".to_owned()],
            ended_s: 600,
            nicknames: true,
            reserved_nicknames: Vec::new(),
            message_octets_max: 10 * 1024 * 1024,
            wrapped_types: "*".to_owned(),
            wraps: false,
            session_expires_s: 1800,
            session_expires_s_min: 90,
            subscription_s: 3600,
            subscription_s_min: 60,
            notify_pace_s: 5,
            watchers_max: 2000,
            shows_left_users: false,
            explode: ExplodePolicy::default(),
            ioi: None,
        }
    }
}

impl Policy {
    /// The value of a Warning with `text` (RFC 3261 §20.43).
    pub fn warning(&self, text: &str) -> String {
        self.coded_warning(399, text)
    }

    /// The value of a Warning with one of the codes of RFC 3261 §20.43.
    pub fn coded_warning(&self, code: u16, text: &str) -> String {
        warning(code, &self.warning_host, text)
    }

    /// Participants of a session at most: what its group says, or the list size and the one who
    /// made it, and never more than [`Policy::participants_max`].
    pub fn participants_max(&self, group: Option<&Group>) -> usize {
        let own = match group {
            Some(group) => group.participants_max().unwrap_or(u32::MAX),
            None => self.adhoc_group_size_max.saturating_add(1),
        };
        usize::try_from(own.min(self.participants_max)).unwrap_or(usize::MAX)
    }
}

/// A number of seconds in which 0 stands for never.
pub(crate) fn limit(seconds: u32) -> Option<Duration> {
    (seconds > 0).then(|| seconds_of(seconds))
}

/// A number of seconds.
pub(crate) fn seconds_of(seconds: u32) -> Duration {
    Duration::from_secs(seconds.into())
}

#[cfg(test)]
mod tests {
    use super::{Policy, limit};
    use crate::groups::Group;
    use crate::groups::tests::document;

    #[test]
    fn an_empty_section_is_the_default() {
        let read: Policy = serde_json::from_str("{}").unwrap();
        assert_eq!(read, Policy::default());
        assert_eq!(read.mistakes(), []);
        let written = serde_json::to_string(&read).unwrap();
        assert_eq!(serde_json::from_str::<Policy>(&written).unwrap(), read);
        let release = r#"{"release":{"chat":{"creator_leaves":true}}}"#;
        let read: Policy = serde_json::from_str(release).unwrap();
        assert_eq!(read.release.chat.creator_leaves, Some(true));
    }

    #[test]
    fn unknown_keys_are_refused() {
        for text in [
            r#"{"adhoc_group_size":1}"#,
            r#"{"warnings":{"many":"x"}}"#,
            r#"{"release":{"group":{}}}"#,
            r#"{"answer_at":"never"}"#,
        ] {
            assert!(serde_json::from_str::<Policy>(text).is_err(), "{text}");
        }
    }

    // Covers: CF-039
    #[test]
    fn the_smallest_limit_counts() {
        let group = |max| {
            let mut document = document(&[], Vec::new());
            document.max_participant_count = max;
            Group::new(document).unwrap()
        };
        let policy = Policy { adhoc_group_size_max: 5, participants_max: 8, ..Policy::default() };
        assert_eq!(policy.participants_max(None), 6);
        assert_eq!(policy.participants_max(Some(&group(None))), 8);
        assert_eq!(policy.participants_max(Some(&group(Some(3)))), 3);
        assert_eq!(limit(0), None);
    }

    #[test]
    fn a_warning_is_quoted() {
        let policy = Policy { warning_host: "im.ims.test".into(), ..Policy::default() };
        assert_eq!(policy.warning("say \"no\""), r#"399 im.ims.test "say \"no\"""#);
    }
}
