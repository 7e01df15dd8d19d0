//! TLS for receivers: the public certificate authorities that are compiled in, and ring.

use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore};

/// Makes the client's configuration. The provider is named here, so that nothing depends on one installed for the whole process.
pub(super) fn client() -> Result<ClientConfig, rustls::Error> {
    let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}
