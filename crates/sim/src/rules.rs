//! How the server behaves until it is told otherwise, towards everybody.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::address::Address;
use crate::api::Problem;
use crate::world::World;

/// WhatsApp gives as many references as it lets a client show QR codes, one after the other.
const REFERENCES: u8 = 6;
/// The longest delay that can be asked for, in milliseconds: longer than any client waits.
pub(crate) const LONGEST_DELAY: u64 = 600_000;

/// How the server behaves. They are conditions of a test and not kept in the state file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Rules {
    /// New connections are accepted, and then never hear anything.
    pub silent_on_connect: bool,
    /// Logins are accepted, and nothing is heard after that.
    pub silent_on_success: bool,
    /// How late the steps of a login come.
    pub slow: Slow,
    /// A client that remembers the server's key is made to do the full handshake.
    pub decline_ik: bool,
    /// Phones share the key of their app state with a device that they link.
    pub key_share: bool,
    /// Phones hand over again what their devices ask them for.
    pub resend: bool,
    /// The server tells a device when it has sent all that was waiting; clients hold everything back until then.
    pub send_offline: bool,
    /// Logins are refused.
    pub login_failure: Option<LoginFailure>,
    /// Messages that devices send are refused, or not acknowledged.
    pub message_failure: Option<MessageFailure>,
    /// How many references a client without an account is given, each for one QR code.
    pub refs: u8,
}

/// How late the steps of a login come, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Slow {
    /// The answer to the WebSocket's upgrade.
    pub upgrade_ms: u64,
    /// The server's part of the Noise handshake.
    pub hello_ms: u64,
    /// The answer to a login.
    pub success_ms: u64,
}

/// A refusal of logins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LoginFailure {
    /// The code that the client is told.
    pub reason: u16,
    /// How many logins are refused; all of them when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u32>,
    /// Whose: a phone number or JID; everybody's when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jid: Option<String>,
    /// What else the refusal says: `code` and `expire` (seconds) of a temporary ban, for example.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attrs: BTreeMap<String, String>,
}

/// What goes wrong with messages that devices send.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MessageFailure {
    /// The code with which a message is refused; nobody gets it then. When absent the message arrives, but is never acknowledged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<u16>,
    /// How many messages it happens to; all of them when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u32>,
    /// Whose: a phone number or JID; everybody's when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jid: Option<String>,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            silent_on_connect: false,
            silent_on_success: false,
            slow: Slow::default(),
            decline_ik: false,
            key_share: true,
            resend: true,
            send_offline: true,
            login_failure: None,
            message_failure: None,
            refs: REFERENCES,
        }
    }
}

impl Rules {
    /// These rules with those fields replaced that `changes` names.
    ///
    /// # Errors
    /// When `changes` is no object, names a field that does not exist, or gives one a value that it cannot have.
    pub fn changed(&self, changes: &Value) -> Result<Self, Problem> {
        let Value::Object(changes) = changes else {
            return Err(Problem::bad_request("the rules to change are given as a JSON object, such as {\"refs\": 2}"));
        };
        let mut all = serde_json::to_value(self).map_err(|error| Problem::bad_request(error.to_string()))?;
        for (name, value) in changes {
            all[name] = value.clone();
        }
        let rules: Self =
            serde_json::from_value(all).map_err(|error| Problem::bad_request(format!("no such rule: {error}")))?;
        rules.check()?;
        Ok(rules)
    }

    fn check(&self) -> Result<(), Problem> {
        let Slow { upgrade_ms, hello_ms, success_ms } = self.slow;
        if let Some(longest) = [upgrade_ms, hello_ms, success_ms].into_iter().find(|delay| *delay > LONGEST_DELAY) {
            return Err(Problem::bad_request(format!("a delay is at most {LONGEST_DELAY} ms, not {longest}")));
        }
        if self.refs == 0 {
            return Err(Problem::bad_request("a client is given at least one reference"));
        }
        Ok(())
    }
}

impl World {
    /// Puts other rules into force.
    ///
    /// # Errors
    /// When a rule names nobody.
    pub fn set_rules(&mut self, rules: Rules) -> Result<(), Problem> {
        rules.check()?;
        let logins = rules.login_failure.as_ref().and_then(|failure| failure.jid.as_deref());
        let messages = rules.message_failure.as_ref().and_then(|failure| failure.jid.as_deref());
        self.filter(logins)?;
        self.filter(messages)?;
        self.rules = rules;
        Ok(())
    }

    /// The refusal that a rule has for this login; uses it up if it is for a number of logins only.
    pub(crate) fn ruled_failure(&mut self, address: &Address) -> Option<LoginFailure> {
        let failure = self.rules.login_failure.clone()?;
        if !self.is_meant(failure.jid.as_deref(), address) {
            return None;
        }
        use_up(&mut self.rules.login_failure, |failure| &mut failure.count);
        (failure.count != Some(0)).then_some(failure)
    }

    /// What a rule does to this message of a device; uses it up if it is for a number of messages only.
    pub(crate) fn ruled_message(&mut self, address: &Address) -> Option<MessageFailure> {
        let failure = self.rules.message_failure.clone()?;
        if !self.is_meant(failure.jid.as_deref(), address) {
            return None;
        }
        use_up(&mut self.rules.message_failure, |failure| &mut failure.count);
        (failure.count != Some(0)).then_some(failure)
    }

    fn is_meant(&self, jid: Option<&str>, address: &Address) -> bool {
        self.filter(jid).is_ok_and(|filter| filter.is_none_or(|filter| filter.matches(address)))
    }
}

/// Counts one use of a rule, and takes the rule away after the last.
fn use_up<R>(rule: &mut Option<R>, count: impl Fn(&mut R) -> &mut Option<u32>) {
    let Some(left) = rule.as_mut().and_then(|rule| count(rule).as_mut()) else { return };
    *left = left.saturating_sub(1);
    if *left == 0 {
        *rule = None;
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_change_replaces_what_it_names_and_leaves_the_rest() {
        let rules = Rules::default().changed(&json!({ "refs": 2, "slow": { "helloMs": 50 } })).unwrap();
        assert_eq!((rules.refs, rules.slow.hello_ms, rules.key_share), (2, 50, true));
        let rules = rules.changed(&json!({ "loginFailure": { "reason": 402, "attrs": { "expire": "60" } } })).unwrap();
        assert_eq!((rules.refs, rules.login_failure.as_ref().unwrap().reason), (2, 402));
        assert_eq!(rules.changed(&json!({ "loginFailure": null })).unwrap().login_failure, None);
    }

    #[test]
    fn what_is_no_rule_is_refused_by_name() {
        for (wrong, named) in [
            (json!({ "reffs": 2 }), "reffs"),
            (json!({ "slow": { "hello": 1 } }), "hello"),
            (json!({ "refs": 0 }), "at least one"),
            (json!({ "refs": "two" }), "two"),
            (json!({ "loginFailure": {} }), "reason"),
            (json!({ "messageFailure": { "code": "x" } }), "invalid type"),
            (json!({ "messageFailure": { "reason": 1 } }), "reason"),
            (json!({ "slow": { "upgradeMs": 700_000 } }), "at most"),
            (json!([]), "JSON object"),
        ] {
            let problem = Rules::default().changed(&wrong).unwrap_err();
            assert!(problem.status == 400 && problem.sentence.contains(named), "{wrong}: {problem}");
        }
    }
}
