//! The bar that a terminal shows while instances come back.

use std::collections::BTreeMap;
use std::fs;
use std::process::Stdio;

use holdfast_sim::{LoginFailure, Options, Rules, Simulator};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Command;
use tokio::time::timeout;

use crate::harness::engine::Home;
use crate::harness::eventually::{PATIENCE, eventually};

const SHOPS: [(&str, &str); 2] = [("one", "5511999990001"), ("two", "5511999990002")];
/// What a bar is drawn with.
const DRAWN: [char; 2] = ['\u{2588}', '\u{2591}'];

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_shows_a_bar_until_all_are_back_and_every_line_of_the_log_is_whole() {
    let sim = Simulator::start(Options::default()).await.unwrap();
    let home = Home::new(sim.ws_url()).set("TERM", "xterm");
    let engine = home.start().await;
    for (name, phone) in SHOPS {
        engine.pair(&sim, name, phone, None).await;
    }
    engine.signal(Signal::TERM);
    assert_eq!(engine.end().await, Some(0));
    assert!(!home.log().contains(DRAWN), "there was no terminal");
    let failure = LoginFailure { reason: 503, count: None, jid: Some(SHOPS[1].1.to_owned()), attrs: BTreeMap::new() };
    sim.set_rules(Rules { login_failure: Some(failure), ..Rules::default() }).unwrap();

    let (screen, number) = (home.data_dir().join("screen"), home.data_dir().join("number"));
    let shown = fs::File::create(&screen).unwrap();
    let serve = format!("echo $$ > '{}'; exec '{}' serve", number.display(), home.path_of_program().display());
    let mut terminal = Command::new("script");
    terminal.args(["-qec", &serve, "/dev/null"]).env_clear().envs(home.settings()).env("SHELL", "/bin/sh");
    terminal.stdin(Stdio::null()).stdout(shown).stderr(Stdio::null()).kill_on_drop(true);
    let mut terminal = terminal.spawn().expect("script cannot be started: run scripts/setup");
    let on_screen = || String::from_utf8_lossy(&fs::read(&screen).unwrap_or_default()).into_owned();
    let bar = |text: &str| text.contains("Restoring ") && text.contains(DRAWN) && text.contains(" 1 of 2, ");
    eventually("a bar that is halfway", || async { bar(&on_screen()).then_some(()) }).await;
    sim.set_rules(Rules::default()).unwrap();
    let done = "Restored 2 of 2 instances in ";
    let end = eventually("its end", || async { on_screen().split_once(done).map(|(_, rest)| rest.to_owned()) }).await;
    assert!(!end.contains(DRAWN), "it is gone before that is said: {end}");
    let engine: i32 = fs::read_to_string(&number).unwrap().trim().parse().unwrap();
    kill_process(Pid::from_raw(engine).unwrap(), Signal::TERM).unwrap();
    assert_eq!(timeout(PATIENCE, terminal.wait()).await.unwrap().unwrap().code(), Some(0));
    let screen = on_screen();
    let lines = screen.lines().filter_map(|line| line.find("{\"timestamp\"").map(|from| &line[from..]));
    let whole = lines.map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap_or_else(|_| panic!("{line}")));
    assert!(whole.count() > 10, "{screen}");
}
