//! A server from its start to its stop.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
#[cfg(feature = "cli")]
use std::time::Duration;
use std::time::SystemTime;

use rustix::io::Errno;
use socket2::Socket;

use crate::access_log::AccessLog;
use crate::admin::{self, Admin, Memory};
use crate::answer::{Site, Sources};
use crate::auth::Auth;
use crate::budget::Plan;
use crate::config::{Config, Front, Listen, NO_UNIX};
use crate::downloads::Downloads;
use crate::front::{self, Service, Start};
use crate::http::target::is_hidden;
use crate::limits;
use crate::listen::{Listener, Place};
use crate::stop::Stop;
use crate::traffic::{Counts, Exchange, Statistics, Traffic};

/// A static file server with listening sockets and threads of its own.
///
/// [`bind`](Self::bind) opens what is served and listens; [`run`](Self::run) answers until [`Handle::stop`]. What lies between is for
/// the program: it can tell the [`addresses`](Self::addresses), keep a [`handle`](Self::handle), [`observe`](Self::observe) requests,
/// or give up rights that serving does not need.
///
/// A program that embeds it must ignore SIGPIPE, as Rust programs do unless they are told otherwise: `sendfile(2)` raises it for a client
/// that has gone.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # let folder = folder.path();
/// use brooklet::{Config, Server};
/// let config = Config { root: folder.into(), port: 0, ..Config::default() };
/// let server = Server::bind(config)?;
/// let (address, handle) = (server.addresses()[0], server.handle());
/// let serving = std::thread::spawn(move || server.run());
///
/// assert!(std::net::TcpStream::connect(address).is_ok());
///
/// handle.stop();
/// serving.join().expect("no panic")?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Server {
    config: Config,
    plan: Plan,
    site: Site,
    listeners: Vec<Listener>,
    addresses: Vec<SocketAddr>,
    unix_sockets: Vec<PathBuf>,
    stop: Arc<Stop>,
    traffic: Traffic,
    log: Option<Arc<AccessLog>>,
    /// Where it tells about itself, if it does.
    admin: Option<Telling>,
}

/// What a server tells about itself with.
#[derive(Debug)]
struct Telling {
    listener: Listener,
    address: SocketAddr,
    config: Config,
    plan: Plan,
    memory: Memory,
}

/// Controls a [`Server`] from other threads: stops it, has it read its files again, tells what it does. Made by [`Server::handle`].
///
/// Clones are for the same server. A handle may outlive its server, whose sums stay in [`statistics`](Self::statistics).
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # let folder = folder.path();
/// use brooklet::{Config, Outcome, Server};
/// # use std::io::{Read, Write};
/// # let root = folder.into();
///
/// let config = Config { root, port: 0, statistics: true, ..Config::default() };
/// let server = Server::bind(config)?;
/// let (address, handle) = (server.addresses()[0], server.handle());
/// let serving = std::thread::spawn(move || server.run());
///
/// let mut client = std::net::TcpStream::connect(address)?;
/// client.write_all(b"GET /none HTTP/1.0\r\n\r\n")?;
/// client.read_to_end(&mut Vec::new())?;
///
/// handle.stop();
/// serving.join().expect("no panic")?;
/// let statistics = handle.statistics();
/// assert_eq!(statistics.requests, [0, 0, 0, 1, 0]); // one 404
/// assert_eq!(statistics.outcome(Outcome::Done), 1);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Handle {
    stop: Arc<Stop>,
    log: Option<Arc<AccessLog>>,
    sources: Sources,
    counts: Arc<Counts>,
}

impl Handle {
    /// Begins to stop the server, and returns at once.
    ///
    /// For [`Config::drain_wait`] everything goes on, but answers say `Connection: close`. Then nobody is accepted any more, transfers in
    /// flight are finished, for [`Config::drain`] at most, and [`Server::run`] returns. A stop cannot be taken back; one that comes
    /// before `run` counts as well.
    pub fn stop(&self) {
        self.stop.begin();
    }

    /// Waits until it begins to stop, whoever wants that, but no longer than this; returns whether it does.
    #[cfg(feature = "cli")]
    pub(crate) fn is_stopping_within(&self, most: Duration) -> bool {
        self.stop.is_draining_within(most)
    }

    /// A count that grows at least once a second while the server accepts connections and can answer: for a watchdog. If it does not
    /// grow, all workers wait for a disk, or the server has a defect. It does not grow any more while a stop waits for transfers
    /// ([`Config::drain`]).
    pub fn heartbeats(&self) -> u64 {
        self.stop.looks()
    }

    /// A snapshot of connections, workers and transfers, and of sums since the start. It can be taken before, while and after the server
    /// runs. See [`Statistics`] for what is counted only on demand.
    pub fn statistics(&self) -> Statistics {
        self.counts.look().0
    }

    /// Opens the file of [`Config::access_log`] anew, behind the lines of all requests that have ended so far: for log rotation, after
    /// the file was renamed. Returns at once. If it cannot be opened, an error is logged and the old file is written on.
    pub fn reopen_access_log(&self) {
        self.log.iter().for_each(|log| log.reopen());
    }

    /// Writes the lines that wait for the access log, for 2 s at most, and takes no more. Only for a program that ends the process
    /// without waiting for [`Server::run`] to return, which does so itself.
    pub fn close_access_log(&self) {
        self.log.iter().for_each(|log| log.end());
    }

    /// Reads the file of users ([`Config::auth`]), `_headers` and `_redirects` again, and returns when that is done. It reads files: do
    /// not call it where nobody may wait for a disk. Transfers in flight go on.
    ///
    /// # Errors
    /// In one line: the file that cannot be used, and why. What it said before stays in force. Wrong lines of `_headers` and `_redirects`
    /// are no error: they are skipped, with a warning in the log.
    pub fn reload(&self) -> Result<(), String> {
        self.sources.read_again(SystemTime::now())
    }
}

/// Why a [`Server`] cannot start. Each is shown as one line.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// A value of the configuration is out of its bounds, see [`Config::validate`].
    Config(String),
    /// [`Config::root`] cannot be opened.
    Root(PathBuf, io::Error),
    /// The file of users, [`Config::auth`], cannot be used.
    Auth(String),
    /// The file of the access log, [`Config::access_log`], cannot be used.
    AccessLog(String),
    /// Listening at this address failed: it is in use, is not one of this machine, or its port is not permitted.
    Bind(SocketAddr, io::Error),
    /// Listening at a Unix socket at this path failed.
    BindUnix(PathBuf, io::Error),
    /// The socket at this index of those given to [`Server::from_listeners`] cannot be used, e.g. because it does not listen.
    Listener(usize, io::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(reason) | Self::Auth(reason) | Self::AccessLog(reason) => f.write_str(reason),
            Self::Root(path, error) => write!(f, "cannot serve {}: {error}", path.display()),
            Self::Bind(address, error) => write!(f, "cannot listen at {address}: {error}"),
            Self::BindUnix(path, error) => write!(f, "cannot listen at unix:{}: {error}", path.display()),
            Self::Listener(number, error) => {
                write!(f, "cannot listen at socket {number} of those handed over: {error}")
            }
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Config(_) | Self::Auth(_) | Self::AccessLog(_) => None,
            Self::Root(_, error) | Self::Bind(_, error) | Self::BindUnix(_, error) | Self::Listener(_, error) => {
                Some(error)
            }
        }
    }
}

impl Server {
    /// Checks the configuration, opens what is to be served and written, and listens at every place of [`Config::bind`]. The system holds
    /// connections (`listen(2)`) until [`run`](Self::run) accepts them. No thread is started.
    ///
    /// # Errors
    /// The first thing that fails.
    pub fn bind(config: Config) -> Result<Self, Error> {
        let opened = open(&config)?;
        // `::` takes IPv4 as well, unless that has an address of its own.
        let only_v6 = config.bind.iter().any(|place| matches!(place, Listen::Ip(ip) if ip.is_ipv4()));
        let prepare = |socket: &Socket| prepare(socket, &config, &opened.plan);
        let listen = |place: &Listen| match place {
            Listen::Ip(ip) => {
                let address = SocketAddr::new(*ip, config.port);
                let listener = Listener::at_address(address, only_v6, config.reuse_port, prepare);
                listener.map_err(|error| Error::Bind(address, error))
            }
            Listen::Unix(path) => Listener::at_path(path, config.unix_mode, config.reuse_port, prepare)
                .map_err(|error| Error::BindUnix(path.clone(), error)),
        };
        let mut listeners = config.bind.iter().map(listen).collect::<Result<Vec<_>, _>>()?;
        for listener in &mut listeners {
            if let (Err(error), Place::Unix(path)) = (listener.take_over(), listener.place()) {
                return Err(Error::BindUnix(path.clone(), error));
            }
        }
        Ok(Self::new(config, opened, listeners))
    }

    /// As [`bind`](Self::bind), but with sockets that listen already, from a supervisor or another process. [`Config::bind`] and
    /// [`Config::port`] are ignored.
    ///
    /// The sockets may be shared: a stop only ceases to accept, never shuts them, and leaves connections that wait to the other
    /// processes. Options that the front needs are set on them, for everybody who shares them.
    ///
    /// # Errors
    /// The first thing that fails, such as a socket that does not listen.
    ///
    /// # Examples
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let folder = tempfile::tempdir()?;
    /// # let folder = folder.path();
    /// use brooklet::{Config, Server};
    ///
    /// let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// let config = Config { root: folder.into(), ..Config::default() };
    /// let server = Server::from_listeners(config, vec![listener.into()])?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn from_listeners(config: Config, sockets: Vec<OwnedFd>) -> Result<Self, Error> {
        if sockets.is_empty() {
            return Err(Error::Config("bind: there is no socket to listen at".into()));
        }
        // What is ignored is not checked; that there are so many is for the budget.
        let config = Config { bind: vec![Ipv4Addr::UNSPECIFIED.into(); sockets.len()], ..config };
        let opened = open(&config)?;
        let take = |(number, socket)| {
            let listener = Listener::handed_over(socket).and_then(|listener| {
                match (config.front, listener.place()) {
                    (Front::TinyHttp, Place::Unix(_)) => return Err(io::Error::other(NO_UNIX)),
                    _ => prepare(listener.socket(), &config, &opened.plan)?,
                }
                Ok(listener)
            });
            listener.map_err(|error| Error::Listener(number, error))
        };
        let listeners = sockets.into_iter().enumerate().map(take).collect::<Result<_, _>>()?;
        Ok(Self::new(config, opened, listeners))
    }

    fn new(config: Config, opened: Opened, listeners: Vec<Listener>) -> Self {
        let (mut addresses, mut unix_sockets) = (Vec::new(), Vec::new());
        for listener in &listeners {
            match listener.place() {
                Place::Ip(address) => addresses.push(*address),
                Place::Unix(path) => unix_sockets.push(path.clone()),
            }
        }
        let stop = Arc::new(Stop::new(config.drain_wait));
        let Opened { plan, site, log, admin } = opened;
        let mut traffic = Traffic::default();
        traffic.log();
        if let Some(log) = log.clone() {
            traffic.observe(Box::new(move |exchange| log.take(exchange)));
        }
        if config.is_counted() {
            traffic.count();
        }
        Self { config, plan, site, listeners, addresses, unix_sockets, stop, traffic, log, admin }
    }

    /// The addresses that the server listens at, with their actual ports, in the order of the configuration.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The Unix sockets that the server listens at, in the order of the configuration. One without a path (abstract, unix(7)) begins with
    /// `@`.
    pub fn unix_sockets(&self) -> &[PathBuf] {
        &self.unix_sockets
    }

    /// The address of [`Config::admin`], with its actual port, if there is one.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin.as_ref().map(|admin| admin.address)
    }

    /// A handle that stops this server from another thread, and more. Take it before [`run`](Self::run), which consumes the server.
    pub fn handle(&self) -> Handle {
        let counts = Arc::clone(self.traffic.counts());
        Handle { stop: Arc::clone(&self.stop), log: self.log.clone(), sources: self.site.sources(), counts }
    }

    /// Calls `observer` once for each request when it has ended. Can be called several times, for several observers.
    ///
    /// On the direct front a request ends when the client has acknowledged the whole answer, which is looked for twice a second, or when
    /// it is given up; on the tiny-http front when the socket took the answer. The observer runs on a thread that serves: it must not
    /// block. If it panics, a warning is logged and the server goes on.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let folder = tempfile::tempdir()?;
    /// # let config = brooklet::Config { root: folder.path().into(), port: 0, ..Default::default() };
    /// use brooklet::Server;
    ///
    /// let (sender, ended) = std::sync::mpsc::channel();
    /// let server = Server::bind(config)?.observe(move |exchange| {
    ///     let _ = sender.send((exchange.status, exchange.sent));
    /// });
    /// # Ok(())
    /// # }
    /// ```
    pub fn observe(mut self, observer: impl Fn(&Exchange) + Send + Sync + 'static) -> Self {
        self.traffic.observe(Box::new(observer));
        self
    }

    /// Serves until [`Handle::stop`], or until there were as many downloads as [`Config::once`] says; returns when the stop is complete.
    ///
    /// It starts the workers and keeps the calling thread. Transfers that the stop does not wait for any longer are cut off; a thread that
    /// still waits for a disk then ends when the disk answers.
    ///
    /// # Errors
    /// The system refuses what the sockets need, or so many threads. Nothing has been served then.
    pub fn run(mut self) -> io::Result<()> {
        if let Some(log) = &self.log {
            log.start()?;
        }
        if let Some(count) = self.config.once {
            self.traffic.count_downloads(Downloads::new(count, Arc::clone(&self.stop)));
        }
        let traffic = Arc::new(self.traffic);
        // It tells of the stop, too: it ends when the server has ended.
        let over = Arc::new(Stop::default());
        let telling = match self.admin {
            Some(admin) => Some(admin.start(self.config.front, &traffic, &self.stop, &over)?),
            None => None,
        };
        let front = self.config.front;
        let Self { config, plan, listeners, stop, .. } = self;
        let start = Start { listeners, config, plan, stop, traffic };
        let served = match front {
            Front::Direct => front::direct::run(Service::Site(self.site), start),
            Front::TinyHttp => front::tiny::run(self.site, start),
        };
        over.begin();
        if let Some(telling) = telling {
            // A defect there is none of the server.
            let _ = telling.join();
        }
        if let Some(log) = &self.log {
            log.end();
        }
        served
    }
}

impl Telling {
    fn bind(wanted: SocketAddr, config: &Config) -> Result<Self, Error> {
        let budget = config.memory;
        let config = admin::config();
        let plan = config.plan().map_err(Error::Config)?;
        let listener = Listener::at_address(wanted, true, false, |socket| front::direct::prepare(socket, &plan));
        let listener = listener.map_err(|error| Error::Bind(wanted, error))?;
        let address = match listener.place() {
            Place::Ip(address) => *address,
            Place::Unix(_) => wanted,
        };
        if !address.ip().is_loopback() {
            log::warn!("who reaches {address} sees what is served to whom: there is no password");
        }
        Ok(Self { listener, address, config, plan, memory: Memory::open(budget) })
    }

    /// Tells from a thread of its own, until it is over.
    fn start(
        self,
        front: Front,
        traffic: &Arc<Traffic>,
        stop: &Arc<Stop>,
        over: &Arc<Stop>,
    ) -> io::Result<JoinHandle<()>> {
        let (traffic, stop, over) = (Arc::clone(traffic), Arc::clone(stop), Arc::clone(over));
        let admin = Admin::new(front, self.address.ip(), self.memory, traffic, stop, SystemTime::now());
        std::thread::Builder::new().name("admin".into()).stack_size(limits::WORKER_STACK).spawn(move || {
            // Nobody is told of these requests.
            let (listeners, traffic) = (vec![self.listener], Arc::default());
            let start = Start { listeners, config: self.config, plan: self.plan, stop: over, traffic };
            let ended = front::direct::run(Service::Admin(admin), start);
            if let Err(error) = ended {
                log::error!("the server cannot tell about itself: {error}");
            }
        })
    }
}

/// Reads who may come in, from a file that is not served itself.
fn users(path: &Path, config: &Config) -> Result<Auth, String> {
    let auth = Auth::read(path)?;
    match is_served(path, config) {
        true => Err(format!("{} is itself served, with its hashes: put it elsewhere", path.display())),
        false => Ok(auth),
    }
}

/// Opens the access log, which is not served itself.
fn access_log(path: &Path, config: &Config) -> Result<AccessLog, String> {
    let open = || AccessLog::open(path, config.log_format);
    if path == Path::new("-") {
        return open().map_err(|error| format!("access log: stdout cannot be used: {error}"));
    }
    let name = path.display();
    // Beforehand, so that nothing is made where it must not be.
    if is_served(path, config) {
        return Err(format!("access log {name} is itself served: put it elsewhere"));
    }
    if path.is_symlink() && !path.exists() {
        return Err(format!("access log {name} is a link that leads nowhere"));
    }
    open().map_err(|error| match Errno::from_io_error(&error) {
        Some(Errno::NXIO) => format!("access log {name} cannot be opened: it is a fifo that nobody reads"),
        _ => format!("access log {name} cannot be opened: {error}"),
    })
}

/// Whether a file lies among what is served, by its own name. It need not be there yet.
fn is_served(path: &Path, config: &Config) -> bool {
    let real = |path: &Path| path.canonicalize().ok();
    let to_be = || {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        Some(real(folder)?.join(path.file_name()?))
    };
    let (Some(file), Some(root)) = (real(path).or_else(to_be), real(&config.root)) else { return false };
    let hidden = |path: &Path| {
        let mut names = path.components().map(|name| name.as_os_str().as_bytes()).enumerate();
        names.any(|(depth, name)| is_hidden(name, depth == 0))
    };
    file.strip_prefix(root).is_ok_and(|beneath| config.rules.hidden || !hidden(beneath))
}

/// What a server has before it listens.
struct Opened {
    plan: Plan,
    site: Site,
    log: Option<Arc<AccessLog>>,
    admin: Option<Telling>,
}

/// Opens what is to be served, and what is to be written.
fn open(config: &Config) -> Result<Opened, Error> {
    config.validate().map_err(Error::Config)?;
    let plan = config.plan().map_err(Error::Config)?;
    // How a budget is spent is to be known; what there is without one, to those who ask.
    let level = if config.memory.is_some() { log::Level::Info } else { log::Level::Debug };
    log::log!(level, "memory: {plan}");
    let site = Site::open(&config.root).map_err(|error| Error::Root(config.root.clone(), error))?;
    let site = site.with_cache(plan.cache).with_rules(config.rules.clone()).with_archive_walks(plan.workers / 2);
    let site = site.with_room(plan.listings, plan.archives());
    // What is wrong in them is said now, not when somebody comes.
    let _ = site.site_rules(SystemTime::now());
    let site = match &config.auth {
        Some(path) => site.with_auth(Arc::new(users(path, config).map_err(Error::Auth)?)),
        None => site,
    };
    let log = match &config.access_log {
        Some(path) => Some(Arc::new(access_log(path, config).map_err(Error::AccessLog)?)),
        None => None,
    };
    let admin = config.admin.map(|wanted| Telling::bind(wanted, config)).transpose()?;
    Ok(Opened { plan, site, log, admin })
}

/// Sets the options of a socket that connections inherit.
fn prepare(socket: &Socket, config: &Config, plan: &Plan) -> io::Result<()> {
    match config.front {
        Front::Direct => front::direct::prepare(socket, plan),
        Front::TinyHttp => front::tiny::prepare(socket, config),
    }
}
