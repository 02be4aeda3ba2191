//! What a server is told: plain values, checked in one place.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::Duration;

use crate::budget::{self, Plan, Wishes};
use crate::limits;
use crate::rules::Rules;

/// The configuration of a [`Server`](crate::Server).
///
/// Start from [`Config::default`] and change what is to be different. New fields are not counted as a breaking change (see
/// [Versions](crate#versions)), so end with `..Config::default()`:
///
/// ```
/// use brooklet::{Config, Rules};
///
/// let rules = Rules { listing: false, ..Rules::default() };
/// let root = "/srv/www".into();
/// let config = Config { root, port: 0, rules, ..Config::default() };
/// assert_eq!(config.validate(), Ok(()));
/// ```
///
/// Fields that are an `Option` of a number have a default that depends on others, given below as "usually". Some fields are for one
/// [`Front`] alone; the other one ignores them. Sizes are in bytes, rates in bytes per second.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The folder to be served, or a single file, which is then the answer to every path. Default: the current folder.
    pub root: PathBuf,
    /// How requests are answered: index, listings, links, header fields and more. Default: [`Rules::default`].
    pub rules: Rules,
    /// An htpasswd file of the users that may come in, by HTTP Basic (RFC 7617); its format is that of
    /// [`Auth::read`](crate::Auth::read). Default: none, and everybody may.
    ///
    /// It is read when the server starts and by [`Handle::reload`](crate::Handle::reload), and must not lie among what is served.
    /// Passwords cross the network unencrypted: put a proxy that speaks TLS before the server. Needs the feature `auth`.
    pub auth: Option<PathBuf>,
    /// The file to which a line is appended when a request has ended; `-` is stdout. Default: none.
    ///
    /// It is opened when the server starts, is created if it does not exist (readable for its owner and group), and must not lie
    /// among what is served. A slow disk holds no client up: lines that it does not take in time are left out, and counted in a
    /// warning.
    pub access_log: Option<PathBuf>,
    /// The format of the lines of `access_log`. Default: [`LogFormat::Combined`].
    pub log_format: LogFormat,
    /// Where to listen, at least one place. Default: 127.0.0.1, which only this machine reaches. Ignored by
    /// [`Server::from_listeners`](crate::Server::from_listeners).
    pub bind: Vec<Listen>,
    /// The TCP port at each address of `bind`; with 0 the system chooses a free one for each, see
    /// [`Server::addresses`](crate::Server::addresses). Default: 8080.
    pub port: u16,
    /// Whether another server of the same user may listen at the same addresses (`SO_REUSEPORT`), if it is told so, too: a new
    /// version can start beside the old one, and the system spreads connections over both. At a Unix socket the new one takes the
    /// place of the old one. Default: false.
    pub reuse_port: bool,
    /// The permissions of Unix sockets in the file system, up to 0o777. Who may write to one may connect. Default: 0o660, its owner
    /// and group.
    pub unix_mode: u32,
    /// What receives requests and sends answers. Default: [`Front::Direct`].
    pub front: Front,
    /// Bytes of memory for all of the server, as the kernel counts them for a memory cgroup (program, threads, sockets, open files).
    /// Default: none, and each part has its usual size.
    ///
    /// `workers`, `buffer_size`, `send_buffer`, `cache` and `max_connections` are kept if they are set; what is not set is fitted
    /// into the rest. A value that is too small is an [`Error::Config`](crate::Error::Config), which says what would do. On the
    /// tiny-http front connections and heads of requests have no bound, and are not included.
    pub memory: Option<usize>,
    /// Worker threads, 1 to 4096. Usually 4 for each processor; on the tiny-http front 8 for each, at least 16.
    ///
    /// On the direct front no worker waits for a client; only a slow disk holds one up. On the tiny-http front a worker stays with a
    /// transfer until it ends, so this is the number of transfers at once, for each address.
    pub workers: Option<usize>,
    /// Bytes of a buffer for copying, 4 KiB to 1 MiB. Usually 64 KiB. On the direct front each worker has one; on the tiny-http front
    /// there are 16 at most, and a small one for each worker.
    pub buffer_size: Option<usize>,
    /// Bytes of the send buffer of a connection (`SO_SNDBUF`), 4 KiB to 64 MiB, within what the system allows
    /// (`net.core.wmem_max`); 0 leaves it to the system, which may use some MiB for each client. Usually 512 KiB, with which a client
    /// 100 ms away gets up to 4 MB per second. Direct front only.
    pub send_buffer: Option<usize>,
    /// Bytes of the cache of small files and open files, up to 1 GiB; 0 for none. Usually 1 MiB. For every request what is cached is
    /// compared with the file system: a file of another size, time or inode is read anew.
    pub cache: Option<usize>,
    /// Connections at once, 1 to 1,000,000; fewer if the process may not open two descriptors for each (`RLIMIT_NOFILE`). Usually
    /// 10,000. Direct front only.
    pub max_connections: Option<usize>,
    /// Connections at once from one client, which is an IPv4 address or an IPv6 network of 64 bits; 0 for any number. Default: 0.
    /// Direct front only.
    pub max_connections_per_client: usize,
    /// How long the head of a request may take from its first byte to its last, 1 ms to a day. Default: 10 s. Direct front only.
    pub head_timeout: Duration,
    /// How long a connection may be silent, 1 s to a day. Default: 60 s.
    pub idle_timeout: Duration,
    /// How long a client may take nothing of its answer before it is cut off, 1 ms to a day. Default: 30 s. On the tiny-http front
    /// how long one write may wait; a client is cut off after up to three of them.
    pub stall_timeout: Duration,
    /// Bytes per second that a client has to take of its answer, averaged over `stall_timeout`, or it is cut off; 0 for any.
    /// Default: 256. Direct front only.
    pub min_rate: u64,
    /// Bytes per second that a connection is sent at most, 1024 or more; 0 for any number. Default: 0. On the tiny-http front the
    /// bound is that of each transfer.
    pub rate: u64,
    /// Bytes per second that all connections together are sent at most, 1024 or more; 0 for any number. Default: 0. Clients (an IPv4
    /// address, or an IPv6 network of 64 bits) share it evenly, however many connections each has.
    pub rate_total: u64,
    /// Stops the server after so many complete downloads of files or archives, 1 or more. Default: none, and it runs until
    /// [`Handle::stop`](crate::Handle::stop).
    ///
    /// A download is complete when one client has all of a file, in one response or in several ranges. On the direct front on Linux
    /// that is what the client has acknowledged; elsewhere, and on Unix sockets, what the socket took.
    pub once: Option<usize>,
    /// Whether requests, transfers and bytes are counted for [`Handle::statistics`](crate::Handle::statistics). It costs some
    /// allocations for each request. Default: false; with `admin` they are counted anyway.
    pub statistics: bool,
    /// Where the server tells about itself: a page with what it is doing (`/`), the same as JSON (`/status.json`), metrics for
    /// Prometheus (`/metrics`), and whether it serves or stops (`/healthz`). With port 0 the system chooses a free one, see
    /// [`Server::admin_address`](crate::Server::admin_address). Default: none.
    ///
    /// There is no password: use an address that only those reach who may see who downloads what.
    pub admin: Option<SocketAddr>,
    /// How long a stop waits for transfers in flight, a day at most. Default: 30 s.
    pub drain: Duration,
    /// How long a stop still serves everybody before that, with `Connection: close` (RFC 9112 section 9.6) in every answer, a day at
    /// most: until a load balancer has noticed and sends nobody any more. Default: 0.
    pub drain_wait: Duration,
}

/// Where to listen, see [`Config::bind`].
///
/// ```
/// use std::net::Ipv6Addr;
/// use brooklet::{Config, Listen};
///
/// let bind = vec![Ipv6Addr::LOCALHOST.into(), Listen::Unix("/run/www.sock".into())];
/// let config = Config { bind, ..Config::default() };
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Listen {
    /// An address, at [`Config::port`]. `::` takes IPv4 as well, unless an IPv4 address is listed beside it.
    Ip(IpAddr),
    /// A Unix socket at this path. Its clients have no address. Direct front only.
    Unix(PathBuf),
}

impl<T: Into<IpAddr>> From<T> for Listen {
    fn from(address: T) -> Self {
        Self::Ip(address.into())
    }
}

/// What receives requests and sends answers, see [`Config::front`]. What is answered is the same on both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Front {
    /// Sockets that do not block, and workers that never wait for a client: whatever clients do has a bound in memory and time.
    /// See [`front::direct`](crate::front::direct).
    Direct,
    /// The server of the crate tiny_http, and workers that block. For clients that can be trusted, see
    /// [`front::tiny`](crate::front::tiny).
    TinyHttp,
}

/// tiny_http keeps the sockets of its connections for itself. Those of TCP inherit timeouts, and are found by their address
/// when one has to be broken; those of Unix sockets do neither.
pub(crate) const NO_UNIX: &str =
    "bind: the tiny-http front cannot end connections over Unix sockets, nor bound their time: take the direct front";

impl Front {
    /// Every front, with its name on the command line.
    pub const ALL: &[(&str, Self)] = &[("direct", Self::Direct), ("tiny-http", Self::TinyHttp)];
}

/// The format of the lines of an access log, see [`Config::log_format`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum LogFormat {
    /// The combined format of Apache and nginx with three more fields, see [`Exchange::combined`](crate::Exchange::combined).
    #[default]
    Combined,
    /// One JSON object (RFC 8259), see [`Exchange::json`](crate::Exchange::json).
    Json,
}

impl LogFormat {
    /// Every format, with its name on the command line.
    pub const ALL: &[(&str, Self)] = &[("combined", Self::Combined), ("json", Self::Json)];
}

impl Default for Config {
    fn default() -> Self {
        Self {
            root: ".".into(),
            rules: Rules::default(),
            auth: None,
            access_log: None,
            log_format: LogFormat::default(),
            bind: vec![Ipv4Addr::LOCALHOST.into()],
            port: 8080,
            reuse_port: false,
            unix_mode: limits::UNIX_MODE,
            front: Front::Direct,
            memory: None,
            workers: None,
            buffer_size: None,
            send_buffer: None,
            cache: None,
            max_connections: None,
            max_connections_per_client: 0,
            head_timeout: limits::HEAD_TIMEOUT,
            idle_timeout: limits::IDLE_TIMEOUT,
            stall_timeout: limits::STALL_TIMEOUT,
            min_rate: limits::MIN_RATE,
            rate: 0,
            rate_total: 0,
            once: None,
            statistics: false,
            admin: None,
            drain: limits::DRAIN,
            drain_wait: Duration::ZERO,
        }
    }
}

/// How many processors this process may use, as it was when somebody asked first: what tells of it lies outside the root, in
/// `/proc` and `/sys`, and may not be read any more later.
pub(crate) fn processors() -> usize {
    static PROCESSORS: LazyLock<usize> = LazyLock::new(|| std::thread::available_parallelism().map_or(1, usize::from));
    *PROCESSORS
}

impl Config {
    /// How much there is of everything, by what was asked for, the processors and the memory.
    ///
    /// # Errors
    /// The memory is not enough.
    pub(crate) fn plan(&self) -> Result<Plan, String> {
        let processors = processors();
        let direct = self.front == Front::Direct;
        let usual = if direct { 4 * processors } else { (8 * processors).max(16) };
        let wishes = Wishes {
            memory: self.memory,
            direct,
            usual: usual.min(limits::WORKERS_MAX),
            groups: if direct { 1 } else { self.bind.len() },
            sockets: self.memory.is_some() && budget::sockets_count(),
            archive: self.rules.archive,
            auth: self.auth.is_some(),
            admin: self.admin.is_some(),
            access_log: self.access_log.is_some(),
            counted: self.is_counted(),
            told: self.once.is_some() || log::log_enabled!(target: "brooklet", log::Level::Debug),
            workers: self.workers,
            buffer_size: self.buffer_size,
            send_buffer: self.send_buffer,
            cache: self.cache,
            connections: self.max_connections,
        };
        wishes.plan()
    }

    /// Whether what is on its way is counted, and the sums.
    pub(crate) fn is_counted(&self) -> bool {
        self.statistics || self.admin.is_some()
    }

    /// Checks every value against its bounds, and `memory` against what the rest needs. [`Server::bind`](crate::Server::bind) does
    /// so itself. Files, addresses and permissions are not looked at;
    /// with a budget, which memory the system counts is.
    ///
    /// # Errors
    /// In one line: the first value that is out of bounds, by its name on the command line, and its bounds.
    pub fn validate(&self) -> Result<(), String> {
        self.rules.validate()?;
        let least = limits::BUFFER_SIZE_MIN;
        if self.access_log.as_ref().is_some_and(|path| path.as_os_str().is_empty()) {
            return Err("access-log: the name of the file is empty".into());
        }
        if self.bind.is_empty() {
            return Err("bind: there is no address to listen at".into());
        }
        for place in &self.bind {
            let Listen::Unix(path) = place else { continue };
            let path = path.as_os_str();
            if path.is_empty() || path.as_bytes().contains(&0) {
                return Err("bind: a Unix socket has no name, or a NUL in it".into());
            }
            if self.front == Front::TinyHttp {
                return Err(NO_UNIX.into());
            }
        }
        if self.unix_mode > 0o777 {
            return Err(format!("unix-mode: {:o} is not within 0 to 777", self.unix_mode));
        }
        for (name, value, least, most, or) in [
            ("workers", self.workers, 1, limits::WORKERS_MAX, ""),
            ("buffer-size", self.buffer_size, least, limits::BUFFER_SIZE_MAX, ""),
            ("send-buffer", self.send_buffer.filter(|bytes| *bytes > 0), least, limits::SEND_BUFFER_MAX, ", nor 0"),
            ("cache", self.cache, 0, limits::CACHE_MAX, ""),
            ("max-connections", self.max_connections, 1, limits::CONNECTIONS_MAX, ""),
        ] {
            if let Some(value) = value.filter(|value| !(least..=most).contains(value)) {
                return Err(format!("{name}: {value} is not within {least} to {most}{or}"));
            }
        }
        for (name, rate) in [("rate", self.rate), ("rate-total", self.rate_total)] {
            if rate != 0 && rate < limits::RATE_LEAST {
                let least = limits::RATE_LEAST;
                return Err(format!("{name}: {rate} bytes in a second are neither 0, any number, nor {least} or more"));
            }
        }
        if self.once == Some(0) {
            return Err("once: 0 downloads are none to wait for".into());
        }
        let (second, day) = (Duration::from_secs(1), Duration::from_secs(24 * 60 * 60));
        for (name, timeout, least) in [
            ("head-timeout", self.head_timeout, second / 1000),
            ("idle-timeout", self.idle_timeout, second),
            ("stall-timeout", self.stall_timeout, second / 1000),
            ("drain", self.drain, Duration::ZERO),
            ("drain-wait", self.drain_wait, Duration::ZERO),
        ] {
            if !(least..=day).contains(&timeout) {
                return Err(format!("{name}: {timeout:?} is not within {least:?} to a day"));
            }
        }
        self.plan().map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_out_of_bounds_is_named() {
        assert_eq!(Config::default().validate(), Ok(()));
        for (name, config) in [
            ("access-log", Config { access_log: Some("".into()), ..Config::default() }),
            ("address", Config { bind: Vec::new(), ..Config::default() }),
            ("workers", Config { workers: Some(0), ..Config::default() }),
            ("workers", Config { workers: Some(4097), ..Config::default() }),
            ("send-buffer", Config { send_buffer: Some(4095), ..Config::default() }),
            ("send-buffer", Config { send_buffer: Some((64 << 20) + 1), ..Config::default() }),
            ("cache", Config { cache: Some((1 << 30) + 1), ..Config::default() }),
            ("connections", Config { max_connections: Some(0), ..Config::default() }),
            ("connections", Config { max_connections: Some(1_000_001), ..Config::default() }),
            ("memory", Config { memory: Some(1 << 20), ..Config::default() }),
            ("head", Config { head_timeout: Duration::ZERO, ..Config::default() }),
            ("buffer", Config { buffer_size: Some(4095), ..Config::default() }),
            ("buffer", Config { buffer_size: Some((1 << 20) + 1), ..Config::default() }),
            ("rate", Config { rate: 1023, ..Config::default() }),
            ("rate", Config { rate_total: 1, ..Config::default() }),
            ("once", Config { once: Some(0), ..Config::default() }),
            ("idle", Config { idle_timeout: Duration::from_millis(999), ..Config::default() }),
            ("idle", Config { idle_timeout: Duration::MAX, ..Config::default() }),
            ("stall", Config { stall_timeout: Duration::ZERO, ..Config::default() }),
            ("drain", Config { drain: Duration::MAX, ..Config::default() }),
            ("drain-wait", Config { drain_wait: Duration::MAX, ..Config::default() }),
            ("unix-mode", Config { unix_mode: 0o1000, ..Config::default() }),
            ("name", Config { bind: vec![Listen::Unix("".into())], ..Config::default() }),
            ("NUL", Config { bind: vec![Listen::Unix("a\0b".into())], ..Config::default() }),
            ("direct", Config { bind: vec![Listen::Unix("a".into())], front: Front::TinyHttp, ..Config::default() }),
        ] {
            assert!(config.validate().is_err_and(|reason| reason.contains(name)), "{name}");
        }
        for buffer_size in [4 << 10, 1 << 20] {
            assert_eq!(Config { buffer_size: Some(buffer_size), ..Config::default() }.validate(), Ok(()));
        }
    }
}
