//! Which proxy is dialled through, and that nothing which was enabled ever means the direct way.

use holdfast_core::proxy::reply::{LONGEST_HEAD, Reply, read};
use holdfast_core::proxy::socks;
use holdfast_core::proxy::{Fault, Fields, Invalid, Protocol, Proxy, effective};
use proptest::prelude::*;

const GOOD: Fields<'static> =
    Fields { host: "proxy.example", port: "8080", protocol: "http", username: "me", password: "s3cret" };

fn global() -> Proxy {
    let fields = Fields { host: "10.0.0.1", port: "1080", protocol: "socks5", username: "", password: "" };
    Proxy::parse(fields).expect("a good proxy")
}

#[test]
fn the_spellings_of_the_protocols_are_understood() {
    for (protocol, expected) in [
        ("http", Ok(Protocol::Http)),
        ("HTTP", Ok(Protocol::Http)),
        ("socks", Ok(Protocol::Socks5)),
        ("socks5", Ok(Protocol::Socks5)),
        ("socks5h", Ok(Protocol::Socks5)),
        ("https", Err(Invalid::Https)),
        ("socks4", Err(Invalid::Protocol)),
        ("", Err(Invalid::Protocol)),
        ("direct", Err(Invalid::Protocol)),
    ] {
        assert_eq!(Proxy::parse(Fields { protocol, ..GOOD }).map(|proxy| proxy.protocol), expected, "{protocol}");
    }
}

#[test]
fn hosts_and_ports_are_checked() {
    for (host, shown) in [
        ("proxy.example", Ok("http://proxy.example:8080")),
        (" Proxy.Example ", Ok("http://proxy.example:8080")),
        ("10.0.0.1", Ok("http://10.0.0.1:8080")),
        ("::1", Ok("http://[::1]:8080")),
        ("[::1]", Ok("http://[::1]:8080")),
        ("", Err(Invalid::NoHost)),
        (" ", Err(Invalid::NoHost)),
        ("http://proxy.example", Err(Invalid::Host)),
        ("me:pw@proxy.example", Err(Invalid::Host)),
        ("proxy.example:3128", Err(Invalid::Host)),
        ("proxy example", Err(Invalid::Host)),
        ("a\r\nb", Err(Invalid::Text)),
    ] {
        let parsed = Proxy::parse(Fields { host, ..GOOD }).map(|proxy| proxy.to_string());
        assert_eq!(parsed.as_deref(), shown.as_ref().copied(), "{host:?}");
    }
    for port in ["", "0", "65536", "-1", "+80", "8o", "80 80", "99999999999999999999"] {
        assert_eq!(Proxy::parse(Fields { port, ..GOOD }), Err(Invalid::Port), "{port:?}");
    }
}

#[test]
fn credentials_are_what_the_protocol_can_carry() {
    let both = |protocol, username, password| Proxy::parse(Fields { protocol, username, password, ..GOOD });
    assert!(both("http", "", "").unwrap().credentials.is_none());
    assert_eq!(both("http", "me", "").unwrap().credentials.unwrap().user(), "me");
    assert_eq!(both("http", "", "pw"), Err(Invalid::NoUser));
    assert_eq!(both("http", "a:b", "pw"), Err(Invalid::Colon));
    assert_eq!(both("socks", "a:b", "pw").unwrap().credentials.unwrap().password(), "pw");
    assert_eq!(both("socks", "me", ""), Err(Invalid::SocksCredentials));
    // A hundred characters, but more bytes than the protocol has room for.
    let long = "漢".repeat(100);
    assert_eq!(both("socks", &long, "pw"), Err(Invalid::SocksCredentials));
    assert!(both("http", &long, "pw").is_ok());
    let longer = "a".repeat(101);
    assert_eq!(both("http", &longer, "pw"), Err(Invalid::Text));
    assert_eq!(both("http", "me", "a\nb"), Err(Invalid::Text));
}

#[test]
fn nothing_that_is_printed_shows_the_credentials() {
    let proxy = Proxy::parse(GOOD).unwrap();
    let printed = format!("{proxy} {proxy:?} {proxy:#?}");
    assert!(!printed.contains("s3cret") && !printed.contains("\"me\""), "{printed}");
}

#[test]
fn the_row_comes_before_the_proxy_of_the_service_if_it_is_enabled() {
    let (own, global) = (Proxy::parse(GOOD).unwrap(), global());
    assert_eq!(effective(None, None), Ok(None));
    assert_eq!(effective(None, Some(&global)), Ok(Some(global.clone())));
    assert_eq!(effective(Some((false, GOOD)), None), Ok(None));
    assert_eq!(effective(Some((false, GOOD)), Some(&global)), Ok(Some(global.clone())));
    assert_eq!(effective(Some((true, GOOD)), Some(&global)), Ok(Some(own.clone())));
    assert_eq!(effective(Some((true, GOOD)), None), Ok(Some(own)));
}

proptest! {
    /// The heart of it: whatever stands in an enabled row, the answer is that proxy or an error.
    #[test]
    fn an_enabled_row_never_means_the_direct_way(
        host in ".{0,20}", port in ".{0,8}", protocol in prop_oneof!["http", "socks5", ".{0,8}"],
        username in ".{0,8}", password in ".{0,8}", with_global: bool,
    ) {
        let fields = Fields { host: &host, port: &port, protocol: &protocol, username: &username, password: &password };
        let global = with_global.then(global);
        let found = effective(Some((true, fields)), global.as_ref());
        prop_assert_eq!(found, Proxy::parse(fields).map(Some));
    }

    /// An answer is read alike however it is cut, never waits for ever, and opens the tunnel for a 2xx alone.
    #[test]
    fn an_answer_of_an_http_proxy_is_read_in_pieces(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        for end in 0..bytes.len() {
            if read(&bytes[..end]) == Reply::Open {
                prop_assert!(bytes.starts_with(b"HTTP/1."));
            }
        }
    }
}

#[test]
fn answers_of_http_proxies() {
    let refused = |fault, status| Reply::Refused { fault, status };
    for (answer, expected) in [
        ("", Reply::More),
        ("HTTP/1.1 200 OK\r\n", Reply::More),
        ("HTTP/1.1 200 OK\r\n\r\n", Reply::Open),
        ("HTTP/1.0 200 Connection established\r\nVia: x\r\n\r\n", Reply::Open),
        ("HTTP/1.1 204\r\n\r\n", Reply::Open),
        ("HTTP/1.1 407 Proxy Authentication Required\r\n\r\nbody", refused(Fault::Credentials, 407)),
        ("HTTP/1.1 401 Unauthorized\r\n\r\n", refused(Fault::Credentials, 401)),
        ("HTTP/1.1 403 Forbidden\r\n\r\n", refused(Fault::Target, 403)),
        ("HTTP/1.1 502 Bad Gateway\r\n\r\n", refused(Fault::Target, 502)),
        ("HTTP/1.1 302 Found\r\nLocation: http://x\r\n\r\n", refused(Fault::Target, 302)),
        ("HTTP/1.1 200 OK\r\n\r\n<html>", Reply::Garbage),
        ("HTTP/1.1 100 Continue\r\n\r\n", Reply::Garbage),
        ("HTTP/1.1 2000 OK\r\n\r\n", Reply::Garbage),
        ("HTTP/1.1 abc\r\n\r\n", Reply::Garbage),
        ("HTTP/2 200", Reply::Garbage),
        ("SSH-2.0-OpenSSH", Reply::Garbage),
        ("\u{5}\u{0}", Reply::Garbage),
    ] {
        assert_eq!(read(answer.as_bytes()), expected, "{answer:?}");
    }
    let mut flood = b"HTTP/1.1 200 OK\r\nX: ".to_vec();
    flood.resize(LONGEST_HEAD - 1, b'a');
    assert_eq!(read(&flood), Reply::More);
    flood.push(b'a');
    assert_eq!(read(&flood), Reply::Garbage);
}

#[test]
fn the_words_of_socks5() {
    let proxy = Proxy::parse(Fields { protocol: "socks5", ..GOOD }).unwrap();
    let known = proxy.credentials.as_ref();
    assert_eq!(socks::greeting(known), [5, 2, 0, 2]);
    assert_eq!(socks::greeting(None), [5, 1, 0]);
    assert_eq!(socks::authentication(known.unwrap()), b"\x01\x02me\x06s3cret");
    assert_eq!(socks::chosen([5, 2], known), Ok(true));
    assert_eq!(socks::chosen([5, 0], None), Ok(false));
    assert_eq!(socks::chosen([5, 0], known), Ok(false));
    assert_eq!(socks::chosen([5, 2], None), Err(Fault::Protocol));
    assert_eq!(socks::chosen([5, 0xff], known), Err(Fault::Credentials));
    assert_eq!(socks::chosen(*b"HT", None), Err(Fault::Protocol));
    assert_eq!(socks::authenticated([1, 0]), Ok(()));
    assert_eq!(socks::authenticated([1, 1]), Err(Fault::Credentials));
    assert_eq!(socks::authenticated([5, 0]), Err(Fault::Protocol));

    assert_eq!(socks::request("web.example", 443).unwrap(), b"\x05\x01\x00\x03\x0bweb.example\x01\xbb");
    assert_eq!(socks::request("127.0.0.1", 80).unwrap(), [5, 1, 0, 1, 127, 0, 0, 1, 0, 80]);
    assert_eq!(socks::request("[::1]", 80).unwrap().len(), 4 + 16 + 2);
    assert_eq!(socks::request(&"a".repeat(256), 80), Err(Fault::Target));

    // Five bytes are read already: the length that is missing is that of the whole answer without them.
    assert_eq!(socks::connected([5, 0, 0, 1, 127]), Ok(10 - 5));
    assert_eq!(socks::connected([5, 0, 0, 4, 0]), Ok(22 - 5));
    assert_eq!(socks::connected([5, 0, 0, 3, 255]), Ok(4 + 1 + 255 + 2 - 5));
    for code in 1..=255 {
        assert_eq!(socks::connected([5, code, 0, 1, 0]), Err(Fault::Target));
    }
    assert_eq!(socks::connected([5, 0, 0, 9, 0]), Err(Fault::Protocol));
    assert_eq!(socks::connected(*b"HTTP/"), Err(Fault::Protocol));
}

#[test]
fn every_fault_is_explained() {
    let mut words: Vec<_> = Fault::ALL.iter().map(|fault| fault.as_str()).collect();
    assert!(Fault::ALL.iter().all(|fault| fault.sentence().ends_with('.')));
    words.dedup();
    assert_eq!(words.len(), Fault::ALL.len());
}
