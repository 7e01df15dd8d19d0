//! Files: uploaded, downloaded, and no longer to be had.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use holdfast_sim::codec::stanza::attr;
use holdfast_sim::{EventKind, EventQuery, ExpireRequest, Options, Simulator};
use rustls::pki_types::ServerName;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use wacore_binary::builder::NodeBuilder;

use crate::client::{Client, Link, trusting};

const PHONE: &str = "5511999990001";

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// Where files go, as a device is told.
struct Host {
    name: String,
    auth: String,
}

impl Host {
    async fn ask(link: &mut Link) -> Self {
        let media_conn = NodeBuilder::new("media_conn").build();
        let answer =
            link.ask(NodeBuilder::new("iq").attr("type", "set").attr("xmlns", "w:m").children([media_conn])).await;
        let conn = answer.get_optional_child("media_conn").unwrap();
        assert!(attr(conn, "ttl").unwrap().parse::<u64>().unwrap() > 0);
        let name = attr(conn.get_optional_child("host").unwrap(), "hostname").unwrap();
        Self { name, auth: attr(conn, "auth").unwrap() }
    }

    fn place(&self, content: &[u8]) -> String {
        let token = URL_SAFE_NO_PAD.encode(Sha256::digest(content));
        format!("/mms/image/{token}?auth={}&token={token}", self.auth)
    }

    async fn call(&self, simulator: &Simulator, method: &str, path: &str, more: &str, body: &[u8]) -> (u16, Vec<u8>) {
        let tcp = TcpStream::connect(&self.name).await.unwrap();
        let mut stream: Box<dyn Stream> = match simulator.health().authority.as_deref() {
            Some(file) => {
                let name = ServerName::try_from("127.0.0.1").unwrap();
                let connector = TlsConnector::from(trusting(std::path::Path::new(file)));
                Box::new(connector.connect(name, tcp).await.unwrap())
            }
            None => Box::new(tcp),
        };
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n{more}Content-Length: {}\r\n\r\n",
            self.name,
            body.len()
        );
        stream.write_all(&[head.as_bytes(), body].concat()).await.unwrap();
        stream.flush().await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        let end = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
        let status = std::str::from_utf8(&answer[9..12]).unwrap().parse().unwrap();
        (status, answer[end + 4..].to_vec())
    }

    async fn upload(&self, simulator: &Simulator, content: &[u8]) -> Value {
        let (status, answer) = self.call(simulator, "POST", &self.place(content), "", content).await;
        assert_eq!(status, 200, "{}", String::from_utf8_lossy(&answer));
        serde_json::from_slice(&answer).unwrap()
    }
}

async fn logged_in(options: Options) -> (Simulator, Link) {
    let simulator = Simulator::start(options).await.unwrap();
    let mut client = Client::new();
    client.pair(&simulator, PHONE).await;
    let link = client.log_in(&simulator).await;
    (simulator, link)
}

#[tokio::test]
async fn a_file_is_downloaded_as_it_was_uploaded_whole_or_in_part() {
    let (simulator, mut link) = logged_in(Options::default()).await;
    let host = Host::ask(&mut link).await;
    let content = vec![7; 100_000];
    let uploaded = host.upload(&simulator, &content).await;
    let path = uploaded["direct_path"].as_str().unwrap();
    assert_eq!(uploaded["url"], format!("{}{path}", simulator.health().media));
    assert_eq!(host.call(&simulator, "GET", path, "", b"").await, (200, content.clone()));
    let part = host.call(&simulator, "GET", path, "Range: bytes=10-19\r\n", b"").await;
    assert_eq!(part, (206, content[10..20].to_vec()));
    assert_eq!(host.call(&simulator, "GET", path, "Range: bytes=100000-\r\n", b"").await.0, 416);
    let files = simulator.media();
    assert_eq!((files.len(), files[0].bytes, files[0].path.as_str()), (1, 100_000, path));
}

#[tokio::test]
async fn an_upload_is_refused_whose_token_is_not_the_hash_of_the_file_or_that_nobody_was_told_of() {
    let (simulator, mut link) = logged_in(Options::default()).await;
    let host = Host::ask(&mut link).await;
    assert_eq!(host.call(&simulator, "POST", &host.place(b"one"), "", b"two").await.0, 400);
    assert_eq!(host.call(&simulator, "POST", &host.place(b""), "", b"").await.0, 400);
    assert_eq!(host.call(&simulator, "POST", "/elsewhere", "", b"one").await.0, 404);
    assert_eq!(host.call(&simulator, "DELETE", "/mms/image/x", "", b"").await.0, 405);
    let stranger = Host { name: host.name.clone(), auth: "guessed".to_owned() };
    assert_eq!(stranger.call(&simulator, "POST", &stranger.place(b"one"), "", b"one").await.0, 401);
    assert!(simulator.media().is_empty());
    let refused = EventQuery { kind: Some(EventKind::MediaRefused), ..EventQuery::default() };
    assert_eq!(simulator.events(&refused).unwrap().len(), 5);
}

#[tokio::test]
async fn what_has_expired_is_not_to_be_had_until_it_is_asked_for_or_uploaded_again() {
    let (simulator, mut link) = logged_in(Options::default()).await;
    let host = Host::ask(&mut link).await;
    let path = host.upload(&simulator, b"sealed").await["direct_path"].as_str().unwrap().to_owned();
    let all = ExpireRequest { auth: true, blobs: true };
    let expired = simulator.expire_media(all);
    assert_eq!((expired.auth, expired.blobs), (true, 1));
    assert_eq!(host.call(&simulator, "GET", &path, "", b"").await.0, 410);
    assert_eq!(host.call(&simulator, "POST", &host.place(b"sealed"), "", b"sealed").await.0, 401);
    let host = Host::ask(&mut link).await;
    host.upload(&simulator, b"sealed").await;
    assert_eq!(host.call(&simulator, "GET", &path, "", b"").await, (200, b"sealed".to_vec()));
    assert_eq!(host.call(&simulator, "GET", "/v/t62.7118-24/never.enc", "", b"").await.0, 404);
    let expired = simulator.expire_media(ExpireRequest::default());
    assert_eq!((expired.auth, expired.blobs), (false, 0), "nothing was asked for");
}

#[tokio::test]
async fn files_go_over_tls_where_the_stream_does() {
    let folder = tempfile::tempdir().unwrap();
    let tls = Some(folder.path().join("authority.pem"));
    let (simulator, mut link) = logged_in(Options { tls, ..Options::default() }).await;
    let host = Host::ask(&mut link).await;
    let uploaded = host.upload(&simulator, b"sealed").await;
    assert!(uploaded["url"].as_str().unwrap().starts_with("https://127.0.0.1:"));
    let path = uploaded["direct_path"].as_str().unwrap();
    assert_eq!(host.call(&simulator, "GET", path, "", b"").await, (200, b"sealed".to_vec()));
}
