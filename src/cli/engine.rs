//! A running engine, as any other client reaches it: over HTTP.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use holdfast::app::data_dir::read_api_key;
use holdfast::config::Settings;
use reqwest::{Client, Method, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

const REQUEST: Duration = Duration::from_secs(30);

/// A client of one engine with one key.
#[derive(Clone)]
pub(super) struct Engine {
    client: Client,
    base: String,
    key: SecretString,
}

impl Engine {
    pub(super) fn new(base: &str, key: SecretString) -> Result<Self> {
        // A second installation fails, which is no harm: the process has its provider then.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder().timeout(REQUEST).no_proxy().build().context("no HTTP client can be made")?;
        Ok(Self { client, base: base.trim_end_matches('/').to_owned(), key })
    }

    /// Returns the engine of these settings, at another address if one is given.
    pub(super) fn of(url: Option<&str>, settings: &Settings) -> Result<Self> {
        let base = url.map_or_else(|| format!("http://127.0.0.1:{}", settings.server.port), ToOwned::to_owned);
        let key = match &settings.api_key {
            Some(key) => key.clone(),
            None => read_api_key(&settings.data_dir)
                .context("set AUTHENTICATION_API_KEY, or DATA_DIR as the engine has it")?,
        };
        Self::new(&base, key)
    }

    /// Returns its address.
    pub(super) fn base(&self) -> &str {
        &self.base
    }

    /// Asks for a QR code, or for a code to be typed on the phone with this number.
    pub(super) async fn connect(&self, name: &str, number: Option<&str>) -> Result<Value> {
        let query: Vec<(&str, &str)> = number.map(|number| ("number", number)).into_iter().collect();
        self.get(&["instance", "connect", name], &query).await
    }

    /// Returns all that an instance says about its connection.
    pub(super) async fn state(&self, name: &str) -> Result<Value> {
        self.get(&["instance", "connectionState", name], &[]).await
    }

    pub(super) async fn post(&self, path: &[&str], body: Value) -> Result<(StatusCode, Value)> {
        self.call(Method::POST, path, &[], Some(body)).await
    }

    pub(super) async fn get(&self, path: &[&str], query: &[(&str, &str)]) -> Result<Value> {
        let (status, answer) = self.call(Method::GET, path, query, None).await?;
        if !status.is_success() {
            bail!("the engine answered {status}: {}", answer["response"]["message"]);
        }
        Ok(answer)
    }

    async fn call(
        &self,
        method: Method,
        path: &[&str],
        query: &[(&str, &str)],
        body: Option<Value>,
    ) -> Result<(StatusCode, Value)> {
        let mut url = reqwest::Url::parse(&self.base).with_context(|| format!("{} is not an address", self.base))?;
        match url.path_segments_mut() {
            Ok(mut segments) => segments.pop_if_empty().extend(path),
            Err(()) => bail!("{} is not an address of a server", self.base),
        };
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let mut request = self.client.request(method, url).header("apikey", self.key.expose_secret());
        if let Some(body) = body {
            request = request.json(&body);
        }
        let unreachable =
            || format!("no engine answers at {}; start one with `holdfast`, or set SERVER_PORT or --url", self.base);
        let answer = request.send().await.with_context(unreachable)?;
        let status = answer.status();
        Ok((status, answer.json().await.with_context(|| format!("{} does not answer as an engine does", self.base))?))
    }
}
