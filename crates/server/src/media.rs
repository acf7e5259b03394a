//! The cores of MSRP, as the handles of roles reach them.

use std::sync::{Arc, Weak};

use parlance_isc::Media;
use parlance_isc::media::{self, Addresses, Command, CoreError, MediaCores, Sink, TlsRules};
use parlance_msrp::{LentUris, LocalAddress, SessionKey};
use parlance_net::Resolver;
use parlance_net::msrp::{AtCore, Msrp, MsrpError, Sinks};
use parlance_sip::sdp::Fingerprint;

/// The sockets that [`Service`](crate::msrp::Service) runs. A handle that outlives them is told
/// that they are gone.
#[derive(Debug)]
struct Cores {
    msrp: Weak<Msrp>,
    count: u8,
    plain: Option<LocalAddress>,
    secure: Option<LocalAddress>,
    /// Which listener that is.
    secure_place: Option<usize>,
    resolver: Resolver,
}

/// MSRP over `msrp`, whose URIs say `plain` without TLS and `secure` with it, each with the place
/// of its listener.
pub(crate) fn over(
    msrp: &Arc<Msrp>,
    plain: Option<(usize, LocalAddress)>,
    secure: Option<(usize, LocalAddress)>,
    tls: TlsRules,
    resolver: Resolver,
) -> Media {
    let cores = Cores {
        resolver,
        msrp: Arc::downgrade(msrp),
        count: msrp.cores(),
        plain: plain.map(|(_, address)| address),
        secure_place: secure.as_ref().map(|(place, _)| *place),
        secure: secure.map(|(_, address)| address),
    };
    Media::new(Arc::new(cores), tls)
}

impl MediaCores for Cores {
    fn cores(&self) -> u8 {
        self.count
    }

    fn address(&self, secure: bool) -> Option<LocalAddress> {
        if secure { self.secure.clone() } else { self.plain.clone() }
    }

    /// Written whether an authority vouches for the certificate or not: a peer that believes the
    /// authority needs none, and one that does not needs it (RFC 8122 §5, RFC 4975 §14.4).
    fn fingerprints(&self) -> Vec<Fingerprint> {
        let msrp = self.msrp.upgrade();
        let shown = msrp.zip(self.secure_place).and_then(|(msrp, place)| msrp.fingerprint(place));
        shown.into_iter().collect()
    }

    fn run(&self, core: u8, command: Command) -> Result<(), CoreError> {
        let msrp = self.msrp.upgrade().ok_or(CoreError::Gone)?;
        msrp.tell(core, |at| work(at, command)).map_err(|error| match error {
            MsrpError::Busy => CoreError::Busy,
            MsrpError::Gone => CoreError::Gone,
        })
    }

    fn addresses(&self, host: &str) -> Addresses {
        let (resolver, host) = (self.resolver.clone(), host.to_owned());
        Box::pin(async move { resolver.addresses(&host).await })
    }

    fn lent(&self, act: &mut dyn FnMut(&mut LentUris)) {
        if let Some(msrp) = self.msrp.upgrade() {
            msrp.lent(act);
        }
    }

    fn run_always(&self, core: u8, command: Command) {
        if let Some(msrp) = self.msrp.upgrade() {
            msrp.tell_always(core, |at| work(at, command));
        }
    }
}

fn work(at: &mut AtCore<'_>, command: Command) {
    let mut sinks = Subscribed(at.sinks);
    command(&mut media::AtCore { node: at.node, now: at.now, sinks: &mut sinks });
}

struct Subscribed<'a>(&'a mut Sinks);

impl media::Sinks for Subscribed<'_> {
    fn subscribe(&mut self, session: SessionKey, sink: Sink) {
        self.0.subscribe(session, sink);
    }

    fn unsubscribe(&mut self, session: SessionKey) {
        self.0.unsubscribe(session);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use parlance_isc::media::{MediaError, SessionEvent, Towards};
    use parlance_msrp::MsrpUri;
    use parlance_msrp::endpoint::{Accepts, EndpointConfig, Event};
    use parlance_msrp::negotiate::{self, Agreement, Terms};
    use parlance_msrp::relay::{PairConfig, PairSide};
    use parlance_sip::sdp::Sdp;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpStream;

    use crate::config::{Config, MsrpListen, Tables};
    use crate::msrp::{Service, resolver};

    /// Two cores on a port that the system chooses.
    async fn service() -> Service {
        let mut config = Config::default();
        config.msrp.cores = 2;
        let address = "127.0.0.1:0".parse().unwrap();
        config.msrp.listen =
            Tables(vec![MsrpListen { address: Some(address), ..MsrpListen::default() }]);
        let near = Arc::new(|_| true);
        Service::start(&config, resolver(&config).unwrap(), near).await.unwrap()
    }

    /// A message of `from` to `to`.
    fn says(to: &str, from: &str, text: &str) -> String {
        let length = text.len();
        format!(
            "MSRP t1d00001 SEND\r\nTo-Path: {to}\r\nFrom-Path: {from}\r\nMessage-ID: m1\r\n\
             Byte-Range: 1-{length}/{length}\r\nContent-Type: text/plain\r\n\r\n{text}\r\n\
             -------t1d00001$\r\n"
        )
    }

    /// Reads until `expected` has come.
    async fn hears(stream: &mut TcpStream, expected: &str) {
        let mut read = Vec::new();
        while !String::from_utf8_lossy(&read).contains(expected) {
            assert_ne!(stream.read_buf(&mut read).await.unwrap(), 0, "{expected} comes");
        }
    }

    /// What is agreed with the peer of this path, who connects.
    fn agreed(own: &MsrpUri, path: &str) -> Agreement {
        let (terms, sdp) = (Terms::anything(own.clone()), described(path));
        negotiate::answer(&sdp, &terms, 1, &|_, _| true).unwrap().1
    }

    fn described(path: &str) -> Sdp {
        let text = format!(
            "v=0\r\no=- 1 1 IN IP4 h\r\ns=-\r\nc=IN IP4 192.0.2.10\r\nt=0 0\r\n\
             m=message 7654 TCP/MSRP *\r\na=accept-types:*\r\na=path:{path}\r\na=setup:active\r\n\
             a=msrp-cema\r\n"
        );
        Sdp::parse(text.as_bytes()).unwrap()
    }

    // Covers: MSRP-013
    #[tokio::test]
    async fn the_hosts_of_a_description_are_looked_up() {
        let service = service().await;
        let text = described("msrp://localhost:7654/p;tcp").to_string();
        let text = text.replace("192.0.2.10", "127.0.0.1");
        let hosts = service.media().hosts(&Sdp::parse(text.as_bytes()).unwrap()).await;
        assert!(hosts.same()("127.0.0.1", "localhost"), "{hosts:?}");
    }

    // Covers: MSRP-048
    #[tokio::test]
    async fn a_pair_that_is_not_seen_is_found_at_any_core() {
        let service = service().await;
        let (media, (_, bound)) = (service.media(), service.bound().next().unwrap());
        let towards = Towards { offerer: false, answerer: false };
        let mut pairs = Vec::new();
        for number in 0..6 {
            let path = |name: &str| format!("msrp://192.0.2.10:7654/{name}-012345678{number};tcp");
            let (alice, bob) = (path("alice"), path("bob"));
            let mut pair = media.pair(towards, PairConfig::default()).await.unwrap();
            for (side, shown, peer) in
                [(PairSide::Answerer, &alice, &bob), (PairSide::Offerer, &bob, &alice)]
            {
                let (uri, sdp): (MsrpUri, _) = (shown.parse().unwrap(), described(shown));
                let line = sdp.media().next().unwrap();
                assert!(pair.lend(side, &uri, &line, &media).await);
                pair.agree(side, &agreed(&uri, peer)).await.unwrap();
            }
            pairs.push((pair, alice, bob));
        }
        for (number, (_, alice, bob)) in pairs.iter().enumerate() {
            let mut ends = [(); 2].map(|()| None);
            for end in &mut ends {
                *end = Some(TcpStream::connect(bound).await.unwrap());
            }
            let [Some(mut hers), Some(mut his)] = ends else { unreachable!("both connected") };
            let (to_bob, to_alice) = (format!("{number} to bob"), format!("{number} to alice"));
            hers.write_all(says(bob, alice, &to_bob).as_bytes()).await.unwrap();
            hears(&mut hers, "MSRP t1d00001 200 OK").await;
            his.write_all(says(alice, bob, &to_alice).as_bytes()).await.unwrap();
            hears(&mut his, &to_bob).await;
            hears(&mut hers, &to_alice).await;
        }
        let (_, alice, bob) = pairs.pop().unwrap();
        // One command after the other: when the next has been done, so has the end.
        for _ in 0..2 {
            drop(media.pair(towards, PairConfig::default()).await.unwrap());
        }
        let mut late = TcpStream::connect(bound).await.unwrap();
        late.write_all(says(&bob, &alice, "anybody?").as_bytes()).await.unwrap();
        hears(&mut late, "MSRP t1d00001 481").await;
    }

    // Covers: SEC-011
    #[tokio::test]
    async fn a_role_has_a_session_on_a_socket_until_it_drops_it() {
        let service = service().await;
        let media = service.media();
        let accepts = || Arc::new(Accepts { types: "*".parse().unwrap(), ..Accepts::default() });
        let mut session = media.endpoint(false, EndpointConfig::new(accepts())).await.unwrap();
        let secure = media.endpoint(true, EndpointConfig::new(accepts())).await;
        assert_eq!(secure.unwrap_err(), MediaError::NoListener);
        let own = session.uri().clone();
        let (_, bound) = service.bound().next().unwrap();
        assert_eq!(own.parts().port, Some(bound.port()));
        let mut stream = TcpStream::connect(bound).await.unwrap();
        let request = format!(
            "MSRP t1d00001 SEND\r\nTo-Path: {own}\r\nFrom-Path: msrp://a.example:1/a;tcp\r\n\
             Message-ID: m1\r\nByte-Range: 1-2/2\r\nContent-Type: text/plain\r\n\r\nhi\r\n\
             -------t1d00001$\r\n"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        assert!(matches!(session.next().await, SessionEvent::Connected));
        let SessionEvent::Message(event) = session.next().await else { panic!("a message") };
        assert!(matches!(*event, Event::Received { ref body, .. } if &body[..] == b"hi"));
        let mut answer = [0; 22];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer[..17], b"MSRP t1d00001 200");
        drop(session);
        // One command after the other: when the next has been done, so has the end.
        for _ in 0..2 {
            drop(media.endpoint(false, EndpointConfig::new(accepts())).await.unwrap());
        }
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut rest = Vec::new();
        while !rest.windows(17).any(|part| part == b"MSRP t1d00001 481") {
            assert_ne!(stream.read_buf(&mut rest).await.unwrap(), 0, "an answer comes");
        }
        drop(service);
        let gone = media.endpoint(false, EndpointConfig::new(accepts())).await;
        assert_eq!(gone.unwrap_err(), MediaError::Gone);
    }
}
