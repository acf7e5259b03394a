//! How the operator wants groups and conferences: the section `[controlling]` of the configuration.

use serde::{Deserialize, Serialize};

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

/// The texts of `Warning: 399` (RFC 3261 §20.43).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Warnings {
    /// The user may not do this. Default `100 Function not allowed`.
    pub not_allowed: String,
    /// The list, or the session, is too large. Default `102 Too many participants`.
    pub too_many: String,
    /// The user has as many sessions as he may. Default
    /// `103 Maximum number of sessions reached`.
    pub sessions: String,
    /// The user may not see the participants. Default
    /// `105 Subscription of conference state not allowed`.
    pub conference_state: String,
    /// A group calls a group. Default `A group cannot be a member of a group`.
    pub nested: String,
}

impl Default for Warnings {
    fn default() -> Self {
        Self {
            not_allowed: "100 Function not allowed".to_owned(),
            too_many: "102 Too many participants".to_owned(),
            sessions: "103 Maximum number of sessions reached".to_owned(),
            conference_state: "105 Subscription of conference state not allowed".to_owned(),
            nested: "A group cannot be a member of a group".to_owned(),
        }
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
    /// What somebody is answered who wants to stay anonymous where nobody may. Default
    /// `forbidden`, 403.
    pub anonymous_answer: AnonymousAnswer,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            warning_host: "im.invalid".to_owned(),
            warnings: Warnings::default(),
            adhoc_group_size_max: 50,
            anonymous_answer: AnonymousAnswer::default(),
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

impl Policy {
    /// Everything that is wrong with the values; empty when they can be used.
    pub fn mistakes(&self) -> Vec<PolicyMistake> {
        let is_line = |text: &&String| !text.chars().any(char::is_control);
        let is_word = |text: &str| {
            !text.is_empty() && !text.chars().any(|c| c.is_whitespace() || c.is_control())
        };
        let texts = [
            &self.warnings.not_allowed,
            &self.warnings.too_many,
            &self.warnings.sessions,
            &self.warnings.conference_state,
            &self.warnings.nested,
        ];
        #[rustfmt::skip]
        let rules = [
            ("warning_host", is_word(&self.warning_host), "must be a host name"),
            ("warnings", texts.iter().all(is_line), "must be texts of one line"),
            ("adhoc_group_size_max", (1..=1000).contains(&self.adhoc_group_size_max),
                "must be 1 to 1000"),
        ];
        let wrong = rules.into_iter().filter(|(_, holds, _)| !holds);
        wrong.map(|(key, _, fault)| PolicyMistake { key, fault }).collect()
    }

    /// The value of a Warning with `text` (RFC 3261 §20.43).
    pub fn warning(&self, text: &str) -> String {
        let quoted = text.replace('\\', "\\\\").replace('"', "\\\"");
        format!("399 {} \"{quoted}\"", self.warning_host)
    }
}

#[cfg(test)]
mod tests {
    use super::{Policy, Warnings};

    #[test]
    fn an_empty_section_is_the_default() {
        let read: Policy = serde_json::from_str("{}").unwrap();
        assert_eq!(read, Policy::default());
        assert_eq!(read.mistakes(), []);
        assert!(serde_json::from_str::<Policy>(r#"{"adhoc_group_size":1}"#).is_err());
    }

    #[test]
    fn every_mistake_is_told() {
        let policy = Policy {
            warning_host: "two words".into(),
            warnings: Warnings { nested: "a\nb".into(), ..Warnings::default() },
            adhoc_group_size_max: 1001,
            ..Policy::default()
        };
        let keys: Vec<_> = policy.mistakes().iter().map(|mistake| mistake.key).collect();
        assert_eq!(keys, ["warning_host", "warnings", "adhoc_group_size_max"]);
    }

    #[test]
    fn a_warning_is_quoted() {
        let policy = Policy { warning_host: "im.ims.test".into(), ..Policy::default() };
        assert_eq!(policy.warning("say \"no\""), r#"399 im.ims.test "say \"no\"""#);
    }
}
