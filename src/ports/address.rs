//! The address of a webhook, as it was set: whom it means, and how it is shown.

use std::net::{IpAddr, Ipv4Addr};

use holdfast_core::delivery::origin::Origin;
use url::{Host, Url};

/// Reads an address that can be called.
///
/// # Errors
/// A sentence that says why it cannot; the address is not in it, since it may hold a secret.
pub fn parse(text: &str) -> Result<Url, String> {
    let url = Url::parse(text.trim()).map_err(|cause| format!("the webhook's URL is none: {cause}"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(format!("the webhook's URL has the scheme {}, only http and https are called", url.scheme()));
    }
    Ok(url)
}

/// Returns the target as a whole that an address means.
pub fn origin(text: &str) -> Origin {
    parse(text).map_or_else(|_no_address| Origin::none(), |url| Origin::new(url.origin().ascii_serialization()))
}

/// Returns the IP address that is written in an address, in whatever spelling; `localhost` counts as one. A name has none.
pub fn literal(url: &Url) -> Option<IpAddr> {
    match url.host()? {
        Host::Ipv4(address) => Some(IpAddr::V4(address)),
        Host::Ipv6(address) => Some(IpAddr::V6(address)),
        Host::Domain(name) => {
            let name = name.trim_end_matches('.');
            (name == "localhost" || name.ends_with(".localhost")).then_some(IpAddr::V4(Ipv4Addr::LOCALHOST))
        }
    }
}

/// Returns an address as it may be shown: without credentials, query and fragment.
pub fn shown(text: &str) -> Option<String> {
    let mut url = Url::parse(text.trim()).ok()?;
    // They fail on addresses that have no place for credentials.
    let _none = url.set_username("");
    let _none = url.set_password(None);
    url.set_query(None);
    url.set_fragment(None);
    Some(url.into())
}

#[cfg(test)]
mod tests {
    use super::{literal, origin, parse, shown};

    #[test]
    fn only_http_is_called() {
        for url in
            ["", "vazio", "ftp://x/y", "file:///etc/passwd", "javascript:alert(1)", "mailto:a@b", "http://", "//x/y"]
        {
            assert!(parse(url).is_err(), "{url}");
            assert_eq!(origin(url).as_str(), "none", "{url}");
        }
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        let table = [
            ("http://x/y?k=s#f", "http://x"),
            ("http://X:80/z", "http://x"),
            ("https://user:s3cret@x.test:8443/y", "https://x.test:8443"),
            ("https://x", "https://x"),
            ("http://2130706433/", "http://127.0.0.1"),
        ];
        for (url, expected) in table {
            assert_eq!(origin(url).as_str(), expected, "{url}");
        }
    }

    #[test]
    fn an_address_is_found_in_every_spelling() {
        let spellings = [
            "127.0.0.1",
            "2130706433",
            "0x7f000001",
            "0x7f.1",
            "017700000001",
            "0177.0.0.1",
            "127.1",
            "localhost",
            "LOCALHOST",
            "localhost.",
            "foo.localhost",
            "１２７.0.0.1",
        ];
        for host in spellings {
            let url = parse(&format!("http://{host}:8080/x")).unwrap();
            assert_eq!(literal(&url).map(|address| address.to_string()).as_deref(), Some("127.0.0.1"), "{host}");
        }
        let six = parse("http://[::ffff:7f00:1]/").unwrap();
        assert_eq!(literal(&six).map(|address| address.to_string()).as_deref(), Some("::ffff:127.0.0.1"));
        for name in ["example.com", "localhost.example.com", "127.0.0.1.example.com", "notlocalhost"] {
            assert_eq!(literal(&parse(&format!("http://{name}/")).unwrap()), None, "{name}");
        }
    }

    #[test]
    fn what_is_shown_has_no_secrets_beside_the_path() {
        assert_eq!(shown("https://user:s3cret@x/y?k=s3cret#s3cret").as_deref(), Some("https://x/y"));
        assert_eq!(shown("vazio"), None);
    }
}
