//! How fast answers may leave: each connection for itself, and all of them together.
//!
//! A token bucket is kept as the moment at which all that was taken from it is paid for: who wants to send takes some bytes, and
//! learns from when on they may leave. So those who wait are served in the order in which they came, and nothing has to be
//! refilled. Of what all share each client gets the same, see [`super::fair`]: there a moment is when the turn comes if nobody
//! else does, and who has waited for it asks again. The time is an argument; who waits for it is the front's matter.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::fair::{AHEAD, Fair, PORTION, ROUND, Turn};
use crate::limits::PACED_WAIT;
use crate::network;

/// The least that is granted, in bytes.
const LEAST: u64 = 512;
/// Bytes that are granted before it is known how long an answer is.
const SMALL: u64 = 2048;
/// What was not used up for so long may be made up for: a thread is never woken on the dot.
const SLACK: Duration = Duration::from_millis(100);

/// The rates of a server.
#[derive(Debug)]
pub(crate) struct Pace {
    /// Bytes in a second for each connection; 0: any number.
    each: u64,
    line: Option<Line>,
}

/// What all connections share.
#[derive(Debug)]
struct Line {
    /// Bytes in a second.
    rate: u64,
    queues: Mutex<Queues>,
}

/// Who waits for the line.
#[derive(Debug)]
struct Queues {
    /// Long transfers. They have what beginnings leave them.
    long: Fair,
    /// The beginnings of answers: these do not wait behind long transfers, but for one another.
    short: Fair,
    /// When all beginnings that have had their turn are paid for. Each may be longer than what was granted, and fairness alone
    /// would let any number of clients begin at once.
    begun: Instant,
}

/// What one connection was granted.
#[derive(Debug)]
pub(crate) struct Share {
    /// Whose connection it is.
    client: IpAddr,
    /// When what it was granted is paid for by its own rate.
    paid: Instant,
    /// Bytes that it may send.
    granted: u64,
    /// From when on, or when to ask again.
    at: Instant,
    /// From when on, as far as that is known.
    due: Instant,
    place: Place,
}

/// Where what was granted stands.
#[derive(Debug, Clone, Copy)]
enum Place {
    /// Before the line, of which nothing is taken yet: who is slower by its own rate takes no share from the others.
    Before(Part),
    /// In it, paid for at so many bytes in a second.
    In(Part, u64, Turn),
    /// Behind it.
    Behind(Part, u64, IpAddr),
    /// There is no line.
    Free,
}

/// What is to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// The beginning of an answer, or all of one that is short.
    Beginning,
    /// More of a long one.
    Rest,
}

impl Pace {
    /// So many bytes in a second for each connection, and for all together; 0: any number. None if there is nothing to pace.
    pub(crate) fn new(each: u64, total: u64, now: Instant) -> Option<Self> {
        let queues = || Queues { long: Fair::new(now), short: Fair::new(now), begun: now };
        let line = (total > 0).then(|| Line { rate: total, queues: Mutex::new(queues()) });
        (each > 0 || line.is_some()).then_some(Self { each, line })
    }

    /// Bytes of a long transfer that are granted to the bearer of the share at a time.
    pub(crate) fn portion(&self, share: &Share, now: Instant) -> u64 {
        let own = if self.each > 0 { portion(self.each, PORTION) } else { u64::MAX };
        let line = self.line.as_ref().map(|line| portion(line.rate, line.queues().long.portion(share.client, now)));
        own.min(line.unwrap_or(u64::MAX))
    }

    /// From when on the bearer of the share may send [`Share::granted`] bytes. If that is in the future, it has to ask again then.
    pub(crate) fn ask(&self, share: &mut Share, part: Part, now: Instant) -> Instant {
        if share.granted == 0 {
            let bytes = self.portion(share, now);
            share.granted = if part == Part::Beginning { bytes.min(SMALL) } else { bytes };
            share.at = if self.each > 0 { pay(&mut share.paid, share.granted, self.each, now) } else { now };
            share.due = share.at;
            share.place = if self.line.is_some() { Place::Before(part) } else { Place::Free };
        }
        // What has been told once is not told otherwise before its time: an alarm is set for it.
        if let (Some(line), true) = (&self.line, share.at <= now) {
            let less = line.ask(share, now);
            if self.each > 0 && less > 0 {
                refund(&mut share.paid, time(less, self.each));
            }
        }
        share.at
    }

    /// Whether the bearer of the share would wait for too long until its answer begins.
    pub(crate) fn is_crowded(&self, share: &Share, now: Instant) -> bool {
        self.line.is_some() && share.due.saturating_duration_since(now) > PACED_WAIT
    }

    /// So many bytes were sent, which may be more than were granted.
    pub(crate) fn sent(&self, share: &mut Share, part: Part, bytes: u64, now: Instant) {
        let more = bytes.saturating_sub(share.granted);
        // What leaves before its turn has to be paid for there, too.
        let taken = if matches!(share.place, Place::Before(_)) { bytes } else { more };
        share.granted = share.granted.saturating_sub(bytes);
        if share.granted == 0 {
            self.leave(share);
        }
        if self.each > 0 && more > 0 {
            pay(&mut share.paid, more, self.each, now);
        }
        if let (Some(line), true) = (&self.line, taken > 0) {
            line.queues().take(share.client, part, taken, line.rate, now);
        }
    }

    /// What was granted and is not sent any more is for the others.
    pub(crate) fn give_back(&self, share: &mut Share) {
        let bytes = std::mem::take(&mut share.granted);
        if bytes > 0 && self.each > 0 {
            refund(&mut share.paid, time(bytes, self.each));
        }
        if let (Some(line), true) = (&self.line, bytes > 0) {
            let mut queues = line.queues();
            match share.place {
                Place::In(part, rate, turn) => queues.of(part).give_back(turn.client(), time(bytes, rate)),
                Place::Behind(part, rate, client) => {
                    queues.of(part).give_back(client, time(bytes, rate));
                    if part == Part::Beginning {
                        refund(&mut queues.begun, time(bytes, rate));
                        queues.long.resume(time(bytes, line.rate));
                    }
                }
                Place::Before(_) | Place::Free => {}
            }
        }
        self.leave(share);
    }

    /// Leaves the line.
    fn leave(&self, share: &mut Share) {
        if let (Some(line), Place::In(part, _, turn)) = (&self.line, share.place) {
            line.queues().of(part).leave(turn.client());
        }
        share.place = Place::Free;
    }
}

impl Line {
    fn queues(&self) -> MutexGuard<'_, Queues> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Goes on from place to place, as far as that is possible by now. Returns how many bytes less are granted meanwhile.
    fn ask(&self, share: &mut Share, now: Instant) -> u64 {
        if matches!(share.place, Place::Behind(..) | Place::Free) {
            return 0;
        }
        let mut queues = self.queues();
        if let Place::Before(part) = share.place {
            let rate = queues.rate(part, self.rate, now);
            let turn = queues.of(part).wait(share.client, time(share.granted, rate), now);
            share.place = Place::In(part, rate, turn);
        }
        let Place::In(part, rate, mut turn) = share.place else { return 0 };
        let queue = queues.of(part);
        let mut less = 0;
        if queue.when(turn, now) > now {
            // Where more have come meanwhile it would take long until so much is paid for.
            less = share.granted.saturating_sub(portion(rate, queue.portion(turn.client(), now)));
            queue.reduce(&mut turn, time(less, rate));
            share.granted -= less;
            share.place = Place::In(part, rate, turn);
        }
        share.due = queue.when(turn, now);
        if share.due > now {
            // Others may leave meanwhile.
            share.at = share.due.min(now.checked_add(ROUND).unwrap_or(now));
            return less;
        }
        queues.of(part).leave(turn.client());
        share.place = Place::Behind(part, rate, turn.client());
        if part == Part::Beginning {
            share.at = queues.begin(share.granted, rate, self.rate, now);
            share.due = share.at;
        }
        less
    }
}

impl Queues {
    fn of(&mut self, part: Part) -> &mut Fair {
        match part {
            Part::Beginning => &mut self.short,
            Part::Rest => &mut self.long,
        }
    }

    /// Bytes in a second for a part of answers: for beginnings half of all beside long transfers, so that neither starves.
    fn rate(&mut self, part: Part, all: u64, now: Instant) -> u64 {
        if part == Part::Beginning && self.long.is_shared(now) { all.div_ceil(2) } else { all }
    }

    /// So many bytes are taken by who does not ask before.
    fn take(&mut self, client: IpAddr, part: Part, bytes: u64, all: u64, now: Instant) {
        let rate = self.rate(part, all, now);
        self.of(part).take(client, time(bytes, rate), now);
        if part == Part::Beginning {
            self.begin(bytes, rate, all, now);
        }
    }

    /// The beginnings of answers take so many bytes, and long transfers wait for as long; from when on they may leave.
    fn begin(&mut self, bytes: u64, rate: u64, all: u64, now: Instant) -> Instant {
        self.long.pause(time(bytes, all), now);
        let from = pay(&mut self.begun, bytes, rate, now);
        // Those of whom it is the turn have no need to stand in a queue for that once more.
        from.checked_sub(AHEAD).unwrap_or(from)
    }
}

impl Share {
    /// Of a connection of this client. All of whom nothing is known count as one.
    pub(crate) fn new(client: Option<IpAddr>, now: Instant) -> Self {
        let client = client.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), network::of_client);
        Self { client, paid: now, granted: 0, at: now, due: now, place: Place::Free }
    }

    /// Bytes that it may send, since the moment that [`Pace::ask`] told.
    pub(crate) fn granted(&self) -> u64 {
        self.granted
    }

    /// Whether its bearer waits for the clock.
    pub(crate) fn waits(&self, now: Instant) -> bool {
        self.granted > 0 && self.at > now
    }
}

/// Adds so many bytes to what is paid for at that moment; returns from when on they may leave.
fn pay(paid: &mut Instant, bytes: u64, rate: u64, now: Instant) -> Instant {
    let from = (*paid).max(now.checked_sub(SLACK).unwrap_or(now));
    *paid = from.checked_add(time(bytes, rate)).unwrap_or(from);
    from
}

fn refund(paid: &mut Instant, time: Duration) {
    *paid = paid.checked_sub(time).unwrap_or(*paid);
}

fn time(bytes: u64, rate: u64) -> Duration {
    let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(rate.max(1));
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

/// What so much time is worth, in bytes.
fn portion(rate: u64, time: Duration) -> u64 {
    let bytes = u128::from(rate) * time.as_nanos() / 1_000_000_000;
    u64::try_from(bytes).unwrap_or(u64::MAX).max(LEAST)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::SHARING_CLIENTS;
    use std::cmp::Reverse;
    use std::collections::BinaryHeap;

    const SECOND: Duration = Duration::from_secs(1);
    const MIB: u64 = 1 << 20;

    /// What some connections of a client do for as long as they are there.
    #[derive(Clone, Copy)]
    struct Load {
        client: u32,
        connections: usize,
        part: Part,
        /// Bytes that leave at a time, if that is not what was granted.
        bytes: Option<u64>,
        /// Seconds after which they leave.
        leaves: u32,
    }

    fn load(client: u32, connections: usize) -> Load {
        Load { client, connections, part: Part::Rest, bytes: None, leaves: u32::MAX }
    }

    fn share(client: u32, begun: Instant) -> Share {
        Share::new(Some(Ipv4Addr::from_bits(client).into()), begun)
    }

    fn clients(pace: &Pace) -> usize {
        let queues = pace.line.as_ref().unwrap().queues();
        queues.long.clients() + queues.short.clients()
    }

    /// Bytes that each connection of each load gets in so many seconds, if each is woken so much late.
    fn run(pace: &Pace, loads: &[Load], seconds: u32, late: Duration, begun: Instant) -> Vec<Vec<u64>> {
        let mut counts: Vec<_> = loads.iter().map(|load| vec![0; load.connections]).collect();
        let each =
            loads.iter().enumerate().flat_map(|(number, load)| (0..load.connections).map(move |at| (number, at)));
        let mut all: Vec<_> = each.map(|(number, at)| (share(loads[number].client, begun), number, at)).collect();
        let mut next: BinaryHeap<_> = (0..all.len()).map(|next| Reverse((begun, next))).collect();
        loop {
            // Whoever waits for the least moment goes on.
            let Some(Reverse((now, which))) = next.pop() else { return counts };
            let (share, number, connection) = &mut all[which];
            let load = loads[*number];
            if now > begun + seconds * SECOND {
                return counts;
            }
            if now.duration_since(begun).as_secs() >= load.leaves.into() {
                pace.give_back(share);
                continue;
            }
            let until = pace.ask(share, load.part, now);
            if until > now {
                next.push(Reverse((until + late, which)));
                continue;
            }
            next.push(Reverse((now, which)));
            let bytes = load.bytes.unwrap_or(share.granted());
            counts[*number][*connection] += bytes;
            pace.sent(share, load.part, bytes, now);
        }
    }

    /// What each load gets.
    fn sums(pace: &Pace, loads: &[Load], seconds: u32, late: Duration, begun: Instant) -> Vec<u64> {
        run(pace, loads, seconds, late, begun).iter().map(|counts| counts.iter().sum()).collect()
    }

    fn is_about(count: u64, expected: u64) -> bool {
        count.abs_diff(expected) * 20 <= expected
    }

    #[test]
    fn each_gets_its_rate_and_all_together_theirs() {
        let begun = Instant::now();
        assert!(Pace::new(0, 0, begun).is_none());
        for late in [Duration::ZERO, Duration::from_millis(7)] {
            for rate in [1024, 100_000, MIB, 1000 * MIB] {
                let each = Pace::new(rate, 0, begun).unwrap();
                let shares = run(&each, &[load(1, 3)], 20, late, begun);
                assert!(shares[0].iter().all(|count| is_about(*count, 20 * rate)), "{rate}: {shares:?}");
                for connections in [1, 7, 50] {
                    let alone = vec![load(1, connections)];
                    let apart = (0..connections as u32).map(|client| load(client, 1)).collect();
                    for loads in [alone, apart] {
                        let total = Pace::new(0, rate, begun).unwrap();
                        let sum = sums(&total, &loads, 20, late, begun).iter().sum();
                        // At the end each may be about to get the least that there is.
                        let (sum, open): (u64, _) = (sum, connections as u64 * LEAST);
                        let right = is_about(sum, 20 * rate) || (sum <= 20 * rate && sum + open >= 20 * rate);
                        assert!(right, "{rate}: {sum} by {connections} of {}", loads.len());
                    }
                }
            }
        }
    }

    #[test]
    fn clients_who_share_a_line_get_the_same_however_many_connections_they_have() {
        let begun = Instant::now();
        let cases: &[(&str, &[Load], &[u64])] = &[
            ("50 beside 1", &[load(1, 50), load(2, 1)], &[50, 50]),
            ("500 beside 1", &[load(1, 500), load(2, 1)], &[50, 50]),
            ("three", &[load(1, 1), load(2, 1), load(3, 1)], &[33, 33, 33]),
            ("three with many", &[load(1, 10), load(2, 1), load(3, 100)], &[33, 33, 33]),
            ("all of one", &[load(1, 30), load(1, 10)], &[75, 25]),
            ("who leaves", &[load(1, 50), Load { leaves: 10, ..load(2, 1) }], &[75, 25]),
            ("who leaves with many", &[load(1, 1), Load { leaves: 10, ..load(2, 50) }], &[75, 25]),
        ];
        for rate in [100_000, MIB, 100 * MIB] {
            for late in [Duration::ZERO, Duration::from_millis(7)] {
                for (name, loads, parts) in cases {
                    let pace = Pace::new(0, rate, begun).unwrap();
                    let sums = sums(&pace, loads, 20, late, begun);
                    let right = |(sum, part): (&u64, &u64)| sum.abs_diff(20 * rate * part / 100) <= rate;
                    assert!(sums.iter().zip(*parts).all(right), "{name} at {rate}: {sums:?}");
                    assert!(is_about(sums.iter().sum(), 20 * rate), "{name} at {rate}: {sums:?}");
                }
            }
        }
    }

    #[test]
    fn what_one_does_not_use_is_for_the_others() {
        let begun = Instant::now();
        // Who has its own rate takes no more.
        let pace = Pace::new(MIB / 10, MIB, begun).unwrap();
        let got = sums(&pace, &[load(1, 1), load(2, 50)], 20, Duration::ZERO, begun);
        assert!(is_about(got[0], 2 * MIB) && is_about(got[1], 18 * MIB), "{got:?}");
        // Who takes nothing of what it was granted is not waited for.
        let pace = Pace::new(0, MIB, begun).unwrap();
        let mut stalled: Vec<_> = (0..50).map(|_| share(1, begun)).collect();
        stalled.iter_mut().for_each(|share| _ = pace.ask(share, Part::Rest, begun));
        let got = sums(&pace, &[load(2, 1)], 40, Duration::ZERO, begun);
        assert!(is_about(got[0], 40 * MIB), "{got:?}");
        // Nor for who had its turn and is still sent that.
        let got = sums(&pace, &[load(2, 1), load(1, 1)], 20, Duration::ZERO, begun + 41 * SECOND);
        assert!(is_about(got[0], 10 * MIB) && is_about(got[1], 10 * MIB), "{got:?}");
    }

    #[test]
    fn connections_of_a_client_get_the_same() {
        let begun = Instant::now();
        let pace = Pace::new(0, MIB, begun).unwrap();
        let shares = run(&pace, &[load(1, 50)], 20, Duration::ZERO, begun);
        let (least, most) = (shares[0].iter().min().unwrap(), shares[0].iter().max().unwrap());
        assert!(most - least <= 2 * portion(MIB, PORTION), "{least} to {most}");
    }

    #[test]
    fn hundreds_wait_moments_for_one_another_not_minutes() {
        let begun = Instant::now();
        for loads in [vec![load(1, 300)], (0..300).map(|client| load(client, 1)).collect()] {
            let pace = Pace::new(0, MIB, begun).unwrap();
            let shares = run(&pace, &loads, 10, Duration::ZERO, begun).concat();
            assert!(is_about(shares.iter().sum(), 10 * MIB) && shares.iter().all(|count| *count > 0), "{shares:?}");
        }
    }

    #[test]
    fn the_beginnings_of_answers_do_not_wait_behind_long_transfers_but_count() {
        let begun = Instant::now();
        for client in [1, 2] {
            let pace = Pace::new(0, 100_000, begun).unwrap();
            let mut long: Vec<_> = (0..50).map(|_| share(1, begun)).collect();
            long.iter_mut().for_each(|share| _ = pace.ask(share, Part::Rest, begun));
            let last = pace.ask(&mut share(1, begun), Part::Rest, begun);
            assert!(last > begun + SECOND / 10);
            let mut short = share(client, begun);
            assert!(pace.ask(&mut short, Part::Beginning, begun) <= begun);
            pace.sent(&mut short, Part::Beginning, 100_000, begun);
            // Long ones wait as long as that takes.
            let mut waits = long.pop().unwrap();
            let at = pace.ask(&mut waits, Part::Rest, begun + SECOND);
            assert!(at > begun + SECOND, "{:?}", at - begun);
            // The next one of them does wait.
            let mut next = share(client, begun);
            pace.ask(&mut next, Part::Beginning, begun);
            assert!(next.due > begun + SECOND && next.due <= begun + 2 * SECOND, "{:?}", next.due - begun);
        }
    }

    #[test]
    fn a_page_begins_within_200_ms_however_many_downloads_share_the_line() {
        let begun = Instant::now();
        for (name, rate, client) in
            [("of another client", 400_000, 2), ("of the same", 400_000, 1), ("on a slow line", 50_000, 2)]
        {
            let pace = Pace::new(0, rate, begun).unwrap();
            let mut long: Vec<_> = (0..50).map(|_| (share(1, begun), begun)).collect();
            let (mut page, mut waits) = (None, Vec::new());
            for milliseconds in 0..10_000 {
                let now = begun + milliseconds * SECOND / 1000;
                for (share, at) in &mut long {
                    if *at <= now {
                        *at = pace.ask(share, Part::Rest, now);
                    }
                    if *at <= now {
                        pace.sent(share, Part::Rest, share.granted(), now);
                    }
                }
                if milliseconds % 250 == 7 && page.is_none() {
                    page = Some((share(client, now), now));
                }
                if let Some((mut share, asked)) = page.take() {
                    if pace.ask(&mut share, Part::Beginning, now) <= now {
                        waits.push(now - asked);
                        pace.sent(&mut share, Part::Beginning, 2048, now);
                    } else {
                        page = Some((share, asked));
                    }
                }
            }
            assert!(waits.len() >= 39 && waits.iter().all(|wait| *wait <= SECOND / 5), "{name}: {waits:?}");
        }
    }

    #[test]
    fn neither_long_transfers_nor_beginnings_starve_and_the_sum_is_what_it_is() {
        let begun = Instant::now();
        let short =
            |client, connections| Load { part: Part::Beginning, bytes: Some(30_000), ..load(client, connections) };
        let cases: &[(&str, &[Load])] = &[
            ("of one client", &[load(1, 20), short(1, 60)]),
            ("of two", &[load(1, 20), short(2, 60)]),
            ("of many", &[load(1, 10), load(2, 10), short(3, 20), short(4, 20), short(5, 20)]),
        ];
        for (name, loads) in cases {
            let pace = Pace::new(0, MIB, begun).unwrap();
            let sums = sums(&pace, loads, 20, Duration::ZERO, begun);
            let of =
                |part| sums.iter().zip(*loads).filter(|(_, load)| load.part == part).map(|(sum, _)| sum).sum::<u64>();
            let [long, short] = [Part::Rest, Part::Beginning].map(of);
            assert!(is_about(long + short, 20 * MIB), "{name}: {sums:?}");
            assert!([long, short].iter().all(|sum| sum * 20 > 8 * 20 * MIB), "{name}: {sums:?}");
        }
    }

    #[test]
    fn a_flood_of_beginnings_of_one_client_does_not_starve_those_of_another() {
        let begun = Instant::now();
        let short =
            |client, connections| Load { part: Part::Beginning, bytes: Some(2000), ..load(client, connections) };
        for late in [Duration::ZERO, Duration::from_millis(7)] {
            let pace = Pace::new(0, MIB, begun).unwrap();
            let sums = sums(&pace, &[short(1, 200), short(2, 2)], 20, late, begun);
            assert!(is_about(sums[0] + sums[1], 20 * MIB), "{sums:?}");
            assert!(sums[1] * 100 >= 40 * 20 * MIB, "{sums:?}");
        }
    }

    #[test]
    fn clients_who_come_and_go_by_thousands_leave_nothing_behind_and_get_no_more_than_there_is() {
        let begun = Instant::now();
        for bytes in [300, 30_000] {
            let pace = Pace::new(0, MIB, begun).unwrap();
            let (mut sent, mut most) = (0, 0);
            // Each is new: it gets the beginning of an answer, some of the rest if it has not to wait for that, and is gone.
            for number in 0..20_000 {
                let now = begun + number * SECOND / 1000;
                let mut share = share(number, now);
                if pace.ask(&mut share, Part::Beginning, now) <= now {
                    pace.sent(&mut share, Part::Beginning, bytes, now);
                    sent += bytes;
                    if pace.ask(&mut share, Part::Rest, now) <= now {
                        sent += share.granted();
                        let granted = share.granted();
                        pace.sent(&mut share, Part::Rest, granted, now);
                    }
                }
                pace.give_back(&mut share);
                most = most.max(clients(&pace));
            }
            assert!(sent <= 23 * MIB, "{sent}");
            assert!(most <= 2 * SHARING_CLIENTS + 2, "{most}");
            let now = begun + 60 * SECOND;
            pace.give_back(&mut share(1, now));
            pace.portion(&share(1, now), now);
            pace.ask(&mut share(1, now), Part::Beginning, now);
            assert!(clients(&pace) <= 1, "{}", clients(&pace));
        }
    }

    #[test]
    fn where_there_are_too_many_clients_the_last_are_as_one_and_nobody_is_forgotten() {
        let begun = Instant::now();
        let pace = Pace::new(0, MIB, begun).unwrap();
        let loads: Vec<_> = (0..SHARING_CLIENTS as u32 + 500).map(|client| load(client, 1)).collect();
        let shares = run(&pace, &loads, 5, Duration::ZERO, begun).concat();
        assert!(shares.iter().take(SHARING_CLIENTS).all(|count| *count > 0));
        assert!(shares.iter().rev().any(|count| *count > 0));
        assert!(clients(&pace) <= SHARING_CLIENTS + 1);
    }

    #[test]
    fn who_leaves_has_taken_no_more_than_it_was_sent() {
        let begun = Instant::now();
        for part in [Part::Beginning, Part::Rest] {
            let pace = Pace::new(50_000, 100_000, begun).unwrap();
            let mut share = share(1, begun);
            for _ in 0..1000 {
                pace.ask(&mut share, part, begun);
                pace.give_back(&mut share);
            }
            assert!(pace.ask(&mut share, part, begun) <= begun, "{part:?}");
        }
    }

    #[test]
    fn who_waits_behind_those_who_leave_does_not_wait_for_them() {
        let begun = Instant::now();
        for part in [Part::Beginning, Part::Rest] {
            let pace = Pace::new(0, 100_000, begun).unwrap();
            let mut all: Vec<_> = (0..100).map(|_| share(1, begun)).collect();
            all.iter_mut().for_each(|share| _ = pace.ask(share, part, begun));
            let mut last = all.pop().unwrap();
            assert!(last.due > begun + SECOND / 10);
            all.iter_mut().for_each(|share| pace.give_back(share));
            let now = last.at;
            assert!(now <= begun + ROUND && pace.ask(&mut last, part, now) <= now, "{part:?}");
            assert!(clients(&pace) <= 1);
        }
    }

    #[test]
    fn an_answer_that_is_short_costs_what_it_is() {
        let begun = Instant::now();
        let pace = Pace::new(0, 50_000, begun).unwrap();
        let mut now = begun;
        for _ in 0..1000 {
            let mut share = share(1, now);
            while let at @ Some(_) = Some(pace.ask(&mut share, Part::Beginning, now)).filter(|at| *at > now) {
                now = at.unwrap();
                assert!(!pace.is_crowded(&share, now));
            }
            pace.sent(&mut share, Part::Beginning, 200, now);
            pace.give_back(&mut share);
        }
        assert!(now <= begun + time(200_000, 50_000), "{:?}", now - begun);
    }

    #[test]
    fn who_would_wait_too_long_can_be_told() {
        let begun = Instant::now();
        let pace = Pace::new(0, 8192, begun).unwrap();
        let mut all: Vec<_> = (0..100).map(|_| share(1, begun)).collect();
        let crowded = |share: &mut Share| {
            pace.ask(share, Part::Beginning, begun);
            pace.is_crowded(share, begun)
        };
        let crowded: Vec<_> = all.iter_mut().map(crowded).collect();
        // Sixteen of the least that is granted in a second.
        let first = crowded.iter().position(|is| *is).unwrap();
        assert!((80..=85).contains(&first) && crowded[first..].iter().all(|is| *is), "{first}");
        // Another client is in no crowd.
        let mut other = share(2, begun);
        pace.ask(&mut other, Part::Beginning, begun);
        assert!(!pace.is_crowded(&other, begun));
    }

    #[test]
    fn however_many_share_a_line_each_has_what_it_is_worth() {
        let begun = Instant::now();
        let pace = Pace::new(0, 1000 * MIB, begun).unwrap();
        let mut shares: Vec<_> = (0..2000).map(|_| share(1, begun)).collect();
        for share in &mut shares {
            pace.ask(share, Part::Rest, begun);
        }
        let least = shares.iter().map(Share::granted).min().unwrap();
        assert!(least >= 200_000, "{least}");
    }
}
