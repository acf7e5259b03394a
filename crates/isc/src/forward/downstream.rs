//! Final responses of the other side: which go back as they are, and what stands for the others.
//!
//! | Request            | 408      | 5xx      | Any other |
//! |--------------------|----------|----------|-----------|
//! | initial            | 480      | 480      | as it is  |
//! | in a dialog        | nothing  | as it is | as it is  |
//! | INVITE in a dialog | as it is | as it is | as it is  |
//!
//! Over ISC a 408 or 5xx to an initial request makes the S-CSCF go on without the server
//! (CORE-063). What is answered inside a dialog is for its other end, and decides no routing; there
//! a 408 to anything but INVITE must not be sent (RFC 4320 §4.2), and nothing else says the same
//! but the timer of the sender.

use parlance_sip::endpoint::is_initial;
use parlance_sip::{HeaderName, Method, Response};

use crate::decision::warning;
use crate::{Incoming, Reply};

/// How the failures of the other side go back.
#[derive(Clone, Copy, Debug)]
pub struct Downstream<'a> {
    /// Whether a 5xx goes back as it is. Default false.
    pub relay_5xx: bool,
    /// The host in Warning. Default `im.invalid`.
    pub host: &'a str,
    /// The text of Warning 399; `{n}` is the status code. Default `Downstream answered {n}`.
    pub text: &'a str,
}

impl Default for Downstream<'_> {
    fn default() -> Self {
        Self { relay_5xx: false, host: "im.invalid", text: "Downstream answered {n}" }
    }
}

/// What becomes of a final response to an initial request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It goes back as it is.
    Relay,
    /// It goes back as a 480 that names it: [`Downstream::reply`].
    Convert,
}

impl Downstream<'_> {
    /// What becomes of a final response with this status to an initial request.
    pub fn fate(self, status: u16) -> Fate {
        match status {
            408 => Fate::Convert,
            500..600 if !self.relay_5xx => Fate::Convert,
            _ => Fate::Relay,
        }
    }

    /// The 480 that stands for a response with this status.
    pub fn reply(self, status: u16) -> Reply {
        let text = self.text.replace("{n}", &status.to_string());
        Reply::new(480).with(HeaderName::Warning, warning(399, self.host, &text))
    }

    /// Sends a final response back, or what stands for it.
    pub(super) fn finish(self, incoming: Incoming, response: &Response) {
        let status = response.status();
        let is_invite = incoming.request().method() == Method::Invite;
        match self.fate(status) {
            Fate::Relay => incoming.relay(response),
            Fate::Convert if is_initial(incoming.request()) => incoming.reply(&self.reply(status)),
            Fate::Convert if status == 408 && !is_invite => incoming.abandon(),
            Fate::Convert => incoming.relay(response),
        }
    }
}

#[cfg(test)]
mod tests {
    use parlance_sip::HeaderName;

    use super::{Downstream, Fate};

    // Covers: CORE-061, CORE-063, PF-020
    #[test]
    fn what_would_bypass_the_server_is_converted() {
        let by_default = Downstream::default();
        let as_is = Downstream { relay_5xx: true, ..by_default };
        #[rustfmt::skip]
        let table = [
            (200, Fate::Relay,   Fate::Relay),
            (202, Fate::Relay,   Fate::Relay),
            (302, Fate::Relay,   Fate::Relay),
            (404, Fate::Relay,   Fate::Relay),
            (408, Fate::Convert, Fate::Convert),
            (480, Fate::Relay,   Fate::Relay),
            (499, Fate::Relay,   Fate::Relay),
            (500, Fate::Convert, Fate::Relay),
            (503, Fate::Convert, Fate::Relay),
            (599, Fate::Convert, Fate::Relay),
            (600, Fate::Relay,   Fate::Relay),
            (603, Fate::Relay,   Fate::Relay),
        ];
        for (status, usual, relayed) in table {
            assert_eq!(by_default.fate(status), usual, "{status}");
            assert_eq!(as_is.fate(status), relayed, "{status}");
        }
    }

    #[test]
    fn the_480_names_what_it_stands_for() {
        let downstream = Downstream { host: "im.test", text: "say \"{n}\"", ..Default::default() };
        let reply = downstream.reply(503);
        assert_eq!(reply.status, 480);
        let warning = r#"399 im.test "say \"503\"""#.to_owned();
        assert_eq!(reply.headers, [(HeaderName::Warning, warning)]);
    }
}
