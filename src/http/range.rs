//! `Range` (RFC 9110 section 14): which bytes of a representation a client selected.

use std::ops::Range;

use crate::limits;

/// What a `Range` field selects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Selected {
    /// Everything: the field is malformed, of another unit, or asks for too many parts, and is ignored.
    Whole,
    /// These byte offsets, half-open, none empty, none touching another, at least one and at most
    /// [`limits::RANGES`], in the order in which they were asked for.
    Ranges(Vec<Range<u64>>),
    /// Nothing that exists: 416.
    Unsatisfiable,
}

/// Resolves the value of a `Range` field against a representation of `length` bytes. Ranges that overlap or touch are
/// merged, so that no answer is longer than the representation by more than the heads of its parts.
pub(crate) fn select(field: &str, length: u64) -> Selected {
    let Some((unit, set)) = field.split_once('=') else { return Selected::Whole };
    if !unit.trim_ascii().eq_ignore_ascii_case("bytes") {
        return Selected::Whole;
    }
    let mut specs = 0;
    let mut satisfiable: Vec<(usize, Range<u64>)> = Vec::new();
    for element in set.split(',').map(str::trim_ascii).filter(|e| !e.is_empty()) {
        let Some(spec) = Spec::parse(element) else { return Selected::Whole };
        specs += 1;
        if specs > limits::RANGE_SPECS {
            return Selected::Whole;
        }
        // An empty representation has no last byte to send, yet a suffix of it is satisfiable: it is the whole.
        if length == 0 && matches!(spec, Spec::Suffix(1..)) {
            return Selected::Whole;
        }
        if let Some(range) = spec.resolve(length) {
            satisfiable.push((specs, range));
        }
    }
    match (specs, satisfiable.len()) {
        (0, _) => Selected::Whole,
        (_, 0) => Selected::Unsatisfiable,
        _ => {
            let mut merged = merge(satisfiable);
            if merged.len() > limits::RANGES {
                return Selected::Whole;
            }
            merged.sort_unstable_by_key(|(order, _)| *order);
            Selected::Ranges(merged.into_iter().map(|(_, range)| range).collect())
        }
    }
}

/// One `range-spec` (RFC 9110 section 14.1.1).
enum Spec {
    /// From an offset to the last one, inclusive, if there is one.
    From(u64, Option<u64>),
    /// So many bytes at the end.
    Suffix(u64),
}

impl Spec {
    fn parse(element: &str) -> Option<Self> {
        let (first, last) = element.split_once('-')?;
        match (first, last) {
            ("", suffix) => Some(Self::Suffix(number(suffix)?)),
            (first, "") => Some(Self::From(number(first)?, None)),
            (first, last) => {
                let (first, last) = (number(first)?, number(last)?);
                (first <= last).then_some(Self::From(first, Some(last)))
            }
        }
    }

    fn resolve(&self, length: u64) -> Option<Range<u64>> {
        let range = match *self {
            Self::From(first, last) => first..last.map_or(length, |last| last.saturating_add(1).min(length)),
            Self::Suffix(suffix) => length.saturating_sub(suffix)..length,
        };
        (!range.is_empty()).then_some(range)
    }
}

/// A number of any length; what is beyond 64 bits is beyond every file, too.
fn number(digits: &str) -> Option<u64> {
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    Some(digits.parse().unwrap_or(u64::MAX))
}

/// Joins what overlaps or touches; the joint range takes the earliest place in the order.
fn merge(mut ranges: Vec<(usize, Range<u64>)>) -> Vec<(usize, Range<u64>)> {
    ranges.sort_unstable_by_key(|(_, range)| range.start);
    let mut merged: Vec<(usize, Range<u64>)> = Vec::new();
    for (order, range) in ranges {
        match merged.last_mut() {
            Some((before, last)) if range.start <= last.end => {
                *before = order.min(*before);
                last.end = last.end.max(range.end);
            }
            _ => merged.push((order, range)),
        }
    }
    merged
}

#[cfg(test)]
#[allow(clippy::single_range_in_vec_init)]
mod tests {
    use super::Selected::{Ranges, Unsatisfiable, Whole};
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ranges_of_a_hundred_bytes() {
        let seventeen = (0..17).map(|i| format!("{}-{}", i * 3, i * 3)).collect::<Vec<_>>().join(",");
        let sixteen = (0..16).map(|i| format!("{}-{}", i * 3, i * 3)).collect::<Vec<_>>().join(",");
        let rows: Vec<(&str, Selected)> = vec![
            ("bytes=0-0", Ranges(vec![0..1])),
            ("bytes=0-", Ranges(vec![0..100])),
            ("bytes=10-19", Ranges(vec![10..20])),
            ("BYTES = 10-19", Ranges(vec![10..20])),
            ("bytes=90-1000", Ranges(vec![90..100])),
            ("bytes=-10", Ranges(vec![90..100])),
            ("bytes=-1000", Ranges(vec![0..100])),
            ("bytes=99-", Ranges(vec![99..100])),
            ("bytes=0-18446744073709551615", Ranges(vec![0..100])),
            ("bytes=0-99999999999999999999999", Ranges(vec![0..100])),
            ("bytes=-99999999999999999999999", Ranges(vec![0..100])),
            ("bytes=50-59, 0-9", Ranges(vec![50..60, 0..10])),
            ("bytes=,0-9,,20-29,", Ranges(vec![0..10, 20..30])),
            ("bytes=0-9,5-14", Ranges(vec![0..15])),
            ("bytes=0-9,10-19", Ranges(vec![0..20])),
            ("bytes=50-59,0-9,55-64", Ranges(vec![50..65, 0..10])),
            ("bytes=0-9,200-300", Ranges(vec![0..10])),
            ("bytes=100-", Unsatisfiable),
            ("bytes=-0", Unsatisfiable),
            ("bytes=99999999999999999999999-", Unsatisfiable),
            ("bytes=100-200,-0", Unsatisfiable),
            ("bytes=9-0", Whole),
            ("bytes=0-9,9-0", Whole),
            ("bytes=", Whole),
            ("bytes", Whole),
            ("bytes=-", Whole),
            ("bytes=a-b", Whole),
            ("bytes=0x1-2", Whole),
            ("bytes=+1-2", Whole),
            ("bytes=1 -2", Whole),
            ("bytes=0-9;5", Whole),
            ("lines=0-9", Whole),
            ("", Whole),
        ];
        for (field, expected) in rows {
            assert_eq!(select(field, 100), expected, "{field}");
        }
        assert_eq!(select(&format!("bytes={seventeen}"), 100), Whole);
        assert!(matches!(select(&format!("bytes={sixteen}"), 100), Ranges(r) if r.len() == 16));
        assert_eq!(select(&format!("bytes={seventeen},0-"), 100), Ranges(vec![0..100]));
        assert_eq!(select(&format!("bytes={}", "0-0,".repeat(limits::RANGE_SPECS)), 100), Ranges(vec![0..1]));
        assert_eq!(select(&format!("bytes={}", "0-0,".repeat(limits::RANGE_SPECS + 1)), 100), Whole);
    }

    #[test]
    fn ranges_of_nothing() {
        assert_eq!(select("bytes=0-", 0), Unsatisfiable);
        assert_eq!(select("bytes=-0", 0), Unsatisfiable);
        assert_eq!(select("bytes=-5", 0), Whole);
    }

    proptest! {
        #[test]
        fn what_is_selected_exists_and_is_asked_for(
            length in 0u64..200,
            specs in proptest::collection::vec((0u64..220, 0u64..220, 0u8..3), 0..30),
        ) {
            let texts = specs.iter().map(|(a, b, kind)| match kind {
                0 => format!("{a}-{}", a + b),
                1 => format!("{a}-"),
                _ => format!("-{a}"),
            });
            let field = format!("bytes={}", texts.collect::<Vec<_>>().join(","));
            let asked = |byte: u64| specs.iter().any(|&(a, b, kind)| match kind {
                0 => a <= byte && byte <= a + b,
                1 => a <= byte,
                _ => byte + a >= length,
            });
            match select(&field, length) {
                Ranges(ranges) => {
                    prop_assert!(!ranges.is_empty() && ranges.len() <= limits::RANGES);
                    for byte in 0..length {
                        let times = ranges.iter().filter(|r| r.contains(&byte)).count();
                        prop_assert_eq!(times, usize::from(asked(byte)), "byte {} of {}", byte, &field);
                    }
                    for range in &ranges {
                        prop_assert!(range.start < range.end && range.end <= length);
                        prop_assert!(ranges.iter().all(|other| other.end != range.start));
                    }
                }
                Unsatisfiable => prop_assert!((0..length).all(|byte| !asked(byte))),
                Whole => {}
            }
        }

        #[test]
        fn nothing_that_a_client_says_overflows(field in "bytes=([0-9]{0,25}-[0-9]{0,25},?){0,5}", length: u64) {
            if let Ranges(ranges) = select(&field, length) {
                prop_assert!(ranges.iter().all(|r| r.start < r.end && r.end <= length));
            }
        }
    }
}
