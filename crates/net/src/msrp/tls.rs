//! TLS under MSRP (RFC 4975 §14.3, RFC 4976 §9, RFC 4572): who the other end is, by a certificate
//! that leads to a root we know, or by the fingerprint its SDP has. That of who connects to us is
//! compared by the node, which knows what session it comes for.
//!
//! Deviation: the suite that RFC 4975 §14.4 mandates, TLS_RSA_WITH_AES_128_CBC_SHA, is not offered;
//! TLS 1.2 and 1.3 with forward secrecy are.

use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use aws_lc_rs::digest;
use bytes::Bytes;
use parlance_msrp::Tls as Shown;
use parlance_sip::sdp::{Fingerprint, HashFunction};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, aws_lc_rs as provider, verify_tls12_signature,
    verify_tls13_signature,
};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    ClientConfig, DigitallySignedStruct, DistinguishedName, Error, ServerConfig, SignatureScheme,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use crate::tls::{Identity, Peer, SYSTEM_ROOTS, VERSIONS, root_store, server_roots, unusable};
use crate::{TlsClient, TlsError, TlsServer};

/// What one TLS listener shows, and which clients it believes.
#[derive(Clone, Debug)]
pub(crate) struct Incoming {
    pub(crate) server: Arc<ServerConfig>,
    /// Without roots no certificate proves a name.
    clients: Option<Arc<dyn ClientCertVerifier>>,
    /// That of its certificate.
    pub(crate) fingerprint: Fingerprint,
}

/// What we show as a client, and which servers we believe.
#[derive(Clone, Debug)]
pub(crate) struct Outgoing {
    client: Arc<ClientConfig>,
    servers: Arc<WebPkiServerVerifier>,
}

/// What was last read from files: every core looks at it, a reload replaces it.
#[derive(Debug)]
pub(crate) struct Current<T>(RwLock<T>);

impl<T: Clone> Current<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(RwLock::new(value))
    }

    pub(crate) fn get(&self) -> T {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn replace(&self, value: T) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = value;
    }
}

impl Incoming {
    /// Reads the files of one listener.
    pub(crate) fn read(tls: &TlsServer) -> Result<Self, TlsError> {
        let provider = Arc::new(provider::default_provider());
        let identity = Identity::read(tls)?;
        let clients = match &tls.client_roots {
            None => None,
            Some(path) => {
                let roots = Arc::new(root_store(path)?);
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(&provider));
                Some(verifier.build().map_err(unusable(path))?)
            }
        };
        let leaf = identity.chain.first().map(|leaf| digest::digest(&digest::SHA256, leaf));
        let digest = leaf.map(|digest| digest.as_ref().to_vec()).unwrap_or_default();
        let fingerprint = Fingerprint { function: HashFunction::Sha256, digest };
        let server = Arc::new(server_config(tls, &identity, &provider)?);
        Ok(Self { server, clients, fingerprint })
    }

    /// What a client has shown: whom its chain names, if it leads to our roots, and the leaf.
    pub(crate) fn peer(&self, chain: Option<&[CertificateDer<'_>]>) -> Shown {
        let verified = || {
            let (leaf, rest) = chain?.split_first()?;
            let verifier = self.clients.as_ref()?;
            verifier.verify_client_cert(leaf, rest, UnixTime::now()).ok()?;
            Some(Peer::of(chain)?.names)
        };
        shown(verified(), chain)
    }
}

impl Outgoing {
    /// Reads the roots of servers, and the files of the listener whose certificate we show, if
    /// any.
    pub(crate) fn read(client: &TlsClient, shown: Option<&TlsServer>) -> Result<Self, TlsError> {
        let provider = Arc::new(provider::default_provider());
        let roots = Arc::new(server_roots(client)?);
        let servers = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider))
            .build()
            .map_err(unusable(client.roots.as_deref().unwrap_or(Path::new(SYSTEM_ROOTS))))?;
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(VERSIONS)
            .expect("the provider has cipher suites for both versions")
            .with_webpki_verifier(Arc::clone(&servers));
        let config = match shown {
            None => builder.with_no_client_auth(),
            Some(tls) => {
                let Identity { chain, key } = Identity::read(tls)?;
                builder.with_client_auth_cert(chain, key).map_err(unusable(&tls.certificate))?
            }
        };
        Ok(Self { client: Arc::new(config), servers })
    }

    /// How a connection is opened whose server may prove itself by a fingerprint instead.
    pub(crate) fn client(&self, fingerprints: &[Fingerprint]) -> Arc<ClientConfig> {
        if fingerprints.is_empty() {
            return Arc::clone(&self.client);
        }
        let mut config = ClientConfig::clone(&self.client);
        let servers = Arc::clone(&self.servers);
        let verifier = ByNameOrFingerprint { servers, fingerprints: fingerprints.to_vec() };
        config.dangerous().set_certificate_verifier(Arc::new(verifier));
        Arc::new(config)
    }

    /// What a server has shown: whom its chain names, if it leads to our roots and is valid for
    /// `name`, and the leaf.
    pub(crate) fn peer(
        &self,
        chain: Option<&[CertificateDer<'_>]>,
        name: &ServerName<'_>,
    ) -> Shown {
        let verified = || {
            let (leaf, rest) = chain?.split_first()?;
            let now = UnixTime::now();
            self.servers.verify_server_cert(leaf, rest, name, &[], now).ok()?;
            Some(Peer::of(chain)?.names)
        };
        shown(verified(), chain)
    }
}

fn shown(names: Option<Vec<String>>, chain: Option<&[CertificateDer<'_>]>) -> Shown {
    let names = names.unwrap_or_default().into_iter().map(String::into_boxed_str).collect();
    let leaf = chain.and_then(<[_]>::first);
    Shown { names, certificate: leaf.map(|leaf| Bytes::copy_from_slice(leaf)) }
}

/// Whether the certificate has one of these fingerprints (RFC 8122 §5). A hash function that is
/// broken or that we do not know proves nothing.
fn has_fingerprint(fingerprints: &[Fingerprint], certificate: &[u8]) -> bool {
    Fingerprint::any_matches(fingerprints, |function| hash(function, certificate))
}

/// The hash of a certificate, when the function is one that we know.
pub(crate) fn hash(function: &HashFunction, certificate: &[u8]) -> Option<Vec<u8>> {
    let function = match function {
        HashFunction::Sha1 => &digest::SHA1_FOR_LEGACY_USE_ONLY,
        HashFunction::Sha224 => &digest::SHA224,
        HashFunction::Sha256 => &digest::SHA256,
        HashFunction::Sha384 => &digest::SHA384,
        HashFunction::Sha512 => &digest::SHA512,
        HashFunction::Other(_) => return None,
    };
    Some(digest::digest(function, certificate).as_ref().to_vec())
}

fn server_config(
    tls: &TlsServer,
    identity: &Identity,
    provider: &Arc<CryptoProvider>,
) -> Result<ServerConfig, TlsError> {
    let algorithms = provider.signature_verification_algorithms;
    ServerConfig::builder_with_provider(Arc::clone(provider))
        .with_protocol_versions(VERSIONS)
        .expect("the provider has cipher suites for both versions")
        .with_client_cert_verifier(Arc::new(AnyClient { algorithms }))
        .with_single_cert(identity.chain.clone(), identity.key.clone_key())
        .map_err(unusable(&tls.certificate))
}

/// Takes every client certificate whose key the client has: which session it may bind is decided
/// by its fingerprint, and whether it is a relay by its names, once a request says who it wants to
/// be.
#[derive(Debug)]
struct AnyClient {
    algorithms: WebPkiSupportedAlgorithms,
}

impl ClientCertVerifier for AnyClient {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _leaf: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, leaf, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, leaf, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// A server proves the host of the URI by a valid certificate, or has the one whose fingerprint
/// came in its SDP (RFC 4975 §14.4).
#[derive(Debug)]
struct ByNameOrFingerprint {
    servers: Arc<WebPkiServerVerifier>,
    fingerprints: Vec<Fingerprint>,
}

impl ServerCertVerifier for ByNameOrFingerprint {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if has_fingerprint(&self.fingerprints, leaf) {
            return Ok(ServerCertVerified::assertion());
        }
        self.servers.verify_server_cert(leaf, intermediates, name, ocsp, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.servers.verify_tls12_signature(message, leaf, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.servers.verify_tls13_signature(message, leaf, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.servers.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Covers: MSRP-016
    #[test]
    fn a_fingerprint_is_compared_by_its_own_function() {
        let hash = |algorithm| digest::digest(algorithm, b"leaf").as_ref().to_vec();
        let of = |function: &str, digest: Vec<u8>| {
            vec![Fingerprint { function: HashFunction::from_name(function), digest }]
        };
        let right = of("SHA-256", hash(&digest::SHA256));
        assert!(has_fingerprint(&right, b"leaf"));
        assert!(!has_fingerprint(&right, b"another"));
        assert!(!has_fingerprint(&of("sha-1", hash(&digest::SHA256)), b"leaf"));
        assert!(!has_fingerprint(&of("md5", Vec::new()), b"leaf"), "unknown proves nothing");
        assert!(!has_fingerprint(&[], b"leaf"));
        let second = [of("sha-256", vec![1; 32]), right].concat();
        assert!(has_fingerprint(&second, b"leaf"), "any of them");
    }
}
