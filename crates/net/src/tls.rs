//! TLS by rustls: certificates from files, mutual authentication, and who the other end is.
//!
//! Deviation: RFC 5922 §7.1 lets a certificate without subjectAltName be known by its common name;
//! we do not, as RFC 6125 §6.4.4 advises. Server certificates are matched by their DNS names; one
//! with nothing but a `sip:` URI name is refused.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig, version};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::{Listener, TlsClient, TlsServer};

/// Where Linux distributions keep the root certificates they trust.
pub(crate) const SYSTEM_ROOTS: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Whom a verified certificate names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its DNS names, and the hosts of its `sip:` URI names (RFC 5922 §7.1), lower case.
    pub names: Vec<String>,
}

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A TLS listener has no certificate configured.
    #[error("a TLS listener needs a certificate and a key")]
    NotConfigured,
    /// A file cannot be read or holds nothing of use.
    #[error("{}: {error}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        error: rustls_pki_types::pem::Error,
    },
    /// A file was read, but what it holds cannot be used.
    #[error("{}: {error}", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        error: String,
    },
}

/// The configurations of one TLS listener, as last read from their files.
#[derive(Clone, Debug)]
pub(crate) struct TlsConfigs {
    pub(crate) server: Arc<ServerConfig>,
    pub(crate) client: Arc<ClientConfig>,
}

impl TlsConfigs {
    /// Reads what the SIP `listener` needs; `None` when it does not speak TLS.
    pub(crate) fn of(listener: &Listener, client: &TlsClient) -> Result<Option<Self>, TlsError> {
        if listener.transport != parlance_sip::Transport::Tls {
            return Ok(None);
        }
        let tls = listener.tls.as_ref().ok_or(TlsError::NotConfigured)?;
        Self::read(tls, client).map(Some)
    }

    /// Reads the files of one TLS listener.
    pub(crate) fn read(tls: &TlsServer, client: &TlsClient) -> Result<Self, TlsError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let identity = Identity::read(tls)?;
        let server = server_config(tls, &identity, &provider)?;
        let client = client_config(client, tls, identity, provider)?;
        Ok(Self { server: Arc::new(server), client: Arc::new(client) })
    }
}

/// Our certificate with what leads to its root, and its key.
pub(crate) struct Identity {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: PrivateKeyDer<'static>,
}

impl Identity {
    pub(crate) fn read(tls: &TlsServer) -> Result<Self, TlsError> {
        let key = PrivateKeyDer::from_pem_file(&tls.key)
            .map_err(|error| TlsError::File { path: tls.key.clone(), error })?;
        Ok(Self { chain: certificates(&tls.certificate)?, key })
    }
}

fn server_config(
    tls: &TlsServer,
    identity: &Identity,
    provider: &Arc<CryptoProvider>,
) -> Result<ServerConfig, TlsError> {
    let builder = ServerConfig::builder_with_provider(Arc::clone(provider))
        .with_protocol_versions(VERSIONS)
        .expect("the provider has cipher suites for both versions");
    let builder = match &tls.client_roots {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let roots = Arc::new(root_store(path)?);
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(provider));
            let verifier =
                if tls.client_required { verifier } else { verifier.allow_unauthenticated() };
            builder.with_client_cert_verifier(verifier.build().map_err(unusable(path))?)
        }
    };
    builder
        .with_single_cert(identity.chain.clone(), identity.key.clone_key())
        .map_err(unusable(&tls.certificate))
}

fn client_config(
    client: &TlsClient,
    tls: &TlsServer,
    identity: Identity,
    provider: Arc<CryptoProvider>,
) -> Result<ClientConfig, TlsError> {
    ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(VERSIONS)
        .expect("the provider has cipher suites for both versions")
        .with_root_certificates(server_roots(client)?)
        .with_client_auth_cert(identity.chain, identity.key)
        .map_err(unusable(&tls.certificate))
}

/// The roots that servers are verified against.
pub(crate) fn server_roots(client: &TlsClient) -> Result<RootCertStore, TlsError> {
    match &client.roots {
        Some(path) => root_store(path),
        None => Ok(root_store(Path::new(SYSTEM_ROOTS)).unwrap_or_else(|error| {
            tracing::warn!(%error, "no system roots: no TLS server will be accepted");
            RootCertStore::empty()
        })),
    }
}

pub(crate) const VERSIONS: &[&rustls::SupportedProtocolVersion] =
    &[&version::TLS13, &version::TLS12];

pub(crate) fn root_store(path: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    // A system bundle may hold a root this library does not know how to read; the others count.
    let (added, _) = roots.add_parsable_certificates(certificates(path)?);
    if added == 0 {
        return Err(unusable(path)("no usable root certificate"));
    }
    Ok(roots)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let failed = |error| TlsError::File { path: path.to_owned(), error };
    let found: Vec<_> = CertificateDer::pem_file_iter(path)
        .map_err(failed)?
        .collect::<Result<_, _>>()
        .map_err(failed)?;
    if found.is_empty() {
        return Err(failed(rustls_pki_types::pem::Error::NoItemsFound));
    }
    Ok(found)
}

pub(crate) fn unusable<E: ToString>(path: &Path) -> impl FnOnce(E) -> TlsError + '_ {
    move |error| TlsError::Unusable { path: path.to_owned(), error: error.to_string() }
}

impl Peer {
    /// Whom the leaf of a chain names that the handshake has verified; `None` without a chain.
    pub(crate) fn of(chain: Option<&[CertificateDer<'_>]>) -> Option<Self> {
        let leaf = webpki::EndEntityCert::try_from(chain?.first()?).ok()?;
        let dns = leaf.valid_dns_names().map(str::to_ascii_lowercase);
        let uris = leaf.valid_uri_names().filter_map(sip_domain);
        Some(Self { names: dns.chain(uris).collect() })
    }

    /// Whether one of the names is one of `wanted`, whatever its case.
    pub fn is_one_of(&self, wanted: &[String]) -> bool {
        let mut names = self.names.iter();
        names.any(|name| wanted.iter().any(|wanted| wanted.eq_ignore_ascii_case(name)))
    }
}

/// The domain a `sip:` URI name stands for: RFC 5922 §7.1 takes only those without a user part.
fn sip_domain(uri: &str) -> Option<String> {
    let (scheme, rest) = uri.split_once(':')?;
    let domain = rest.split([';', '?']).next().unwrap_or(rest);
    let is_domain = !domain.is_empty() && !domain.contains(['@', ':', '/']);
    (scheme.eq_ignore_ascii_case("sip") && is_domain).then(|| domain.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_sip_uri_without_user_names_a_domain() {
        #[rustfmt::skip]
        let table = [
            ("sip:Example.com",          Some("example.com")), // RFC 5922 §7.1
            ("SIP:example.com;lr",       Some("example.com")),
            ("sip:alice@example.com",    None),
            ("https://example.com",      None),
            ("sip:",                     None),
            ("example.com",              None),
        ];
        for (uri, domain) in table {
            assert_eq!(sip_domain(uri).as_deref(), domain, "{uri}");
        }
    }

    #[test]
    fn trust_is_by_the_name_as_written() {
        let peer = Peer { names: vec!["*.ims.test".into(), "icscf.test".into()] };
        assert!(peer.is_one_of(&["other".into(), "ICSCF.TEST".into()]));
        assert!(!peer.is_one_of(&["a.ims.test".into()]));
        assert!(!peer.is_one_of(&[]));
    }

    #[test]
    fn a_missing_file_is_named() {
        let tls = TlsServer {
            certificate: "/nowhere/cert.pem".into(),
            key: "/nowhere/key.pem".into(),
            client_roots: None,
            client_required: false,
            trusted_names: Vec::new(),
        };
        let listener = Listener {
            address: "127.0.0.1:0".parse().unwrap(),
            transport: parlance_sip::Transport::Tls,
            tls: Some(tls),
        };
        let error = TlsConfigs::of(&listener, &TlsClient::default()).unwrap_err();
        assert!(error.to_string().starts_with("/nowhere/key.pem: "), "{error}");
        let bare = Listener { tls: None, ..listener };
        let error = TlsConfigs::of(&bare, &TlsClient::default()).unwrap_err();
        assert!(matches!(error, TlsError::NotConfigured));
    }
}
