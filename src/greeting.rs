//! What the start says to a person: addresses to click on, and one as a QR code for a phone. Programs get plain lines instead.

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use qrcodegen::{QrCode, QrCodeEcc, QrSegment};

/// Where a server is found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Urls {
    /// By this machine alone.
    pub here: Vec<String>,
    /// By other machines.
    pub network: Vec<String>,
}

/// The addresses that are listened at, as URLs. One that stands for all of them (`0.0.0.0`, `::`) is no place to go to: it
/// becomes that of this machine, and those by which others know it.
pub fn urls(addresses: &[SocketAddr], prefix: Option<&str>, known_as: &[IpAddr]) -> Urls {
    let mut urls = Urls::default();
    let path = prefix.map_or_else(|| "/".to_owned(), |prefix| format!("/{prefix}/"));
    for address in addresses {
        let url = |ip: IpAddr| format!("http://{}{path}", SocketAddr::new(ip, address.port()));
        // `::` takes IPv4, too, unless that has a socket of its own.
        let ipv4 = address.is_ipv4() || !addresses.iter().any(|other| other.is_ipv4());
        let loopback: IpAddr = if ipv4 { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() };
        match address.ip() {
            ip if ip.is_unspecified() => {
                urls.here.push(url(loopback));
                let reached = known_as.iter().filter(|own| if own.is_ipv4() { ipv4 } else { address.is_ipv6() });
                urls.network.extend(reached.map(|own| url(*own)));
            }
            ip if ip.is_loopback() => urls.here.push(url(ip)),
            // With the interface that it belongs to, if it has one.
            _ => urls.network.push(format!("http://{address}{path}")),
        }
    }
    urls
}

/// The addresses of this machine on its networks: those from which it would send to the rest of the world. A UDP socket that
/// is connected tells, and sends nothing. Where no route leads out there is none.
pub fn known_as() -> Vec<IpAddr> {
    // Addresses that nobody has (RFC 5737, RFC 3849).
    let ways: [(IpAddr, IpAddr); 2] = [
        (Ipv4Addr::UNSPECIFIED.into(), Ipv4Addr::new(192, 0, 2, 1).into()),
        (Ipv6Addr::UNSPECIFIED.into(), Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into()),
    ];
    let own = |(from, to): (IpAddr, IpAddr)| {
        let socket = UdpSocket::bind((from, 0)).ok()?;
        socket.connect((to, 9)).ok()?;
        Some(socket.local_addr().ok()?.ip())
    };
    ways.into_iter().filter_map(own).filter(|own| !own.is_loopback() && !own.is_unspecified()).collect()
}

/// Whether to use colors on this stream (<https://no-color.org>).
pub fn colors(terminal: bool) -> bool {
    let set = |name, value: Option<&str>| {
        std::env::var_os(name).is_some_and(|found| value.map_or(!found.is_empty(), |value| found == value))
    };
    terminal && !set("NO_COLOR", None) && !set("TERM", Some("dumb"))
}

/// The start, for a terminal: the root, and a line for each place, named by what is to be said of it.
pub fn greeting(root: &str, places: &[(&str, String)], colors: bool) -> String {
    let mut text = format!("Serving {root}\n\n");
    let (bold, plain) = if colors { ("\u{1b}[1m", "\u{1b}[0m") } else { ("", "") };
    for (name, place) in places {
        let _ = writeln!(text, "  {name:<9}{bold}{place}{plain}");
    }
    text + "\nCtrl-C stops it."
}

/// Headings in bold.
pub fn with_headings(help: &str) -> String {
    let heading = |line: &str| line.ends_with(':') && !line.starts_with(' ');
    let lines = help.lines().map(|line| if heading(line) { format!("\u{1b}[1m{line}\u{1b}[0m") } else { line.into() });
    lines.collect::<Vec<_>>().join("\n")
}

/// A text as a QR code, two modules above each other in a character. With colors it is black on white whatever those of the
/// terminal are. Without, what is light is drawn, as if the terminal were dark: readers take the opposite, too.
pub fn qr(text: &str, colors: bool) -> Option<String> {
    /// Modules around it, which readers need to find it.
    const QUIET: i32 = 4;
    // The bytes as they are: addresses are too short for more.
    let code = QrCode::encode_segments(&[QrSegment::make_bytes(text.as_bytes())], QrCodeEcc::Low).ok()?;
    let drawn = |x, y| code.get_module(x, y) == colors;
    let (begin, end) = if colors { ("\u{1b}[38;5;16;48;5;231m", "\u{1b}[0m") } else { ("", "") };
    let mut picture = String::new();
    let across = -QUIET..code.size() + QUIET;
    for y in across.clone().step_by(2) {
        picture += begin;
        picture.extend(across.clone().map(|x| match (drawn(x, y), drawn(x, y + 1)) {
            (true, true) => '█',
            (true, false) => '▀',
            (false, true) => '▄',
            (false, false) => ' ',
        }));
        picture += end;
        picture.push('\n');
    }
    Some(picture)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_places_to_go_to() {
        let own: Vec<IpAddr> = ["192.168.1.5", "2001:db8::5"].map(|ip| ip.parse().unwrap()).to_vec();
        for (name, addresses, prefix, here, network) in [
            ("loopback", &["127.0.0.1:8080"][..], None, &["http://127.0.0.1:8080/"][..], &[][..]),
            ("of IPv6", &["[::1]:80"], Some("docs"), &["http://[::1]:80/docs/"], &[]),
            ("all of IPv4", &["0.0.0.0:1"], Some("a/b"), &["http://127.0.0.1:1/a/b/"], &["http://192.168.1.5:1/a/b/"]),
            ("all", &["[::]:1"], None, &["http://127.0.0.1:1/"], &["http://192.168.1.5:1/", "http://[2001:db8::5]:1/"]),
            (
                "all, apart",
                &["0.0.0.0:1", "[::]:1"],
                None,
                &["http://127.0.0.1:1/", "http://[::1]:1/"],
                &["http://192.168.1.5:1/", "http://[2001:db8::5]:1/"],
            ),
            ("one of a network", &["10.0.0.7:1"], None, &[], &["http://10.0.0.7:1/"]),
            ("of an interface", &["[fe80::1%2]:1"], None, &[], &["http://[fe80::1%2]:1/"]),
            ("none", &[], None, &[], &[]),
        ] {
            let addresses: Vec<_> = addresses.iter().map(|address| address.parse().unwrap()).collect();
            let strings = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
            let expected = Urls { here: strings(here), network: strings(network) };
            assert_eq!(urls(&addresses, prefix, &own), expected, "{name}");
        }
    }

    #[test]
    fn a_code_is_what_it_was_made_of() {
        let text = "http://192.168.100.200:65535/a-prefix/";
        for colors in [true, false] {
            let picture = qr(text, colors).unwrap();
            let rows: Vec<Vec<bool>> = picture
                .lines()
                .flat_map(|line| {
                    let line = line.trim_start_matches("\u{1b}[38;5;16;48;5;231m").trim_end_matches("\u{1b}[0m");
                    let row = |full| line.chars().map(|c| (c == '█' || c == full) == colors).collect();
                    [row('▀'), row('▄')]
                })
                .collect();
            assert!(rows.iter().all(|row| row.len() == rows[0].len() && !row[0] && !row[row.len() - 1]));
            // Larger, as a camera sees it.
            const TIMES: usize = 5;
            let (width, height) = (rows[0].len() * TIMES, rows.len() * TIMES);
            let mut seen = rqrr::PreparedImage::prepare_from_bitmap(width, height, |x, y| rows[y / TIMES][x / TIMES]);
            let found: Vec<_> = seen.detect_grids().iter().map(|grid| grid.decode().unwrap().1).collect();
            assert_eq!(found, [text], "{picture}");
        }
    }
}
