//! `holdfast demo`: what a newcomer sees first.

use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;
use tokio::time::timeout;

use crate::harness::engine::{PROMPT, binary};
use crate::harness::eventually::PATIENCE;

#[tokio::test]
async fn the_demo_pairs_instances_lets_messages_flow_breaks_something_and_ends_cleanly() {
    let temporary = tempfile::tempdir().unwrap();
    let mut demo = Command::new(binary("HOLDFAST_BIN", "holdfast"))
        .args(["demo", "--instances", "2", "--fault-every", "2", "--port", "0"])
        .env_clear()
        .env("TMPDIR", temporary.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(demo.stdout.take().unwrap()).lines();
    let mut said = String::new();
    let seen = async {
        // Both are paired, write and are written to; beside that one is struck, and comes back.
        let mut wanted = vec!["shop-1    open", "shop-2    open", "<- ", "-> "];
        let mut story = ["! its connection is reset", "net-lost", "shop-1    open"].into_iter().peekable();
        while !wanted.is_empty() || story.peek().is_some() {
            let line = lines.next_line().await.unwrap();
            let line = line.unwrap_or_else(|| panic!("no {wanted:?} and {:?} in:\n{said}", story.peek()));
            said.push_str(&line);
            said.push('\n');
            wanted.retain(|one| !line.contains(one));
            story.next_if(|next| line.contains(next));
        }
    };
    timeout(PATIENCE, seen).await.unwrap_or_else(|_| panic!("not all was seen"));

    let pid = demo.id().and_then(|id| Pid::from_raw(id.cast_signed())).unwrap();
    kill_process(pid, Signal::INT).unwrap();
    let mut rest = String::new();
    let end = async {
        while let Some(line) = lines.next_line().await.unwrap() {
            rest.push_str(&line);
            rest.push('\n');
        }
        demo.wait_with_output().await.unwrap()
    };
    let output = timeout(PROMPT, end).await.expect("the demo ends");
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    for word in ["messages refused: 0", "message keys used twice: 0", "two sockets of one device at a moment: never"] {
        assert!(rest.contains(word), "{rest}");
    }
    assert_eq!(std::fs::read_dir(temporary.path()).unwrap().count(), 0, "nothing is left behind");
}

#[tokio::test]
async fn a_build_without_the_simulator_says_how_to_get_the_demo() {
    let output =
        Command::new(binary("HOLDFAST_DEFAULT_BIN", "../default/holdfast")).arg("demo").output().await.unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("cargo run --features simulator -- demo"), "{said}");
}
