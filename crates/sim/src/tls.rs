//! TLS with a certificate authority that lives as long as the simulator.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::ServerConfig;
use rustls::pki_types::PrivatePkcs8KeyDer;
use thiserror::Error;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use crate::socket::Socket;

/// The names under which a loopback server is reached.
const NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];
/// How long a client may take over the beginning of TLS: whoever says nothing must not keep a place for ever.
const HANDSHAKE: Duration = Duration::from_secs(10);
const AUTHORITY: &str = "holdfast-sim test authority";

/// Why there is no TLS.
#[derive(Debug, Error)]
pub enum TlsError {
    /// The certificates could not be made.
    #[error("cannot make certificates: {0}")]
    Certificate(#[from] rcgen::Error),
    /// They cannot be used.
    #[error("cannot use the certificates: {0}")]
    Config(#[from] rustls::Error),
    /// The authority's certificate cannot be written.
    #[error("cannot write the certificate of the authority to {0}: {1}")]
    Write(PathBuf, std::io::Error),
}

/// What clients speak beneath WebSocket and HTTP: TLS, or nothing.
#[derive(Clone, Default)]
pub struct Transport(Option<TlsAcceptor>);

impl Transport {
    /// TLS, with an authority made for the occasion. Its certificate is written to a file, for clients to trust; its key is
    /// forgotten.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn tls(authority_file: &Path) -> Result<Self, TlsError> {
        let mut authority = CertificateParams::new(Vec::new())?;
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        authority.distinguished_name.push(DnType::CommonName, AUTHORITY);
        let authority_key = KeyPair::generate()?;
        let authority_certificate = authority.self_signed(&authority_key)?;

        let key = KeyPair::generate()?;
        let mut server = CertificateParams::new(NAMES.map(str::to_owned).to_vec())?;
        server.distinguished_name.push(DnType::CommonName, "holdfast-sim");
        let certificate = server.signed_by(&key, &Issuer::new(authority, authority_key))?;

        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], PrivatePkcs8KeyDer::from(key.serialize_der()).into())?;
        std::fs::write(authority_file, authority_certificate.pem())
            .map_err(|error| TlsError::Write(authority_file.to_owned(), error))?;
        Ok(Self(Some(TlsAcceptor::from(Arc::new(config)))))
    }

    /// The beginning of a URL: `ws` or `http`, with an `s` for TLS.
    #[must_use]
    pub fn scheme(&self, plain: &str) -> String {
        format!("{plain}{}", if self.0.is_some() { "s" } else { "" })
    }

    /// Begins with a client; none when it does not speak TLS as it should.
    pub async fn accept(&self, tcp: TcpStream) -> Option<Socket> {
        let Some(acceptor) = &self.0 else {
            return Some(Socket::Plain(tcp));
        };
        let Ok(accepted) = timeout(HANDSHAKE, acceptor.accept(tcp)).await else {
            tracing::debug!("a client took too long over its TLS");
            return None;
        };
        accepted.inspect_err(|error| tracing::debug!(%error, "no TLS")).ok().map(|tls| Socket::Tls(Box::new(tls)))
    }
}
