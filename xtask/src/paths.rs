//! Finds the paths in a source that lead through the crate's root: `crate::..` and `super::..`, in `use` trees and in code.

use crate::lexer::{Kind, Token};

/// A path in full, and the line its first word stands on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RootPath {
    pub segments: Vec<String>,
    pub line: usize,
}

/// The module that a file under `src/` holds: `src/http/auth.rs` is `http::auth`; `lib.rs` and `main.rs` are the root.
pub fn module_of(path_below_src: &str) -> Vec<String> {
    let stem = path_below_src.strip_suffix(".rs").unwrap_or(path_below_src);
    let mut module: Vec<String> = stem.split('/').map(str::to_owned).collect();
    if module.last().is_some_and(|name| name == "mod") || matches!(stem, "lib" | "main") {
        module.pop();
    }
    module
}

/// Lists every path in `tokens`, read as the source of `module`, that starts at the crate's root or climbs towards it.
pub fn root_paths(tokens: &[Token<'_>], module: &[String]) -> Vec<RootPath> {
    let mut found = Vec::new();
    let mut inline = InlineModules::default();
    for (at, token) in tokens.iter().enumerate() {
        inline.see(tokens, at);
        if token.kind != Kind::Word || !text_is(tokens, at + 1, "::") || at > 0 && text_is(tokens, at - 1, "::") {
            continue;
        }
        let mut base = match token.text {
            "crate" => Vec::new(),
            "self" | "super" => {
                let mut here = module.to_vec();
                here.extend(inline.names.iter().map(|(name, _)| name.clone()));
                here
            }
            _ => continue,
        };
        if token.text == "super" {
            base.pop();
        }
        walk(tokens, at + 2, base, token.line, &mut found);
    }
    found
}

/// Lists the paths of one path or `use` tree, whose first word is at a place.
pub fn use_tree(tokens: &[Token<'_>], at: usize) -> Vec<RootPath> {
    let mut found = Vec::new();
    walk(tokens, at, Vec::new(), tokens[at].line, &mut found);
    found
}

/// The `mod name { .. }` blocks that are open at the current token, each with the brace depth inside it.
#[derive(Default)]
struct InlineModules {
    depth: usize,
    names: Vec<(String, usize)>,
}

impl InlineModules {
    fn see(&mut self, tokens: &[Token<'_>], at: usize) {
        match tokens[at].text {
            "{" => {
                self.depth += 1;
                if at >= 2 && text_is(tokens, at - 2, "mod") && tokens[at - 1].kind == Kind::Word {
                    self.names.push((tokens[at - 1].text.to_owned(), self.depth));
                }
            }
            "}" => {
                if self.names.last().is_some_and(|(_, depth)| *depth == self.depth) {
                    self.names.pop();
                }
                self.depth = self.depth.saturating_sub(1);
            }
            _ => {}
        }
    }
}

/// Follows one path, or each branch of a `use` tree, from the token after a `::`; returns the token after it.
fn walk(tokens: &[Token<'_>], mut at: usize, mut path: Vec<String>, line: usize, found: &mut Vec<RootPath>) -> usize {
    while let Some(token) = tokens.get(at) {
        match (token.kind, token.text) {
            (Kind::Word, "super") => {
                path.pop();
            }
            (Kind::Word, "self") => {}
            (Kind::Word, name) => path.push(name.trim_start_matches("r#").to_owned()),
            (Kind::Punctuation, "*") => path.push("*".to_owned()),
            (Kind::Punctuation, "{") => return branches(tokens, at + 1, &path, found),
            _ => break,
        }
        at += 1;
        if !text_is(tokens, at, "::") {
            break;
        }
        at += 1;
    }
    found.push(RootPath { segments: path, line });
    at
}

fn branches(tokens: &[Token<'_>], mut at: usize, base: &[String], found: &mut Vec<RootPath>) -> usize {
    while let Some(token) = tokens.get(at) {
        match token.text {
            "}" => return at + 1,
            "," => at += 1,
            "as" => at += 2,
            _ => at = walk(tokens, at, base.to_vec(), token.line, found).max(at + 1),
        }
    }
    at
}

/// Tells whether the token at a place exists and reads so.
pub fn text_is(tokens: &[Token<'_>], at: usize, text: &str) -> bool {
    tokens.get(at).is_some_and(|token| token.text == text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lexer::tokens;

    fn paths(file: &str, source: &str) -> Vec<String> {
        root_paths(&tokens(source), &module_of(file))
            .into_iter()
            .map(|path| format!("{}:{}", path.line, path.segments.join("::")))
            .collect()
    }

    #[test]
    fn use_trees_are_followed_into_every_branch() {
        let source =
            "use crate::{\n  ports::{self, link::Link as L},\n  store::{rows::*, Open},\n};\nuse crate::config;";
        assert_eq!(
            paths("app.rs", source),
            ["2:ports", "2:ports::link::Link", "3:store::rows::*", "3:store::Open", "5:config"]
        );
    }

    #[test]
    fn paths_in_code_macros_and_visibilities_count_too() {
        let source =
            "pub(in crate::http) fn f() { crate::store::open::<u8>(); m!($crate::sinks::log()); let crate_ = 1; }";
        assert_eq!(paths("http.rs", source), ["1:http", "1:store::open", "1:sinks::log"]);
    }

    #[test]
    fn super_is_resolved_from_the_file_and_its_inline_modules() {
        assert_eq!(paths("http.rs", "use super::store::Open;"), ["1:store::Open"]);
        assert_eq!(paths("http/auth.rs", "use super::super::store;"), ["1:store"]);
        assert_eq!(paths("http/auth.rs", "use super::error::Oops;"), ["1:http::error::Oops"]);
        assert_eq!(
            paths("http/auth.rs", "mod tests { use super::Key; } use self::a::B;"),
            ["1:http::auth::Key", "1:http::auth::a::B"]
        );
    }

    #[test]
    fn lookalikes_are_left_alone() {
        assert_eq!(
            paths("http.rs", "use other::crate_::x; pub(crate) fn g() { a::super_::b(); }"),
            Vec::<String>::new()
        );
    }
}
