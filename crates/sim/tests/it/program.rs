//! The simulator as a program.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

struct Program(Child);

impl Program {
    fn start(arguments: &[&str]) -> (Self, Value) {
        let free = ["--listen", "127.0.0.1:0", "--control", "127.0.0.1:0"];
        let mut child = Command::new(env!("CARGO_BIN_EXE_holdfast-sim"))
            .args(free)
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        (Self(child), serde_json::from_str(&line).unwrap())
    }

    fn terminate(mut self) -> Option<i32> {
        let pid = self.0.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        self.0.wait().unwrap().code()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn it_prints_one_line_of_json_and_ends_cleanly_on_sigterm_with_its_keys_saved() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state.json");
    let arguments = ["--state", state.to_str().unwrap()];
    let (program, first) = Program::start(&arguments);
    for key in ["ws", "control", "rootPublicKey"] {
        assert!(first[key].is_string(), "{first}");
    }
    assert!(first["ws"].as_str().unwrap().ends_with("/ws/chat"));
    let asked = Instant::now();
    assert_eq!(program.terminate(), Some(0));
    assert!(asked.elapsed() < Duration::from_secs(5));

    let (program, second) = Program::start(&arguments);
    assert_eq!(first["rootPublicKey"], second["rootPublicKey"]);
    assert_eq!(program.terminate(), Some(0));
}

#[test]
fn it_refuses_to_be_reachable_from_outside() {
    let output = Command::new(env!("CARGO_BIN_EXE_holdfast-sim")).args(["--listen", "0.0.0.0:0"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("loopback"));
}
