//! The library's HTTP client, for media and for the version of the web client.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use async_trait::async_trait;
use holdfast_core::proxy::Proxy;
use reqwest::Method;
use reqwest::redirect::Policy;
use url::Url;
use wacore::net::{HttpClient, HttpRequest, HttpResponse};

use super::dial;
use super::seal::Seal;

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
    proxy: Option<Proxy>,
}

impl Http {
    /// Makes the client of one way. A proxy of the environment is none: it is not what the operator has set here.
    pub(super) fn new(tls: rustls::ClientConfig, proxy: Option<&Proxy>) -> Result<Self, reqwest::Error> {
        // A redirect could lead a build that may only dial loopback somewhere else.
        let redirects = if cfg!(feature = "simulator") { Policy::none() } else { Policy::limited(5) };
        let builder = reqwest::Client::builder().no_proxy();
        let builder = match proxy {
            Some(proxy) => builder.proxy(reqwest::Proxy::all(address(proxy))?),
            None => builder,
        };
        let client = builder
            .tls_backend_preconfigured(tls)
            .connect_timeout(CONNECT_WITHIN)
            .read_timeout(SILENT_FOR)
            .timeout(DONE_WITHIN)
            .redirect(redirects)
            .pool_idle_timeout(Duration::from_secs(30))
            .build()?;
        Ok(Self { client, proxy: proxy.cloned() })
    }
}

/// Writes the proxy with its credentials, for the HTTP library alone.
fn address(proxy: &Proxy) -> String {
    let shown = proxy.to_string();
    let (Some(known), Some((scheme, place))) = (&proxy.credentials, shown.split_once("://")) else { return shown };
    format!("{scheme}://{}:{}@{place}", escaped(known.user()), escaped(known.password()))
}

fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() {
            escaped.push(char::from(byte));
        } else {
            // Writing to a string does not fail.
            let _ = write!(escaped, "%{byte:02X}");
        }
    }
    escaped
}

/// The HTTP of one link: what is sealed fetches nothing any more, by whatever way.
pub(super) struct SealedHttp {
    http: Http,
    seal: Arc<Seal>,
}

impl SealedHttp {
    pub(super) fn new(http: Http, seal: Arc<Seal>) -> Self {
        Self { http, seal }
    }
}

#[async_trait]
impl HttpClient for SealedHttp {
    async fn execute(&self, request: HttpRequest) -> Result<HttpResponse> {
        self.seal.check()?;
        tokio::select! {
            biased;
            why = self.seal.sealed() => bail!("the link is sealed: {why:?}"),
            done = self.http.execute(request) => done,
        }
    }
}

#[async_trait]
impl HttpClient for Http {
    async fn execute(&self, request: HttpRequest) -> Result<HttpResponse> {
        let url = Url::parse(&request.url).context("the address is not valid")?;
        if !dial::may_fetch(&url, self.proxy.as_ref()).await {
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

#[cfg(test)]
mod tests {
    use holdfast_core::proxy::Fields;
    use rustls::{ClientConfig, RootCertStore};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    const HARD: Fields<'static> =
        Fields { host: "localhost", port: "1080", protocol: "socks", username: "me@x%41", password: "p:/?#é" };

    #[test]
    fn the_credentials_are_written_as_the_library_reads_them() {
        let proxy = Proxy::parse(Fields { host: "::1", ..HARD }).unwrap();
        assert_eq!(address(&proxy), "socks5h://me%40x%2541:p%3A%2F%3F%23%C3%A9@[::1]:1080");
        let open = Proxy { credentials: None, ..proxy };
        assert_eq!(address(&open), "socks5h://[::1]:1080");
    }

    fn through(protocol: &str, port: u16) -> Http {
        let proxy = Proxy::parse(Fields { port: &port.to_string(), protocol, ..HARD }).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let tls = tls.with_root_certificates(RootCertStore::empty()).with_no_client_auth();
        Http::new(tls, Some(&proxy)).unwrap()
    }

    async fn fails(http: &Http, url: &str) {
        let error = http.execute(HttpRequest::get(url)).await.err().unwrap();
        assert!(!format!("{error:?} {error:#}").contains("p:/?#"), "{error:?}");
    }

    #[tokio::test]
    async fn s48_what_is_fetched_is_asked_of_the_proxy_by_name_and_of_nobody_else() {
        let target = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = target.local_addr().unwrap().port();
        let url = format!("https://localhost:{port}/media");
        let proxy = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let place = proxy.local_addr().unwrap().port();

        let http = through("http", place);
        let asked = async {
            let (mut stream, _) = proxy.accept().await.unwrap();
            let mut head = vec![0; 4096];
            let read = stream.read(&mut head).await.unwrap();
            String::from_utf8_lossy(&head[..read]).to_lowercase()
        };
        let (asked, ()) = tokio::join!(asked, fails(&http, &url));
        assert!(asked.starts_with(&format!("connect localhost:{port} http/1.1")), "{asked}");
        assert!(asked.contains("proxy-authorization: basic "), "{asked}");

        let http = through("socks5", place);
        let asked = async {
            let (mut stream, _) = proxy.accept().await.unwrap();
            let mut said = vec![0; 4096];
            assert_eq!(stream.read(&mut said).await.unwrap(), 2 + usize::from(said[1]));
            stream.write_all(&[5, 2]).await.unwrap();
            let read = stream.read(&mut said).await.unwrap();
            assert_eq!(said[..read], [&[1, 7][..], b"me@x%41", &[7], "p:/?#é".as_bytes()].concat());
            stream.write_all(&[1, 0]).await.unwrap();
            let read = stream.read(&mut said).await.unwrap();
            said.truncate(read);
            said
        };
        let (asked, ()) = tokio::join!(asked, fails(&http, &url));
        assert_eq!(asked[..5], [5, 1, 0, 3, 9], "by name");
        assert_eq!(asked[5..14], *b"localhost");

        // A proxy that is gone leaves nothing but the failure.
        drop(proxy);
        fails(&through("http", place), &url).await;
        fails(&through("socks5", place), &url).await;
        fails(&through("http", place), &format!("http://localhost:{port}/plain")).await;
        let nobody = tokio::time::timeout(Duration::from_millis(50), target.accept()).await;
        assert!(nobody.is_err(), "something went around the proxy");
    }
}
