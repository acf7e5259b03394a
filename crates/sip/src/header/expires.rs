//! Headers of time spans: `Expires`, `Min-Expires` (RFC 3261 §20.19, §20.23), `Session-Expires`,
//! `Min-SE` (RFC 4028 §4, §5) and `Retry-After` (RFC 3261 §20.33).

use super::params::Params;
use super::{Encode, Fault, Sink};
use crate::grammar::{self, Scanner};

/// How long something holds, in seconds: a registration, a subscription, a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Expires(pub u32);

impl Expires {
    /// What a number over 32 bits counts as: an hour (RFC 4475 §3.1.2.4).
    pub const FALLBACK: Self = Self(3600);

    fn read(value: &[u8]) -> Result<Self, Fault> {
        let seconds = super::count::number(value)?;
        Ok(seconds.try_into().map_or(Self::FALLBACK, Self))
    }
}

impl Encode for Expires {
    fn write_to<S: Sink>(&self, out: &mut S) {
        out.show(self.0);
    }
}

header!(Expires);

/// The shortest time a 423 asks for, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MinExpires(pub u32);

impl MinExpires {
    fn read(value: &[u8]) -> Result<Self, Fault> {
        super::count::number(value)?.try_into().map(Self).map_err(|_| Fault::Range)
    }
}

impl Encode for MinExpires {
    fn write_to<S: Sink>(&self, out: &mut S) {
        out.show(self.0);
    }
}

header!(MinExpires);

/// Which side refreshes a session (RFC 4028 §4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refresher {
    /// The sender of the request.
    Uac,
    /// The sender of the response.
    Uas,
}

impl Refresher {
    /// The value of the `refresher` parameter.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Uac => "uac",
            Self::Uas => "uas",
        }
    }
}

/// How long a session lives without a refresh (RFC 4028 §4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionExpires<'a> {
    /// The interval in seconds.
    pub seconds: u32,
    refresher: Option<Refresher>,
    /// As read, `refresher` among them; empty in an interval of our own.
    params: Params<'a>,
}

impl<'a> SessionExpires<'a> {
    /// An interval of our own.
    pub fn new(seconds: u32, refresher: Option<Refresher>) -> Self {
        Self { seconds, refresher, params: Params::default() }
    }

    /// Who refreshes; `None` leaves it to the other side.
    pub fn refresher(&self) -> Option<Refresher> {
        self.refresher
    }

    fn read(value: &'a [u8]) -> Result<Self, Fault> {
        let mut refresher = None;
        let (seconds, params) = delta_and_rest(value)?;
        let params = Params::parse_each(params, |param| {
            if !param.is("refresher") {
                return Ok(());
            }
            let value = param.value.ok_or(Fault::Parameter)?;
            let known = [Refresher::Uac, Refresher::Uas];
            let side = known.into_iter().find(|side| value.is(side.as_str()));
            if refresher.replace(side.ok_or(Fault::Parameter)?).is_some() {
                return Err(Fault::Repeated);
            }
            Ok(())
        })?;
        Ok(Self { seconds, refresher, params })
    }
}

impl Encode for SessionExpires<'_> {
    fn write_to<S: Sink>(&self, out: &mut S) {
        out.show(self.seconds);
        self.params.write_to(out);
        if let Some(refresher) = self.refresher.filter(|_| self.params.is_empty()) {
            out.text(";refresher=");
            out.text(refresher.as_str());
        }
    }
}

header!(SessionExpires<'a>);

/// The shortest session interval allowed, in seconds; parameters are dropped, none is defined
/// (RFC 4028 §5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MinSe(pub u32);

impl MinSe {
    /// The least anybody may ask for: 90 s (RFC 4028 §5).
    pub const LEAST: Self = Self(90);

    fn read(value: &[u8]) -> Result<Self, Fault> {
        let (seconds, params) = delta_and_rest(value)?;
        Params::parse(params)?;
        Ok(Self(seconds))
    }
}

impl Encode for MinSe {
    fn write_to<S: Sink>(&self, out: &mut S) {
        out.show(self.0);
    }
}

header!(MinSe);

/// When to try again (RFC 3261 §20.33). The comment is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryAfter<'a> {
    /// The time to wait in seconds.
    pub seconds: u32,
    /// `duration` and others.
    pub params: Params<'a>,
}

impl<'a> RetryAfter<'a> {
    /// A time to wait without parameters.
    pub fn new(seconds: u32) -> Self {
        Self { seconds, params: Params::default() }
    }

    fn read(value: &'a [u8]) -> Result<Self, Fault> {
        let (seconds, rest) = delta_and_rest(value)?;
        let mut scanner = Scanner::new(rest);
        scanner.lws();
        scanner.comment();
        Ok(Self { seconds, params: Params::parse(scanner.rest())? })
    }
}

impl Encode for RetryAfter<'_> {
    fn write_to<S: Sink>(&self, out: &mut S) {
        out.show(self.seconds);
        self.params.write_to(out);
    }
}

header!(RetryAfter<'a>);

/// `delta-seconds` of 32 bits and what follows.
fn delta_and_rest(value: &[u8]) -> Result<(u32, &[u8]), Fault> {
    let mut scanner = Scanner::new(grammar::trim(value));
    if scanner.is_empty() {
        return Err(Fault::Empty);
    }
    let seconds = scanner.number().ok_or(Fault::Number)?;
    Ok((seconds.try_into().map_err(|_| Fault::Range)?, scanner.rest()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::header::Header;

    #[test]
    fn parses() {
        accepts!(Expires, "5"); // RFC 3261 §20.19
        accepts!(Expires, "4294967295");
        accepts!(Expires, "4294967296", "3600"); // RFC 4475 §3.1.2.4
        accepts!(MinExpires, "60"); // RFC 3261 §20.23
        accepts!(SessionExpires, "4000;refresher=uac"); // RFC 4028 §4
        accepts!(SessionExpires, "1800 ; x=y ;REFRESHER = UAS", "1800; x=y ;REFRESHER = UAS");
        accepts!(SessionExpires, "90");
        accepts!(MinSe, "120");
        accepts!(MinSe, "90;x=1", "90");
        accepts!(RetryAfter, "18000;duration=3600"); // RFC 3261 §20.33
        accepts!(RetryAfter, "120 (I'm in a (short) meeting)", "120"); // RFC 3261 §20.33
        accepts!(RetryAfter, "120 (meeting) ;duration=9", "120;duration=9");
        let expires = SessionExpires::parse(b"1800;refresher=uas").unwrap();
        assert_eq!((expires.seconds, expires.refresher()), (1800, Some(Refresher::Uas)));
    }

    #[test]
    fn refuses() {
        refuses!(Expires, "", Fault::Empty);
        refuses!(Expires, "-1", Fault::Number);
        refuses!(Expires, "Sat, 01 Dec 2001 16:00:00 GMT", Fault::Number);
        refuses!(MinExpires, "4294967296", Fault::Range);
        refuses!(SessionExpires, "4294967296", Fault::Range);
        refuses!(SessionExpires, "x", Fault::Number);
        refuses!(SessionExpires, "90;refresher=proxy", Fault::Parameter);
        refuses!(SessionExpires, "90;refresher", Fault::Parameter);
        refuses!(SessionExpires, "90;refresher=uac;refresher=uas", Fault::Repeated);
        refuses!(SessionExpires, "90 91", Fault::Syntax);
        refuses!(MinSe, "90;", Fault::Parameter);
        refuses!(RetryAfter, "10 (open", Fault::Syntax);
    }

    proptest! {
        #[test]
        fn display_then_parse_is_identity(seconds: u32, side in 0..3) {
            let refresher = [None, Some(Refresher::Uac), Some(Refresher::Uas)][side as usize];
            let text = SessionExpires::new(seconds, refresher).to_string();
            let read = SessionExpires::parse(text.as_bytes()).unwrap();
            prop_assert_eq!((read.seconds, read.refresher()), (seconds, refresher));
            let text = Expires(seconds).to_string();
            prop_assert_eq!(Expires::parse(text.as_bytes()), Ok(Expires(seconds)));
        }
    }
}
