//! What the names in descriptions stand for, where they have to be compared.

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::time::Duration;

use parlance_msrp::negotiate;
use parlance_sip::sdp::Sdp;
use tokio::time::{Instant, timeout_at};

use super::Media;

/// The addresses of a host, once they are known.
pub type Addresses = Pin<Box<dyn Future<Output = Vec<IpAddr>> + Send>>;

/// Pairs of hosts that are compared for one description; local limit. Those beyond count as
/// different.
const PAIRS_MAX: usize = 4;

/// How long all of them may take to be looked up; those that take longer count as different, so
/// that the other participants of a session do not wait for the DNS of one. Local limit.
const WAIT: Duration = Duration::from_secs(1);

/// Which hosts of a description are the same although they are written differently: one in `c=`,
/// one in a URI of its path (RFC 6714 §4.4).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hosts(Vec<(String, String)>);

impl Hosts {
    /// Says whether what `c=` shows is the host of the path: a [`SameHost`](negotiate::SameHost).
    pub fn same(&self) -> impl Fn(&str, &str) -> bool {
        |shown, host| self.0.iter().any(|(one, other)| one == shown && other == host)
    }
}

impl Media {
    /// Looks up the hosts of a description that only the DNS can compare. Nearly always there are
    /// none, and nothing is waited for.
    pub async fn hosts(&self, description: &Sdp) -> Hosts {
        let mut same = Vec::new();
        let pairs = negotiate::hosts_to_compare(description).into_iter().take(PAIRS_MAX);
        let until = Instant::now() + WAIT;
        for (shown, host) in pairs {
            let looked_up = async { (self.addresses(&shown).await, self.addresses(&host).await) };
            let Ok((one, other)) = timeout_at(until, looked_up).await else { break };
            if one.iter().any(|address| other.contains(address)) {
                same.push((shown, host));
            }
        }
        Hosts(same)
    }

    async fn addresses(&self, host: &str) -> Vec<IpAddr> {
        match host.parse() {
            Ok(address) => vec![address],
            Err(_) => self.shared.cores.addresses(host).await,
        }
    }
}
