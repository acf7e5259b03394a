//! `Date` (RFC 3261 §20.17).

use super::{Encode, Fault, Sink};
use crate::grammar::{self, Scanner};

/// A point in time in whole seconds since 1970-01-01 00:00:00 UTC, leap seconds not counted.
///
/// The years 1970 to 9999 can be written; a weekday that does not fit the date is accepted, since
/// nothing depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Date(u64);

/// From Thursday, the first day of 1970.
const WEEKDAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const DAY: u64 = 24 * 60 * 60;
/// Days before each month of a year that begins in March, so that a leap day comes last.
const MARCH_BASED: [u64; 12] = [0, 31, 61, 92, 122, 153, 184, 214, 245, 275, 306, 337];
/// Days from 0000-03-01 to 1970-01-01.
const EPOCH_DAYS: u64 = 719_468;
/// 10000-01-01 00:00:00 UTC, the first date that cannot be written.
const END: u64 = 253_402_300_800;

impl Date {
    /// The date so many seconds after the epoch; `None` from the year 10000 on.
    pub fn from_epoch_seconds(seconds: u64) -> Option<Self> {
        (seconds < END).then_some(Self(seconds))
    }

    /// Seconds since 1970-01-01 00:00:00 UTC.
    pub fn epoch_seconds(self) -> u64 {
        self.0
    }

    fn read(value: &[u8]) -> Result<Self, Fault> {
        let value = grammar::trim(value);
        if value.is_empty() {
            return Err(Fault::Empty);
        }
        Self::scan(&mut Scanner::new(value)).ok_or(Fault::Date)
    }

    /// `wkday "," SP 2DIGIT SP month SP 4DIGIT SP time SP "GMT"`; more white space is let pass.
    fn scan(scanner: &mut Scanner<'_>) -> Option<Self> {
        let weekday = scanner.token()?;
        if !WEEKDAYS.iter().any(|known| known.eq_ignore_ascii_case(weekday)) {
            return None;
        }
        scanner.separator(b',').then_some(())?;
        let day = digits(scanner, 2)?;
        scanner.lws().then_some(())?;
        let name = scanner.token()?;
        let month = MONTHS.iter().position(|known| known.eq_ignore_ascii_case(name))?;
        scanner.lws().then_some(())?;
        let year = digits(scanner, 4)?;
        scanner.lws().then_some(())?;
        let hour = digits(scanner, 2)?;
        scanner.eat(b':').then_some(())?;
        let minute = digits(scanner, 2)?;
        scanner.eat(b':').then_some(())?;
        let second = digits(scanner, 2)?;
        scanner.lws().then_some(())?;
        let gmt = scanner.token()?.eq_ignore_ascii_case("GMT") && scanner.is_empty();
        let month = u64::try_from(month).ok()?;
        let days = days_of(year, month, day)?;
        // A leap second, 60, is the first of the next minute.
        (gmt && hour < 24 && minute < 60 && second <= 60).then_some(())?;
        Self::from_epoch_seconds(days * DAY + hour * 3600 + minute * 60 + second)
    }
}

/// Exactly `count` digits.
fn digits(scanner: &mut Scanner<'_>, count: usize) -> Option<u64> {
    let taken = scanner.take_while(|octet| octet.is_ascii_digit());
    if taken.len() == count { grammar::decimal(taken) } else { None }
}

/// Days since the epoch of a date of the Gregorian calendar; the month counts from 0.
fn days_of(year: u64, month: u64, day: u64) -> Option<u64> {
    let is_leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let length = match month {
        1 if is_leap => 29,
        1 => 28,
        3 | 5 | 8 | 10 => 30,
        _ => 31,
    };
    if year < 1970 || day == 0 || day > length {
        return None;
    }
    let (year, month) = if month < 2 { (year - 1, month + 10) } else { (year, month - 2) };
    let before = MARCH_BASED.get(usize::try_from(month).ok()?)?;
    Some(year * 365 + year / 4 - year / 100 + year / 400 + before + day - 1 - EPOCH_DAYS)
}

/// Year, month from 0 and day of so many days since the epoch.
fn date_of(days: u64) -> (u64, usize, u64) {
    let days = days + EPOCH_DAYS;
    let era = days / 146_097;
    let of_era = days % 146_097;
    // Days without the leap days before them are whole years of 365.
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (year * 365 + year / 4 - year / 100);
    let month = MARCH_BASED.iter().rposition(|&before| before <= of_year).unwrap_or_default();
    let day = of_year - MARCH_BASED.get(month).copied().unwrap_or_default() + 1;
    let year = era * 400 + year;
    if month < 10 { (year, month + 2, day) } else { (year + 1, month - 10, day) }
}

impl Encode for Date {
    fn write_to<S: Sink>(&self, out: &mut S) {
        let (days, of_day) = (self.0 / DAY, self.0 % DAY);
        let (year, month, day) = date_of(days);
        let weekday = WEEKDAYS.iter().cycle().nth(usize::try_from(days % 7).unwrap_or_default());
        let month = MONTHS.get(month).copied().unwrap_or_default();
        // By hand: a message without Date gets one here, and `format!` takes ten times as long.
        let mut text = *b"Thu, 01 Jan 1970 00:00:00 GMT";
        let fields = [
            (0, weekday.copied().unwrap_or_default().as_bytes()),
            (5, &two_digits(day)),
            (8, month.as_bytes()),
            (12, &two_digits(year / 100)),
            (14, &two_digits(year % 100)),
            (17, &two_digits(of_day / 3600)),
            (20, &two_digits(of_day / 60 % 60)),
            (23, &two_digits(of_day % 60)),
        ];
        for (at, field) in fields {
            if let Some(place) = text.get_mut(at..at + field.len()) {
                place.copy_from_slice(field);
            }
        }
        out.text(str::from_utf8(&text).unwrap_or_default());
    }
}

/// A number below 100.
fn two_digits(number: u64) -> [u8; 2] {
    [number / 10 % 10, number % 10].map(|digit| b'0' + digit as u8)
}

header!(Date);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::header::Header;

    #[test]
    fn parses() {
        #[rustfmt::skip]
        let table = [
            ("Sat, 13 Nov 2010 23:29:00 GMT", 1_289_690_940), // RFC 3261 §20.17
            ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
            ("Tue, 29 Feb 2000 12:00:00 GMT", 951_825_600),
            ("Wed, 31 Dec 2008 23:59:59 GMT", 1_230_767_999),
            ("Fri, 31 Dec 9999 23:59:59 GMT", END - 1),
            ("Mon, 01 Mar 2100 00:00:00 GMT", 4_107_542_400),
        ];
        for (text, seconds) in table {
            let date = Date::parse(text.as_bytes()).unwrap();
            assert_eq!(date.epoch_seconds(), seconds, "{text}");
            assert_eq!(date.to_string(), text);
        }
        accepts!(Date, "fri,\r\n 13 nov 2010  23:29:00 gmt", "Sat, 13 Nov 2010 23:29:00 GMT");
        accepts!(Date, "Wed, 31 Dec 2008 23:59:60 GMT", "Thu, 01 Jan 2009 00:00:00 GMT");
        assert_eq!(Date::from_epoch_seconds(END), None);
    }

    #[test]
    fn refuses() {
        refuses!(Date, "", Fault::Empty);
        for text in [
            "Fri, 01 Jan 2010 16:00:00 EST", // RFC 4475 §3.1.2.12
            "Fri, 1 Jan 2010 16:00:00 GMT",
            "Foo, 01 Jan 2010 16:00:00 GMT",
            "Fri, 01 Foo 2010 16:00:00 GMT",
            "Fri, 29 Feb 2010 16:00:00 GMT",
            "Fri, 31 Apr 2010 16:00:00 GMT",
            "Fri, 00 Jan 2010 16:00:00 GMT",
            "Fri, 01 Jan 1969 16:00:00 GMT",
            "Fri, 01 Jan 2010 24:00:00 GMT",
            "Fri, 01 Jan 2010 16:60:00 GMT",
            "Fri, 01 Jan 2010 16:00:61 GMT",
            "Fri, 01 Jan 2010 16:00 GMT",
            "Fri, 01 Jan 2010 16:00:00 GMT+1",
            "Fri, 01 Jan 2010 16:00:00 GMT x",
            "1289690940",
        ] {
            refuses!(Date, text, Fault::Date);
        }
    }

    proptest! {
        #[test]
        fn display_then_parse_is_identity(seconds in 0..END) {
            let date = Date::from_epoch_seconds(seconds).unwrap();
            prop_assert_eq!(Date::parse(date.to_string().as_bytes()), Ok(date));
        }

        #[test]
        fn days_follow_each_other(days in 0u64..2_932_896) {
            let (year, month, day) = date_of(days);
            let (next_year, next_month, next_day) = date_of(days + 1);
            let rolls = next_day == 1 && (next_month == (month + 1) % 12);
            prop_assert!(next_day == day + 1 && next_month == month || rolls);
            prop_assert_eq!(next_year, year + u64::from(rolls && next_month == 0));
        }
    }
}
