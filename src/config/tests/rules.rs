//! What single values cannot show: whether they fit each other, and whether they fit what runs the service.

use super::*;

#[test]
fn a_lease_that_ends_when_one_renewal_is_late_is_refused() {
    for (ttl, renew, codes) in [("6", "2", &[][..]), ("6", "3", &["cfg-leases"]), ("3", "1", &[])] {
        let found = problems(|asked| match asked {
            "LEASE_TTL_SECONDS" => Some(ttl.to_owned()),
            "LEASE_RENEW_SECONDS" => Some(renew.to_owned()),
            _ => None,
        });
        assert_eq!(found.iter().map(|problem| problem.code).collect::<Vec<_>>(), codes, "{ttl} and {renew}");
    }
}

#[test]
fn keys_that_everybody_knows_are_refused() {
    for key in ["BQYHJGJHJ", "429683C4C977415CAAFCCE10F7D57E11"] {
        assert_eq!(found("AUTHENTICATION_API_KEY", key), ["cfg-api-key-published"]);
        let (settings, _) =
            Settings::examine(&BTreeSet::new(), |name| (name == "AUTHENTICATION_API_KEY").then(|| key.to_owned()));
        assert!(settings.is_none());
    }
    assert_eq!(found("AUTHENTICATION_API_KEY", "short"), ["cfg-api-key-short"]);
    assert_eq!(found("AUTHENTICATION_API_KEY", "a-key-of-some-length"), [""; 0]);
}

#[test]
fn a_shutdown_must_fit_into_the_patience_of_the_platform() {
    let codes = |set: &[(&str, &str)]| {
        let report = examined(set);
        report.findings.iter().map(|problem| (problem.variable.to_string(), problem.severity)).collect::<Vec<_>>()
    };
    let warned = |variable: &str, severity| vec![(variable.to_owned(), severity)];
    assert_eq!(codes(&[("STOP_GRACE_SECONDS", "30")]), warned("STOP_GRACE_SECONDS", Severity::Warning));
    assert_eq!(codes(&[("STOP_GRACE_SECONDS", "33")]), []);
    assert_eq!(codes(&[("STOP_GRACE_SECONDS", "10"), ("SHUTDOWN_TIMEOUT_SECONDS", "7")]), []);
    let guessed = warned("SHUTDOWN_TIMEOUT_SECONDS", Severity::Recommendation);
    let kubernetes = ("KUBERNETES_SERVICE_HOST", "10.0.0.1");
    assert_eq!(codes(&[kubernetes]), guessed);
    assert_eq!(codes(&[kubernetes, ("STOP_GRACE_SECONDS", "60")]), []);
    assert_eq!(codes(&[("DOCKER_ENV", "true"), ("SHUTDOWN_TIMEOUT_SECONDS", "20")]), guessed);
    assert_eq!(codes(&[("DOCKER_ENV", "true"), ("SHUTDOWN_TIMEOUT_SECONDS", "7")]), []);
}

#[test]
fn a_shared_server_needs_a_name_for_each_installation() {
    let server = ("DATABASE_CONNECTION_URI", "postgresql://me:s3cret@db/evolution");
    let codes = |set: &[(&str, &str)]| {
        examined(&[set, &[("NODE_URL", "http://node:8080")]].concat())
            .findings
            .iter()
            .map(|problem| problem.code)
            .collect::<Vec<_>>()
    };
    assert_eq!(codes(&[server]), ["cfg-client-name"]);
    assert_eq!(codes(&[server, ("DATABASE_CONNECTION_CLIENT_NAME", "evolution_production")]), [""; 0]);
    assert_eq!(codes(&[]), [""; 0], "an embedded database is nobody else's");
}
