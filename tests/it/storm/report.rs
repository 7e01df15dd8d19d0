//! What a storm has shown, as a table, and what of it is wrong.

use std::fmt;
use std::time::Duration;

use serde_json::Value;

use super::plan::Kind;
use super::watch::Log;
use crate::torture::books;
use crate::torture::talk::phone;

pub(super) struct Report {
    pub(super) log: Log,
    /// Who left `open` though nothing had struck them.
    pub(super) unexplained: Vec<String>,
    /// Within which a dead connection has to be found.
    pub(super) bound: Duration,
    /// How long it took until everybody was back, and who was not in time.
    pub(super) back: (Duration, Vec<String>),
    /// What those say whom something terminal has struck.
    pub(super) parked: Vec<(Kind, Value)>,
    pub(super) disagreements: Vec<String>,
    pub(super) restarts: usize,
    pub(super) quarantined: usize,
    pub(super) messages: books::Outcome,
}

/// How long what the network tells may take to be noticed.
const AT_ONCE: Duration = Duration::from_secs(1);

impl Report {
    /// Everything that must not be, in sentences.
    pub(super) fn wrongs(&self, slack: Duration) -> Vec<String> {
        let mut wrongs = Vec::new();
        let longest = Duration::from_millis(self.log.longest.0);
        if longest > self.bound + slack {
            wrongs.push(format!("open was said for {longest:?} of a dead connection ({:?})", self.log.longest.1));
        }
        for (kind, figures) in &self.log.kinds {
            let late = figures.detected.iter().copied().map(Duration::from_millis).max().unwrap_or_default();
            if kind.is_told() && late > AT_ONCE + slack {
                wrongs.push(format!("{kind} was noticed after {late:?}, and not at once"));
            }
        }
        wrongs.extend(self.unexplained.iter().map(|who| format!("left open for no reason: {who}")));
        wrongs.extend(self.back.1.iter().map(|who| format!("not back in time: {who}")));
        wrongs.extend(
            self.parked
                .iter()
                .filter(|(kind, said)| !is_parked_right(*kind, said))
                .map(|(kind, said)| format!("struck by {kind}, and says {said}")),
        );
        wrongs.extend(self.disagreements.iter().map(|who| format!("two states at once: {who}")));
        if self.quarantined > 0 {
            wrongs.push(format!("{} instances were quarantined", self.quarantined));
        }
        if !self.messages.is_good() {
            wrongs.push("the books do not balance".to_owned());
        }
        wrongs
    }
}

/// An instance that was replaced looks again after a while, and may be back.
fn is_parked_right(kind: Kind, said: &Value) -> bool {
    let parked = said["state"] == "close" && kind.parks().is_some_and(|code| said["code"] == code);
    parked || (kind == Kind::Replaced && said["state"] == "open")
}

fn percentile(sorted: &[u64], hundredths: usize) -> String {
    let last = sorted.len().saturating_sub(1);
    sorted.get((sorted.len() * hundredths / 100).min(last)).map_or_else(|| "-".to_owned(), |ms| seconds(*ms))
}

fn seconds(ms: u64) -> String {
    format!("{:.2}", Duration::from_millis(ms).as_secs_f64())
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<28} {:>6}   detected after, s         open again after, s", "", "faults")?;
        writeln!(f, "{:<28} {:>6}   p50     p99     max       p50     p99     max", "", "")?;
        for (kind, figures) in &self.log.kinds {
            let row = |times: &[u64]| {
                let mut times = times.to_vec();
                times.sort_unstable();
                [50, 99, 100].map(|hundredths| format!("{:>7}", percentile(&times, hundredths))).join(" ")
            };
            writeln!(f, "{kind:<28} {:>6} {}   {}", figures.struck, row(&figures.detected), row(&figures.recovered))?;
        }
        let faults: u64 = self.log.kinds.values().map(|figures| figures.struck).sum();
        writeln!(f, "\nfaults                                {faults:>7}")?;
        writeln!(f, "looks at every instance               {:>7}", self.log.looks)?;
        writeln!(
            f,
            "`open` said of a dead connection, s   {:>7}   (all instances together)",
            seconds(self.log.false_open)
        )?;
        let whose = self.log.longest.1.map(|(number, kind)| format!("; {}: {kind}", phone(number))).unwrap_or_default();
        let bound = self.bound.as_secs();
        writeln!(
            f,
            "  the longest time, s                 {:>7}   (bound {bound}{whose})",
            seconds(self.log.longest.0)
        )?;
        writeln!(f, "left `open` without a fault           {:>7}", self.unexplained.len())?;
        writeln!(f, "open again after the storm, s         {:>7}", seconds(self.back.0.as_millis() as u64))?;
        writeln!(f, "  not in time                         {:>7}", self.back.1.len())?;
        let right = self.parked.iter().filter(|(kind, said)| is_parked_right(*kind, said)).count();
        writeln!(f, "terminal faults, under the right code {:>7}   of {}", right, self.parked.len())?;
        writeln!(f, "two reads of a state that disagree    {:>7}", self.disagreements.len())?;
        writeln!(f, "actors restarted, quarantined         {:>7}   {}\n", self.restarts, self.quarantined)?;
        write!(f, "{}", self.messages)
    }
}
