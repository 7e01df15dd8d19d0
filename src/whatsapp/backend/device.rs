//! The device: the identity of this link, written only once it belongs to an account.

use std::sync::Weak;
use std::sync::atomic::Ordering;

use async_trait::async_trait;
use sha2::{Digest as _, Sha256};
use wacore::store::Device;
use wacore::store::traits::DeviceStore;

use super::{Backend, Result, Unusable, put};
use crate::ports::session::SessionBatch;

/// What the server said when it refused us, which it says only once.
const LAST_WORDS: &str = "last-words";

/// What was on disk when the client was made: its identity key, or nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Identity(Option<Vec<u8>>);

/// What is known of the device that is on disk.
#[derive(Default)]
pub(super) struct OnDisk {
    /// The SHA-256 of what is there.
    digest: Option<[u8; 32]>,
    /// What was read to learn whether there is one: the library asks for it next.
    read: Option<Box<Device>>,
}

fn identity_of(device: &Device) -> Vec<u8> {
    device.identity_key.public_key.public_key_bytes().to_vec()
}

impl Backend {
    /// Tells whether a device that is linked to an account is on disk.
    pub(in crate::whatsapp) fn is_linked(&self) -> bool {
        self.linked.load(Ordering::Acquire)
    }

    /// Tells whether the store held a device when this client was made.
    pub(in crate::whatsapp) fn found_device(&self) -> bool {
        self.known.get().is_some_and(|known| known.0.is_some())
    }

    /// Keeps the stanza with which the server ended the login.
    pub(in crate::whatsapp) async fn keep_last_words(&self, stanza: &str) {
        let key = self.clock.wall().to_rfc3339();
        // The link ends either way; a failure has set the seal.
        let _ = self.write(put(LAST_WORDS, key, stanza.as_bytes().to_vec())).await;
    }

    /// Writes the newest state of the device, whatever others are writing at the moment. It is durable when this returns.
    pub(in crate::whatsapp) async fn save_newest(&self) -> Result<(), Unusable> {
        let mut on_disk = self.saving.lock().await;
        match self.memory.get().and_then(Weak::upgrade) {
            Some(memory) => self.write_device(&memory.get_device_snapshot().core, &mut on_disk).await,
            None => Ok(()),
        }
    }

    async fn write_device(&self, device: &Device, on_disk: &mut OnDisk) -> Result<(), Unusable> {
        // A device that no phone has accepted is worth nothing after a restart, and must not look like credentials.
        if !device.is_registered() {
            return Ok(());
        }
        match self.known.get() {
            // An identity is never written over one that was not read, nor over another one.
            None => return Err(self.corrupt("device, which was never read,")),
            Some(Identity(Some(known))) if *known != identity_of(device) => {
                return Err(self.corrupt("device of another identity"));
            }
            Some(_) => {}
        }
        let bytes = self.encode("device", device)?;
        let digest = Sha256::digest(&bytes).into();
        // At each login the library sets again what it had set before.
        if on_disk.digest == Some(digest) {
            return self.seal.check().map_err(|_sealed| Unusable);
        }
        // What is there after a commit that failed is not known.
        *on_disk = OnDisk::default();
        self.commit(SessionBatch { device: Some(bytes), paired: Some(true), ..SessionBatch::default() }).await?;
        self.linked.store(true, Ordering::Release);
        on_disk.digest = Some(digest);
        Ok(())
    }

    async fn stored(&self, on_disk: &mut OnDisk) -> Result<Option<Device>, Unusable> {
        let bytes = self.attempt("read the device", || self.store.device(&self.instance)).await?;
        on_disk.digest = bytes.as_ref().map(|bytes| Sha256::digest(bytes).into());
        let device: Option<Device> = bytes.map(|bytes| self.decode("device", &bytes)).transpose()?;
        let _ = self.known.set(Identity(device.as_ref().map(identity_of)));
        self.linked.store(device.as_ref().is_some_and(Device::is_registered), Ordering::Release);
        Ok(device)
    }
}

#[async_trait]
impl DeviceStore for Backend {
    async fn save(&self, device: &Device) -> Result<()> {
        // The library saves from several tasks, each what it saw a moment ago: an older state must not be written over a newer one.
        if self.memory.get().is_some() {
            return Ok(self.save_newest().await?);
        }
        let mut on_disk = self.saving.lock().await;
        Ok(self.write_device(device, &mut on_disk).await?)
    }

    async fn load(&self) -> Result<Option<Device>> {
        let mut on_disk = self.saving.lock().await;
        match on_disk.read.take() {
            Some(device) => Ok(Some(*device)),
            None => Ok(self.stored(&mut on_disk).await?),
        }
    }

    async fn exists(&self) -> Result<bool> {
        let mut on_disk = self.saving.lock().await;
        on_disk.read = self.stored(&mut on_disk).await?.map(Box::new);
        Ok(on_disk.read.is_some())
    }

    async fn create(&self) -> Result<i32> {
        // Nothing is written before there is something to keep.
        Ok(1)
    }
}
