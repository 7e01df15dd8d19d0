use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use holdfast_sim::{GroupRequest, MessageRequest, Options, Simulator};
use rustix::process::Signal;
use serde_json::json;
use tempfile::TempDir;

use crate::harness::engine::{Engine, Home};
use crate::harness::eventually::eventually;
use crate::harness::receiver::Receiver;

const SHOP: &str = "5511999990001";
const BAR: &str = "5511999990002";
const ANA: &str = "5511977770001";
const BOB: &str = "5511977770002";
const PASSPHRASE: &str = "correct horse battery";

/// A place for backups, away from every home.
struct Shelf(TempDir);

impl Shelf {
    fn new() -> Self {
        Self(TempDir::new().expect("a temporary directory"))
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.0.path()).expect("the shelf").map(|entry| entry.expect("an entry"));
        let mut names: Vec<String> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }
}

fn home(url: &str) -> Home {
    Home::new(url).set("HOLDFAST_BACKUP_PASSPHRASE", PASSPHRASE)
}

async fn run(home: &Home, arguments: &[&str]) -> Output {
    home.command(arguments).output().await.expect("the command runs")
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

async fn back_up(home: &Home, file: &Path) -> String {
    let output = run(home, &["backup", &file.display().to_string()]).await;
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    said(&output)
}

async fn restore(home: &Home, file: &Path, more: &[&str]) -> String {
    let file = file.display().to_string();
    let output = run(home, &[&["restore", file.as_str()], more].concat()).await;
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    said(&output)
}

async fn says(sim: &Simulator, from: &str, to: &str, text: &str) {
    let request =
        MessageRequest { from: from.to_owned(), to: to.to_owned(), text: text.to_owned(), id: None, group: None };
    sim.message(request).await.expect("the message is sent");
}

/// Sends and receives a text, and waits for both.
async fn talk(engine: &Engine<'_>, sim: &Simulator, receiver: &Receiver, with: &str, label: &str) {
    assert_eq!(engine.send("shop", with, &format!("out {label}")).await.status, 201);
    let text = format!("in {label}");
    says(sim, with, SHOP, &text).await;
    receiver.message(&text).await;
}

/// A group of the shop, Ana and Bob.
fn group(sim: &Simulator) -> String {
    let participants = [ANA, BOB, SHOP].map(ToOwned::to_owned).to_vec();
    sim.group(&GroupRequest { participants, ..GroupRequest::default() }).expect("a group").jid.to_string()
}

/// Sends many texts in a row, without an answer that would begin new chains: more than the library ever skips by itself.
async fn send_many(engine: &Engine<'_>, to: &str, label: &str) {
    for number in 0..80 {
        assert_eq!(engine.send("shop", to, &format!("{label} {number}")).await.status, 201);
    }
}

async fn says_in(sim: &Simulator, receiver: &Receiver, group: &str, text: &str) {
    let group = Some(group.to_owned());
    let request = MessageRequest { from: ANA.to_owned(), text: text.to_owned(), group, ..MessageRequest::default() };
    sim.message(request).await.expect("the message is sent");
    receiver.message(text).await;
}

/// No key was used twice, nothing was refused, and every device was who it says it is.
fn unharmed(sim: &Simulator) {
    let counters = sim.counters(None).expect("the counters");
    let tally = &counters.tally;
    assert_eq!(
        (tally.counters_reused, tally.static_mismatches, tally.nacked, tally.undecryptable),
        (0, 0, 0, 0),
        "{counters:?}"
    );
    assert!(!tally.overlapped, "{counters:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_was_taken_under_traffic_goes_on_elsewhere_without_a_scan() {
    let sim = Simulator::start(Options::default()).await.unwrap();
    let receiver = Receiver::start();
    let (shelf, first) = (Shelf::new(), home(sim.ws_url()));
    let engine = first.start().await;
    engine.pair(&sim, "shop", SHOP, Some(&receiver.url())).await;
    for number in 0..5 {
        talk(&engine, &sim, &receiver, ANA, &format!("before {number}")).await;
    }

    let file = shelf.file("shop.backup");
    let traffic = async {
        for number in 0..20 {
            talk(&engine, &sim, &receiver, ANA, &format!("meanwhile {number}")).await;
        }
    };
    let (told, ()) = tokio::join!(back_up(&first, &file), traffic);
    assert!(told.contains("1 instances, 1 of them paired"), "{told}");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(shelf.names(), ["shop.backup"]);
    assert!(!first.data_dir().join("holdfast.db.upkeep").exists());

    // Ratchets, pre-keys and conversations go on after the backup, then the machine is gone.
    for number in 0..5 {
        talk(&engine, &sim, &receiver, ANA, &format!("after {number}")).await;
        talk(&engine, &sim, &receiver, BOB, &format!("first {number}")).await;
    }
    engine.kill_9().await;
    for number in 0..3 {
        says(&sim, ANA, SHOP, &format!("queued ana {number}")).await;
        says(&sim, BOB, SHOP, &format!("queued bob {number}")).await;
    }
    let before = sim.messages().len();
    let seen = receiver.texts();

    let second = home(sim.ws_url());
    let told = restore(&second, &file, &[]).await;
    assert!(told.contains("1 instances are restored, 1 of them paired"), "{told}");
    let engine = second.start().await;
    engine.reaches("shop", "open").await;
    for number in 0..3 {
        receiver.message(&format!("queued ana {number}")).await;
        receiver.message(&format!("queued bob {number}")).await;
    }
    for number in 0..5 {
        talk(&engine, &sim, &receiver, ANA, &format!("restored {number}")).await;
        talk(&engine, &sim, &receiver, BOB, &format!("restored bob {number}")).await;
    }
    eventually("what was sent", || async { (sim.messages().len() >= before + 10).then_some(()) }).await;
    unharmed(&sim);

    // Nothing of before comes a second time as something new: what is repeated has the id that it had.
    let mut ids: Vec<(String, String)> = receiver
        .all()
        .into_iter()
        .filter(|one| one.taken && one.event() == "messages.upsert")
        .map(|one| (one.text().to_owned(), one.event_id))
        .collect();
    ids.sort();
    ids.dedup();
    let mut texts: Vec<&str> = ids.iter().map(|(text, _id)| text.as_str()).collect();
    texts.dedup();
    assert_eq!(texts.len(), ids.len(), "a message came under two ids");
    assert_eq!(texts.len(), seen.len() + 6 + 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_chain_of_a_restored_login_goes_on_where_an_older_copy_would() {
    let sim = Simulator::start(Options::default()).await.unwrap();
    let receiver = Receiver::start();
    let (shelf, home) = (Shelf::new(), home(sim.ws_url()));
    let engine = home.start().await;
    engine.pair(&sim, "shop", SHOP, Some(&receiver.url())).await;
    let group = group(&sim);
    talk(&engine, &sim, &receiver, ANA, "before").await;
    says_in(&sim, &receiver, &group, "before in the group").await;
    for to in [ANA, &group] {
        assert_eq!(engine.send("shop", to, "before").await.status, 201);
    }
    let file = shelf.file("a");
    back_up(&home, &file).await;
    engine.signal(Signal::TERM);
    assert_eq!(engine.end().await, Some(0));
    let copy = shelf.file("copy.db");
    fs::copy(home.data_dir().join("holdfast.db"), &copy).unwrap();

    let engine = home.start().await;
    for to in [ANA, &group] {
        send_many(&engine, to, "after").await;
    }
    engine.kill_9().await;
    restore(&home, &file, &["--whole"]).await;
    let engine = home.start().await;
    for to in [ANA, &group] {
        send_many(&engine, to, "restored").await;
    }
    says_in(&sim, &receiver, &group, "after in the group").await;
    talk(&engine, &sim, &receiver, ANA, "after").await;
    unharmed(&sim);

    // What the restore is there for: the same copy, put back by hand, uses keys that were used.
    engine.kill_9().await;
    fs::copy(&copy, home.data_dir().join("holdfast.db")).unwrap();
    fs::remove_file(home.data_dir().join("holdfast.db-wal")).unwrap();
    fs::remove_file(home.data_dir().join("holdfast.db-shm")).unwrap();
    let engine = home.start().await;
    send_many(&engine, &group, "by hand").await;
    assert!(sim.counters(None).unwrap().tally.counters_reused > 0, "this test would notice nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_engine_takes_in_what_it_lacks_and_leaves_the_rest_alone() {
    let sim = Simulator::start(Options::default()).await.unwrap();
    let receiver = Receiver::start();
    let (shelf, first, second) = (Shelf::new(), home(sim.ws_url()), home(sim.ws_url()));
    let engine = first.start().await;
    engine.pair(&sim, "shop", SHOP, Some(&receiver.url())).await;
    engine.create("bar", None).await;
    talk(&engine, &sim, &receiver, ANA, "before").await;
    let file = shelf.file("a");
    back_up(&first, &file).await;
    engine.kill_9().await;

    let engine = second.start().await;
    engine.pair(&sim, "bar", BAR, None).await;
    let told = restore(&second, &file, &[]).await;
    assert!(told.contains("restored: shop") && told.contains("left as it is: bar"), "{told}");
    engine.reaches("shop", "open").await;
    assert_eq!(engine.state("bar").await["state"], "open");
    talk(&engine, &sim, &receiver, ANA, "after").await;
    let told = restore(&second, &file, &[]).await;
    assert!(told.contains("nothing was changed"), "{told}");
    assert_eq!(engine.state("shop").await["state"], "open");

    // The rest needs an engine that is stopped, and so says the command.
    for arguments in [&["--whole"][..], &["--replace", "bar"]] {
        let output = run(&second, &[&["restore", &file.display().to_string()], arguments].concat()).await;
        assert_eq!(output.status.code(), Some(1), "{}", said(&output));
        assert!(said(&output).contains("stop it"), "{}", said(&output));
    }
    let api = engine.api();
    let answer = api.post("/engine/restore", json!({ "restoreId": "none" })).await;
    assert_eq!((answer.status, &answer.body["response"]["code"]), (404, &json!("restore-not-prepared")));
    assert_eq!(api.post("/engine/restore", json!({})).await.status, 400);
    assert_eq!(api.with_key("wrong").post("/engine/restore", json!({ "restoreId": "none" })).await.status, 401);
    assert!(!second.data_dir().join("holdfast.db.upkeep").exists());
    unharmed(&sim);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_engine_is_restored_in_place_with_the_database_set_aside() {
    let sim = Simulator::start(Options::default()).await.unwrap();
    let receiver = Receiver::start();
    let (shelf, home) = (Shelf::new(), home(sim.ws_url()));
    let engine = home.start().await;
    engine.pair(&sim, "shop", SHOP, Some(&receiver.url())).await;
    talk(&engine, &sim, &receiver, ANA, "before").await;
    let file = shelf.file("a");
    back_up(&home, &file).await;
    talk(&engine, &sim, &receiver, ANA, "after").await;
    engine.kill_9().await;

    // Without a word about it, nothing that is there is touched.
    let told = restore(&home, &file, &[]).await;
    assert!(told.contains("left as it is: shop"), "{told}");
    let told = restore(&home, &file, &["--replace", "shop"]).await;
    assert!(told.contains("restored: shop"), "{told}");
    let output = run(&home, &["restore", &file.display().to_string(), "--replace", "nobody"]).await;
    assert!(said(&output).contains("no instance \"nobody\""), "{}", said(&output));
    let engine = home.start().await;
    engine.reaches("shop", "open").await;
    talk(&engine, &sim, &receiver, ANA, "replaced").await;
    engine.kill_9().await;

    // A database that cannot be read is no obstacle for a whole one.
    fs::write(home.data_dir().join("holdfast.db"), "no database").unwrap();
    fs::remove_file(home.data_dir().join("holdfast.db-wal")).unwrap();
    let output = run(&home, &["restore", &file.display().to_string()]).await;
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(said(&output).contains("--whole"), "{}", said(&output));
    let told = restore(&home, &file, &["--whole"]).await;
    assert!(told.contains("1 instances are restored"), "{told}");
    let engine = home.start().await;
    engine.reaches("shop", "open").await;
    talk(&engine, &sim, &receiver, ANA, "whole").await;
    unharmed(&sim);

    let kept = fs::read_dir(home.data_dir()).unwrap().map(|entry| entry.unwrap().path());
    let aside: Vec<PathBuf> = kept.filter(|path| path.display().to_string().contains(".before-restore-")).collect();
    assert!(aside.iter().any(|path| fs::read(path).unwrap() == b"no database"), "{aside:?}");
    for path in aside {
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o077, 0, "{}", path.display());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_cannot_be_used_changes_nothing_and_says_why() {
    let sim = Simulator::start(Options::default()).await.unwrap();
    let (shelf, home) = (Shelf::new(), home(sim.ws_url()));
    let engine = home.start().await;
    engine.create("shop", None).await;
    let file = shelf.file("good");
    back_up(&home, &file).await;
    engine.kill_9().await;
    let good = fs::read(&file).unwrap();

    let bad = |name: &str, bytes: &[u8]| {
        let path = shelf.file(name);
        fs::write(&path, bytes).unwrap();
        path
    };
    let mut flipped = good.clone();
    let middle = flipped.len() - 70_000;
    flipped[middle] ^= 1;
    let mark = b"\"format\":1";
    let at = good.windows(mark.len()).position(|window| window == mark).expect("the format");
    let newer = [&good[..at], b"\"format\":2", &good[at + mark.len()..]].concat();
    let files = [
        (bad("flipped", &flipped), "damaged"),
        (bad("cut", &good[..good.len() - 1]), "damaged"),
        (bad("half", &good[..good.len() / 2]), "damaged"),
        (bad("empty", b""), "no backup"),
        (bad("other", b"SQLite format 3\0 and more of it"), "no backup"),
        (bad("newer", &newer), "newer version"),
    ];
    let (empty, other) =
        (self::home(sim.ws_url()), self::home(sim.ws_url()).set("HOLDFAST_BACKUP_PASSPHRASE", "another passphrase"));
    let before = fs::read(home.data_dir().join("holdfast.db")).unwrap();
    for (file, words) in &files {
        for home in [&home, &empty] {
            let output = run(home, &["restore", &file.display().to_string()]).await;
            assert_eq!(output.status.code(), Some(65), "{}", said(&output));
            assert!(said(&output).contains(words), "{words}: {}", said(&output));
        }
    }
    let output = run(&other, &["restore", &file.display().to_string()]).await;
    assert_eq!(output.status.code(), Some(65));
    assert!(said(&output).contains("passphrase is wrong"), "{}", said(&output));
    let output = run(&other, &["restore", &shelf.file("missing").display().to_string()]).await;
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));

    assert_eq!(fs::read(home.data_dir().join("holdfast.db")).unwrap(), before);
    for home in [&empty, &other] {
        for made in ["holdfast.db", "session-key", "api-key", "holdfast.db.upkeep"] {
            assert!(!home.data_dir().join(made).exists(), "{made}");
        }
    }
    for passphrase in ["", "short"] {
        let home = self::home(sim.ws_url()).set("HOLDFAST_BACKUP_PASSPHRASE", passphrase);
        let output = run(&home, &["restore", &file.display().to_string()]).await;
        assert!(said(&output).contains("passphrase"), "{}", said(&output));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_does_not_come_to_its_end_leaves_no_file() {
    let sim = Simulator::start(Options::default()).await.unwrap();
    let (shelf, home) = (Shelf::new(), home(sim.ws_url()));
    let engine = home.start().await;
    for number in 0..20 {
        engine.create(&format!("n{number}"), None).await;
    }
    let file = shelf.file("a");

    // The disk is full at different moments: while the database is copied, while the backup is written, while it is read back.
    let limited = |blocks: u32| {
        let mut command = home.command(&[]);
        let program = command.as_std().get_program().to_owned();
        let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" backup \"$1\"");
        command = tokio::process::Command::new("/bin/sh");
        command.args(["-c", &script]).arg(program).arg(&file);
        command.env_clear().envs(home.settings()).current_dir(shelf.0.path());
        command
    };
    let mut failed = 0;
    for blocks in [1, 16, 128, 200, 256, 300, 400, 600] {
        let output = limited(blocks).output().await.unwrap();
        if output.status.code() == Some(0) {
            fs::remove_file(&file).unwrap();
            continue;
        }
        failed += 1;
        assert_eq!(output.status.code(), Some(1), "{}", said(&output));
        assert!(said(&output).contains("error: "), "{}", said(&output));
        assert_eq!(shelf.names(), Vec::<String>::new(), "{blocks} blocks");
        assert!(!home.data_dir().join("holdfast.db.upkeep").exists(), "{blocks} blocks");
    }
    assert!(failed > 2, "only {failed} backups found the disk full");

    // A kill at any moment leaves nothing under the name but a whole backup, and the next one goes through.
    for milliseconds in [0, 20, 40, 80, 120, 160, 200, 250, 300, 400] {
        let mut child = home.command(&["backup", &file.display().to_string()]).stdout(Stdio::null()).spawn().unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(milliseconds)).await;
        if child.try_wait().unwrap().is_some() {
            break;
        }
        child.kill().await.unwrap();
        if file.exists() {
            // It was killed after its last step: what has the name is whole.
            restore(&self::home(sim.ws_url()), &file, &[]).await;
            fs::remove_file(&file).unwrap();
            break;
        }
    }
    back_up(&home, &file).await;
    assert_eq!(shelf.names(), ["a"]);

    // An earlier backup is replaced only if that was said, and only by a whole one.
    let first = fs::read(&file).unwrap();
    let output = run(&home, &["backup", &file.display().to_string()]).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("--force"), "{}", said(&output));
    assert_eq!(fs::read(&file).unwrap(), first);
    let output = run(&home, &["backup", "--force", &file.display().to_string()]).await;
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert_ne!(fs::read(&file).unwrap(), first);
    let output = run(&home, &["backup", &shelf.file("no/such/folder").display().to_string()]).await;
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_that_is_killed_at_any_moment_leaves_one_whole_database() {
    let sim = Simulator::start(Options::default()).await.unwrap();
    let keyless = || home(sim.ws_url()).unset("AUTHENTICATION_API_KEY");
    let (shelf, first, second) = (Shelf::new(), keyless(), keyless());
    let engine = first.start().await;
    let key = fs::read_to_string(first.data_dir().join("api-key")).unwrap();
    let api = engine.api().with_key(key.trim());
    api.post("/instance/create", json!({ "instanceName": "shop", "integration": "WHATSAPP-BAILEYS" })).await.good();
    let (file, check) = (shelf.file("a"), shelf.file("check"));
    back_up(&first, &file).await;

    let mut midway = 0;
    for milliseconds in (0..2_000).step_by(25) {
        let mut restore = second.command(&["restore", "--whole", &file.display().to_string()]);
        let mut child = restore.stdout(Stdio::null()).spawn().unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(milliseconds)).await;
        let ended = child.try_wait().unwrap();
        if ended.is_none() {
            child.kill().await.unwrap();
            midway += 1;
        }
        if second.data_dir().join("holdfast.db").exists() {
            let output = run(&second, &["backup", "--force", &check.display().to_string()]).await;
            assert!(said(&output).contains("1 instances"), "after {milliseconds} ms: {}", said(&output));
        }
        if ended.is_some_and(|status| status.success()) {
            break;
        }
    }
    assert!(midway > 2, "only {midway} kills came midway");
    assert_eq!(fs::read_to_string(second.data_dir().join("api-key")).unwrap(), key, "clients keep their key");
    let names = |home: &Home| fs::read_to_string(home.data_dir().join("node-id")).unwrap();
    let engine = second.start().await;
    let rows = engine.api().with_key(key.trim()).get("/instance/fetchInstances").await.good();
    assert_eq!(rows.as_array().map(Vec::len), Some(1));
    assert_ne!(names(&first), names(&second), "another place is another node");
}
