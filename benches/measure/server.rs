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

use super::Result;

/// How long a server may take to begin, or to end.
const PATIENCE: Duration = Duration::from_secs(10);

/// How a server is started.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    pub(crate) name: &'static str,
    program: PathBuf,
    /// `{root}`, `{port}` and `{lab}` stand for the folder that is served, the port and a folder for what it needs.
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

const NGINX: &str = "worker_processes 2;
daemon off;
pid {lab}/nginx.pid;
error_log {lab}/nginx.log;
events { worker_connections 8192; }
http {
    sendfile on; tcp_nopush on; keepalive_requests 1000000; access_log off;
    server { listen 127.0.0.1:{port} backlog=1024; root {root}; }
}
";

const LIGHTTPD: &str = "server.port = {port}
server.bind = \"127.0.0.1\"
server.document-root = \"{root}\"
server.max-keep-alive-requests = 1000000
server.max-worker = 2
server.max-fds = 16384
mimetype.assign = (\"\" => \"application/octet-stream\")
";

impl Server {
    fn new(name: &'static str, program: impl Into<PathBuf>, arguments: &str) -> Self {
        let arguments = arguments.split(' ').map(Into::into).collect();
        Self { name, program: program.into(), arguments, forks: false, configuration: None }
    }

    /// What the claim is about: the two servers of the note, and brooklet with each front.
    pub(crate) fn of_the_note(programs: &Programs) -> Vec<Self> {
        let script = |name| format!("{}/benches/node/{name}.js {{root}} {{port}}", env!("CARGO_MANIFEST_DIR"));
        vec![
            Self::new("whole file, Node.js", "node", &script("whole")),
            Self::new("whole file", programs.example("whole_file"), "{root} 127.0.0.1:{port}"),
            Self::new("stream, Node.js", "node", &script("stream")),
            Self::new("stream", programs.example("stream"), "{root} 127.0.0.1:{port}"),
            // It serves as many at once as it has workers.
            Self::new("brooklet, tiny-http", &programs.brooklet, "-q --front tiny-http --workers 256 -p {port} {root}"),
            Self::new("brooklet, direct", &programs.brooklet, "-q -p {port} {root}"),
        ]
    }

    /// brooklet with each front, and file servers that people use.
    pub(crate) fn peers(programs: &Programs) -> Vec<Self> {
        let script = format!("{}/benches/node/stream.js {{root}} {{port}}", env!("CARGO_MANIFEST_DIR"));
        let configured = |server: Self, file| Self { configuration: Some(("configuration", file)), ..server };
        vec![
            Self::new("brooklet, direct", &programs.brooklet, "-q -p {port} {root}"),
            Self::new("brooklet, tiny-http", &programs.brooklet, "-q --front tiny-http -p {port} {root}"),
            configured(Self::new("nginx", "nginx", "-c {lab}/configuration"), NGINX),
            configured(Self::new("lighttpd", "lighttpd", "-D -f {lab}/configuration"), LIGHTTPD),
            Self { forks: true, ..Self::new("busybox httpd", "busybox", "httpd -f -p 127.0.0.1:{port} -h {root}") },
            Self::new("Node.js, stream", "node", &script),
            Self::new("static-web-server", "static-web-server", "-a 127.0.0.1 -p {port} -d {root} -g error"),
            Self::new("miniserve", "miniserve", "-i 127.0.0.1 -p {port} {root}"),
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
        // Somebody else may take it before the server does; then the server says so and ends.
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let fill = |text: &str| {
            text.replace("{root}", &root.to_string_lossy())
                .replace("{port}", &address.port().to_string())
                .replace("{lab}", &lab.to_string_lossy())
        };
        fs::create_dir_all(lab)?;
        if let Some((file, content)) = self.configuration {
            fs::write(lab.join(file), fill(content))?;
        }
        let complaints = lab.join("stderr");
        let mut child = Command::new(program)
            // Some end their whole group, which must not be ours.
            .process_group(0)
            .args(self.arguments.iter().map(|argument| fill(argument)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(&complaints)?)
            .spawn()?;
        let begun = Instant::now();
        while TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_err() {
            if child.try_wait()?.is_some() || begun.elapsed() > PATIENCE {
                end(&mut child);
                let said = fs::read_to_string(complaints).unwrap_or_default();
                return Err(format!("{} does not begin to serve: {}", self.name, said.trim()).into());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        groups().push(Pid::from_child(&child));
        Ok(Running { child, address })
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

/// Ends all servers when this program is told to end: they would not hear of it.
pub(crate) fn end_with_us() -> io::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    std::thread::spawn(move || {
        if signals.forever().next().is_some() {
            for group in groups().iter() {
                let _ = kill_process_group(*group, Signal::KILL);
            }
            std::process::exit(1);
        }
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
