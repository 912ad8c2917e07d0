//! The simulator's time: tokio's clock, so that under paused time hours pass in milliseconds.

use std::ops::Add;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_smithy_async::time::TimeSource;
use tokio::time::Instant;

/// Ties tokio's clock to the calendar: the wall clock at the start, plus what has elapsed since.
#[derive(Debug, Clone)]
pub(crate) struct Clock {
    start: Instant,
    epoch: SystemTime,
}

/// For the SDK, which then has the simulator's time of day.
impl TimeSource for Clock {
    fn now(&self) -> SystemTime {
        self.epoch + self.start.elapsed()
    }
}

/// A point in time, on both clocks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Now {
    pub(crate) instant: Instant,
    /// Milliseconds since 1970.
    pub(crate) millis: u64,
}

impl Add<Duration> for Now {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        let millis = self.millis + duration.as_millis() as u64;
        Self { instant: self.instant + duration, millis }
    }
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self { start: Instant::now(), epoch: SystemTime::now() }
    }

    pub(crate) fn now(&self) -> Now {
        let instant = Instant::now();
        Now { instant, millis: self.unix_millis(instant) }
    }

    /// Milliseconds since 1970 at `instant`.
    pub(crate) fn unix_millis(&self, instant: Instant) -> u64 {
        let since_epoch = self.epoch.duration_since(UNIX_EPOCH).unwrap_or_default();
        let elapsed = instant.saturating_duration_since(self.start);
        u64::try_from((since_epoch + elapsed).as_millis()).unwrap_or(u64::MAX)
    }

    /// Whole seconds since 1970 at `instant`.
    pub(crate) fn unix_seconds(&self, instant: Instant) -> u64 {
        self.unix_millis(instant) / 1000
    }

    /// `instant` as SNS writes it: `2026-01-31T23:59:59.123Z`.
    pub(crate) fn iso8601(&self, instant: Instant) -> String {
        let millis = self.unix_millis(instant);
        let (days, in_day) = (millis / 86_400_000, millis % 86_400_000);
        let (year, month, day) = civil(days);
        let (hour, minute) = (in_day / 3_600_000, in_day / 60_000 % 60);
        let (second, milli) = (in_day / 1000 % 60, in_day % 1000);
        format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z")
    }
}

/// Milliseconds since 1970 as Kinesis writes them in errors: `Thu Jan 22 01:22:02 UTC 2015`.
pub(crate) fn amz_date(millis: u64) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (days, in_day) = (millis / 86_400_000, millis % 86_400_000 / 1000);
    let (year, month, date) = civil(days);
    let (day, month) = (DAYS[(days % 7) as usize], MONTHS[(month - 1) as usize]);
    let (hour, minute, second) = (in_day / 3_600, in_day / 60 % 60, in_day % 60);
    format!("{day} {month} {date:02} {hour:02}:{minute:02}:{second:02} UTC {year}")
}

/// Seconds from a request as a duration.
pub(crate) fn seconds(count: u32) -> Duration {
    Duration::from_secs(u64::from(count))
}

/// Year, month and day of a day counted from 1970-01-01 (proleptic Gregorian calendar).
fn civil(days: u64) -> (u64, u64, u64) {
    // Count from 0000-03-01, so that the leap day is the last of its year.
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_become_dates_across_leap_years() {
        assert_eq!(civil(0), (1970, 1, 1));
        assert_eq!(civil(11_016), (2000, 2, 29));
        assert_eq!(civil(20_513), (2026, 3, 1));
        assert_eq!(civil(47_540), (2100, 2, 28));
        assert_eq!(civil(47_541), (2100, 3, 1));
    }

    #[test]
    fn a_date_is_written_as_kinesis_writes_it() {
        assert_eq!(amz_date(1_421_889_722_000), "Thu Jan 22 01:22:02 UTC 2015");
    }

    #[test]
    fn a_timestamp_is_written_as_sns_writes_it() {
        let start = Instant::now();
        let clock = Clock { start, epoch: UNIX_EPOCH + Duration::from_millis(1_767_225_599_007) };
        assert_eq!(clock.iso8601(start), "2025-12-31T23:59:59.007Z");
        assert_eq!(clock.iso8601(start + Duration::from_secs(1)), "2026-01-01T00:00:00.007Z");
    }
}
