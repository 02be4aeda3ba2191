//! Downloads that are complete, counted until there were enough: each file once, whether it came as a whole or in parts.
//!
//! What a client has of a version of a file are ranges. A transfer that broke off has brought its beginning, so who resumes it
//! has the file in the end, and who does not has not.

use std::net::IpAddr;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use crate::answer::Selection;
use crate::limits::{DOWNLOAD_RANGES, DOWNLOADS_BEGUN};
use crate::stop::Stop;

/// Counts downloads down to the stop.
#[derive(Debug)]
pub(crate) struct Downloads {
    stop: Arc<Stop>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    left: usize,
    /// What somebody has a part of, the last one last.
    begun: Vec<Begun>,
}

/// What a client has of a file.
#[derive(Debug)]
struct Begun {
    client: Option<IpAddr>,
    target: Box<str>,
    tag: Box<str>,
    /// Ascending; none is empty, none touches another.
    ranges: Vec<Range<u64>>,
}

impl Downloads {
    /// After so many it is time to stop.
    pub(crate) fn new(count: usize, stop: Arc<Stop>) -> Self {
        Self { stop, state: Mutex::new(State { left: count, begun: Vec::new() }) }
    }

    /// So many bytes of an answer went to the client, which may be all of it.
    pub(crate) fn add(&self, client: Option<IpAddr>, target: &str, selection: Selection, sent: u64, done: bool) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.left > 0 && state.completes(client, target, selection, sent, done) {
            state.left -= 1;
            log::info!("a download is complete: {target:?}; {} to go", state.left);
            if state.left == 0 {
                self.stop.begin();
            }
        }
    }
}

impl State {
    fn completes(&mut self, client: Option<IpAddr>, target: &str, selection: Selection, sent: u64, done: bool) -> bool {
        let same = |begun: &Begun| begun.client == client && *begun.target == *target && begun.tag == selection.tag;
        let known = self.begun.iter().position(same).map(|place| self.begun.remove(place));
        let mut begun = known.unwrap_or_else(|| Begun {
            client,
            target: target.into(),
            tag: selection.tag.clone(),
            ranges: Vec::new(),
        });
        let length = selection.length;
        selection.arrived(sent, done).into_iter().for_each(|range| begun.add(range));
        if begun.ranges == [0..length] || (length == 0 && done) {
            return true;
        }
        if !begun.ranges.is_empty() {
            if self.begun.len() >= DOWNLOADS_BEGUN {
                self.begun.remove(0);
            }
            self.begun.push(begun);
        }
        false
    }
}

impl Begun {
    fn add(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        let from = self.ranges.partition_point(|other| other.end < range.start);
        let to = self.ranges.partition_point(|other| other.start <= range.end);
        let joined = self.ranges.get(from..to).unwrap_or_default();
        let start = joined.first().map_or(range.start, |first| first.start.min(range.start));
        let end = joined.last().map_or(range.end, |last| last.end.max(range.end));
        // Who asks for so many crumbs does not want the file.
        if joined.is_empty() && self.ranges.len() >= DOWNLOAD_RANGES {
            return;
        }
        self.ranges.splice(from..to.max(from), [start..end]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn selection(tag: &str, ranges: &[Range<u64>]) -> Selection {
        Selection { tag: tag.into(), length: 100, ranges: ranges.into() }
    }

    const ONE: Option<IpAddr> = Some(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST));

    /// How many of these complete a download, each by whom, of which version, which ranges and how many bytes of them.
    fn complete(transfers: &[(Option<IpAddr>, &str, &[Range<u64>], u64)]) -> usize {
        let downloads = Downloads::new(1000, Arc::default());
        for (client, tag, ranges, sent) in transfers {
            let expected = ranges.iter().map(|range| range.end - range.start).sum::<u64>();
            downloads.add(*client, "/a", selection(tag, ranges), *sent, *sent >= expected);
        }
        1000 - downloads.state.lock().unwrap().left
    }

    #[test]
    fn a_file_counts_once_however_it_came() {
        let two = [0..30, 60..100];
        for (name, count, transfers) in [
            ("whole", 1, &[(ONE, "v", &[0..100][..], 100)][..]),
            ("twice", 2, &[(ONE, "v", &[0..100], 100), (ONE, "v", &[0..100], 100)]),
            ("aborted", 0, &[(ONE, "v", &[0..100], 99)]),
            ("aborted and resumed", 1, &[(ONE, "v", &[0..100], 40), (ONE, "v", &[38..100], 62)]),
            ("aborted and resumed too far", 0, &[(ONE, "v", &[0..100], 40), (ONE, "v", &[41..100], 59)]),
            ("aborted, then whole", 1, &[(ONE, "v", &[0..100], 40), (ONE, "v", &[0..100], 100)]),
            ("halves, backwards", 1, &[(ONE, "v", &[50..100], 50), (ONE, "v", &[0..50], 50)]),
            ("a gap is filled", 1, &[(ONE, "v", &two, 70), (ONE, "v", &[30..60], 30)]),
            ("several that broke off", 0, &[(ONE, "v", &two, 69), (ONE, "v", &[30..60], 30)]),
            ("halves of two versions", 0, &[(ONE, "v", &[50..100], 50), (ONE, "w", &[0..50], 50)]),
            ("halves of two clients", 0, &[(ONE, "v", &[50..100], 50), (None, "v", &[0..50], 50)]),
            ("again in halves", 2, &[(ONE, "v", &[0..100], 100), (ONE, "v", &[0..50], 50), (ONE, "v", &[50..100], 50)]),
        ] {
            assert_eq!(complete(transfers), count, "{name}");
        }
    }

    #[test]
    fn after_enough_it_stops_and_an_empty_file_is_one() {
        let stop = Arc::new(Stop::default());
        let downloads = Downloads::new(2, Arc::clone(&stop));
        let empty = || Selection { tag: "v".into(), length: 0, ranges: vec![0..0] };
        downloads.add(ONE, "/a", empty(), 0, false);
        downloads.add(ONE, "/a", empty(), 0, true);
        assert!(!stop.is_set());
        downloads.add(ONE, "/a", empty(), 0, true);
        assert!(stop.is_set());
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let downloads = Downloads::new(1, Arc::default());
        for number in 0..10_000_u64 {
            downloads.add(ONE, &format!("/{number}"), selection("v", &[0..1]), 1, true);
            let range = 2 * number..2 * number + 1;
            downloads.add(None, "/a", Selection { tag: "v".into(), length: 1 << 40, ranges: vec![range] }, 1, true);
        }
        let state = downloads.state.lock().unwrap();
        assert!(state.begun.len() <= DOWNLOADS_BEGUN);
        assert!(state.begun.iter().all(|begun| begun.ranges.len() <= DOWNLOAD_RANGES));
    }

    proptest! {
        #[test]
        fn it_is_complete_with_the_last_byte_that_was_missing(
            parts in proptest::collection::vec((0u64..20, 0u64..20, 0u64..24), 1..20),
        ) {
            const LENGTH: u64 = 20;
            let mut state = State { left: 1, begun: Vec::new() };
            let mut has = [false; LENGTH as usize];
            for (one, other, sent) in parts {
                let range = one.min(other)..one.max(other) + 1;
                let done = sent >= range.end - range.start;
                let complete = state.completes(None, "/", selection_of("a", LENGTH, range.clone()), sent, done);
                (range.start..range.end.min(range.start + sent)).for_each(|byte| has[byte as usize] = true);
                prop_assert_eq!(complete, has.iter().all(|byte| *byte));
                if complete {
                    break;
                }
            }
        }
    }

    fn selection_of(tag: &str, length: u64, range: Range<u64>) -> Selection {
        Selection { tag: tag.into(), length, ranges: vec![range] }
    }
}
