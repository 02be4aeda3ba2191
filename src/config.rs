//! What a server is told: plain values, checked in one place.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;

use crate::limits;

/// How a server is set up. Start from [`Config::default`] and change what is to be different: fields will be added.
///
/// ```
/// let config = brooklet::Config { root: "/srv/www".into(), port: 0, ..Default::default() };
/// assert!(config.validate().is_ok());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The folder to be served. Default: the current one.
    pub root: PathBuf,
    /// The addresses to listen at, at least one. Default: 127.0.0.1, which nobody else reaches.
    pub bind: Vec<IpAddr>,
    /// The port at each of them; 0: any that is free, a different one for each. Default: 8080.
    pub port: u16,
    /// What receives the requests.
    pub front: Front,
    /// Worker threads for each address, 1 to 4096. On the tiny-http front a worker stays with a transfer until its end, so
    /// these are the transfers at once. Default: 8 for each processor, at least 16.
    pub workers: usize,
    /// Bytes of a copy buffer, 4 KiB to 1 MiB; there are 16 of them at most, and a small one for each worker. Default: 64 KiB.
    pub buffer_size: usize,
    /// How long a connection may be silent, 1 s to a day. Default: 60 s.
    pub idle_timeout: Duration,
    /// How long a write waits for a client that takes nothing, 1 ms to a day. Default: 30 s.
    pub stall_timeout: Duration,
    /// How long a stop waits for the transfers in flight. Default: 10 s.
    pub drain: Duration,
}

/// What receives the requests and sends the answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Front {
    /// The listener of the crate tiny_http and a pool of workers that block. For clients that can be trusted, see
    /// [`front::tiny`](crate::front::tiny).
    TinyHttp,
}

impl Front {
    /// Every front there is, by its name on the command line.
    pub const ALL: &[(&str, Self)] = &[("tiny-http", Self::TinyHttp)];
}

impl Default for Config {
    fn default() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            root: ".".into(),
            bind: vec![Ipv4Addr::LOCALHOST.into()],
            port: 8080,
            front: Front::TinyHttp,
            workers: (8 * processors).clamp(16, limits::WORKERS_MAX),
            buffer_size: limits::BUFFER_SIZE,
            idle_timeout: limits::IDLE_TIMEOUT,
            stall_timeout: limits::STALL_TIMEOUT,
            drain: limits::DRAIN,
        }
    }
}

impl Config {
    /// Checks each value against its bounds.
    ///
    /// # Errors
    /// The first value that is out of bounds, and its bounds.
    pub fn validate(&self) -> Result<(), String> {
        let (least, most) = (limits::BUFFER_SIZE_MIN, limits::BUFFER_SIZE_MAX);
        if self.bind.is_empty() {
            return Err("there is no address to listen at".into());
        }
        if !(1..=limits::WORKERS_MAX).contains(&self.workers) {
            return Err(format!("{} workers: not within 1 to {}", self.workers, limits::WORKERS_MAX));
        }
        if !(least..=most).contains(&self.buffer_size) {
            return Err(format!("a buffer of {} bytes: not within {least} to {most}", self.buffer_size));
        }
        let (second, day) = (Duration::from_secs(1), Duration::from_secs(24 * 60 * 60));
        for (name, timeout, least) in
            [("idle", self.idle_timeout, second), ("stall", self.stall_timeout, second / 1000)]
        {
            if !(least..=day).contains(&timeout) {
                return Err(format!("{name} timeout of {timeout:?}: not within {least:?} to a day"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_out_of_bounds_is_named() {
        assert_eq!(Config::default().validate(), Ok(()));
        for (name, config) in [
            ("address", Config { bind: Vec::new(), ..Config::default() }),
            ("workers", Config { workers: 0, ..Config::default() }),
            ("workers", Config { workers: 4097, ..Config::default() }),
            ("buffer", Config { buffer_size: 4095, ..Config::default() }),
            ("buffer", Config { buffer_size: (1 << 20) + 1, ..Config::default() }),
            ("idle", Config { idle_timeout: Duration::from_millis(999), ..Config::default() }),
            ("idle", Config { idle_timeout: Duration::MAX, ..Config::default() }),
            ("stall", Config { stall_timeout: Duration::ZERO, ..Config::default() }),
        ] {
            assert!(config.validate().is_err_and(|reason| reason.contains(name)), "{name}");
        }
        for buffer_size in [4 << 10, 1 << 20] {
            assert_eq!(Config { buffer_size, ..Config::default() }.validate(), Ok(()));
        }
    }
}
