//! `holdfast pair NAME`: a QR code in the terminal, and the state until it is open.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;
use holdfast::config::Settings;
use qrcode::QrCode;
use qrcode::render::unicode::Dense1x2;
use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::engine::Engine;
use super::{complain, say};

const LOOK_AGAIN: Duration = Duration::from_millis(500);

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
    let engine = Engine::of(arguments.url.as_deref(), settings)?;
    create(&engine, &arguments.name).await?;
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

async fn create(engine: &Engine, name: &str) -> Result<()> {
    let body = json!({ "instanceName": name, "integration": "WHATSAPP-BAILEYS", "qrcode": false });
    let (status, answer) = engine.post(&["instance", "create"], body).await?;
    match status {
        StatusCode::CREATED | StatusCode::FORBIDDEN => Ok(()),
        status => bail!("the engine answered {status}: {}", answer["response"]["message"]),
    }
}

fn draw(code: &str) -> Result<String> {
    let code = QrCode::new(code).context("the QR code cannot be drawn")?;
    Ok(code.render::<Dense1x2>().dark_color(Dense1x2::Light).light_color(Dense1x2::Dark).build())
}

fn text<'a>(value: &'a Value, pointer: &str) -> Option<&'a str> {
    value.pointer(pointer).and_then(Value::as_str)
}
