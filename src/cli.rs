//! The command line: one table of flags, from which the help is made, and the way from it to a [`Config`].

use std::ffi::{OsStr, OsString};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{FalseyValueParser, NonEmptyStringValueParser, PossibleValuesParser, TypedValueParser};
use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use log::LevelFilter;

use crate::config::{Config, Front, Listen, LogFormat};
use crate::limits;
use crate::network::Network;
use crate::rules::{Coding, Symlinks};

/// The heading of the flags that become [`Rules`](crate::Rules).
const SITE: &str = "How it is served";

/// What the command line asks for.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "there is one")]
pub enum Call {
    /// To serve, in such a process.
    Serve(Config, Process),
    /// To print this text: the help or the version.
    Print(String),
}

/// What the process is told, beside its server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// How much to say.
    pub level: LevelFilter,
    /// Who to become once it listens, as [`User::find`](crate::user::User::find) takes it.
    pub user: Option<String>,
    /// Whether to give up whatever serving does not need.
    pub sandbox: bool,
}

/// Reads the command line and the environment.
///
/// # Errors
/// Why it cannot work, in one line.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Call, String> {
    match command().try_get_matches_from(arguments) {
        Ok(matches) => {
            let config = config(&matches);
            config.validate()?;
            Ok(Call::Serve(config, process(&matches)))
        }
        Err(error) if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) => {
            Ok(Call::Print(error.to_string()))
        }
        Err(error) => Err(one_line(&error.to_string())),
    }
}

fn command() -> Command {
    let defaults = Config::default();
    // A variable that is set to nothing is not set: unit files and compose files pass such ones on.
    let from = |argument: Arg, variable: &'static str| match std::env::var_os(variable) {
        Some(value) if value.is_empty() => argument,
        _ => argument.env(variable).hide_env_values(true),
    };
    let flag = |name: &'static str, variable: &'static str| from(Arg::new(name).long(name), variable);
    let switch = |name: &'static str, variable: &'static str| {
        let switch = flag(name, variable).action(ArgAction::SetTrue).value_parser(FalseyValueParser::new());
        switch.overrides_with(name)
    };
    let seconds = |time: Duration| time.as_secs().to_string();
    Command::new("brooklet")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Serves a folder, or one file, over HTTP. However large the file and however slow the client, a transfer costs next to no memory.")
        .after_help(
            "Sizes are bytes, or have a unit: 64K, 1M. Times are seconds, or have one: 500ms, 2m, 1h.\n\
             RUST_LOG chooses what is logged in detail, e.g. RUST_LOG=brooklet=debug.\n\n\
             Examples:\n  \
             brooklet                         this folder, at http://127.0.0.1:8080\n  \
             brooklet -b :: -p 80 /srv/www    a folder, at every address of this machine\n  \
             brooklet -p 0 -v ~/Downloads     at any free port, each request in the log\n  \
             brooklet -b 0.0.0.0 film.mkv     one file, for others on the network",
        )
        .disable_help_flag(true)
        .disable_version_flag(true)
        .arg(
            from(Arg::new("ROOT"), "BROOKLET_ROOT")
                .default_value(".")
                .value_parser(value_parser!(PathBuf))
                .help("The folder to serve, or one file, which every address names then"),
        )
        .arg(
            flag("port", "BROOKLET_PORT")
                .short('p')
                .value_name("PORT")
                .value_parser(value_parser!(u16))
                .default_value(defaults.port.to_string())
                .help("The port to listen at; 0: any that is free"),
        )
        .arg(
            flag("bind", "BROOKLET_BIND")
                .short('b')
                .value_name("ADDR")
                .action(ArgAction::Append)
                .value_delimiter(',')
                .value_parser(clap::builder::OsStringValueParser::new().try_map(place))
                .default_value("127.0.0.1")
                .help("An IP address to listen at, or unix:PATH; may be repeated. 0.0.0.0 or ::, to be reached by others"),
        )
        .arg(
            switch("reuse-port", "BROOKLET_REUSE_PORT")
                .help("Lets a new server start beside an old one, at the same addresses, if both are told so"),
        )
        .arg(
            flag("unix-mode", "BROOKLET_UNIX_MODE")
                .value_name("MODE")
                .value_parser(mode)
                .default_value(format!("{:o}", defaults.unix_mode))
                .help("The permissions of Unix sockets, octal: who may write to one may connect"),
        )
        .arg(
            flag("front", "BROOKLET_FRONT")
                .value_name("NAME")
                .value_parser(choice(Front::ALL))
                .default_value("direct")
                .help("What receives the requests; tiny-http: for clients that can be trusted"),
        )
        .arg(
            flag("prefix", "BROOKLET_PREFIX")
                .help_heading(SITE)
                .value_name("PATH")
                .value_parser(|path: &str| Ok::<_, String>(path.trim_matches('/').to_owned()))
                .help("What all addresses begin with, e.g. /docs, behind a proxy that leaves it there"),
        )
        .arg(
            flag("index", "BROOKLET_INDEX")
                .help_heading(SITE)
                .value_name("NAME")
                .action(ArgAction::Append)
                .value_delimiter(',')
                .default_value("index.html")
                .help("A file that stands for its folder; may be repeated, the first one that is there counts"),
        )
        .arg(switch("no-listing", "BROOKLET_NO_LISTING").help_heading(SITE).help("A folder without an index is 404"))
        .arg(switch("hidden", "BROOKLET_HIDDEN").help_heading(SITE).help("Serves and lists dotfiles, too"))
        .arg(
            flag("symlinks", "BROOKLET_SYMLINKS")
                .help_heading(SITE)
                .value_name("WHICH")
                .value_parser(choice(Symlinks::ALL))
                .default_value("inside")
                .help("Symbolic links that are followed; inside: those that lead to what is served anyway"),
        )
        .arg(
            switch("clean-urls", "BROOKLET_CLEAN_URLS")
                .help_heading(SITE)
                .help("Answers /about with about.html, and redirects /about.html to /about"),
        )
        .arg(
            flag("spa", "BROOKLET_SPA")
                .help_heading(SITE)
                .value_name("FILE")
                .num_args(0..=1)
                .require_equals(true)
                .default_missing_value("index.html")
                .help("Sends this file, or index.html, in place of 404 to browsers that go to a page"),
        )
        .arg(
            flag("precompressed", "BROOKLET_PRECOMPRESSED")
                .help_heading(SITE)
                .value_name("CODINGS")
                .action(ArgAction::Append)
                .value_delimiter(',')
                .value_parser(choice(Coding::ALL))
                .help("Sends app.js.br for app.js to who accepts that; what is alike wanted in this order"),
        )
        .arg(
            flag("cache-control", "BROOKLET_CACHE_CONTROL")
                .help_heading(SITE)
                .value_name("VALUE")
                .help("The Cache-Control of files, e.g. max-age=3600"),
        )
        .arg(
            flag("cors", "BROOKLET_CORS")
                .help_heading(SITE)
                .value_name("ORIGIN")
                .num_args(0..=1)
                .require_equals(true)
                .default_missing_value("*")
                .help("Lets pages of this origin, or of all, read what is served"),
        )
        .arg(
            switch("isolate", "BROOKLET_ISOLATE")
                .help_heading(SITE)
                .help("Isolates pages from other origins, as threads of WebAssembly need it (COOP, COEP)"),
        )
        .arg(
            switch("archive", "BROOKLET_ARCHIVE")
                .help_heading(SITE)
                .help("Lets /folder/?archive=tar be the folder as one download, which can be resumed"),
        )
        .arg(
            switch("no-site-files", "BROOKLET_NO_SITE_FILES")
                .help_heading(SITE)
                .help("Takes _headers and _redirects at the root for plain files, not for rules"),
        )
        .arg(
            flag("allow", "BROOKLET_ALLOW")
                .help_heading(SITE)
                .value_name("CIDR")
                .action(ArgAction::Append)
                .value_delimiter(',')
                .value_parser(|text: &str| text.parse::<Network>())
                .help("A network or address whose clients are answered, e.g. 10.0.0.0/8; others get 403; may be repeated"),
        )
        .arg(
            flag("auth", "BROOKLET_AUTH")
                .help_heading(SITE)
                .value_name("FILE")
                .value_parser(value_parser!(PathBuf))
                .help("Asks for a name and a password (HTTP Basic): a file that htpasswd -B made"),
        )
        .arg(
            flag("header", "BROOKLET_HEADER")
                .help_heading(SITE)
                .value_name("FIELD")
                .action(ArgAction::Append)
                .value_delimiter('\n')
                .value_parser(header)
                .help("A field of every answer, e.g. 'X-Robots-Tag: noindex'; may be repeated (variable: a line each)"),
        )
        .arg(
            flag("memory", "BROOKLET_MEMORY")
                .value_name("SIZE")
                .value_parser(size)
                .help("Memory for all of it: workers, buffers, connections and cache are fitted to it, unless they are given"),
        )
        .arg(
            flag("workers", "BROOKLET_WORKERS")
                .value_name("COUNT")
                .value_parser(value_parser!(usize))
                .help("Worker threads, 4 per processor; on tiny-http the transfers at once, 8 per processor"),
        )
        .arg(
            flag("buffer-size", "BROOKLET_BUFFER_SIZE")
                .value_name("SIZE")
                .value_parser(size)
                .help("A copy buffer, 4K to 1M: one for each worker; on tiny-http 16 in all [default: 64K]"),
        )
        .arg(
            flag("send-buffer", "BROOKLET_SEND_BUFFER")
                .help_heading("Of the direct front")
                .value_name("SIZE")
                .value_parser(size)
                .help("What the system may hold of an answer for each client; 0: its own choice, some MiB [default: 512K]"),
        )
        .arg(
            flag("cache", "BROOKLET_CACHE")
                .value_name("SIZE")
                .value_parser(size)
                .help("Memory for small files and open files, compared with the disk for each request; 0: none [default: 1M]"),
        )
        .arg(
            flag("max-connections", "BROOKLET_MAX_CONNECTIONS")
                .help_heading("Of the direct front")
                .value_name("COUNT")
                .value_parser(value_parser!(usize))
                .help(format!("Connections at once [default: {}]", limits::CONNECTIONS)),
        )
        .arg(
            flag("max-connections-per-client", "BROOKLET_MAX_CONNECTIONS_PER_CLIENT")
                .help_heading("Of the direct front")
                .value_name("COUNT")
                .value_parser(value_parser!(usize))
                .default_value(defaults.max_connections_per_client.to_string())
                .help("Connections at once from one address (IPv6: one /64); 0: any number"),
        )
        .arg(
            flag("head-timeout", "BROOKLET_HEAD_TIMEOUT")
                .help_heading("Of the direct front")
                .value_name("TIME")
                .value_parser(time)
                .default_value(seconds(defaults.head_timeout))
                .help("How long the head of a request may take in all"),
        )
        .arg(
            flag("idle-timeout", "BROOKLET_IDLE_TIMEOUT")
                .value_name("TIME")
                .value_parser(time)
                .default_value(seconds(defaults.idle_timeout))
                .help("Closes a connection that says nothing for so long"),
        )
        .arg(
            flag("stall-timeout", "BROOKLET_STALL_TIMEOUT")
                .value_name("TIME")
                .value_parser(time)
                .default_value(seconds(defaults.stall_timeout))
                .help("Ends a transfer whose client takes nothing for so long"),
        )
        .arg(
            flag("min-rate", "BROOKLET_MIN_RATE")
                .help_heading("Of the direct front")
                .value_name("SIZE")
                .value_parser(size)
                .default_value(defaults.min_rate.to_string())
                .help("Ends a transfer whose client takes less in a second, averaged over the stall timeout; 0: none"),
        )
        .arg(
            flag("rate", "BROOKLET_RATE")
                .value_name("SIZE")
                .value_parser(size)
                .default_value("0")
                .help("What a connection is sent in a second at most, 1K or more; 0: any number"),
        )
        .arg(
            flag("rate-total", "BROOKLET_RATE_TOTAL")
                .value_name("SIZE")
                .value_parser(size)
                .default_value("0")
                .help("What all connections together are sent in a second at most, 1K or more; 0: any number"),
        )
        .arg(
            flag("once", "BROOKLET_ONCE")
                .value_name("COUNT")
                .num_args(0..=1)
                .require_equals(true)
                .default_missing_value("1")
                .value_parser(|text: &str| text.parse::<usize>().map_err(|_| "not a number of downloads such as 3"))
                .help("Ends after so many complete downloads of files, or one; what broke off does not count"),
        )
        .arg(
            flag("access-log", "BROOKLET_ACCESS_LOG")
                .value_name("FILE")
                .value_parser(value_parser!(PathBuf))
                .help("A file that gets a line for each request, or - for stdout; opened anew on SIGUSR1"),
        )
        .arg(
            flag("log-format", "BROOKLET_LOG_FORMAT")
                .value_name("FORMAT")
                .value_parser(choice(LogFormat::ALL))
                .default_value("combined")
                .requires("access-log")
                .help("What these lines look like"),
        )
        .arg(
            flag("drain", "BROOKLET_DRAIN")
                .value_name("TIME")
                .value_parser(time)
                .default_value(seconds(defaults.drain))
                .help("How long the end waits for transfers that are in flight"),
        )
        .arg(
            flag("drain-wait", "BROOKLET_DRAIN_WAIT")
                .value_name("TIME")
                .value_parser(time)
                .default_value(seconds(defaults.drain_wait))
                .help("How long it still serves everybody before that, until a load balancer sends nobody any more"),
        )
        .arg(
            flag("user", "BROOKLET_USER")
                .value_name("USER")
                .value_parser(NonEmptyStringValueParser::new())
                .help("Who to become once it listens at its ports, USER or USER:GROUP, names or numbers; for root"),
        )
        .arg(
            switch("no-sandbox", "BROOKLET_NO_SANDBOX")
                .help("Keeps what serving does not need: other files, other connections, capabilities"),
        )
        .arg(
            flag("admin", "BROOKLET_ADMIN")
                .value_name("ADDR:PORT")
                .value_parser(admin)
                .help("Shows what is on its way: a page, /status.json, /metrics, /healthz; a bare port: of 127.0.0.1"),
        )
        .arg(switch("verbose", "BROOKLET_VERBOSE").short('v').help("Logs each request"))
        .arg(switch("quiet", "BROOKLET_QUIET").short('q').help("Logs errors only"))
        .arg(Arg::new("help").short('h').long("help").action(ArgAction::Help).help("Prints this"))
        .arg(Arg::new("version").short('V').long("version").action(ArgAction::Version).help("Prints the version"))
}

/// One of these, by its name.
fn choice<T: Copy + Send + Sync + 'static>(all: &'static [(&'static str, T)]) -> impl TypedValueParser<Value = T> {
    PossibleValuesParser::new(all.iter().map(|(name, _)| *name)).try_map(|name| {
        // Only these names pass.
        all.iter().find(|(known, _)| *known == name).map(|(_, value)| *value).ok_or("no choice")
    })
}

/// Every flag has a value, but for those whose default depends on another one.
fn config(matches: &ArgMatches) -> Config {
    let mut config = Config::default();
    fn set<T: Clone + Send + Sync + 'static>(matches: &ArgMatches, name: &str, place: &mut T) {
        if let Some(value) = matches.get_one::<T>(name) {
            *place = value.clone();
        }
    }
    set(matches, "ROOT", &mut config.root);
    set(matches, "port", &mut config.port);
    set(matches, "front", &mut config.front);
    for (name, place) in [
        ("memory", &mut config.memory),
        ("workers", &mut config.workers),
        ("buffer-size", &mut config.buffer_size),
        ("send-buffer", &mut config.send_buffer),
        ("cache", &mut config.cache),
        ("max-connections", &mut config.max_connections),
    ] {
        *place = matches.get_one(name).copied();
    }
    set(matches, "max-connections-per-client", &mut config.max_connections_per_client);
    set(matches, "head-timeout", &mut config.head_timeout);
    set(matches, "idle-timeout", &mut config.idle_timeout);
    set(matches, "stall-timeout", &mut config.stall_timeout);
    for (name, place) in
        [("min-rate", &mut config.min_rate), ("rate", &mut config.rate), ("rate-total", &mut config.rate_total)]
    {
        *place = matches.get_one::<usize>(name).map_or(*place, |rate| *rate as u64);
    }
    config.admin = matches.get_one("admin").copied();
    config.once = matches.get_one("once").copied();
    config.auth = matches.get_one("auth").cloned();
    config.access_log = matches.get_one("access-log").cloned();
    set(matches, "log-format", &mut config.log_format);
    let rules = &mut config.rules;
    rules.prefix = matches.get_one("prefix").cloned();
    rules.index = matches.get_many::<String>("index").unwrap_or_default().cloned().collect();
    rules.listing = !matches.get_flag("no-listing");
    rules.hidden = matches.get_flag("hidden");
    set(matches, "symlinks", &mut rules.symlinks);
    rules.clean_urls = matches.get_flag("clean-urls");
    rules.spa = matches.get_one("spa").cloned();
    rules.precompressed = matches.get_many("precompressed").unwrap_or_default().copied().collect();
    rules.cache_control = matches.get_one("cache-control").cloned();
    rules.cors = matches.get_one("cors").cloned();
    rules.isolate = matches.get_flag("isolate");
    rules.archive = matches.get_flag("archive");
    rules.site_files = !matches.get_flag("no-site-files");
    rules.allow = matches.get_many("allow").unwrap_or_default().copied().collect();
    rules.headers = matches.get_many("header").unwrap_or_default().cloned().collect();
    config.reuse_port = matches.get_flag("reuse-port");
    set(matches, "unix-mode", &mut config.unix_mode);
    set(matches, "drain", &mut config.drain);
    set(matches, "drain-wait", &mut config.drain_wait);
    config.bind = matches.get_many::<Listen>("bind").unwrap_or_default().cloned().collect();
    config
}

fn process(matches: &ArgMatches) -> Process {
    let (user, sandbox) = (matches.get_one("user").cloned(), !matches.get_flag("no-sandbox"));
    Process { level: level(matches), user, sandbox }
}

/// What is typed counts before what is in the environment, and of what is typed the last.
fn level(matches: &ArgMatches) -> LevelFilter {
    let place = |name: &str| {
        let typed = matches.value_source(name) == Some(ValueSource::CommandLine);
        matches.get_flag(name).then(|| matches.index_of(name).filter(|_| typed))
    };
    match (place("verbose"), place("quiet")) {
        (None, None) => LevelFilter::Info,
        (verbose, quiet) if verbose >= quiet => LevelFilter::Debug,
        _ => LevelFilter::Error,
    }
}

fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or("not a field such as 'X-Robots-Tag: noindex'")?;
    Ok((name.into(), value.trim_ascii().into()))
}

fn place(text: OsString) -> Result<Listen, String> {
    if let Some(path) = text.as_bytes().strip_prefix(b"unix:") {
        return Ok(Listen::Unix(OsStr::from_bytes(path).into()));
    }
    let text = text.to_string_lossy();
    let inner = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(&text);
    let address: Result<IpAddr, _> = inner.parse();
    address.map(Listen::Ip).map_err(|_| "not an IP address such as 127.0.0.1 or ::1, nor unix:PATH".into())
}

fn mode(text: &str) -> Result<u32, String> {
    let digits = Some(text).filter(|text| text.bytes().all(|b| b.is_ascii_digit()));
    digits
        .and_then(|digits| u32::from_str_radix(digits, 8).ok())
        .ok_or_else(|| "no octal permissions such as 660".into())
}

/// An address with its port, or a port of this machine alone.
fn admin(text: &str) -> Result<SocketAddr, String> {
    let port = text.strip_prefix(':').unwrap_or(text).parse().map(|port| (Ipv4Addr::LOCALHOST, port).into());
    port.or_else(|_| text.parse())
        .map_err(|_| "not a port such as 9100, nor an address with one such as [::1]:9100".into())
}

fn size(text: &str) -> Result<usize, String> {
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

fn time(text: &str) -> Result<Duration, String> {
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

/// A message as one line: names of files and what clients say end no line, command no terminal and turn no text around.
pub fn harmless(message: &str) -> String {
    let plain = |c: char| {
        !c.is_control() && !matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    message.chars().fold(String::with_capacity(message.len()), |mut line, c| {
        if plain(c) {
            line.push(c)
        } else {
            line.extend(c.escape_default())
        }
        line
    })
}

/// The error without the usage and the tips that follow it, and without the word that begins it.
fn one_line(text: &str) -> String {
    let paragraph = text.split("\n\n").next().unwrap_or_default();
    let line = paragraph.split_whitespace().collect::<Vec<_>>().join(" ");
    format!("{} (--help tells more)", line.strip_prefix("error: ").unwrap_or(&line))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::Rules;

    fn call(arguments: &[&str]) -> Result<Call, String> {
        parse(std::iter::once("brooklet").chain(arguments.iter().copied()).map(OsString::from))
    }

    fn served(arguments: &[&str]) -> Config {
        match call(arguments) {
            Ok(Call::Serve(config, _)) => config,
            other => panic!("{arguments:?}: {other:?}"),
        }
    }

    #[test]
    fn the_table_of_flags_is_sound() {
        command().debug_assert();
        for argument in command().get_arguments().filter(|a| !matches!(a.get_id().as_str(), "help" | "version")) {
            let name = argument.get_id().as_str().to_ascii_uppercase().replace('-', "_");
            assert_eq!(argument.get_env().and_then(|v| v.to_str()), Some(format!("BROOKLET_{name}").as_str()));
            assert!(argument.get_help().is_some());
        }
    }

    #[test]
    fn flags_become_a_config() {
        assert_eq!(served(&[]), Config::default());
        let all = [
            "-p",
            "0",
            "-b",
            "::1",
            "--bind",
            "[::]",
            "-b",
            "10.0.0.1,10.0.0.2",
            "--front",
            "tiny-http",
            "--workers",
            "3",
            "--memory",
            "1g",
        ];
        let more = ["--buffer-size", "8k", "--idle-timeout", "1500ms", "--stall-timeout", "2m", "x y"];
        let bounds =
            ["--cache", "0", "--max-connections", "5", "--max-connections-per-client", "2", "--head-timeout", "3"];
        let stop = ["--reuse-port", "--drain", "1m", "--drain-wait", "5500ms"];
        let rate = ["--min-rate", "1k", "--send-buffer", "1m", "--rate", "2k", "--rate-total", "1m"];
        let pages = ["--index", "a.html,b.html", "--index", "c", "--no-listing", "--hidden", "--symlinks", "never"];
        let more_pages = [
            "--prefix",
            "/my/docs/",
            "--clean-urls",
            "--spa",
            "--cors",
            "--isolate",
            "--archive",
            "--no-site-files",
            "--allow",
            "10.0.0.0/8,::1",
            "--allow",
            "192.0.2.1",
            "--auth",
            "/etc/brooklet users",
            "--access-log",
            "/var/log/brooklet log",
            "--log-format",
            "json",
            "--precompressed",
            "br,gzip",
            "--cache-control",
            "no-cache",
            "--header",
            "X-A: b:c",
            "--header",
            "D:e",
        ];
        let pages = [&pages[..], &more_pages[..]].concat();
        let expected = Config {
            root: "x y".into(),
            bind: ["::1", "::", "10.0.0.1", "10.0.0.2"].map(|ip| Listen::Ip(ip.parse().unwrap())).to_vec(),
            port: 0,
            reuse_port: true,
            drain: Duration::from_secs(60),
            drain_wait: Duration::from_millis(5500),
            front: Front::TinyHttp,
            workers: Some(3),
            memory: Some(1 << 30),
            buffer_size: Some(8192),
            send_buffer: Some(1 << 20),
            cache: Some(0),
            max_connections: Some(5),
            max_connections_per_client: 2,
            head_timeout: Duration::from_secs(3),
            min_rate: 1024,
            rate: 2048,
            rate_total: 1 << 20,
            idle_timeout: Duration::from_millis(1500),
            stall_timeout: Duration::from_secs(120),
            auth: Some("/etc/brooklet users".into()),
            access_log: Some("/var/log/brooklet log".into()),
            log_format: LogFormat::Json,
            rules: Rules {
                prefix: Some("my/docs".into()),
                index: ["a.html", "b.html", "c"].map(String::from).to_vec(),
                listing: false,
                hidden: true,
                symlinks: Symlinks::Never,
                clean_urls: true,
                spa: Some("index.html".into()),
                precompressed: vec![Coding::Brotli, Coding::Gzip],
                cache_control: Some("no-cache".into()),
                cors: Some("*".into()),
                isolate: true,
                archive: true,
                site_files: false,
                allow: ["10.0.0.0/8", "::1", "192.0.2.1"].map(|network| network.parse().unwrap()).to_vec(),
                headers: [("X-A", "b:c"), ("D", "e")].map(|(name, value)| (name.into(), value.into())).to_vec(),
            },
            ..Config::default()
        };
        assert_eq!(served(&["--spa=app/page.html"]).rules.spa.as_deref(), Some("app/page.html"));
        assert_eq!(served(&[&all[..], &more[..], &bounds[..], &stop[..], &rate[..], &pages[..]].concat()), expected);
        let unix = served(&["-b", "::1,unix:/run/my brooklet.sock", "--unix-mode", "0600"]);
        let places = vec![Listen::Ip("::1".parse().unwrap()), Listen::Unix("/run/my brooklet.sock".into())];
        assert_eq!((unix.bind, unix.unix_mode), (places, 0o600));
        for (flags, expected) in [
            (&["-v"][..], LevelFilter::Debug),
            (&["-q"], LevelFilter::Error),
            (&["-v", "-q"], LevelFilter::Error),
            (&["-q", "-v", "-v"], LevelFilter::Debug),
            (&[], LevelFilter::Info),
        ] {
            assert!(matches!(call(flags), Ok(Call::Serve(_, process)) if process.level == expected), "{flags:?}");
        }
    }

    #[test]
    fn what_cannot_work_is_said_in_one_line() {
        for (arguments, word) in [
            (&["--port", "99999"][..], "--port"),
            (&["--port", "http"], "--port"),
            (&["-b", "localhost"], "IP address"),
            (&["-b", "unix:"], "no name"),
            (&["-b", "unix:a", "--front", "tiny-http"], "direct"),
            (&["--unix-mode", "rw"], "octal"),
            (&["--unix-mode", "1000"], "777"),
            (&["--unix-mode", "+7"], "octal"),
            (&["--drain", "soon"], "time"),
            (&["--drain-wait", "25h"], "time"),
            (&["--front", "apache"], "tiny-http"),
            (&["--workers", "0"], "workers"),
            (&["--workers", "-1"], "-1"),
            (&["--buffer-size", "1K"], "buffer"),
            (&["--buffer-size", "2M"], "buffer"),
            (&["--buffer-size", "64X"], "64X"),
            (&["--buffer-size", "99999999999999999999M"], "size"),
            (&["--cache", "2G"], "cache"),
            (&["--memory", "1M"], "memory"),
            (&["--memory", "much"], "size"),
            (&["--max-connections", "0"], "connections"),
            (&["--head-timeout", "0"], "head"),
            (&["--min-rate", "fast"], "size"),
            (&["--rate", "1"], "rate"),
            (&["--rate-total", "1023"], "rate"),
            (&["--admin", "x"], "[::1]:9100"),
            (&["--admin", "localhost:1"], "[::1]:9100"),
            (&["--admin", "65536"], "[::1]:9100"),
            (&["--admin", "8080"], "admin"),
            (&["--once=0"], "once"),
            (&["--once=x"], "once"),
            (&["--idle-timeout", "0"], "idle"),
            (&["--stall-timeout", "forever"], "time"),
            (&["--stall-timeout", "25h"], "time"),
            (&["a", "b"], "b"),
            (&["--symlinks", "some"], "inside"),
            (&["--prefix", "/"], "prefix"),
            (&["--index", "a/b"], "a/b"),
            (&["--spa=../a"], "../a"),
            (&["--cache-control", ""], "value"),
            (&["--precompressed", "lzma"], "zstd"),
            (&["--cors=example.org"], "origin"),
            (&["--header", "X"], "X-Robots-Tag"),
            (&["--header", "Content-Length: 5"], "Content-Length"),
            (&["--allow", "localhost"], "10.0.0.0/8"),
            (&["--allow", "10.0.0.0/8,"], "--allow"),
            (&["--allow", "10.1.2.3/8"], "10.0.0.0/8"),
            (&["--allow", ""], "--allow"),
            (&["--auth"], "--auth"),
            (&["--auth", ""], "--auth"),
            (&["--access-log", ""], "--access-log"),
            (&["--access-log"], "--access-log"),
            (&["--log-format", "common"], "combined"),
            (&["--user"], "--user"),
            (&["--user", ""], "--user"),
            (&["--no-sandbox=1"], "--no-sandbox"),
            (&["--nonsense"], "--nonsense"),
        ] {
            let error = call(arguments).map(|_| ()).unwrap_err();
            assert!(
                error.contains(word) && !error.contains('\n') && !error.starts_with("error"),
                "{arguments:?}: {error}"
            );
        }
    }

    #[test]
    fn a_message_is_one_line_and_commands_nothing() {
        assert_eq!(harmless("/srv/caf\u{e9} \"a\\b\": no"), "/srv/caf\u{e9} \"a\\b\": no");
        assert_eq!(harmless("a\r\nb\t\u{1b}[2J\u{9b}\u{202e}"), "a\\r\\nb\\t\\u{1b}[2J\\u{9b}\\u{202e}");
    }

    #[test]
    fn the_process_gives_up_what_it_can_unless_told_otherwise() {
        let process = |arguments: &[&str]| match call(arguments) {
            Ok(Call::Serve(_, process)) => (process.user, process.sandbox),
            other => panic!("{other:?}"),
        };
        assert_eq!(process(&[]), (None, true));
        assert_eq!(
            process(&["--no-sandbox", "--user", "www-data:www-data"]),
            (Some("www-data:www-data".into()), false)
        );
    }

    #[test]
    fn help_and_version_are_printed() {
        for (flag, text) in [
            ("--help", "Usage: brooklet [OPTIONS] [ROOT]"),
            ("-h", "--buffer-size"),
            ("--version", env!("CARGO_PKG_VERSION")),
        ] {
            assert!(matches!(call(&[flag]), Ok(Call::Print(printed)) if printed.contains(text)), "{flag}");
        }
    }
}
