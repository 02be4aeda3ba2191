//! The state as Prometheus reads it: its text format, version 0.0.4.

use std::fmt::{self, Display, Write};

use super::status::{Status, seconds};
use crate::traffic::Outcome;

pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// All there is, a block for each name.
pub(super) fn text(status: &Status) -> String {
    let mut out = String::new();
    // Writing to a string never fails.
    let _ = write(&mut out, status);
    out
}

fn write(out: &mut String, status: &Status) -> fmt::Result {
    head(out, "brooklet_build_info", "gauge", "Always 1; its labels say which version runs, with which front.")?;
    let (version, front) = (env!("CARGO_PKG_VERSION"), status.front);
    writeln!(out, "brooklet_build_info{{version=\"{version}\",front=\"{front}\"}} 1")?;
    head(out, "brooklet_requests_total", "counter", "Requests that have ended, by class of the status code.")?;
    for (class, count) in (1..).zip(status.requests) {
        writeln!(out, "brooklet_requests_total{{code=\"{class}xx\"}} {count}")?;
    }
    head(out, "brooklet_outcomes_total", "counter", "Requests that have ended, by how they ended.")?;
    for ((name, _), count) in Outcome::ALL.iter().zip(status.outcomes) {
        writeln!(out, "brooklet_outcomes_total{{outcome=\"{name}\"}} {count}")?;
    }
    one(
        out,
        "brooklet_sent_bytes_total",
        "counter",
        "Bytes of bodies that were sent, also of what is on its way.",
        status.sent,
    )?;
    one(
        out,
        "brooklet_transfers_running",
        "gauge",
        "Answers on their way that did not leave at once.",
        status.sending(),
    )?;
    if let (Some(waiting), Some((_, most))) = (status.waiting(), status.connections) {
        head(out, "brooklet_connections", "gauge", "Connections with an answer on its way, and those that wait.")?;
        writeln!(out, "brooklet_connections{{state=\"sending\"}} {}", status.sending())?;
        writeln!(out, "brooklet_connections{{state=\"waiting\"}} {waiting}")?;
        one(out, "brooklet_connections_limit", "gauge", "Connections that there may be.", most)?;
    }
    one(out, "brooklet_workers", "gauge", "Worker threads.", status.workers)?;
    one(out, "brooklet_workers_busy", "gauge", "Worker threads that do something at this moment.", status.busy)?;
    one(
        out,
        "brooklet_draining",
        "gauge",
        "1 while the server stops, and finishes what is on its way.",
        u8::from(status.draining),
    )?;
    one(out, "brooklet_uptime_seconds", "gauge", "Time since the start.", status.uptime.as_secs_f64())?;
    one(
        out,
        "process_start_time_seconds",
        "gauge",
        "When the server started, in seconds since 1970.",
        seconds(status.started),
    )?;
    if let Some(resident) = status.resident {
        one(out, "process_resident_memory_bytes", "gauge", "Resident memory of the process.", resident)?;
    }
    if let Some(budget) = status.budget {
        one(out, "brooklet_memory_budget_bytes", "gauge", "Memory that the server may have.", budget)?;
    }
    Ok(())
}

fn head(out: &mut String, name: &str, kind: &str, help: &str) -> fmt::Result {
    writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}")
}

fn one(out: &mut String, name: &str, kind: &str, help: &str, value: impl Display) -> fmt::Result {
    head(out, name, kind, help)?;
    writeln!(out, "{name} {value}")
}
