//! Just enough of Rust's lexical rules to tell code from comments and strings.

/// One token of code; comments and the insides of literals are gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Token<'a> {
    pub kind: Kind,
    pub text: &'a str,
    pub line: usize,
}

/// What a token is, as far as the checks care.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Word,
    Lifetime,
    Literal,
    /// One character, except `::`, which is one token.
    Punctuation,
}

/// Splits a source text into tokens.
pub fn tokens(source: &str) -> Vec<Token<'_>> {
    let mut lexer = Lexer { source, bytes: source.as_bytes(), at: 0, line: 1 };
    let mut found = Vec::new();
    while let Some(token) = lexer.next_token() {
        found.push(token);
    }
    found
}

struct Lexer<'a> {
    source: &'a str,
    bytes: &'a [u8],
    at: usize,
    line: usize,
}

impl<'a> Lexer<'a> {
    fn next_token(&mut self) -> Option<Token<'a>> {
        self.skip_blanks_and_comments();
        let first = self.peek(0)?;
        let (start, line) = (self.at, self.line);
        let kind = if let Some(hashes) = self.raw_string_ahead() {
            self.raw_string(hashes);
            Kind::Literal
        } else if first == b'"' || (matches!(first, b'b' | b'c') && self.peek(1) == Some(b'"')) {
            self.step(if first == b'"' { 1 } else { 2 });
            self.until_quote(b'"');
            Kind::Literal
        } else if first == b'b' && self.peek(1) == Some(b'\'') {
            self.step(2);
            self.until_quote(b'\'');
            Kind::Literal
        } else if first == b'\'' {
            self.lifetime_or_character()
        } else if first.is_ascii_digit() {
            self.number();
            Kind::Literal
        } else if is_word(first) {
            if self.source[self.at..].starts_with("r#") {
                self.step(2);
            }
            self.while_word();
            Kind::Word
        } else {
            self.step(if self.source[self.at..].starts_with("::") { 2 } else { 1 });
            Kind::Punctuation
        };
        Some(Token { kind, text: &self.source[start..self.at], line })
    }

    fn peek(&self, ahead: usize) -> Option<u8> {
        self.bytes.get(self.at + ahead).copied()
    }

    /// Moves on, counting lines.
    fn step(&mut self, count: usize) {
        for _ in 0..count {
            if self.peek(0) == Some(b'\n') {
                self.line += 1;
            }
            self.at += 1;
        }
    }

    fn skip_blanks_and_comments(&mut self) {
        loop {
            match (self.peek(0), self.peek(1)) {
                (Some(blank), _) if blank.is_ascii_whitespace() => self.step(1),
                (Some(b'/'), Some(b'/')) => {
                    while self.peek(0).is_some_and(|byte| byte != b'\n') {
                        self.step(1);
                    }
                }
                (Some(b'/'), Some(b'*')) => self.block_comment(),
                _ => return,
            }
        }
    }

    fn block_comment(&mut self) {
        let mut depth = 0_usize;
        while let Some(byte) = self.peek(0) {
            match (byte, self.peek(1)) {
                (b'/', Some(b'*')) => {
                    depth += 1;
                    self.step(2);
                }
                (b'*', Some(b'/')) => {
                    depth -= 1;
                    self.step(2);
                    if depth == 0 {
                        return;
                    }
                }
                _ => self.step(1),
            }
        }
    }

    /// Returns the number of hashes when `r"`, `br#"` and the like stand here.
    fn raw_string_ahead(&self) -> Option<usize> {
        let rest = &self.bytes[self.at..];
        let after_prefix = match rest {
            [b'r', ..] => 1,
            [b'b' | b'c', b'r', ..] => 2,
            _ => return None,
        };
        let hashes = rest[after_prefix..].iter().take_while(|byte| **byte == b'#').count();
        (rest.get(after_prefix + hashes) == Some(&b'"')).then_some(hashes)
    }

    fn raw_string(&mut self, hashes: usize) {
        while self.peek(0) != Some(b'"') {
            self.step(1);
        }
        self.step(1);
        let end = format!("\"{}", "#".repeat(hashes));
        let length = self.source[self.at..].find(&end).map_or(self.bytes.len() - self.at, |found| found + end.len());
        self.step(length);
    }

    fn until_quote(&mut self, quote: u8) {
        while let Some(byte) = self.peek(0) {
            self.step(if byte == b'\\' { 2 } else { 1 });
            if byte == quote {
                return;
            }
        }
        self.at = self.at.min(self.bytes.len());
    }

    fn lifetime_or_character(&mut self) -> Kind {
        self.step(1);
        if self.peek(0) == Some(b'\\') {
            self.until_quote(b'\'');
            return Kind::Literal;
        }
        let length = self.source[self.at..].chars().next().map_or(0, char::len_utf8);
        if self.peek(length) == Some(b'\'') {
            self.step(length + 1);
            Kind::Literal
        } else {
            self.while_word();
            Kind::Lifetime
        }
    }

    fn number(&mut self) {
        self.while_word();
        if self.peek(0) == Some(b'.') && self.peek(1).is_some_and(|byte| byte.is_ascii_digit()) {
            self.step(1);
            self.while_word();
        }
    }

    fn while_word(&mut self) {
        while self.peek(0).is_some_and(is_word) {
            self.step(1);
        }
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || !byte.is_ascii()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(source: &str) -> Vec<&str> {
        tokens(source).into_iter().filter(|token| token.kind == Kind::Word).map(|token| token.text).collect()
    }

    #[test]
    fn comments_and_strings_are_not_code() {
        let source = r##"
            // crate::a
            /* crate::b /* nested */ crate::c */
            let s = "crate::d \" crate::e"; let r = r#"crate::f " "#; let b = b"crate::g"; let c = br"crate::h";
            end
        "##;
        assert_eq!(words(source), ["let", "s", "let", "r", "let", "b", "let", "c", "end"]);
    }

    #[test]
    fn characters_are_told_from_lifetimes() {
        let source = r"fn f<'a>(x: &'a str) { ('x', '\'', '\u{41}', '—', b'\n', '_', 'static); after }";
        assert_eq!(words(source), ["fn", "f", "x", "str", "after"]);
        let lifetimes = tokens(source).into_iter().filter(|token| token.kind == Kind::Lifetime).count();
        assert_eq!(lifetimes, 3);
    }

    #[test]
    fn numbers_ranges_and_raw_words_keep_their_shape() {
        assert_eq!(words("0..len; 1.5e3.max(x); 0xff_u8; r#type"), ["len", "max", "x", "r#type"]);
    }

    #[test]
    fn lines_are_counted_through_literals_and_comments() {
        let found = tokens("\"a\nb\" /*\n*/ // x\nword");
        assert_eq!(found.last().map(|token| (token.text, token.line)), Some(("word", 4)));
    }

    #[test]
    fn an_unfinished_literal_ends_with_the_file() {
        for source in ["\"abc\\", "'\\", "r#\"abc", "/* abc", "b'", "'"] {
            tokens(source);
        }
    }
}
