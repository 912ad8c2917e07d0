//! Adds up what test runners print: libtest's `test result:` lines, and the client checks' lines.

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
    /// What a line of a Rust test's output adds: nothing, unless it is a `test result:` line.
    pub(crate) fn of_libtest(line: &str) -> Self {
        let line = without_escapes(line);
        let mut tally = Self::default();
        let result = line.strip_prefix("test result: ").and_then(|result| result.split_once(". "));
        let counts = result.map_or("", |(_, counts)| counts).split(';');
        for (number, what) in counts.filter_map(|count| count.trim().split_once(' ')) {
            let Ok(number) = number.parse::<u64>() else { continue };
            match what {
                "passed" => tally.passed += number,
                "failed" => tally.failed += number,
                "ignored" => tally.skipped += number,
                _ => {}
            }
        }
        tally
    }

    /// What a line of a client check's output adds: a check is a line, `ok …`, `FAILED …`
    /// or `skipped …`.
    pub(crate) fn of_client(line: &str) -> Self {
        Self {
            passed: u64::from(line.starts_with("ok ")),
            failed: u64::from(line.starts_with("FAILED ")),
            skipped: u64::from(line.starts_with("skipped ")),
        }
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
        assert_eq!(Tally::of_libtest(line), Tally { passed: 12, failed: 2, skipped: 3 });
    }

    #[test]
    fn a_coloured_result_is_counted() {
        let line = "test result: \u{1b}[32mok\u{1b}[m. 1 passed; 0 failed; 0 ignored; 0 measured";
        assert_eq!(Tally::of_libtest(line), Tally { passed: 1, failed: 0, skipped: 0 });
    }

    #[test]
    fn a_client_s_checks_are_counted() {
        assert_eq!(Tally::of_client("ok a_b"), Tally { passed: 1, ..Tally::default() });
        assert_eq!(Tally::of_client("FAILED a_b: x"), Tally { failed: 1, ..Tally::default() });
        let skipped = Tally { skipped: 1, ..Tally::default() };
        assert_eq!(Tally::of_client("skipped a_b: x"), skipped);
        assert_eq!(Tally::of_client("okay"), Tally::default());
    }

    #[test]
    fn other_lines_count_for_nothing() {
        for line in ["", "running 3 tests", "test a ... ok", "2 failed; 3 passed", "ok 3 passed;"] {
            assert_eq!(Tally::of_libtest(line), Tally::default(), "{line}");
        }
    }
}
