//! The state of a server at one moment, and its JSON.

use std::fmt::{self, Write};
use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::http::escape::Json;
use crate::traffic::Outcome;

/// What there is to tell.
#[derive(Debug)]
pub(super) struct Status {
    pub(super) front: &'static str,
    pub(super) started: SystemTime,
    pub(super) uptime: Duration,
    /// It stops, and finishes what is on its way.
    pub(super) draining: bool,
    /// Requests that have ended, by the first digit of the status.
    pub(super) requests: [u64; 5],
    /// The same in the order of [`Outcome::ALL`].
    pub(super) outcomes: [u64; 5],
    /// Bytes of bodies, those on their way included.
    pub(super) sent: u64,
    /// Connections, and how many there may be, where the front knows.
    pub(super) connections: Option<(usize, usize)>,
    pub(super) workers: usize,
    pub(super) busy: usize,
    /// Bytes of memory of the process, where the system tells.
    pub(super) resident: Option<u64>,
    /// Bytes that it may have, if that was said.
    pub(super) budget: Option<u64>,
    /// What lasts longest.
    pub(super) running: Vec<Transfer>,
    /// How many more are on their way.
    pub(super) more: usize,
    pub(super) samples: Vec<Sample>,
}

/// An answer on its way.
#[derive(Debug)]
pub(super) struct Transfer {
    pub(super) client: Option<SocketAddr>,
    pub(super) target: Box<str>,
    pub(super) status: u16,
    pub(super) expected: Option<u64>,
    pub(super) sent: u64,
    pub(super) time: Duration,
}

/// A moment before.
#[derive(Debug, Clone)]
pub(super) struct Sample {
    pub(super) at: SystemTime,
    pub(super) resident: Option<u64>,
    pub(super) sent: u64,
    pub(super) requests: u64,
    pub(super) running: usize,
}

impl Status {
    /// Connections on which an answer is on its way. On the direct front there is one for each.
    pub(super) fn sending(&self) -> usize {
        self.running.len() + self.more
    }

    /// Connections that wait for a request, for the rest of one, or for their end.
    pub(super) fn waiting(&self) -> Option<usize> {
        self.connections.map(|(inside, _)| inside.saturating_sub(self.sending()))
    }

    /// Requests that went wrong otherwise than the client wanted: by our doing, or because it is too slow.
    pub(super) fn errors(&self) -> u64 {
        let failed = Outcome::ALL
            .iter()
            .zip(self.outcomes)
            .filter(|((_, outcome), _)| matches!(outcome, Outcome::SourceFailed | Outcome::TooSlow | Outcome::CutOff));
        let [.., refused] = self.requests;
        failed.map(|(_, count)| count).fold(refused, u64::saturating_add)
    }
}

/// A number, or that it is not known.
struct Maybe<T>(Option<T>);

impl<T: fmt::Display> fmt::Display for Maybe<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(value) => value.fmt(f),
            None => f.write_str("null"),
        }
    }
}

/// Seconds since 1970.
pub(super) fn seconds(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// One object (RFC 8259). All names are there always; what is not known is null.
pub(super) fn json(status: &Status) -> String {
    let mut out = String::new();
    // Writing to a string never fails.
    let _ = write(&mut out, status);
    out
}

fn write(out: &mut String, status: &Status) -> fmt::Result {
    write!(
        out,
        "{{\"version\":\"{}\",\"front\":\"{}\",\"started\":{:.3},\"uptime\":{:.3},\"draining\":{},\"requests\":{{",
        env!("CARGO_PKG_VERSION"),
        status.front,
        seconds(status.started),
        status.uptime.as_secs_f64(),
        status.draining
    )?;
    for (number, count) in status.requests.iter().enumerate() {
        write!(out, "{}\"{}xx\":{count}", comma(number), number + 1)?;
    }
    out.push_str("},\"outcomes\":{");
    for (number, ((name, _), count)) in Outcome::ALL.iter().zip(status.outcomes).enumerate() {
        write!(out, "{}\"{name}\":{count}", comma(number))?;
    }
    write!(
        out,
        "}},\"errors\":{},\"sent\":{},\"connections\":{{\"sending\":{},\"waiting\":{},\"limit\":{}}},",
        status.errors(),
        status.sent,
        status.sending(),
        Maybe(status.waiting()),
        Maybe(status.connections.map(|(_, most)| most))
    )?;
    write!(out, "\"workers\":{{\"all\":{},\"busy\":{}}},", status.workers, status.busy)?;
    write!(out, "\"memory\":{},\"budget\":{},\"transfers\":[", Maybe(status.resident), Maybe(status.budget))?;
    for (number, transfer) in status.running.iter().enumerate() {
        let Transfer { client, target, status, expected, sent, time } = transfer;
        write!(out, "{}{{\"client\":", comma(number))?;
        match client {
            Some(client) => write!(out, "\"{client}\"")?,
            None => out.push_str("null"),
        }
        write!(
            out,
            ",\"target\":\"{}\",\"status\":{status},\"expected\":{},\"sent\":{sent},\"seconds\":{:.3}}}",
            Json(target.as_bytes()),
            Maybe(*expected),
            time.as_secs_f64()
        )?;
    }
    write!(out, "],\"more\":{},\"samples\":[", status.more)?;
    for (number, Sample { at, resident, sent, requests, running }) in status.samples.iter().enumerate() {
        let (comma, resident) = (comma(number), Maybe(*resident));
        write!(out, "{comma}[{:.1},{resident},{sent},{requests},{running}]", seconds(*at))?;
    }
    out.push_str("]}\n");
    Ok(())
}

fn comma(number: usize) -> &'static str {
    if number > 0 { "," } else { "" }
}
