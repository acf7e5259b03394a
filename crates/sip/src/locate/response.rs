//! Where a response goes (RFC 3261 §18.2.2, RFC 3581 §4, RFC 3263 §5).

use std::net::{IpAddr, SocketAddr};

use super::{Candidate, NextHop, TargetHost, TransportParam};
use crate::header::Via;
use crate::{Reliability, Transport};

/// What the topmost `Via` of the response and the transport say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResponseFacts {
    /// The transport in its sent-protocol.
    pub transport: Transport,
    /// Whether the connection that the request came on is still open. Counts for TCP and TLS.
    pub connected: bool,
    /// The host in its sent-by.
    pub sent_by: TargetHost,
    /// The port in its sent-by, if written.
    pub sent_by_port: Option<u16>,
    /// Its `received` parameter, which we wrote.
    pub received: Option<IpAddr>,
    /// The value of its `rport` parameter, which we wrote.
    pub rport: Option<u16>,
    /// Its `maddr` parameter.
    pub maddr: Option<TargetHost>,
    /// Its `ttl` parameter.
    pub ttl: Option<u8>,
}

/// One place to try. The next is tried when sending to the one before fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResponseStep {
    /// The connection that the request came on.
    Connection,
    /// This address: over UDP from the address the request came to (RFC 3581 §4), else over a new
    /// connection.
    Send {
        /// Where to, and over what.
        candidate: Candidate,
        /// The time to live, when the address is multicast.
        ttl: Option<u8>,
    },
    /// What [`super::Locate`] finds for this, in its order.
    Locate(NextHop),
}

/// The places to try, in order; at least one.
pub fn response_steps(facts: &ResponseFacts) -> Vec<ResponseStep> {
    let mut steps = Vec::new();
    match facts.transport.reliability() {
        Reliability::Reliable => {
            if facts.connected {
                steps.push(ResponseStep::Connection);
            }
            if let Some(received) = facts.received {
                steps.push(facts.send(received, facts.port()));
            }
        }
        Reliability::Unreliable => {
            if let Some(maddr) = &facts.maddr {
                return vec![facts.at(maddr, Some(facts.port()))];
            }
            if let Some(received) = facts.received {
                let rport = facts.rport.filter(|port| *port != 0);
                steps.push(facts.send(received, rport.unwrap_or(facts.port())));
            }
        }
    }
    let sent_by = facts.at(&facts.sent_by, facts.sent_by_port);
    if !steps.contains(&sent_by) {
        steps.push(sent_by);
    }
    steps
}

impl ResponseFacts {
    /// What `via` says, with whether the connection of the request is still open; `None` when its
    /// transport is not one of ours.
    pub fn of(via: &Via<'_>, connected: bool) -> Option<Self> {
        Some(Self {
            transport: via.transport()?,
            connected,
            sent_by: via.sent_by.host.into(),
            sent_by_port: via.sent_by.port,
            received: via.received(),
            rport: via.rport().flatten(),
            maddr: via.maddr().map(TargetHost::from),
            ttl: via.ttl(),
        })
    }

    /// The port in sent-by, else the default of the transport.
    fn port(&self) -> u16 {
        self.sent_by_port.unwrap_or(self.transport.default_port())
    }

    fn send(&self, address: IpAddr, port: u16) -> ResponseStep {
        let address = SocketAddr::new(address, port);
        // RFC 3261 §18.2.2: a ttl of 1 when none is written.
        let ttl = address.ip().is_multicast().then(|| self.ttl.unwrap_or(1));
        ResponseStep::Send { candidate: Candidate { transport: self.transport, address }, ttl }
    }

    /// A host by RFC 3263 §5: an address as it is, a name by A and AAAA or, without port, by SRV.
    fn at(&self, host: &TargetHost, port: Option<u16>) -> ResponseStep {
        match host {
            TargetHost::Address(address) => self.send(*address, port.unwrap_or(self.port())),
            TargetHost::Name(_) => ResponseStep::Locate(NextHop {
                sips: false,
                host: host.clone(),
                port,
                transport: TransportParam::Known(self.transport),
                maddr: None,
                large: false,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::header::Header;

    const RECEIVED: &str = "192.0.2.4";

    /// The facts of a request from 192.0.2.4 whose Via says `sent_by`.
    fn facts(transport: Transport, sent_by: &str, port: Option<u16>) -> ResponseFacts {
        ResponseFacts {
            transport,
            connected: false,
            sent_by: TargetHost::parse(sent_by),
            sent_by_port: port,
            received: Some(RECEIVED.parse().unwrap()),
            rport: None,
            maddr: None,
            ttl: None,
        }
    }

    fn rendered(facts: &ResponseFacts) -> String {
        let step = |step: &ResponseStep| match step {
            ResponseStep::Connection => "connection".to_owned(),
            ResponseStep::Send { candidate, ttl: None } => {
                format!("{} {}", candidate.transport, candidate.address)
            }
            ResponseStep::Send { candidate, ttl: Some(ttl) } => {
                format!("{} {} ttl {ttl}", candidate.transport, candidate.address)
            }
            ResponseStep::Locate(hop) => {
                let TargetHost::Name(name) = &hop.host else {
                    panic!("an address needs no search")
                };
                format!("locate {name} {:?} {:?}", hop.port, hop.transport)
            }
        };
        response_steps(facts).iter().map(step).collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn a_via_is_read_as_facts() {
        let text =
            "SIP/2.0/UDP a.b:5070;received=192.0.2.4;rport=9;maddr=[::1];ttl=3;branch=z9hG4bKx";
        let facts = ResponseFacts::of(&Via::parse(text.as_bytes()).unwrap(), true);
        let expect = ResponseFacts {
            transport: Transport::Udp,
            connected: true,
            sent_by: TargetHost::Name("a.b".to_owned()),
            sent_by_port: Some(5070),
            received: Some(RECEIVED.parse().unwrap()),
            rport: Some(9),
            maddr: Some(TargetHost::parse("[::1]")),
            ttl: Some(3),
        };
        assert_eq!(facts, Some(expect));
        let sctp = Via::parse(b"SIP/2.0/SCTP a.b;branch=z9hG4bKx").unwrap();
        assert_eq!(ResponseFacts::of(&sctp, false), None);
    }

    // Covers: CORE-014
    #[test]
    fn over_connections() {
        use Transport::{Tcp, Tls};
        let open = |facts: ResponseFacts| ResponseFacts { connected: true, ..facts };
        let direct = |facts: ResponseFacts| ResponseFacts { received: None, ..facts };
        #[rustfmt::skip]
        let table = [
            (open(facts(Tcp, RECEIVED, Some(5070))), "connection, TCP 192.0.2.4:5070"),
            (facts(Tcp, RECEIVED, None),             "TCP 192.0.2.4:5060"),
            (facts(Tls, "a.example", None),
             "TLS 192.0.2.4:5061, locate a.example None Known(Tls)"),
            (facts(Tcp, "10.0.0.1", Some(5070)),     "TCP 192.0.2.4:5070, TCP 10.0.0.1:5070"),
            (open(direct(facts(Tcp, "a.example", Some(5070)))),
             "connection, locate a.example Some(5070) Known(Tcp)"),
            // rport is for UDP (RFC 3581 §4); the port a connection came from is no listener.
            (ResponseFacts { rport: Some(40000), ..facts(Tcp, RECEIVED, None) },
             "TCP 192.0.2.4:5060"),
            // maddr too: the connection goes first.
            (open(ResponseFacts {
                maddr: Some(TargetHost::parse("192.0.2.9")), ..facts(Tcp, RECEIVED, None)
            }), "connection, TCP 192.0.2.4:5060"),
        ];
        for (facts, expect) in table {
            assert_eq!(rendered(&facts), expect, "{facts:?}");
        }
    }

    // Covers: CORE-014
    #[test]
    fn over_datagrams() {
        use Transport::Udp;
        let base = || facts(Udp, "bobspc.biloxi.com", None);
        let maddr = |host: &str| ResponseFacts { maddr: Some(TargetHost::parse(host)), ..base() };
        let by_name = "locate bobspc.biloxi.com None Known(Udp)";
        #[rustfmt::skip]
        let table = [
            (base(), format!("UDP 192.0.2.4:5060, {by_name}")),
            (ResponseFacts { rport: Some(9988), ..base() },
             format!("UDP 192.0.2.4:9988, {by_name}")),
            (ResponseFacts { rport: Some(0), ..base() },
             format!("UDP 192.0.2.4:5060, {by_name}")),
            (ResponseFacts { received: None, ..base() },    by_name.to_owned()),
            (ResponseFacts { received: None, rport: Some(9988), ..base() }, by_name.to_owned()),
            (facts(Udp, "192.0.2.4", Some(5070)),           "UDP 192.0.2.4:5070".to_owned()),
            (facts(Udp, "[2001:db8::1]", None),
             "UDP 192.0.2.4:5060, UDP [2001:db8::1]:5060".to_owned()),
            (maddr("192.0.2.9"),                            "UDP 192.0.2.9:5060".to_owned()),
            (maddr("224.2.0.1"),                            "UDP 224.2.0.1:5060 ttl 1".to_owned()),
            (ResponseFacts { ttl: Some(16), sent_by_port: Some(5070), ..maddr("224.2.0.1") },
             "UDP 224.2.0.1:5070 ttl 16".to_owned()),
            (maddr("m.example"), "locate m.example Some(5060) Known(Udp)".to_owned()),
            (ResponseFacts { connected: true, ..base() },
             format!("UDP 192.0.2.4:5060, {by_name}")),
        ];
        for (facts, expect) in table {
            assert_eq!(rendered(&facts), expect, "{facts:?}");
        }
    }
}
