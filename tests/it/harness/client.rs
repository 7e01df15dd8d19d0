//! A client of the HTTP interface.

use std::sync::Once;
use std::time::Duration;

use reqwest::{Client, Method, RequestBuilder};
use serde_json::Value;

static PROVIDER: Once = Once::new();

/// Sets up the cryptography of TLS for this process, once.
pub(crate) fn install_provider() {
    PROVIDER.call_once(|| {
        rustls::crypto::ring::default_provider().install_default().expect("the provider is installed once");
    });
}

/// Makes an HTTP client.
pub(crate) fn http() -> Client {
    install_provider();
    // Nobody here speaks TLS, and reading the certificates of the host takes longer than most requests.
    let client = Client::builder().timeout(Duration::from_secs(60)).no_proxy().tls_certs_only([]);
    client.build().expect("an HTTP client")
}

/// An answer: status and JSON, or text if it is not JSON.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Value,
}

impl Answer {
    /// Returns the body of an answer that has to be good.
    pub(crate) fn good(self) -> Value {
        assert!((200..300).contains(&self.status), "{self:?}");
        self.body
    }
}

/// Speaks to one engine with one key.
#[derive(Clone)]
pub(crate) struct Api {
    client: Client,
    base: String,
    key: String,
}

impl Api {
    pub(crate) fn new(base: String, key: &str) -> Self {
        Self { client: http(), base, key: key.to_owned() }
    }

    pub(crate) fn with_key(&self, key: &str) -> Self {
        Self { key: key.to_owned(), ..self.clone() }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.call(Method::GET, path, None).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        self.call(Method::POST, path, Some(body.to_string())).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.call(Method::DELETE, path, None).await
    }

    pub(crate) async fn call(&self, method: Method, path: &str, body: Option<String>) -> Answer {
        self.try_call(method, path, body).await.expect("an answer")
    }

    pub(crate) async fn try_call(&self, method: Method, path: &str, body: Option<String>) -> reqwest::Result<Answer> {
        Self::read(self.request(method, path, body)).await
    }

    /// Posts with an `Idempotency-Key`.
    pub(crate) async fn try_once(&self, key: &str, path: &str, body: &Value) -> reqwest::Result<Answer> {
        Self::read(self.request(Method::POST, path, Some(body.to_string())).header("idempotency-key", key)).await
    }

    fn request(&self, method: Method, path: &str, body: Option<String>) -> RequestBuilder {
        let request = self.client.request(method, format!("{}{path}", self.base)).header("apikey", &self.key);
        match body {
            Some(body) => request.header("content-type", "application/json").body(body),
            None => request,
        }
    }

    async fn read(request: RequestBuilder) -> reqwest::Result<Answer> {
        let answer = request.send().await?;
        let status = answer.status().as_u16();
        let text = answer.text().await?;
        Ok(Answer { status, body: serde_json::from_str(&text).unwrap_or(Value::String(text)) })
    }
}
