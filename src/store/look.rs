//! A look at a database from outside, for whoever checks a setup: nothing in it is changed.

use super::cipher::{Cipher, Place};
use super::{EncryptionKey, PoolOptions, is_postgres, postgres, sqlite};
use crate::ports::store::StoreError;

/// What to look at, and as whom.
pub struct Looking<'a> {
    /// Where the database is, as for [`open`](super::open).
    pub url: &'a str,
    pub pool: PoolOptions,
    /// Whose rows are looked at.
    pub client_name: &'a str,
    /// The key that should open it, if there is one already.
    pub key: Option<&'a EncryptionKey>,
}

/// What was seen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Look {
    /// A migration that this build does not know: a newer one has shaped the database.
    pub newer: Option<String>,
    /// How many migrations the next start has to run.
    pub pending: usize,
    /// What a server says about itself.
    pub server: Option<Server>,
    /// The database is under a key, and it is not the one that was given.
    pub other_key: bool,
    /// The instances of the client name.
    pub instances: Vec<StoredInstance>,
    /// Other client names, and how many instances each has.
    pub others: Vec<(String, u64)>,
    /// Names of instances with a Chatwoot that is enabled.
    pub chatwoot: Vec<String>,
    /// Webhooks that are enabled: the instance's name, and the address, which may hold a secret.
    pub webhooks: Vec<(String, String)>,
    /// The processes that have told the others of themselves; none in an embedded database.
    pub nodes: Vec<StoredNode>,
}

/// What a row says of an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredInstance {
    pub name: String,
    /// `open`, `connecting` or `close`.
    pub state: String,
    /// Evolution's word for how it connects; empty if none is stored.
    pub integration: String,
}

/// What a row says of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredNode {
    pub name: String,
    pub url: Option<String>,
    pub version: String,
    /// Whether its leases hold, by the clock of the database.
    pub alive: bool,
}

/// What a server says about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Server {
    /// How many connections it takes.
    pub most: u64,
    /// How many of them others have.
    pub taken: u64,
    /// The Unix millisecond on its clock.
    pub clock_ms: i64,
}

/// Looks at the database of this address.
///
/// # Errors
/// If it cannot be reached or read.
pub async fn look(looking: &Looking<'_>) -> Result<Look, StoreError> {
    if is_postgres(looking.url) { postgres::look::look(looking).await } else { sqlite::look::look(looking).await }
}

/// What is asked of the rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Question {
    Key,
    Instances,
    Others,
    Chatwoot,
    Webhooks,
    Nodes,
}

/// Few words in which databases differ.
pub(super) struct Words {
    /// The check value, in hexadecimal digits.
    pub(super) check: &'static str,
    /// Whether a node's leases hold; `None` where there is one node.
    pub(super) alive: Option<&'static str>,
}

/// How many columns each answer has.
pub(super) const COLUMNS: usize = 4;

/// Returns the queries that the tables which are there can answer. Each answers with texts in columns `a` to `d`.
pub(super) fn questions(tables: &[String], client_name: &str, words: &Words) -> Vec<(Question, String)> {
    let name = client_name.replace('\'', "''");
    let here = |table: &str| tables.iter().any(|there| there == table);
    let beside = |table: &str, column: &str| {
        format!(
            r#"SELECT i."name" AS a, {column} AS b, '' AS c, '' AS d FROM "{table}" t JOIN "Instance" i ON i."id" = t."instanceId"
               WHERE t."enabled" = TRUE AND i."clientName" = '{name}' ORDER BY i."name""#
        )
    };
    let mut questions = Vec::new();
    if here("holdfast_meta") {
        let check = words.check;
        let query =
            format!("SELECT {check} AS a, '' AS b, '' AS c, '' AS d FROM holdfast_meta WHERE key = 'key_check'");
        questions.push((Question::Key, query));
    }
    if here("Instance") {
        let query = format!(
            r#"SELECT "name" AS a, CAST("connectionStatus" AS TEXT) AS b, COALESCE("integration", '') AS c, '' AS d
               FROM "Instance" WHERE "clientName" = '{name}' ORDER BY "name""#
        );
        questions.push((Question::Instances, query));
        let query = format!(
            r#"SELECT COALESCE("clientName", '') AS a, CAST(count(*) AS TEXT) AS b, '' AS c, '' AS d
               FROM "Instance" WHERE COALESCE("clientName", '') <> '{name}' GROUP BY "clientName" ORDER BY "clientName""#
        );
        questions.push((Question::Others, query));
        for (table, column, question) in
            [("Chatwoot", "''", Question::Chatwoot), ("Webhook", r#"t."url""#, Question::Webhooks)]
        {
            if here(table) {
                questions.push((question, beside(table, column)));
            }
        }
    }
    if let Some(alive) = words.alive.filter(|_| here("holdfast_node")) {
        let query = format!(
            "SELECT name AS a, COALESCE(url, '') AS b, version AS c, CASE WHEN {alive} THEN 'alive' ELSE '' END AS d
             FROM holdfast_node WHERE client_name = '{name}' ORDER BY name"
        );
        questions.push((Question::Nodes, query));
    }
    questions
}

impl Look {
    /// Compares the migrations that were run with those that are known.
    pub(super) fn compare(known: &[String], applied: &[String]) -> Self {
        let newer = applied.iter().filter(|version| !known.contains(version)).max().cloned();
        let pending = known.iter().filter(|version| !applied.contains(version)).count();
        Self { newer, pending, ..Self::default() }
    }

    /// Takes in an answer.
    pub(super) fn hear(&mut self, question: Question, rows: Vec<[String; COLUMNS]>, key: Option<&EncryptionKey>) {
        match question {
            Question::Key => self.other_key = rows.first().is_some_and(|[check, ..]| !opens(check, key)),
            Question::Instances => {
                self.instances = rows
                    .into_iter()
                    .map(|[name, state, integration, _]| StoredInstance { name, state, integration })
                    .collect();
            }
            Question::Others => {
                self.others =
                    rows.into_iter().map(|[name, count, ..]| (name, count.parse().unwrap_or_default())).collect();
            }
            Question::Chatwoot => self.chatwoot = rows.into_iter().map(|[name, ..]| name).collect(),
            Question::Webhooks => self.webhooks = rows.into_iter().map(|[name, url, ..]| (name, url)).collect(),
            Question::Nodes => {
                self.nodes = rows
                    .into_iter()
                    .map(|[name, url, version, alive]| StoredNode {
                        name,
                        url: Some(url).filter(|url| !url.is_empty()),
                        version,
                        alive: !alive.is_empty(),
                    })
                    .collect();
            }
        }
    }
}

/// Tells whether the key opens the check value.
fn opens(check: &str, key: Option<&EncryptionKey>) -> bool {
    let bytes: Option<Vec<u8>> = (0..check.len())
        .step_by(2)
        .map(|at| check.get(at..at + 2).and_then(|digits| u8::from_str_radix(digits, 16).ok()))
        .collect();
    match (bytes, key) {
        (Some(bytes), Some(key)) => Cipher::new(key).open(Place::Check, &bytes).is_ok(),
        (None, _) | (_, None) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_tables_that_are_there_are_asked_and_names_stay_texts() {
        let words = Words { check: "hex(value)", alive: Some("TRUE") };
        let asked = |tables: &[&str]| {
            let tables: Vec<String> = tables.iter().map(ToString::to_string).collect();
            questions(&tables, "o'name", &words)
        };
        assert!(asked(&[]).is_empty());
        assert!(asked(&["Webhook", "Chatwoot"]).is_empty(), "nothing hangs on no instance");
        let kinds: Vec<Question> = asked(&["Instance", "Chatwoot"]).into_iter().map(|(kind, _)| kind).collect();
        assert_eq!(kinds, [Question::Instances, Question::Others, Question::Chatwoot]);
        for (_, query) in asked(&["Instance", "Webhook", "holdfast_node"]) {
            assert!(query.contains("'o''name'"), "{query}");
        }
    }

    #[test]
    fn a_key_fits_the_check_value_that_it_has_sealed_and_no_other() {
        let key = EncryptionKey::new([1; 32]);
        let sealed = Cipher::new(&key).seal(Place::Check, b"holdfast").unwrap();
        let digits = sealed.iter().fold(String::new(), |digits, byte| digits + &format!("{byte:02x}"));
        let other_key = |text: &str, key: Option<&EncryptionKey>| {
            let mut look = Look::default();
            look.hear(Question::Key, vec![[text.to_owned(), String::new(), String::new(), String::new()]], key);
            look.other_key
        };
        assert!(!other_key(&digits, Some(&key)));
        assert!(!other_key(&digits.to_uppercase(), Some(&EncryptionKey::new([2; 32]).and_older([1; 32]))));
        assert!(other_key(&digits, Some(&EncryptionKey::new([2; 32]))));
        assert!(other_key(&digits, None), "a new one would be made");
        assert!(other_key("é", Some(&key)));
        let mut empty = Look::default();
        empty.hear(Question::Key, Vec::new(), None);
        assert!(!empty.other_key, "there is no key yet");
    }
}
