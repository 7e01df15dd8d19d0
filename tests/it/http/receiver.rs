//! A webhook receiver that answers as a test says, byte by byte, and keeps what it was sent.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// One received request.
#[derive(Debug, Clone)]
pub(super) struct Received {
    /// Method and path.
    pub(super) line: String,
    /// Names in lower case.
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Value,
    /// The body as it came.
    pub(super) bytes: Vec<u8>,
}

impl Received {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// How it answers.
#[derive(Clone)]
pub(super) enum Answer {
    /// With these bytes; the connection stays open until the other side closes it.
    Bytes(Vec<u8>),
    /// With a head that promises more than ever comes.
    Endless,
    /// Not at all.
    Silence,
    /// By closing.
    Close,
    /// With a head that comes byte by byte.
    Crumbs,
    /// With a head, and a body that comes byte by byte.
    SlowBody,
}

pub(super) struct Receiver {
    pub(super) url: String,
    received: Arc<Mutex<Vec<Received>>>,
    connections: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Receiver {
    pub(super) async fn answering(answer: Answer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let received = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&received);
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&connections);
        let task = tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(serve(socket, answer.clone(), Arc::clone(&kept)));
            }
        });
        Self { url, received, connections, task }
    }

    pub(super) async fn status(line: &str) -> Self {
        Self::answering(Answer::Bytes(format!("HTTP/1.1 {line}\r\ncontent-length: 2\r\n\r\nok").into_bytes())).await
    }

    pub(super) fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }
}

impl Receiver {
    /// How many connections were made to it.
    pub(super) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(mut socket: TcpStream, answer: Answer, kept: Arc<Mutex<Vec<Received>>>) {
    while let Some(request) = read(&mut socket).await {
        kept.lock().unwrap().push(request);
        match &answer {
            Answer::Bytes(bytes) => {
                if socket.write_all(bytes).await.is_err() {
                    return;
                }
            }
            Answer::Endless => {
                let _ = socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9999999999\r\n\r\n").await;
                while socket.write_all(&[b'x'; 4096]).await.is_ok() {}
                return;
            }
            Answer::Crumbs => return crumble(&mut socket).await,
            Answer::SlowBody => {
                let _ = socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9999999999\r\n\r\n").await;
                return crumble(&mut socket).await;
            }
            Answer::Silence => std::future::pending().await,
            Answer::Close => return,
        }
    }
}

async fn crumble(socket: &mut TcpStream) {
    while socket.write_all(b"H").await.is_ok() {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
}

async fn read(socket: &mut TcpStream) -> Option<Received> {
    let mut bytes = Vec::new();
    let head = loop {
        if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break at;
        }
        if socket.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let text = String::from_utf8(bytes[..head].to_vec()).ok()?;
    let mut lines = text.lines();
    let line = lines.next()?.trim_end_matches(" HTTP/1.1").to_owned();
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        .collect();
    let length: usize =
        headers.iter().find(|(name, _)| name == "content-length").map_or(0, |(_, value)| value.parse().unwrap());
    let mut body = bytes.split_off(head + 4);
    while body.len() < length {
        if socket.read_buf(&mut body).await.ok()? == 0 {
            return None;
        }
    }
    Some(Received { line, headers, body: serde_json::from_slice(&body).unwrap_or_default(), bytes: body })
}
