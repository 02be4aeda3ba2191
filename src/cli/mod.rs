//! The command line: one table of flags, from which help, man page and completions are made, and the way from it
//! to a [`Config`].

mod help;
mod table;
mod values;

use std::ffi::OsString;
use std::io::ErrorKind as Io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use clap::ArgMatches;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use log::LevelFilter;

pub use self::table::{EXAMPLES, NOTES, command};
use crate::config::{Config, Listen};
use crate::server::Error;

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
    /// Whether to show the address on the network as a QR code.
    pub qr: bool,
    /// Whether to open the address in a browser.
    pub open: bool,
    /// What to write instead, if ROOT looks as if it was meant for an option.
    pub hint: Option<String>,
}

/// Reads the command line and the environment.
///
/// # Errors
/// Why it cannot work, in one line.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Call, String> {
    let arguments: Vec<_> = arguments.into_iter().collect();
    match command().try_get_matches_from(&arguments) {
        Ok(matches) => {
            let config = config(&matches);
            config.validate()?;
            let hint = without_equals(&arguments).filter(|(value, _)| *value == config.root).map(|(_, hint)| hint);
            Ok(Call::Serve(config, Process { hint, ..process(&matches) }))
        }
        Err(error) if error.kind() == ErrorKind::DisplayHelp => Ok(Call::Print(help::help(&command()))),
        Err(error) if error.kind() == ErrorKind::DisplayVersion => Ok(Call::Print(error.to_string())),
        Err(error) => Err(one_line(&error, &arguments)),
    }
}

/// What can be done about a server that cannot start, where that is not plain.
pub fn advice(error: &Error, config: &Config, process: &Process) -> Option<String> {
    match error {
        Error::Root(..) => process.hint.clone(),
        Error::Bind(address, error) => match error.kind() {
            Io::PermissionDenied if address.port() < 1024 => Some(
                "a port below 1024 needs root (with --user, which gives that up), CAP_NET_BIND_SERVICE, or a socket of \
                 systemd; -p 8080 needs none of them"
                    .into(),
            ),
            Io::AddrInUse if config.admin == Some(*address) => Some("--admin takes another port, too".into()),
            Io::AddrInUse => Some("-p takes another port, -p 0 any free one".into()),
            Io::AddrNotAvailable => Some("it is no address of this machine".into()),
            _ => None,
        },
        _ => None,
    }
}

/// A value that was meant for an option which takes one with `=` alone, and is ROOT so; and what to write instead.
fn without_equals(arguments: &[OsString]) -> Option<(&Path, String)> {
    let options = arguments.iter().skip(1).take_while(|argument| *argument != "--");
    let pairs = options.clone().zip(options.skip(1));
    pairs.into_iter().find_map(|(option, value)| {
        let option = option.to_str().filter(|option| matches!(*option, "--spa" | "--cors" | "--once"))?;
        let plain = !value.as_bytes().starts_with(b"-");
        let hint = || format!("{option} takes its value with =: {option}={}", value.to_string_lossy());
        plain.then(|| (Path::new(value), hint()))
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
    rules.prefix = matches.get_one("prefix").filter(|prefix: &&String| !prefix.is_empty()).cloned();
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
    let headers = matches.get_many::<(String, String)>("header").unwrap_or_default().cloned();
    rules.headers = headers.filter(|(name, value)| !(name.is_empty() && value.is_empty())).collect();
    config.reuse_port = matches.get_flag("reuse-port");
    set(matches, "unix-mode", &mut config.unix_mode);
    set(matches, "drain", &mut config.drain);
    set(matches, "drain-wait", &mut config.drain_wait);
    config.bind = matches.get_many::<Listen>("bind").unwrap_or_default().cloned().collect();
    config
}

fn process(matches: &ArgMatches) -> Process {
    let (user, sandbox) = (matches.get_one("user").cloned(), !matches.get_flag("no-sandbox"));
    let (qr, open) = (matches.get_flag("qr"), matches.get_flag("open"));
    Process { level: level(matches), user, sandbox, qr, open, hint: None }
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

/// The error without the usage that follows it and without the word that begins it, and what may have been meant.
fn one_line(error: &clap::Error, arguments: &[OsString]) -> String {
    let text = error.to_string();
    let paragraph = text.split("\n\n").next().unwrap_or_default();
    let line = paragraph.split_whitespace().collect::<Vec<_>>().join(" ");
    let similar = |kind| match error.get(kind) {
        Some(ContextValue::String(name)) => Some(name.clone()),
        Some(ContextValue::Strings(names)) => names.first().cloned(),
        _ => None,
    };
    let misplaced = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(name)) if !name.starts_with('-') => without_equals(arguments).map(|(_, hint)| hint),
        _ => None,
    };
    let similar = similar(ContextKind::SuggestedArg).or_else(|| similar(ContextKind::SuggestedValue));
    let meant = similar.map(|name| format!("did you mean {name}?")).or(misplaced);
    let meant = meant.map(|meant| format!("; {meant}")).unwrap_or_default();
    let variable = variable(error, arguments).map(|name| format!("{name}: ")).unwrap_or_default();
    format!("{variable}{}{meant} (--help tells more)", line.strip_prefix("error: ").unwrap_or(&line))
}

/// The variable that a wrong value comes from, if nobody typed its option.
fn variable(error: &clap::Error, arguments: &[OsString]) -> Option<String> {
    let Some(ContextValue::String(argument)) = error.get(ContextKind::InvalidArg) else { return None };
    let long = argument.split([' ', '=', '[']).next().filter(|name| name.starts_with("--"))?;
    let command = command();
    let option = command.get_arguments().find(|option| option.get_long() == long.strip_prefix("--"))?;
    let short = option.get_short().map(|short| format!("-{short}"));
    let typed =
        |text: &str| text.starts_with(long) || short.as_ref().is_some_and(|short| text.starts_with(short.as_str()));
    let name = option.get_env()?.to_str()?;
    (std::env::var_os(name).is_some() && !arguments.iter().any(|text| typed(&text.to_string_lossy())))
        .then(|| name.into())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::{Front, LogFormat};
    use crate::rules::{Coding, Rules, Symlinks};

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
            assert!(argument.get_help().is_some() && argument.get_help_heading().is_some(), "{name}");
        }
    }

    #[test]
    fn help_has_every_flag_in_80_columns() {
        let text = help::help(&command());
        for line in text.lines() {
            assert!(line.chars().count() <= 80 && line.trim_end() == line, "{line}");
        }
        for argument in command().get_arguments().filter_map(|argument| argument.get_long()) {
            let begins = |line: &str| {
                let rest = line.split_once(&format!("--{argument}")).filter(|(before, _)| before.len() == 6);
                rest.is_some_and(|(_, rest)| rest.is_empty() || rest.starts_with([' ', '[']))
            };
            assert_eq!(text.lines().filter(|line| begins(line)).count(), 1, "{argument}");
        }
        for words in
            ["--spa[=FILE] ", "[inside, never, follow]", "[default: 8080]", "BROOKLET_ROOT", "\nLimits and memory:\n"]
        {
            assert!(text.contains(words), "{words}");
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
            (&["-b", ":80"], ": -p 80 "),
            (&["-b", "127.0.0.1:80"], "-b 127.0.0.1 -p 80"),
            (&["-b", "[::1]:80"], "-b [::1] -p 80"),
            (&["-b", "localhost:80"], "-b 127.0.0.1 -p 80"),
            (&["-b", "*:80"], "-b 0.0.0.0 -p 80"),
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
            (&["--admin", "localhost"], "[::1]:9100"),
            (&["--admin", "65536"], "[::1]:9100"),
            (&["--once=0"], "once"),
            (&["--once=x"], "once"),
            (&["--idle-timeout", "0"], "idle"),
            (&["--stall-timeout", "forever"], "time"),
            (&["--stall-timeout", "25h"], "time"),
            (&["a", "b"], "b"),
            (&["--symlinks", "some"], "inside"),
            (&["--prefix", "a//b"], "prefix"),
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
            (&["--lsiting"], "did you mean --no-listing?"),
            (&["--max-conections", "3"], "did you mean --max-connections?"),
            (&["--front", "tiny-htp"], "did you mean tiny-http?"),
            (&["--once", "3", "/srv"], "--once=3"),
            (&["--port", "80", "--port", "http"], "http"),
            (&["--open=1"], "--open"),
            (&["--qr=1"], "--qr"),
            (&["--memory", "2M", "--max-connections", "9999"], "with a lower max-connections"),
            (&["--memory", "2M", "--cache", "9M", "--archive"], "with a lower cache, or without archive"),
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
        let shown = |arguments: &[&str]| match call(arguments) {
            Ok(Call::Serve(_, process)) => (process.qr, process.open),
            other => panic!("{other:?}"),
        };
        assert_eq!([shown(&[]), shown(&["--qr"]), shown(&["--open"])], [(false, false), (true, false), (false, true)]);
        assert_eq!(process(&[]), (None, true));
        assert_eq!(
            process(&["--no-sandbox", "--user", "www-data:www-data"]),
            (Some("www-data:www-data".into()), false)
        );
    }

    #[test]
    fn who_repeats_an_option_means_the_last() {
        assert_eq!(served(&["-p", "80", "--port", "81"]).port, 81);
        assert_eq!(served(&["--spa", "--spa=a", "--once=2", "--once"]).rules.spa.as_deref(), Some("a"));
        assert!(served(&["--hidden", "--hidden"]).rules.hidden);
    }

    #[test]
    fn what_stands_for_nothing_or_this_machine_is_known() {
        assert_eq!(served(&["--prefix", "/"]), Config::default());
        for (text, address) in
            [("9100", "127.0.0.1:9100"), (":9100", "127.0.0.1:9100"), ("localhost:9100", "127.0.0.1:9100")]
        {
            assert_eq!(served(&["--admin", text]).admin, Some(address.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn who_cannot_start_is_told_what_could_be_done() {
        let process = |arguments: &[&str]| match call(arguments) {
            Ok(Call::Serve(config, process)) => (config, process),
            other => panic!("{other:?}"),
        };
        let bind = |port: u16, kind: Io| Error::Bind(([127, 0, 0, 1], port).into(), kind.into());
        for (name, arguments, error, words) in [
            ("a page", &["--spa", "app.html"][..], None, Some("--spa=app.html")),
            ("an origin", &["-v", "--cors", "https://a"], None, Some("--cors=https://a")),
            ("a count", &["--once", "3"], None, Some("--once=3")),
            ("what is no mistake", &["--once=3", "3"], None, None),
            ("a folder by its place", &["--once", "--", "3"], None, None),
            ("another root", &["--once", "-v", "3"], None, None),
            ("a low port", &[], Some(bind(80, Io::PermissionDenied)), Some("CAP_NET_BIND_SERVICE")),
            ("a high port", &[], Some(bind(8080, Io::PermissionDenied)), None),
            ("a port in use", &[], Some(bind(80, Io::AddrInUse)), Some("-p 0")),
            ("that of the admin", &["--admin", "80"], Some(bind(80, Io::AddrInUse)), Some("--admin takes")),
            ("a foreign address", &[], Some(bind(80, Io::AddrNotAvailable)), Some("no address of this machine")),
        ] {
            let (config, process) = process(arguments);
            let error = error.unwrap_or(Error::Root(config.root.clone(), Io::NotFound.into()));
            match (advice(&error, &config, &process), words) {
                (Some(advice), Some(words)) => {
                    assert!(advice.contains(words) && !advice.contains('\n'), "{name}: {advice}")
                }
                (advice, words) => assert_eq!(advice.as_deref(), words, "{name}"),
            }
        }
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
