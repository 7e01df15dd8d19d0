//! A connection that can fall silent, and that can be reset.

use std::io;
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::socket::Socket;

/// How long the end of TLS may take to be said.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The client closed its half.
    Fin,
    /// The client reset it.
    Rst,
}

impl End {
    /// The name in the event log.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Fin => "fin",
            Self::Rst => "rst",
        }
    }
}

/// What the system has received and we have not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unread {
    /// Nothing: the client has not closed the connection.
    Nothing,
    /// Bytes, behind which there may be a FIN.
    Bytes,
    /// A FIN or a reset.
    End,
}

/// A connection whose writes can be swallowed.
pub struct Wire {
    socket: Socket,
    muted: bool,
}

impl Wire {
    /// Wraps a connection.
    #[must_use]
    pub fn new(socket: Socket) -> Self {
        Self { socket, muted: false }
    }

    /// Swallows everything that is written from now on, or stops doing so.
    pub fn mute(&mut self, muted: bool) {
        self.muted = muted;
    }

    /// The connection itself.
    #[must_use]
    pub fn tcp(&self) -> &TcpStream {
        self.socket.tcp()
    }

    /// Asks the system itself, which on loopback knows of a FIN as soon as the client has closed.
    #[must_use]
    pub fn unread(&self) -> Unread {
        match SockRef::from(self.tcp()).peek(&mut [MaybeUninit::uninit()]) {
            Ok(0) => Unread::End,
            Ok(_) => Unread::Bytes,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Unread::Nothing,
            Err(_) => Unread::End,
        }
    }

    /// Makes the coming drop send a reset instead of a FIN.
    pub fn reset_on_drop(&self) {
        if let Err(error) = self.tcp().set_zero_linger() {
            tracing::warn!(%error, "cannot arrange for a reset");
        }
    }

    /// Sends a FIN, unless muted.
    pub async fn finish(&mut self) {
        if !self.muted {
            // A client that is gone already needs none, and one that does not read cannot be told that TLS ends.
            let _ = timeout(LAST_WORDS, self.socket.shutdown()).await;
            let _ = SockRef::from(self.tcp()).shutdown(Shutdown::Write);
        }
    }

    /// Reads and forgets until the client closes.
    pub async fn until_closed(&mut self) -> End {
        let mut ignored = [0; 256];
        loop {
            // Beneath TLS, whose own end says nothing of the connection's.
            let read = match self.tcp().readable().await {
                Ok(()) => self.tcp().try_read(&mut ignored),
                Err(error) => Err(error),
            };
            match read {
                Ok(0) => return End::Fin,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return End::Rst,
            }
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_read(context, buffer)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.muted {
            return Poll::Ready(Ok(bytes.len()));
        }
        Pin::new(&mut self.socket).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.muted {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.muted {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.socket).poll_shutdown(context)
    }
}
