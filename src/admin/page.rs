//! The state as a page for people. Without its script it is that of the moment, and comes again every five seconds; with it the
//! page asks for the state each second.

use std::fmt::{self, Write};
use std::time::Duration;

use percent_encoding::percent_decode_str;

use super::status::{Sample, Status, Transfer, seconds};
use crate::answer::Size;
use crate::http::escape::Html;

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// What the page may do: its style, its script, and to ask this server. A test holds hashes and texts together.
pub(super) const POLICY: &str = "default-src 'none'; style-src 'sha256-7yjsI/rDdG4HbVfmC3zkuH6d5DJtFMD+89BGAdK+Bpw='; script-src 'sha256-FhEWQetIXG91LQStvSdlXF/tkNXkk0LTgTKPj+MZnJU='; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Seconds that the pictures show, and their height: their units.
const WIDTH: f64 = 300.0;
const HEIGHT: f64 = 60.0;

/// The whole page.
pub(super) fn html(status: &Status) -> String {
    let mut out = String::new();
    // Writing to a string never fails.
    let _ = write(&mut out, status);
    out
}

fn write(out: &mut String, status: &Status) -> fmt::Result {
    let state = if status.draining { "stopping" } else { "serving" };
    write!(
        out,
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <noscript><meta http-equiv=\"refresh\" content=\"5\"></noscript>\n\
         <title>brooklet: {state}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n\
         <header><h1>brooklet <small>{}</small></h1><p role=\"status\" id=\"state\">{state}</p>\
         <p>for <span id=\"uptime\">{}</span></p></header>\n<main>\n<dl>\n",
        env!("CARGO_PKG_VERSION"),
        Time(status.uptime)
    )?;
    let (bytes, requests) = rates(status);
    figure(out, "Sending", "sending", status.sending())?;
    if let (Some(waiting), Some((inside, most))) = (status.waiting(), status.connections) {
        figure(out, "Waiting", "waiting", waiting)?;
        figure(out, "Free", "free", most.saturating_sub(inside))?;
    }
    figure(out, "Workers busy", "workers", format_args!("{} of {}", status.busy, status.workers))?;
    figure(out, "Requests", "requests", format_args!("{requests:.1}/s"))?;
    figure(out, "Errors", "errors", status.errors())?;
    out.push_str("</dl>\n<div class=\"pictures\">\n");
    let now = seconds(status.started) + status.uptime.as_secs_f64();
    let at = |sample: &Sample| seconds(sample.at) - now;
    let sent = status.samples.iter().zip(status.samples.iter().skip(1)).map(|(one, next)| {
        let time = (at(next) - at(one)).max(0.001);
        (at(next), next.sent.saturating_sub(one.sent) as f64 / time)
    });
    let sent: Vec<_> = sent.collect();
    let most = highest(&sent, bytes as u64);
    let label = format_args!("up to {}/s in 5 min", Size(most as u64));
    picture(out, "Sent", "sent", format_args!("{}/s", Size(bytes as u64)), (label, most), &sent)?;
    if let Some(resident) = status.resident {
        let memory = status.samples.iter().filter_map(|sample| Some((at(sample), sample.resident? as f64)));
        let memory: Vec<_> = memory.collect();
        let most = highest(&memory, status.budget.unwrap_or(resident));
        let label = match status.budget {
            Some(budget) => format!("of {}", Size(budget)),
            None => format!("up to {} in 5 min", Size(most as u64)),
        };
        picture(out, "Memory", "memory", Size(resident), (label, most), &memory)?;
    }
    out.push_str("</div>\n<h2>On their way</h2>\n<ul id=\"transfers\">\n");
    for transfer in &status.running {
        row(out, transfer)?;
    }
    let (none, more) = (status.running.is_empty(), status.more);
    write!(out, "</ul>\n<p id=\"none\"{}>Nothing at the moment.</p>\n", hidden(!none))?;
    writeln!(out, "<p id=\"more\"{}>and {more} more</p>", hidden(more == 0))?;
    write!(
        out,
        "</main>\n<footer><a href=\"status.json\">as JSON</a> \u{b7} <a href=\"metrics\">metrics</a> \u{b7} \
         <a href=\"healthz\">health</a></footer>\n<script>{SCRIPT}</script>\n</body>\n</html>\n"
    )
}

fn hidden(hidden: bool) -> &'static str {
    if hidden { " hidden" } else { "" }
}

fn figure(out: &mut String, name: &str, id: &str, value: impl fmt::Display) -> fmt::Result {
    writeln!(out, "<div><dt>{name}</dt><dd id=\"{id}\">{value}</dd></div>")
}

/// What the last five minutes were like, as a line beneath the highest value. `points` are seconds, which are negative, and
/// values.
fn picture(
    out: &mut String,
    name: &str,
    id: &str,
    value: impl fmt::Display,
    highest: (impl fmt::Display, f64),
    points: &[(f64, f64)],
) -> fmt::Result {
    let (label, most) = highest;
    write!(
        out,
        "<figure><figcaption>{name} <b id=\"{id}\">{value}</b> <span id=\"{id}-most\">{label}</span></figcaption>\
         <svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" preserveAspectRatio=\"none\" role=\"img\" \
         aria-label=\"{name}, the last five minutes\"><polyline id=\"{id}-line\" points=\""
    )?;
    for (at, value) in points.iter().filter(|(at, _)| *at >= -WIDTH) {
        write!(out, "{:.1},{:.1} ", WIDTH + at, HEIGHT - 2.0 - value / most * (HEIGHT - 4.0))?;
    }
    writeln!(out, "\"/></svg></figure>")
}

/// The highest value of all.
fn highest(points: &[(f64, f64)], floor: u64) -> f64 {
    points.iter().map(|(_, value)| *value).fold(floor.max(1) as f64, f64::max)
}

fn row(out: &mut String, transfer: &Transfer) -> fmt::Result {
    let Transfer { client, target, expected, sent, time, .. } = transfer;
    let name: Vec<u8> = percent_decode_str(target).collect();
    let name = Html(&name);
    write!(out, "<li><b><bdi>{name}</bdi></b> <span>")?;
    if let Some(client) = client {
        write!(out, "{client}")?;
    }
    out.push_str("</span>");
    if let Some(expected) = expected.filter(|expected| *expected > 0) {
        let percent = *sent as f64 / expected as f64 * 100.0;
        write!(out, "<progress max=\"100\" value=\"{percent:.1}\" aria-label=\"{name}\"></progress>")?;
    }
    write!(out, "<small>{}", Size(*sent))?;
    let rate = *sent as f64 / time.as_secs_f64().max(0.001);
    if let Some(expected) = expected {
        write!(out, " of {}", Size(*expected))?;
    }
    write!(out, " \u{b7} {}/s", Size(rate as u64))?;
    if let Some(left) = expected.map(|expected| expected.saturating_sub(*sent) as f64 / rate) {
        // Who takes nothing is not done in any time.
        if let Ok(left) = Duration::try_from_secs_f64(left) {
            write!(out, " \u{b7} {} left", Time(left))?;
        }
    }
    out.push_str("</small></li>\n");
    Ok(())
}

/// Bytes and requests in a second, since the last sample but one.
fn rates(status: &Status) -> (f64, f64) {
    let [.., before, _] = status.samples.as_slice() else { return (0.0, 0.0) };
    let time = (seconds(status.started) + status.uptime.as_secs_f64() - seconds(before.at)).max(0.001);
    let requests = status.requests.iter().sum::<u64>().saturating_sub(before.requests);
    (status.sent.saturating_sub(before.sent) as f64 / time, requests as f64 / time)
}

/// A time as people read it: its two largest units.
struct Time(Duration);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs_f64().ceil() as u64;
        match seconds {
            0..60 => write!(f, "{seconds} s"),
            60..3600 => write!(f, "{} min {} s", seconds / 60, seconds % 60),
            3600..86_400 => write!(f, "{} h {} min", seconds / 3600, seconds / 60 % 60),
            _ => write!(f, "{} d {} h", seconds / 86_400, seconds / 3600 % 24),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine;
    use sha2::Digest;
    use std::time::UNIX_EPOCH;

    #[test]
    fn the_policy_allows_exactly_our_style_and_our_script() {
        let hash = |text| base64::engine::general_purpose::STANDARD.encode(sha2::Sha256::digest(text));
        let (style, script) = (hash(STYLE), hash(SCRIPT));
        let allowed =
            format!("default-src 'none'; style-src 'sha256-{style}'; script-src 'sha256-{script}'; connect-src");
        assert!(POLICY.starts_with(&allowed), "the hash of page.css is {style}, that of page.js {script}");
        assert!(!POLICY.contains("unsafe") && !STYLE.contains("url(") && !STYLE.contains("@import"));
        assert!(
            !STYLE.contains('<') && !SCRIPT.contains("</") && !SCRIPT.contains("<!") && !SCRIPT.contains("innerHTML")
        );
    }

    fn status(target: &str, expected: Option<u64>, sent: u64) -> Status {
        let transfer = Transfer {
            client: Some(([192, 0, 2, 1], 5).into()),
            target: target.into(),
            status: 200,
            expected,
            sent,
            time: Duration::from_secs(2),
        };
        let sample = |at: u64| Sample {
            at: UNIX_EPOCH + Duration::from_secs(at),
            resident: Some(3 << 20),
            sent: at << 20,
            requests: at * 3,
            running: 1,
        };
        Status {
            front: "direct",
            started: UNIX_EPOCH,
            uptime: Duration::from_secs(3700),
            draining: false,
            requests: [0, 11_100, 1, 2, 3],
            outcomes: [11_000, 1, 2, 4, 8],
            sent: 3700 << 20,
            connections: Some((3, 10)),
            workers: 4,
            busy: 1,
            resident: Some(4 << 20),
            budget: None,
            running: vec![transfer],
            more: 7,
            samples: (3400..3700).step_by(2).map(sample).collect(),
        }
    }

    #[test]
    fn a_page_shows_what_there_is() {
        let page = html(&status("/a%20b", Some(8 << 20), 2 << 20));
        for part in [
            "<dd id=\"sending\">8</dd>",
            "<dd id=\"free\">7</dd>",
            "<dd id=\"workers\">1 of 4</dd>",
            "<dd id=\"requests\">4.5/s</dd>",
            "<dd id=\"errors\">17</dd>",
            "<span id=\"uptime\">1 h 1 min</span>",
            "<b id=\"sent\">1.0 MiB/s</b>",
            "<b id=\"memory\">4.0 MiB</b>",
            "<bdi>/a b</bdi></b> <span>192.0.2.1:5</span>",
            "<progress max=\"100\" value=\"25.0\" aria-label=\"/a b\">",
            "<small>2.0 MiB of 8.0 MiB \u{b7} 1.0 MiB/s \u{b7} 6 s left</small>",
            "<p id=\"none\" hidden>",
            "<p id=\"more\">and 7 more</p>",
        ] {
            assert!(page.contains(part), "{part}: {page}");
        }
        // A picture has no point beyond its borders.
        let lines: Vec<&str> = page.split("points=\"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
        assert_eq!(lines.len(), 2);
        for point in lines.iter().flat_map(|line| line.split_whitespace()) {
            let (x, y) = point.split_once(',').unwrap();
            let (x, y): (f64, f64) = (x.parse().unwrap(), y.parse().unwrap());
            assert!((0.0..=WIDTH).contains(&x) && (0.0..=HEIGHT).contains(&y), "{point}");
        }
    }

    #[test]
    fn memory_is_shown_beside_what_it_may_be() {
        let mut status = status("/x", None, 0);
        assert!(html(&status).contains("<span id=\"memory-most\">up to 4.0 MiB in 5 min</span>"));
        status.budget = Some(64 << 20);
        let page = html(&status);
        assert!(page.contains("<span id=\"memory-most\">of 64.0 MiB</span>"));
        // A twentieth of the height.
        assert!(page.contains(",55.4 \"/></svg></figure>\n</div>"), "{page}");
    }

    #[test]
    fn what_is_not_known_is_left_out() {
        let mut status = status("/x", None, 0);
        (status.connections, status.resident) = (None, None);
        status.samples.clear();
        let page = html(&status);
        for part in ["<progress", "id=\"free\"", "id=\"memory\"", " left", "NaN", "inf"] {
            assert!(!page.split("<script>").next().unwrap().contains(part), "{part}: {page}");
        }
        assert!(html(&self::status("/x", Some(0), 0)).contains("0 B of 0 B"));
    }

    #[test]
    fn names_made_to_hurt_stay_text() {
        for target in
            ["/%3Cscript%3Ealert(1)%3C/script%3E", "/\"><script>", "/%22%3E%3Cscript%3E", "/%E2%80%AE", "/%ff%00"]
        {
            let page = html(&status(target, Some(1), 0));
            let (before, _) = page.split_once("<script>").unwrap();
            assert!(before.contains("</footer>"), "{target}: {before}");
            assert!(!page.contains('\0'));
        }
    }

    #[test]
    fn times() {
        for (seconds, text) in
            [(0.0, "0 s"), (0.2, "1 s"), (59.5, "1 min 0 s"), (3600.0, "1 h 0 min"), (90_000.0, "1 d 1 h")]
        {
            assert_eq!(Time(Duration::from_secs_f64(seconds)).to_string(), text);
        }
    }
}
