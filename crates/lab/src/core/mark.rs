//! The mark of the original dialog (TS 24.229 §5.4.3.2), as a Kamailio S-CSCF writes it.

use std::fmt::{self, Write as _};

use parlance_sip::uri::SipUri;

/// The user part by which the core knows its mark.
const USER: &str = "iscmark";

/// On which side a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Case {
    /// The served user sent it.
    Originating,
    /// It goes to the served user.
    Terminating,
    /// It goes to the served user, who is not registered.
    TerminatingUnregistered,
}

impl Case {
    fn number(self) -> u8 {
        match self {
            Self::Originating => 0,
            Self::Terminating => 1,
            Self::TerminatingUnregistered => 2,
        }
    }
}

/// Where a request stands that is with an application server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The priority of the criterion that matched; those behind it are still to come.
    pub priority: u32,
    /// The default handling of that criterion.
    pub handling: u8,
    /// The side.
    pub case: Case,
    /// The served user.
    pub user: String,
}

impl Mark {
    /// Reads the mark off a hop of ours; `None` when it is another.
    pub fn of(uri: &SipUri<'_>) -> Option<Self> {
        if uri.user != Some(USER) {
            return None;
        }
        let number = |name| uri.params.value(name).and_then(|text| text.parse::<u32>().ok());
        let case = match number("d")? {
            0 => Case::Originating,
            1 => Case::Terminating,
            2 => Case::TerminatingUnregistered,
            _ => return None,
        };
        let octets = uri.params.value("a")?.as_bytes().chunks(2).map(|pair| {
            let pair = std::str::from_utf8(pair).ok()?;
            u8::from_str_radix(pair, 16).ok()
        });
        let user = String::from_utf8(octets.collect::<Option<Vec<u8>>>()?).ok()?;
        let handling = u8::try_from(number("h")?).ok()?;
        Some(Self { priority: number("s")?, handling, case, user })
    }

    /// The hop, for a core at `host` (with its port).
    pub fn hop(&self, host: impl fmt::Display) -> String {
        let Self { priority, handling, case, user } = self;
        let case = case.number();
        let mut hop = format!("<sip:{USER}@{host};lr;s={priority};h={handling};d={case};a=");
        for octet in user.bytes() {
            // Writing to a String does not fail.
            let _ = write!(hop, "{octet:02x}");
        }
        hop.push('>');
        hop
    }
}

#[cfg(test)]
mod tests {
    use parlance_sip::uri::Uri;

    use super::{Case, Mark};

    #[test]
    fn a_mark_comes_back_as_it_went() {
        let user = "sip:alice@ims.test".to_owned();
        let mark = Mark { priority: 20, handling: 0, case: Case::Terminating, user };
        let hop = mark.hop("127.0.0.13:6060");
        let captured =
            "<sip:iscmark@127.0.0.13:6060;lr;s=20;h=0;d=1;a=7369703a616c69636540696d732e74657374>";
        assert_eq!(hop, captured);
        let uri = Uri::parse(hop.trim_matches(['<', '>']).as_bytes()).unwrap();
        assert_eq!(Mark::of(uri.as_sip().unwrap()), Some(mark));
        for other in ["sip:h;lr;s=1;h=0;d=0;a=61", "sip:iscmark@h;s=1;h=0;d=7;a=61"] {
            let uri = Uri::parse(other.as_bytes()).unwrap();
            assert_eq!(Mark::of(uri.as_sip().unwrap()), None, "{other}");
        }
    }
}
