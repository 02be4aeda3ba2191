//! The servers that are measured: how each is started, and ended.

use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::{Result, limit};

/// How long a server may take to begin, or to end.
const PATIENCE: Duration = Duration::from_secs(10);

/// How a server is started.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    pub(crate) name: &'static str,
    program: PathBuf,
    /// `{root}`, `{port}`, `{lab}` and `{cpus}` stand for the folder that is served, the port, a folder for what it needs and
    /// the number of processors.
    arguments: Vec<String>,
    /// It starts a process for each connection, whose time and memory nobody can sum up behind its end.
    pub(crate) forks: bool,
    /// A file in the lab, with the same words in it.
    configuration: Option<(&'static str, &'static str)>,
}

/// A server that runs. It ends when this is dropped.
pub(crate) struct Running {
    child: Child,
    pub(crate) address: SocketAddr,
}

const NGINX: &str = "worker_processes {cpus};
daemon off;
pid \"{lab}/nginx.pid\";
error_log \"{lab}/nginx.log\";
events { worker_connections 8192; }
http {
    sendfile on; tcp_nopush on; keepalive_requests 1000000; access_log off;
    server { listen 127.0.0.1:{port} backlog=1024; root \"{root}\"; }
}
";

const LIGHTTPD: &str = "server.port = {port}
server.bind = \"127.0.0.1\"
server.document-root = \"{root}\"
server.max-keep-alive-requests = 1000000
server.max-worker = {cpus}
server.max-fds = 16384
mimetype.assign = (\"\" => \"application/octet-stream\")
";

impl Server {
    fn new(name: &'static str, program: impl Into<PathBuf>, arguments: &[&str]) -> Self {
        let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        Self { name, program: program.into(), arguments, forks: false, configuration: None }
    }

    fn node(name: &'static str, script: &str) -> Self {
        Self::new(
            name,
            "node",
            &[&format!("{}/benches/node/{script}.js", env!("CARGO_MANIFEST_DIR")), "{root}", "{port}"],
        )
    }

    fn brooklet(programs: &Programs, name: &'static str, front: &str, workers: &[&str]) -> Self {
        let arguments = ["-q", "--front", front, "-p", "{port}", "{root}"];
        Self::new(name, &programs.brooklet, &[workers, &arguments].concat())
    }

    fn direct(programs: &Programs) -> Self {
        Self::brooklet(programs, "brooklet, direct", "direct", &[])
    }

    /// What the claim is about: the two servers of the note, and brooklet with each front.
    pub(crate) fn of_the_note(programs: &Programs) -> Vec<Self> {
        let example = |name, program: &str| Self::new(name, programs.example(program), &["{root}", "127.0.0.1:{port}"]);
        vec![
            Self::node("whole file, Node.js", "whole"),
            example("whole file", "whole_file"),
            Self::node("stream, Node.js", "stream"),
            example("stream", "stream"),
            // It serves as many at once as it has workers.
            Self::brooklet(programs, "brooklet, tiny-http", "tiny-http", &["--workers", "256"]),
            Self::direct(programs),
        ]
    }

    /// brooklet with each front, and file servers that people use.
    pub(crate) fn peers(programs: &Programs) -> Vec<Self> {
        let configured = |server: Self, file| Self { configuration: Some(("configuration", file)), ..server };
        let busybox = Self::new("busybox httpd", "busybox", &["httpd", "-f", "-p", "127.0.0.1:{port}", "-h", "{root}"]);
        let sws = ["-a", "127.0.0.1", "-p", "{port}", "-d", "{root}", "-g", "error"];
        vec![
            Self::direct(programs),
            Self::brooklet(programs, "brooklet, tiny-http", "tiny-http", &[]),
            configured(Self::new("nginx", "nginx", &["-c", "{lab}/configuration"]), NGINX),
            configured(Self::new("lighttpd", "lighttpd", &["-D", "-f", "{lab}/configuration"]), LIGHTTPD),
            Self { forks: true, ..busybox },
            Self::node("Node.js, stream", "stream"),
            Self::new("static-web-server", "static-web-server", &sws),
            Self::new("miniserve", "miniserve", &["-i", "127.0.0.1", "-p", "{port}", "{root}"]),
        ]
    }

    /// Whether its program is there; where it was looked for if not.
    pub(crate) fn installed(&self) -> std::result::Result<PathBuf, String> {
        if self.program.components().count() > 1 {
            let missing = || format!("{} is not built", self.program.display());
            return Some(self.program.clone()).filter(|program| program.is_file()).ok_or_else(missing);
        }
        // Where Debian puts servers, which is not in everybody's PATH.
        let folders = std::env::var_os("PATH").unwrap_or_default();
        let folders = std::env::split_paths(&folders).chain(["/usr/sbin".into(), "/usr/local/sbin".into()]);
        let found = folders.map(|folder| folder.join(&self.program)).find(|program| program.is_file());
        found.ok_or_else(|| format!("{} is not installed", self.program.display()))
    }

    /// Starts it and waits until it accepts connections. `lab` is a folder for this one alone.
    pub(crate) fn start(&self, root: &Path, lab: &Path) -> Result<Running> {
        let program = self.installed()?;
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let fill = |text: &str| {
            text.replace("{root}", &root.to_string_lossy())
                .replace("{port}", &address.port().to_string())
                .replace("{lab}", &lab.to_string_lossy())
                .replace("{cpus}", &processors.to_string())
        };
        fs::create_dir_all(lab)?;
        if let Some((file, content)) = self.configuration {
            fs::write(lab.join(file), fill(content))?;
        }
        let complaints = lab.join("stderr");
        let mut command = Command::new(program);
        // What is set for the servers of this machine is not meant for these.
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("BROOKLET_")) {
            command.env_remove(name);
        }
        // Some end their whole group, which must not be ours.
        command.process_group(0).env_remove("NODE_OPTIONS");
        command.args(self.arguments.iter().map(|argument| fill(argument)));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(fs::File::create(&complaints)?);
        let mut running = {
            // Who is told to end waits for us, and ends it.
            let mut groups = groups();
            let child = command.spawn()?;
            groups.push(Pid::from_child(&child));
            Running { child, address }
        };
        let begun = Instant::now();
        loop {
            let answers = TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok();
            // Somebody else may have taken the port.
            if running.ended()?.is_some() || begun.elapsed() > PATIENCE {
                let said = fs::read_to_string(complaints).unwrap_or_default();
                return Err(format!("{} does not begin to serve: {}", self.name, said.trim()).into());
            }
            if answers {
                return Ok(running);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Running {
    pub(crate) fn process(&self) -> u32 {
        self.child.id()
    }

    /// How it has ended, if it has.
    pub(crate) fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let group = Pid::from_child(&self.child);
        end(&mut self.child);
        groups().retain(|running| *running != group);
    }
}

/// Ends a server and whatever it has started.
fn end(child: &mut Child) {
    let group = Pid::from_child(child);
    let begun = Instant::now();
    // It ends its workers by itself, if it has any.
    let _ = kill_process(group, Signal::TERM);
    while matches!(child.try_wait(), Ok(None)) && begun.elapsed() < PATIENCE {
        std::thread::sleep(Duration::from_millis(2));
    }
    // It fails if nobody is left.
    let _ = kill_process_group(group, Signal::KILL);
    let _ = child.wait();
}

/// The process groups of all servers that run.
fn groups() -> MutexGuard<'static, Vec<Pid>> {
    static GROUPS: Mutex<Vec<Pid>> = Mutex::new(Vec::new());
    GROUPS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Ends all servers when this program is told to end, as they would not hear of it, and leaves nothing behind.
pub(crate) fn end_with_us() -> io::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    std::thread::spawn(move || {
        let Some(signal) = signals.forever().next() else { return };
        // Held to the end: nothing is started any more.
        let groups = groups();
        for group in groups.iter() {
            let _ = kill_process_group(*group, Signal::KILL);
        }
        limit::remove_all();
        std::process::exit(128 + signal);
    });
    Ok(())
}

/// The programs that are built from this repository.
#[derive(Debug, Clone)]
pub(crate) struct Programs {
    brooklet: PathBuf,
    examples: PathBuf,
}

impl Programs {
    /// This brooklet, and the examples that were built with the program that runs.
    pub(crate) fn new(brooklet: &str) -> Result<Self> {
        let own = std::env::current_exe()?;
        let folder = own.parent().and_then(Path::parent).ok_or("cargo has built this somewhere else than usual")?;
        Ok(Self { brooklet: brooklet.into(), examples: folder.join("examples") })
    }

    /// The path of an example's program.
    pub(crate) fn example(&self, name: &str) -> PathBuf {
        self.examples.join(name)
    }
}
