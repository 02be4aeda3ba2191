//! Dates of HTTP (RFC 9110 section 5.6.7).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// 9999-12-31T23:59:59Z, the last date that the format can say.
const LAST: u64 = 253_402_300_799;

/// The time as an HTTP date, e.g. `Sun, 06 Nov 1994 08:49:37 GMT`; none before 1970 and behind the year 9999, which a
/// file's modification time may well be.
pub(crate) fn format(time: SystemTime) -> Option<String> {
    let since = time.duration_since(UNIX_EPOCH).ok()?;
    (since.as_secs() <= LAST).then(|| httpdate::fmt_http_date(time))
}

/// The date of now, formatted once for each second.
#[derive(Debug, Default)]
pub(crate) struct Clock {
    second: u64,
    text: Option<String>,
}

impl Clock {
    /// The same as [`format`].
    pub(crate) fn date(&mut self, now: SystemTime) -> Option<&str> {
        let second = now.duration_since(UNIX_EPOCH).ok()?.as_secs();
        if self.second != second || self.text.is_none() {
            *self = Self { second, text: format(now) };
        }
        self.text.as_deref()
    }
}

/// Reads the three formats that a recipient must know (RFC 9110 section 5.6.7); none if it is none of them.
pub(crate) fn parse(text: &str) -> Option<SystemTime> {
    httpdate::parse_http_date(text.trim_ascii()).ok()
}

/// The time without the fraction of its second, which an HTTP date cannot say. Only for times since 1970.
pub(crate) fn whole_seconds(time: SystemTime) -> SystemTime {
    match time.duration_since(UNIX_EPOCH) {
        Ok(since) => UNIX_EPOCH + Duration::from_secs(since.as_secs()),
        Err(_) => time,
    }
}

/// The time as people read it in a listing, `06 Nov 1994 08:49`, in UTC.
pub(crate) fn for_people(time: SystemTime) -> Option<String> {
    Some(format(time)?.get(5..22)?.to_owned())
}

/// The time as it stands in the logs of servers, `06/Nov/1994:08:49:37 +0000`.
pub(crate) fn for_logs(time: SystemTime) -> Option<String> {
    let date = format(time)?;
    let (day, month, year, clock) = (date.get(5..7)?, date.get(8..11)?, date.get(12..16)?, date.get(17..25)?);
    Some(format!("{day}/{month}/{year}:{clock} +0000"))
}

/// The time as programs read it, with milliseconds: `1994-11-06T08:49:37.900Z` (RFC 3339).
pub(crate) fn with_milliseconds(time: SystemTime) -> Option<String> {
    let milliseconds = time.duration_since(UNIX_EPOCH).ok()?.subsec_millis();
    let second = for_programs(time)?;
    Some(format!("{}.{milliseconds:03}Z", second.strip_suffix('Z')?))
}

/// The time as programs read it, `1994-11-06T08:49:37Z` (RFC 3339).
pub(crate) fn for_programs(time: SystemTime) -> Option<String> {
    let date = format(time)?;
    let mut words = date.get(5..)?.split(' ');
    let (day, month, year, clock) = (words.next()?, words.next()?, words.next()?, words.next()?);
    let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let month = months.iter().position(|m| *m == month)? + 1;
    Some(format!("{year}-{month:02}-{day}T{clock}Z"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn dates() {
        let time = UNIX_EPOCH + Duration::from_millis(784_111_777_900);
        assert_eq!(format(time).as_deref(), Some("Sun, 06 Nov 1994 08:49:37 GMT"));
        assert_eq!(for_people(time).as_deref(), Some("06 Nov 1994 08:49"));
        assert_eq!(for_programs(time).as_deref(), Some("1994-11-06T08:49:37Z"));
        assert_eq!(with_milliseconds(time).as_deref(), Some("1994-11-06T08:49:37.900Z"));
        assert_eq!(for_logs(time).as_deref(), Some("06/Nov/1994:08:49:37 +0000"));
        for text in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
            " Sun, 06 Nov 1994 08:49:37 GMT ",
        ] {
            assert_eq!(parse(text), Some(whole_seconds(time)), "{text}");
        }
        for text in ["", "yesterday", "Sun, 06 Nov 1994 08:49:37", "Sun, 99 Nov 1994 08:49:37 GMT"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn times_that_no_date_can_say() {
        for time in [UNIX_EPOCH - Duration::from_nanos(1), UNIX_EPOCH + Duration::from_secs(LAST + 1)] {
            assert_eq!((format(time), for_people(time), for_programs(time)), (None, None, None));
            assert_eq!((for_logs(time), with_milliseconds(time)), (None, None));
        }
        assert!(format(UNIX_EPOCH + Duration::from_secs(LAST)).is_some());
    }

    proptest! {
        #[test]
        fn a_date_comes_back_as_it_was_said(second in 0..=LAST, nanos in 0u32..1_000_000_000) {
            let time = UNIX_EPOCH + Duration::new(second, nanos);
            prop_assert_eq!(format(time).as_deref().and_then(parse), Some(whole_seconds(time)));
        }
    }
}
