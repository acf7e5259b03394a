//! MSRP over TLS, both ways, and the connections that we open.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parlance_msrp::endpoint::{Accepts, EndpointConfig, Message};
use parlance_msrp::{
    ConnectError, Event, FromRule, Hop, LocalAddress, Lost, Path, Scheme, SessionKey,
};
use parlance_net::msrp::{AtCore, Msrp};
use parlance_net::{MsrpConfig, MsrpListener, TlsClient, TlsServer};
use parlance_sip::sdp::{Fingerprint, HashFunction};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::support::{PATIENCE, address, at, listener, response, settle, start, until_closed};

/// An authority and the files it issued.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    files: TempDir,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let files = tempfile::tempdir().unwrap();
        std::fs::write(files.path().join("roots.pem"), issuer.pem()).unwrap();
        Self { issuer, files }
    }

    /// A certificate for `name`, its files, and its SHA-256.
    fn issue(&self, stem: &str, name: &str) -> (TlsServer, Fingerprint) {
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let path = |end: &str| self.files.path().join(format!("{stem}.{end}"));
        std::fs::write(path("pem"), certificate.pem()).unwrap();
        std::fs::write(path("key"), key.serialize_pem()).unwrap();
        let files = TlsServer {
            certificate: path("pem"),
            key: path("key"),
            client_roots: Some(self.files.path().join("roots.pem")),
            client_required: false,
            trusted_names: Vec::new(),
        };
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, certificate.der());
        let digest = digest.as_ref().to_vec();
        (files, Fingerprint { function: HashFunction::Sha256, digest })
    }

    fn client(&self) -> TlsClient {
        TlsClient { roots: Some(self.files.path().join("roots.pem")), names: Vec::new() }
    }

    /// The cores with a TLS listener that has a certificate for `name`.
    pub(crate) fn start(&self, stem: &str, name: &str) -> (Msrp, Fingerprint) {
        let (files, fingerprint) = self.issue(stem, name);
        let msrp = start(|config: &mut MsrpConfig| {
            config.listeners[0].tls = Some(files);
            config.tls_client = self.client();
        });
        (msrp, fingerprint)
    }
}

/// One end of a session.
pub(crate) struct End {
    pub(crate) session: SessionKey,
    pub(crate) uri: String,
    events: mpsc::Receiver<Event>,
}

impl End {
    async fn next(&mut self) -> Event {
        timeout(PATIENCE, self.events.recv()).await.expect("something happens").unwrap()
    }

    async fn bound(&mut self) {
        let event = self.next().await;
        assert!(matches!(event, Event::Bound { .. }), "{event:?}");
    }

    async fn lost(&mut self) -> Lost {
        loop {
            match self.next().await {
                Event::Lost { why, .. } => return why,
                Event::Bound { .. } => {}
                event => panic!("{event:?}"),
            }
        }
    }
}

fn accepts() -> Arc<Accepts> {
    Arc::new(Accepts { types: "*".parse().unwrap(), ..Accepts::default() })
}

fn open(at: &mut AtCore<'_>, local: &LocalAddress, room: usize) -> End {
    let session = at.node.open_endpoint(at.now, local, EndpointConfig::new(accepts()));
    at.node.set_peer_accepts(at.now, session, accepts());
    let (sink, events) = mpsc::channel(room);
    at.subscribe(session, sink);
    let uri = String::from_utf8(at.node.uri(session).unwrap().as_bytes().to_vec()).unwrap();
    End { session, uri, events }
}

/// A session of `msrp` at `core`.
pub(crate) async fn end(msrp: &Msrp, core: u8, secure: bool, room: usize) -> End {
    let local = LocalAddress {
        scheme: if secure { Scheme::Msrps } else { Scheme::Msrp },
        host: "127.0.0.1".into(),
        port: address(msrp).port(),
        transport: "tcp",
    };
    msrp.run(core, move |at| open(at, &local, room)).await.unwrap()
}

/// Tells `mine` the path of its peer, and connects when there is somewhere to.
async fn join(msrp: &Msrp, core: u8, mine: &End, peer: &str, hop: Option<Hop>) {
    let (session, peer) = (mine.session, peer.to_owned());
    let joined = msrp.run(core, move |at| {
        at.node.set_peer(at.now, session, Path::new(peer.as_bytes()), FromRule::Whole, &[]);
        if let Some(hop) = hop {
            at.node.connect(at.now, session, hop);
        }
    });
    joined.await.unwrap();
}

fn hop(msrp: &Msrp, host: &str, secure: bool, fingerprints: Vec<Fingerprint>) -> Hop {
    let port = Some(address(msrp).port());
    Hop { secure, host: host.into(), port, through: None, fingerprints }
}

/// Opens a session between core 1 of `active` and core 1 of `passive`.
async fn pair(active: &Msrp, passive: &Msrp, to: Hop) -> (End, End) {
    let secure = to.secure;
    let mine = end(active, 1, secure, 16).await;
    let theirs = end(passive, 1, secure, 16).await;
    join(passive, 1, &theirs, &mine.uri, None).await;
    join(active, 1, &mine, &theirs.uri, Some(to)).await;
    (mine, theirs)
}

async fn say(msrp: &Msrp, session: SessionKey, text: &'static str) {
    let sent = msrp.run(1, move |at| {
        let message = Message::new("text/plain", Bytes::from_static(text.as_bytes()));
        at.node.send(at.now, session, message)
    });
    sent.await.unwrap().unwrap();
}

async fn heard(end: &mut End) -> String {
    let Event::Endpoint(event) = end.next().await else { panic!("no message") };
    match *event {
        parlance_msrp::endpoint::Event::Received { body, .. } => {
            String::from_utf8(body.to_vec()).unwrap()
        }
        event => panic!("{event:?}"),
    }
}

// Covers: MSRP-016, MSRP-023, MSRP-088
#[tokio::test]
async fn a_server_proves_its_name_and_a_relay_is_known_by_its_own() {
    let authority = Authority::new();
    let (active, _) = authority.start("active", "relay.test");
    let (passive, fingerprint) = authority.start("passive", "im.test");
    assert_eq!(passive.fingerprint(0).as_ref(), Some(&fingerprint), "what SDP says of it");
    let (mut mine, mut theirs) =
        pair(&active, &passive, hop(&passive, "im.test", true, Vec::new())).await;
    mine.bound().await;
    theirs.bound().await;
    say(&active, mine.session, "over TLS").await;
    assert_eq!(heard(&mut theirs).await, "over TLS");
    let session = theirs.session;
    let names = passive.run(1, move |at| {
        let connection = at.node.connection(session).unwrap();
        let tls = at.node.peer(connection).unwrap().tls.clone().unwrap();
        (tls.names, tls.certificate.is_some())
    });
    let (names, shown) = names.await.unwrap();
    assert!(shown && names.iter().map(|name| &**name).eq(["relay.test"]), "{names:?}");
    // A certificate of a stranger names nobody.
    let stranger = Authority::new();
    let (other, _) = stranger.start("other", "relay.test");
    let fingerprints = vec![fingerprint];
    let (_mine, mut theirs) =
        pair(&other, &passive, hop(&passive, "im.test", true, fingerprints)).await;
    theirs.bound().await;
    let session = theirs.session;
    let names = passive.run(1, move |at| {
        let connection = at.node.connection(session).unwrap();
        at.node.peer(connection).unwrap().tls.clone().unwrap().names
    });
    assert!(names.await.unwrap().is_empty());
}

/// A client that shows this certificate, if any.
pub(crate) async fn client(
    authority: &Authority,
    to: SocketAddr,
    shown: Option<&TlsServer>,
) -> TlsStream<TcpStream> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(authority.issuer.der().clone()).unwrap();
    let config = rustls::ClientConfig::builder().with_root_certificates(roots);
    let config = match shown {
        None => config.with_no_client_auth(),
        Some(TlsServer { certificate, key, .. }) => {
            let chain = vec![CertificateDer::from_pem_file(certificate).unwrap()];
            let key = PrivateKeyDer::from_pem_file(key).unwrap();
            config.with_client_auth_cert(chain, key).unwrap()
        }
    };
    let connector = TlsConnector::from(Arc::new(config));
    let stream = TcpStream::connect(to).await.unwrap();
    connector.connect("im.test".try_into().unwrap(), stream).await.unwrap()
}

/// A request of a client.
fn hello(to: &str, from: &str) -> String {
    format!(
        "MSRP aaaa1234 SEND\r\nTo-Path: {to}\r\nFrom-Path: {from}\r\nMessage-ID: 1\r\n\
         Content-Type: text/plain\r\n\r\nhello\r\n-------aaaa1234$\r\n"
    )
}

/// How its request is answered.
pub(crate) async fn answered(stream: &mut TlsStream<TcpStream>, to: &str, from: &str) -> String {
    stream.write_all(hello(to, from).as_bytes()).await.unwrap();
    let answer = response(stream, "aaaa1234").await;
    answer.split(' ').nth(2).unwrap_or_default().trim_end().to_owned()
}

// Covers: MSRP-022
#[tokio::test]
async fn a_client_of_the_domain_and_one_from_afar_talk_to_the_server() {
    let authority = Authority::new();
    let (files, _) = authority.issue("passive", "im.test");
    let msrp = start(|config: &mut MsrpConfig| {
        config.listeners.push(MsrpListener { tls: Some(files), ..listener() });
    });
    for secure in [false, true] {
        let mut mine = end(&msrp, 1, secure, 16).await;
        let peer = "msrp://127.0.0.1:9/client;tcp";
        join(&msrp, 1, &mine, peer, None).await;
        if secure {
            let mut stream = client(&authority, msrp.local_addr(1).unwrap(), None).await;
            assert_eq!(answered(&mut stream, &mine.uri, peer).await, "200");
        } else {
            let mut stream = TcpStream::connect(address(&msrp)).await.unwrap();
            stream.write_all(hello(&mine.uri, peer).as_bytes()).await.unwrap();
            let answer = response(&mut stream, "aaaa1234").await;
            assert!(answer.starts_with("MSRP aaaa1234 200 OK"), "{answer}");
        }
        mine.bound().await;
        assert_eq!(heard(&mut mine).await, "hello");
    }
}

// Covers: MSRP-016
#[tokio::test]
async fn another_name_or_fingerprint_is_refused() {
    let authority = Authority::new();
    let (active, _) = authority.start("active", "as.test");
    let (passive, right) = authority.start("passive", "other.test");
    let wrong = Fingerprint { digest: vec![7; 32], ..right.clone() };
    for (fingerprints, accepted) in
        [(vec![], false), (vec![wrong.clone()], false), (vec![wrong, right], true)]
    {
        let to = hop(&passive, "im.test", true, fingerprints);
        let (mut mine, mut theirs) = pair(&active, &passive, to).await;
        if accepted {
            mine.bound().await;
            theirs.bound().await;
        } else {
            assert_eq!(mine.lost().await, Lost::Unconnected(ConnectError::Certificate));
        }
    }
}

/// Tells `mine` the path of its peer, who connects and shows one of these certificates.
pub(crate) async fn expect(
    msrp: &Msrp,
    core: u8,
    mine: &End,
    peer: &str,
    fingerprints: Vec<Fingerprint>,
) {
    let (session, peer) = (mine.session, peer.to_owned());
    let expecting = msrp.run(core, move |at| {
        let path = Path::new(peer.as_bytes());
        at.node.set_peer(at.now, session, path, FromRule::Whole, &fingerprints);
    });
    expecting.await.unwrap();
}

// Covers: MSRP-016
#[tokio::test]
async fn who_connects_has_to_show_a_certificate_of_its_sdp() {
    let authority = Authority::new();
    let (active, right) = authority.start("active", "as.test");
    let (passive, _) = authority.start("passive", "im.test");
    let (other, second) = authority.issue("other", "as.test");
    let mut mine = end(&active, 1, true, 16).await;
    let mut theirs = end(&passive, 1, true, 16).await;
    let third = Fingerprint { digest: vec![7; 32], ..second.clone() };
    expect(&passive, 1, &theirs, &mine.uri, vec![third, right]).await;
    for shown in [None, Some(&other)] {
        let mut stream = client(&authority, address(&passive), shown).await;
        assert_eq!(answered(&mut stream, &theirs.uri, &mine.uri).await, "403");
        assert!(until_closed(&mut stream).await < PATIENCE);
    }
    let to = hop(&passive, "im.test", true, Vec::new());
    join(&active, 1, &mine, &theirs.uri, Some(to)).await;
    mine.bound().await;
    theirs.bound().await;
    say(&active, mine.session, "it is me").await;
    assert_eq!(heard(&mut theirs).await, "it is me");
    // On a connection that sessions of another core have, nothing happens to those.
    let peer = "msrps://127.0.0.1:9/client;tcp";
    let (near, far) = (end(&passive, 0, true, 16).await, end(&passive, 1, true, 16).await);
    expect(&passive, 0, &near, peer, vec![second.clone()]).await;
    expect(&passive, 1, &far, peer, vec![Fingerprint { digest: vec![7; 32], ..second.clone() }])
        .await;
    let mut stream = client(&authority, address(&passive), Some(&other)).await;
    for (to, code) in [(&near, "200"), (&far, "403"), (&far, "403"), (&near, "200")] {
        assert_eq!(answered(&mut stream, &to.uri, peer).await, code);
    }
    expect(&passive, 1, &far, peer, vec![second]).await;
    assert_eq!(answered(&mut stream, &far.uri, peer).await, "200");
}

// Covers: MSRP-016
#[tokio::test]
async fn where_we_connect_we_show_the_certificate_that_descriptions_name() {
    let authority = Authority::new();
    let (of_websockets, _) = authority.issue("websockets", "ws.test");
    let (files, named) = authority.issue("active", "as.test");
    let active = start(|config: &mut MsrpConfig| {
        let tls = Some(of_websockets);
        config.listeners = vec![
            MsrpListener { tls, websocket: true, ..listener() },
            MsrpListener { tls: Some(files), ..listener() },
        ];
        config.tls_client = authority.client();
    });
    assert_eq!(active.fingerprint(1).as_ref(), Some(&named));
    let (passive, _) = authority.start("passive", "im.test");
    for reloaded in [false, true] {
        if reloaded {
            active.reload_tls().unwrap();
        }
        let mut mine = end(&active, 1, true, 16).await;
        let mut theirs = end(&passive, 1, true, 16).await;
        expect(&passive, 1, &theirs, &mine.uri, vec![named.clone()]).await;
        // Each by a connection of its own.
        let to = hop(&passive, if reloaded { "127.0.0.1" } else { "im.test" }, true, Vec::new());
        let fingerprints = passive.fingerprint(0).into_iter().collect();
        join(&active, 1, &mine, &theirs.uri, Some(Hop { fingerprints, ..to })).await;
        mine.bound().await;
        theirs.bound().await;
    }
}

// Covers: MSRP-011
#[tokio::test]
async fn addresses_are_tried_in_order_and_a_connection_is_used_again() {
    let active = start(|_| ());
    let passive = start(|_| ());
    // The first address of `two.test` has nobody at the port.
    let to = hop(&passive, "two.test", false, Vec::new());
    let (mut mine, mut theirs) = pair(&active, &passive, to.clone()).await;
    mine.bound().await;
    theirs.bound().await;
    let (mut second, mut other) = pair(&active, &passive, to).await;
    second.bound().await;
    other.bound().await;
    assert_eq!(active.connections(), 1, "the second session is on the same connection");
    say(&active, second.session, "shared").await;
    assert_eq!(heard(&mut other).await, "shared");
    let nowhere = hop(&passive, "nowhere.test", false, Vec::new());
    let (mut lost, _) = pair(&active, &passive, nowhere).await;
    assert_eq!(lost.lost().await, Lost::Unconnected(ConnectError::Unresolved));
    let port = Some(1);
    let closed = Hop { port, ..hop(&passive, "im.test", false, Vec::new()) };
    let (mut lost, _) = pair(&active, &passive, closed).await;
    assert_eq!(lost.lost().await, Lost::Unconnected(ConnectError::Unreachable));
    assert_eq!(at(&active, 1).await, 1, "what failed is gone");
}

// Covers: MSRP-078
#[tokio::test]
async fn with_its_connection_every_session_is_lost() {
    let active = start(|_| ());
    let passive = start(|_| ());
    let to = hop(&passive, "im.test", false, Vec::new());
    let (mut first, mut theirs) = pair(&active, &passive, to.clone()).await;
    let (mut second, _other) = pair(&active, &passive, to).await;
    first.bound().await;
    second.bound().await;
    theirs.bound().await;
    drop(passive);
    assert_eq!(first.lost().await, Lost::Connection);
    assert_eq!(second.lost().await, Lost::Connection);
    settle(&active, 0).await;
}

// Covers: MSRP-018
#[tokio::test]
async fn a_session_whose_events_nobody_takes_is_not_read() {
    let active = start(|_| ());
    let passive = start(|_| ());
    let mine = end(&active, 1, false, 1000).await;
    let mut theirs = end(&passive, 1, false, 1).await;
    join(&passive, 1, &theirs, &mine.uri, None).await;
    let to = hop(&passive, "im.test", false, Vec::new());
    join(&active, 1, &mine, &theirs.uri, Some(to)).await;
    theirs.bound().await;
    for _ in 0..50 {
        say(&active, mine.session, "one of many").await;
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    for _ in 0..50 {
        assert_eq!(heard(&mut theirs).await, "one of many");
    }
}

#[tokio::test]
async fn certificates_are_read_again() {
    let authority = Authority::new();
    let (active, _) = authority.start("active", "as.test");
    let (passive, _) = authority.start("passive", "old.test");
    authority.issue("passive", "new.test");
    let refused = hop(&passive, "im.test", true, Vec::new());
    let (mut mine, _) = pair(&active, &passive, refused.clone()).await;
    assert_eq!(mine.lost().await, Lost::Unconnected(ConnectError::Certificate));
    authority.issue("passive", "im.test");
    passive.reload_tls().unwrap();
    let (mut mine, _theirs) = pair(&active, &passive, refused).await;
    mine.bound().await;
    std::fs::write(authority.files.path().join("passive.key"), "no key").unwrap();
    assert!(!passive.reload_tls().unwrap_err().is_empty());
}
