//! Which cases of an exhaustive suite run: by default a tenth, another tenth each
//! day, so that ten days run all of them; `FIREBREAK_EXHAUSTIVE=all` runs all.
//!
//! The seed is the number of days since 1970, or `FIREBREAK_SEED`, and is printed with
//! the name of the suite: with the same seed the same cases run again.

use std::io::Write;

use fastrand::Rng;

/// A sample is one of so many, and as many consecutive seeds cover every case.
pub const PARTS: u64 = 10;

/// How much of its suites a run plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// Every case.
    All,
    /// The tenth that this seed chooses.
    Tenth(u64),
}

impl Extent {
    /// What `FIREBREAK_EXHAUSTIVE` and `FIREBREAK_SEED` say, or today's tenth.
    ///
    /// # Panics
    ///
    /// Where a variable has a value that it cannot have.
    pub fn of_this_run() -> Self {
        let variable =
            |name| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned());
        match variable("FIREBREAK_EXHAUSTIVE").as_deref() {
            Some("all") => return Self::All,
            Some(other) => assert!(other.is_empty(), "FIREBREAK_EXHAUSTIVE is `all` or not set"),
            None => {}
        }
        let seed = variable("FIREBREAK_SEED").map(|it| it.parse());
        Self::Tenth(seed.map_or_else(today, |it| it.expect("FIREBREAK_SEED is a number")))
    }

    /// How many of so many run, where each is like the others.
    pub fn share(self, total: usize) -> usize {
        match self {
            Self::All => total,
            Self::Tenth(_) => total.div_ceil(PARTS.try_into().unwrap()),
        }
    }

    /// What else a suite draws at random: the same for all cases, another each day.
    pub fn seed(self) -> u64 {
        match self {
            Self::All => 0,
            Self::Tenth(seed) => seed,
        }
    }

    /// The cases of `all` that run, in their order, and the line that says which.
    pub fn choose<T>(self, suite: &str, all: Vec<T>) -> (Vec<T>, String) {
        let total = all.len();
        let Self::Tenth(seed) = self else {
            return (all, format!("sample of {suite}: all {total}"));
        };
        // In an order of their own, so that neighbours are not chosen together.
        let mut order: Vec<usize> = (0..total).collect();
        Rng::with_seed(0).shuffle(&mut order);
        let parts = usize::try_from(PARTS).unwrap();
        let begin = usize::try_from(seed % PARTS).unwrap() * total / parts;
        let mut chosen = vec![false; total];
        for place in begin..begin + total.div_ceil(parts) {
            chosen[order[place % total]] = true;
        }
        let kept: Vec<T> =
            all.into_iter().zip(chosen).filter_map(|(case, is)| is.then_some(case)).collect();
        let line = format!(
            "sample of {suite}: {} of {total} by seed {seed}; FIREBREAK_EXHAUSTIVE=all runs all",
            kept.len(),
        );
        (kept, line)
    }
}

/// The cases of a suite that this run plays; says which.
pub fn sample<T>(suite: &str, all: Vec<T>) -> Vec<T> {
    let (kept, line) = Extent::of_this_run().choose(suite, all);
    say(&line);
    kept
}

/// Prints a line past the test harness's capture, so that every run shows its seed.
pub fn say(line: &str) {
    // In one write, because other tests print beside it.
    let written = std::io::stderr().write_all(format!("{line}\n").as_bytes());
    written.expect("standard error can be written");
}

/// How many days have passed since 1970.
#[expect(clippy::disallowed_methods, reason = "the calendar chooses the sample, not a simulation")]
fn today() -> u64 {
    let days = jiff::Timestamp::now().as_second() / 86_400;
    days.try_into().expect("it is later than 1970")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_sample_is_a_tenth_and_never_empty_and_ten_seeds_in_a_row_cover_all() {
        for total in (1..200_usize).chain([1_000, 1_234]) {
            for first in [0, 7, 20_787] {
                let mut covered = BTreeSet::new();
                for seed in first..first + PARTS {
                    let (kept, _) = Extent::Tenth(seed).choose("cases", (0..total).collect());
                    assert_eq!(kept.len(), total.div_ceil(10), "{total} by {seed}");
                    assert!(kept.is_sorted());
                    covered.extend(kept);
                }
                assert_eq!(covered.len(), total, "{total} from {first}");
            }
        }
    }

    #[test]
    fn the_same_seed_chooses_the_same_and_the_next_day_another_tenth() {
        let chosen = |seed| Extent::Tenth(seed).choose("cases", (0..100).collect()).0;
        assert_eq!(chosen(20_787), chosen(20_787));
        let (one, next): (BTreeSet<i32>, BTreeSet<i32>) =
            (chosen(20_787).into_iter().collect(), chosen(20_788).into_iter().collect());
        assert!(one.is_disjoint(&next));
    }

    #[test]
    fn all_is_all_and_nothing_has_nothing_to_choose_from() {
        assert_eq!(Extent::All.choose("cases", vec![1, 2, 3]).0, [1, 2, 3]);
        assert!(Extent::Tenth(5).choose("cases", Vec::<u8>::new()).0.is_empty());
    }

    #[test]
    fn the_line_says_how_to_run_the_same_again_and_how_to_run_all() {
        let (_, line) = Extent::Tenth(20_787).choose("deaths", vec![0; 95]);
        assert_eq!(
            line,
            "sample of deaths: 10 of 95 by seed 20787; FIREBREAK_EXHAUSTIVE=all runs all"
        );
    }
}
