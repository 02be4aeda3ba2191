//! The program: the command line becomes a server, a signal its end.

use std::io::{IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, mpsc};

use brooklet::cli::{self, Call, Process};
use brooklet::sandbox::{self, Allowed};
use brooklet::supervisor::{self, Supervisor};
use brooklet::user::User;
use brooklet::{Config, Server};
use log::LevelFilter;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use signal_hook::iterator::Signals;

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
            say(text.trim_end());
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
    let server = if handed_over {
        log::info!("sockets that were handed over: {}; bind and port do not matter", sockets.len());
        Server::from_listeners(config.clone(), sockets)?
    } else {
        Server::bind(config.clone())?
    };
    give_up(&config, &server, handed_over, process, user.as_ref())?;
    let addresses = server.addresses().iter().map(|address| format!("http://{address}"));
    let paths = server.unix_sockets().iter().map(|path| format!("unix:{}", line(path)));
    let places: Vec<_> = addresses.chain(paths).collect();
    for place in &places {
        say(&format!("Serving {root} at {place}"));
    }
    if let Some(address) = server.admin_address() {
        say(&format!("Admin at http://{address}"));
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
                Err(reason) => log::error!("not reloaded: {}", reason.replace(char::is_control, "\u{fffd}")),
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
                    log::info!("stopping: {first}transfers in flight have {drain:?}; a second signal ends it at once");
                    handle.stop();
                }
                // Who asks twice does not want to wait.
                _ => {
                    log::warn!("ended at once by a second signal");
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

fn is_at_terminal() -> bool {
    std::io::stdin().is_terminal() || std::io::stdout().is_terminal() || std::io::stderr().is_terminal()
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
    path.display().to_string().replace(char::is_control, "\u{fffd}")
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
    env_logger::Builder::new()
        // What concerns an operator is said by us; tiny_http tells of every connection, and calls a stop an error.
        .filter_level(LevelFilter::Off)
        .filter_module("brooklet", level)
        .parse_default_env()
        .format(|out, record| {
            let level = record.level().as_str().to_ascii_lowercase();
            writeln!(out, "brooklet: {level}: {}", cli::harmless(&record.args().to_string()))
        })
        .init();
}
