//! The sockets that are listened at: made here or handed over, and given up without losing who has connected already.

use std::fmt;
use std::fs::{self, Permissions};
use std::io::{self, ErrorKind};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FlockOperation, Mode, OFlags, flock};
use rustix::io::Errno;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::limits;

/// How often to look whether another server listens by now.
const LOOK: Duration = Duration::from_millis(10);

/// A listening socket.
#[derive(Debug)]
pub(crate) struct Listener {
    socket: Socket,
    place: Place,
    origin: Origin,
    /// The name that it has until [`take_over`](Self::take_over).
    first: Option<PathBuf>,
}

/// Where a socket listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    Ip(SocketAddr),
    /// A name in the file system; one that is in none begins with `@`.
    Unix(PathBuf),
}

#[derive(Debug)]
enum Origin {
    /// It was made here, for an address.
    Own,
    /// It was made here, and its name in the file system is this device and inode.
    Named(u64, u64),
    /// It was made elsewhere, where others may hold it: it is not ours to shut.
    HandedOver,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl Listener {
    /// Listens at an address. `only_v6`: where it is one of IPv6; `prepare` sets what connections inherit.
    pub(crate) fn at_address(
        address: SocketAddr,
        only_v6: bool,
        reuse_port: bool,
        prepare: impl FnOnce(&Socket) -> io::Result<()>,
    ) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        // A restart need not wait for the connections of before to be forgotten.
        socket.set_reuse_address(true)?;
        if reuse_port {
            socket.set_reuse_port(true)?;
        }
        if address.is_ipv6() {
            socket.set_only_v6(only_v6)?;
        }
        prepare(&socket)?;
        socket.bind(&address.into())?;
        socket.listen(limits::BACKLOG)?;
        let address = socket.local_addr()?.as_socket().unwrap_or(address);
        Ok(Self { socket, place: Place::Ip(address), origin: Origin::Own, first: None })
    }

    /// Listens at a name in the file system, which has these permissions before anybody can connect. What a server that has gone
    /// left there makes room; `take_over`: so does one that is still there, without a moment in which nobody listens, with
    /// [`take_over`](Self::take_over).
    pub(crate) fn at_path(
        path: &Path,
        mode: u32,
        take_over: bool,
        prepare: impl FnOnce(&Socket) -> io::Result<()>,
    ) -> io::Result<Self> {
        // Said of the name that was asked for, not of the longer one.
        SockAddr::unix(path)?;
        let first = if take_over {
            let mut name = path.as_os_str().to_owned();
            name.push(format!(".{}", std::process::id()));
            PathBuf::from(name)
        } else {
            path.to_owned()
        };
        let _alone = lock_folder(path);
        if take_over {
            // Only from a server.
            is_live(path)?;
        }
        match is_live(&first)? {
            Some(true) => return Err(io::Error::new(ErrorKind::AddrInUse, "somebody listens there already")),
            Some(false) => {
                log::info!("a socket that nobody listens at any more is removed: {}", first.display());
                fs::remove_file(&first)?;
            }
            None => {}
        }
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        prepare(&socket)?;
        socket.bind(&SockAddr::unix(&first)?)?;
        let listening = || {
            fs::set_permissions(&first, Permissions::from_mode(mode))?;
            socket.listen(limits::BACKLOG)?;
            fs::symlink_metadata(&first)
        };
        match listening() {
            Ok(file) => {
                let origin = Origin::Named(file.dev(), file.ino());
                Ok(Self { socket, place: Place::Unix(path.into()), origin, first: take_over.then_some(first) })
            }
            Err(error) => {
                // Nothing else can be done about it.
                let _ = fs::remove_file(&first);
                Err(error)
            }
        }
    }

    /// Takes the name of a server that may still be there. Only when nothing else can go wrong any more: that one has lost it then.
    pub(crate) fn take_over(&mut self) -> io::Result<()> {
        let (Some(first), Place::Unix(path)) = (&self.first, &self.place) else { return Ok(()) };
        fs::rename(first, path)?;
        self.first = None;
        Ok(())
    }

    /// Takes over a socket that listens already.
    pub(crate) fn handed_over(socket: OwnedFd) -> io::Result<Self> {
        let socket = Socket::from(socket);
        let wrong = |what: &str| Err(io::Error::new(ErrorKind::InvalidInput, what));
        if socket.r#type()? != Type::STREAM {
            return wrong("it is no stream socket");
        }
        // Elsewhere it cannot be asked, and accepting tells.
        #[cfg(not(target_vendor = "apple"))]
        if !rustix::net::sockopt::socket_acceptconn(&socket)? {
            return wrong("it does not listen");
        }
        let address = socket.local_addr()?;
        let place = match (address.as_socket(), address.as_pathname()) {
            (Some(address), _) => Place::Ip(address),
            (None, Some(path)) => Place::Unix(path.into()),
            (None, None) if address.is_unix() => Place::Unix(abstract_name(&address)),
            (None, None) => return wrong("it is of no kind that is known: IPv4, IPv6 or Unix"),
        };
        Ok(Self { socket, place, origin: Origin::HandedOver, first: None })
    }

    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    pub(crate) fn socket(&self) -> &Socket {
        &self.socket
    }

    /// Whether others may listen with the same socket.
    pub(crate) fn is_handed_over(&self) -> bool {
        matches!(self.origin, Origin::HandedOver)
    }

    /// Lets nobody come any more, as far as the system can: who has connected already still waits to be accepted, and who begins
    /// to connect finds another server, if there is one, or later nobody. Returns how long somebody may still be half way.
    pub(crate) fn turn_away(&self) -> Duration {
        match (&self.origin, &self.place) {
            (Origin::Own, Place::Ip(address)) => {
                drop_newcomers(&self.socket);
                if address.ip().is_loopback() { limits::LAST_CALL_NEAR } else { limits::LAST_CALL }
            }
            (Origin::Named(device, inode), Place::Unix(path)) => {
                // Another server may have taken the name meanwhile.
                let path = self.first.as_ref().unwrap_or(path);
                if fs::symlink_metadata(path).is_ok_and(|file| (file.dev(), file.ino()) == (*device, *inode)) {
                    let _ = fs::remove_file(path);
                }
                Duration::ZERO
            }
            _ => Duration::ZERO,
        }
    }

    /// Whether somebody waits to be accepted.
    pub(crate) fn is_pending(&self) -> bool {
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut [PollFd::new(&self.socket, PollFlags::IN)], Some(&at_once)) == Ok(1)
    }

    /// Ends the listening.
    pub(crate) fn shut(&self) {
        if !self.is_handed_over() {
            // Not every system can; then the socket is closed with the last of its holders.
            let _ = self.socket.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // Nobody else shall find a name behind which nobody is.
        if matches!(self.origin, Origin::Named(..)) {
            self.turn_away();
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Whether it is no socket of IP, whose options it does not know then.
pub(crate) fn is_unix(socket: &Socket) -> io::Result<bool> {
    Ok(socket.local_addr()?.is_unix())
}

/// Keeps other servers that want to listen in the same folder waiting until it is dropped (`flock(2)`): what one has found there
/// holds until it listens. Where folders cannot be locked nobody waits, and nobody for long: anybody may hold such a lock.
fn lock_folder(path: &Path) -> Option<OwnedFd> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // What is no folder is not waited for, as a fifo would be.
    let folder = rustix::fs::open(folder, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).ok()?;
    let begun = Instant::now();
    loop {
        match flock(&folder, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Some(folder),
            Err(Errno::AGAIN) if begun.elapsed() < limits::FOLDER_WAIT => std::thread::sleep(LOOK),
            Err(_) => return None,
        }
    }
}

/// Whether somebody listens at a name. None if there is nothing.
///
/// # Errors
/// There is something else than a socket, or nobody knows.
fn is_live(path: &Path) -> io::Result<Option<bool>> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
        Ok(file) if !file.file_type().is_socket() => {
            return Err(io::Error::new(ErrorKind::AlreadyExists, "there is something else than a socket"));
        }
        Ok(_) => {}
    }
    let caller = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // Where many wait already it would wait as well.
    caller.set_nonblocking(true)?;
    match caller.connect(&SockAddr::unix(path)?) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => Ok(Some(false)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Err(error),
        // One of another type is somebody's, too.
        _ => Ok(Some(true)),
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn abstract_name(address: &SockAddr) -> PathBuf {
    let name = address.as_abstract_namespace().unwrap_or_default();
    format!("@{}", String::from_utf8_lossy(name)).into()
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn abstract_name(_: &SockAddr) -> PathBuf {
    "@".into()
}

/// Has the kernel drop the segments that begin a connection. Who sent one sends it again a second later: by then there is
/// another server, to which it goes, or nobody, which it is told. One that is half established becomes whole.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn drop_newcomers(socket: &Socket) {
    use socket2::SockFilter;
    /// Where the flags of a segment stand, and two of them (RFC 9293 section 3.1).
    const FLAGS: u32 = 13;
    const SYN: u32 = 0x02;
    const ACK: u32 = 0x10;
    /// Instructions of the packet filter (`linux/filter.h`): load a byte, and, jump if equal, return.
    const LOAD: u16 = 0x30;
    const AND: u16 = 0x54;
    const EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    let filter = [
        SockFilter::new(LOAD, 0, 0, FLAGS),
        SockFilter::new(AND, 0, 0, SYN | ACK),
        SockFilter::new(EQUAL, 0, 1, SYN),
        SockFilter::new(RETURN, 0, 0, 0),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
    ];
    // Without it who connects at the last moment may be reset.
    let _ = socket.attach_filter(&filter);
}

/// There is no way.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn drop_newcomers(_: &Socket) {}
