//! Requests for instances of another node.

use std::time::Duration;

use holdfast::ports::link::SentMessage;
use holdfast::ports::node_key::NodeKey;
use holdfast_core::connection::Phase;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::register::Pair;
use super::service::{Service, answer, header};
use holdfast::actors::supervisor::protocol::CommandError;

const NODE: &str = "x-holdfast-node";
/// What a path can hold and what it cannot.
const NAME: &str = "loja 1/é%+?#&\"";
const IN_A_PATH: &str = "loja%201%2F%C3%A9%25+%3F%23%26%22";

/// An answer: status, node and body.
async fn told(request: RequestBuilder) -> (u16, String, Value) {
    let response = request.send().await.unwrap();
    let node = header(&response, NODE).to_owned();
    (response.status().as_u16(), node, response.json().await.unwrap())
}

fn code(body: &Value) -> &str {
    body["response"]["code"].as_str().unwrap_or_default()
}

fn sent() -> SentMessage {
    SentMessage { body: json!({ "key": { "id": "X" }, "status": "PENDING" }) }
}

#[actix_web::test]
async fn every_request_is_carried_out_by_the_owner_whoever_is_asked() {
    let pair = Pair::start().await;
    let (id, token) = pair.instance(NAME).await;
    pair.a.put(&id, Phase::Online, |_| {});
    pair.a.script.lock().send = Some(Ok(sent()));
    pair.a.asked();
    let hook = json!({ "webhook": { "enabled": true, "url": "http://10.1.2.3/x" } });
    let settings = json!({ "rejectCall": true, "groupsIgnore": false, "alwaysOnline": false, "readMessages": false, "readStatus": false,
        "syncFullHistory": false });
    let proxy = json!({ "enabled": false, "host": "", "port": "", "protocol": "http" });
    let text = json!({ "number": "5511", "text": "olá" });
    let nothing = Value::Null;
    for (method, route, query, body, status, asks) in [
        (Method::GET, "instance/connectionState", "?verify=true", &nothing, 200, "verify"),
        (Method::POST, "message/sendText", "", &text, 201, "where is"),
        (Method::POST, "webhook/set", "", &hook, 201, ""),
        (Method::GET, "webhook/find", "?x=%20+", &nothing, 200, ""),
        (Method::POST, "settings/set", "", &settings, 201, "apply settings"),
        (Method::GET, "settings/find", "", &nothing, 200, ""),
        (Method::POST, "proxy/set", "", &proxy, 201, ""),
        (Method::GET, "proxy/find", "/", &nothing, 200, ""),
        (Method::POST, "instance/restart", "", &nothing, 200, "restart"),
        (Method::PUT, "instance/restart", "//", &nothing, 200, "restart"),
        (Method::GET, "instance/connect", "?number=5511999990001", &nothing, 200, ""),
        (Method::DELETE, "instance/logout", "", &nothing, 200, "log out"),
        (Method::DELETE, "instance/delete", "", &nothing, 200, "delete"),
    ] {
        // Each node knows its own key and the token.
        let key = if route.starts_with("instance") { &token } else { &pair.b.key };
        let request = pair.b.anonymous(method, &format!("/{route}/{IN_A_PATH}{query}")).header("apikey", key);
        let request = if body.is_null() { request } else { request.json(body) };
        let (answered, node, body) = told(request).await;
        assert_eq!((answered, node.as_str()), (status, "a"), "{route}: {body}");
        let asked = pair.a.asked();
        assert!(asks.is_empty() || asked.iter().any(|one| one.contains(asks)), "{route}: {asked:?}");
        assert_eq!(pair.b.asked(), Vec::<String>::new(), "{route}");
    }
    assert_eq!(pair.a.script.lock().sent[0].text, "olá");
    let gone = pair.b.request(Method::GET, &format!("/instance/connectionState/{IN_A_PATH}"));
    let (status, node, body) = told(gone).await;
    assert_eq!((status, node.as_str(), code(&body)), (404, "b", "instance-unknown"));
}

#[actix_web::test]
async fn the_node_that_is_asked_checks_the_key_in_the_usual_order() {
    let pair = Pair::start().await;
    let (_, token) = pair.instance("shop").await;
    let (_, other) = pair.instance("other").await;
    for (key, path, body, status) in [
        (&token, "shop", "{}", 400),
        (&pair.b.key, "shop", "{}", 400),
        (&other, "shop", "{}", 401),
        (&pair.a.key, "shop", "{}", 401),
        (&String::new(), "shop", "{}", 401),
        (&other, "shop", "{", 400),
        (&other, "nobody", "{}", 404),
        (&other, "nobody", "{", 400),
    ] {
        let request = pair.b.anonymous(Method::POST, &format!("/settings/set/{path}")).header("apikey", key);
        let (answered, node, told) = told(request.body(body)).await;
        assert_eq!(answered, status, "{key} {path} {body}: {told}");
        assert_eq!(node, if status == 400 && body == "{}" { "a" } else { "b" }, "{key} {path} {body}");
    }
    let nameless = pair.b.request(Method::POST, "/settings/set/%2e%2e");
    assert_eq!(told(nameless).await.0, 404);
    let (id, _) = pair.instance("..").await;
    pair.owned_by(&id, Some("a"));
    let mut socket = tokio::net::TcpStream::connect(pair.b.url.trim_start_matches("http://")).await.unwrap();
    let request =
        format!("GET /settings/find/%2e%2e HTTP/1.1\r\nhost: b\r\napikey: {}\r\nconnection: close\r\n\r\n", pair.b.key);
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    socket.read_to_string(&mut text).await.unwrap();
    assert!(text.starts_with("HTTP/1.1 400 ") && text.contains("request-invalid"), "{text}");
}

#[actix_web::test]
async fn heads_large_bodies_slow_owners_and_repeated_keys_are_no_different() {
    let pair = Pair::start().await;
    let (id, _) = pair.instance("shop").await;
    pair.a.put(&id, Phase::Online, |_| {});
    pair.a.script.lock().send = Some(Ok(sent()));
    let path = "/instance/connectionState/shop";
    let got = pair.b.request(Method::GET, path).send().await.unwrap().bytes().await.unwrap();
    let head = pair.b.request(Method::HEAD, path).send().await.unwrap();
    assert_eq!((header(&head, "content-length"), header(&head, NODE)), (got.len().to_string().as_str(), "a"));
    assert!(head.bytes().await.unwrap().is_empty());

    let path = "/message/sendText/shop";
    let text = "x".repeat(1024 * 1024 - 100);
    let large = |text: &str| pair.b.request(Method::POST, path).json(&json!({ "number": "5511", "text": text }));
    assert_eq!(answer(large(&text)).await.0, 201);
    assert_eq!(pair.a.script.lock().sent.pop().unwrap().text.len(), text.len());
    let (status, node, body) = told(large(&"x".repeat(1024 * 1024))).await;
    assert_eq!((status, node.as_str(), code(&body)), (413, "b", "request-too-large"));

    pair.a.script.lock().send_takes = Duration::from_millis(350);
    let once = |service: &Service, text: &str| {
        service
            .request(Method::POST, path)
            .header("Idempotency-Key", "order-17")
            .json(&json!({ "number": "5511", "text": text }))
    };
    let first = once(&pair.b, "hi").send().await.unwrap();
    assert_eq!((first.status().as_u16(), header(&first, "idempotency-replayed")), (201, ""));
    let first: Value = first.json().await.unwrap();
    for service in [&pair.a, &pair.b] {
        let again = once(service, "hi").send().await.unwrap();
        assert_eq!((again.status().as_u16(), header(&again, "idempotency-replayed")), (201, "true"));
        assert_eq!(again.json::<Value>().await.unwrap(), first);
        assert_eq!(told(once(service, "other")).await.0, 422);
    }
    assert_eq!(pair.a.script.lock().sent.len(), 1);

    let page = pair.b.request(Method::GET, "/instance/connectionState/shop").header("origin", "http://page.test");
    let page = page.send().await.unwrap();
    let origins: Vec<_> =
        page.headers().get_all("access-control-allow-origin").iter().map(|value| value.to_str().unwrap()).collect();
    assert_eq!((page.status().as_u16(), origins), (200, vec!["http://page.test"]));
}

#[actix_web::test]
async fn what_cannot_be_handed_on_says_why_and_may_come_again() {
    let pair = Pair::start().await;
    let (id, _) = pair.instance("shop").await;
    let vacant = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let nowhere = format!("http://{vacant}");
    for (owner, url, alive, expected) in [
        (Some("a"), Some(nowhere.as_str()), true, "node-unreachable"),
        (Some("a"), None, true, "node-without-url"),
        (Some("a"), Some(nowhere.as_str()), false, "instance-unowned"),
        (None, None, true, "instance-unowned"),
        (Some("b"), Some(nowhere.as_str()), true, "instance-moving"),
    ] {
        pair.of_b.gives(&id, owner);
        pair.of_b.node(owner.unwrap_or("a"), url, alive);
        for path in ["/instance/connectionState/shop", "/webhook/find/shop"] {
            let response = pair.b.request(Method::GET, path).send().await.unwrap();
            assert_eq!((response.status().as_u16(), header(&response, "retry-after")), (503, "2"), "{expected}");
            assert_eq!(header(&response, NODE), "b");
            let body: Value = response.json().await.unwrap();
            assert_eq!(code(&body), expected, "{body}");
        }
    }
    pair.of_b.book().unavailable = true;
    for name in ["shop", "nobody"] {
        let (status, body) = pair.b.get(&format!("/instance/connectionState/{name}")).await;
        assert_eq!((status, code(&body)), (503, "store-unavailable"), "{name}");
    }
    pair.b.script.lock().ready = false;
    let (status, body) = pair.b.get("/instance/connectionState/shop").await;
    assert_eq!((status, code(&body)), (503, "service-starting"));
}

/// A node that reads a request and then does this.
async fn owner_that(answers: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    actix_web::rt::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut buffer = [0; 4096];
            let _read = socket.read(&mut buffer).await.unwrap();
            socket.write_all(answers.as_bytes()).await.unwrap();
        }
    });
    url
}

#[actix_web::test]
async fn a_connection_that_breaks_leaves_open_whether_it_was_done() {
    let pair = Pair::start().await;
    let _shop = pair.instance("shop").await;
    let text = json!({ "number": "5511", "text": "hi" });
    for broken in ["", "HTTP/1.1 201 Created\r\ncontent-length: 100\r\n\r\nhalf"] {
        pair.of_b.node("a", Some(&owner_that(broken).await), true);
        let (status, body) = pair.b.get("/instance/connectionState/shop").await;
        assert_eq!((status, code(&body), &body["response"]["node"]), (502, "forward-interrupted", &json!("a")));
        let send = || pair.b.request(Method::POST, "/message/sendText/shop").json(&text);
        let (status, body) = answer(send()).await;
        assert_eq!((status, code(&body)), (400, "message-unconfirmed"), "clients send again after a 5xx");
        let (status, body) = answer(send().header("Idempotency-Key", "k")).await;
        assert_eq!((status, code(&body)), (502, "forward-interrupted"), "with a key they may");
    }
    let elsewhere = "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\nx-mine: 1\r\nconnection: close, x-mine\r\ncontent-length: 2\r\n\r\n{}";
    pair.of_b.node("a", Some(&owner_that(elsewhere).await), true);
    let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy().tls_certs_only([]);
    crate::harness::client::http();
    let request =
        client.build().unwrap().get(format!("{}/webhook/find/shop", pair.b.url)).header("apikey", &pair.b.key);
    let response = request.send().await.unwrap();
    assert_eq!((response.status().as_u16(), header(&response, "location")), (302, "http://127.0.0.1:1/"));
    assert_eq!((header(&response, "x-mine"), header(&response, NODE)), ("", "a"));
}

/// A credential as a node writes it.
fn credential(key: &NodeKey, node: &str, at: i64, method: &str, path: &str, body: &str) -> String {
    use base64::Engine as _;
    let (at, body) = (at.to_string(), Sha256::digest(body));
    let parts: [&[u8]; 6] =
        [b"v1", node.as_bytes(), at.as_bytes(), method.as_bytes(), path.as_bytes(), body.as_slice()];
    format!("v1,{at},{}", base64::engine::general_purpose::STANDARD.encode(key.sign(&parts)))
}

#[actix_web::test]
async fn a_credential_opens_the_request_that_it_was_made_for_and_nothing_else() {
    let pair = Pair::start().await;
    let _shop = pair.instance("shop").await;
    let _bar = pair.instance("bar").await;
    let now = pair.a.clock.wall().timestamp();
    let (key, stranger) = (NodeKey::derived_from(&[7; 32]), NodeKey::derived_from(&[8; 32]));
    let (shop, bar) = ("/settings/find/shop", "/settings/find/bar");
    let good = credential(&key, "b", now, "GET", shop, "");
    let ask = |method: Method, path: &str, credential: &str, body: &str| {
        let request = pair.a.anonymous(method, path).header("x-holdfast-forwarded", "b");
        let request = if credential.is_empty() { request } else { request.header("x-holdfast-credential", credential) };
        told(request.body(body.to_owned()))
    };
    assert_eq!(ask(Method::GET, shop, &good, "").await.0, 200);
    assert_eq!(ask(Method::GET, shop, &good, "").await.0, 200, "for a minute");
    let board = credential(&key, "b", now, "GET", "/engine/board", "");
    assert_eq!(ask(Method::GET, "/engine/board", &board, "").await.0, 200);
    let all = credential(&key, "b", now, "GET", "/instance/fetchInstances", "");
    let (status, _, body) = ask(Method::GET, "/instance/fetchInstances", &all, "").await;
    assert_eq!((status, code(&body)), (401, "unauthorized"), "it stands for no key where no instance is named");

    for (method, path, credential, body) in [
        (Method::GET, shop, String::new(), ""),
        (Method::GET, shop, "nonsense".to_owned(), ""),
        (Method::GET, bar, good.clone(), ""),
        (Method::GET, "/settings/find/shop?x=1", good.clone(), ""),
        (Method::HEAD, shop, good.clone(), ""),
        (Method::GET, shop, good.clone(), "{}"),
        (Method::GET, shop, credential(&stranger, "b", now, "GET", shop, ""), ""),
        (Method::GET, shop, credential(&key, "c", now, "GET", shop, ""), ""),
        (Method::GET, shop, credential(&key, "b", now - 70, "GET", shop, ""), ""),
        (Method::GET, shop, credential(&key, "b", now + 70, "GET", shop, ""), ""),
        (Method::GET, "/engine/board", good, ""),
        (Method::GET, "/engine/board", String::new(), ""),
    ] {
        let is_head = method == Method::HEAD;
        let request = pair.a.request(method, path).header("x-holdfast-forwarded", "b");
        let response = request.header("x-holdfast-credential", &credential).body(body).send().await.unwrap();
        assert_eq!(response.status().as_u16(), 401, "{path} {credential} {body}");
        if !is_head {
            assert_eq!(code(&response.json().await.unwrap()), "node-refused");
        }
    }
    let (status, body) = pair.a.get("/engine/board").await;
    assert_eq!((status, code(&body)), (401, "node-refused"), "an API key does not open it");
    let figures = pair.a.anonymous(Method::GET, "/metrics").send().await.unwrap().text().await.unwrap();
    assert!(figures.contains("holdfast_node_credentials_refused_total 13"), "{figures}");
}

#[actix_web::test]
async fn nodes_of_different_session_keys_do_not_tell_a_client_that_its_key_is_wrong() {
    let pair = Pair::start().await;
    let _shop = pair.instance("shop").await;
    let refuses = "HTTP/1.1 401 Unauthorized\r\ncontent-length: 2\r\n\r\n{}";
    pair.of_b.node("a", Some(&owner_that(refuses).await), true);
    let (status, body) = pair.b.get("/settings/find/shop").await;
    assert_eq!((status, code(&body)), (503, "node-refused"));
}

#[actix_web::test]
async fn two_nodes_that_take_each_other_for_the_owner_do_not_play_with_a_request() {
    let pair = Pair::start().await;
    let (id, _) = pair.instance("shop").await;
    pair.a.board.take_down(&id);
    pair.of_a.gives(&id, Some("b"));
    pair.of_b.gives(&id, Some("a"));
    for (service, answers) in [(&pair.b, "a"), (&pair.a, "b")] {
        let (status, node, body) = told(service.request(Method::GET, "/settings/find/shop")).await;
        assert_eq!((status, node.as_str(), code(&body)), (503, answers, "instance-moving"));
    }
}

#[actix_web::test]
async fn an_instance_that_is_given_up_meanwhile_is_not_called_unknown() {
    let pair = Pair::start().await;
    let (id, _) = pair.instance("shop").await;
    pair.a.script.lock().refuses = Some(CommandError::Unknown);
    for path in ["/instance/restart/shop", "/instance/setPresence/shop"] {
        let (status, body) = pair.b.post(path, json!({ "presence": "available" })).await;
        assert_eq!((status, code(&body)), (503, "instance-moving"), "{path}");
    }
    // Nobody deletes rows under another node's actor.
    pair.of_a.gives(&id, Some("b"));
    let (status, body) = pair.a.delete("/instance/delete/shop").await;
    assert_eq!((status, code(&body)), (503, "instance-moving"));
    assert_eq!(pair.a.names().await, ["shop"]);
}
