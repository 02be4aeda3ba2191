//! The table of options: help, man page and completions are made from it.

use std::path::PathBuf;

use clap::builder::{
    BoolishValueParser, NonEmptyStringValueParser, OsStringValueParser, TypedValueParser, ValueParser,
};
use clap::{Arg, ArgAction, Command, value_parser};

use super::values::{admin, choice, downloads, header, mode, place, prefix, size, time};
use crate::config::{Front, LogFormat};
use crate::network::Network;
use crate::rules::{Coding, Symlinks};

/// What somebody may want first, and the command for it.
pub const EXAMPLES: &[(&str, &str)] = &[
    ("brooklet", "this folder, at http://127.0.0.1:8080"),
    ("brooklet -b 0.0.0.0 --qr film.mkv", "one file, for a phone on the network"),
    ("brooklet --once -b 0.0.0.0 a.zip", "one file, until somebody has it"),
    ("brooklet --spa --open dist", "an application, in the browser"),
    ("brooklet -b :: -p 80 --user www-data /srv", "a web server, started by root"),
    ("brooklet --memory 16M --admin 9100 /srv", "in 16 MiB of memory, with metrics"),
];

/// What holds for all options.
pub const NOTES: &[&str] = &[
    "SIZE is in bytes, or has a unit: 64K, 1M, 1G. TIME is in seconds, or has a unit: 500ms, 2m, 1h.",
    "An option that is given twice counts as it is given last, unless its text says that it may be repeated.",
    "Every option can be set by a variable, too: --max-connections by BROOKLET_MAX_CONNECTIONS, ROOT by \
     BROOKLET_ROOT, a switch by 1 or 0. The command line wins. An empty variable counts as unset.",
    "RUST_LOG selects log messages by module, e.g. RUST_LOG=brooklet=debug. NO_COLOR turns colors off.",
];

/// All options, in the order of the help, each beneath its heading.
const TABLE: &[(&str, &[Row])] = &[
    (
        "What is served",
        &[
            one(ROOT, ROOT, PATH, "Folder to serve, or a single file, which is then served at every path").default("."),
            many("index", "NAME", ',', TEXT, "Index file of a folder. May be repeated: the first that exists is used")
                .default("index.html"),
            switch("no-listing", "Answer 404 for a folder without an index file, instead of listing it"),
            switch("hidden", "Serve and list dotfiles"),
            one(
                "symlinks",
                "WHICH",
                || ValueParser::new(choice(Symlinks::ALL)),
                "Symbolic links to follow: those that stay beneath ROOT, none, or all",
            )
            .default("inside"),
            one(
                "prefix",
                "PATH",
                || ValueParser::new(prefix),
                "Serve beneath this URL path, e.g. /docs, for a proxy that does not strip it",
            ),
            switch("archive", "Offer each folder as a tar file, at /folder/?archive=tar"),
        ],
    ),
    (
        "Web pages and applications",
        &[
            switch("clean-urls", "Serve about.html at /about, and redirect /about.html there"),
            behind(
                "spa",
                "FILE",
                "index.html",
                TEXT,
                "Single-page application: send FILE, or index.html, instead of 404 when a browser asks for a page. \
                 FILE needs the =",
            ),
            many(
                "precompressed",
                "CODINGS",
                ',',
                || ValueParser::new(choice(Coding::ALL)),
                "Send app.js.br, .zst or .gz in place of app.js to clients that accept it. Separated by commas, \
                 preferred first. May be repeated",
            ),
            switch("no-site-files", "Treat _headers and _redirects in ROOT as plain files, not as rules"),
        ],
    ),
    (
        "Response headers",
        &[
            one("cache-control", "VALUE", TEXT, "Cache-Control of files, e.g. max-age=3600"),
            behind(
                "cors",
                "ORIGIN",
                "*",
                TEXT,
                "Let pages of ORIGIN, or of any origin, read what is served. ORIGIN needs the =",
            ),
            switch("isolate", "Cross-origin isolation (COOP, COEP), which WebAssembly threads need"),
            many(
                "header",
                "FIELD",
                '\n',
                || ValueParser::new(header),
                "Header of every response, e.g. 'X-Robots-Tag: noindex'. May be repeated; the variable has one in \
                 each line",
            ),
        ],
    ),
    (
        "Access",
        &[
            many(
                "allow",
                "CIDR",
                ',',
                || ValueParser::new(|text: &str| text.parse::<Network>()),
                "Network or address to allow, e.g. 10.0.0.0/8; all others get 403. May be repeated",
            ),
            one("auth", "FILE", PATH, "Ask for name and password (HTTP Basic), from a file made by htpasswd -B"),
        ],
    ),
    (
        "Where it listens",
        &[
            one("port", "PORT", || value_parser!(u16).into(), "Port to listen on; 0 for any free one")
                .short('p')
                .default("8080"),
            many(
                "bind",
                "ADDR",
                ',',
                || ValueParser::new(OsStringValueParser::new().try_map(place)),
                "IP address to listen on, or unix:PATH for a Unix socket. 0.0.0.0 or :: lets other machines \
                 connect. May be repeated",
            )
            .short('b')
            .default("127.0.0.1"),
            one("unix-mode", "MODE", || ValueParser::new(mode), "Permissions of Unix sockets, octal").default("660"),
            one(
                "front",
                "NAME",
                || ValueParser::new(choice(Front::ALL)),
                "Server core; tiny-http is for trusted clients only, and ignores options marked (direct)",
            )
            .default("direct"),
            switch("open", "Open the address in a browser: that of BROWSER, or the default one"),
            switch("qr", "Show the network address as a QR code, for a phone"),
        ],
    ),
    (
        "Limits and memory",
        &[
            one(
                "memory",
                "SIZE",
                SIZE,
                "Memory budget: whatever else is not set in this group is fitted to it [default: none]",
            ),
            one("workers", "COUNT", COUNT, "Worker threads [default: 4 per CPU; tiny-http: 8 per CPU]"),
            one("buffer-size", "SIZE", SIZE, "Copy buffer of a worker, 4K to 1M [default: 64K]"),
            one(
                "send-buffer",
                "SIZE",
                SIZE,
                "Socket send buffer of a client (direct); 0 lets the system choose [default: 512K]",
            ),
            one("cache", "SIZE", SIZE, "Cache of small files and open files; 0 for none [default: 1M]"),
            one("max-connections", "COUNT", COUNT, "Connections at once (direct) [default: 10000]"),
            one(
                "max-connections-per-client",
                "COUNT",
                COUNT,
                "Connections at once from one IPv4 address or IPv6 /64 (direct); 0 for no limit",
            )
            .default("0"),
        ],
    ),
    (
        "Timeouts and rates",
        &[
            one("head-timeout", "TIME", TIME, "Time to receive a request head (direct)").default("10s"),
            one("idle-timeout", "TIME", TIME, "Close a connection that is silent for so long").default("60s"),
            one("stall-timeout", "TIME", TIME, "End a transfer whose client takes nothing for so long").default("30s"),
            one(
                "min-rate",
                "SIZE",
                SIZE,
                "End a transfer whose client takes fewer bytes per second, averaged over the stall timeout \
                 (direct); 0 for no limit",
            )
            .default("256"),
            one("rate", "SIZE", SIZE, "Bytes per second for each connection, 1K or more; 0 for no limit").default("0"),
            one(
                "rate-total",
                "SIZE",
                SIZE,
                "Bytes per second for all connections together, shared evenly; 0 for no limit",
            )
            .default("0"),
        ],
    ),
    (
        "Log and monitoring",
        &[
            switch("verbose", "Log every request on stderr").short('v'),
            switch("quiet", "Log errors only. The last of -v and -q counts").short('q'),
            one(
                "access-log",
                "FILE",
                PATH,
                "Write a line for each request to FILE, or to stdout if it is -. SIGUSR1 reopens it",
            ),
            one("log-format", "FORMAT", || ValueParser::new(choice(LogFormat::ALL)), "Format of the access log")
                .default("combined")
                .requires("access-log"),
            one(
                "admin",
                "ADDR:PORT",
                || ValueParser::new(admin),
                "Status page, /status.json, /metrics (Prometheus) and /healthz. A port alone listens on 127.0.0.1",
            ),
        ],
    ),
    (
        "Stop and restart",
        &[
            behind(
                "once",
                "COUNT",
                "1",
                || ValueParser::new(downloads),
                "Stop after COUNT complete downloads, or one. COUNT needs the =",
            ),
            one("drain", "TIME", TIME, "Time to finish transfers when it stops (SIGTERM, Ctrl-C)").default("30s"),
            one("drain-wait", "TIME", TIME, "Time to go on serving before that, until a load balancer has noticed")
                .default("0s"),
            switch(
                "reuse-port",
                "Share the port with another brooklet that has this option, for a restart without a gap",
            ),
        ],
    ),
    (
        "Privileges",
        &[
            one(
                "user",
                "USER[:GROUP]",
                || NonEmptyStringValueParser::new().into(),
                "User to become once it listens; needs root. Names or numbers",
            ),
            switch("no-sandbox", "Keep access to other files, connections and capabilities"),
        ],
    ),
];

/// An option, as plain data. Its variable has its name: `BROOKLET_MAX_CONNECTIONS`.
struct Row {
    name: &'static str,
    short: Option<char>,
    value: Value,
    default: Option<&'static str>,
    requires: Option<&'static str>,
    help: &'static str,
}

/// What an option takes; the name of that in the help, and what makes it of the text.
enum Value {
    Nothing,
    One(&'static str, Parser),
    /// Several, also in one, with this between them.
    Many(&'static str, char, Parser),
    /// One, but only with `=`; and what it is without.
    Behind(&'static str, &'static str, Parser),
}

type Parser = fn() -> ValueParser;

const TEXT: Parser = || value_parser!(String);
const PATH: Parser = || value_parser!(PathBuf);
const COUNT: Parser = || value_parser!(usize).into();
const SIZE: Parser = || ValueParser::new(size);
const TIME: Parser = || ValueParser::new(time);

const fn row(name: &'static str, value: Value, help: &'static str) -> Row {
    Row { name, short: None, value, default: None, requires: None, help }
}

const fn switch(name: &'static str, help: &'static str) -> Row {
    row(name, Value::Nothing, help)
}

const fn one(name: &'static str, value: &'static str, parser: Parser, help: &'static str) -> Row {
    row(name, Value::One(value, parser), help)
}

const fn many(name: &'static str, value: &'static str, delimiter: char, parser: Parser, help: &'static str) -> Row {
    row(name, Value::Many(value, delimiter, parser), help)
}

const fn behind(
    name: &'static str,
    value: &'static str,
    without: &'static str,
    parser: Parser,
    help: &'static str,
) -> Row {
    row(name, Value::Behind(value, without, parser), help)
}

impl Row {
    const fn short(self, short: char) -> Self {
        Self { short: Some(short), ..self }
    }

    const fn default(self, value: &'static str) -> Self {
        Self { default: Some(value), ..self }
    }

    const fn requires(self, other: &'static str) -> Self {
        Self { requires: Some(other), ..self }
    }

    fn argument(&self, heading: &'static str) -> Arg {
        let mut argument = Arg::new(self.name).help(self.help).help_heading(heading).hide_env(true);
        if self.name != ROOT {
            argument = argument.long(self.name);
        }
        let variable = format!("BROOKLET_{}", self.name.to_ascii_uppercase().replace('-', "_"));
        // A variable that is set to nothing is not set: unit files and compose files pass such ones on.
        if std::env::var_os(&variable).is_none_or(|value| !value.is_empty()) {
            argument = argument.env(variable);
        }
        let argument = match self.value {
            Value::Nothing => argument.action(ArgAction::SetTrue).value_parser(BoolishValueParser::new()),
            Value::One(name, parser) => argument.value_name(name).value_parser(parser()),
            Value::Many(name, delimiter, parser) => {
                argument.value_name(name).value_parser(parser()).action(ArgAction::Append).value_delimiter(delimiter)
            }
            Value::Behind(name, without, parser) => argument
                .value_name(name)
                .value_parser(parser())
                .num_args(0..=1)
                .require_equals(true)
                .default_missing_value(without),
        };
        let argument = argument.short(self.short).default_value(self.default);
        match self.requires {
            Some(other) => argument.requires(other),
            None => argument,
        }
    }
}

const ROOT: &str = "ROOT";

/// The table for clap. It depends on the environment: a variable stands in for an option that is not given.
pub fn command() -> Command {
    let rows = TABLE.iter().flat_map(|(heading, rows)| rows.iter().map(|row| row.argument(heading)));
    let help = Arg::new("help").short('h').long("help").action(ArgAction::Help).help("Print this help");
    let version = Arg::new("version").short('V').long("version").action(ArgAction::Version).help("Print the version");
    Command::new("brooklet")
        .version(env!("CARGO_PKG_VERSION"))
        .about("A static file server that streams")
        .long_about(
            "Serves a folder, or one file, over HTTP. However large the file and however slow the client, a transfer \
             costs next to no memory.",
        )
        .args_override_self(true)
        .disable_help_flag(true)
        .disable_version_flag(true)
        .args(rows.chain([help, version].map(|argument| argument.help_heading("Help"))))
}
