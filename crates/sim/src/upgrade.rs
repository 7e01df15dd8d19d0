//! How a TCP connection becomes a WebSocket, or is told that it does not.

use std::time::Duration;

use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::StatusCode;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

use crate::peer::Watch;
use crate::wire::Wire;

/// Thousands of connections are mostly idle, so each gets small buffers.
const BUFFER: usize = 4096;
const LARGEST_MESSAGE: usize = 16 << 20;
/// How long a client that is to be refused may take to say what it wants.
const ASKING: Duration = Duration::from_secs(10);

/// Answers the upgrade, so late; none when it is no upgrade, or the client has left.
pub async fn accept(wire: Wire, late: Duration) -> Option<WebSocketStream<Wire>> {
    if !late.is_zero() && !patient(wire.tcp(), late).await {
        tracing::debug!("a client did not wait for its upgrade");
        return None;
    }
    let config = WebSocketConfig::default()
        .read_buffer_size(BUFFER)
        .write_buffer_size(0)
        .max_message_size(Some(LARGEST_MESSAGE));
    let upgraded = tokio_tungstenite::accept_async_with_config(wire, Some(config)).await;
    upgraded.inspect_err(|error| tracing::debug!(%error, "not a WebSocket")).ok()
}

/// Answers the upgrade with an error.
pub async fn refuse(wire: Wire, status: StatusCode) {
    #[expect(clippy::result_large_err, reason = "the library gives the type")]
    let answer = |_: &Request, _: Response| {
        let mut answer = ErrorResponse::new(None);
        *answer.status_mut() = status;
        Err(answer)
    };
    // The answer is the error, and a client that leaves before it is in its right.
    let _ = tokio::time::timeout(ASKING, tokio_tungstenite::accept_hdr_async(wire, answer)).await;
}

/// Waits; says whether the client was still there at the end.
async fn patient(tcp: &TcpStream, time: Duration) -> bool {
    let watch = match Watch::new(tcp) {
        Ok(watch) => watch,
        Err(error) => {
            tracing::warn!(%error, "cannot watch a client that has to wait");
            return false;
        }
    };
    tokio::select! {
        _ = watch.left() => false,
        () = tokio::time::sleep(time) => true,
    }
}
