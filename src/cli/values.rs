//! From the text of an option to its value. Each says what would have done.

use std::ffi::{OsStr, OsString};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser};

use crate::config::Listen;

/// One of these, by its name.
pub(super) fn choice<T: Copy + Send + Sync + 'static>(
    all: &'static [(&'static str, T)],
) -> impl TypedValueParser<Value = T> {
    PossibleValuesParser::new(all.iter().map(|(name, _)| *name)).try_map(|name| {
        // Only these names pass.
        all.iter().find(|(known, _)| *known == name).map(|(_, value)| *value).ok_or("no choice")
    })
}

pub(super) fn header(text: &str) -> Result<(String, String), String> {
    // What ends with a line's end, as YAML has it, has nothing behind that.
    if text.trim_ascii().is_empty() {
        return Ok(Default::default());
    }
    let (name, value) = text.split_once(':').ok_or("not a field such as 'X-Robots-Tag: noindex'")?;
    Ok((name.into(), value.trim_ascii().into()))
}

/// Where to listen, without the port, which is the same for all.
pub(super) fn place(text: OsString) -> Result<Listen, String> {
    if let Some(path) = text.as_bytes().strip_prefix(b"unix:") {
        return Ok(Listen::Unix(OsStr::from_bytes(path).into()));
    }
    let text = text.to_string_lossy();
    let inner = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(&text);
    let address: Result<IpAddr, _> = inner.parse();
    address.map(Listen::Ip).map_err(|_| {
        let behind = text.rsplit_once(':').and_then(|(address, port)| Some((address, port.parse::<u16>().ok()?)));
        match behind {
            Some(("", port)) => format!("a port is given with -p: -p {port}"),
            Some((name, port)) => {
                let address = match name {
                    "localhost" => "127.0.0.1",
                    "*" => "0.0.0.0",
                    name => name,
                };
                format!("the port is given with -p: -b {address} -p {port}")
            }
            None => "not an IP address such as 127.0.0.1 or ::1, nor unix:PATH".into(),
        }
    })
}

pub(super) fn mode(text: &str) -> Result<u32, String> {
    let digits = Some(text).filter(|text| text.bytes().all(|b| b.is_ascii_digit()));
    digits
        .and_then(|digits| u32::from_str_radix(digits, 8).ok())
        .ok_or_else(|| "no octal permissions such as 660".into())
}

/// An address with its port, or a port of this machine alone.
pub(super) fn admin(text: &str) -> Result<SocketAddr, String> {
    let bare = text.strip_prefix("localhost:").or_else(|| text.strip_prefix(':')).unwrap_or(text);
    let port = bare.parse().map(|port| (Ipv4Addr::LOCALHOST, port).into());
    port.or_else(|_| text.parse())
        .map_err(|_| "not a port such as 9100, nor an address with one such as [::1]:9100".into())
}

/// What all addresses begin with, without the slashes around it.
pub(super) fn prefix(text: &str) -> Result<String, String> {
    Ok(text.trim_matches('/').to_owned())
}

pub(super) fn downloads(text: &str) -> Result<usize, String> {
    text.parse().map_err(|_| "not a number of downloads such as 3".into())
}

pub(super) fn size(text: &str) -> Result<usize, String> {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let factor = match text.get(digits.len()..).map(str::to_ascii_lowercase).as_deref() {
        Some("" | "b") => 1,
        Some("k" | "kb" | "kib") => 1 << 10,
        Some("m" | "mb" | "mib") => 1 << 20,
        Some("g" | "gb" | "gib") => 1 << 30,
        _ => return Err("not a size such as 65536, 64K or 1M".into()),
    };
    let number: Option<usize> = digits.parse().ok();
    number.and_then(|n| n.checked_mul(factor)).ok_or_else(|| "not a size such as 65536, 64K or 1M".into())
}

pub(super) fn time(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let milliseconds = match text.get(digits.len()..) {
        Some("ms") => 1,
        Some("" | "s") => 1000,
        Some("m") => 60_000,
        Some("h") => 3_600_000,
        _ => return Err("not a time such as 30, 500ms or 2m".into()),
    };
    let number: Option<u64> = digits.parse().ok();
    let total = number.and_then(|n| n.checked_mul(milliseconds)).filter(|total| *total <= 24 * 3_600_000);
    total.map(Duration::from_millis).ok_or_else(|| "not a time such as 30, 500ms or 2m, of a day at most".into())
}
