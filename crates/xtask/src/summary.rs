//! Adds up what test runners print: libtest's `test result:` lines, and the `N passed, M failed`
//! line of the Python checks.

use std::fmt;
use std::ops::AddAssign;

/// How many checks ended how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) skipped: u64,
}

impl Tally {
    /// What one line of output adds: nothing, unless it is a runner's summary.
    pub(crate) fn of_line(line: &str) -> Self {
        let line = without_escapes(line);
        let counts = match line.strip_prefix("test result: ") {
            Some(result) => result.split_once(". ").map_or("", |(_, counts)| counts),
            None if line.contains(" passed, ") => line.trim(),
            None => return Self::default(),
        };
        let mut tally = Self::default();
        for count in counts.split([';', ',']) {
            let Some((number, what)) = count.trim().split_once(' ') else { return tally };
            let Ok(number) = number.parse::<u64>() else { return tally };
            match what {
                "passed" => tally.passed += number,
                "failed" => tally.failed += number,
                "ignored" | "skipped" => tally.skipped += number,
                _ => {}
            }
        }
        tally
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)
    }
}

/// The text without terminal colours: `ESC [ … m`.
fn without_escapes(line: &str) -> String {
    let mut pieces = line.split('\u{1b}');
    let first = pieces.next().unwrap_or_default();
    let rest = pieces.filter_map(|piece| piece.split_once('m').map(|(_, text)| text));
    std::iter::once(first).chain(rest).collect()
}

#[cfg(test)]
mod tests {
    use super::Tally;

    #[test]
    fn a_libtest_result_is_counted() {
        let line = "test result: FAILED. 12 passed; 2 failed; 3 ignored; 0 measured; \
            9 filtered out; finished in 0.52s";
        assert_eq!(Tally::of_line(line), Tally { passed: 12, failed: 2, skipped: 3 });
    }

    #[test]
    fn a_coloured_result_is_counted() {
        let line = "test result: \u{1b}[32mok\u{1b}[m. 1 passed; 0 failed; 0 ignored; 0 measured";
        assert_eq!(Tally::of_line(line), Tally { passed: 1, failed: 0, skipped: 0 });
    }

    #[test]
    fn a_python_check_s_last_line_is_counted() {
        let line = "31 passed, 1 failed";
        assert_eq!(Tally::of_line(line), Tally { passed: 31, failed: 1, skipped: 0 });
    }

    #[test]
    fn other_lines_count_for_nothing() {
        for line in ["", "running 3 tests", "test a ... ok", "3 orders placed", "2 failed"] {
            assert_eq!(Tally::of_line(line), Tally::default(), "{line}");
        }
    }
}
