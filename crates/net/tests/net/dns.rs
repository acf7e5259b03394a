//! RFC 3263 against a small name server.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parlance_net::{Resolver, ResolverConfig};
use parlance_sip::Transport;
use parlance_sip::locate::{
    Attempt, Candidate, FailOver, LocateError, Next, NextHop, Policy, TargetHost, TransportParam,
};
use tokio::net::UdpSocket;
use tokio::time::Instant;

const A: u16 = 1;
const AAAA: u16 = 28;
const SRV: u16 = 33;
const NAPTR: u16 = 35;

/// A record as the zone has it: owner, type, the octets of its value.
type Record = (&'static str, u16, Vec<u8>);

fn wire_name(name: &str) -> Vec<u8> {
    let mut wire = Vec::new();
    for label in name.split('.').filter(|label| !label.is_empty()) {
        wire.push(label.len() as u8);
        wire.extend_from_slice(label.as_bytes());
    }
    wire.push(0);
    wire
}

fn a(owner: &'static str, last: u8) -> Record {
    (owner, A, vec![192, 0, 2, last])
}

fn aaaa(owner: &'static str, address: Ipv6Addr) -> Record {
    (owner, AAAA, address.octets().to_vec())
}

fn srv(owner: &'static str, priority: u16, port: u16, target: &str) -> Record {
    let fields = [priority, 0, port].map(u16::to_be_bytes).concat();
    (owner, SRV, [fields, wire_name(target)].concat())
}

fn naptr(owner: &'static str, order: u16, service: &str, replacement: &str) -> Record {
    let mut value = [order, 50].map(u16::to_be_bytes).concat();
    for text in ["s", service, ""] {
        value.push(text.len() as u8);
        value.extend_from_slice(text.as_bytes());
    }
    (owner, NAPTR, [value, wire_name(replacement)].concat())
}

/// A name server for one zone that counts what it is asked.
struct NameServer {
    address: SocketAddr,
    asked: Arc<AtomicUsize>,
}

impl NameServer {
    async fn new(zone: Vec<Record>) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        tokio::spawn(async move {
            let mut query = [0; 1500];
            loop {
                let (octets, from) = socket.recv_from(&mut query).await.unwrap();
                count.fetch_add(1, Ordering::Relaxed);
                let response = answer(&zone, &query[..octets]);
                socket.send_to(&response, from).await.unwrap();
            }
        });
        Self { address, asked }
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

/// The response to one query (RFC 1035 §4.1).
fn answer(zone: &[Record], query: &[u8]) -> Vec<u8> {
    let name_end = 12 + query[12..].iter().position(|octet| *octet == 0).unwrap() + 1;
    let name = query[12..name_end].to_ascii_lowercase();
    let kind = u16::from_be_bytes([query[name_end], query[name_end + 1]]);
    let owned = |record: &&Record| wire_name(record.0) == name;
    let found: Vec<_> = zone.iter().filter(owned).filter(|record| record.1 == kind).collect();
    let code = if zone.iter().any(|record| owned(&record)) { 0 } else { 3 };
    let mut response = query[..2].to_vec();
    let negative = u8::from(found.is_empty());
    response.extend([0x85, 0x80 | code, 0, 1, 0, found.len() as u8, 0, negative, 0, 0]);
    response.extend_from_slice(&query[12..name_end + 4]);
    for (_, kind, value) in found {
        response.extend([0xc0, 12]);
        response.extend(kind.to_be_bytes());
        response.extend([0, 1, 0, 0, 0, 60]);
        response.extend((value.len() as u16).to_be_bytes());
        response.extend_from_slice(value);
    }
    if negative == 1 {
        // The SOA record says how long there will be none (RFC 2308 §5).
        let value = [wire_name("ns.test"), wire_name("root.test"), 60_u32.to_be_bytes().repeat(5)];
        response.extend([wire_name("test"), vec![0, 6, 0, 1, 0, 0, 0, 60]].concat());
        response.extend((value.concat().len() as u16).to_be_bytes());
        response.extend(value.concat());
    }
    response
}

fn config(servers: Vec<SocketAddr>) -> ResolverConfig {
    let transports = vec![Transport::Udp, Transport::Tcp];
    let policy = Policy { transports, ipv4: true, ipv6: true };
    ResolverConfig { servers, ..ResolverConfig::new(policy) }
}

fn hop(host: &str) -> NextHop {
    NextHop {
        sips: false,
        host: TargetHost::parse(host),
        port: None,
        transport: TransportParam::Absent,
        maddr: None,
        large: false,
    }
}

async fn located(resolver: &Resolver, host: &str) -> Vec<String> {
    let candidates = resolver.locate(hop(host), 7).await.unwrap();
    candidates.iter().map(|one| format!("{} {}", one.transport, one.address)).collect()
}

fn zone() -> Vec<Record> {
    vec![
        naptr("ims.test", 10, "SIP+D2T", "_sip._tcp.ims.test"),
        naptr("ims.test", 20, "SIP+D2U", "_sip._udp.ims.test"),
        srv("_sip._tcp.ims.test", 2, 5070, "b.ims.test"),
        srv("_sip._tcp.ims.test", 1, 5060, "a.ims.test"),
        srv("_sip._udp.ims.test", 1, 5060, "a.ims.test"),
        a("a.ims.test", 1),
        a("b.ims.test", 2),
        srv("_sip._udp.bare.test", 1, 5080, "six.ims.test"),
        a("bare.test", 9),
        aaaa("six.ims.test", Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 6)),
        a("host.test", 3),
    ]
}

// Covers: CORE-014
#[tokio::test]
async fn naptr_srv_and_addresses_give_the_order_of_fail_over() {
    let server = NameServer::new(zone()).await;
    let resolver = Resolver::new(config(vec![server.address])).unwrap();
    let order = ["TCP 192.0.2.1:5060", "TCP 192.0.2.2:5070", "UDP 192.0.2.1:5060"];
    assert_eq!(located(&resolver, "ims.test").await, order);
    let asked = server.asked();
    assert_eq!(located(&resolver, "IMS.test").await, order);
    assert_eq!(server.asked(), asked, "remembered");

    // The first fails: this request goes on with the next, and the next request begins there.
    let candidates = resolver.locate(hop("ims.test"), 7).await.unwrap();
    let (first, second) = (candidates[0], candidates[1]);
    let mut fail_over = FailOver::new(candidates);
    assert_eq!(fail_over.handle_attempt(Attempt::TransportError), Next::Try(second));
    resolver.failed(first, None);
    let order = ["TCP 192.0.2.2:5070", "UDP 192.0.2.1:5060", "TCP 192.0.2.1:5060"];
    assert_eq!(located(&resolver, "ims.test").await, order);
}

// Covers: CORE-015
#[tokio::test]
async fn where_nobody_listens_over_tcp_a_large_request_goes_over_udp_first() {
    let resolver = Resolver::new(config(Vec::new())).unwrap();
    let address = SocketAddr::from(([192, 0, 2, 77], 5070));
    let host = TargetHost::Address(address.ip());
    let large = NextHop { host, port: Some(5070), large: true, ..hop("unread.test") };
    let over = |transport| Candidate { transport, address };
    let (tcp, udp) = (over(Transport::Tcp), over(Transport::Udp));
    assert_eq!(resolver.locate_now(large.clone()), Some(Ok(vec![tcp, udp])));
    resolver.failed(tcp, None);
    assert_eq!(resolver.locate_now(large), Some(Ok(vec![udp, tcp])));
}

// Covers: CORE-014
#[tokio::test]
async fn what_is_missing_is_done_without() {
    let server = NameServer::new(zone()).await;
    let resolver = Resolver::new(config(vec![server.address])).unwrap();
    assert_eq!(located(&resolver, "bare.test").await, ["UDP [2001:db8::6]:5080"], "no NAPTR");
    assert_eq!(located(&resolver, "host.test").await, ["UDP 192.0.2.3:5060"], "addresses only");
    let unknown = resolver.locate(hop("unknown.test"), 7).await;
    assert_eq!(unknown, Err(LocateError::NoRecords));
    let nonsense = resolver.locate(hop(&"x".repeat(300)), 7).await;
    assert_eq!(nonsense, Err(LocateError::NoRecords));
}

#[tokio::test]
async fn numeric_hosts_and_configured_names_need_no_question() {
    let server = NameServer::new(zone()).await;
    let address = IpAddr::from(Ipv4Addr::new(192, 0, 2, 77));
    let hosts = HashMap::from([("ims.test".to_owned(), vec![address])]);
    let config = ResolverConfig { hosts, ..config(vec![server.address]) };
    let resolver = Resolver::new(config).unwrap();
    let now = |host: &str| resolver.locate_now(hop(host));
    let udp =
        |address: &str| Candidate { transport: Transport::Udp, address: address.parse().unwrap() };
    assert_eq!(now("192.0.2.5"), Some(Ok(vec![udp("192.0.2.5:5060")])));
    assert_eq!(now("[2001:db8::5]"), Some(Ok(vec![udp("[2001:db8::5]:5060")])));
    assert_eq!(now("ims.test"), Some(Ok(vec![udp("192.0.2.77:5060")])));
    assert_eq!(now("host.test"), None);
    assert_eq!(server.asked(), 0);
}

#[tokio::test]
async fn a_silent_name_server_ends_the_search_in_time() {
    let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let limit = Duration::from_millis(100);
    let config = ResolverConfig { timeout: limit, ..config(vec![silent.local_addr().unwrap()]) };
    let resolver = Resolver::new(config).unwrap();
    let start = Instant::now();
    let failed = resolver.locate(hop("ims.test"), 7).await;
    assert_eq!(failed, Err(LocateError::DnsFailed));
    // NAPTR, then SRV, then the addresses; ten times that on a busy machine.
    assert!(start.elapsed() < 30 * limit, "{:?}", start.elapsed());
}

#[tokio::test]
async fn any_runtime_may_ask() {
    let server = NameServer::new(zone()).await;
    let resolver = Resolver::new(config(vec![server.address])).unwrap();
    let shard = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(located(&resolver, "host.test"))
    });
    let found = tokio::task::spawn_blocking(|| shard.join().unwrap()).await.unwrap();
    assert_eq!(found, ["UDP 192.0.2.3:5060"]);
}
