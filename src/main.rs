//! The program: the command line becomes a server, a signal its end.

use std::io::{IsTerminal, Write};
use std::path::Path;
use std::process::{Child, ExitCode};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use brooklet::browser;
use brooklet::cli::{self, Call, Process};
use brooklet::greeting::{self, Urls};
use brooklet::sandbox::{self, Allowed};
use brooklet::supervisor::{self, Supervisor};
use brooklet::user::User;
use brooklet::{Config, Server};
use log::{Level, LevelFilter};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use signal_hook::iterator::Signals;

/// How long a stop waits for whoever reads stderr.
const SAID: Duration = Duration::from_millis(200);

fn main() -> ExitCode {
    keep_little();
    match cli::parse(std::env::args_os()) {
        Ok(Call::Serve(config, process)) => {
            log_to_stderr(process.level);
            match serve(config, &process) {
                Ok(()) => ExitCode::SUCCESS,
                Err(reason) => fail(&reason.to_string(), 1),
            }
        }
        Ok(Call::Print(text)) => {
            let text = text.trim_end();
            let colors = greeting::colors(std::io::stdout().is_terminal());
            if colors {
                say(&greeting::with_headings(text))
            } else {
                say(text)
            }
            ExitCode::SUCCESS
        }
        Err(reason) => fail(&reason, 2),
    }
}

/// Tells the allocator to give back what is large, at once. By itself glibc's learns to keep blocks of up to 32 MiB, and a
/// heap for each thread: a listing of many files that nobody waited for would stay in memory for good (`mallopt(3)`).
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[allow(unsafe_code)]
fn keep_little() {
    for (parameter, value) in [(libc::M_MMAP_THRESHOLD, 128 << 10), (libc::M_ARENA_MAX, 1)] {
        // SAFETY: it takes two numbers, and no other thread runs yet.
        unsafe { libc::mallopt(parameter, value) };
    }
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn keep_little() {}

fn serve(config: Config, process: &Process) -> Result<(), Box<dyn std::error::Error>> {
    // Before anything is opened: they are known by their numbers.
    let sockets = supervisor::sockets()?;
    let supervisor = Supervisor::from_environment()?.map(Arc::new);
    let root = line(&config.root);
    // Before anything is said, so that who reads the first line may send a signal at once.
    let at_terminal = is_at_terminal();
    let mut signals = Signals::new([SIGHUP, SIGINT, SIGTERM, SIGUSR1])?;
    let user = process.user.as_deref().map(User::find).transpose()?;
    let handed_over = !sockets.is_empty();
    let bound = if handed_over {
        log::info!("sockets that were handed over: {}; bind and port do not matter", sockets.len());
        Server::from_listeners(config.clone(), sockets)
    } else {
        Server::bind(config.clone())
    };
    let server = bound.map_err(|error| match cli::advice(&error, &config, process) {
        Some(advice) => format!("{error}; {advice}"),
        None => error.to_string(),
    })?;
    warn_of_no_page(&config);
    // Nobody else is told of them.
    let known_as = if process.qr || std::io::stdout().is_terminal() { greeting::known_as() } else { Vec::new() };
    let urls = greeting::urls(server.addresses(), config.rules.prefix.as_deref(), &known_as);
    // While it may still start something. Who comes waits until it is served.
    let browser = process.open.then(|| open(&urls, user.as_ref())).flatten();
    give_up(&config, &server, handed_over, process, user.as_ref())?;
    let places = announce(&root, &server, &urls, process.qr);
    if let Some(mut browser) = browser {
        std::thread::Builder::new().name("browser".into()).spawn(move || match browser.wait() {
            Ok(status) if !status.success() => {
                log::warn!("open: {} cannot be started, or failed: {status}", browser::name())
            }
            _ => {}
        })?;
    }
    let handle = server.handle();
    let (wait, drain) = (config.drain_wait, config.drain);
    if let Some(supervisor) = supervisor.clone() {
        let (handle, status) = (handle.clone(), format!("Serving {root} at {}", places.join(", ")));
        let watch = move || supervisor.watch(&handle, &status);
        std::thread::Builder::new().name("supervisor".into()).spawn(watch)?;
    }
    // In a thread of its own: a stop does not wait for a disk.
    let (reloads, wanted) = mpsc::sync_channel(1);
    let again = handle.clone();
    std::thread::Builder::new().name("reload".into()).spawn(move || {
        for () in wanted {
            match again.reload() {
                Ok(()) => log::info!("reloaded"),
                Err(reason) => log::error!("not reloaded: {reason}"),
            }
        }
    })?;
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        let mut asked = false;
        for signal in signals.forever() {
            match signal {
                SIGUSR1 => handle.reopen_access_log(),
                // Not that of a terminal that is closed: who started the server there cannot end it any more.
                SIGHUP if at_terminal == is_at_terminal() => {
                    // While one reading lasts, another one is asked for once.
                    let _ = reloads.try_send(());
                }
                _ if !std::mem::replace(&mut asked, true) => {
                    let first = if wait.is_zero() {
                        String::new()
                    } else {
                        format!("everybody is served for {wait:?} more, then ")
                    };
                    said(move || {
                        log::info!(
                            "stopping: {first}transfers in flight have {drain:?}; a second signal ends it at once"
                        );
                    });
                    handle.stop();
                }
                // Who asks twice does not want to wait.
                _ => {
                    said(|| log::warn!("ended at once by a second signal"));
                    handle.close_access_log();
                    std::process::exit(1)
                }
            }
        }
    })?;
    server.run()?;
    // With nothing in flight the end may come before its beginning was told.
    supervisor.iter().for_each(|supervisor| supervisor.stopping());
    Ok(())
}

/// Says something, but does not wait for long: that nobody reads stderr any more is no reason not to stop.
fn said(say: impl FnOnce() + Send + 'static) {
    let (done, over) = mpsc::channel();
    let saying = std::thread::Builder::new().name("say".into()).spawn(move || {
        say();
        let _ = done.send(());
    });
    if saying.is_ok() {
        let _ = over.recv_timeout(SAID);
    }
}

fn is_at_terminal() -> bool {
    std::io::stdin().is_terminal() || std::io::stdout().is_terminal() || std::io::stderr().is_terminal()
}

/// Says where it serves: to a program in lines that stay as they are, to a person in what can be clicked on. Returns the places.
fn announce(root: &str, server: &Server, urls: &Urls, qr: bool) -> Vec<String> {
    let addresses = server.addresses().iter().map(|address| format!("http://{address}"));
    let paths: Vec<_> = server.unix_sockets().iter().map(|path| format!("unix:{}", line(path))).collect();
    let places: Vec<_> = addresses.chain(paths.iter().cloned()).collect();
    let admin = server.admin_address().map(|address| format!("http://{address}"));
    let terminal = std::io::stdout().is_terminal();
    let colors = greeting::colors(terminal);
    if terminal {
        let named = |name, places: &[String]| places.iter().map(|place| (name, place.clone())).collect::<Vec<_>>();
        let named = [
            named("Here", &urls.here),
            named("Network", &urls.network),
            named("Socket", &paths),
            named("Admin", admin.as_slice()),
        ];
        say(&greeting::greeting(root, &named.concat(), colors));
    } else {
        for place in &places {
            say(&format!("Serving {root} at {place}"));
        }
        if let Some(admin) = admin {
            say(&format!("Admin at {admin}"));
        }
    }
    match (urls.network.first(), urls.here.first()) {
        _ if !qr => {}
        (Some(url), _) => match greeting::qr(url, colors) {
            Some(code) => say(&format!("\n{code}")),
            None => log::warn!("qr: the address is too long for a code"),
        },
        (None, Some(here)) => log::warn!("qr: no other machine reaches {here}: -b 0.0.0.0 lets them, on a network"),
        (None, None) => log::warn!("qr: there is no address to show"),
    }
    places
}

/// Opens a browser, or says why not.
fn open(urls: &Urls, user: Option<&User>) -> Option<Child> {
    let Some(url) = urls.here.first().or(urls.network.first()) else {
        log::warn!("open: there is no address to open");
        return None;
    };
    browser::open(url, user).map_err(|error| log::warn!("open: no shell to start it: {error}")).ok()
}

/// The page of an application may come later; that its name is wrong is more likely.
fn warn_of_no_page(config: &Config) {
    if let Some(page) = config.rules.spa.as_deref().filter(|page| !config.root.join(page).is_file()) {
        if config.root.is_dir() {
            let page = config.root.join(page);
            log::warn!("spa: {} is not there: what is not found is 404 until it is", page.display());
        }
    }
}

/// Gives up what only the start needed, for this thread and all that it starts: there is no other yet.
fn give_up(
    config: &Config,
    server: &Server,
    handed_over: bool,
    process: &Process,
    user: Option<&User>,
) -> Result<(), String> {
    if process.sandbox {
        let ports = server.addresses().iter().map(|address| address.port());
        // The names of those that were handed over stay.
        let names = if handed_over { &[] } else { server.unix_sockets() };
        let allowed = Allowed::for_server(config, ports, names).map_err(|error| format!("sandbox: {error}"))?;
        let holds = sandbox::enter(&allowed, user)?;
        log::info!("sandbox: {holds}");
    } else {
        user.map_or(Ok(()), User::enter)?;
    }
    if let Some(user) = user {
        log::info!("serves as {user}");
    }
    Ok(())
}

/// What a name may hold: a line stays one.
fn line(path: &Path) -> String {
    cli::harmless(&path.display().to_string())
}

/// Prints a line; that nobody reads it is no reason to stop.
fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}

fn fail(reason: &str, status: u8) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "brooklet: {}", cli::harmless(reason));
    ExitCode::from(status)
}

fn log_to_stderr(level: LevelFilter) {
    let colors = greeting::colors(std::io::stderr().is_terminal());
    env_logger::Builder::new()
        // What concerns an operator is said by us; tiny_http tells of every connection, and calls a stop an error.
        .filter_level(LevelFilter::Off)
        .filter_module("brooklet", level)
        .parse_default_env()
        .format(move |out, record| {
            let level = record.level().as_str().to_ascii_lowercase();
            let level = match record.level() {
                Level::Error if colors => format!("\u{1b}[31m{level}\u{1b}[0m"),
                Level::Warn if colors => format!("\u{1b}[33m{level}\u{1b}[0m"),
                _ => level,
            };
            writeln!(out, "brooklet: {level}: {}", cli::harmless(&record.args().to_string()))
        })
        .init();
}
