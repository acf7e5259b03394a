//! `[controlling]`: groups, conferences and what their sessions may do.

use std::path::PathBuf;

use parlance_controlling::explode::ExplodePolicy;
use parlance_controlling::{
    AdHocPolicy, AnonymousAnswer, AnswerAt, InviteRight, Policy, ReleasePolicies, ReleasePolicy,
    Warnings, WithoutList,
};
use parlance_sip::uri::Aor;
use toml::Value;

use super::section::{Setting, leaf, read_leaf, section};
use super::{Mistakes, Sip};

section! {
    /// The controlling function: the conference factory, groups and their sessions
    /// (OMA-TS-SIMPLE_IM §7.4). Read again on SIGHUP, where nothing else is said; a session that
    /// runs keeps what it began with.
    pub struct Controlling {
        /// Whether there are groups and conferences. Changed by a restart only.
        pub enabled: bool = true;
        /// The conference factory: a SIP URI that clients know as `conf-fcty-uri`; without one,
        /// `sip:im-conf-factory@` and the first domain.
        pub factory: Option<String> = None, example "\"sip:im-conf-factory@ims.test\"";
        /// The directory of group documents, one file `*.xml` for each group, in the format of OMA
        /// Group XDM (`list-service`); without one there are no groups. A file that cannot be read
        /// is left out and named in the log. Changed by a restart only; the files are read again
        /// on SIGHUP.
        pub groups: Option<PathBuf> = None, example "\"/etc/parlance/groups\"";
        /// What the user part of group identities begins with, in every domain that is served: one
        /// that is no group is answered 404. Groups in the directory need not begin so.
        pub group_prefix: String = "im-group-".to_owned();
        /// The domain of session identities, which stand in the Contact of a session and must lead
        /// to this server; without one, the address that requests are sent from. Changed by a
        /// restart only.
        pub session_domain: Option<String> = None, example "\"im.ims.test:5081\"";
        /// What the user part of session identities begins with. Changed by a restart only.
        pub session_prefix: String = "im-sess-".to_owned();
        /// Entries of a list that makes a conference at most, duplicates removed
        /// (`max_adhoc_group_size`); more are answered 403.
        pub adhoc_group_size_max: u32 = 50, in 1..=1_000;
        /// Participants of one session at most, those who are being called counted. One more is
        /// answered 486, or 403 to a REFER.
        pub participants_max: u32 = 1_000, in 2..=1_000;
        /// Sessions in which one user may be by calling at once. One more is answered 486.
        pub sessions_per_user_max: u32 = 20, in 1..=100_000;
        /// Sessions that the server has at once. One more is answered 480 with Retry-After.
        pub sessions_max: u32 = 10_000, in 1..=1_000_000;
        /// Retry-After of a 480 that is the server's own fault, in seconds.
        pub retry_after_s: u32 = 10, in 1..=3_600;
        /// What somebody is answered who wants to stay anonymous where nobody may: `forbidden`,
        /// 403, or `anonymity-disallowed`, 433 (RFC 5079 §5).
        pub anonymous_answer: AnonymousAnswer = AnonymousAnswer::Forbidden;
        /// What an INVITE to the factory without a list is answered: `begin`, and whoever calls is
        /// alone at first, or `forbidden`, 403.
        pub without_list: WithoutList = WithoutList::Begin;
        /// When whoever makes a conference is answered 200: at the `first-acceptance` of those he
        /// invites, or at `once`.
        pub answer_at: AnswerAt = AnswerAt::FirstAcceptance;
        /// How long somebody who is called has to answer, in seconds.
        pub ring_s: u32 = 180, in 1..=600;
        /// After how many seconds a provisional response is sent again (RFC 3261 §13.3.1.1).
        pub progress_repeat_s: u32 = 60, in 1..=60;
        /// Whether those who are invited are told whom else (`recipient-list-history`, RFC 5366
        /// §7).
        pub list_history: bool = true;
        /// Whether a user is called where a 3xx of his own domain says.
        pub redirects: bool = true;
        /// Whether the Contact of a session says what kind it is (`session=`).
        pub session_type_in_contact: bool = false;
        /// Who may have others invited to a session without a group: `everybody` in it or the
        /// `creator`.
        pub adhoc_invite: InviteRight = InviteRight::Everybody;
        /// Whether participants of such a session may be anonymous.
        pub adhoc_anonymity: bool = true;
        /// Whether they may send each other private messages.
        pub adhoc_private_messages: bool = true;
        /// A conference of two ends when fewer users are left, those who are being called counted.
        pub one_to_one_left_min: u32 = 2, in 1..=1_000;
        /// Another conference that a user put together ends when fewer are left.
        pub adhoc_left_min: u32 = 2, in 1..=1_000;
        /// Whether it ends when the user who began it leaves.
        pub adhoc_creator_leaves: bool = false;
        /// A session of a pre-arranged group ends when fewer are left.
        pub pre_arranged_left_min: u32 = 2, in 1..=1_000;
        /// Whether it ends when the user who began it leaves.
        pub pre_arranged_creator_leaves: bool = true;
        /// Whether it ends when the last key participant leaves.
        pub pre_arranged_key_participant_leaves: bool = true;
        /// The session of a chat room ends when fewer are left.
        pub chat_left_min: u32 = 1, in 1..=1_000;
        /// Whether it ends when the last key participant leaves.
        pub chat_key_participant_leaves: bool = false;
        /// How long a chat room without participants stays, with what it remembers, in seconds; 0
        /// ends it with the last one.
        pub empty_room_s: u32 = 300, in 0..=604_800;
        /// Seconds in which a participant whose MSRP connection is lost, or cannot be made, may get
        /// another: the server connects again where that is for it to do, or waits for him to
        /// connect or to send another description. Then he is taken out. 0: at once.
        pub reconnect_s: u32 = 10, in 0..=600;
        /// After how many seconds without any message a session ends; 0 for never.
        pub idle_s: u32 = 1_800, in 0..=604_800;
        /// After how many seconds a session ends in any case; 0 for never.
        pub session_s_max: u32 = 0, in 0..=31_536_000;
        /// After how many seconds a running session looks again whether its group is still there.
        pub group_refresh_s: u32 = 60, in 1..=86_400;
        /// What instant messaging is called among the services of a group (`supported-services`): a
        /// group that names services has sessions when one of these is among them.
        pub enablers: Vec<String> = vec!["im".to_owned()];
        /// For how many seconds a session that has ended is answered 410 rather than 404.
        pub ended_s: u32 = 600, in 0..=86_400;
        /// Whether participants may have nicknames (RFC 7701 §7).
        pub nicknames: bool = true;
        /// What nobody may be called.
        pub reserved_nicknames: Vec<String> = Vec::new();
        /// Octets of one message in a session at most.
        pub message_octets_max: u64 = 10_485_760, in 1..=1_099_511_627_776;
        /// The content of messages, as in `a=accept-wrapped-types`.
        pub wrapped_types: String = "*".to_owned();
        /// Whether messages that are not wrapped in message/cpim are wrapped by the switch, as ones
        /// to the room.
        pub wraps: bool = false;
        /// Session timer, in seconds (RFC 4028).
        pub session_expires_s: u32 = 1_800, in 90..=86_400;
        /// The smallest session timer that is agreed to, in seconds; less is answered 422.
        pub session_expires_s_min: u32 = 90, in 90..=86_400;
        /// Duration of a subscription that names none, in seconds.
        pub subscription_s: u32 = 3_600, in 60..=86_400;
        /// Duration of a subscription at least, in seconds; less is answered 423.
        pub subscription_s_min: u32 = 60, in 0..=3_600;
        /// Least time between two notifications of changes to one subscriber, in seconds; changes
        /// in between are put together (RFC 4575 §3.10).
        pub notify_pace_s: u32 = 5, in 1..=60;
        /// Subscriptions to one session at most; one more is answered 480.
        pub watchers_max: u32 = 2_000, in 1..=100_000;
        /// Whether full documents show users who have left.
        pub shows_left_users: bool = false;
        /// The operator's inter-operator identifier, `orig-ioi` of invitations (RFC 7315 §4.6).
        pub ioi: Option<String> = None, example "\"home1.test\"";
        /// Text of Warning 399: the user may not do this (RFC 3261 §20.43).
        pub warning_not_allowed: String = Warnings::default().not_allowed;
        /// Text of Warning 399: the user does not have the service, or not this of it.
        pub warning_not_authorised: String = Warnings::default().not_authorised;
        /// Text of Warning 399: the list or the session is too large.
        pub warning_too_many: String = Warnings::default().too_many;
        /// Text of Warning 399: the user has as many sessions as he may.
        pub warning_sessions: String = Warnings::default().sessions;
        /// Text of Warning 399: the user may not see the participants.
        pub warning_conference_state: String = Warnings::default().conference_state;
        /// Text of Warning 399: a message is too large; `{n}` stands for the limit.
        pub warning_size_exceeded: String = Warnings::default().size_exceeded;
        /// Text of Warning 399: a group would be invited to a group.
        pub warning_nested: String = Warnings::default().nested;
    }
}

leaf!(AnonymousAnswer, AnswerAt, InviteRight, WithoutList);

impl Controlling {
    /// The policy of the function.
    pub(crate) fn policy(&self, sip: &Sip) -> Policy {
        Policy {
            warning_host: sip.host(),
            warnings: Warnings {
                not_allowed: self.warning_not_allowed.clone(),
                not_authorised: self.warning_not_authorised.clone(),
                too_many: self.warning_too_many.clone(),
                sessions: self.warning_sessions.clone(),
                conference_state: self.warning_conference_state.clone(),
                size_exceeded: self.warning_size_exceeded.clone(),
                nested: self.warning_nested.clone(),
            },
            adhoc_group_size_max: self.adhoc_group_size_max,
            participants_max: self.participants_max,
            sessions_per_user_max: self.sessions_per_user_max,
            sessions_max: self.sessions_max,
            retry_after_s: self.retry_after_s,
            anonymous_answer: self.anonymous_answer,
            without_list: self.without_list,
            answer_at: self.answer_at,
            ring_s: self.ring_s,
            progress_repeat_s: self.progress_repeat_s,
            list_history: self.list_history,
            redirects: self.redirects,
            session_type_in_contact: self.session_type_in_contact,
            ad_hoc: AdHocPolicy {
                invite: self.adhoc_invite,
                anonymity: self.adhoc_anonymity,
                private_messages: self.adhoc_private_messages,
            },
            release: self.release(),
            empty_room_s: self.empty_room_s,
            reconnect_s: self.reconnect_s,
            idle_s: self.idle_s,
            session_s_max: self.session_s_max,
            group_refresh_s: self.group_refresh_s,
            enablers: self.enablers.clone(),
            ended_s: self.ended_s,
            nicknames: self.nicknames,
            reserved_nicknames: self.reserved_nicknames.clone(),
            message_octets_max: self.message_octets_max,
            wrapped_types: self.wrapped_types.clone(),
            wraps: self.wraps,
            session_expires_s: self.session_expires_s,
            session_expires_s_min: self.session_expires_s_min,
            subscription_s: self.subscription_s,
            subscription_s_min: self.subscription_s_min,
            notify_pace_s: self.notify_pace_s,
            watchers_max: self.watchers_max,
            shows_left_users: self.shows_left_users,
            explode: ExplodePolicy::default(),
            ioi: self.ioi.clone(),
        }
    }

    fn release(&self) -> ReleasePolicies {
        let rule = |left_min, creator_leaves, key_participant_leaves| ReleasePolicy {
            left_min: Some(left_min),
            creator_leaves: Some(creator_leaves),
            key_participant_leaves: Some(key_participant_leaves),
        };
        ReleasePolicies {
            one_to_one: rule(self.one_to_one_left_min, false, false),
            ad_hoc: rule(self.adhoc_left_min, self.adhoc_creator_leaves, false),
            pre_arranged: rule(
                self.pre_arranged_left_min,
                self.pre_arranged_creator_leaves,
                self.pre_arranged_key_participant_leaves,
            ),
            chat: rule(self.chat_left_min, false, self.chat_key_participant_leaves),
        }
    }

    /// The identity of the conference factory.
    pub(crate) fn factory(&self, sip: &Sip) -> String {
        self.factory.clone().unwrap_or_else(|| sip.service("im-conf-factory"))
    }

    /// Adds to `mistakes` what is wrong beyond single values.
    pub(super) fn check(&self, sip: &Sip, mistakes: &mut Mistakes) {
        let own = self.policy(sip).mistakes().into_iter();
        // Those of the exploder are told with its own values.
        for mistake in own.filter(|mistake| !mistake.key.starts_with("explode.")) {
            mistakes.add(&format!("controlling.{}", mistake.key), mistake.fault.to_owned());
        }
        let mut wrong = |key: &str, what: String| {
            mistakes.add(&format!("controlling.{key}"), what);
        };
        let is_sip = |text: &str| Aor::parse(text).is_ok_and(|uri| uri.scheme() == "sip");
        if let Some(factory) = self.factory.as_ref().filter(|factory| !is_sip(factory)) {
            wrong("factory", format!("{factory:?} is no SIP URI"));
        }
        for (key, prefix) in
            [("session_prefix", &self.session_prefix), ("group_prefix", &self.group_prefix)]
        {
            if prefix.is_empty() || !is_sip(&format!("sip:{prefix}0@ims.test")) {
                wrong(key, format!("{prefix:?} is no beginning of a user part"));
            }
        }
        if let Some(domain) = &self.session_domain
            && !is_sip(&format!("sip:{}0@{domain}", self.session_prefix))
        {
            wrong("session_domain", format!("{domain:?} is neither HOST nor HOST:PORT"));
        }
        if let Some(groups) = &self.groups
            && let Err(error) = std::fs::read_dir(groups)
        {
            wrong("groups", format!("{}: {error}", groups.display()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Controlling, Sip};

    /// The defaults written here are those of the function, but for the names of the server.
    #[test]
    fn the_defaults_are_those_of_the_function() {
        let sip = Sip::default();
        let policy = Controlling::default().policy(&sip);
        assert_eq!(policy.mistakes(), []);
        assert_eq!(policy.warning_host, "im.ims.test");
        let theirs = parlance_controlling::Policy::default();
        let named = parlance_controlling::Policy {
            warning_host: policy.warning_host.clone(),
            // What is left to the kind there is said for each kind here.
            release: policy.release,
            ..theirs
        };
        assert_eq!(policy, named);
        assert_eq!(policy.release.chat.left_min, Some(1));
        assert_eq!(policy.release.pre_arranged.creator_leaves, Some(true));
        assert_eq!(Controlling::default().factory(&sip), "sip:im-conf-factory@ims.test");
    }
}
