//! How fast an untrusted source may send (SEC-012): one token bucket for each address.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use tokio::time::Instant;

use crate::RateLimit;

/// The buckets of all sources.
///
/// A source starts with a full bucket, so a full bucket need not be remembered: when the table is
/// full, those are dropped. If none is, further sources share one bucket, so that an attacker who
/// invents addresses starves other strangers but neither memory nor the known ones.
#[derive(Debug)]
pub(crate) struct Buckets {
    limit: RateLimit,
    sources: HashMap<IpAddr, Bucket>,
    shared: Option<Bucket>,
    swept: Option<Instant>,
}

/// How often a full table is searched for buckets that filled up again: each search costs time in
/// proportion to the table.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug)]
struct Bucket {
    /// When the bucket is full again; the one number that says how full it is.
    full_at: Instant,
}

impl Bucket {
    fn is_full(&self, now: Instant) -> bool {
        self.full_at <= now
    }

    /// Takes one token, or says how long until there is one.
    fn take(&mut self, now: Instant, limit: &RateLimit) -> Result<(), Duration> {
        let token = Duration::from_secs(1) / limit.per_second.max(1);
        let capacity = token * limit.burst.max(1);
        let full_at = self.full_at.max(now) + token;
        match (full_at - now).checked_sub(capacity) {
            Some(wait) if !wait.is_zero() => Err(wait),
            _ => {
                self.full_at = full_at;
                Ok(())
            }
        }
    }
}

impl Bucket {
    /// Takes `units` tokens that may not be there; how long until there is one again.
    fn charge(&mut self, now: Instant, limit: &RateLimit, units: u32) -> Duration {
        let per_second = limit.per_second.max(1);
        let capacity = Duration::from_secs(u64::from(limit.burst.max(1))) / per_second;
        let cost = Duration::from_secs(u64::from(units)) / per_second;
        self.full_at = self.full_at.max(now) + cost;
        (self.full_at - now).saturating_sub(capacity)
    }
}

impl Buckets {
    pub(crate) fn new(limit: RateLimit) -> Self {
        Self { limit, sources: HashMap::new(), shared: None, swept: None }
    }

    /// Counts one message from `source`; over the limit, how long until the next would pass.
    pub(crate) fn take(&mut self, now: Instant, source: IpAddr) -> Result<(), Duration> {
        let limit = self.limit;
        self.bucket(now, source).take(now, &limit)
    }

    /// Counts `units` from `source` that have come already; how long until more may.
    pub(crate) fn charge(&mut self, now: Instant, source: IpAddr, units: u32) -> Duration {
        let limit = self.limit;
        self.bucket(now, source).charge(now, &limit, units)
    }

    fn bucket(&mut self, now: Instant, source: IpAddr) -> &mut Bucket {
        let source = prefix(source);
        let full = self.sources.len() >= self.limit.sources_max;
        if full && !self.sources.contains_key(&source) {
            if self.swept.is_none_or(|swept| now - swept >= SWEEP_INTERVAL) {
                self.swept = Some(now);
                self.sources.retain(|_, bucket| !bucket.is_full(now));
            }
            if self.sources.len() >= self.limit.sources_max {
                return self.shared.get_or_insert(Bucket { full_at: now });
            }
        }
        self.sources.entry(source).or_insert(Bucket { full_at: now })
    }
}

/// Whoever has one IPv6 address commonly has the whole /64.
pub(crate) fn prefix(source: IpAddr) -> IpAddr {
    match source.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)).into(),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn buckets(sources_max: usize) -> (Buckets, Instant) {
        let limit = RateLimit { per_second: 10, burst: 3, sources_max };
        (Buckets::new(limit), Instant::now())
    }

    /// How many of ten messages from `source` at once pass.
    fn burst(buckets: &mut Buckets, now: Instant, source: impl Into<IpAddr>) -> usize {
        let source = source.into();
        (0..10).filter(|_| buckets.take(now, source).is_ok()).count()
    }

    // Covers: SEC-012
    #[test]
    fn a_burst_passes_then_the_rate() {
        let (mut buckets, start) = buckets(10);
        let source = Ipv4Addr::new(192, 0, 2, 1);
        assert_eq!(burst(&mut buckets, start, source), 3);
        assert_eq!(burst(&mut buckets, start + Duration::from_millis(100), source), 1);
        assert_eq!(burst(&mut buckets, start + Duration::from_millis(350), source), 2);
        assert_eq!(burst(&mut buckets, start + Duration::from_secs(9), source), 3);
        assert_eq!(burst(&mut buckets, start, Ipv4Addr::new(192, 0, 2, 2)), 3, "another source");
    }

    #[test]
    fn over_the_limit_the_wait_is_told() {
        let (mut buckets, start) = buckets(10);
        let source = IpAddr::from(Ipv4Addr::new(192, 0, 2, 1));
        burst(&mut buckets, start, source);
        assert_eq!(buckets.take(start, source), Err(Duration::from_millis(100)));
        assert_eq!(buckets.take(start + Duration::from_millis(100), source), Ok(()));
    }

    // Covers: SEC-012
    #[test]
    fn the_table_is_bounded_and_strangers_then_share() {
        let (mut buckets, start) = buckets(2);
        let source = |last| Ipv4Addr::new(192, 0, 2, last);
        assert_eq!(burst(&mut buckets, start, source(1)), 3);
        assert_eq!(burst(&mut buckets, start, source(2)), 3);
        assert_eq!(burst(&mut buckets, start, source(3)), 3, "the shared bucket");
        assert_eq!(burst(&mut buckets, start, source(4)), 0, "the shared bucket is empty");
        assert_eq!(buckets.sources.len(), 2);
        // Those that filled up again are forgotten and make room.
        let later = start + Duration::from_secs(2);
        assert_eq!(burst(&mut buckets, later, source(5)), 3);
        assert_eq!(buckets.sources.len(), 1);
    }

    #[test]
    fn an_ipv6_source_is_its_64() {
        let (mut buckets, start) = buckets(10);
        let source = |last| Ipv6Addr::new(0x2001, 0xdb8, 0, 7, 0, 0, 0, last);
        assert_eq!(burst(&mut buckets, start, source(1)), 3);
        assert_eq!(burst(&mut buckets, start, source(2)), 0);
        assert_eq!(burst(&mut buckets, start, Ipv6Addr::new(0x2001, 0xdb8, 0, 8, 0, 0, 0, 1)), 3);
    }
}
