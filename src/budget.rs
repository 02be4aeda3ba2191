//! What a server may hold, from one number: how a budget of memory is spent on workers, connections, cache, listings and archives.
//!
//! What was asked for by name is taken as it is, and the rest is fitted around it. The budget is what the kernel counts for a
//! memory cgroup: not the memory of the process alone but also what the kernel holds for its threads, sockets and open files.

use std::fmt;

use crate::limits;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// Bytes of the program before it serves anybody: what it has allocated, and those of its pages that are always wanted.
const PROGRAM: usize = 2 * MIB;
/// Bytes of a thread beside its buffers: what it touches of its stack, and what the kernel holds for it (measured: 37 KiB at
/// rest).
const THREAD: usize = 72 * KIB;
/// Bytes of a connection in the process: its slot in the table and an answer on its way (measured: 650).
const CONNECTION: usize = 768;
/// Bytes that the kernel holds for its socket and an open file, and for their place in the poller (measured: 3.8 KiB).
const SOCKET: usize = 4 * KIB;
/// Bytes that a socket takes beyond its send buffer: a segment that was begun while there was room is filled, up to 64 KiB.
const SEGMENT: usize = 64 * KIB;
/// What the send buffer grows to if it is the system's own choice (`net.ipv4.tcp_wmem`).
const SYSTEM_BUFFER: usize = 4 * MIB;
/// Connections that there should be before send buffers of more than the least are afforded.
const ENOUGH: usize = 1000;
/// Connections that are too few to serve anybody well.
const CONNECTIONS_LEAST: usize = 16;
/// The least copy buffer, with which one call still sends much.
const BUFFER_LEAST: usize = 16 * KIB;
/// Workers that are enough while the disk holds nobody up for long.
const WORKERS_LEAST: usize = 2;
/// Bytes of listings without which a page of the JSON could not be made.
const LISTINGS_LEAST: usize = 64 * KIB;
/// Bytes of the archives that are there without a budget, and of the least of them, one.
const ARCHIVES: usize = 9 * MIB;
const ARCHIVE: usize = limits::ARCHIVE_NAMES_MIN + limits::ARCHIVE_NAMES_ABOVE;
/// Bytes of what is remembered of passwords, and of the file of users, without which there are none.
const AUTH: usize = 256 * KIB;
/// Bytes that are kept of a request until its end, if somebody wants to know what became of it: what a client said, each cut to
/// its bound, and the rest of an `Exchange` (measured: 2.0 KiB, 3.3 KiB with `--admin`, which keeps the target once more).
const TOLD: usize = limits::TOLD_TARGET + 4 * limits::TOLD_FIELD + 384;
const SHOWN: usize = limits::TOLD_TARGET + 128;
/// Bytes of lines for the access log: those that wait, and those that are being written.
const LOG: usize = 2 * limits::LOG_QUEUE;
/// Bytes of what tells about the server: two threads, and a page for each of some who ask.
const ADMIN: usize = MIB;

/// What a budget is made for. None: it is fitted, or the usual value if there is no budget.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Wishes {
    /// Bytes of the whole.
    pub(crate) memory: Option<usize>,
    /// Whether connections are ours to count, as they are on the direct front.
    pub(crate) direct: bool,
    /// Worker threads that there are usually, of which there may be fewer.
    pub(crate) usual: usize,
    /// Groups of workers: one for each address on the tiny-http front.
    pub(crate) groups: usize,
    /// Whether what sockets have not sent counts, see [`sockets_count`].
    pub(crate) sockets: bool,
    pub(crate) archive: bool,
    pub(crate) auth: bool,
    pub(crate) admin: bool,
    pub(crate) access_log: bool,
    /// Whether what is on its way is counted.
    pub(crate) counted: bool,
    /// Whether somebody else wants to know what becomes of requests.
    pub(crate) told: bool,
    pub(crate) workers: Option<usize>,
    pub(crate) buffer_size: Option<usize>,
    pub(crate) send_buffer: Option<usize>,
    pub(crate) cache: Option<usize>,
    pub(crate) connections: Option<usize>,
}

/// How the memory is spent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) workers: usize,
    pub(crate) buffer_size: usize,
    pub(crate) send_buffer: usize,
    pub(crate) cache: usize,
    pub(crate) connections: usize,
    /// Whether something beside it tells about the server, and needs descriptors.
    pub(crate) admin: bool,
    /// Files are sent by the kernel, which keeps their pages in memory until clients have taken them. That memory cannot be taken
    /// back, and no budget could be kept with it.
    pub(crate) by_kernel: bool,
    /// Bytes of all listings that are being sent.
    pub(crate) listings: usize,
    /// Bytes of all archives that are being sent.
    pub(crate) archives: usize,
    /// Bytes that each of these takes.
    program: usize,
    of_workers: usize,
    /// None on the tiny-http front, where there is no bound.
    of_connections: Option<usize>,
    heads: usize,
    /// Bytes of send buffers among those of the connections, if they count.
    sockets: bool,
    /// What is left of the budget for what is not counted; none without a budget.
    spare: Option<usize>,
}

impl Wishes {
    /// Spends the budget.
    ///
    /// # Errors
    /// It is too small: the least that would do.
    pub(crate) fn plan(&self) -> Result<Plan, String> {
        let Some(memory) = self.memory else { return Ok(self.usual()) };
        let least = self.least();
        if memory < least {
            return Err(format!(
                "memory: {}K are not enough for the rest of what is asked for: {}K would be the least{}",
                memory / KIB,
                least.div_ceil(64 * KIB) * 64,
                self.savings(least)
            ));
        }
        // What is left in the end for what nobody has counted.
        let spare = memory / 16;
        let left = |plan: &Plan| memory.saturating_sub(spare + self.sum(plan));
        // Workers and their buffers may take an eighth.
        let fits = |plan: &Plan| {
            self.of_workers(plan.workers, plan.buffer_size) <= memory / 8 && self.sum(plan) <= memory - spare
        };
        let mut plan = self.smallest();
        let buffer_size = (memory / 128 / KIB * KIB).clamp(plan.buffer_size, limits::BUFFER_SIZE.max(plan.buffer_size));
        let larger = Plan { buffer_size, ..plan.clone() };
        if self.buffer_size.is_none() && fits(&larger) {
            plan = larger;
        }
        while self.workers.is_none() && plan.workers < self.usual {
            let more = Plan { workers: plan.workers + 1, ..plan.clone() };
            if !fits(&more) {
                break;
            }
            plan = more;
        }
        // First each gets its share, then the connections what there is, and the others again what these leave.
        for last in [false, true] {
            let share = if last { usize::MAX } else { (memory / 16).min(left(&plan) / 3) };
            if self.cache.is_none() {
                plan.cache += share.min(limits::CACHE.saturating_sub(plan.cache)).min(left(&plan));
            }
            if self.archive {
                plan.archives += share.min(ARCHIVES.saturating_sub(plan.archives)).min(left(&plan));
            }
            plan.listings += share.min(limits::LISTINGS_HELD.saturating_sub(plan.listings)).min(left(&plan));
            if !last && self.direct {
                self.connect(&mut plan, memory - spare);
            }
        }
        plan.spare = Some(memory.saturating_sub(self.sum(&plan)));
        Ok(self.priced(plan))
    }

    /// Finds how many connections there may be, and with how large a send buffer.
    fn connect(&self, plan: &mut Plan, memory: usize) {
        let others = self.sum(&Plan { connections: 0, ..plan.clone() });
        let room = memory.saturating_sub(others);
        let most = |send_buffer| room / self.of_connection(send_buffer);
        let wanted = self.connections.unwrap_or(ENOUGH);
        let sizes = std::iter::successors(Some(limits::SEND_BUFFER), |size| Some(size / 2));
        let mut sizes = sizes.take_while(|size| *size >= limits::BUFFER_SIZE_MIN);
        let fits = |size: &usize| !self.sockets || most(*size) >= wanted;
        plan.send_buffer = self.send_buffer.unwrap_or_else(|| sizes.find(fits).unwrap_or(limits::BUFFER_SIZE_MIN));
        let fitted = most(plan.send_buffer).clamp(plan.connections, limits::CONNECTIONS.max(plan.connections));
        plan.connections = self.connections.unwrap_or(fitted);
    }

    /// What there is without a budget.
    fn usual(&self) -> Plan {
        self.priced(Plan {
            workers: self.workers.unwrap_or(self.usual),
            buffer_size: self.buffer_size.unwrap_or(limits::BUFFER_SIZE),
            send_buffer: self.send_buffer.unwrap_or(limits::SEND_BUFFER),
            cache: self.cache.unwrap_or(limits::CACHE),
            connections: self.connections.unwrap_or(limits::CONNECTIONS),
            listings: limits::LISTINGS_HELD,
            archives: if self.archive { ARCHIVES } else { 0 },
            ..self.smallest()
        })
    }

    /// The least of everything.
    fn smallest(&self) -> Plan {
        Plan {
            workers: self.workers.unwrap_or(self.usual.min(WORKERS_LEAST)),
            buffer_size: self.buffer_size.unwrap_or(BUFFER_LEAST),
            send_buffer: self.send_buffer.unwrap_or(limits::BUFFER_SIZE_MIN),
            cache: self.cache.unwrap_or(0),
            connections: self.connections.unwrap_or(CONNECTIONS_LEAST),
            listings: LISTINGS_LEAST,
            archives: if self.archive { ARCHIVE } else { 0 },
            by_kernel: self.memory.is_none(),
            admin: self.admin,
            program: PROGRAM
                + if self.auth { AUTH } else { 0 }
                + if self.admin { ADMIN } else { 0 }
                + if self.access_log { LOG } else { 0 },
            of_workers: 0,
            of_connections: None,
            heads: if self.direct { limits::HEADS_HELD } else { 0 },
            sockets: self.sockets,
            spare: None,
        }
    }

    /// The least budget that would do.
    fn least(&self) -> usize {
        // A sixteenth of it is to be spare.
        self.sum(&self.smallest()).div_ceil(15).saturating_mul(16)
    }

    /// What was asked for that makes the least so large.
    fn savings(&self, least: usize) -> String {
        let wish = *self;
        let names = |wishes: &[(&'static str, Self)]| {
            let saving = wishes.iter().filter(|(_, without)| without.least() < least);
            saving.map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
        };
        let lower = names(&[
            ("workers", Self { workers: None, ..wish }),
            ("buffer-size", Self { buffer_size: None, ..wish }),
            ("send-buffer", Self { send_buffer: None, ..wish }),
            ("cache", Self { cache: None, ..wish }),
            ("max-connections", Self { connections: None, ..wish }),
        ]);
        let without = names(&[
            ("archive", Self { archive: false, ..wish }),
            ("auth", Self { auth: false, ..wish }),
            ("admin", Self { admin: false, ..wish }),
            ("access-log", Self { access_log: false, ..wish }),
        ]);
        match (lower.is_empty(), without.is_empty()) {
            (true, true) => String::new(),
            (false, true) => format!("; less would do with a lower {lower}"),
            (true, false) => format!("; less would do without {without}"),
            (false, false) => format!("; less would do with a lower {lower}, or without {without}"),
        }
    }

    fn priced(&self, plan: Plan) -> Plan {
        let of_workers = self.of_workers(plan.workers, plan.buffer_size);
        let of_connections = self.direct.then(|| self.of_connections(&plan));
        Plan { of_workers, of_connections, ..plan }
    }

    /// Bytes of everything, but for what is spare.
    fn sum(&self, plan: &Plan) -> usize {
        let parts = [
            plan.program,
            self.of_workers(plan.workers, plan.buffer_size),
            self.of_connections(plan),
            plan.heads,
            plan.cache,
            plan.listings,
            plan.archives,
        ];
        parts.into_iter().fold(0, usize::saturating_add)
    }

    /// Bytes of so many workers, and of the threads that watch and wait for signals.
    fn of_workers(&self, count: usize, buffer_size: usize) -> usize {
        let threads = (count * self.groups + 2) * THREAD;
        match self.direct {
            true => threads + (count + 1) * (buffer_size + limits::HEAD),
            false => threads + (count * self.groups).min(limits::LARGE_BUFFERS) * buffer_size,
        }
    }

    fn of_connections(&self, plan: &Plan) -> usize {
        let beside = limits::REFUSALS * (CONNECTION + SOCKET) + limits::TOLD_AHEAD * self.of_ticket();
        let others = plan.connections.saturating_mul(self.of_connection(plan.send_buffer));
        if self.direct { others.saturating_add(beside) } else { 0 }
    }

    /// Bytes of a connection whose client has stopped reading.
    fn of_connection(&self, send_buffer: usize) -> usize {
        let unsent = match send_buffer {
            _ if !self.sockets => 0,
            0 => SYSTEM_BUFFER + SEGMENT,
            size => size + SEGMENT,
        };
        CONNECTION + SOCKET + unsent + self.of_ticket() + if self.counted { SHOWN } else { 0 }
    }

    /// Bytes of what is kept of a request until its end.
    fn of_ticket(&self) -> usize {
        if self.told || self.access_log || self.counted { TOLD } else { 0 }
    }
}

impl Plan {
    /// How many archives there may be at once, and the bytes of names of the one that is alone.
    pub(crate) fn archives(&self) -> (usize, usize) {
        if self.archives == 0 {
            return (0, 0);
        }
        if self.archives >= ARCHIVES {
            return (limits::ARCHIVES, limits::ARCHIVE_NAMES);
        }
        let count = (self.archives / (2 * ARCHIVE)).clamp(1, limits::ARCHIVES);
        // Of several each holds less, see `Archives`: the first one as much as all that come after it, or more.
        let names = match count {
            1 => self.archives.saturating_sub(limits::ARCHIVE_NAMES_ABOVE),
            count => self.archives.saturating_sub(count * ARCHIVE) / 5 * 3,
        };
        (count, names.clamp(limits::ARCHIVE_NAMES_MIN, limits::ARCHIVE_NAMES))
    }
}

/// How it is spent, in MiB, in one line.
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let spare = self.spare.unwrap_or(0);
        let known = [self.program, self.of_workers, self.of_connections.unwrap_or(0), self.heads, self.cache];
        let known = known.into_iter().chain([self.listings, self.archives, spare]).fold(0, usize::saturating_add);
        let mib = |bytes: usize| bytes as f64 / MIB as f64;
        write!(f, "{:.1} MiB = {:.1} for the program", mib(known), mib(self.program))?;
        write!(f, ", {} workers {:.1}", self.workers, mib(self.of_workers))?;
        match self.of_connections {
            Some(bytes) => {
                write!(f, ", {} connections {:.1}", self.connections, mib(bytes))?;
                if self.sockets && self.send_buffer > 0 {
                    write!(f, " (send buffers of {} KiB)", self.send_buffer / KIB)?;
                }
                write!(f, ", heads {:.1}", mib(self.heads))?;
            }
            None => f.write_str(", connections and heads without a bound")?,
        }
        write!(f, ", cache {:.1}, listings {:.1}", mib(self.cache), mib(self.listings))?;
        if self.archives > 0 {
            write!(f, ", archives {:.1}", mib(self.archives))?;
        }
        match self.spare {
            Some(spare) => write!(f, ", spare {:.1}", mib(spare)),
            None => Ok(()),
        }
    }
}

/// Whether the kernel counts what a socket has not sent for the memory of who sends it, and ends a process that exceeds its
/// bound with it: cgroups of version 2 do, those of version 1 have a count of its own for that. Without cgroups it is memory of
/// the machine, too.
pub(crate) fn sockets_count() -> bool {
    let groups = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    !has_version_1(&groups)
}

/// Whether memory is counted by cgroups of version 1 (`cgroups(7)`: `number:controllers:path`).
fn has_version_1(groups: &str) -> bool {
    let controllers = groups.lines().filter_map(|line| line.split(':').nth(1));
    controllers.flat_map(|names| names.split(',')).any(|name| name == "memory")
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIRECT: Wishes = Wishes {
        memory: None,
        direct: true,
        usual: 8,
        groups: 1,
        sockets: false,
        archive: false,
        auth: false,
        admin: false,
        access_log: false,
        counted: false,
        told: false,
        workers: None,
        buffer_size: None,
        send_buffer: None,
        cache: None,
        connections: None,
    };

    fn of(mebibytes: usize) -> Wishes {
        Wishes { memory: Some(mebibytes * MIB), ..DIRECT }
    }

    #[test]
    fn a_budget_is_spent() {
        // What is asked for; workers, KiB of a copy buffer, connections, KiB of a send buffer, of cache, listings and archives.
        for (name, wishes, [workers, buffer, connections, send, cache, listings, archives]) in [
            ("none", DIRECT, [8, 64, 10_000, 512, 1024, 4096, 0]),
            ("none, archives", Wishes { archive: true, ..DIRECT }, [8, 64, 10_000, 512, 1024, 4096, 9216]),
            ("8 MiB", of(8), [5, 64, 631, 512, 514, 576, 0]),
            ("16 MiB", of(16), [8, 64, 1936, 512, 1024, 1092, 0]),
            ("16 MiB, many processors", Wishes { usual: 512, ..of(16) }, [12, 64, 1808, 512, 1024, 1092, 0]),
            ("64 MiB", of(64), [8, 64, 10_000, 512, 1024, 4096, 0]),
            ("16 MiB, sockets count", Wishes { sockets: true, ..of(16) }, [8, 64, 126, 4, 1024, 1121, 0]),
            ("128 MiB, sockets count", Wishes { sockets: true, ..of(128) }, [8, 64, 1128, 32, 1024, 4096, 0]),
            ("1 GiB, sockets count", Wishes { sockets: true, ..of(1024) }, [8, 64, 1676, 512, 1024, 4096, 0]),
        ] {
            let plan = wishes.plan().unwrap();
            let found = [
                plan.workers,
                plan.buffer_size / KIB,
                plan.connections,
                plan.send_buffer / KIB,
                plan.cache / KIB,
                plan.listings / KIB,
                plan.archives / KIB,
            ];
            assert_eq!(found, [workers, buffer, connections, send, cache, listings, archives], "{name}: {plan}");
        }
    }

    #[test]
    fn what_is_given_stays_and_the_sum_is_the_budget() {
        let given = [
            ("nothing", DIRECT),
            ("archives and passwords", Wishes { archive: true, auth: true, ..DIRECT }),
            ("sockets count", Wishes { sockets: true, ..DIRECT }),
            ("an access log", Wishes { access_log: true, ..DIRECT }),
            ("all that is told", Wishes { told: true, counted: true, admin: true, ..DIRECT }),
            ("the system's send buffer", Wishes { sockets: true, send_buffer: Some(0), ..DIRECT }),
            ("connections", Wishes { connections: Some(2300), archive: true, ..DIRECT }),
            ("connections, sockets count", Wishes { connections: Some(100), sockets: true, ..DIRECT }),
            ("cache", Wishes { cache: Some(4 * MIB), ..DIRECT }),
            ("workers", Wishes { workers: Some(64), ..DIRECT }),
            ("buffer", Wishes { buffer_size: Some(MIB), ..DIRECT }),
            ("tiny-http", Wishes { direct: false, usual: 16, groups: 2, ..DIRECT }),
        ];
        for (name, wishes) in given {
            let least = wishes.least();
            let memory = |memory| Wishes { memory: Some(memory), ..wishes };
            let refused = memory(least - 1).plan().unwrap_err();
            let said: usize = refused
                .split_whitespace()
                .filter_map(|word| word.strip_suffix('K'))
                .next_back()
                .unwrap()
                .parse()
                .unwrap();
            assert!((least..least + 64 * KIB).contains(&(said * KIB)), "{name}: {refused}");
            for budget in (0..200).map(|step| least + step * step * 20_011) {
                let plan = memory(budget).plan().unwrap();
                let spare = plan.spare.unwrap();
                assert_eq!(wishes.sum(&plan) + spare, budget, "{name}: {plan}");
                assert!(spare >= budget / 16 - 1, "{name}: {plan}");
                let held = |wish: Option<usize>, value| wish.is_none_or(|wish| wish == value);
                assert!(held(wishes.workers, plan.workers) && held(wishes.cache, plan.cache), "{name}: {plan}");
                assert!(held(wishes.connections, plan.connections), "{name}: {plan}");
                assert!(held(wishes.buffer_size, plan.buffer_size), "{name}: {plan}");
                assert!(held(wishes.send_buffer, plan.send_buffer), "{name}: {plan}");
                assert!(plan.workers >= 1 && plan.connections >= CONNECTIONS_LEAST, "{name}: {plan}");
                let (count, names) = plan.archives();
                let all = (1..=count).map(|count| (names / (count * count)).max(limits::ARCHIVE_NAMES_MIN));
                let all = all.sum::<usize>() + count * limits::ARCHIVE_NAMES_ABOVE;
                assert!(all <= plan.archives, "{name}: {all} bytes of archives, {plan}");
            }
        }
    }

    #[test]
    fn cgroups_of_version_1_are_told_from_those_of_version_2() {
        for (groups, version_1) in [
            ("", false),
            ("0::/\n", false),
            ("5:memory:/a\n0::/\n", true),
            ("3:cpu,memory:/\n", true),
            ("3:cpu:/memory\n1:name=memory:/\n0::/memory\n", false),
        ] {
            assert_eq!(has_version_1(groups), version_1, "{groups}");
        }
    }
}
