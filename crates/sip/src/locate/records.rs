//! NAPTR and SRV records: which apply, and in which order (RFC 2915, RFC 2782).

use super::{RECORDS_MAX, plain};
use crate::Transport;

/// A NAPTR record (RFC 2915 §2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Naptr {
    /// The lowest order is looked at first.
    pub order: u16,
    /// Within an order, the lowest preference first.
    pub preference: u16,
    /// `s` when the replacement names SRV records.
    pub flags: String,
    /// The service, `SIP+D2U`.
    pub services: String,
    /// A rewrite rule; records with one do not apply (RFC 3263 §4.1).
    pub regexp: String,
    /// The name of the SRV records.
    pub replacement: String,
}

/// An SRV record (RFC 2782).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Srv {
    /// The lowest is tried first.
    pub priority: u16,
    /// The share of requests among records of one priority.
    pub weight: u16,
    /// The port.
    pub port: u16,
    /// The host; `.` says that there is no such service.
    pub target: String,
}

/// The random numbers of one search: SplitMix64, for spreading load, not for secrets.
#[derive(Clone, Debug)]
pub(super) struct Dice {
    state: u64,
}

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// A number from 0 to `max`, both included.
    fn up_to(&mut self, max: u32) -> u32 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        u32::try_from(mixed % (u64::from(max) + 1)).unwrap_or(max)
    }
}

/// The transports that NAPTR records offer and the names of their SRV records, in order (§4.1).
///
/// For a `sips` URI only `SIPS` services count. Flags and services are read whatever their case.
pub(super) fn services(mut records: Vec<Naptr>, sips: bool) -> Vec<(Transport, String)> {
    records.sort_by_key(|record| (record.order, record.preference));
    let applies = |record: Naptr| {
        if !record.flags.eq_ignore_ascii_case("s") || !record.regexp.is_empty() {
            return None;
        }
        let transport = match record.services.to_ascii_uppercase().as_str() {
            "SIPS+D2T" => Transport::Tls,
            "SIP+D2T" if !sips => Transport::Tcp,
            "SIP+D2U" if !sips => Transport::Udp,
            _ => return None,
        };
        let name = plain(&record.replacement);
        (!name.is_empty()).then_some((transport, name))
    };
    records.into_iter().filter_map(applies).take(RECORDS_MAX).collect()
}

/// SRV records in the order to try them: by priority, and within one by weight and `dice`
/// (RFC 2782, "Usage rules").
pub(super) fn in_order(mut records: Vec<Srv>, dice: &mut Dice) -> Vec<Srv> {
    // Records of weight 0 stand first, so that they are chosen only when the number is 0.
    records.sort_by_key(|record| (record.priority, record.weight != 0));
    records.truncate(RECORDS_MAX);
    let mut ordered = Vec::with_capacity(records.len());
    while let Some(first) = records.first() {
        let priority = first.priority;
        let group = records.iter().take_while(|record| record.priority == priority);
        let total: u32 = group.map(|record| u32::from(record.weight)).sum();
        let chosen = dice.up_to(total);
        let mut running = 0;
        let position = records.iter().position(|record| {
            running += u32::from(record.weight);
            running >= chosen
        });
        ordered.push(records.remove(position.unwrap_or(0)));
    }
    ordered
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn naptr(order: u16, preference: u16, services: &str, replacement: &str) -> Naptr {
        Naptr {
            order,
            preference,
            flags: "s".to_owned(),
            services: services.to_owned(),
            regexp: String::new(),
            replacement: replacement.to_owned(),
        }
    }

    fn srv(priority: u16, weight: u16, target: &str) -> Srv {
        Srv { priority, weight, port: 5060, target: target.to_owned() }
    }

    // Covers: CORE-014
    #[test]
    fn naptr_records_are_taken_by_order_then_preference() {
        let records = vec![
            naptr(90, 50, "SIP+D2T", "_sip._tcp.example.com."),
            naptr(100, 50, "SIP+D2U", "_sip._udp.example.com."),
            naptr(90, 10, "sip+d2u", "_SIP._udp.first.example.com"),
            naptr(50, 50, "SIPS+D2T", "_sips._tcp.example.com."),
        ];
        let expect = |list: &[(Transport, &str)]| -> Vec<(Transport, String)> {
            list.iter().map(|(transport, name)| (*transport, (*name).to_owned())).collect()
        };
        assert_eq!(
            services(records.clone(), false),
            expect(&[
                (Transport::Tls, "_sips._tcp.example.com"),
                (Transport::Udp, "_sip._udp.first.example.com"),
                (Transport::Tcp, "_sip._tcp.example.com"),
                (Transport::Udp, "_sip._udp.example.com"),
            ])
        );
        assert_eq!(services(records, true), expect(&[(Transport::Tls, "_sips._tcp.example.com")]));
    }

    #[test]
    fn naptr_records_that_do_not_apply_are_dropped() {
        let good = || naptr(1, 1, "SIP+D2U", "_sip._udp.example.com");
        assert_eq!(services(vec![good()], false).len(), 1);
        let table = [
            Naptr { services: "SIP+D2S".to_owned(), ..good() },
            Naptr { services: "SIPS+D2U".to_owned(), ..good() },
            Naptr { services: "E2U+sip".to_owned(), ..good() },
            Naptr { flags: "u".to_owned(), ..good() },
            Naptr { flags: String::new(), ..good() },
            Naptr { regexp: "!.*!sip:x!".to_owned(), ..good() },
            Naptr { replacement: ".".to_owned(), ..good() },
        ];
        for record in table {
            assert_eq!(services(vec![record.clone()], false), [], "{record:?}");
        }
    }

    #[test]
    fn only_so_many_records_are_taken() {
        let many = (0..100).rev();
        let read = services(
            many.clone().map(|order| naptr(order, 0, "SIP+D2U", &format!("n{order}"))).collect(),
            false,
        );
        assert_eq!(read.len(), RECORDS_MAX);
        assert_eq!(read[0].1, "n0");
        let records = many.map(|priority| srv(priority, 1, &format!("n{priority}"))).collect();
        let ordered = in_order(records, &mut Dice::new(1));
        assert_eq!(ordered.len(), RECORDS_MAX);
        assert_eq!(ordered[0].target, "n0");
    }

    // Covers: CORE-014
    #[test]
    fn weights_share_the_load() {
        let records =
            vec![srv(1, 1, "never"), srv(0, 0, "zero"), srv(0, 10, "ten"), srv(0, 30, "30")];
        let mut first = std::collections::BTreeMap::<String, u32>::new();
        for seed in 0..4000 {
            let ordered = in_order(records.clone(), &mut Dice::new(seed));
            assert_eq!(ordered.len(), 4);
            assert_eq!(ordered[3].target, "never");
            *first.entry(ordered[0].target.clone()).or_default() += 1;
        }
        // Of 41 numbers, 1 chooses "zero", 10 "ten" and 30 "30".
        let share = |target: &str| first.get(target).copied().unwrap_or(0);
        assert!((50..=150).contains(&share("zero")), "{first:?}");
        assert!((850..=1100).contains(&share("ten")), "{first:?}");
        assert!((2750..=3100).contains(&share("30")), "{first:?}");
    }

    proptest! {
        #[test]
        fn order_keeps_every_record_and_the_priorities(
            list in prop::collection::vec((0_u16..3, any::<u16>()), 0..RECORDS_MAX), seed: u64
        ) {
            let records: Vec<Srv> = list
                .iter()
                .enumerate()
                .map(|(index, (priority, weight))| srv(*priority, *weight, &index.to_string()))
                .collect();
            let mut ordered = in_order(records.clone(), &mut Dice::new(seed));
            prop_assert!(ordered.is_sorted_by_key(|record| record.priority));
            let index = |record: &Srv| record.target.parse::<usize>().unwrap();
            ordered.sort_by_key(index);
            prop_assert_eq!(ordered, records);
        }

        #[test]
        fn dice_stay_in_range(seed: u64, max: u32) {
            prop_assert!(Dice::new(seed).up_to(max) <= max);
        }
    }
}
