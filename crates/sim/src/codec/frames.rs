//! Frames with a 24-bit length, behind a connection header and an optional routing prefix.

use thiserror::Error;
use wacore_binary::consts::WA_CONN_HEADER;

const LENGTH_BYTES: usize = 3;
const ROUTING_MARK: &[u8; 4] = b"ED\x00\x01";
/// An idle connection gives back a buffer that grew beyond this.
const KEPT_CAPACITY: usize = 4096;

/// What is wrong with the beginning of a connection.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum FrameError {
    /// Neither a WhatsApp header nor a routing prefix.
    #[error("the connection does not begin with a WhatsApp header")]
    NotWhatsApp,
    /// A frame cannot say its own length.
    #[error("a frame of {0} bytes is too long for a 24-bit length")]
    TooLong(usize),
}

/// Cuts a byte stream into frames.
#[derive(Default)]
pub struct Frames {
    buffer: Vec<u8>,
    begun: bool,
    routed: bool,
}

impl Frames {
    /// Adds received bytes.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Takes the next whole frame, if it has arrived.
    ///
    /// # Errors
    /// When the connection does not begin as WhatsApp's do.
    pub fn next_frame(&mut self) -> Result<Option<Vec<u8>>, FrameError> {
        if !self.begun && !self.strip_header()? {
            return Ok(None);
        }
        let Some(length) = length_at(&self.buffer, 0) else {
            return Ok(None);
        };
        let end = LENGTH_BYTES + length;
        if self.buffer.len() < end {
            return Ok(None);
        }
        let frame = self.buffer[LENGTH_BYTES..end].to_vec();
        self.buffer.drain(..end);
        if self.buffer.is_empty() && self.buffer.capacity() > KEPT_CAPACITY {
            self.buffer = Vec::new();
        }
        Ok(Some(frame))
    }

    /// Whether the client sent a routing prefix.
    #[must_use]
    pub fn routed(&self) -> bool {
        self.routed
    }

    fn strip_header(&mut self) -> Result<bool, FrameError> {
        let mut start = 0;
        if begins_with(&self.buffer, ROUTING_MARK)? {
            let Some(length) = length_at(&self.buffer, ROUTING_MARK.len()) else {
                return Ok(false);
            };
            start = ROUTING_MARK.len() + LENGTH_BYTES + length;
            if self.buffer.len() < start {
                return Ok(false);
            }
            self.routed = true;
        }
        let rest = &self.buffer[start..];
        if rest.len() < WA_CONN_HEADER.len() {
            return Ok(false);
        }
        if !rest.starts_with(&WA_CONN_HEADER) {
            return Err(FrameError::NotWhatsApp);
        }
        self.buffer.drain(..start + WA_CONN_HEADER.len());
        self.begun = true;
        Ok(true)
    }
}

/// Puts the length before a payload.
///
/// # Errors
/// When the payload is too long for a frame.
pub fn frame(payload: &[u8]) -> Result<Vec<u8>, FrameError> {
    let length = u32::try_from(payload.len())
        .ok()
        .filter(|length| *length < 1 << 24)
        .ok_or(FrameError::TooLong(payload.len()))?;
    let mut framed = Vec::with_capacity(LENGTH_BYTES + payload.len());
    framed.extend_from_slice(&length.to_be_bytes()[1..]);
    framed.extend_from_slice(payload);
    Ok(framed)
}

fn begins_with(buffer: &[u8], mark: &[u8; 4]) -> Result<bool, FrameError> {
    match buffer.first() {
        Some(first) if *first == mark[0] => Ok(buffer.len() >= mark.len() && buffer.starts_with(mark)),
        Some(first) if *first != WA_CONN_HEADER[0] => Err(FrameError::NotWhatsApp),
        _ => Ok(false),
    }
}

fn length_at(buffer: &[u8], offset: usize) -> Option<usize> {
    let bytes = buffer.get(offset..offset + LENGTH_BYTES)?;
    Some(bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(frames: &mut Frames) -> Vec<Vec<u8>> {
        std::iter::from_fn(|| frames.next_frame().unwrap()).collect()
    }

    #[test]
    fn frames_arrive_whole_however_the_bytes_are_cut() {
        let mut stream = b"ED\x00\x01\x00\x00\x02hiWA\x06\x03".to_vec();
        stream.extend(frame(b"one").unwrap());
        stream.extend(frame(b"").unwrap());
        stream.extend(frame(&vec![7; 70_000]).unwrap());
        for cut in [1, 2, 3, 5, 64, stream.len()] {
            let mut frames = Frames::default();
            let mut seen = Vec::new();
            for piece in stream.chunks(cut) {
                frames.feed(piece);
                seen.extend(all(&mut frames));
            }
            assert_eq!(seen, [b"one".to_vec(), Vec::new(), vec![7; 70_000]], "cut every {cut} bytes");
            assert!(frames.routed());
        }
    }

    #[test]
    fn anything_else_than_a_whatsapp_header_is_refused() {
        for beginning in [&b"GET / HTTP/1.1"[..], b"WA\x06\x02", b"WB\x06\x03"] {
            let mut frames = Frames::default();
            frames.feed(beginning);
            assert_eq!(frames.next_frame(), Err(FrameError::NotWhatsApp));
        }
    }

    #[test]
    fn a_frame_longer_than_its_length_field_is_refused() {
        assert_eq!(frame(&vec![0; 1 << 24]), Err(FrameError::TooLong(1 << 24)));
    }
}
