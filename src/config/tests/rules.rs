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

/// Codes of the findings with these settings.
fn codes(set: &[(&str, &str)]) -> Vec<&'static str> {
    examined(set).findings.iter().map(|problem| problem.code).collect()
}

const REDIS: [(&str, &str); 3] = [
    ("CACHE_REDIS_ENABLED", "true"),
    ("CACHE_REDIS_SAVE_INSTANCES", "true"),
    ("CACHE_REDIS_URI", "rediss://me:s3cret@cache:6379/1"),
];

#[test]
fn copies_in_redis_need_a_prefix_of_their_own_and_must_outlive_an_outage() {
    let with = |set: &[(&str, &str)]| codes(&[&REDIS, set].concat());
    let own = ("CACHE_REDIS_PREFIX_KEY", "evolution-production");
    assert_eq!(with(&[]), ["cfg-redis-prefix"]);
    assert_eq!(with(&[own]), [""; 0]);
    assert_eq!(with(&[("CACHE_REDIS_PREFIX_KEY", "evolution")]), ["cfg-redis-prefix"], "what the example has");
    for (ttl, every, expected) in [
        ("3600", "60", &[][..]),
        ("3599", "60", &["cfg-redis-ttl"]),
        ("7200", "2400", &[]),
        ("7199", "2400", &["cfg-redis-ttl"]),
    ] {
        let found = with(&[own, ("CACHE_REDIS_TTL", ttl), ("PROVIDER_SNAPSHOT_SECONDS", every)]);
        assert_eq!(found, expected, "{ttl} and {every}");
    }
    assert_eq!(codes(&[("CACHE_REDIS_TTL", "60")]), [""; 0], "nothing is kept");
}

#[test]
fn a_file_of_authorities_must_hold_certificates() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("ca.pem");
    let found = || {
        let path = file.display().to_string();
        let own = ("CACHE_REDIS_PREFIX_KEY", "evolution-production");
        codes(&[&REDIS, &[own, ("CACHE_REDIS_CA_FILE", path.as_str())][..]].concat())
    };
    assert_eq!(found(), ["cfg-redis-ca"], "there is none");
    let certificate = rcgen::generate_simple_self_signed(["cache".to_owned()]).unwrap();
    let (good, key) = (certificate.cert.pem(), certificate.signing_key.serialize_pem());
    let torn = good.replace("-----END CERTIFICATE-----", "");
    let other = good.lines().map(|line| if line.starts_with("MII") { "AAAA" } else { line }).collect::<Vec<_>>();
    for wrong in ["", "no certificate", &key, &torn, &other.join("\n")] {
        std::fs::write(&file, wrong).unwrap();
        assert_eq!(found(), ["cfg-redis-ca"], "{wrong}");
    }
    for right in [&good, &format!("{good}{good}"), &format!("{key}{good}")] {
        std::fs::write(&file, right).unwrap();
        assert_eq!(found(), [""; 0]);
    }
}

#[test]
fn a_session_provider_on_the_internet_is_warned_of() {
    let found = |host: &str| codes(&[("PROVIDER_ENABLED", "true"), ("PROVIDER_HOST", host)]);
    for near in
        ["127.0.0.1", "10.1.2.3", "192.168.0.2", "::1", "[fd00::1]", "localhost", "provider", "provider.example"]
    {
        assert_eq!(found(near), [""; 0], "{near}");
    }
    for far in ["1.1.1.1", "2606:4700::1111"] {
        assert_eq!(found(far), ["cfg-provider-plain"], "{far}");
    }
    assert_eq!(codes(&[("PROVIDER_HOST", "1.1.1.1")]), [""; 0], "it is off");
}

#[test]
fn the_authorities_of_a_database_are_a_file_of_certificates() {
    let found = |file: &str| {
        let address = format!("postgresql://me:s3cret@db/evolution?sslrootcert={file}");
        let set = [
            ("DATABASE_CONNECTION_URI", address.as_str()),
            ("DATABASE_CONNECTION_CLIENT_NAME", "ours"),
            ("NODE_URL", "http://node:8080"),
        ];
        examined(&set).findings.iter().map(|problem| problem.code).collect::<Vec<_>>()
    };
    assert_eq!(found("/no/such/file.pem"), ["cfg-database-ca"]);
    assert_eq!(found("/dev/null"), ["cfg-database-ca"]);
}
