//! What the system knows of the other end of a connection, found out without reading from it.

use std::io;
use std::os::fd::AsFd;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::io::Interest;
use tokio::net::TcpStream;

use crate::wire::End;

/// A FIN, also one that bytes stand in front of.
#[cfg(target_os = "linux")]
const CLOSED: PollFlags = PollFlags::RDHUP;
/// Elsewhere the system tells of a reset only.
#[cfg(not(target_os = "linux"))]
const CLOSED: PollFlags = PollFlags::empty();

/// How the other end left, if it has. What it sent before may still be unread.
#[must_use]
pub fn end_of(socket: impl AsFd) -> Option<End> {
    let mut asked = [PollFd::new(&socket, CLOSED)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    if let Err(error) = poll(&mut asked, Some(&now)) {
        tracing::debug!(%error, "the system does not say whether a client is there");
        return None;
    }
    let answer = asked[0].revents();
    if answer.contains(PollFlags::ERR) {
        Some(End::Rst)
    } else {
        answer.intersects(CLOSED | PollFlags::HUP).then_some(End::Fin)
    }
}

/// Notices that the other end leaves while nobody reads what it says.
pub struct Watch(TcpStream);

impl Watch {
    /// Watches a connection. It has a handle of its own, so that the connection misses no wake-up when it is read again.
    ///
    /// # Errors
    /// When the system has no handle left.
    pub fn new(tcp: &TcpStream) -> io::Result<Self> {
        TcpStream::from_std(tcp.as_fd().try_clone_to_owned()?.into()).map(Self)
    }

    /// Waits until the other end has left.
    pub async fn left(&self) -> End {
        let gone = || end_of(&self.0).ok_or_else(|| io::ErrorKind::WouldBlock.into());
        self.0.async_io(Interest::READABLE, gone).await.unwrap_or(End::Rst)
    }
}
