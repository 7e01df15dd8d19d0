//! One row of the matrix: what the places hold of an instance, and what must come of it.

/// What the database, a Redis and the files hold, and what comes of it: action, verdict, source.
pub(super) type Row = (Database, Copy, Copy, &'static str, &'static str, Option<&'static str>);

/// What the database holds of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Database {
    Whole,
    /// Its state of the earlier moment.
    SetBack,
    Emptied,
    /// Its login does not open.
    Damaged,
}

/// What a layer holds of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Copy {
    /// Its state of the later moment.
    Fresh,
    /// Its state of the earlier moment.
    Stale,
    None,
    Corrupt,
}

/// A row, which is tried with one instance.
#[derive(Debug)]
pub(super) struct Trial {
    pub(super) number: usize,
    pub(super) database: Database,
    pub(super) redis: Copy,
    pub(super) files: Copy,
    pub(super) action: &'static str,
    pub(super) verdict: &'static str,
    pub(super) source: Option<&'static str>,
}

pub(super) fn trials(rows: &[Row]) -> Vec<Trial> {
    let trial = |(number, row): (usize, &Row)| {
        let &(database, redis, files, action, verdict, source) = row;
        Trial { number, database, redis, files, action, verdict, source }
    };
    rows.iter().enumerate().map(trial).collect()
}

impl Trial {
    pub(super) fn name(&self) -> String {
        format!("i{}", self.number)
    }

    pub(super) fn phone(&self) -> String {
        format!("55119999900{:02}", self.number)
    }

    pub(super) fn comes_back(&self) -> bool {
        !matches!(self.action, "park" | "wait" | "nothing")
    }
}
