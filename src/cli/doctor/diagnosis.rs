//! All that was found, and how it is told: to people, and with stable keys to programs.

use holdfast::config::{Problem, Severity};
use holdfast::store::StoredNode;
use serde::Serialize;
use serde_json::{Value, json};

use super::{text, worst};
use crate::cli::{EX_CONFIG, say};

/// What is known when everything has been looked at.
#[derive(Debug, Default)]
pub(super) struct Diagnosis {
    pub(super) settings: Vec<Problem>,
    /// Whether the engine starts with the settings. Nothing else was looked at if not.
    pub(super) usable: bool,
    pub(super) surroundings: Vec<Problem>,
    /// The nodes that live, by the rows of the database.
    pub(super) nodes: Vec<NodeSeen>,
    pub(super) engine: EngineSeen,
    pub(super) open_files: Option<OpenFiles>,
    pub(super) instances: Vec<InstanceSeen>,
}

/// A node of the fleet.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct NodeSeen {
    name: String,
    url: Option<String>,
    version: String,
}

/// The engine that was asked.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct EngineSeen {
    pub(super) url: Option<String>,
    pub(super) reached: bool,
    /// Why it could not be asked, or not for all.
    pub(super) why: Option<String>,
    pub(super) findings: Vec<Problem>,
}

/// Descriptors of the engine's process.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct OpenFiles {
    pub(super) open: u64,
    /// `None` if nothing limits them.
    pub(super) limit: Option<u64>,
    /// What its instances may need.
    pub(super) need: u64,
    pub(super) instances: u64,
}

/// An instance, as the engine explains it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct InstanceSeen {
    pub(super) name: String,
    pub(super) state: String,
    phase: String,
    /// What keeps it from being open; nothing of what follows is there without.
    message: Option<String>,
    code: Option<String>,
    user_action: Option<String>,
    /// The action, for whoever sits at the host.
    advice: Option<&'static str>,
    next_try_at: Option<String>,
}

impl From<StoredNode> for NodeSeen {
    fn from(node: StoredNode) -> Self {
        Self { name: node.name, url: node.url, version: node.version }
    }
}

impl OpenFiles {
    /// Says whether more may be needed than are allowed.
    pub(super) fn judge(&self) -> Option<Problem> {
        let Self { limit, need, instances, .. } = *self;
        limit.filter(|limit| *limit < need).map(|limit| {
            Problem::new(
                Severity::Warning,
                "live-open-files",
                "DATA_DIR",
                format!("{instances} instances may need {need} open files, and the engine may open {limit}"),
                format!("set LimitNOFILE of its service, or ulimit -n, to at least {need}, and start it again"),
            )
        })
    }
}

impl InstanceSeen {
    /// Reads what `connectionState` says.
    pub(super) fn of(name: &str, state: &Value) -> Self {
        let message = text(state, "message");
        let action = message.as_ref().map(|_| text(state, "userAction").unwrap_or_else(|| "wait".to_owned()));
        Self {
            name: name.to_owned(),
            state: text(state, "state").unwrap_or_else(|| "unknown".to_owned()),
            phase: text(state, "phase").unwrap_or_default(),
            code: message.as_ref().map(|_| text(state, "code").unwrap_or_else(|| "unknown".to_owned())),
            advice: action.as_deref().map(advice),
            next_try_at: text(state, "nextTryAt").filter(|_| message.is_some()),
            user_action: action,
            message,
        }
    }

    /// Tells whether it goes on without anybody.
    fn is_well(&self) -> bool {
        self.user_action.as_deref().is_none_or(|action| action == "wait")
    }

    fn line(&self) -> String {
        let Self { name, state, phase, .. } = self;
        let (Some(message), Some(code), Some(advice)) = (&self.message, &self.code, self.advice) else {
            return format!("  {name}: {state} ({phase})");
        };
        let next = self.next_try_at.as_ref().map_or_else(String::new, |at| format!("; the next try is at {at}"));
        format!("  {name}: {state}: {} [{code}]; {advice}{next}", message.trim_end_matches('.'))
    }
}

impl Diagnosis {
    /// Returns 78 if the engine cannot start, 1 if anything is to be done by a person.
    pub(super) fn exit_code(&self) -> u8 {
        if !self.usable {
            return EX_CONFIG;
        }
        match worst(self.surroundings.iter().chain(&self.engine.findings)) {
            Some(Severity::Error) => EX_CONFIG,
            Some(Severity::Warning) => 1,
            Some(Severity::Recommendation) | None => {
                let well = self.engine.why.is_none() && self.instances.iter().all(InstanceSeen::is_well);
                u8::from(!well)
            }
        }
    }

    /// Returns it as JSON.
    pub(super) fn view(&self) -> Value {
        json!({
            "usable": self.usable,
            "settings": self.settings,
            "surroundings": self.surroundings,
            "nodes": self.nodes,
            "engine": self.engine,
            "openFiles": self.open_files,
            "instances": self.instances,
            "exitCode": self.exit_code(),
        })
    }

    /// Tells it to whoever sits at the host.
    pub(super) fn tell(&self) {
        say("Settings:");
        list(&self.settings, "nothing to say");
        if !self.usable {
            say("  the engine does not start with them");
            return;
        }
        say("Surroundings:");
        list(&self.surroundings, "disks, database, places for copies and the way to WhatsApp are as they should be");
        if !self.nodes.is_empty() {
            say("Nodes that live:");
        }
        for NodeSeen { name, url, version } in &self.nodes {
            let url = url.as_deref().unwrap_or("no NODE_URL");
            say(&format!("  {name}: {url}, version {version}"));
        }
        say("Instances:");
        for instance in &self.instances {
            say(&instance.line());
        }
        if let Some(why) = &self.engine.why {
            say(&format!("  they cannot be asked for: {why}"));
        } else if self.instances.is_empty() {
            say("  there are none");
        }
        for problem in &self.engine.findings {
            say(&format!("  {problem}"));
        }
        if let Some(OpenFiles { open, limit, need, .. }) = &self.open_files {
            let limit = limit.map_or_else(|| "as many as it wants".to_owned(), |limit| limit.to_string());
            say(&format!("Open files: {open}, {need} may be needed, and the engine may open {limit}"));
        }
    }
}

fn list(problems: &[Problem], nothing: &str) {
    for problem in problems {
        say(&format!("  {problem}"));
    }
    if problems.is_empty() {
        say(&format!("  {nothing}"));
    }
}

/// Says what a user action of the API is for whoever sits at the host.
fn advice(action: &str) -> &'static str {
    match action {
        "relogin" => "pair it again: holdfast pair NAME",
        "check_network" => "look at the surroundings above: the network, the name server and the proxy of this host",
        "check_store" => "bring the database back; nothing dials before",
        "close_other" => "stop the other engine that uses a copy of this session",
        "open_phone" => "open WhatsApp on the phone, which says why",
        "upgrade" => "install a newer Holdfast",
        "restart" => "read the log, then POST /instance/restart/NAME",
        _ => "nothing is to be done: it goes on by itself",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_files_are_judged_by_what_the_instances_may_need() {
        let files = |limit, need| OpenFiles { open: 40, limit, need, instances: 300 };
        assert!(files(None, 1156).judge().is_none());
        assert!(files(Some(1156), 1156).judge().is_none());
        let found = files(Some(1024), 1156).judge().expect("too few");
        assert_eq!((found.code, found.severity), ("live-open-files", Severity::Warning));
    }

    #[test]
    fn the_exit_code_is_that_of_the_worst() {
        let problem = |severity| Problem::new(severity, "live-test", "DATA_DIR", "", "");
        let with = |around: &[Severity], engine: &[Severity], action: &str| {
            let state = json!({ "state": "connecting", "message": "Trouble.", "userAction": action });
            Diagnosis {
                usable: true,
                surroundings: around.iter().copied().map(problem).collect(),
                engine: EngineSeen {
                    reached: true,
                    findings: engine.iter().copied().map(problem).collect(),
                    ..EngineSeen::default()
                },
                instances: vec![InstanceSeen::of("shop", &state)],
                ..Diagnosis::default()
            }
            .exit_code()
        };
        assert_eq!(with(&[], &[], "wait"), 0);
        assert_eq!(with(&[Severity::Recommendation], &[], "wait"), 0);
        assert_eq!(with(&[], &[], "relogin"), 1);
        assert_eq!(with(&[], &[Severity::Warning], "wait"), 1);
        assert_eq!(with(&[Severity::Error], &[Severity::Warning], "wait"), EX_CONFIG);
        assert_eq!(Diagnosis::default().exit_code(), EX_CONFIG, "no setting can be used");
    }
}
