//! The cores of MSRP, as the handles of roles reach them.

use std::sync::{Arc, Weak};

use parlance_isc::Media;
use parlance_isc::media::{self, Command, CoreError, MediaCores, Sink, TlsRules};
use parlance_msrp::{LentUris, LocalAddress, SessionKey};
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
}

/// MSRP over `msrp`, whose URIs say `plain` without TLS and `secure` with it, each with the place
/// of its listener.
pub(crate) fn over(
    msrp: &Arc<Msrp>,
    plain: Option<(usize, LocalAddress)>,
    secure: Option<(usize, LocalAddress)>,
    tls: TlsRules,
) -> Media {
    let cores = Cores {
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

    use parlance_isc::media::{MediaError, SessionEvent};
    use parlance_msrp::endpoint::{Accepts, EndpointConfig, Event};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpStream;

    use crate::config::{Config, MsrpListen, Tables};
    use crate::msrp::{Service, resolver};

    // Covers: SEC-011
    #[tokio::test]
    async fn a_role_has_a_session_on_a_socket_until_it_drops_it() {
        let mut config = Config::default();
        config.msrp.cores = 2;
        let address = "127.0.0.1:0".parse().unwrap();
        config.msrp.listen = Tables(vec![MsrpListen { address, ..MsrpListen::default() }]);
        let near = Arc::new(|_| true);
        let service = Service::start(&config, resolver(&config).unwrap(), near).await.unwrap();
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
