//! `[settings]`: what users publish about their service.

use parlance_participating::{Policy, SettingsPolicy};

use super::section::section;
use super::{Config, Mistakes};

section! {
    /// Service settings that users publish: PUBLISH to their own address, with a document of type
    /// application/vnd.oma.im.service-settings+xml (OMA-TS-SIMPLE_IM §6.1.2, §7.2.3.16; RFC 3903).
    /// They go before those of the profile until they run out, are removed, or the user is no
    /// longer registered. Read again on SIGHUP.
    pub struct Settings {
        /// Whether they are taken; otherwise such a PUBLISH is passed on like any other.
        pub enabled: bool = true;
        /// The event package of such a PUBLISH; the specification leaves the name open. The filter
        /// criteria have it too: see `parlance ifc`.
        pub event: String = SettingsPolicy::default().event;
        /// Seconds that settings last whose PUBLISH asks for no time.
        pub expires_default_s: u32 = 3_600, in 1..=2_592_000;
        /// Seconds that they last at least: a PUBLISH that asks for less is answered 423.
        pub expires_min_s: u32 = 60, in 1..=2_592_000;
        /// Seconds that they last at most; a PUBLISH that asks for more gets so many.
        pub expires_max_s: u32 = 86_400, in 1..=2_592_000;
    }
}

impl Config {
    /// The policy of the participating function, of this section and its own, and with the
    /// conference factory of a third.
    pub(crate) fn participating_policy(&self) -> Policy {
        let Settings { event, expires_default_s, expires_min_s, expires_max_s, .. } =
            &self.settings;
        let settings = SettingsPolicy {
            event: event.clone(),
            expires_default_s: *expires_default_s,
            expires_min_s: *expires_min_s,
            expires_max_s: *expires_max_s,
        };
        let mut policy = Policy { settings, ..self.participating.policy(&self.sip) };
        let has_factory = self.controlling.enabled;
        policy.pre_established.factory = has_factory.then(|| self.controlling.factory(&self.sip));
        policy
    }

    /// Adds to `mistakes` what is wrong with the policy of the participating function.
    pub(super) fn check_participating(&self, mistakes: &mut Mistakes) {
        for mistake in self.participating_policy().mistakes() {
            let key = match mistake.key.strip_prefix("settings.") {
                Some(key) => format!("settings.{key}"),
                None => format!("participating.{}", mistake.key),
            };
            mistakes.add(&key, mistake.fault.to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use parlance_participating::SettingsPolicy;

    use super::super::Config;

    /// The defaults written here are those of the function.
    #[test]
    fn the_defaults_are_those_of_the_function() {
        let config = Config::default();
        assert_eq!(config.participating_policy().settings, SettingsPolicy::default());
    }

    #[test]
    fn what_does_not_fit_together_is_told() {
        let text = "[settings]\nevent = \"a b\"\nexpires_min_s = 7200\n";
        let (config, mut mistakes) = Config::parse(text, std::iter::empty());
        config.check(&mut mistakes);
        let told = mistakes.to_string();
        assert!(told.contains("settings.event"), "{told}");
        assert!(told.contains("settings.expires_default_s"), "{told}");
        assert!(!told.contains("participating"), "{told}");
    }
}
