//! brooklet beside other file servers that are installed: how many requests each answers, and what that costs. See
//! `make bench`.
//!
//! All serve the same folder and share the processors with who asks. They have their turns one after the other, again and
//! again, and what counts is the median: on a machine that others use, too, nothing else can be compared.

use std::collections::HashMap;
use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Arg, ArgAction, Command, value_parser};

use measure::chart::{Axis, Chart, Look, Scale, Series};
use measure::crowd::Crowd;
use measure::load::{Case, load};
use measure::server::{Programs, Server, end_with_us};
use measure::table::{median, number, table};
use measure::{MIB, Result, file, process};

mod measure;

const CASES: [Case; 5] = [
    Case { name: "1 KiB", size: 1 << 10, connections: 32, close: false },
    Case { name: "1 KiB, close", size: 1 << 10, connections: 32, close: true },
    Case { name: "100 KiB", size: 100 << 10, connections: 32, close: false },
    Case { name: "1 MiB", size: MIB, connections: 16, close: false },
    Case { name: "100 MiB", size: 100 * MIB, connections: 4, close: false },
];

/// Medians of the rounds.
struct Row {
    case: &'static str,
    server: &'static str,
    /// Requests per second.
    rate: f64,
    /// Millions of bytes of files per second.
    bytes: f64,
    /// Microseconds on a processor for each request. None if they cannot be counted, as the memory.
    cost: Option<f64>,
    /// Milliseconds within which 99 of 100 are answered.
    slow: f64,
    /// The most memory, in bytes.
    peak: Option<u64>,
    errors: u64,
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    end_with_us()?;
    let number = |name, value, default, help| {
        let argument = Arg::new(name).long(name).value_name(value).default_value(default).help(help);
        argument.value_parser(value_parser!(u64).range(1..=1000))
    };
    let only = Arg::new("only").long("only").value_name("NAME").action(ArgAction::Append);
    let parsed = Command::new("make bench ARGS=")
        .about("Measures brooklet beside other file servers. Needs wrk. Writes target/bench/: runs.csv, rates.svg")
        .arg(number("rounds", "COUNT", "3", "How often each server has its turn"))
        .arg(number("seconds", "SECONDS", "2", "How long a turn is"))
        .arg(only.help("Only servers and cases with this in their names; may be repeated"))
        // What cargo tells its benchmarks.
        .arg(Arg::new("bench").long("bench").num_args(0).hide(true))
        .get_matches();
    let value = |name| parsed.get_one::<u64>(name).copied().ok_or("no number");
    let (rounds, seconds) = (value("rounds")?, value("seconds")?);
    let only: Vec<&String> = parsed.get_many("only").into_iter().flatten().collect();
    // A word that no case has chooses among the servers, and the other way round.
    let chosen = |name: &str, all: &[&str]| {
        let words: Vec<_> = only.iter().filter(|word| all.iter().any(|name| name.contains(word.as_str()))).collect();
        words.is_empty() || words.iter().any(|word| name.contains(word.as_str()))
    };
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/bench");
    fs::create_dir_all(folder.join("files"))?;
    let servers = Server::peers(&Programs::new(env!("CARGO_BIN_EXE_brooklet"))?);
    let names: Vec<_> = servers.iter().map(|server| server.name).collect();
    let servers = servers.into_iter().filter(|server| chosen(server.name, &names));
    let servers = servers.filter(|server| match server.installed() {
        Ok(_) => true,
        Err(missing) => {
            println!("left out: {} ({missing})", server.name);
            false
        }
    });
    let servers: Vec<_> = servers.collect();
    let cases = CASES.map(|case| case.name);
    for word in &only {
        if !names.iter().chain(&cases).any(|name| name.contains(word.as_str())) {
            return Err(format!("no server and no case has {word:?} in its name").into());
        }
    }
    if servers.is_empty() {
        return Err("there is nothing to measure".into());
    }
    let mut rows = Vec::new();
    for case in CASES.into_iter().filter(|case| chosen(case.name, &cases)) {
        eprintln!("{}: {} s", case.name, rounds * seconds * servers.len() as u64);
        rows.extend(measure_case(case, &servers, &folder, rounds, seconds)?);
    }
    for (name, content) in [("runs.csv", csv(&rows)), ("rates.svg", chart(&rows, rounds, seconds).svg())] {
        fs::write(folder.join(name), content)?;
    }
    // That nobody reads it is no error.
    let _ = writeln!(io::stdout(), "{}\nin {}: rates.svg, runs.csv", table(&text(&rows)), folder.display());
    Ok(())
}

fn measure_case(case: Case, servers: &[Server], folder: &Path, rounds: u64, seconds: u64) -> Result<Vec<Row>> {
    let file = file(&folder.join("files"), case.size)?;
    // New ones for each case, so that its memory is its own.
    let start = |server: &Server| {
        let running = server.start(&folder.join("files"), &folder.join(server.name.replace(' ', "-")))?;
        // Refusals are fast, and no answers.
        match Crowd::new(running.address, &file, 1).served_within(Duration::from_secs(5)) {
            true => Ok(running),
            false => Err(format!("{} does not send the file", server.name).into()),
        }
    };
    let running = servers.iter().map(start).collect::<Result<Vec<_>>>()?;
    let mut scores: HashMap<usize, Vec<[f64; 3]>> = HashMap::new();
    let (mut peaks, mut errors) = (vec![0; servers.len()], vec![0; servers.len()]);
    for round in 0..rounds as usize {
        for turn in 0..servers.len() {
            let number = (round + turn) % servers.len();
            let Some(server) = running.get(number) else { continue };
            let before = process::processor_time(server.process());
            let score = load(case, server.address, &file, seconds)?;
            let time = process::processor_time(server.process()).saturating_sub(before);
            let requests = score.requests.max(1) as f64;
            let scored = [requests / score.seconds, time.as_secs_f64() * 1e6 / requests, score.slow];
            scores.entry(number).or_default().push(scored);
            let peak = process::memory(server.process()).map_or(0, |memory| memory.peak);
            if let (Some(most), Some(all)) = (peaks.get_mut(number), errors.get_mut(number)) {
                *most = peak.max(*most);
                *all += score.errors;
            }
        }
    }
    let row = |(number, server): (usize, &Server)| {
        let all = scores.get(&number).map_or(&[][..], Vec::as_slice);
        let [rate, cost, slow] = [0, 1, 2].map(|at| median(all.iter().filter_map(|score| score.get(at)).copied()));
        Row {
            case: case.name,
            server: server.name,
            rate,
            bytes: rate * case.size as f64 / 1e6,
            cost: Some(cost).filter(|_| !server.forks),
            slow,
            peak: peaks.get(number).copied().filter(|_| !server.forks),
            errors: errors.get(number).copied().unwrap_or(0),
        }
    };
    Ok(servers.iter().enumerate().map(row).collect())
}

fn text(rows: &[Row]) -> Vec<Vec<String>> {
    let head = ["case", "server", "requests/s", "MB/s", "CPU µs/request", "p99 ms", "peak MiB", "errors"];
    let row = |row: &Row| {
        let peak = row.peak.map(|bytes| bytes as f64 / MIB as f64);
        let numbers = [Some(row.rate), Some(row.bytes), row.cost, Some(row.slow), peak];
        let numbers = numbers.map(|value| value.map_or("-".into(), number));
        let names = [row.case.to_owned(), row.server.to_owned()];
        names.into_iter().chain(numbers).chain([row.errors.to_string()]).collect()
    };
    std::iter::once(head.map(String::from).to_vec()).chain(rows.iter().map(row)).collect()
}

fn csv(rows: &[Row]) -> String {
    let lines = rows.iter().map(|row| {
        let Row { case, server, rate, bytes, cost, slow, peak, errors } = row;
        let cost = cost.map(|cost| format!("{cost:.2}")).unwrap_or_default();
        let peak = peak.map(|peak| peak.to_string()).unwrap_or_default();
        format!("\"{case}\",\"{server}\",{rate:.1},{bytes:.3},{cost},{slow:.3},{peak},{errors}\n")
    });
    "case,server,requests_per_s,mb_per_s,cpu_us_per_request,p99_ms,peak_bytes,errors\n".to_owned()
        + &lines.collect::<String>()
}

fn look(server: &str) -> Look {
    let (colour, dashed) = match server {
        "brooklet, direct" => ('c', false),
        "brooklet, tiny-http" => ('c', true),
        "nginx" => ('a', false),
        "lighttpd" => ('b', false),
        "static-web-server" => ('a', true),
        "miniserve" => ('b', true),
        "busybox httpd" => ('d', false),
        _ => ('d', true),
    };
    Look { colour, dashed, strong: server == "brooklet, direct" }
}

/// The rates of all, beside that of the first server.
fn chart(rows: &[Row], rounds: u64, seconds: u64) -> Chart {
    let mut cases: Vec<_> = rows.iter().map(|row| row.case).collect();
    cases.dedup();
    let mut servers: Vec<_> = rows.iter().map(|row| row.server).collect();
    servers.sort_unstable();
    servers.dedup();
    let first = rows.first().map_or("", |row| row.server);
    let rate = |case: &str, server: &str| {
        rows.iter().find(|row| row.case == case && row.server == server).map_or(0.0, |row| row.rate)
    };
    let series = |server: &&'static str| {
        let beside = |case: &&str| rate(case, server) / rate(case, first).max(f64::MIN_POSITIVE);
        let points: Vec<_> = cases.iter().enumerate().map(|(at, case)| (at as f64, beside(case))).collect();
        let name = (*server).to_owned();
        Series { name, look: look(server), line: points.clone(), points, crosses: Vec::new() }
    };
    let series: Vec<_> = servers.iter().map(series).collect();
    let all = || series.iter().flat_map(|series| &series.points).map(|point| point.1).filter(|value| *value > 0.0);
    Chart {
        title: format!("Requests answered, beside {first}"),
        subtitle: format!(
            "Each file again and again; medians of {rounds} rounds of {seconds} s; who asks shares the processors."
        ),
        x: Axis {
            label: "size of the file",
            scale: Scale::Names(cases.clone()),
            from: -0.3,
            to: cases.len() as f64 - 0.7,
        },
        y: Axis {
            label: "requests/s, those of the first = 1 (logarithmic)",
            scale: Scale::Logarithmic,
            from: all().fold(0.5, f64::min) / 1.2,
            to: all().fold(2.0, f64::max) * 1.2,
        },
        bound: None,
        series,
    }
}
