//! Shows what this server is for: the memory that a server takes while clients slowly download a file, for servers that hold
//! the whole file and servers that stream it. See `make memory`.

use std::fs;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::parser::ValueSource;
use clap::{Arg, Command, value_parser};

use measure::chart::{Axis, Chart, Look, Scale, Series, highest};
use measure::memory::{Lab, Load, Run};
use measure::server::{Programs, Server, end_with_us};
use measure::table::{number, table};
use measure::{MIB, Result};

mod measure;

const KINDS: &str =
    "“whole file” reads the file and then answers; “stream” and brooklet send it through a small buffer.";

/// What is to be measured.
struct Plan {
    /// The load that is followed over time.
    shown: Load,
    /// How long it is held, in seconds.
    seconds: u64,
    /// How large the others are.
    grid: Vec<Load>,
    /// Bytes that a server may take.
    limit: u64,
    folder: PathBuf,
}

fn main() -> ExitCode {
    match arguments().and_then(|plan| measure_all(&plan)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("memory: {error}");
            ExitCode::FAILURE
        }
    }
}

fn arguments() -> Result<Plan> {
    let number = |name, value, default, help| {
        let argument = Arg::new(name).long(name).value_name(value).default_value(default).help(help);
        argument.value_parser(value_parser!(u64).range(1..=10_000))
    };
    let command = Command::new("make memory ARGS=").about(
        "Measures how much memory servers take while clients slowly download a file.\n\
         Writes target/memory/: samples.csv, runs.csv, over-time.svg, by-size.svg",
    );
    let parsed = command
        .arg(number("clients", "COUNT", "50", "Clients of the run that is drawn over time"))
        .arg(number("size", "MIB", "100", "The size of the file that they ask for"))
        .arg(number("seconds", "SECONDS", "5", "How long they read"))
        .arg(number("limit", "MIB", "1024", "Memory that a server may take"))
        .arg(Arg::new("short").long("short").num_args(0).help("Fewer and smaller runs: half a minute in all"))
        // What cargo tells its benchmarks.
        .arg(Arg::new("bench").long("bench").num_args(0).hide(true))
        .get_matches();
    let value = |name| parsed.get_one::<u64>(name).copied().ok_or("no number");
    let short = parsed.get_flag("short");
    let given = parsed.value_source("seconds") == Some(ValueSource::CommandLine);
    let (clients, sizes) = match short {
        true => (vec![1, 10], vec![1, 10]),
        false => (vec![1, 10, 50, 200], vec![1, 10, 100]),
    };
    let all = sizes.iter().flat_map(|size| clients.iter().map(|clients| Load { clients: *clients, size: *size }));
    Ok(Plan {
        shown: Load { clients: usize::try_from(value("clients")?)?, size: value("size")? },
        seconds: if short && !given { 1 } else { value("seconds")? },
        grid: all.collect(),
        limit: value("limit")? * MIB,
        folder: Path::new(env!("CARGO_MANIFEST_DIR")).join("target/memory"),
    })
}

fn measure_all(plan: &Plan) -> Result<()> {
    end_with_us()?;
    let lab = Lab::new(&plan.folder, plan.limit)?;
    let servers = Server::of_the_note(&Programs::new(env!("CARGO_BIN_EXE_brooklet"))?);
    let servers = servers.into_iter().filter(|server| match server.installed() {
        Ok(_) => true,
        Err(missing) => {
            println!("left out: {} ({missing})", server.name);
            false
        }
    });
    let mut servers: Vec<_> = servers.collect();
    println!("each server may take {} MiB, held by {}", plan.limit / MIB, lab.limit().kind());
    let mut progress = Progress { done: 0, all: servers.len() * (plan.grid.len() + 1) };
    let (mut shown, mut grid) = (Vec::new(), Vec::new());
    for server in &servers {
        progress.step(server.name, plan.shown);
        match lab.run(server, plan.shown, Duration::from_millis(500), Duration::from_secs(plan.seconds)) {
            Ok(run) => shown.push(run),
            Err(error) => progress.say(&format!("left out: {} ({error})", server.name)),
        }
    }
    servers.retain(|server| shown.iter().any(|run| run.server == server.name));
    for load in plan.grid.iter().filter(|load| **load != plan.shown) {
        for server in &servers {
            progress.step(server.name, *load);
            match lab.run(server, *load, Duration::ZERO, Duration::from_secs(1)) {
                Ok(run) => grid.push(run),
                Err(error) => progress.say(&format!("left out: {}, {load:?} ({error})", server.name)),
            }
        }
    }
    progress.end();
    let write = |name: &str, content: String| fs::write(plan.folder.join(name), content);
    write("samples.csv", samples(&shown))?;
    write("runs.csv", runs(shown.iter().chain(&grid)))?;
    write("over-time.svg", over_time(plan, &shown).svg())?;
    write("by-size.svg", by_size(plan, &servers, shown.iter().chain(&grid)).svg())?;
    // That nobody reads it is no error.
    let files = plan.folder.display();
    let _ = writeln!(
        io::stdout(),
        "{}\nin {files}: over-time.svg, by-size.svg, samples.csv, runs.csv",
        table(&rows(&shown, &grid))
    );
    Ok(())
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / MIB as f64
}

fn rows(shown: &[Run], grid: &[Run]) -> Vec<Vec<String>> {
    let head = ["server", "clients", "file MiB", "peak MiB", "MiB per client", "clients served", "fate"];
    let row = |run: &Run| {
        vec![
            run.server.to_owned(),
            run.load.clients.to_string(),
            run.load.size.to_string(),
            number(mib(run.peak)),
            // What is below 10 KiB is hardly seen beside the rest of a program.
            run.per_client().map_or("-".into(), |bytes| format!("{:.3}", mib(bytes))),
            run.served.to_string(),
            run.fate().to_owned(),
        ]
    };
    std::iter::once(head.map(String::from).to_vec()).chain(shown.iter().chain(grid).map(row)).collect()
}

fn samples(shown: &[Run]) -> String {
    let lines = shown.iter().flat_map(|run| {
        run.samples.iter().map(|(second, bytes)| format!("\"{}\",{second:.2},{:.3}\n", run.server, mib(*bytes)))
    });
    "server,second,resident_mib\n".to_owned() + &lines.collect::<String>()
}

fn runs<'a>(all: impl Iterator<Item = &'a Run>) -> String {
    let lines = all.map(|run| {
        let Run { server, load: Load { clients, size }, served, killed, .. } = run;
        let (rest, peak) = (mib(run.rest), mib(run.peak));
        format!("\"{server}\",{clients},{size},{rest:.3},{peak:.3},{served},{killed}\n")
    });
    "server,clients,file_mib,rest_mib,peak_mib,served,killed\n".to_owned() + &lines.collect::<String>()
}

/// Servers of the same kind have the same colour; those of Node.js, and of tiny-http, are dashed.
fn look(server: &str) -> Look {
    let colour = match server {
        whole if whole.starts_with("whole") => 'a',
        stream if stream.starts_with("stream") => 'b',
        _ => 'c',
    };
    let direct = server.ends_with("direct");
    Look { colour, dashed: server.ends_with("Node.js") || server.ends_with("tiny-http"), strong: direct }
}

fn bound(plan: &Plan) -> Option<(f64, String)> {
    let limit = mib(plan.limit);
    Some((limit, format!("what a server may take: {} MiB", number(limit))))
}

fn memory_axis(plan: &Plan, label: &'static str) -> Axis {
    Axis { label, scale: Scale::Logarithmic, from: 1.0, to: 2.5 * mib(plan.limit) }
}

fn over_time(plan: &Plan, shown: &[Run]) -> Chart {
    let series = |run: &Run| {
        let line: Vec<_> = run.samples.iter().map(|(second, bytes)| (*second, mib(*bytes))).collect();
        // It fails between two samples, at the limit.
        let killed = line.last().filter(|_| run.failed()).map(|(second, _)| (*second, mib(plan.limit)));
        let line = line.into_iter().chain(killed).collect();
        let peak = number(mib(run.peak));
        let name = match run.failed() {
            true => format!("{}: {}", run.server, run.fate()),
            false => format!("{}: {peak} MiB", run.server),
        };
        Series { name, look: look(run.server), line, points: Vec::new(), crosses: killed.into_iter().collect() }
    };
    let Load { clients, size } = plan.shown;
    let last = shown.iter().filter_map(|run| run.samples.last()).map(|sample| sample.0).fold(1.0, f64::max);
    Chart {
        title: format!("{clients} clients slowly download one file of {size} MiB"),
        subtitle: KINDS.into(),
        x: Axis { label: "seconds", scale: Scale::Linear, from: 0.0, to: last },
        y: memory_axis(plan, "resident memory, MiB (logarithmic)"),
        bound: bound(plan),
        series: shown.iter().map(series).collect(),
    }
}

fn by_size<'a>(plan: &Plan, servers: &[Server], all: impl Iterator<Item = &'a Run> + Clone) -> Chart {
    let asked = |load: Load| load.clients as f64 * load.size as f64;
    let series = |server: &Server| {
        let runs = all.clone().filter(|run| run.server == server.name);
        let at = |run: &Run| (asked(run.load), mib(run.peak));
        let points: Vec<_> = runs.clone().filter(|run| !run.failed()).map(at).collect();
        let crosses: Vec<_> =
            runs.clone().filter(|run| run.failed()).map(|run| (asked(run.load), mib(plan.limit))).collect();
        let line = highest(&points);
        let most = line.last().map_or(0.0, |point| point.1);
        let name = match runs.clone().find(|run| run.failed()) {
            Some(run) => format!("{}: {}", server.name, run.fate()),
            None => format!("{}: {} MiB at most", server.name, number(most)),
        };
        Series { name, look: look(server.name), line, points, crosses }
    };
    let most = all.clone().map(|run| asked(run.load)).fold(10.0, f64::max);
    Chart {
        title: "Who holds whole files needs memory for all of them at once".into(),
        subtitle:
            "Each point: the most memory of one run of slow clients. The line: the most up to there. A cross: the server failed."
                .into(),
        x: Axis {
            label: "clients × size of the file, MiB (logarithmic)",
            scale: Scale::Logarithmic,
            from: 0.8,
            to: 1.3 * most,
        },
        y: memory_axis(plan, "peak resident memory, MiB (logarithmic)"),
        bound: bound(plan),
        series: servers.iter().map(series).collect(),
    }
}

/// How far it is, on a terminal.
struct Progress {
    done: usize,
    all: usize,
}

impl Progress {
    fn step(&mut self, server: &str, load: Load) {
        let bar: String = (0..30).map(|at| if at * self.all < self.done * 30 { '#' } else { '.' }).collect();
        let percent = 100 * self.done / self.all.max(1);
        let Load { clients, size } = load;
        self.show(&format!("[{bar}] {percent:3} % {server}: {clients} x {size} MiB"));
        self.done += 1;
    }

    fn end(&self) {
        self.show("");
    }

    fn say(&self, text: &str) {
        self.show("");
        eprintln!("{text}");
    }

    fn show(&self, text: &str) {
        let mut err = io::stderr();
        if err.is_terminal() {
            // If nobody can see it, nothing is lost.
            let _ = write!(err, "\r\x1b[K{text}").and_then(|()| err.flush());
        }
    }
}
