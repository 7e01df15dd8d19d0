//! Receivers of webhooks that misbehave, each in its own way.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What it does with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    /// Takes it and never answers.
    Silent,
    /// Answers with something that is no HTTP.
    Garbage,
    /// Answers well, with a body without end.
    Endless,
    /// Answers byte by byte.
    Crumbs,
    /// Sends everybody on, to itself.
    Redirects,
}

pub(crate) struct Misbehaving {
    url: String,
    requests: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Misbehaving {
    pub(crate) async fn start(manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("its address"));
        let requests = Arc::new(AtomicUsize::new(0));
        let (counted, home) = (Arc::clone(&requests), url.clone());
        let task = tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(misbehave(socket, manner, home.clone()));
            }
        });
        Self { url, requests, task }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// How many connections were made to it.
    pub(crate) fn connections(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }
}

impl Drop for Misbehaving {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn misbehave(mut socket: TcpStream, manner: Manner, home: String) {
    let mut request = [0_u8; 4096];
    if !socket.read(&mut request).await.is_ok_and(|read| read > 0) {
        return;
    }
    match manner {
        Manner::Silent => std::future::pending().await,
        Manner::Garbage => drop(socket.write_all(b"\x00\xffwhat do you mean?\r\n\r\n").await),
        Manner::Endless => {
            drop(socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 999999999999\r\n\r\n").await);
            while socket.write_all(&[b'x'; 4096]).await.is_ok() {}
        }
        Manner::Crumbs => {
            while socket.write_all(b"H").await.is_ok() {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
        Manner::Redirects => {
            let head =
                format!("HTTP/1.1 307 Temporary Redirect\r\nlocation: {home}/again\r\ncontent-length: 0\r\n\r\n");
            drop(socket.write_all(head.as_bytes()).await);
        }
    }
}
