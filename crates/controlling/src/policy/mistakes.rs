//! What values a [`Policy`] cannot have.

use parlance_sip::sdp::MediaRanges;

use super::Policy;

/// A value of [`Policy`] that cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {fault}")]
pub struct PolicyMistake {
    /// The key within the section.
    pub key: &'static str,
    /// What is wrong with it.
    pub fault: &'static str,
}

impl Policy {
    /// Everything that is wrong with the values; empty when they can be used.
    pub fn mistakes(&self) -> Vec<PolicyMistake> {
        let mut rules = self.texts();
        rules.extend(self.numbers());
        rules.extend(self.explode.rules(self.adhoc_group_size_max));
        let wrong = rules.into_iter().filter(|(_, holds, _)| !holds);
        wrong.map(|(key, _, fault)| PolicyMistake { key, fault }).collect()
    }

    fn texts(&self) -> Vec<(&'static str, bool, &'static str)> {
        let is_line = |text: &&String| !text.chars().any(char::is_control);
        let is_word = |text: &str| {
            !text.is_empty() && !text.chars().any(|c| c.is_whitespace() || c.is_control())
        };
        let texts = [
            &self.warnings.not_allowed,
            &self.warnings.too_many,
            &self.warnings.sessions,
            &self.warnings.conference_state,
            &self.warnings.size_exceeded,
            &self.warnings.nested,
        ];
        let ioi = self.ioi.as_deref().unwrap_or("x");
        let nickname = |name: &String| parlance_msrp::switch::Nickname::new(name).is_ok();
        #[rustfmt::skip]
        let rules = vec![
            ("warning_host", is_word(&self.warning_host), "must be a host name"),
            ("warnings", texts.iter().all(is_line), "must be texts of one line"),
            ("wrapped_types", self.wrapped_types.parse::<MediaRanges>().is_ok(),
                "must be media types"),
            ("reserved_nicknames", self.reserved_nicknames.iter().all(nickname),
                "must be nicknames"),
            ("ioi", is_word(ioi) && !ioi.contains(['"', ';']), "must be a name"),
        ];
        rules
    }

    fn numbers(&self) -> Vec<(&'static str, bool, &'static str)> {
        let timer = 90..=86_400;
        let left = [
            self.release.one_to_one,
            self.release.ad_hoc,
            self.release.pre_arranged,
            self.release.chat,
        ];
        #[rustfmt::skip]
        let rules = vec![
            ("adhoc_group_size_max", (1..=1000).contains(&self.adhoc_group_size_max),
                "must be 1 to 1000"),
            ("participants_max", (2..=1000).contains(&self.participants_max),
                "must be 2 to 1000"),
            ("sessions_per_user_max", self.sessions_per_user_max > 0, "must be at least 1"),
            ("sessions_max", self.sessions_max > 0, "must be at least 1"),
            ("retry_after_s", self.retry_after_s > 0, "must be at least 1"),
            ("ring_s", (1..=600).contains(&self.ring_s), "must be 1 to 600"),
            ("progress_repeat_s", (1..=60).contains(&self.progress_repeat_s), "must be 1 to 60"),
            ("release", left.iter().all(|rule| rule.left_min != Some(0)), "must be at least 1"),
            ("reconnect_s", self.reconnect_s <= 600, "must be 0 to 600"),
            ("group_refresh_s", self.group_refresh_s > 0, "must be at least 1"),
            ("message_octets_max", self.message_octets_max > 0, "must be at least 1"),
            ("session_expires_s", timer.contains(&self.session_expires_s)
                && self.session_expires_s >= self.session_expires_s_min,
                "must be 90 to 86400, and not below session_expires_s_min"),
            ("session_expires_s_min", timer.contains(&self.session_expires_s_min),
                "must be 90 to 86400"),
            ("subscription_s", (60..=86_400).contains(&self.subscription_s)
                && self.subscription_s >= self.subscription_s_min,
                "must be 60 to 86400, and not below subscription_s_min"),
            ("subscription_s_min", self.subscription_s_min <= 3600, "must be 0 to 3600"),
            ("notify_pace_s", (1..=60).contains(&self.notify_pace_s), "must be 1 to 60"),
            ("watchers_max", self.watchers_max > 0, "must be at least 1"),
        ];
        rules
    }
}

#[cfg(test)]
mod tests {
    use crate::policy::{Policy, ReleasePolicies, ReleasePolicy, Warnings};

    #[test]
    fn every_mistake_is_told() {
        let chat = ReleasePolicy { left_min: Some(0), ..ReleasePolicy::default() };
        let policy = Policy {
            warning_host: "two words".into(),
            warnings: Warnings { nested: "a\nb".into(), ..Warnings::default() },
            wrapped_types: "text".into(),
            reserved_nicknames: vec![String::new()],
            ioi: Some("a b".into()),
            adhoc_group_size_max: 1001,
            participants_max: 1,
            sessions_per_user_max: 0,
            sessions_max: 0,
            retry_after_s: 0,
            ring_s: 601,
            progress_repeat_s: 61,
            release: ReleasePolicies { chat, ..ReleasePolicies::default() },
            reconnect_s: 601,
            group_refresh_s: 0,
            message_octets_max: 0,
            session_expires_s: 100,
            session_expires_s_min: 89,
            subscription_s: 59,
            subscription_s_min: 3601,
            notify_pace_s: 0,
            watchers_max: 0,
            ..Policy::default()
        };
        let keys: Vec<_> = policy.mistakes().iter().map(|mistake| mistake.key).collect();
        let expected = [
            "warning_host",
            "warnings",
            "wrapped_types",
            "reserved_nicknames",
            "ioi",
            "adhoc_group_size_max",
            "participants_max",
            "sessions_per_user_max",
            "sessions_max",
            "retry_after_s",
            "ring_s",
            "progress_repeat_s",
            "release",
            "reconnect_s",
            "group_refresh_s",
            "message_octets_max",
            "session_expires_s_min",
            "subscription_s",
            "subscription_s_min",
            "notify_pace_s",
            "watchers_max",
            // A list may be longer than a user may send copies at once.
            "explode.copies_burst",
        ];
        assert_eq!(keys, expected);
    }
}
