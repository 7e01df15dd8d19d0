//! Trying a proxy before it is used.

use async_trait::async_trait;
use holdfast_core::connection::DownReason;
use holdfast_core::proxy::Proxy;

/// Why a proxy is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TryOutError {
    /// Too many others are being tried.
    #[error("too many proxies are being tried")]
    Busy,
    /// WhatsApp was not reached through it.
    #[error("WhatsApp was not reached through the proxy: {}", .0.sentence())]
    Failed(DownReason),
}

/// Tries proxies.
#[async_trait]
pub trait Proxies: Send + Sync {
    /// Reaches WhatsApp's WebSocket through the proxy, in bounded time, and hangs up without logging in.
    async fn try_out(&self, proxy: Proxy) -> Result<(), TryOutError>;
}
