//! The way through a proxy: a socket to it, and the words after which it carries bytes to the target and back.
//!
//! The name of the target goes to the proxy as it is; no name server but the proxy's own hears of it. Every failure says at which
//! stage it was, and nothing that is said about one holds the credentials.

use std::net::SocketAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use holdfast_core::connection::DownReason;
use holdfast_core::proxy::reply::{self, LONGEST_HEAD, Reply};
use holdfast_core::proxy::{Fault, Host, Protocol, Proxy, socks};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, timeout_at};

use super::dial::{DialError, LOOPBACK_ONLY, connect};

/// How much of an answer is read at once.
const PIECE: usize = 512;

/// Where a tunnel is to lead.
#[derive(Debug, Clone, Copy)]
pub(super) struct Target<'a> {
    /// A name, or an address; one of version 6 in brackets.
    pub(super) host: &'a str,
    pub(super) port: u16,
}

/// Opens a tunnel, no later than `until`.
pub(super) async fn tunnel(proxy: &Proxy, target: Target<'_>, until: Instant) -> Result<TcpStream, DialError> {
    let failed = |fault: Fault, what: String| failed(proxy, fault, &what);
    let reached = timeout_at(until, async {
        let addresses = addresses(proxy).await?;
        connect(&addresses).await.map_err(|error| failed(Fault::Unreachable, error.to_string()))
    });
    let late = |_elapsed| failed(Fault::Unreachable, "connecting took too long".to_owned());
    let mut stream = reached.await.map_err(late)??;
    let spoken = timeout_at(until, async {
        match proxy.protocol {
            Protocol::Http => by_connect(&mut stream, proxy, target).await,
            Protocol::Socks5 => by_socks(&mut stream, proxy, target).await,
        }
    });
    let late = |_elapsed| failed(Fault::Silent, "no answer in time".to_owned());
    spoken.await.map_err(late)?.map_err(|(fault, what)| failed(fault, what))?;
    Ok(stream)
}

/// Resolves where the proxy is. A build for the simulator takes none but those of this host.
pub(super) async fn addresses(proxy: &Proxy) -> Result<Vec<SocketAddr>, DialError> {
    let found: Vec<SocketAddr> = match &proxy.host {
        Host::Address(address) => vec![(*address, proxy.port).into()],
        Host::Name(name) => {
            let found = lookup_host((name.as_str(), proxy.port)).await;
            found.map_err(|error| failed(proxy, Fault::Unreachable, &format!("its name: {error}")))?.collect()
        }
    };
    if cfg!(feature = "simulator") && !found.iter().all(|address| address.ip().is_loopback()) {
        return Err(failed(proxy, Fault::Settings, LOOPBACK_ONLY));
    }
    Ok(found)
}

fn failed(proxy: &Proxy, fault: Fault, what: &str) -> DialError {
    DialError::new(DownReason::Proxy { fault }, format!("the proxy {proxy}: {what}"))
}

type Spoken = Result<(), (Fault, String)>;

fn gone(error: std::io::Error) -> (Fault, String) {
    (Fault::Unreachable, error.to_string())
}

async fn by_connect(stream: &mut TcpStream, proxy: &Proxy, Target { host, port }: Target<'_>) -> Spoken {
    let authorization = proxy.credentials.as_ref().map_or_else(String::new, |known| {
        let pair = STANDARD.encode(format!("{}:{}", known.user(), known.password()));
        format!("Proxy-Authorization: Basic {pair}\r\n")
    });
    let request = format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n{authorization}\r\n");
    stream.write_all(request.as_bytes()).await.map_err(gone)?;
    let mut head = Vec::with_capacity(PIECE);
    loop {
        match reply::read(&head) {
            Reply::More => {}
            Reply::Open => return Ok(()),
            Reply::Refused { fault, status } => return Err((fault, format!("it answered with {status}"))),
            Reply::Garbage => return Err((Fault::Protocol, "its answer is not that of an HTTP proxy".to_owned())),
        }
        let mut piece = [0; PIECE];
        let room = PIECE.min(LONGEST_HEAD.saturating_sub(head.len()));
        let read = stream.read(&mut piece[..room]).await.map_err(gone)?;
        if read == 0 {
            return Err((Fault::Unreachable, "it ended the connection before it had answered".to_owned()));
        }
        head.extend_from_slice(&piece[..read]);
    }
}

async fn by_socks(stream: &mut TcpStream, proxy: &Proxy, Target { host, port }: Target<'_>) -> Spoken {
    let credentials = proxy.credentials.as_ref();
    let told = |doing: &'static str| move |fault| (fault, format!("it refused {doing}"));
    stream.write_all(&socks::greeting(credentials)).await.map_err(gone)?;
    let wants = socks::chosen(read(stream).await?, credentials).map_err(told("the ways of authentication"))?;
    if let Some(credentials) = credentials.filter(|_| wants) {
        stream.write_all(&socks::authentication(credentials)).await.map_err(gone)?;
        socks::authenticated(read(stream).await?).map_err(told("the credentials"))?;
    }
    let request = socks::request(host, port).map_err(told("a name of that length"))?;
    stream.write_all(&request).await.map_err(gone)?;
    let rest = socks::connected(read(stream).await?).map_err(told("the connection"))?;
    let mut ignored = vec![0; rest];
    stream.read_exact(&mut ignored).await.map_err(gone)?;
    Ok(())
}

/// Reads exactly so many bytes, and none of what comes behind them.
async fn read<const LENGTH: usize>(stream: &mut TcpStream) -> Result<[u8; LENGTH], (Fault, String)> {
    let mut bytes = [0; LENGTH];
    stream.read_exact(&mut bytes).await.map_err(gone)?;
    Ok(bytes)
}
