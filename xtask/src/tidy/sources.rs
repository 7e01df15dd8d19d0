//! The shape of the Rust sources: where modules live, how long files grow, how lints are silenced, who reads a clock.

use std::path::Path;

use crate::finding::Finding;
use crate::lexer::{Token, tokens};
use crate::paths::{text_is, use_tree};
use crate::tree::Tree;

const MOST_LINES: usize = 500;
/// The one place where time is read; everybody else is told it.
const CLOCK: &str = "src/ports/clock.rs";

/// Checks every Rust source of the tree.
pub fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in tree.rust() {
        let mut complain = |line: usize, why: String| findings.push(Finding::new(path, line, why));
        let name = Path::new(path).file_name().unwrap_or_default();
        if name == "mod.rs" {
            complain(1, "a module is `name.rs` beside its folder `name/`, never `mod.rs`".to_owned());
        }
        let lines = text.lines().count();
        let watched = ["src/", "crates/", "xtask/"].iter().any(|folder| path.starts_with(folder));
        if watched && lines > MOST_LINES && name != "schema.rs" {
            complain(
                MOST_LINES + 1,
                format!("{lines} lines, and {MOST_LINES} is the most: look for the second idea in it"),
            );
        }
        let code = tokens(text);
        for line in allowances(&code) {
            complain(
                line,
                "silence a lint with `#[expect(lint, reason = \"..\")]`, which says when it is no longer needed"
                    .to_owned(),
            );
        }
        if reads_no_clock(path) {
            for (line, call) in clock_readings(&code) {
                complain(line, format!("`{call}` reads a clock: take the time as an argument, or from {CLOCK}"));
            }
        }
    }
    findings
}

/// Finds `#[allow(..)]`, `#![allow(..)]` and an `allow` inside `cfg_attr`.
fn allowances(code: &[Token<'_>]) -> Vec<usize> {
    let opens_attribute =
        |at: usize| at > 0 && text_is(code, at, "[") && (text_is(code, at - 1, "#") || text_is(code, at - 1, "!"));
    let mut found = Vec::new();
    for (at, token) in code.iter().enumerate() {
        let attribute = at > 0 && opens_attribute(at - 1) && matches!(token.text, "allow" | "cfg_attr");
        if !attribute || !text_is(code, at + 1, "(") {
            continue;
        }
        if token.text == "allow" {
            found.push(token.line);
            continue;
        }
        let inside = code[at..].iter().take_while(|token| token.text != "]").zip(&code[at + 1..]);
        found.extend(inside.filter(|(word, next)| word.text == "allow" && next.text == "(").map(|(word, _)| word.line));
    }
    found
}

fn reads_no_clock(path: &str) -> bool {
    let product = path.starts_with("src/") || path.starts_with("crates/core/");
    let test = path.contains("/tests/") || path.ends_with("/tests.rs");
    product && !test && path != CLOCK
}

/// Finds the readings of a wall clock or a monotonic one outside of test modules.
///
/// tokio's clock passes, since a test can pause it: the linter refuses it too, but may be told why a place needs it.
fn clock_readings(code: &[Token<'_>]) -> Vec<(usize, String)> {
    let tests = test_modules(code);
    let tokio_is_meant = imports_tokio_instant(code);
    let pausable = |at: usize| {
        let qualified = at > 0 && text_is(code, at - 1, "::");
        let tokio = at >= 4 && text_is(code, at - 2, "time") && text_is(code, at - 4, "tokio");
        code[at].text == "Instant" && if qualified { tokio } else { tokio_is_meant }
    };
    let reads = |at: usize| {
        matches!(code[at].text, "Instant" | "SystemTime" | "Utc" | "Local")
            && text_is(code, at + 1, "::")
            && text_is(code, at + 2, "now")
    };
    (0..code.len())
        .filter(|at| reads(*at) && !pausable(*at) && !tests.iter().any(|range| range.contains(at)))
        .map(|at| (code[at].line, format!("{}::now", code[at].text)))
        .collect()
}

/// Tells whether a `use` of this file makes `Instant` stand for tokio's.
fn imports_tokio_instant(code: &[Token<'_>]) -> bool {
    let begins = |at: &usize| code[*at].text == "tokio" && *at > 0 && text_is(code, at - 1, "use");
    (0..code.len())
        .filter(begins)
        .any(|at| use_tree(code, at).iter().any(|path| path.segments == ["tokio", "time", "Instant"]))
}

/// The ranges of tokens inside `#[cfg(test)] mod name { .. }`.
fn test_modules(code: &[Token<'_>]) -> Vec<std::ops::Range<usize>> {
    let marker = ["#", "[", "cfg", "(", "test", ")", "]"];
    let mut found = Vec::new();
    for start in 0..code.len() {
        if !marker.iter().enumerate().all(|(offset, text)| text_is(code, start + offset, text)) {
            continue;
        }
        let Some(open) = (start..code.len()).find(|at| matches!(code[*at].text, "{" | ";")) else {
            continue;
        };
        let heads_module = code[start..open].iter().any(|token| token.text == "mod");
        if heads_module && code[open].text == "{" {
            found.push(open..closing(code, open));
        }
    }
    found
}

fn closing(code: &[Token<'_>], open: usize) -> usize {
    let mut depth = 0_usize;
    for (at, token) in code.iter().enumerate().skip(open) {
        match token.text {
            "{" => depth += 1,
            "}" if depth == 1 => return at,
            "}" => depth -= 1,
            _ => {}
        }
    }
    code.len()
}

#[cfg(test)]
mod tests {
    use super::super::said;
    use super::*;

    fn breach(path: &str, source: &str) -> String {
        said(check, &[(path, source)]).join("\n")
    }

    #[test]
    fn a_module_never_lives_in_mod_rs() {
        assert!(breach("src/store/mod.rs", "").contains("never `mod.rs`"));
        assert!(breach("tests/it/harness/mod.rs", "").contains("never `mod.rs`"));
        assert_eq!(breach("src/store.rs", ""), "");
    }

    #[test]
    fn a_file_has_a_size() {
        let long = "// x\n".repeat(MOST_LINES + 1);
        assert_eq!(
            breach("src/store.rs", &long),
            "src/store.rs:501: 501 lines, and 500 is the most: look for the second idea in it"
        );
        assert!(breach("crates/sim/src/lib.rs", &long).contains("501 lines"));
        assert_eq!(breach("src/store.rs", &"// x\n".repeat(MOST_LINES)), "");
        assert_eq!(breach("src/store/schema.rs", &long), "", "generated");
    }

    #[test]
    fn lints_are_silenced_with_a_reason_or_not_at_all() {
        for source in
            ["#[allow(dead_code)] fn f() {}", "#![allow(unused)]", "#[cfg_attr(test, allow(dead_code))] fn f() {}"]
        {
            assert!(breach("tests/it/main.rs", source).contains(":1: silence a lint"), "{source}");
        }
        let fine = "#[expect(dead_code, reason = \"#[allow(x)]\")] fn f() { list[allow(x)]; } // #[allow(y)]";
        assert_eq!(breach("src/a.rs", fine), "");
    }

    #[test]
    fn nobody_reads_a_clock_but_the_clock() {
        for call in
            ["std::time::Instant::now()", "Instant::now()", "SystemTime::now()", "chrono::Utc::now()", "Local::now()"]
        {
            let source = format!("fn f() {{\n {call}; }}");
            assert!(breach("src/actors/health.rs", &source).contains(":2: `"), "{call}");
            assert!(breach("crates/core/src/time.rs", &source).contains("reads a clock"), "{call}");
            for path in [CLOCK, "crates/sim/src/lib.rs", "tests/it/main.rs", "src/actors/health/tests.rs"] {
                assert_eq!(breach(path, &source), "", "{path} may");
            }
        }
    }

    #[test]
    fn a_clock_that_tests_can_pause_is_left_to_the_linter() {
        for source in [
            "fn f() { tokio::time::Instant::now(); }",
            "use tokio::{net, time::{Duration, Instant}}; fn f() { Instant::now(); }",
            "use tokio::time::Instant; fn f() { Instant::now(); }",
        ] {
            assert_eq!(breach("src/a.rs", source), "", "{source}");
        }
        for source in [
            "use tokio::time::Instant; fn f() { std::time::Instant::now(); }",
            "use tokio::time::sleep; use std::time::Instant; fn f() { Instant::now(); }",
        ] {
            assert!(breach("src/a.rs", source).contains("reads a clock"), "{source}");
        }
    }

    #[test]
    fn a_test_module_may_read_the_clock_and_code_after_it_may_not() {
        let source = "#[cfg(test)]\nmod tests { fn f() { Instant::now(); } }";
        assert_eq!(breach("src/a.rs", source), "");
        assert!(breach("src/a.rs", &format!("{source} fn g() {{ Instant::now(); }}")).contains(":2: `Instant::now`"));
        assert!(breach("src/a.rs", "#[cfg(test)] mod tests; fn g() { Instant::now(); }").contains("reads a clock"));
    }
}
