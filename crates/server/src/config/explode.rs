//! `[explode]`: one message to many.

use parlance_controlling::explode::{ConsentOf, ExplodePolicy};
use parlance_sip::uri::Aor;
use toml::Value;

use super::section::{Setting, leaf, read_leaf, section};
use super::{Controlling, Mistakes, Sip};

section! {
    /// The exploder: a MESSAGE to a list (RFC 5365) or to a group becomes one to each recipient, as
    /// does a large message over MSRP to a list at the conference factory or to a group. It
    /// runs where `[controlling]` is enabled; how long a list may be is said there. Read again on
    /// SIGHUP, but for the URI; a message that is on its way keeps what it began with.
    pub struct Explode {
        /// The exploder: a SIP URI that clients know as `exploder-uri`; without one,
        /// `sip:im-exploder@` and the first domain. Changed by a restart only.
        pub uri: Option<String> = None, example "\"sip:im-exploder@ims.test\"";
        /// Copies of one message that are on their way at once.
        pub outstanding_max: u32 = 50, in 1..=1_000;
        /// Copies of all messages that are on their way at once, on the whole server: as many
        /// MESSAGEs, and as many sessions for large messages. Further ones wait; a copy waits no
        /// longer than its message lives.
        pub in_flight_max: u32 = 2_000, in 1..=100_000;
        /// Messages that are being exploded at once. One more is answered 480 with Retry-After.
        pub explosions_max: u32 = 1_000, in 1..=1_000_000;
        /// Copies a second that one user may have sent for long; 0 for no limit. Beyond it his
        /// message is answered 480 with Retry-After.
        pub copies_per_second: u32 = 5, in 0..=1_000;
        /// Copies that he may have sent at once; not less than a list may have.
        pub copies_burst: u32 = 1_000, in 1..=1_000_000;
        /// Octets of content at most, the list not counted (RFC 3428 §8). More is answered 403.
        pub content_octets_max: u32 = 1_300, in 1..=262_144;
        /// Octets of a copy beyond which the list of the other recipients is left out; raise it
        /// where the core is TCP throughout (RFC 3428 §8).
        pub copy_octets_max: u32 = 1_300, in 0..=262_144;
        /// Octets of a large message at most, which comes over MSRP. More is answered 403 when the
        /// INVITE says so, else the chunk that is too much is answered 413.
        pub large_octets_max: u32 = 1_048_576, in 1..=3_000_000;
        /// Sessions in which large messages come at once, and large messages that are being
        /// exploded at once: with `large_octets_max` it bounds their memory. One more session is
        /// answered 480 with Retry-After, one more message 413.
        pub large_max: u32 = 100, in 1..=100_000;
        /// After how many seconds without a whole message a session for one is ended with BYE: as
        /// long as one may take to come.
        pub large_idle_s: u32 = 300, in 1..=3_600;
        /// In how many seconds a recipient who accepted a large message must have all of it; later
        /// it counts as not delivered.
        pub large_transfer_s: u32 = 600, in 1..=86_400;
        /// Whether what came over MSRP goes as a MESSAGE when it is small enough for one
        /// (`content_octets_max`, `copy_octets_max`); otherwise always over MSRP.
        pub large_as_message: bool = true;
        /// After how many seconds copies that are not sent yet are given up, if the message does
        /// not say less.
        pub give_up_s: u32 = 3_600, in 1..=604_800;
        /// Whose consent a message to a list needs (RFC 5360): `nobody`, `foreign` for recipients
        /// outside of the domains, or `everybody`. Who has not given it makes the message answered
        /// 470. A user of this server gives it with his list of accepted senders, everybody by
        /// `consents`.
        pub consent: ConsentOf = ConsentOf::Nobody;
        /// Who gave it: each a recipient, a space, and a sender. A recipient is a URI or `*@` and a
        /// domain, a sender the URI of a user or of the service that he uses, or `*`. At most
        /// 10000.
        pub consents: Vec<String> = Vec::new();
        /// Whether a copy to a member of a group names the group in `Referred-By`.
        pub referred_by: bool = true;
        /// What a sender is told who wants to know how it went; `{delivered}` and `{recipients}`
        /// stand for numbers.
        pub report_text: String = ExplodePolicy::default().report_text;
        /// What he is told of each recipient of a list, those that were not reached first, as far
        /// as `content_octets_max` allows; `{recipient}` and `{status}` stand for him and for what
        /// became of his copy. Empty: nothing.
        pub report_line: String = ExplodePolicy::default().report_line;
    }
}

leaf!(ConsentOf);

impl Explode {
    /// The policy of the exploder.
    pub(crate) fn policy(&self) -> ExplodePolicy {
        ExplodePolicy {
            outstanding_max: self.outstanding_max,
            in_flight_max: self.in_flight_max,
            explosions_max: self.explosions_max,
            copies_per_second: self.copies_per_second,
            copies_burst: self.copies_burst,
            content_octets_max: self.content_octets_max,
            copy_octets_max: self.copy_octets_max,
            large_octets_max: self.large_octets_max,
            large_max: self.large_max,
            large_idle_s: self.large_idle_s,
            large_transfer_s: self.large_transfer_s,
            large_as_message: self.large_as_message,
            give_up_s: self.give_up_s,
            consent: self.consent,
            consents: self.consents.clone(),
            referred_by: self.referred_by,
            report_text: self.report_text.clone(),
            report_line: self.report_line.clone(),
        }
    }

    /// The identity of the exploder.
    pub(crate) fn identity(&self, sip: &Sip) -> String {
        self.uri.clone().unwrap_or_else(|| sip.service("im-exploder"))
    }

    /// Adds to `mistakes` what is wrong beyond single values.
    pub(super) fn check(&self, sip: &Sip, controlling: &Controlling, mistakes: &mut Mistakes) {
        let policy =
            parlance_controlling::Policy { explode: self.policy(), ..controlling.policy(sip) };
        for mistake in policy.mistakes() {
            if mistake.key.starts_with("explode.") {
                mistakes.add(mistake.key, mistake.fault.to_owned());
            }
        }
        if let Some(uri) = &self.uri
            && !Aor::parse(uri).is_ok_and(|uri| uri.scheme() == "sip")
        {
            mistakes.add("explode.uri", format!("{uri:?} is no SIP URI"));
        }
    }
}

#[cfg(test)]
mod tests {
    use parlance_controlling::explode::ExplodePolicy;

    use super::{Controlling, Explode, Mistakes, Sip};

    /// The defaults written here are those of the function.
    #[test]
    fn the_defaults_are_those_of_the_function() {
        assert_eq!(Explode::default().policy(), ExplodePolicy::default());
        assert_eq!(Explode::default().identity(&Sip::default()), "sip:im-exploder@ims.test");
    }

    #[test]
    fn what_does_not_fit_together_is_told() {
        let mut mistakes = Mistakes::default();
        let (sip, controlling) = (Sip::default(), Controlling::default());
        Explode::default().check(&sip, &controlling, &mut mistakes);
        assert!(mistakes.is_empty(), "{mistakes}");
        let uri = Some("tel:+1".to_owned());
        let wrong = Explode { copies_burst: 1, uri, ..Explode::default() };
        wrong.check(&sip, &controlling, &mut mistakes);
        let told = mistakes.to_string();
        assert!(told.contains("explode.copies_burst") && told.contains("explode.uri"), "{told}");
    }
}
