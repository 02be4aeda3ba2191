//! `Accept` (RFC 9110 section 12.5.1), for the pages that exist in several media types; `Accept-Encoding` (section 12.5.3),
//! for files that lie there in several codings.

/// How much a client wants a media type: its weight in thousandths, then how exactly it named the type
/// (2: `text/html`, 1: `text/*`, 0: `*/*`). None: not acceptable.
pub(crate) type Preference = Option<(u16, u8)>;

/// The preference for `main/sub`. Without a field everything is acceptable alike. The most exact range counts.
pub(crate) fn preference(field: Option<&str>, main: &str, sub: &str) -> Preference {
    let Some(field) = field else { return Some((1000, 0)) };
    let mut best: Option<(u8, u16)> = None;
    for element in field.split(',') {
        let mut parts = element.split(';').map(str::trim_ascii);
        let Some((range_main, range_sub)) = parts.next().and_then(|range| range.split_once('/')) else { continue };
        let exactness = if range_main.eq_ignore_ascii_case(main) && range_sub.eq_ignore_ascii_case(sub) {
            2
        } else if range_main.eq_ignore_ascii_case(main) && range_sub == "*" {
            1
        } else if range_main == "*" && range_sub == "*" {
            0
        } else {
            continue;
        };
        let weight = parts.find_map(|p| p.strip_prefix("q=").or_else(|| p.strip_prefix("Q="))).map_or(1000, weight);
        if best.is_none_or(|(before, _)| exactness > before) {
            best = Some((exactness, weight));
        }
    }
    best.filter(|(_, weight)| *weight > 0).map(|(exactness, weight)| (weight, exactness))
}

/// How much a client wants a content coding, `gzip` or `identity`: its weight in thousandths, as it was said of that very
/// coding (true) or of all others (false). None if nothing was said of it.
pub(crate) fn coding(field: &str, coding: &str) -> Option<(u16, bool)> {
    let mut others = None;
    for element in field.split(',') {
        let mut parts = element.split(';').map(str::trim_ascii);
        let name = parts.next().unwrap_or_default();
        let weight = || parts.find_map(|p| p.strip_prefix("q=").or_else(|| p.strip_prefix("Q="))).map_or(1000, weight);
        // An old name of it (section 8.4.1.3).
        let name = if name.eq_ignore_ascii_case("x-gzip") { "gzip" } else { name };
        if name.eq_ignore_ascii_case(coding) {
            return Some(({ weight }(), true));
        }
        if name == "*" {
            others = Some(({ weight }(), false));
        }
    }
    others
}

/// A weight (RFC 9110 section 12.4.2) in thousandths; what is none counts as 0, the client did not mean "gladly".
fn weight(text: &str) -> u16 {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if fraction.len() > 3 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return 0;
    }
    match whole {
        "1" if fraction.bytes().all(|b| b == b'0') => 1000,
        "0" => format!("{fraction:0<3}").parse().unwrap_or(0),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codings() {
        for (field, gzip, identity) in [
            ("gzip", Some((1000, true)), None),
            ("GZip;q=0.5, br", Some((500, true)), None),
            ("x-gzip", Some((1000, true)), None),
            ("*;q=0.1", Some((100, false)), Some((100, false))),
            ("*, gzip;q=0", Some((0, true)), Some((1000, false))),
            ("identity;q=0, *;q=0.2", Some((200, false)), Some((0, true))),
            ("identity", None, Some((1000, true))),
            ("", None, None),
            ("gzip;q=x", Some((0, true)), None),
            ("gzip;q=1.000", Some((1000, true)), None),
            ("gzip;q=1.001", Some((0, true)), None),
        ] {
            assert_eq!((coding(field, "gzip"), coding(field, "identity")), (gzip, identity), "{field}");
        }
    }

    #[test]
    fn preferences() {
        let rows: &[(Option<&str>, Preference)] = &[
            (None, Some((1000, 0))),
            (Some("*/*"), Some((1000, 0))),
            (Some("text/*"), Some((1000, 1))),
            (Some("text/html"), Some((1000, 2))),
            (Some("TEXT/HTML;charset=utf-8;q=0.5"), Some((500, 2))),
            (Some("text/html;q=0, */*"), None),
            (Some("*/*;q=0.1, text/html;q=0.25"), Some((250, 2))),
            (Some("text/plain, application/json"), None),
            (Some("text/html; q=0.001"), Some((1, 2))),
            (Some("text/html;q=2"), None),
            (Some("text/html;q=0.1234"), None),
            (Some("text/html;q=-1"), None),
            (Some(""), None),
            (Some(",,;;/,html"), None),
        ];
        for (field, expected) in rows {
            assert_eq!(preference(*field, "text", "html"), *expected, "{field:?}");
        }
    }
}
