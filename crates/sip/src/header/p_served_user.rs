//! `P-Served-User` (RFC 5502 §6).

use super::name_addr::NameAddr;
use super::{Encode, Fault, Sink};

/// Whom an ISC request serves, in which session case and registration state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PServedUser<'a> {
    /// The served user.
    pub address: NameAddr<'a>,
    /// On which side the user stands; `None` when not said.
    pub session_case: Option<SessionCase>,
    /// Whether the user is registered; `None` when not said.
    pub registered: Option<bool>,
}

/// On which side of a request the served user stands: `sescase`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SessionCase {
    /// `orig`: the user sends.
    Originating,
    /// `term`: the user receives.
    Terminating,
}

impl<'a> PServedUser<'a> {
    fn read(value: &'a [u8]) -> Result<Self, Fault> {
        let mut session_case = None;
        let mut registered = None;
        let address = NameAddr::read_each(value, |param| {
            let is = |word| param.value.is_some_and(|value| value.is(word));
            if param.is("sescase") {
                let orig = is("orig").then_some(SessionCase::Originating);
                let case = orig.or(is("term").then_some(SessionCase::Terminating));
                once(&mut session_case, case.ok_or(Fault::Parameter)?)?;
            }
            if param.is("regstate") {
                let state = is("reg").then_some(true).or(is("unreg").then_some(false));
                once(&mut registered, state.ok_or(Fault::Parameter)?)?;
            }
            Ok(())
        })?;
        Ok(Self { address, session_case, registered })
    }
}

fn once<T>(place: &mut Option<T>, value: T) -> Result<(), Fault> {
    if place.replace(value).is_some() { Err(Fault::Repeated) } else { Ok(()) }
}

impl Encode for PServedUser<'_> {
    fn write_to<S: Sink>(&self, out: &mut S) {
        self.address.write_to(out);
    }
}

header!(PServedUser<'a>);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::header::Header;

    #[test]
    fn parses() {
        use SessionCase::{Originating, Terminating};
        #[rustfmt::skip]
        let table = [
            // RFC 5502 §6
            ("<sip:user@example.com>; sescase=orig; regstate=reg", Some(Originating), Some(true)),
            ("<sip:alice@ims.test>;SESCASE=Term;regstate=UNREG", Some(Terminating), Some(false)),
            ("sip:alice@ims.test;sescase=term", Some(Terminating), None),
            ("<tel:+15550000001>;x=y", None, None),
        ];
        for (text, case, registered) in table {
            let served = PServedUser::parse(text.as_bytes()).unwrap();
            assert_eq!((served.session_case, served.registered), (case, registered), "{text}");
            assert_eq!(PServedUser::parse(served.to_string().as_bytes()), Ok(served));
        }
    }

    #[test]
    fn refuses() {
        refuses!(PServedUser, "", Fault::Empty);
        refuses!(PServedUser, "<sip:a@b.c>;sescase=both", Fault::Parameter);
        refuses!(PServedUser, "<sip:a@b.c>;regstate", Fault::Parameter);
        refuses!(PServedUser, "<sip:a@b.c>;sescase=orig;sescase=term", Fault::Repeated);
        refuses!(PServedUser, "<sip:a@b.c>;regstate=reg;regstate=reg", Fault::Repeated);
    }

    proptest! {
        #[test]
        fn display_then_parse_is_identity(
            user in "[a-z]{1,8}",
            params in "(;sescase=(orig|term))?(;regstate=(un)?reg)?(;x)?",
        ) {
            let text = format!("<sip:{user}@ims.test>{params}");
            let served = PServedUser::parse(text.as_bytes()).unwrap();
            prop_assert_eq!(served.to_string(), text);
        }
    }
}
