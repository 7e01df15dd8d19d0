//! The library's HTTP client, for media and for the version of the web client.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use async_trait::async_trait;
use reqwest::Method;
use reqwest::redirect::Policy;
use url::Url;
use wacore::net::{HttpClient, HttpRequest, HttpResponse};

use super::dial;

/// How long making a connection may take.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);

/// How long a server may be silent in the middle of an answer.
const SILENT_FOR: Duration = Duration::from_secs(30);

/// How long a whole exchange may take.
const DONE_WITHIN: Duration = Duration::from_secs(300);

/// The largest answer that is taken: WhatsApp's limit for media, and some.
const LARGEST: usize = 128 * 1024 * 1024;

/// Fetches over HTTP with bounded time and size.
#[derive(Clone)]
pub(super) struct Http {
    client: reqwest::Client,
}

impl Http {
    pub(super) fn new(tls: rustls::ClientConfig) -> Result<Self, reqwest::Error> {
        // A redirect could lead a build that may only dial loopback somewhere else.
        let redirects = if cfg!(feature = "simulator") { Policy::none() } else { Policy::limited(5) };
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .connect_timeout(CONNECT_WITHIN)
            .read_timeout(SILENT_FOR)
            .timeout(DONE_WITHIN)
            .redirect(redirects)
            .pool_idle_timeout(Duration::from_secs(30))
            .build()?;
        Ok(Self { client })
    }
}

#[async_trait]
impl HttpClient for Http {
    async fn execute(&self, request: HttpRequest) -> Result<HttpResponse> {
        let url = Url::parse(&request.url).context("the address is not valid")?;
        if !dial::may_fetch(&url).await {
            bail!("this build has the feature `simulator` and therefore fetches from loopback addresses only");
        }
        let method = Method::from_bytes(request.method.as_bytes())?;
        let mut call = self.client.request(method, url);
        for (name, value) in &request.headers {
            call = call.header(name, value);
        }
        if let Some(body) = request.body {
            call = call.body(body);
        }
        let mut answer = call.send().await?;
        let status_code = answer.status().as_u16();
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await? {
            if body.len() + chunk.len() > LARGEST {
                bail!("the answer is larger than {LARGEST} bytes");
            }
            body.extend_from_slice(&chunk);
        }
        Ok(HttpResponse { status_code, body })
    }
}
