//! When something began, for people.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use nskit_launcher::registry::Since;

const SECOND: u64 = 1_000_000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
const WEEK: u64 = 7 * DAY;
/// Of the Gregorian calendar, on average.
const YEAR: u64 = 31_556_952 * SECOND;
const MONTH: u64 = YEAR / 12;

/// `Wed 2016-02-10 07:42:52 UTC`, in the user's time zone. Empty beyond the year 9999.
pub fn moment(since: Since) -> String {
    // Without a zone of its own a machine is in this one.
    moment_in(since, TimeZone::try_system().unwrap_or(TimeZone::UTC))
}

fn moment_in(since: Since, zone: TimeZone) -> String {
    let micros = i64::try_from(since.realtime_us).ok();
    let time = micros.and_then(|micros| Timestamp::from_microsecond(micros).ok());
    time.map(|time| time.to_zoned_datetime(zone).strftime("%a %Y-%m-%d %H:%M:%S %Z").to_string()).unwrap_or_default()
}

/// `33min ago`, by the clock that nobody sets.
pub fn ago(since: Since) -> String {
    relative(Since::now().monotonic_us.saturating_sub(since.monotonic_us))
}

/// The two largest units while they matter, as systemctl has them.
fn relative(micros: u64) -> String {
    let plural = |n: u64, unit: &str| format!("{n} {unit}{}", if n == 1 { "" } else { "s" });
    let long = |large: (u64, &str), small: (u64, &str)| {
        let (n, rest) = (micros / large.0, micros % large.0 / small.0);
        let rest = if rest > 0 { format!(" {}", plural(rest, small.1)) } else { String::new() };
        format!("{}{rest} ago", plural(n, large.1))
    };
    match micros {
        n if n >= YEAR => long((YEAR, "year"), (MONTH, "month")),
        n if n >= MONTH => long((MONTH, "month"), (DAY, "day")),
        n if n >= WEEK => long((WEEK, "week"), (DAY, "day")),
        n if n >= 2 * DAY => format!("{} days ago", n / DAY),
        n if n >= 25 * HOUR => format!("1 day {}h ago", (n - DAY) / HOUR),
        n if n >= 6 * HOUR => format!("{}h ago", n / HOUR),
        n if n >= HOUR => format!("{}h {}min ago", n / HOUR, n % HOUR / MINUTE),
        n if n >= 5 * MINUTE => format!("{}min ago", n / MINUTE),
        n if n >= MINUTE => format!("{}min {}s ago", n / MINUTE, n % MINUTE / SECOND),
        n if n >= SECOND => format!("{}s ago", n / SECOND),
        n => format!("{}ms ago", n / 1000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_local() {
        let since = Since { realtime_us: 1_455_090_172_123_456, monotonic_us: 0 };
        assert_eq!(moment_in(since, TimeZone::UTC), "Wed 2016-02-10 07:42:52 UTC");
        let zone = TimeZone::fixed(jiff::tz::offset(5));
        assert!(moment_in(since, zone).starts_with("Wed 2016-02-10 12:42:52 "));
        assert_eq!(moment_in(Since { realtime_us: u64::MAX, monotonic_us: 0 }, TimeZone::UTC), "");
        assert!(moment(since).contains("2016-02-"));
    }

    #[test]
    fn durations_have_two_units_at_most() {
        let table = [
            (0, "0ms ago"),
            (999_999, "999ms ago"),
            (59 * SECOND, "59s ago"),
            (MINUTE + 7 * SECOND, "1min 7s ago"),
            (33 * MINUTE + 5, "33min ago"),
            (HOUR, "1h 0min ago"),
            (5 * HOUR + 59 * MINUTE, "5h 59min ago"),
            (24 * HOUR, "24h ago"),
            (25 * HOUR, "1 day 1h ago"),
            (6 * DAY, "6 days ago"),
            (WEEK, "1 week ago"),
            (2 * WEEK + DAY, "2 weeks 1 day ago"),
            (MONTH + 2 * DAY, "1 month 2 days ago"),
            (YEAR, "1 year ago"),
            (3 * YEAR + 2 * MONTH, "3 years 2 months ago"),
        ];
        for (micros, text) in table {
            assert_eq!(relative(micros), text);
        }
        relative(u64::MAX);
    }
}
