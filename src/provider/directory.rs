//! A directory with one file for each instance: written beside, put on disk, then renamed, so that a crash leaves the earlier one or this one.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use holdfast_core::id::{DatabaseId, InstanceId};
use holdfast_core::restoration::Source;
use holdfast_core::restoration::neighbours::Signs;
use tokio::sync::{Mutex, Semaphore};
use tokio::time::timeout;

use super::names::{id_of, name_of};
use crate::failpoint::reach;
use crate::ports::clock::Clock;
use crate::ports::layer::{Kept, LONGEST_COPY, Layer, LayerError, Reading, SessionCopy};

const NAME: &str = "the provider directory";
const END: &str = ".copy";
/// How the name of a sign of life ends.
const SIGN: &str = ".alive";
/// Bytes of a sign that are read, and signs that are looked at.
const LONGEST_SIGN: u64 = 100;
const MOST_SIGNS: usize = 1000;
/// A directory may be on another machine.
const DEADLINE: Duration = Duration::from_secs(10);
/// How long it may take to open it, while the start waits.
const OPENED_WITHIN: Duration = Duration::from_secs(3);
/// Readings at the same time. One that hangs keeps a thread of the runtime, on which the database works too.
const READERS: usize = 8;
/// A file that was begun so long ago belongs to a process that was killed. So does a sign of life.
const LEFT_OVER: Duration = Duration::from_secs(60 * 60);

/// Copies of sessions in a directory (`PROVIDER_DIR`).
pub struct Directory {
    path: Arc<PathBuf>,
    clock: Clock,
    readers: Arc<Semaphore>,
    /// Writes look at what is there first: one after the other.
    writer: Arc<Mutex<()>>,
}

impl Directory {
    /// Opens a directory, and makes it if it is not there. What a killed process has begun is removed.
    ///
    /// # Errors
    /// If it cannot be made or read, or does not answer: one on another machine may hang whoever asks.
    pub fn open(path: PathBuf, clock: Clock) -> io::Result<Self> {
        let (done, prepared) = mpsc::channel();
        let (folder, now) = (path.clone(), clock.wall().into());
        thread::Builder::new().name("provider-dir".to_owned()).spawn(move || {
            let made = DirBuilder::new().recursive(true).mode(0o700).create(&folder);
            // It may be too late for whoever asked.
            let _gone = done.send(made.and_then(|()| sweep(&folder, now)));
        })?;
        let late = |_elapsed| io::Error::new(io::ErrorKind::TimedOut, "it has not answered in time");
        prepared.recv_timeout(OPENED_WITHIN).map_err(late)??;
        Ok(Self::unopened(path, clock))
    }

    /// Takes a directory as it is, which cannot be opened now: it says nothing until it can be read.
    pub fn unopened(path: PathBuf, clock: Clock) -> Self {
        Self { path: Arc::new(path), clock, readers: Arc::new(Semaphore::new(READERS)), writer: Arc::default() }
    }

    /// Does something on a thread that may block. It goes on when nobody waits any more, and the next writer waits for it.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Path) -> io::Result<T> + Send + 'static,
        permit: impl Send + 'static,
    ) -> Result<T, LayerError> {
        let path = Arc::clone(&self.path);
        let work = tokio::task::spawn_blocking(move || {
            let _held_until_done = permit;
            work(&path)
        });
        match timeout(DEADLINE, work).await {
            Ok(Ok(result)) => result.map_err(|error| unavailable(error.to_string())),
            Ok(Err(_panic)) => Err(unavailable("the work panicked".to_owned())),
            Err(_elapsed) => Err(unavailable("it has not answered in time".to_owned())),
        }
    }

    /// Reads something, with few others at the same time.
    async fn reading<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Path) -> io::Result<T> + Send + 'static,
    ) -> Result<T, LayerError> {
        let turn = timeout(DEADLINE, Arc::clone(&self.readers).acquire_owned()).await;
        let Ok(Ok(turn)) = turn else { return Err(unavailable("earlier reads have not ended".to_owned())) };
        self.blocking(work, turn).await
    }

    /// Does something that nobody else does at the same time.
    async fn alone<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Path) -> io::Result<T> + Send + 'static,
    ) -> Result<T, LayerError> {
        let turn = timeout(DEADLINE, Arc::clone(&self.writer).lock_owned()).await;
        let turn = turn.map_err(|_elapsed| unavailable("an earlier write has not ended".to_owned()))?;
        self.blocking(work, turn).await
    }
}

#[async_trait]
impl Layer for Directory {
    fn source(&self) -> Source {
        Source::Files
    }

    async fn list(&self) -> Result<Vec<InstanceId>, LayerError> {
        self.reading(|folder| {
            let mut ids = Vec::new();
            for entry in fs::read_dir(folder)? {
                let name = entry?.file_name();
                ids.extend(name.to_str().and_then(|name| name.strip_suffix(END)).and_then(id_of));
            }
            ids.sort();
            Ok(ids)
        })
        .await
    }

    async fn read(&self, ids: &[InstanceId]) -> Vec<(InstanceId, Reading)> {
        let reads = ids.iter().map(|id| {
            let (name, now) = (file_of(id), self.clock.wall());
            let asked = id.clone();
            async move {
                let reading = match self.reading(move |folder| read(&folder.join(name?))).await {
                    Ok(Content::Absent) => Reading::Absent,
                    Ok(Content::TooLong) => Reading::Corrupt { why: "it is too long".to_owned() },
                    Ok(Content::Bytes(bytes)) => Reading::of(&asked, &bytes, now),
                    Err(error) => Reading::Unreadable { why: error.to_string() },
                };
                (asked, reading)
            }
        });
        // In turn for each of the few readers: a fleet's copies do not stand in memory twice.
        futures_util::future::join_all(reads).await
    }

    async fn write(&self, copy: &SessionCopy) -> Result<Kept, LayerError> {
        let unfit = |why: String| LayerError::Unfit { layer: NAME, why };
        let bytes = copy.encode().map_err(|error| unfit(error.to_string()))?;
        let name = file_of(&copy.header.id).map_err(|error| unfit(error.to_string()))?;
        let (mark, now) = (copy.mark(), self.clock.wall());
        let id = copy.header.id.clone();
        self.alone(move |folder| {
            let file = folder.join(&name);
            match read(&file)? {
                Content::Absent => {}
                Content::Bytes(there) => match Reading::of(&id, &there, now) {
                    Reading::Found(found) if found.copy.mark() > mark => return Ok(Kept::Outdated),
                    Reading::Found(_) => {}
                    // A damaged one is for a person to look at, and keeps nobody from writing a whole one.
                    Reading::Absent | Reading::Corrupt { .. } | Reading::Unreadable { .. } => {
                        set_aside(folder, &name, now.timestamp_millis())?;
                    }
                },
                Content::TooLong => {
                    set_aside(folder, &name, now.timestamp_millis())?;
                }
            }
            replace(folder, &name, &bytes, Durable::Yes)?;
            Ok(Kept::Written)
        })
        .await
    }

    /// Files do not grow old.
    async fn refresh(&self, ids: &[InstanceId]) -> Result<Vec<InstanceId>, LayerError> {
        let there: BTreeSet<InstanceId> = self.list().await?.into_iter().collect();
        Ok(ids.iter().filter(|id| !there.contains(id)).cloned().collect())
    }

    async fn remove(&self, id: &InstanceId) -> Result<(), LayerError> {
        let name = file_of(id);
        self.alone(move |folder| {
            match fs::remove_file(folder.join(name?)) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
                removed => removed?,
            }
            sync(folder)
        })
        .await
    }

    async fn set_aside(&self, id: &InstanceId) -> Result<Option<String>, LayerError> {
        let (name, now) = (file_of(id), self.clock.wall().timestamp_millis());
        self.alone(move |folder| set_aside(folder, &name?, now)).await
    }

    async fn show_life(&self, database: &DatabaseId, sign: &str) -> Result<(), LayerError> {
        let (name, sign) = (sign_of(database), sign.to_owned());
        self.alone(move |folder| replace(folder, &name, sign.as_bytes(), Durable::No)).await
    }

    async fn signs_of_life(&self) -> Result<Signs, LayerError> {
        self.reading(signs).await
    }

    async fn end_life(&self, database: &DatabaseId) -> Result<(), LayerError> {
        let name = sign_of(database);
        self.alone(move |folder| match fs::remove_file(folder.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            Ok(()) | Err(_) => Ok(()),
        })
        .await
    }
}

/// What is under a name.
enum Content {
    Absent,
    Bytes(Vec<u8>),
    TooLong,
}

fn read(file: &Path) -> io::Result<Content> {
    let opened = match File::open(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Content::Absent),
        opened => opened?,
    };
    let mut bytes = Vec::new();
    let read = opened.take(LONGEST_COPY as u64 + 1).read_to_end(&mut bytes)?;
    Ok(if read > LONGEST_COPY { Content::TooLong } else { Content::Bytes(bytes) })
}

/// Whether a file is to be there after a loss of power.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Durable {
    Yes,
    No,
}

/// Writes a file so that there is always a whole one under its name.
fn replace(folder: &Path, name: &str, bytes: &[u8], durable: Durable) -> io::Result<()> {
    let begun = folder.join(format!(".{name}.{}.tmp", uuid::Uuid::new_v4().simple()));
    let write = || -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&begun)?;
        file.write_all(bytes)?;
        if durable == Durable::No {
            return fs::rename(&begun, folder.join(name));
        }
        file.sync_all()?;
        reach!("snapshot.written");
        fs::rename(&begun, folder.join(name))?;
        reach!("snapshot.renamed");
        Ok(())
    };
    write().inspect_err(|_full| {
        let _not_begun = fs::remove_file(&begun);
    })?;
    if durable == Durable::Yes { sync(folder) } else { Ok(()) }
}

/// Reads the signs of life.
fn signs(folder: &Path) -> io::Result<Signs> {
    let mut found = Signs::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        let database = name.to_str().and_then(|name| name.strip_suffix(SIGN)).and_then(DatabaseId::parse);
        let Some(database) = database.filter(|_| found.len() < MOST_SIGNS) else { continue };
        let mut sign = Vec::new();
        match File::open(folder.join(&name)) {
            // Its engine has just ended.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            file => file?.take(LONGEST_SIGN).read_to_end(&mut sign)?,
        };
        found.insert(database, String::from_utf8_lossy(&sign).into_owned());
    }
    Ok(found)
}

/// Returns the name of the file with the sign of a database.
fn sign_of(database: &DatabaseId) -> String {
    format!("{}{SIGN}", database.as_str())
}

/// Puts a change of the directory itself on disk.
fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

fn set_aside(folder: &Path, name: &str, now_ms: i64) -> io::Result<Option<String>> {
    let aside = folder.join(format!("{name}.corrupt-{now_ms}"));
    match fs::rename(folder.join(name), &aside) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        renamed => renamed?,
    }
    sync(folder)?;
    Ok(Some(aside.display().to_string()))
}

/// Removes what killed processes have begun. Others may be writing here at this moment.
fn sweep(folder: &Path, now: SystemTime) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let begun = name.to_str().is_some_and(|name| name.starts_with('.') && name.strip_suffix(".tmp").is_some());
        let sign = name.to_str().is_some_and(|name| name.ends_with(SIGN));
        let old = |at: SystemTime| now.duration_since(at).is_ok_and(|age| age > LEFT_OVER);
        if (begun || sign) && entry.metadata().and_then(|found| found.modified()).is_ok_and(old) {
            let _another_was_faster = fs::remove_file(entry.path());
        }
    }
    Ok(())
}

/// Returns the name of an instance's file.
fn file_of(id: &InstanceId) -> io::Result<String> {
    let nameless = || io::Error::new(io::ErrorKind::InvalidInput, "the id of the instance makes no name of a file");
    name_of(id).map(|name| name + END).ok_or_else(nameless)
}

fn unavailable(why: String) -> LayerError {
    LayerError::Unavailable { layer: NAME, why }
}
