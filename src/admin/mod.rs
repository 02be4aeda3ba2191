//! What a server tells about itself to who runs it: decided with plain values, as the answers with files are.
//!
//! `/` is a page for people, `/status.json` the same for programs, `/metrics` for Prometheus, and `/healthz` for who only asks
//! whether it serves. A second, small instance of the direct front brings them: it has connections and a worker of its own, so
//! that whoever crowds the server does not keep away who wants to see that.

mod metrics;
mod page;
mod status;

use std::fs::File;
use std::net::IpAddr;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use tiny_http::Method;

use crate::answer::{Answer, Body, HTML, PLAIN};
use crate::config::{Config, Front};
use crate::http::request::Request;
use crate::http::target::Target;
use crate::limits;
use crate::stop::Stop;
use crate::traffic::Traffic;
use status::{Sample, Status, Transfer};

/// How often memory and rates are remembered: [`limits::ADMIN_SAMPLES`] of them are five minutes.
pub(crate) const SAMPLE: Duration = Duration::from_secs(2);

/// What the server is asked by.
pub(crate) struct Admin {
    traffic: Arc<Traffic>,
    stop: Arc<Stop>,
    memory: Memory,
    front: &'static str,
    started: SystemTime,
    /// Whether only this machine reaches the address. Then a page of another site that a browser here shows could, by a name that
    /// leads here (DNS rebinding).
    local: bool,
    samples: Mutex<Vec<Sample>>,
}

/// What the system says of this process, held open: the process may lose the right to open it.
#[derive(Debug)]
pub(crate) struct Memory {
    file: Option<File>,
    /// Bytes that it may have, if that was said.
    budget: Option<usize>,
}

impl Memory {
    pub(crate) fn open(budget: Option<usize>) -> Self {
        Self { file: File::open("/proc/self/status").ok(), budget }
    }

    /// Bytes that are resident, where the system tells (proc_pid_status(5)).
    fn resident(&self) -> Option<u64> {
        // The line stands among the first ones.
        let mut text = [0; 2048];
        let count = self.file.as_ref()?.read_at(&mut text, 0).ok()?;
        resident_in(text.get(..count)?)
    }
}

fn resident_in(text: &[u8]) -> Option<u64> {
    let mut lines = text.split(|b| *b == b'\n');
    let value = lines.find_map(|line| line.strip_prefix(b"VmRSS:"))?;
    let kib: u64 = std::str::from_utf8(value).ok()?.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// How the small front is set up. It serves no file.
pub(crate) fn config() -> Config {
    Config {
        front: Front::Direct,
        workers: Some(1),
        buffer_size: Some(limits::BUFFER_SIZE_MIN),
        send_buffer: Some(limits::ADMIN_SEND_BUFFER),
        cache: Some(0),
        max_connections: Some(limits::ADMIN_CONNECTIONS),
        // Who drips must not keep a probe away for long, nor one client all others.
        max_connections_per_client: limits::ADMIN_CONNECTIONS / 2,
        head_timeout: Duration::from_secs(2),
        stall_timeout: Duration::from_secs(5),
        // Who waits for an answer when the server ends has it soon.
        drain: Duration::from_secs(1),
        ..Config::default()
    }
}

impl Admin {
    /// Tells about the server with this traffic, which ends with this stop, to who asks at this address.
    pub(crate) fn new(
        front: Front,
        address: IpAddr,
        memory: Memory,
        traffic: Arc<Traffic>,
        stop: Arc<Stop>,
        now: SystemTime,
    ) -> Self {
        let front = Front::ALL.iter().find(|(_, known)| *known == front).map_or("", |(name, _)| name);
        let (local, samples) = (address.is_loopback(), Mutex::default());
        Self { traffic, stop, memory, front, started: now, local, samples }
    }

    /// Decides what the request gets at the time `now`.
    pub(crate) fn answer(&self, request: &Request<'_>, now: SystemTime) -> Answer {
        match self.refusal(request) {
            Some(405) => Answer::error(405, request).set("Allow", "GET, HEAD"),
            Some(status) => Answer::error(status, request),
            None => self.page(request, now),
        }
        .with("Cache-Control", "no-store")
    }

    fn refusal(&self, request: &Request<'_>) -> Option<u16> {
        let host = request.host.as_deref();
        match request.method {
            Method::Get | Method::Head => {}
            Method::NonStandard(_) => return Some(501),
            _ => return Some(405),
        }
        if host.is_none() && request.version >= (1, 1) {
            return Some(400);
        }
        let foreign = |host: &str| self.local && !is_here(host);
        host.is_some_and(foreign).then_some(403)
    }

    fn page(&self, request: &Request<'_>, now: SystemTime) -> Answer {
        let Ok(target) = Target::parse(request.target) else { return Answer::error(400, request) };
        let (status, content_type, text) = match (&*target.path, target.folder) {
            (b"healthz", false) if self.stop.is_draining() => (503, PLAIN, "draining\n".into()),
            (b"healthz", false) => (200, PLAIN, "ok\n".into()),
            (b"metrics", false) => (200, metrics::CONTENT_TYPE, metrics::text(&self.status(now))),
            (b"status.json", false) => (200, "application/json", status::json(&self.status(now))),
            (b"", _) => (200, HTML, page::html(&self.status(now))),
            _ => return Answer::error(404, request),
        };
        Answer::new(status, Body::bytes(text))
            .with("Content-Type", content_type)
            .with("Content-Security-Policy", page::POLICY)
            .with("X-Content-Type-Options", "nosniff")
            .with("Referrer-Policy", "no-referrer")
            .with("Cross-Origin-Resource-Policy", "same-origin")
            .to(request)
    }

    /// Remembers this moment for the picture.
    pub(crate) fn sample(&self, now: SystemTime) {
        let Status { resident, sent, requests, running, more, .. } = self.status(now);
        let sample = Sample { at: now, resident, sent, requests: requests.iter().sum(), running: running.len() + more };
        let mut samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        if samples.len() >= limits::ADMIN_SAMPLES {
            samples.remove(0);
        }
        samples.push(sample);
    }

    /// The state at this moment, as plain values.
    fn status(&self, now: SystemTime) -> Status {
        let (statistics, mut running) = self.traffic.counts().look();
        running.sort_by_key(|transfer| transfer.begun);
        running.truncate(limits::ADMIN_TRANSFERS);
        let uptime = now.duration_since(self.started).unwrap_or_default();
        let shown = |transfer: &crate::traffic::Running| Transfer {
            client: transfer.client,
            target: shortened(&transfer.target).into(),
            status: transfer.status,
            expected: transfer.expected,
            sent: transfer.sent(),
            time: now.duration_since(transfer.begun).unwrap_or_default(),
        };
        Status {
            front: self.front,
            started: self.started,
            uptime,
            draining: self.stop.is_draining(),
            requests: statistics.requests,
            outcomes: statistics.outcomes,
            sent: statistics.bytes_sent,
            connections: statistics.connections.zip(statistics.max_connections),
            workers: statistics.workers,
            busy: statistics.busy_workers,
            resident: self.memory.resident(),
            budget: self.memory.budget.map(|bytes| bytes as u64),
            more: statistics.transfers - running.len(),
            running: running.iter().map(|transfer| shown(transfer)).collect(),
            samples: self.samples.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }
}

/// No more of a target than fits into a line.
fn shortened(target: &str) -> &str {
    let end = (0..=limits::ADMIN_TARGET.min(target.len())).rev().find(|end| target.is_char_boundary(*end));
    target.get(..end.unwrap_or(0)).unwrap_or_default()
}

/// Whether this host is an address or `localhost`: no name that somebody else could let lead here.
fn is_here(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    let inner = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
    name.eq_ignore_ascii_case("localhost") || inner.unwrap_or(name).parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn admin(address: IpAddr) -> Admin {
        let memory = Memory::open(None);
        Admin::new(Front::Direct, address, memory, Arc::default(), Arc::default(), SystemTime::UNIX_EPOCH)
    }

    #[test]
    fn a_name_that_somebody_else_could_let_lead_here_is_refused_on_this_machine() {
        let (local, open) = (admin(Ipv4Addr::LOCALHOST.into()), admin(Ipv4Addr::UNSPECIFIED.into()));
        for (host, here) in [
            ("localhost", true),
            ("LocalHost:9100", true),
            ("127.0.0.1", true),
            ("127.0.0.1:80", true),
            ("[::1]:80", true),
            ("[::1]", true),
            ("example.org", false),
            ("example.org:80", false),
            ("localhost.example.org", false),
            ("127.0.0.1.example.org:80", false),
            ("localhost, example.org", false),
            ("", false),
            (":80", false),
        ] {
            let request = Request::new(&Method::Get, "/healthz").with("Host", host);
            let status = |admin: &Admin| admin.answer(&request, SystemTime::now()).status.0;
            assert_eq!(status(&local), if here { 200 } else { 403 }, "{host}");
            assert_eq!(status(&open), 200, "{host}");
        }
    }

    #[test]
    fn memory_is_found_where_the_system_tells_of_it() {
        assert_eq!(resident_in(b"Name:\tx\nVmRSS:\t    3600 kB\nVmData: 1 kB\n"), Some(3600 * 1024));
        for text in ["", "VmRSS:", "VmRSS: x kB", "VmRSS: 3600", "VmRSS: 99999999999999999999 kB"] {
            assert_eq!(resident_in(text.as_bytes()), None, "{text}");
        }
        if cfg!(target_os = "linux") {
            assert!(Memory::open(None).resident().is_some_and(|bytes| bytes > 100_000));
        }
    }

    #[test]
    fn no_more_moments_are_remembered_than_the_picture_shows() {
        let admin = admin(Ipv4Addr::LOCALHOST.into());
        let moments = (0..limits::ADMIN_SAMPLES as u64 + 7).map(|s| SystemTime::UNIX_EPOCH + Duration::from_secs(s));
        moments.for_each(|moment| admin.sample(moment));
        let samples = admin.status(SystemTime::UNIX_EPOCH).samples;
        assert_eq!(samples.len(), limits::ADMIN_SAMPLES);
        assert_eq!(samples[0].at, SystemTime::UNIX_EPOCH + Duration::from_secs(7));
    }

    #[test]
    fn a_long_target_is_cut_between_characters() {
        let long = "\u{e4}".repeat(limits::ADMIN_TARGET);
        assert_eq!(shortened(&format!("x{long}")).len(), limits::ADMIN_TARGET - 1);
        assert_eq!(shortened("/a"), "/a");
    }
}
