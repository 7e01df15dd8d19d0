//! `holdfast doctor`: settings, surroundings, and each instance, with what to do about what is wrong.

mod comparison;
mod diagnosis;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use holdfast::app::{checkup, limits};
use holdfast::config::{Problem, Settings, Severity};
use holdfast::store::StoredInstance;
use serde_json::Value;

use self::comparison::{Told, differences};
use self::diagnosis::{Diagnosis, EngineSeen, InstanceSeen, NodeSeen, OpenFiles};
use super::engine::Engine;
use super::{complain, examine, say};

/// What a row says follows what the engine says within a second.
const SETTLES: Duration = Duration::from_secs(2);

#[derive(Debug, Args)]
pub(super) struct DoctorArguments {
    /// Where the engine is.
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// Say everything as JSON. No secret is in it.
    #[arg(long)]
    json: bool,
}

/// Returns 78 if a setting or something around is so wrong that the engine cannot start, 1 if anything else is to be done.
pub(super) fn doctor(arguments: &DoctorArguments) -> ExitCode {
    let (settings, report) = examine();
    let mut diagnosis = Diagnosis { settings: report.findings.clone(), ..Diagnosis::default() };
    if let Some(settings) = settings {
        diagnosis.usable = true;
        let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => {
                complain(&format!("error: no threads can be started: {error}"));
                return ExitCode::FAILURE;
            }
        };
        runtime.block_on(look(&mut diagnosis, arguments.url.as_deref(), &settings));
    }
    if arguments.json {
        say(&format!("{:#}", diagnosis.view()));
    } else {
        diagnosis.tell();
    }
    ExitCode::from(diagnosis.exit_code())
}

async fn look(diagnosis: &mut Diagnosis, url: Option<&str>, settings: &Settings) {
    let around = checkup::live(settings).await;
    diagnosis.surroundings = around.findings;
    let rows = around.database.map(|seen| {
        diagnosis.nodes = seen.nodes.into_iter().filter(|node| node.alive).map(NodeSeen::from).collect();
        seen.instances
    });
    if let Err(error) = engine(diagnosis, url, settings, rows.as_deref()).await {
        diagnosis.engine.why = Some(format!("{error:#}"));
    }
}

/// Asks the running engine.
async fn engine(
    diagnosis: &mut Diagnosis,
    url: Option<&str>,
    settings: &Settings,
    rows: Option<&[StoredInstance]>,
) -> Result<()> {
    let engine = Engine::of(url, settings)?;
    diagnosis.engine = EngineSeen { url: Some(engine.base().to_owned()), ..EngineSeen::default() };
    let names = names(&engine).await?;
    diagnosis.engine.reached = true;
    for name in &names {
        let answer = engine.state(name).await?;
        diagnosis.instances.push(InstanceSeen::of(name, &answer["instance"]));
    }
    diagnosis.open_files = open_files(&engine).await?;
    if let Some(finding) = diagnosis.open_files.as_ref().and_then(OpenFiles::judge) {
        diagnosis.engine.findings.push(finding);
    }
    if let Some(rows) = rows {
        let found = compare(&engine, settings, &diagnosis.instances, rows).await?;
        diagnosis.engine.findings.extend(found);
    }
    Ok(())
}

async fn names(engine: &Engine) -> Result<Vec<String>> {
    let all = engine.get(&["instance", "fetchInstances"], &[]).await?;
    let all = all.as_array().context("the engine does not list its instances")?;
    Ok(all.iter().filter_map(|instance| instance["name"].as_str()).map(ToOwned::to_owned).collect())
}

/// Compares the limit of the engine's process with what its instances may need.
async fn open_files(engine: &Engine) -> Result<Option<OpenFiles>> {
    let usage = engine.get(&["engine", "process"], &[]).await?;
    let nodes = engine.get(&["engine", "nodes"], &[]).await?;
    let own = nodes["nodes"].as_array().into_iter().flatten().find(|node| node["self"] == true);
    let instances = own.and_then(|node| node["instances"].as_u64());
    // An older engine tells neither.
    let (Some(open), Some(instances)) = (usage["openFiles"].as_u64(), instances) else { return Ok(None) };
    let need = limits::need(usize::try_from(instances).unwrap_or(usize::MAX));
    Ok(Some(OpenFiles { open, limit: usage["openFilesLimit"].as_u64(), need, instances }))
}

/// Says where the database and the engine say different things for longer than it takes to write them.
async fn compare(
    engine: &Engine,
    settings: &Settings,
    said: &[InstanceSeen],
    rows: &[StoredInstance],
) -> Result<Vec<Problem>> {
    let told: Vec<Told> = said.iter().map(|seen| Told { name: seen.name.clone(), state: seen.state.clone() }).collect();
    if differences(&told, rows).is_empty() {
        return Ok(Vec::new());
    }
    tokio::time::sleep(SETTLES).await;
    let mut again = Vec::new();
    for name in names(engine).await? {
        let answer = engine.state(&name).await?;
        let state = answer["instance"]["state"].as_str().unwrap_or_default().to_owned();
        again.push(Told { name, state });
    }
    let rows = checkup::rows(settings).await.context("the database cannot be read a second time")?.instances;
    // What differs now in another way than before has only been changing.
    let before = differences(&told, &rows);
    let lasting = differences(&again, &rows).into_iter().filter(|found| before.contains(found)).collect::<Vec<_>>();
    Ok(comparison::judge(&lasting))
}

/// Returns how bad the worst is.
fn worst<'a>(problems: impl Iterator<Item = &'a Problem>) -> Option<Severity> {
    problems.map(|problem| problem.severity).min()
}

/// Returns the text under a key of an answer.
fn text(answer: &Value, key: &str) -> Option<String> {
    answer[key].as_str().map(ToOwned::to_owned)
}
