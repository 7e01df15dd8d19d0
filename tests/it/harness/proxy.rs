//! Proxies: real ones on loopback, for HTTP `CONNECT` and for SOCKS5, which can be told to misbehave, and which count.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

/// What it speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Http,
    Socks,
}

/// What it does with whoever comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    Works,
    /// Lets nobody through, whatever the credentials.
    Refuses,
    /// Reads and says nothing.
    Silent,
    /// Speaks something else.
    Garbage,
    /// Never ends its answer.
    Flood,
}

#[derive(Default)]
struct Desk {
    manner: Option<Manner>,
    credentials: Option<(String, String)>,
    asked: Vec<String>,
    opened: u64,
}

pub(crate) struct Proxy {
    kind: Kind,
    port: u16,
    desk: Arc<Mutex<Desk>>,
    life: Mutex<CancellationToken>,
}

impl Proxy {
    pub(crate) async fn start(kind: Kind, credentials: Option<(&str, &str)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("its address").port();
        let proxy = Self { kind, port, desk: Arc::default(), life: Mutex::default() };
        proxy.wants(credentials);
        proxy.live(listener);
        proxy
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The word of the settings for what it speaks.
    pub(crate) fn protocol(&self) -> &'static str {
        if self.kind == Kind::Http { "http" } else { "socks5" }
    }

    /// Changes whom it lets in.
    pub(crate) fn wants(&self, credentials: Option<(&str, &str)>) {
        self.desk().credentials = credentials.map(|(user, password)| (user.to_owned(), password.to_owned()));
    }

    pub(crate) fn behave(&self, manner: Manner) {
        self.desk().manner = Some(manner);
    }

    /// Cuts every tunnel, but listens on.
    pub(crate) async fn cut(&self) {
        self.die();
        self.revive().await;
    }

    /// Cuts every tunnel and listens no more.
    pub(crate) fn die(&self) {
        self.life.lock().unwrap_or_else(PoisonError::into_inner).cancel();
    }

    pub(crate) async fn revive(&self) {
        let listener = super::eventually::eventually("the port of the proxy", || async {
            TcpListener::bind(("127.0.0.1", self.port)).await.ok()
        });
        self.live(listener.await);
    }

    /// How many connections it has made for others.
    pub(crate) fn opened(&self) -> u64 {
        self.desk().opened
    }

    /// Where others wanted to go, as they said it.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.desk().asked.clone()
    }

    fn desk(&self) -> MutexGuard<'_, Desk> {
        lock(&self.desk)
    }

    fn live(&self, listener: TcpListener) {
        let life = CancellationToken::new();
        *self.life.lock().unwrap_or_else(PoisonError::into_inner) = life.clone();
        let (desk, kind) = (Arc::clone(&self.desk), self.kind);
        tokio::spawn(life.clone().run_until_cancelled_owned(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let desk = Arc::clone(&desk);
                // A client that goes away is no failure of the test.
                let serving = async move { drop(serve(kind, stream, &desk).await) };
                tokio::spawn(life.clone().run_until_cancelled_owned(serving));
            }
        }));
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.die();
    }
}

fn lock(desk: &Mutex<Desk>) -> MutexGuard<'_, Desk> {
    desk.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn serve(kind: Kind, mut stream: TcpStream, desk: &Mutex<Desk>) -> io::Result<()> {
    let manner = lock(desk).manner.unwrap_or(Manner::Works);
    match (manner, kind) {
        (Manner::Works | Manner::Refuses, Kind::Http) => http(stream, desk, manner).await,
        (Manner::Works | Manner::Refuses, Kind::Socks) => socks(stream, desk, manner).await,
        (Manner::Silent, _) => hold(stream).await,
        (Manner::Garbage, _) => {
            let _some = stream.read(&mut [0; 512]).await?;
            stream.write_all(b"SSH-2.0-OpenSSH_9.6\r\n").await?;
            hold(stream).await
        }
        (Manner::Flood, Kind::Http) => {
            let _some = stream.read(&mut [0; 512]).await?;
            stream.write_all(b"HTTP/1.1 200 OK\r\n").await?;
            loop {
                stream.write_all(&[b'x'; 4096]).await?;
            }
        }
        (Manner::Flood, Kind::Socks) => loop {
            stream.write_all(&[5; 4096]).await?;
        },
    }
}

/// Reads until the other side ends it.
async fn hold(mut stream: TcpStream) -> io::Result<()> {
    while stream.read(&mut [0; 512]).await? > 0 {}
    Ok(())
}

async fn http(mut stream: TcpStream, desk: &Mutex<Desk>, manner: Manner) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let target = head.split(' ').nth(1).unwrap_or_default().to_owned();
    let wanted = lock(desk).credentials.clone();
    let right = wanted.is_none_or(|(user, password)| {
        let pair = STANDARD.encode(format!("{user}:{password}"));
        head.contains(&format!("Proxy-Authorization: Basic {pair}\r\n"))
    });
    if !right {
        let answer = "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=\"x\"\r\n\r\n";
        return stream.write_all(answer.as_bytes()).await;
    }
    if !head.starts_with("CONNECT ") || manner == Manner::Refuses {
        return stream.write_all(b"HTTP/1.1 403 Forbidden\r\n\r\n").await;
    }
    let outwards = outwards(target, desk).await?;
    stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await?;
    carry(stream, outwards).await
}

async fn socks(mut stream: TcpStream, desk: &Mutex<Desk>, manner: Manner) -> io::Result<()> {
    let _version = stream.read_u8().await?;
    read(&mut stream).await?;
    let wanted = lock(desk).credentials.clone();
    stream.write_all(&[5, if wanted.is_some() { 2 } else { 0 }]).await?;
    if let Some(wanted) = wanted {
        let _version = stream.read_u8().await?;
        let said = (read(&mut stream).await?, read(&mut stream).await?);
        let right = said == (wanted.0.into_bytes(), wanted.1.into_bytes());
        stream.write_all(&[1, u8::from(!right)]).await?;
        if !right {
            return Ok(());
        }
    }
    let mut request = [0; 4];
    stream.read_exact(&mut request).await?;
    let host = match request[3] {
        1 => std::net::Ipv4Addr::from(stream.read_u32().await?).to_string(),
        _ => String::from_utf8_lossy(&read(&mut stream).await?).into_owned(),
    };
    let port = stream.read_u16().await?;
    if manner == Manner::Refuses {
        return stream.write_all(&[5, 2, 0, 1, 0, 0, 0, 0, 0, 0]).await;
    }
    let outwards = outwards(format!("{host}:{port}"), desk).await?;
    stream.write_all(&[5, 0, 0, 1, 127, 0, 0, 1, 0, 1]).await?;
    carry(stream, outwards).await
}

/// Reads a length and so many bytes.
async fn read(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::from(stream.read_u8().await?)];
    stream.read_exact(&mut bytes).await?;
    Ok(bytes)
}

async fn outwards(target: String, desk: &Mutex<Desk>) -> io::Result<TcpStream> {
    lock(desk).asked.push(target.clone());
    let stream = TcpStream::connect(target).await?;
    lock(desk).opened += 1;
    Ok(stream)
}

async fn carry(mut inwards: TcpStream, mut outwards: TcpStream) -> io::Result<()> {
    copy_bidirectional(&mut inwards, &mut outwards).await.map(drop)
}
