//! What a server is told: plain values, checked in one place.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::Duration;

use crate::budget::{self, Plan, Wishes};
use crate::limits;
use crate::rules::Rules;

/// How a server is set up. Start from [`Config::default`] and change what is to be different: fields will be added.
///
/// ```
/// let config = brooklet::Config { root: "/srv/www".into(), port: 0, ..Default::default() };
/// assert!(config.validate().is_ok());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The folder to be served, or the one file that every address names. Default: the current folder.
    pub root: PathBuf,
    /// How it is served.
    pub rules: Rules,
    /// The htpasswd file with those who may come in, by HTTP Basic (RFC 7617), see [`Auth::read`](crate::Auth::read). It is
    /// read when the server starts and by [`Handle::reload`](crate::Handle::reload), and must not be among what is served.
    /// Passwords are not encrypted on their way: there has to be a proxy for that. Needs the feature `auth`. Default: none, and
    /// everybody may.
    pub auth: Option<PathBuf>,
    /// The file that gets a line for each request when it has ended; `-` is stdout. It is opened when the server starts, is made if
    /// it is not there (readable for its owner and group), written at its end alone, and must not be among what is served.
    /// What a slow disk does not take is left out and counted, and holds nobody up. Default: none.
    pub access_log: Option<PathBuf>,
    /// What such a line looks like. Default: combined.
    pub log_format: LogFormat,
    /// Where to listen, at least one place. Default: 127.0.0.1, which nobody else reaches. Of no matter for
    /// [`Server::from_listeners`](crate::Server::from_listeners).
    pub bind: Vec<Listen>,
    /// The port at each of them; 0: any that is free, a different one for each. Default: 8080.
    pub port: u16,
    /// Whether another server of the same user may listen at the same addresses (`SO_REUSEPORT`), if it says the same: a new one
    /// can start beside the old one, and the system gives each of them some of the connections. At a Unix socket the new one
    /// takes the place of the old one. Default: no.
    pub reuse_port: bool,
    /// The permissions of a Unix socket in the file system, up to 0o777. Default: 0o660, for its owner and its group: who may
    /// write to it may connect.
    pub unix_mode: u32,
    /// What receives the requests.
    pub front: Front,
    /// Bytes of memory that all of it may take, as the kernel counts them for a memory cgroup, its own for threads, sockets and
    /// open files among them. [`Config::workers`], `buffer_size`, `send_buffer`, `cache` and `max_connections` are taken as they
    /// are if they are given, and what is not given, the listings and the archives are fitted around them. What is too little for
    /// the rest is an error that says what would do. On the tiny-http front connections and heads have no bound, and are not
    /// among it. Default: none, and each has its usual value.
    pub memory: Option<usize>,
    /// Worker threads, 1 to 4096; usually 4 for each processor, and on the tiny-http front 8 for each, at least 16.
    ///
    /// On the direct front no worker waits for a client; only a slow disk holds one up. On the tiny-http front a worker stays
    /// with a transfer until its end, so these are the transfers at once for each address.
    pub workers: Option<usize>,
    /// Bytes of a copy buffer, 4 KiB to 1 MiB; usually 64 KiB. On the direct front each worker has one, on the tiny-http
    /// front there are 16 at most, and a small one for each worker.
    pub buffer_size: Option<usize>,
    /// Bytes of a socket's send buffer, 4 KiB to 64 MiB, within what the system allows (`net.core.wmem_max`); 0: the system's own
    /// choice, which grows to some MiB for each client. Usually 512 KiB, with which a client 100 ms away gets up to 4 MB in a
    /// second. Direct front only.
    pub send_buffer: Option<usize>,
    /// Bytes of the cache of small files and open files, 0 (none) to 1 GiB; usually 1 MiB. What is in it is compared with
    /// the file system for every request: what has another size, time or inode is read anew.
    pub cache: Option<usize>,
    /// Connections at once, 1 to 1,000,000; less if the process may not have two descriptors for each; usually 10,000.
    /// Direct front only.
    pub max_connections: Option<usize>,
    /// Connections at once from one client, that is from one IPv4 address or one IPv6 network of 64 bits; 0: any number, the
    /// default. Direct front only.
    pub max_connections_per_client: usize,
    /// How long the head of a request may take from its first byte to its last, 1 ms to a day. Default: 10 s. Direct front
    /// only.
    pub head_timeout: Duration,
    /// How long a connection may be silent, 1 s to a day. Default: 60 s.
    pub idle_timeout: Duration,
    /// How long a transfer waits for a client that takes nothing, 1 ms to a day. Default: 30 s.
    pub stall_timeout: Duration,
    /// Bytes in a second that a client has to take, averaged over the stall timeout; 0: any. Default: 256. Direct front only.
    pub min_rate: u64,
    /// Bytes in a second that a connection is sent at most, 1 KiB or more; 0, the default: any number. On the tiny-http front
    /// for each transfer.
    pub rate: u64,
    /// Bytes in a second that all connections together are sent at most, 1 KiB or more; 0, the default: any number. Clients share
    /// them evenly, however many connections each has: an IPv4 address or an IPv6 network of 64 bits is a client.
    pub rate_total: u64,
    /// Stops after so many complete downloads of files, or of archives, 1 or more: a file counts once, as a whole or in ranges that
    /// one client had until it had all of it; what broke off does not. On the direct front that is what the client has
    /// acknowledged (on Linux); on the other one, and through a Unix socket, it is what the socket took. Default: none, and it goes on.
    pub once: Option<usize>,
    /// Whether requests, transfers and bytes are counted for [`Handle::statistics`](crate::Handle::statistics). It costs what the
    /// access log costs without the disk: an allocation or two for each request. Default: no, unless `admin` is set.
    pub statistics: bool,
    /// Where the server tells about itself: a page with what is on its way (`/`), the same as JSON (`/status.json`), metrics
    /// for Prometheus (`/metrics`), and whether it serves or stops (`/healthz`). There is no password: it is for an address that
    /// others do not reach. Port 0: any that is free. Default: none.
    pub admin: Option<SocketAddr>,
    /// How long a stop waits for the transfers in flight, a day at most. Default: 30 s.
    pub drain: Duration,
    /// How long a stop goes on as if nothing were before that, but that each answer says `Connection: close` (RFC 9112
    /// section 9.6), a day at most: until those who send the clients have noticed. Default: 0.
    pub drain_wait: Duration,
}

/// Where to listen.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Listen {
    /// An address, at [`Config::port`].
    Ip(IpAddr),
    /// A Unix socket of this name. A client there has no address. Direct front only.
    Unix(PathBuf),
}

impl<T: Into<IpAddr>> From<T> for Listen {
    fn from(address: T) -> Self {
        Self::Ip(address.into())
    }
}

/// What receives the requests and sends the answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Front {
    /// Our own listener: no worker waits for a client, and whatever clients do has a bound, see
    /// [`front::direct`](crate::front::direct).
    Direct,
    /// The listener of the crate tiny_http and a pool of workers that block. For clients that can be trusted, see
    /// [`front::tiny`](crate::front::tiny).
    TinyHttp,
}

/// tiny_http keeps the sockets of its connections for itself. Those of TCP inherit timeouts, and are found by their address
/// when one has to be broken; those of Unix sockets do neither.
pub(crate) const NO_UNIX: &str =
    "bind: the tiny-http front cannot end connections over Unix sockets, nor bound their time: take the direct front";

impl Front {
    /// Every front there is, by its name on the command line.
    pub const ALL: &[(&str, Self)] = &[("direct", Self::Direct), ("tiny-http", Self::TinyHttp)];
}

/// What a line of the access log looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum LogFormat {
    /// The combined format of Apache and nginx, and a bit more behind it, see
    /// [`Exchange::combined`](crate::Exchange::combined).
    #[default]
    Combined,
    /// One JSON object (RFC 8259), see [`Exchange::json`](crate::Exchange::json).
    Json,
}

impl LogFormat {
    /// Every format there is, by its name on the command line.
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

    /// Checks each value against its bounds.
    ///
    /// # Errors
    /// The first value that is out of bounds, and its bounds.
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
        if self.admin.is_some_and(|admin| {
            admin.port() != 0 && admin.port() == self.port && self.bind.contains(&admin.ip().into())
        }) {
            return Err(format!("admin: port {} is that of the files", self.port));
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
            ("admin", Config { admin: Some(([127, 0, 0, 1], 8080).into()), ..Config::default() }),
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
