//! What is stored, and is not done by this build or with these settings.

use std::fmt::Write as _;

use holdfast_core::network::Networks;

use crate::config::{Problem, Severity};
use crate::ports::address;
use crate::store::Look;

/// The only way to connect that there is.
const DONE: &str = "WHATSAPP-BAILEYS";
/// Names that a sentence lists.
const SHOWN: usize = 5;

/// Names the instances that wait for something in vain.
pub(super) fn judge(seen: &Look, networks: &Networks) -> Vec<Problem> {
    let mut found = Vec::new();
    let mut warn = |code, variable, sentence: String, fix: &str| {
        found.push(Problem::new(Severity::Warning, code, variable, sentence, fix));
    };
    if !seen.chatwoot.is_empty() {
        warn(
            "stored-integration-not-delivered",
            "DATABASE_CONNECTION_URI",
            format!("Chatwoot is stored as enabled, and is not delivered to: {}", listed(&seen.chatwoot)),
            "set a webhook with a program of yours between, and let Evolution API or Chatwoot no longer wait for these instances",
        );
    }
    let elsewhere: Vec<String> = seen
        .instances
        .iter()
        .filter(|instance| !instance.integration.is_empty() && instance.integration != DONE)
        .map(|instance| format!("{} ({})", instance.name, instance.integration))
        .collect();
    if !elsewhere.is_empty() {
        warn(
            "stored-integration-not-delivered",
            "DATABASE_CONNECTION_URI",
            format!("there are instances that connect in a way which is not spoken here: {}", listed(&elsewhere)),
            "leave them to Evolution API, under a DATABASE_CONNECTION_CLIENT_NAME of its own, or delete them",
        );
    }
    let refused: Vec<String> = seen
        .webhooks
        .iter()
        .filter_map(|(name, url)| refusal(url, networks).map(|why| format!("{name} ({why})")))
        .collect();
    if !refused.is_empty() {
        warn(
            "stored-webhook-not-allowed",
            "WEBHOOK_ALLOWED_NETWORKS",
            format!("there are webhooks that are never called: {}", listed(&refused)),
            "correct them with POST /webhook/set/{instance}, or add their network to WEBHOOK_ALLOWED_NETWORKS",
        );
    }
    found
}

/// Says why an address is not called. Of the address there is no more than its host: paths and credentials may be secrets.
fn refusal(url: &str, networks: &Networks) -> Option<String> {
    // What was never filled in is enabled in Evolution's rows, and nobody waits for it.
    if url.trim().is_empty() {
        return None;
    }
    match address::parse(url) {
        Ok(url) => {
            let class = networks.permit(address::literal(&url)?).err()?;
            Some(format!("{} is a {class} address", url.origin().ascii_serialization()))
        }
        Err(_holds_the_text) => Some("no address that can be called".to_owned()),
    }
}

fn listed(names: &[String]) -> String {
    let mut text = names.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    if names.len() > SHOWN {
        // Writing to a String cannot fail.
        let _infallible = write!(text, " and {} others", names.len() - SHOWN);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::StoredInstance;

    #[test]
    fn what_waits_in_vain_is_named_without_the_secrets_of_addresses() {
        let instance = |name: &str, integration: &str| StoredInstance {
            name: name.to_owned(),
            state: "close".to_owned(),
            integration: integration.to_owned(),
        };
        let webhook = |name: &str, url: &str| (name.to_owned(), url.to_owned());
        let seen = Look {
            instances: vec![instance("a", DONE), instance("b", ""), instance("cloud", "WHATSAPP-BUSINESS")],
            chatwoot: (0..7).map(|number| format!("desk-{number}")).collect(),
            webhooks: vec![
                webhook("public", "https://hooks.example/x"),
                webhook("near", "http://me:s3cret@10.0.0.9:8080/s3cret?k=s3cret"),
                webhook("torn", "vazio s3cret"),
                webhook("empty", ""),
            ],
            ..Look::default()
        };
        let found = judge(&seen, &Networks::default());
        let codes: Vec<&str> = found.iter().map(|problem| problem.code).collect();
        assert_eq!(
            codes,
            ["stored-integration-not-delivered", "stored-integration-not-delivered", "stored-webhook-not-allowed"]
        );
        assert!(found[0].sentence.ends_with("desk-0, desk-1, desk-2, desk-3, desk-4 and 2 others"), "{}", found[0]);
        assert!(found[1].sentence.ends_with(": cloud (WHATSAPP-BUSINESS)"), "{}", found[1]);
        assert!(
            found[2]
                .sentence
                .ends_with(": near (http://10.0.0.9:8080 is a private address), torn (no address that can be called)"),
            "{}",
            found[2]
        );
        let near = Look { webhooks: seen.webhooks[..2].to_vec(), ..Look::default() };
        assert!(judge(&near, &Networks::parse(["private"]).unwrap()).is_empty(), "it is allowed");
    }
}
