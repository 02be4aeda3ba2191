//! Shuts down a connection that tiny_http holds.

use std::net::SocketAddr;

/// Shuts down the socket of this process that is connected to `peer`, both ways. Returns whether there is no connection to it
/// any more; false says that the sockets are not to be had.
///
/// It looks through all descriptors of the process: a few system calls for each. That is for the rare moment when a connection
/// has to be broken.
#[cfg(target_os = "linux")]
pub(super) fn sever(peer: SocketAddr) -> bool {
    use rustix::net::{Shutdown, shutdown};
    each(peer, |socket| shutdown(socket, Shutdown::Both))
}

/// The same with a reset: what is on its way is lost. It comes when tiny_http, which can read no more, closes the socket.
#[cfg(target_os = "linux")]
pub(super) fn abort(peer: SocketAddr) -> bool {
    use rustix::net::{Shutdown, shutdown, sockopt::set_socket_linger};
    each(peer, |socket| {
        set_socket_linger(socket, Some(std::time::Duration::ZERO))?;
        shutdown(socket, Shutdown::Read)
    })
}

/// Does this with the sockets that are connected to `peer`.
#[cfg(target_os = "linux")]
fn each(peer: SocketAddr, act: impl Fn(&std::os::fd::OwnedFd) -> rustix::io::Result<()>) -> bool {
    use rustix::io::Errno;
    use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};
    let Ok(own) = pidfd_open(getpid(), PidfdFlags::empty()) else { return false };
    let Ok(numbers) = std::fs::read_dir("/proc/self/fd") else { return false };
    let numbers = numbers.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    for number in numbers {
        // A duplicate that is ours: the number may be closed and taken again meanwhile, what is behind it may not.
        let socket = match pidfd_getfd(&own, number, PidfdGetfdFlags::empty()) {
            Ok(socket) => socket,
            Err(Errno::BADF) => continue,
            Err(_) => return false,
        };
        // One whose peer is gone has no name any more, and needs nothing.
        let Ok(Some(name)) = rustix::net::getpeername(&socket) else { continue };
        if SocketAddr::try_from(name) == Ok(peer) {
            // It fails for a peer who has gone.
            let _ = act(&socket);
        }
    }
    true
}

/// There is no way to the socket.
#[cfg(not(target_os = "linux"))]
pub(super) use sever as abort;

/// There is no way to the socket.
#[cfg(not(target_os = "linux"))]
pub(super) fn sever(_: SocketAddr) -> bool {
    false
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use std::io::Read;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn the_named_connection_is_shut_down_and_no_other() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut clients: Vec<_> = (0..3).map(|_| TcpStream::connect(listener.local_addr().unwrap()).unwrap()).collect();
        let served: Vec<_> = (0..3).map(|_| listener.accept().unwrap()).collect();
        assert!(sever(served[1].1));
        assert_eq!(clients[1].read(&mut [0]).unwrap(), 0);
        for other in [0, 2] {
            clients[other].set_nonblocking(true).unwrap();
            assert_eq!(clients[other].read(&mut [0]).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
        }
        // An end that does not look like one.
        let (aborted, peer) = served.into_iter().next().unwrap();
        assert!(abort(peer));
        drop(aborted);
        clients[0].set_nonblocking(false).unwrap();
        assert_eq!(clients[0].read(&mut [0]).unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
        // To nobody there is no connection.
        assert!(sever("127.0.0.1:1".parse().unwrap()));
    }
}
