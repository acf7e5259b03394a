//! Times as XML `dateTime` and RFC 3339 write them.

/// Seconds from 1970 in UTC; a time without a zone counts as UTC. `None` when it is no `dateTime`
/// of the years 1 to 9999 (XML Schema Part 2 §3.2.7; RFC 3339 writes the same).
pub fn seconds(text: &str) -> Option<i64> {
    let (date, rest) = text.trim().split_once('T')?;
    let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
    let (clock, zone) = match rest.find(['Z', '+', '-']) {
        Some(place) => rest.split_at_checked(place)?,
        None => (rest, "Z"),
    };
    let whole = match clock.split_once('.') {
        None => clock,
        Some((whole, fraction)) if is_digits(fraction) => whole,
        Some(_) => return None,
    };
    let [hour, minute, second] = numbers(whole, ':', [2, 2, 2])?;
    let zone = match (zone.split_at_checked(1)?, zone) {
        (_, "Z") => 0,
        ((sign, offset), _) => {
            let [hours, minutes] = numbers(offset, ':', [2, 2])?;
            let within = hours <= 14 && minutes <= 59;
            let seconds = (hours * 60 + minutes) * 60;
            let signed = if sign == "-" { -seconds } else { seconds };
            if within { signed } else { return None }
        }
    };
    // A leap second is the second before it; 24:00:00 is midnight.
    let midnight = (hour, minute, second) == (24, 0, 0);
    if year == 0 || (hour > 23 && !midnight) || minute > 59 || second > 60 {
        return None;
    }
    let days = days(year, month, day)?;
    Some(days * 86_400 + (hour * 60 + minute) * 60 + second.min(59) - zone)
}

/// Seconds from 1970 as RFC 3339 writes them, in UTC; `None` outside the years 1 to 9999.
pub fn text(seconds: i64) -> Option<String> {
    let (day, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // Years that begin in March have the leap day last; 146,097 days are 400 years.
    let shifted = day.checked_add(719_468)?;
    let (era, in_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year = (in_era - in_era / 1460 + in_era / 36_524 - in_era / 146_096) / 365;
    let in_year = in_era - (365 * year + year / 4 - year / 100);
    let month = (5 * in_year + 2) / 153;
    let day = in_year - (153 * month + 2) / 5 + 1;
    let (year, month) = (year + era * 400, if month < 10 { month + 3 } else { month - 9 });
    let year = if month <= 2 { year + 1 } else { year };
    let (hour, minute) = (second / 3600, second / 60 % 60);
    let second = second % 60;
    (1..=9999)
        .contains(&year)
        .then(|| format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z"))
}

/// The day, counted from 1970, in the Gregorian calendar.
fn days(year: i64, month: i64, day: i64) -> Option<i64> {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let length = match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if !(1..=length).contains(&day) {
        return None;
    }
    // Years that begin in March have the leap day last.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let in_year = (153 * month + 2) / 5 + day - 1;
    Some(year * 365 + year / 4 - year / 100 + year / 400 + in_year - 719_468)
}

/// Exactly these numbers, each with so many digits.
fn numbers<const N: usize>(text: &str, between: char, digits: [usize; N]) -> Option<[i64; N]> {
    let mut found = [0; N];
    let mut parts = text.split(between);
    for (number, digits) in found.iter_mut().zip(digits) {
        let part = parts.next().filter(|part| part.len() == digits && is_digits(part))?;
        *number = part.parse().ok()?;
    }
    parts.next().is_none().then_some(found)
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|octet| octet.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{seconds, text};

    #[test]
    fn times_are_read() {
        #[rustfmt::skip]
        let table = [
            ("1970-01-01T00:00:00Z",            Some(0)),
            ("2003-08-15T10:20:00.000-05:00",   Some(1_060_960_800)), // RFC 4745 §7.4
            ("2003-12-24T17:00:00+01:00",       Some(1_072_281_600)), // RFC 4745 §10.3
            (" 2000-02-29T23:59:59Z ",          Some(951_868_799)),
            ("2000-02-29T24:00:00Z",            Some(951_868_800)),
            ("2016-12-31T23:59:60Z",            Some(1_483_228_799)),
            ("0001-01-01T00:00:00Z",            Some(-62_135_596_800)),
            ("9999-12-31T23:59:59",             Some(253_402_300_799)),
            ("1900-02-29T00:00:00Z",            None),
            ("2003-13-01T00:00:00Z",            None),
            ("2003-00-01T00:00:00Z",            None),
            ("2003-01-00T00:00:00Z",            None),
            ("2003-01-01T24:00:01Z",            None),
            ("2003-01-01T00:60:00Z",            None),
            ("2003-01-01T00:00:61Z",            None),
            ("2003-01-01T00:00:00+15:00",       None),
            ("2003-01-01T00:00:00+01",          None),
            ("2003-01-01T00:00:00.Z",           None),
            ("2003-01-01T00:00:00ZZ",           None),
            ("2003-1-01T00:00:00Z",             None),
            ("+003-01-01T00:00:00Z",            None),
            ("0000-01-01T00:00:00Z",            None),
            ("2003-01-01",                      None),
            ("",                                None),
        ];
        for (text, expected) in table {
            assert_eq!(seconds(text), expected, "{text}");
        }
    }

    #[test]
    fn times_are_written() {
        let table = [
            (0, Some("1970-01-01T00:00:00Z")),
            (951_868_799, Some("2000-02-29T23:59:59Z")),
            (1_141_208_130, Some("2006-03-01T10:15:30Z")),
            (-62_135_596_800, Some("0001-01-01T00:00:00Z")),
            (-62_135_596_801, None),
            (253_402_300_799, Some("9999-12-31T23:59:59Z")),
            (253_402_300_800, None),
            (i64::MIN, None),
            (i64::MAX, None),
        ];
        for (time, expected) in table {
            assert_eq!(text(time).as_deref(), expected, "{time}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(time in -62_135_596_800_i64..=253_402_300_799) {
            prop_assert_eq!(text(time).as_deref().and_then(seconds), Some(time));
        }

        #[test]
        fn never_panics(text in "[0-9TZ:.+-]{0,30}", other: String) {
            let _ = (seconds(&text), seconds(&other));
        }

        #[test]
        fn days_follow_one_another(year in 1_i64..=9999, month in 1_i64..=12) {
            let first = super::days(year, month, 1).unwrap();
            let last = (28..=31).filter_map(|day| super::days(year, month, day)).max().unwrap();
            let (year, month) = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
            prop_assert_eq!(super::days(year, month, 1), Some(last + 1));
            prop_assert!(last > first);
        }
    }
}
