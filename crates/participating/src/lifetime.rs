//! How long a message may be delivered (RFC 3428 §4: Date and Expires).

use std::time::Duration;

use parlance_sip::Request;
use parlance_sip::header::{Date, Expires, RequestDisposition};
use parlance_store::Millis;

/// How long a message may be delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lifetime {
    /// For as long as anybody keeps it.
    Endless,
    /// Now or never: `Expires: 0`. It is not expired already, but it is never stored.
    Immediate,
    /// Until then.
    Until(Millis),
}

impl Lifetime {
    /// That of `request`, received at `now`: Expires counts from Date, or from its receipt when
    /// Date is missing or unreadable. An unreadable Expires sets no end (RFC 3261 §20.19).
    pub(crate) fn of(request: &Request, now: Millis) -> Self {
        match request.header::<Expires>().ok().flatten() {
            None => Self::Endless,
            Some(Expires(0)) => Self::Immediate,
            Some(Expires(seconds)) => {
                let date = request.header::<Date>().ok().flatten();
                let since =
                    date.map_or(now, |date| Millis(date.epoch_seconds().saturating_mul(1000)));
                Self::Until(since + Duration::from_secs(seconds.into()))
            }
        }
    }

    /// Whether it is over at `now`.
    pub(crate) fn is_over(self, now: Millis) -> bool {
        matches!(self, Self::Until(end) if end <= now)
    }
}

/// Whether the sender wants a message delivered now or never, whatever its lifetime (RFC 3841 §9.1;
/// OMA-TS-SIMPLE_IM §6.1.12.8.1).
pub(crate) fn must_not_queue(request: &Request) -> bool {
    let mut wishes = request.list::<RequestDisposition<'_>>().filter_map(Result::ok);
    wishes.any(|wish| wish == RequestDisposition::NoQueue)
}

#[cfg(test)]
mod tests {
    use parlance_store::Millis;

    use super::Lifetime;
    use crate::tests::request;

    // Covers: CORE-052
    #[test]
    fn date_and_expires_give_an_end() {
        const DATE: &str = "Date: Sat, 13 Nov 2010 23:29:00 GMT\r\n";
        let date = 1_289_690_940_000;
        let now = Millis(date + 5_000);
        #[rustfmt::skip]
        let table = [
            (DATE.to_owned(),                 Lifetime::Endless),
            (format!("{DATE}Expires: 0\r\n"), Lifetime::Immediate),
            (format!("{DATE}Expires: 3\r\n"), Lifetime::Until(Millis(date + 3_000))),
            (format!("{DATE}Expires: 9\r\n"), Lifetime::Until(Millis(date + 9_000))),
            ("Expires: 9\r\n".to_owned(),     Lifetime::Until(Millis(date + 14_000))),
            ("Date: today\r\nExpires: 9\r\n".to_owned(), Lifetime::Until(Millis(date + 14_000))),
            ("Expires: soon\r\n".to_owned(),  Lifetime::Endless),
        ];
        for (headers, expected) in table {
            let request = request(&format!("MESSAGE sip:b@h SIP/2.0\r\n{headers}\r\n"));
            assert_eq!(Lifetime::of(&request, now), expected, "{headers}");
        }
        assert!(Lifetime::Until(now).is_over(now));
        assert!(!Lifetime::Until(now).is_over(Millis(now.0 - 1)));
        assert!(!Lifetime::Immediate.is_over(now) && !Lifetime::Endless.is_over(Millis::MAX));
    }
}
