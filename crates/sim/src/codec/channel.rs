//! One connection's cryptographic state, from the first byte to the stream of stanzas.

use rand::{CryptoRng, Rng};
use thiserror::Error;
use wacore_binary::Node;
use wacore_noise::NoiseCipher;

use crate::codec::frames::{FrameError, Frames, frame};
use crate::codec::stanza;
use crate::noise::{AfterHello, Established, NoiseError, Pattern, Pending, Responder, read_client_hello};

/// Why a connection cannot be understood any more.
#[derive(Debug, Error)]
pub enum ChannelError {
    /// The byte stream is not WhatsApp's.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The handshake failed.
    #[error(transparent)]
    Handshake(#[from] NoiseError),
    /// A frame did not decrypt: the counters or the keys differ.
    #[error("a frame did not decrypt: {0}")]
    Sealed(String),
    /// A frame decrypted to something that is no stanza.
    #[error("a frame is no stanza: {0}")]
    Stanza(String),
    /// A frame was to be sent before the handshake was over.
    #[error("the channel is not open yet")]
    NotOpen,
}

/// Something that became known by reading.
pub enum Incoming {
    /// Bytes to send back, framed already.
    Reply(Vec<u8>),
    /// The handshake is over; this is what the client wants.
    Opened(Opened),
    /// A stanza.
    Stanza(Node),
}

/// The client's first words after the handshake.
pub struct Opened {
    /// How the channel was set up.
    pub pattern: Pattern,
    /// Whether the client sent a routing prefix.
    pub routed: bool,
    /// The client's Noise static key.
    pub client_static: [u8; 32],
    /// The encoded login or registration.
    pub payload: Vec<u8>,
}

enum Phase {
    Hello,
    Finish(Box<Pending>),
    Open { incoming: NoiseCipher, received: u32, outgoing: NoiseCipher, sent: u32 },
    Broken,
}

/// Turns received bytes into stanzas, and stanzas into bytes to send.
pub struct Channel {
    frames: Frames,
    phase: Phase,
}

impl Default for Channel {
    fn default() -> Self {
        Self { frames: Frames::default(), phase: Phase::Hello }
    }
}

impl Channel {
    /// Adds received bytes.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.frames.feed(bytes);
    }

    /// What the received bytes say, one thing after the other; empty when more bytes are needed.
    ///
    /// # Errors
    /// When the connection cannot be understood any more.
    pub fn poll<R: Rng + CryptoRng>(
        &mut self,
        responder: &Responder,
        rng: &mut R,
    ) -> Result<Vec<Incoming>, ChannelError> {
        let Some(bytes) = self.frames.next_frame()? else {
            return Ok(Vec::new());
        };
        match std::mem::replace(&mut self.phase, Phase::Broken) {
            Phase::Hello => match read_client_hello(responder, &bytes, rng)? {
                AfterHello::Done(reply, established) => {
                    Ok(vec![Incoming::Reply(frame(&reply)?), self.open(*established)])
                }
                AfterHello::AwaitFinish(reply, pending) => {
                    self.phase = Phase::Finish(pending);
                    Ok(vec![Incoming::Reply(frame(&reply)?)])
                }
            },
            Phase::Finish(pending) => {
                let established = pending.read_client_finish(&bytes)?;
                Ok(vec![self.open(established)])
            }
            Phase::Open { incoming, received, outgoing, sent } => {
                let mut sealed = bytes;
                incoming
                    .decrypt_in_place_with_counter(received, &mut sealed)
                    .map_err(|error| ChannelError::Sealed(error.to_string()))?;
                self.phase = Phase::Open { incoming, received: received.wrapping_add(1), outgoing, sent };
                let node = stanza::decode(&sealed).map_err(|error| ChannelError::Stanza(error.to_string()))?;
                Ok(vec![Incoming::Stanza(node)])
            }
            Phase::Broken => Ok(Vec::new()),
        }
    }

    /// Encrypts and frames a stanza.
    ///
    /// # Errors
    /// When the channel is not open, or the stanza cannot be written.
    pub fn seal(&mut self, node: &Node) -> Result<Vec<u8>, ChannelError> {
        let Phase::Open { outgoing, sent, .. } = &mut self.phase else {
            return Err(ChannelError::NotOpen);
        };
        let mut bytes = stanza::encode(node).map_err(|error| ChannelError::Stanza(error.to_string()))?;
        outgoing
            .encrypt_in_place_with_counter(*sent, &mut bytes)
            .map_err(|error| ChannelError::Sealed(error.to_string()))?;
        *sent = sent.wrapping_add(1);
        Ok(frame(&bytes)?)
    }

    fn open(&mut self, established: Established) -> Incoming {
        let Established { pattern, client_static, payload, incoming, outgoing } = established;
        self.phase = Phase::Open { incoming, received: 0, outgoing, sent: 0 };
        Incoming::Opened(Opened { pattern, routed: self.frames.routed(), client_static, payload })
    }
}
