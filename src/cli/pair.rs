//! `holdfast pair NAME`: a QR code in the terminal, and the state until it is open.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;
use holdfast::app::data_dir::read_api_key;
use holdfast::config::Settings;
use qrcode::QrCode;
use qrcode::render::unicode::Dense1x2;
use reqwest::{Client, Method, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::{complain, say};

const LOOK_AGAIN: Duration = Duration::from_millis(500);
const REQUEST: Duration = Duration::from_secs(30);

#[derive(Debug, Args)]
pub(super) struct PairArguments {
    /// The instance; it is created if it does not exist.
    name: String,
    /// Where the engine is.
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// Pair by a code that is typed on the phone with this number, country code first, instead of a QR code.
    #[arg(long, value_name = "DIGITS")]
    number: Option<String>,
}

pub(super) fn pair(arguments: &PairArguments, settings: &Settings) -> ExitCode {
    let paired = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("no runtime can be started")
        .and_then(|runtime| runtime.block_on(run(arguments, settings)));
    match paired {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: &PairArguments, settings: &Settings) -> Result<()> {
    let engine = Engine::new(arguments, settings)?;
    engine.create(&arguments.name).await?;
    let (mut shown, mut told) = (String::new(), String::new());
    loop {
        let answer = engine.connect(&arguments.name, arguments.number.as_deref()).await?;
        if let Some(code) = text(&answer, "/pairingCode").filter(|_| arguments.number.is_some()) {
            if shown != code {
                say(&format!(
                    "\nOn the phone: Linked devices, Link a device, Link with phone number. Type this code:\n\n    {code}\n"
                ));
                code.clone_into(&mut shown);
            }
        } else if let Some(code) = text(&answer, "/code")
            && shown != code
        {
            say("\nOn the phone: Linked devices, Link a device. Scan this code:\n");
            say(&draw(code)?);
            code.clone_into(&mut shown);
        }
        let state = engine.state(&arguments.name).await?;
        let phase = text(&state, "/instance/phase").unwrap_or_default();
        if told != phase {
            say(&format!("{}: {phase}", arguments.name));
            phase.clone_into(&mut told);
        }
        match (text(&state, "/instance/state"), text(&state, "/instance/message")) {
            (Some("open"), _) => return Ok(()),
            (Some("close"), Some(message)) => bail!("{message}"),
            _ => sleep(LOOK_AGAIN).await,
        }
    }
}

fn draw(code: &str) -> Result<String> {
    let code = QrCode::new(code).context("the QR code cannot be drawn")?;
    Ok(code.render::<Dense1x2>().dark_color(Dense1x2::Light).light_color(Dense1x2::Dark).build())
}

fn text<'a>(value: &'a Value, pointer: &str) -> Option<&'a str> {
    value.pointer(pointer).and_then(Value::as_str)
}

/// The engine, as any other client reaches it.
struct Engine {
    client: Client,
    base: String,
    key: SecretString,
}

impl Engine {
    fn new(arguments: &PairArguments, settings: &Settings) -> Result<Self> {
        let base = arguments.url.clone().unwrap_or_else(|| format!("http://127.0.0.1:{}", settings.server.port));
        let key = match &settings.api_key {
            Some(key) => key.clone(),
            None => read_api_key(&settings.data_dir)
                .context("set AUTHENTICATION_API_KEY, or DATA_DIR as the engine has it")?,
        };
        // A second installation fails, which is no harm: the process has its provider then.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder().timeout(REQUEST).no_proxy().build().context("no HTTP client can be made")?;
        Ok(Self { client, base: base.trim_end_matches('/').to_owned(), key })
    }

    async fn create(&self, name: &str) -> Result<()> {
        let body = json!({ "instanceName": name, "integration": "WHATSAPP-BAILEYS", "qrcode": false });
        let (status, answer) = self.call(Method::POST, &["instance", "create"], &[], Some(body)).await?;
        match status {
            StatusCode::CREATED | StatusCode::FORBIDDEN => Ok(()),
            status => bail!("the engine answered {status}: {}", answer["response"]["message"]),
        }
    }

    async fn connect(&self, name: &str, number: Option<&str>) -> Result<Value> {
        let query: Vec<(&str, &str)> = number.map(|number| ("number", number)).into_iter().collect();
        self.get(&["instance", "connect", name], &query).await
    }

    async fn state(&self, name: &str) -> Result<Value> {
        self.get(&["instance", "connectionState", name], &[]).await
    }

    async fn get(&self, path: &[&str], query: &[(&str, &str)]) -> Result<Value> {
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
