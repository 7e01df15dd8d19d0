//! Who may do what: the header `apikey` holds the global key or an instance's token. Another node may vouch for a request instead.
//!
//! Existence is answered before the key is looked at, as Evolution does: an unknown instance is a 404 whatever the key.

use actix_web::web::Path;
use actix_web::{FromRequest, HttpMessage, HttpRequest};
use holdfast_core::id::InstanceId;
use secrecy::ExposeSecret;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tokio::sync::watch;

use super::api::Api;
use super::error::ApiError;
use super::nodes::forward::{Refusal, Vouched};
use super::settings::HttpSettings;
use crate::ports::board::Entry;

/// The instance that the path names, after its key was checked.
pub(super) struct Known {
    pub(super) id: InstanceId,
    pub(super) name: String,
    /// What hangs on the board about it, now and later.
    pub(super) entry: watch::Receiver<Entry>,
}

/// The key of a request.
pub(super) struct Key(Option<[u8; 32]>);

impl Key {
    /// Reads the key of a request. Two keys are none: which of them counts would be a guess.
    pub(super) fn of(request: &HttpRequest) -> Self {
        let mut values = request.headers().get_all("apikey");
        match (values.next(), values.next()) {
            (Some(key), None) if !key.is_empty() => Self(Some(digest(key.as_bytes()))),
            _ => Self(None),
        }
    }

    /// Tells whether it is this secret, in a time that depends on neither. An empty secret fits nothing.
    pub(super) fn fits(&self, secret: &str) -> bool {
        match self.0 {
            Some(key) if !secret.is_empty() => key.ct_eq(&digest(secret.as_bytes())).into(),
            _ => false,
        }
    }

    /// Tells whether it is the global key.
    pub(super) fn is_global(&self, api: &Api) -> bool {
        self.is(&api.settings)
    }

    /// Tells whether it is the global key of these settings.
    pub(super) fn is(&self, settings: &HttpSettings) -> bool {
        self.fits(settings.api_key.expose_secret())
    }
}

/// Comparing digests hides the length too.
fn digest(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// Lets the global key pass.
pub(super) fn global(api: &Api, request: &HttpRequest) -> Result<(), ApiError> {
    if Key::of(request).is_global(api) { Ok(()) } else { Err(ApiError::unauthorized()) }
}

/// Finds the instance that the path names, then lets the global key or its token pass, or the node that has checked them.
pub(super) async fn instance(api: &Api, request: &HttpRequest) -> Result<Known, ApiError> {
    if let Some(Refusal(refused)) = request.extensions_mut().remove() {
        return Err(refused);
    }
    let name = name_in_path(request)?;
    let Some((id, entry)) = api.board.by_name(&name) else {
        // Before the stored instances hang on the board, a 404 would send clients off to create them anew.
        api.require_running().await?;
        return Err(api.unknown(&name));
    };
    let key = Key::of(request);
    let vouched = request.extensions().contains::<Vouched>();
    let allowed = vouched || key.is_global(api) || key.fits(&entry.borrow().token.0);
    if allowed { Ok(Known { id, name, entry }) } else { Err(ApiError::unauthorized()) }
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

/// Decodes the name; an encoded slash belongs to it, because the router splits the path before that is decoded.
pub(super) fn name_in_path(request: &HttpRequest) -> Result<String, ApiError> {
    match Path::<Named>::extract(request).into_inner() {
        Ok(named) => Ok(named.into_inner().name),
        Err(_) => Err(ApiError::unknown_route(request.method().as_str(), &request.uri().to_string())),
    }
}
