//! Which lines are logged, in the words in which Evolution API asks for them.

/// How much a line matters, the most first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Weight {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

/// Who has written a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The engine.
    Engine,
    /// The engine, about a delivery to a webhook.
    Deliveries,
    /// The library that speaks to WhatsApp.
    Protocol,
    /// Any other library.
    Library,
}

/// A word of `LOG_LEVEL`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    Error,
    Warn,
    Debug,
    Info,
    Log,
    Verbose,
    Dark,
    Webhooks,
    Websocket,
}

impl Word {
    /// All of them, in Evolution's order.
    pub const ALL: [Self; 9] = [
        Self::Error,
        Self::Warn,
        Self::Debug,
        Self::Info,
        Self::Log,
        Self::Verbose,
        Self::Dark,
        Self::Webhooks,
        Self::Websocket,
    ];

    /// Returns the word as it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Error => "ERROR",
            Self::Warn => "WARN",
            Self::Debug => "DEBUG",
            Self::Info => "INFO",
            Self::Log => "LOG",
            Self::Verbose => "VERBOSE",
            Self::Dark => "DARK",
            Self::Webhooks => "WEBHOOKS",
            Self::Websocket => "WEBSOCKET",
        }
    }

    /// Reads a word as it is written.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|word| word.name() == text)
    }

    /// Returns which of the engine's lines it lets through, of all that it does.
    fn weight(self) -> Option<Weight> {
        match self {
            Self::Error => Some(Weight::Error),
            Self::Warn => Some(Weight::Warn),
            Self::Info | Self::Log => Some(Weight::Info),
            Self::Debug => Some(Weight::Debug),
            Self::Verbose | Self::Dark => Some(Weight::Trace),
            Self::Webhooks | Self::Websocket => None,
        }
    }
}

/// What is logged: some words, and from which weight on the lines of the WhatsApp library are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Selection {
    words: u16,
    /// None of its lines unless set.
    pub protocol: Option<Weight>,
}

impl Selection {
    /// Selects the lines of these words, and of the WhatsApp library none.
    pub fn of(words: impl IntoIterator<Item = Word>) -> Self {
        Self { words: words.into_iter().fold(0, |all, word| all | 1 << word as u16), protocol: None }
    }

    /// Returns the words, in Evolution's order.
    pub fn words(self) -> impl Iterator<Item = Word> {
        Word::ALL.into_iter().filter(move |word| self.has(*word))
    }

    fn has(self, word: Word) -> bool {
        self.words & 1 << word as u16 != 0
    }

    /// Tells whether a line is logged.
    ///
    /// Each word stands for itself: `ERROR,DEBUG` leaves the warnings out. Of the other libraries only what is wrong is logged.
    pub fn passes(self, origin: Origin, weight: Weight) -> bool {
        let asked = self.words().any(|word| word.weight() == Some(weight));
        match origin {
            Origin::Engine => asked,
            Origin::Deliveries => asked || self.has(Word::Webhooks) && weight <= Weight::Debug,
            Origin::Protocol => self.protocol.is_some_and(|least| weight <= least),
            Origin::Library => asked && weight <= Weight::Warn,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Origin, Selection, Weight, Word};

    fn said(selection: Selection, origin: Origin) -> String {
        let all = [Weight::Error, Weight::Warn, Weight::Info, Weight::Debug, Weight::Trace];
        let letters = all.into_iter().zip("EWIDT".chars());
        letters.filter(|(weight, _)| selection.passes(origin, *weight)).map(|(_, letter)| letter).collect()
    }

    #[test]
    fn each_word_lets_its_own_lines_through() {
        for (words, engine, deliveries, library) in [
            ("ERROR,WARN,INFO,LOG", "EWI", "EWI", "EW"),
            ("ERROR,WARN,DEBUG,INFO,LOG,VERBOSE,DARK,WEBHOOKS,WEBSOCKET", "EWIDT", "EWIDT", "EW"),
            ("ERROR,WARN,LOG,WEBHOOKS", "EWI", "EWID", "EW"),
            ("ERROR,DEBUG", "ED", "ED", "E"),
            ("DARK", "T", "T", ""),
            ("WEBSOCKET", "", "", ""),
        ] {
            let selection = Selection::of(words.split(',').map(|word| Word::parse(word).unwrap()));
            assert_eq!(said(selection, Origin::Engine), engine, "{words}");
            assert_eq!(said(selection, Origin::Deliveries), deliveries, "{words}");
            assert_eq!(said(selection, Origin::Library), library, "{words}");
            assert_eq!(said(selection, Origin::Protocol), "", "{words}");
            assert!(selection.words().map(Word::name).eq(words.split(',')), "{words}");
        }
    }

    #[test]
    fn the_protocol_has_a_level_of_its_own() {
        let mut selection = Selection::of([Word::Dark]);
        selection.protocol = Some(Weight::Info);
        assert_eq!((said(selection, Origin::Protocol), said(selection, Origin::Engine)), ("EWI".into(), "T".into()));
    }
}
