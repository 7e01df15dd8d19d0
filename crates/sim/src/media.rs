//! What clients upload and download beside the stream: sealed files, which the server cannot open.

use std::collections::VecDeque;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;
use wacore_binary::Node;
use wacore_binary::builder::NodeBuilder;

use crate::api::Problem;
use crate::codec::stanza::result_of;
use crate::encoding::hex;
use crate::events::EventKind;
use crate::world::World;

/// As large as one file may be.
pub const LARGEST_FILE: usize = 64 << 20;
/// As much as all files together may take; beyond it the oldest go.
const LARGEST_STORE: usize = 256 << 20;
/// As many files are remembered, those that expired included.
const MOST_FILES: usize = 10_000;
/// How long clients may use what they are told about the host, in seconds.
const TTL: u64 = 300;
const AUTH_TTL: u64 = 21_600;

/// The files, and who may reach them.
#[derive(Default)]
pub struct Media {
    scheme: String,
    host: String,
    auth: Option<String>,
    files: VecDeque<File>,
    size: usize,
}

struct File {
    path: String,
    /// None when it expired.
    content: Option<Bytes>,
    at: u64,
}

/// The answer to an upload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Uploaded {
    /// Where the file is.
    pub url: String,
    /// The same without the host.
    pub direct_path: String,
    /// A name for it.
    pub handle: String,
}

/// A file that can be downloaded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct MediaView {
    /// Its direct path.
    pub path: String,
    /// Its size.
    pub bytes: usize,
    /// When it was uploaded, in milliseconds since 1970.
    pub at: u64,
}

/// `POST /media/expire`: what is not to be had any more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ExpireRequest {
    /// The token with which clients upload. They can ask for another one.
    pub auth: bool,
    /// All files.
    pub blobs: bool,
}

/// What expired.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExpireAnswer {
    /// Whether there was a token.
    pub auth: bool,
    /// How many files.
    pub blobs: usize,
}

impl World {
    /// Says where the host of the files is.
    pub fn set_media_host(&mut self, scheme: &str, host: &str) {
        scheme.clone_into(&mut self.media.scheme);
        host.clone_into(&mut self.media.host);
    }

    /// A device asks where files are.
    pub(crate) fn media_conn(&mut self, request: &Node) -> Node {
        if self.media.auth.is_none() {
            self.media.auth = Some(hex(&self.random_bytes::<24>()));
        }
        let host = NodeBuilder::new("host")
            .attr("hostname", self.media.host.as_str())
            .attr("type", "primary")
            .attr("maxContentLengthBytes", LARGEST_FILE as u64)
            .children([NodeBuilder::new("upload").build(), NodeBuilder::new("download").build()]);
        let answer = NodeBuilder::new("media_conn")
            .attr("auth", self.media.auth.as_deref().unwrap_or_default())
            .attr("ttl", TTL)
            .attr("auth_ttl", AUTH_TTL)
            .attr("max_buckets", 12_u64)
            .children([host.build()]);
        result_of(request).children([answer.build()]).build()
    }

    /// Looks at the token of a request.
    ///
    /// # Errors
    /// When it is not the one that was given out last.
    pub fn check_media_auth(&self, auth: Option<&str>) -> Result<(), Problem> {
        if auth.is_some() && auth == self.media.auth.as_deref() {
            return Ok(());
        }
        Err(Problem { status: 401, sentence: "the auth token is wrong or has expired; ask for another one".to_owned() })
    }

    /// Keeps a file under the hash of its content, given as base64 for URLs.
    pub fn store_media(&mut self, hash: &str, content: Bytes) -> Uploaded {
        let path = format!("/v/t62.7118-24/{hash}.enc");
        self.forget_media(|file| file.path == path);
        self.log(EventKind::MediaUploaded, None, None, json!({ "path": path, "bytes": content.len() }));
        self.media.size += content.len();
        self.media.files.push_back(File { path: path.clone(), content: Some(content), at: self.now });
        while self.media.size > LARGEST_STORE || self.media.files.len() > MOST_FILES {
            let Some(oldest) = self.media.files.pop_front() else {
                break;
            };
            self.media.size -= oldest.size();
        }
        self.uploaded(hash, path)
    }

    /// The answer to an upload that was made before.
    pub(crate) fn stored_media(&self, hash: &str) -> Option<Uploaded> {
        let path = format!("/v/t62.7118-24/{hash}.enc");
        let there = self.media.files.iter().any(|file| file.path == path && file.content.is_some());
        there.then(|| self.uploaded(hash, path))
    }

    fn uploaded(&self, hash: &str, path: String) -> Uploaded {
        let Media { scheme, host, .. } = &self.media;
        Uploaded { url: format!("{scheme}://{host}{path}"), direct_path: path, handle: hash.to_owned() }
    }

    /// The file at a direct path.
    ///
    /// # Errors
    /// When it has expired, or never was.
    pub fn fetch_media(&mut self, path: &str) -> Result<Bytes, Problem> {
        let Some(file) = self.media.files.iter().find(|file| file.path == path) else {
            return Err(Problem::not_found("there is no such file"));
        };
        let Some(content) = file.content.clone() else {
            return Err(Problem { status: 410, sentence: "the file has expired".to_owned() });
        };
        self.log(EventKind::MediaDownloaded, None, None, json!({ "path": path, "bytes": content.len() }));
        Ok(content)
    }

    /// Writes down that a request was refused.
    pub(crate) fn media_refused(&mut self, path: &str, problem: &Problem) {
        let detail = json!({ "path": path, "status": problem.status, "why": problem.sentence });
        self.log(EventKind::MediaRefused, None, None, detail);
    }

    /// Lets the token expire, or the files.
    pub fn expire_media(&mut self, request: ExpireRequest) -> ExpireAnswer {
        let auth = request.auth && self.media.auth.take().is_some();
        let mut blobs = 0;
        if request.blobs {
            blobs = self.media.files.iter_mut().filter_map(|file| file.content.take()).count();
            self.media.size = 0;
        }
        ExpireAnswer { auth, blobs }
    }

    /// The files that can be downloaded, oldest first.
    #[must_use]
    pub fn media_files(&self) -> Vec<MediaView> {
        let there = self.media.files.iter().filter(|file| file.content.is_some());
        there.map(|file| MediaView { path: file.path.clone(), bytes: file.size(), at: file.at }).collect()
    }

    fn forget_media(&mut self, meant: impl Fn(&File) -> bool) {
        let Media { files, size, .. } = &mut self.media;
        files.retain(|file| {
            let kept = !meant(file);
            if !kept {
                *size -= file.size();
            }
            kept
        });
    }
}

impl File {
    fn size(&self) -> usize {
        self.content.as_ref().map_or(0, Bytes::len)
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;
    use rand::rngs::StdRng;

    use super::*;
    use crate::cert::ServerIdentity;

    #[test]
    fn the_oldest_files_make_room_for_new_ones() {
        let mut rng = StdRng::seed_from_u64(1);
        let mut world = World::new(ServerIdentity::generate(0, &mut rng).unwrap(), rng);
        let large = Bytes::from(vec![0; LARGEST_FILE]);
        for name in ["a", "b", "c", "d", "d", "e"] {
            world.store_media(name, large.clone());
        }
        let paths: Vec<_> = world.media_files().into_iter().map(|file| file.path).collect();
        assert_eq!(paths, ["b", "c", "d", "e"].map(|name| format!("/v/t62.7118-24/{name}.enc")));
        assert_eq!(world.fetch_media("/v/t62.7118-24/a.enc").unwrap_err().status, 404);
        for number in 0..=MOST_FILES {
            world.store_media(&number.to_string(), Bytes::new());
        }
        assert_eq!(world.media_files().len(), MOST_FILES);
    }
}
