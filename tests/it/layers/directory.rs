//! Copies in a directory.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use holdfast::ports::clock::Clock;
use holdfast::ports::layer::{Layer, LayerError, Reading};
use holdfast::provider::Directory;
use tempfile::TempDir;

use super::bench::{Place, copy, id, read, revision};

pub(super) struct InDirectory {
    folder: TempDir,
    layer: Directory,
}

pub(super) async fn in_a_directory() -> anyhow::Result<InDirectory> {
    let folder = TempDir::new()?;
    let layer = Directory::open(folder.path().join("copies"), Clock::start())?;
    Ok(InDirectory { folder, layer })
}

impl InDirectory {
    fn path(&self) -> PathBuf {
        self.folder.path().join("copies")
    }

    fn file(&self, id: &str) -> PathBuf {
        self.path().join(format!("{id}.copy"))
    }

    fn names(&self) -> anyhow::Result<Vec<String>> {
        let mut names: Vec<String> = fs::read_dir(self.path())?
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
            .collect::<std::io::Result<_>>()?;
        names.sort();
        Ok(names)
    }
}

#[async_trait]
impl Place for InDirectory {
    fn layer(&self) -> &dyn Layer {
        &self.layer
    }

    async fn damage(&self, id: &str) -> anyhow::Result<()> {
        let whole = fs::read(self.file(id))?;
        Ok(fs::write(self.file(id), &whole[..whole.len() / 2])?)
    }

    async fn misplace(&self, from: &str, to: &str) -> anyhow::Result<()> {
        fs::copy(self.file(from), self.file(to))?;
        Ok(())
    }

    async fn break_off(&self) -> anyhow::Result<()> {
        // Also root cannot look into what is no directory.
        fs::remove_dir_all(self.path())?;
        Ok(fs::write(self.path(), "")?)
    }

    async fn set_aside(&self) -> anyhow::Result<usize> {
        Ok(self.names()?.iter().filter(|name| name.contains(".corrupt-")).count())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_else_can_read_the_files() -> anyhow::Result<()> {
    let place = in_a_directory().await?;
    place.layer.write(&copy("shop", 1, 1)).await?;
    place.layer.write(&copy("shop", 1, 2)).await?;
    assert_eq!(fs::metadata(place.file("shop"))?.permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::metadata(place.path())?.permissions().mode() & 0o777, 0o700);
    assert_eq!(place.names()?, ["shop.copy"], "nothing else is left");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn s29_a_write_that_fails_leaves_the_earlier_copy_and_nothing_else() -> anyhow::Result<()> {
    let place = in_a_directory().await?;
    place.layer.write(&copy("shop", 1, 1)).await?;
    let whole = fs::read(place.file("shop"))?;
    // The last step fails: there is a folder under the name.
    fs::remove_file(place.file("cafe")).ok();
    fs::create_dir_all(place.file("cafe").join("full"))?;
    let refused = place.layer.write(&copy("cafe", 1, 1)).await;
    assert!(matches!(refused, Err(LayerError::Unavailable { .. })), "{refused:?}");
    assert_eq!(fs::read(place.file("shop"))?, whole);
    assert!(place.names()?.iter().all(|name| !name.contains(".tmp")), "{:?}", place.names()?);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_process_has_begun_is_never_read_and_goes() -> anyhow::Result<()> {
    let place = in_a_directory().await?;
    place.layer.write(&copy("shop", 1, 1)).await?;
    let whole = fs::read(place.file("shop"))?;
    let (old, young) = (place.path().join(".shop.copy.1.tmp"), place.path().join(".shop.copy.2.tmp"));
    fs::write(&old, &whole)?;
    fs::write(&young, &whole)?;
    let long_ago = SystemTime::from(Clock::start().wall()) - Duration::from_secs(7_200);
    fs::File::options().write(true).open(&old)?.set_modified(long_ago)?;
    assert_eq!(place.layer.list().await?, [id("shop")]);
    let again = Directory::open(place.path(), Clock::start())?;
    assert_eq!(again.list().await?, [id("shop")]);
    assert!(!old.exists(), "nobody is writing it any more");
    assert!(young.exists(), "another process may be writing it");
    assert_eq!(revision(&again, "shop").await, Some(1));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_long_is_not_read_into_memory() -> anyhow::Result<()> {
    let place = in_a_directory().await?;
    fs::File::create(place.file("shop"))?.set_len(65 << 20)?;
    assert_eq!(read(&place.layer, "shop").await, Reading::Corrupt { why: "it is too long".to_owned() });
    place.layer.write(&copy("shop", 1, 1)).await?;
    assert_eq!(revision(&place.layer, "shop").await, Some(1));
    assert_eq!(place.set_aside().await?, 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn writers_at_the_same_time_leave_the_latest_state() -> anyhow::Result<()> {
    let place = in_a_directory().await?;
    let copies: Vec<_> = (1..=20).map(|revision| copy("shop", 1, revision)).collect();
    let writes = copies.iter().rev().map(|copy| place.layer.write(copy));
    for written in futures_util::future::join_all(writes).await {
        written?;
    }
    assert_eq!(revision(&place.layer, "shop").await, Some(20));
    Ok(())
}
