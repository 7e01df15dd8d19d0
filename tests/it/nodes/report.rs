//! What the rounds have shown, as a table, and what of it is wrong.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::Scale;

/// What one round has shown; all times in milliseconds.
#[derive(Clone, Debug, Default)]
pub(super) struct Finding {
    /// From the blow until each instance of the struck node was served again.
    pub(super) taken_over: Vec<u64>,
    /// Instances of it that were not.
    pub(super) left: usize,
    /// The longest time in which each instance that was dark was so.
    pub(super) dark: Vec<u64>,
    /// For how long two connections of one device lived, each time.
    pub(super) double: Vec<u64>,
    /// From the blow until everything was as it should be, as seen from every node.
    pub(super) calm: u64,
}

#[derive(Default)]
pub(super) struct Report {
    rounds: BTreeMap<&'static str, (u32, Finding)>,
}

impl Report {
    pub(super) fn add(&mut self, kind: &'static str, finding: Finding) {
        let (rounds, all) = self.rounds.entry(kind).or_default();
        *rounds += 1;
        all.taken_over.extend(finding.taken_over);
        all.left += finding.left;
        all.dark.extend(finding.dark);
        all.double.extend(finding.double);
        all.calm = all.calm.max(finding.calm);
    }

    /// Everything that must not be, in sentences.
    pub(super) fn wrongs(&self, scale: &Scale) -> Vec<String> {
        let mut wrongs = Vec::new();
        for (kind, (_, all)) in &self.rounds {
            if all.left > 0 {
                wrongs.push(format!("{kind}: {} instances were not taken over", all.left));
            }
            let longest = all.double.iter().copied().max().unwrap_or_default();
            // Whoever is frozen cannot close its connections, and says nothing on them.
            let excused = if *kind == "SIGSTOP" { scale.lease } else { Duration::ZERO };
            if u128::from(longest) > excused.as_millis() {
                wrongs.push(format!("{kind}: {} double connections, up to {longest} ms", all.double.len()));
            }
            let dark = all.dark.iter().copied().max().unwrap_or_default();
            if *kind == "rolling restart" && u128::from(dark) > scale.longest_dark.as_millis() {
                wrongs.push(format!("{kind}: an instance was dark for {dark} ms"));
            }
        }
        wrongs
    }
}

fn percentile(times: &[u64], hundredths: usize) -> String {
    let mut times = times.to_vec();
    times.sort_unstable();
    let last = times.len().saturating_sub(1);
    let found = times.get((times.len() * hundredths / 100).min(last));
    found.map_or_else(|| "-".to_owned(), |ms| format!("{:.2}", Duration::from_millis(*ms).as_secs_f64()))
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [taken, dark, double] = [&self.taken_over, &self.dark, &self.double].map(|times| percentile(times, 100));
        let calm = Duration::from_millis(self.calm).as_secs_f64();
        write!(
            f,
            "{} instances back after {taken} s, dark for {dark} s at most, double for {double} s; calm after {calm:.1} s",
            self.taken_over.len()
        )
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<22} {:>6}   back after, s     dark, s           double connections", "", "rounds")?;
        write!(f, "{:<22} {:>6}   p50     max       p50     max       times   longest, s", "", "")?;
        for (kind, (rounds, all)) in &self.rounds {
            let pair = |times: &[u64]| [50, 100].map(|at| format!("{:<7}", percentile(times, at))).join(" ");
            let (taken, dark) = (pair(&all.taken_over), pair(&all.dark));
            let longest = percentile(&all.double, 100);
            write!(f, "\n{kind:<22} {rounds:>6}   {taken}   {dark}   {:>5}   {longest}", all.double.len())?;
        }
        Ok(())
    }
}
