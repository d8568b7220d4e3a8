//! `--stop-timeout`: seconds, a time span as `1min 30s`, or `infinity`.

use std::time::Duration;

use jiff::SignedDuration;

use crate::{Error, escape::Escaped};

/// A hundred years and more: deadlines are counted from an [`Instant`](std::time::Instant), which this doesn't overflow.
const LONGEST: Duration = Duration::from_secs(u32::MAX as u64);

/// Reads a value; `None` is for ever.
///
/// # Errors
/// It is no time span, zero, or longer than an init lives.
pub fn parse(value: &str) -> Result<Option<Duration>, Error> {
    if value == "infinity" {
        return Ok(None);
    }
    let seconds = value.bytes().all(|b| b.is_ascii_digit()).then(|| value.parse().ok().map(Duration::from_secs)).flatten();
    let span = seconds.or_else(|| Duration::try_from(value.parse::<SignedDuration>().ok()?).ok());
    let known = span.filter(|span| !span.is_zero() && *span <= LONGEST).map(Some);
    known.ok_or_else(|| {
        Error::usage(format!("Invalid value '{}' for --stop-timeout", Escaped::text(value)))
            .hint("expected seconds, at least 1, a time as '1min 30s', or infinity")
    })
}

/// The value that gives this: `parse` of it is equal.
pub fn show(limit: Option<Duration>) -> String {
    match limit {
        None => "infinity".to_owned(),
        Some(limit) if limit.subsec_nanos() == 0 => limit.as_secs().to_string(),
        Some(limit) => format!("{}s {}ns", limit.as_secs(), limit.subsec_nanos()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_as_people_write_them() {
        let table = [
            ("90", 90_000),
            ("1", 1000),
            ("90s", 90_000),
            ("5min", 300_000),
            ("1min 30s", 90_000),
            ("2h", 7_200_000),
            ("500ms", 500),
            ("1.5s", 1500),
            ("2 minutes", 120_000),
        ];
        for (value, milliseconds) in table {
            let limit = parse(value).unwrap();
            assert_eq!(limit, Some(Duration::from_millis(milliseconds)), "{value}");
            assert_eq!(parse(&show(limit)).unwrap(), limit, "{value}");
        }
        assert_eq!((parse("infinity").unwrap(), show(None).as_str()), (None, "infinity"));
    }

    #[test]
    fn what_is_no_span_is_refused() {
        for value in ["", "0", "0s", "-5", "-5s", "5s ago", "abc", "1min 30", "9999999999", "99999999999999999999", "5\x1b[2Js", "∞"] {
            let e = parse(value).unwrap_err().to_string();
            assert!(e.contains("for --stop-timeout; expected seconds") && !e.contains('\x1b'), "{value}: {e}");
        }
    }
}
