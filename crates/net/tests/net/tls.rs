//! TLS: certificates both ways, names, and new files without dropping connections.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parlance_net::{
    ConnectionLimits, Listener, NetConfig, Received, TlsClient, TlsServer, TransmitError,
};
use parlance_sip::Transport;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SanType};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::support::{Bench, ends, read, request};

/// An authority and the files it issued.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    files: TempDir,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let files = tempfile::tempdir().unwrap();
        std::fs::write(files.path().join("roots.pem"), issuer.pem()).unwrap();
        Self { issuer, files }
    }

    fn path(&self, file: &str) -> PathBuf {
        self.files.path().join(file)
    }

    /// Issues `stem`.pem and `stem`.key for these names.
    fn issue(&self, stem: &str, names: &[&str]) {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        for name in names {
            let uri = name.contains(':');
            let text = (*name).try_into().unwrap();
            let name = if uri { SanType::URI(text) } else { SanType::DnsName(text) };
            params.subject_alt_names.push(name);
        }
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        std::fs::write(self.path(&format!("{stem}.pem")), certificate.pem()).unwrap();
        std::fs::write(self.path(&format!("{stem}.key")), key.serialize_pem()).unwrap();
    }

    fn server(&self, stem: &str) -> TlsServer {
        TlsServer {
            certificate: self.path(&format!("{stem}.pem")),
            key: self.path(&format!("{stem}.key")),
            client_roots: Some(self.path("roots.pem")),
            client_required: false,
            trusted_names: Vec::new(),
        }
    }

    fn config(&self, tls: TlsServer) -> NetConfig {
        let address = "127.0.0.1:0".parse().unwrap();
        NetConfig {
            listeners: vec![Listener { address, transport: Transport::Tls, tls: Some(tls) }],
            tls_client: TlsClient { roots: Some(self.path("roots.pem")), names: Vec::new() },
            ..Default::default()
        }
    }

    /// Connects as a client that expects `name` and shows the certificate `stem`, if any.
    async fn connect(
        &self,
        to: SocketAddr,
        name: &str,
        stem: Option<&str>,
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let config = match stem {
            None => builder.with_no_client_auth(),
            Some(stem) => {
                let (chain, key) = identity(&self.path(stem));
                builder.with_client_auth_cert(chain, key).unwrap()
            }
        };
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let stream = TcpStream::connect(to).await?;
        TlsConnector::from(Arc::new(config)).connect(name, stream).await
    }
}

fn identity(stem: &Path) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
    let chain = CertificateDer::pem_file_iter(stem.with_extension("pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(stem.with_extension("key")).unwrap();
    (chain.map(Result::unwrap).collect(), key)
}

/// Sends one message as a client with the certificate `stem`; what arrives.
async fn send(authority: &Authority, bench: &mut Bench, stem: Option<&str>) -> Received {
    let mut peer = authority.connect(bench.addr(), "as.ims.test", stem).await.unwrap();
    peer.write_all(&request("x")).await.unwrap();
    peer.flush().await.unwrap();
    let received = bench.received().await;
    let answer = bytes::Bytes::from_static(b"SIP/2.0 200 OK\r\n\r\n");
    bench.net.transmit(&received.source.back(), answer.clone(), 1).unwrap();
    assert_eq!(read(&mut peer, answer.len()).await, answer);
    received
}

// Covers: CORE-001, SEC-004, SEC-008
#[tokio::test]
async fn a_client_certificate_makes_a_peer_verified() {
    let authority = Authority::new();
    authority.issue("as", &["as.ims.test"]);
    authority.issue("scscf", &["scscf.ims.test", "sip:Ims.test"]);
    let mut bench = Bench::new(authority.config(authority.server("as"))).await;

    let received = send(&authority, &mut bench, Some("scscf")).await;
    assert_eq!(received.source.transport, Transport::Tls);
    assert!(received.source.verified);
    assert_eq!(received.peer.unwrap().names, ["scscf.ims.test", "ims.test"]);

    let received = send(&authority, &mut bench, None).await;
    assert!(!received.source.verified, "without a certificate");
    assert_eq!(received.peer, None);
}

// Covers: SEC-004
#[tokio::test]
async fn only_a_listed_name_is_verified() {
    let authority = Authority::new();
    authority.issue("as", &["as.ims.test"]);
    authority.issue("scscf", &["scscf.ims.test"]);
    authority.issue("stranger", &["stranger.test"]);
    let trusted_names = vec!["SCSCF.ims.test".into()];
    let tls = TlsServer { trusted_names, ..authority.server("as") };
    let mut bench = Bench::new(authority.config(tls)).await;
    assert!(send(&authority, &mut bench, Some("scscf")).await.source.verified);
    let stranger = send(&authority, &mut bench, Some("stranger")).await;
    assert!(!stranger.source.verified);
    assert_eq!(stranger.peer.unwrap().names, ["stranger.test"], "known, but not trusted");
}

// Covers: SEC-004, SEC-005
#[tokio::test]
async fn a_client_of_another_authority_is_turned_away() {
    let (authority, other) = (Authority::new(), Authority::new());
    authority.issue("as", &["as.ims.test"]);
    other.issue("scscf", &["scscf.ims.test"]);
    std::fs::copy(other.path("scscf.pem"), authority.path("forged.pem")).unwrap();
    std::fs::copy(other.path("scscf.key"), authority.path("forged.key")).unwrap();
    let required = TlsServer { client_required: true, ..authority.server("as") };
    for (tls, stem) in [(authority.server("as"), Some("forged")), (required, None)] {
        let mut bench = Bench::new(authority.config(tls)).await;
        // In TLS 1.3 the client learns of the refusal when it reads.
        if let Ok(mut peer) = authority.connect(bench.addr(), "as.ims.test", stem).await {
            let _ = peer.write_all(&request("x")).await;
            assert!(ends(&mut peer).await);
        }
        bench.nothing().await;
        assert_eq!(bench.net.connections(), 0);
    }
}

// Covers: CORE-001, SEC-005
#[tokio::test]
async fn a_server_must_prove_the_name_asked_for() {
    let authority = Authority::new();
    authority.issue("as", &["as.ims.test"]);
    authority.issue("scscf", &["scscf.ims.test"]);
    let required = TlsServer { client_required: true, ..authority.server("scscf") };
    let mut scscf = Bench::new(authority.config(required)).await;
    let mut bench = Bench::new(authority.config(authority.server("as"))).await;
    let target = bench.target(scscf.addr());

    bench.net.transmit_to_name(&target, "scscf.ims.test", request("named"), 1).unwrap();
    let received = scscf.received().await;
    assert_eq!(received.peer.unwrap().names, ["as.ims.test"], "we show our certificate too");
    assert_eq!(received.message.unwrap().body(), b"named");

    bench.net.transmit_to_name(&target, "pcscf.ims.test", request("x"), 2).unwrap();
    assert_eq!(bench.undeliverable().await, (2, TransmitError::Tls), "another name");
    bench.net.transmit(&target, request("x"), 3).unwrap();
    assert_eq!(bench.undeliverable().await, (3, TransmitError::Tls), "the address");
    assert_eq!(bench.net.connections(), 1);

    // A request that comes back on the connection is from a known peer, but not a trusted one.
    scscf.net.transmit(&received.source.back(), request("back"), 1).unwrap();
    let back = bench.received().await;
    assert_eq!(back.peer.unwrap().names, ["scscf.ims.test"]);
    assert!(!back.source.verified);
}

#[tokio::test]
async fn a_name_may_be_configured_for_an_address() {
    let authority = Authority::new();
    authority.issue("as", &["as.ims.test"]);
    authority.issue("scscf", &["scscf.ims.test"]);
    let mut scscf = Bench::new(authority.config(authority.server("scscf"))).await;
    let mut config = authority.config(TlsServer {
        trusted_names: vec!["scscf.ims.test".into()],
        ..authority.server("as")
    });
    config.tls_client.names =
        vec![(IpAddr::from(Ipv4Addr::LOCALHOST), "scscf.ims.test".to_owned())];
    let mut bench = Bench::new(config).await;
    bench.net.transmit(&bench.target(scscf.addr()), request("configured"), 1).unwrap();
    let received = scscf.received().await;
    assert_eq!(received.message.unwrap().body(), b"configured");
    scscf.net.transmit(&received.source.back(), request("back"), 1).unwrap();
    assert!(bench.received().await.source.verified, "its name is listed");
}

#[tokio::test]
async fn new_files_serve_new_connections_and_leave_the_old_alone() {
    let authority = Authority::new();
    authority.issue("as", &["as.ims.test"]);
    let mut bench = Bench::new(authority.config(authority.server("as"))).await;
    let mut old = authority.connect(bench.addr(), "as.ims.test", None).await.unwrap();

    authority.issue("as", &["new.ims.test"]);
    bench.net.reload_tls().unwrap();
    assert!(authority.connect(bench.addr(), "as.ims.test", None).await.is_err());
    authority.connect(bench.addr(), "new.ims.test", None).await.unwrap();
    old.write_all(&request("old")).await.unwrap();
    assert_eq!(bench.body().await, "old");

    // Unusable files change nothing.
    std::fs::write(authority.path("as.pem"), "no certificate").unwrap();
    assert_eq!(bench.net.reload_tls().unwrap_err().len(), 1);
    authority.connect(bench.addr(), "new.ims.test", None).await.unwrap();
}

// Covers: SEC-012
#[tokio::test]
async fn a_handshake_that_does_not_come_is_ended() {
    let authority = Authority::new();
    authority.issue("as", &["as.ims.test"]);
    let handshake_timeout = Duration::from_millis(100);
    let connections = ConnectionLimits { handshake_timeout, ..Default::default() };
    let config = NetConfig { connections, ..authority.config(authority.server("as")) };
    let bench = Bench::new(config).await;
    let mut silent = TcpStream::connect(bench.addr()).await.unwrap();
    assert!(ends(&mut silent).await);
    let mut plain = TcpStream::connect(bench.addr()).await.unwrap();
    plain.write_all(&request("not TLS")).await.unwrap();
    assert!(ends(&mut plain).await);
}
