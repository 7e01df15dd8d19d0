//! HTTP for the client's media.

use anyhow::{Context as _, Result};
use async_trait::async_trait;
use reqwest::{Certificate, Method};
use wacore::net::{HttpClient, HttpRequest, HttpResponse};

/// Fetches from servers that one certificate speaks for, or from none.
pub(super) struct Fetcher(Option<reqwest::Client>);

impl Fetcher {
    pub(super) fn none() -> Self {
        Self(None)
    }

    pub(super) fn trusting(certificate: &str) -> Result<Self> {
        super::super::client::install_provider();
        let root = Certificate::from_pem(certificate.as_bytes())?;
        Ok(Self(Some(reqwest::Client::builder().tls_certs_only([root]).no_proxy().build()?)))
    }
}

#[async_trait]
impl HttpClient for Fetcher {
    async fn execute(&self, request: HttpRequest) -> Result<HttpResponse> {
        let client = self.0.as_ref().context("this client was given no server to fetch from")?;
        let mut call = client.request(Method::from_bytes(request.method.as_bytes())?, &request.url);
        for (name, value) in &request.headers {
            call = call.header(name, value);
        }
        let answer = call.body(request.body.unwrap_or_default()).send().await?;
        Ok(HttpResponse { status_code: answer.status().as_u16(), body: answer.bytes().await?.to_vec() })
    }
}
