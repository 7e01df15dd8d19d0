//! Variables that Evolution API has and this engine does not honour, with what there is instead; and names that are nearly right.

use std::borrow::Cow;
use std::collections::BTreeSet;

use super::problem::{Problem, Severity};
use super::table;

/// Variables of Evolution that belong together.
pub(super) struct Family {
    /// Their names; one that ends with `*` stands for all that begin so.
    pub(super) names: &'static [&'static str],
    /// When they ask for something that is not done.
    pub(super) asks: Asks,
    /// What there is instead.
    pub(super) instead: &'static str,
}

/// When variables ask for something.
#[derive(Clone, Copy)]
pub(super) enum Asks {
    /// If one of these is `true`.
    Switched(&'static [&'static str]),
    /// If this one has that value.
    With(&'static str, &'static str),
    /// If one is set at all.
    Set,
    /// Never: nothing is missing without them.
    Nothing,
}

/// Every variable of Evolution's that is not honoured. A name that is in the table of variables wins over a prefix here.
pub(super) static FAMILIES: &[Family] = &[
    Family {
        names: &["CACHE_LOCAL_*"],
        asks: Asks::Nothing,
        instead: "what a process knows is in its memory, and there is nothing to set about that",
    },
    Family {
        names: &["DATABASE_BOUNCER_CONNECTION_URI"],
        asks: Asks::Set,
        instead: "the engine keeps its own pool, and connects to DATABASE_CONNECTION_URI",
    },
    Family {
        names: &["DATABASE_SAVE_*", "DATABASE_DELETE_MESSAGE"],
        asks: Asks::Switched(&[
            "DATABASE_SAVE_DATA_NEW_MESSAGE",
            "DATABASE_SAVE_MESSAGE_UPDATE",
            "DATABASE_SAVE_DATA_CONTACTS",
            "DATABASE_SAVE_DATA_CHATS",
            "DATABASE_SAVE_DATA_LABELS",
            "DATABASE_SAVE_DATA_HISTORIC",
            "DATABASE_SAVE_IS_ON_WHATSAPP",
        ]),
        instead: "messages, chats and contacts are handed to webhooks and not kept; keep them where the webhook arrives",
    },
    Family {
        names: &["WEBHOOK_GLOBAL_*", "WEBHOOK_EVENTS_*"],
        asks: Asks::Switched(&["WEBHOOK_GLOBAL_ENABLED"]),
        instead: "set a webhook for each instance, with POST /webhook/set/{instance} or when it is created",
    },
    Family {
        names: &["WEBSOCKET_*"],
        asks: Asks::Switched(&["WEBSOCKET_ENABLED"]),
        instead: "events go to webhooks: POST /webhook/set/{instance}",
    },
    Family {
        names: &["RABBITMQ_*"],
        asks: Asks::Switched(&["RABBITMQ_ENABLED"]),
        instead: "events go to webhooks: POST /webhook/set/{instance}",
    },
    Family {
        names: &["NATS_*"],
        asks: Asks::Switched(&["NATS_ENABLED"]),
        instead: "events go to webhooks: POST /webhook/set/{instance}",
    },
    Family {
        names: &["KAFKA_*"],
        asks: Asks::Switched(&["KAFKA_ENABLED"]),
        instead: "events go to webhooks: POST /webhook/set/{instance}",
    },
    Family {
        names: &["SQS_*"],
        asks: Asks::Switched(&["SQS_ENABLED"]),
        instead: "events go to webhooks: POST /webhook/set/{instance}",
    },
    Family {
        names: &["PUSHER_*"],
        asks: Asks::Switched(&["PUSHER_ENABLED", "PUSHER_GLOBAL_ENABLED"]),
        instead: "events go to webhooks: POST /webhook/set/{instance}",
    },
    Family {
        names: &["S3_*"],
        asks: Asks::Switched(&["S3_ENABLED"]),
        instead: "media are not fetched; the events of messages name them",
    },
    Family {
        names: &["CHATWOOT_*"],
        asks: Asks::Switched(&["CHATWOOT_ENABLED"]),
        instead: "Chatwoot is not delivered to; a webhook can be, with a program of yours between",
    },
    Family {
        names: &["TYPEBOT_*", "OPENAI_*", "DIFY_*", "N8N_*", "EVOAI_*", "FLOWISE_*"],
        asks: Asks::Switched(&[
            "TYPEBOT_ENABLED",
            "OPENAI_ENABLED",
            "DIFY_ENABLED",
            "N8N_ENABLED",
            "EVOAI_ENABLED",
            "FLOWISE_ENABLED",
        ]),
        instead: "there are no bots in the engine; let the bot take a webhook and answer with /message/sendText",
    },
    Family {
        names: &["SERVER_TYPE", "SSL_CONF_*"],
        asks: Asks::With("SERVER_TYPE", "https"),
        instead: "the engine speaks HTTP alone; put a proxy in front of it for TLS",
    },
    Family {
        names: &["API_AUDIO_CONVERTER", "API_AUDIO_CONVERTER_KEY"],
        asks: Asks::Set,
        instead: "audio is not sent yet",
    },
    Family { names: &["SENTRY_DSN"], asks: Asks::Set, instead: "errors are in the log, and counted in /metrics" },
    Family {
        names: &["WA_BUSINESS_*", "FACEBOOK_*"],
        asks: Asks::Nothing,
        instead: "WhatsApp's Cloud API is not spoken",
    },
    Family { names: &["TELEMETRY_*"], asks: Asks::Nothing, instead: "nothing is reported to anybody" },
    Family {
        names: &[
            "SERVER_NAME",
            "SERVER_DISABLE_DOCS",
            "SERVER_DISABLE_MANAGER",
            "LANGUAGE",
            "NODE_ENV",
            "DEL_TEMP_INSTANCES",
            "EVENT_EMITTER_MAX_LISTENERS",
        ],
        asks: Asks::Nothing,
        instead: "they are about parts that this engine does not have",
    },
];

/// What is around in any environment and looks like one of ours.
const NOT_OURS: [&str; 4] = ["DOCKER_ENV", "HOLDFAST_BACKUP_PASSPHRASE", "HOLDFAST_FAILPOINTS", "NODE_OPTIONS"];

/// Looks through the names of an environment for what is not honoured, and for what is nearly a name that is.
pub(super) fn strangers(names: &BTreeSet<String>, lookup: &dyn Fn(&str) -> Option<String>) -> Vec<Problem> {
    let strange: Vec<&str> = names.iter().map(String::as_str).filter(|name| !table::knows(name)).collect();
    let mut problems = Vec::new();
    let mut idle = Vec::new();
    for family in FAMILIES {
        let members: Vec<&str> = strange.iter().copied().filter(|name| family.has(name)).collect();
        let Some(first) = family.speaker(&members, lookup) else {
            idle.extend(members);
            continue;
        };
        problems.push(Problem {
            severity: Severity::Warning,
            code: "cfg-not-honoured",
            variable: Cow::Owned(first.to_owned()),
            sentence: format!("Evolution API has it, and this engine does not honour it{}", beside(&members, first)),
            fix: family.instead.to_owned(),
        });
    }
    if let Some(first) = idle.first() {
        problems.push(Problem {
            severity: Severity::Recommendation,
            code: "cfg-idle",
            variable: Cow::Owned((*first).to_owned()),
            sentence: format!("it is Evolution API's, and nothing here depends on it{}", beside(&idle, first)),
            fix: "remove what is not needed by another program".to_owned(),
        });
    }
    problems.extend(strange.iter().filter(|name| !is_foreign(name)).filter_map(|name| misspelled(name, names)));
    problems
}

impl Family {
    fn has(&self, name: &str) -> bool {
        let fits = |known: &&str| match known.strip_suffix('*') {
            Some(prefix) => name.starts_with(prefix),
            None => name == *known,
        };
        self.names.iter().any(fits)
    }

    /// Returns the variable that asks for something, if one does.
    fn speaker<'a>(&self, members: &[&'a str], lookup: &dyn Fn(&str) -> Option<String>) -> Option<&'a str> {
        let value = |name: &str| lookup(name).map(|text| text.trim().to_owned()).unwrap_or_default();
        members.iter().copied().find(|name| match self.asks {
            Asks::Switched(switches) => switches.contains(name) && value(name) == "true",
            Asks::With(switch, asked) => *name == switch && value(name) == asked,
            Asks::Set => !value(name).is_empty(),
            Asks::Nothing => false,
        })
    }
}

/// Tells whether it is a variable of Evolution's that is not honoured.
fn is_foreign(name: &str) -> bool {
    FAMILIES.iter().any(|family| family.has(name))
}

/// Names the other members behind a sentence.
fn beside(members: &[&str], first: &str) -> String {
    const SHOWN: usize = 8;
    let others: Vec<&str> = members.iter().copied().filter(|name| *name != first).collect();
    match others.as_slice() {
        [] => String::new(),
        others if others.len() > SHOWN => {
            format!("; nor {} and {} others", others[..SHOWN].join(", "), others.len() - SHOWN)
        }
        others => format!("; nor {}", others.join(", ")),
    }
}

/// Says which variable was meant, if one is near enough and is not set itself.
fn misspelled(name: &str, set: &BTreeSet<String>) -> Option<Problem> {
    if NOT_OURS.contains(&name) || name.len() > LONGEST {
        return None;
    }
    let written = normal(name);
    let near =
        table::all().filter(|known| !set.contains(known.name)).map(|known| (distance(&written, known.name), known));
    let (_, meant) = near.filter(|(far, known)| *far <= tolerance(known.name)).min_by_key(|(far, _)| *far)?;
    Some(Problem {
        severity: Severity::Warning,
        code: "cfg-did-you-mean",
        variable: Cow::Owned(name.to_owned()),
        sentence: format!("there is no such variable; did you mean {}?", meant.name),
        fix: format!("write {}, or remove it", meant.name),
    })
}

/// Nobody mistakes more than this for one of ours.
const LONGEST: usize = 64;

/// Small letters, dashes and dots are slips too.
fn normal(name: &str) -> String {
    name.chars().map(|c| if matches!(c, '-' | '.' | ' ') { '_' } else { c.to_ascii_uppercase() }).collect()
}

/// How many slips a name of this length may have.
fn tolerance(name: &str) -> usize {
    match name.len() {
        0..=7 => 0,
        8..=12 => 1,
        13..=19 => 2,
        _ => 3,
    }
}

/// Counts the letters to add, leave out, exchange or swap with the next until one text is the other.
fn distance(one: &str, other: &str) -> usize {
    let (one, other): (Vec<char>, Vec<char>) = (one.chars().collect(), other.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=other.len()).collect();
    for i in 1..=one.len() {
        let mut row = vec![i];
        for j in 1..=other.len() {
            let exchanged = last[j - 1] + usize::from(one[i - 1] != other[j - 1]);
            let mut least = exchanged.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && one[i - 1] == other[j - 2] && one[i - 2] == other[j - 1] {
                least = least.min(before[j - 2] + 1);
            }
            row.push(least);
        }
        before = std::mem::replace(&mut last, row);
    }
    last[other.len()]
}
