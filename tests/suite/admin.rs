//! What a server tells about itself: the page, as a browser shows it, the metrics, as programs read them, and that it does so
//! whatever becomes of the server.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Instant;

use brooklet::{Config, Front, Server};
use tempfile::TempDir;

use crate::client::{Client, Response, get, request};
use crate::program::{BINARY, Program};
use crate::site::{Folder, NEVER, Serving, fronts, noise};

/// More than sockets hold.
const LARGE: usize = 32 << 20;
/// A name that would be an element if it were not escaped, and turns what is behind it around.
const HURTS: &str = "<img src=x onerror=document.title=0>\u{202e}\"&";
/// The same in a target.
const HURTS_TARGET: &str = "/%3Cimg%20src=x%20onerror=document.title=0%3E%E2%80%AE%22&";

fn site() -> Folder {
    let folder = Folder::new();
    folder.file("small", "small").file("large", noise(1, LARGE)).file(HURTS, noise(2, LARGE));
    folder
}

struct Told {
    serving: Serving,
    admin: SocketAddr,
}

impl Told {
    fn start(config: Config) -> Self {
        let server = Server::bind(Config { admin: Some(([127, 0, 0, 1], 0).into()), ..config }).unwrap();
        let admin = server.admin_address().unwrap();
        Self { serving: Serving::run(server), admin }
    }

    fn get(&self, target: &str) -> Response {
        Client::connect(self.admin).exchange(get(target))
    }

    /// Asks again and again until the answer is as it should become.
    fn until(&self, target: &str, done: impl Fn(&str) -> bool) -> String {
        let begun = Instant::now();
        let mut client = Client::connect(self.admin);
        loop {
            let answer = client.exchange(get(target));
            if done(answer.text()) {
                return answer.text().to_owned();
            }
            assert!(begun.elapsed() < NEVER, "{target} stays: {}", answer.text());
        }
    }

    /// A client that has taken in the beginning of a large file, and no more.
    fn stalled(&self, target: &str) -> Client {
        let mut client = Client::with_small_window(self.serving.address);
        client.send(get(target));
        assert_eq!(client.receive_head().status, 200);
        client
    }
}

#[test]
fn each_question_has_its_answer() {
    let folder = site();
    for front in fronts() {
        let told = Told::start(Serving::config(front, &folder));
        let foreign = request("GET", "/", &[]).replace("Host: localhost", "Host: example.org:80");
        for (asked, status, content_type, part) in [
            (get("/"), 200, "text/html; charset=utf-8", "<main>"),
            (get("/?x"), 200, "text/html; charset=utf-8", "<main>"),
            (get("/healthz"), 200, "text/plain; charset=utf-8", "ok\n"),
            (get("/metrics"), 200, "text/plain; version=0.0.4; charset=utf-8", "brooklet_requests_total{"),
            (get("/status.json"), 200, "application/json", "\"transfers\":[]"),
            (get(&format!("http://{}/healthz", told.admin)), 200, "text/plain; charset=utf-8", "ok\n"),
            (get("/small"), 404, "text/plain; charset=utf-8", "404"),
            (get("/metrics/"), 404, "text/plain; charset=utf-8", "404"),
            (get("/../metrics"), 400, "text/plain; charset=utf-8", "400"),
            (request("POST", "/", &[]), 405, "text/plain; charset=utf-8", "405"),
            (request("OPTIONS", "/", &[]), 405, "text/plain; charset=utf-8", "405"),
            (request("PURGE", "/", &[]), 501, "text/plain; charset=utf-8", "501"),
            (foreign, 403, "text/plain; charset=utf-8", "403"),
        ] {
            let answer = Client::connect(told.admin).exchange(&asked);
            let what = format!("{asked}: {} {:?} {}", answer.status, answer.fields, answer.text());
            assert_eq!((answer.status, answer.field("Content-Type")), (status, Some(content_type)), "{what}");
            assert!(answer.text().contains(part), "{what}");
            assert_eq!(answer.field("Cache-Control"), Some("no-store"), "{what}");
            assert_eq!(answer.field("X-Content-Type-Options"), Some("nosniff"), "{what}");
            assert_eq!(answer.field("Allow"), (status == 405).then_some("GET, HEAD"), "{what}");
            let policy = answer.field("Content-Security-Policy");
            assert!(status != 200 || policy.is_some_and(|policy| policy.starts_with("default-src 'none'")), "{what}");
        }
        let head = Client::connect(told.admin).exchange(request("HEAD", "/healthz", &[]));
        assert_eq!((head.status, head.length()), (200, Some(3)));
        // What is asked here is no request of the server, and what it serves is not served here.
        assert!(told.get("/status.json").text().contains("\"2xx\":0,"));
        assert_eq!(told.serving.get("/healthz").status, 404);
    }
}

#[test]
fn what_is_on_its_way_is_shown_until_its_end() {
    let folder = site();
    for front in fronts() {
        let told = Told::start(Serving::config(front, &folder));
        let client = told.stalled(HURTS_TARGET);
        let address = client.stream().local_addr().unwrap();
        let row = format!(
            "\"transfers\":[{{\"client\":\"{address}\",\"target\":\"{}\",\"status\":200,\"expected\":{LARGE},\"sent\":",
            HURTS_TARGET
        );
        let text = told.until("/status.json", |text| text.contains(&row) && !text.contains("\"sent\":0"));
        assert!(text.contains("\"connections\":{\"sending\":1,"), "{text}");
        let page = told.get("/");
        let name = "<bdi>/&lt;img src=x onerror=document.title=0&gt;\u{202e}&quot;&amp;</bdi>";
        assert!(page.text().contains(name) && !page.text().contains("<img"), "{}", page.text());
        client.reset();
        let text = told.until("/status.json", |text| text.contains("\"transfers\":[],\"more\":0"));
        assert!(text.contains("\"client-left\":1,") && text.contains("\"sending\":0,"), "{text}");
    }
}

#[test]
fn many_transfers_are_counted_and_some_shown() {
    let folder = site();
    let told = Told::start(Serving::config(Front::Direct, &folder));
    let clients: Vec<_> = (0..105).map(|_| told.stalled("/large")).collect();
    let text = told.until("/status.json", |text| text.contains("\"sending\":105,"));
    assert!(text.contains("\"more\":5,") && text.matches("\"/large\"").count() == 100, "{text}");
    assert!(told.get("/").text().contains("and 5 more"));
    drop(clients);
}

#[test]
fn a_program_that_reads_metrics_takes_ours() {
    let folder = site();
    let script = "import sys\n\
        from prometheus_client.parser import text_string_to_metric_families as families\n\
        for family in families(sys.stdin.read()):\n\
        \x20   assert family.documentation and family.type in ('counter', 'gauge'), family\n\
        \x20   for sample in family.samples:\n\
        \x20       labels = ','.join(sorted(sample.labels.values()))\n\
        \x20       print(family.type, sample.name, labels, float(sample.value))\n";
    for front in fronts() {
        let memory = (front == Front::Direct).then_some(64 << 20);
        let told = Told::start(Config { memory, workers: Some(4), ..Serving::config(front, &folder) });
        assert_eq!(told.serving.get("/small").status, 200);
        assert_eq!(told.serving.get("/none").status, 404);
        assert_eq!(told.serving.get("/none").status, 404);
        let text = told.until("/metrics", |text| text.contains("outcome=\"done\"} 3\n"));
        let read = ["python3", "/usr/bin/python3"].iter().find_map(|python| {
            let mut reader = Command::new(python);
            reader.args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
            let mut reader = reader.spawn().ok()?;
            // One that lacks the library may have ended already.
            let _ = reader.stdin.take()?.write_all(text.as_bytes());
            let output = reader.wait_with_output().ok()?;
            output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
        });
        let read = match read {
            Some(read) => read,
            // Where changes are judged it has to be there.
            None if std::env::var_os("CI").is_none() => {
                println!("no Python with prometheus_client takes it, or is there");
                continue;
            }
            None => panic!("no Python with prometheus_client takes it, or is there: {text}"),
        };
        let direct = front == Front::Direct;
        for (line, there) in [
            ("gauge brooklet_build_info 0.1.0,", true),
            ("counter brooklet_requests_total 2xx 1.0", true),
            ("counter brooklet_requests_total 4xx 2.0", true),
            ("counter brooklet_outcomes_total done 3.0", true),
            ("counter brooklet_sent_bytes_total  ", true),
            ("gauge brooklet_transfers_running  0.0", true),
            ("gauge brooklet_connections waiting ", direct),
            ("gauge brooklet_connections_limit  ", direct),
            ("gauge brooklet_workers  4.0", true),
            ("gauge brooklet_workers_busy  ", true),
            ("gauge brooklet_draining  0.0", true),
            ("gauge brooklet_memory_budget_bytes  67108864.0", direct),
            ("gauge process_start_time_seconds  ", true),
            ("gauge process_resident_memory_bytes  ", cfg!(target_os = "linux")),
        ] {
            assert_eq!(read.lines().any(|known| known.starts_with(line)), there, "{line}: {read}");
        }
    }
}

#[test]
fn who_crowds_the_server_keeps_nobody_from_seeing_that() {
    let folder = site();
    let told = Told::start(Config { max_connections: Some(4), ..Serving::config(Front::Direct, &folder) });
    let clients: Vec<_> = (0..4).map(|_| told.stalled("/large")).collect();
    assert_eq!(told.serving.get("/small").status, 503);
    assert_eq!(told.get("/healthz").text(), "ok\n");
    let text = told.until("/status.json", |text| text.contains("\"sending\":4,"));
    assert!(text.contains("\"limit\":4}"), "{text}");
    drop(clients);
}

#[test]
fn it_tells_of_the_stop_until_all_is_finished() {
    let folder = site();
    for front in fronts() {
        let told = Told::start(Config { drain: NEVER, ..Serving::config(front, &folder) });
        let mut client = told.stalled("/large");
        let mut asking = Client::connect(told.admin);
        assert_eq!(asking.exchange(get("/healthz")).status, 200);
        told.serving.stop();
        let health = asking.exchange(get("/healthz"));
        assert_eq!((health.status, health.text()), (503, "draining\n"));
        let page = told.get("/");
        assert!(page.text().contains("stopping"));
        assert_eq!(client.take(LARGE).unwrap().len(), LARGE);
        drop(client);
        told.serving.ended();
        assert!(Client::try_get(told.admin, "/healthz").is_err());
    }
}

#[test]
fn the_program_says_where_and_warns_of_others() {
    let folder = site();
    let root = folder.root();
    for (front, _) in Front::ALL {
        for (arguments, variable, host, warned) in [
            (&["--admin", "0"][..], "", "127.0.0.1", false),
            (&["--admin", "[::1]:0"], "", "[::1]", false),
            (&[], "127.0.0.1:0", "127.0.0.1", false),
            (&["--admin", "0.0.0.0:0"], "", "0.0.0.0", true),
        ] {
            let mut command = Command::new(BINARY);
            command.args(["--front", front, "-p", "0"]).args(arguments).arg(&root).env("BROOKLET_ADMIN", variable);
            let mut program = Program::start(&mut command);
            program.address(&root);
            let line = program.line();
            let address = line.strip_prefix("Admin at http://").unwrap_or_else(|| panic!("{line:?}"));
            assert!(address.starts_with(&format!("{host}:")), "{line}");
            let answer = Client::connect(address.parse().unwrap()).exchange(get("/healthz"));
            assert_eq!(answer.text(), "ok\n");
            program.signal(rustix::process::Signal::TERM);
            let (status, _, err) = program.end();
            assert_eq!((status, err.matches("there is no password").count()), (Some(0), usize::from(warned)), "{err}");
        }
    }
}

#[test]
fn an_address_in_use_is_said_at_the_start() {
    let folder = site();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let config = Config { admin: Some(address), ..Serving::config(Front::Direct, &folder) };
    let error = Server::bind(config).unwrap_err().to_string();
    assert!(error.starts_with(&format!("cannot listen at {address}: ")), "{error}");
}

/// A browser without a window, told what to do through two pipes (Chrome DevTools Protocol).
struct Browser {
    process: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
    asked: u32,
    session: String,
    _profile: TempDir,
}

impl Browser {
    /// None if there is none.
    fn start() -> Option<Self> {
        let name = ["chromium", "chromium-browser", "google-chrome"].into_iter().find(|name| {
            let asked = Command::new(name).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
            asked.is_ok_and(|status| status.success())
        })?;
        let profile = tempfile::tempdir().unwrap();
        // It reads from descriptor 3 and writes to 4.
        let mut command = Command::new("sh");
        command.args(["-c", "exec \"$0\" \"$@\" 3<&0 4>&1 0</dev/null 1>&2", name]);
        command.args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]);
        command.args(["--no-first-run", "--remote-debugging-pipe"]);
        command.arg(format!("--user-data-dir={}", profile.path().display()));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = command.spawn().unwrap();
        let (to, from) = (process.stdin.take().unwrap(), BufReader::new(process.stdout.take().unwrap()));
        Some(Self { process, to, from, asked: 0, session: String::new(), _profile: profile })
    }

    /// Calls a method and returns the answer as it came.
    fn call(&mut self, method: &str, parameters: &str) -> String {
        self.asked += 1;
        let session = match self.session.as_str() {
            "" => String::new(),
            session => format!(",\"sessionId\":\"{session}\""),
        };
        let call = format!("{{\"id\":{},\"method\":\"{method}\",\"params\":{parameters}{session}}}\0", self.asked);
        self.to.write_all(call.as_bytes()).unwrap();
        let begin = format!("{{\"id\":{},", self.asked);
        loop {
            let mut message = Vec::new();
            assert!(self.from.read_until(0, &mut message).unwrap() > 0, "the browser ended");
            let message = String::from_utf8_lossy(&message).into_owned();
            if message.starts_with(&begin) {
                assert!(!message.contains("\"error\":{"), "{call}: {message}");
                return message;
            }
        }
    }

    fn open(&mut self, address: SocketAddr) {
        let target = self.call("Target.createTarget", &format!("{{\"url\":\"http://{address}/\"}}"));
        let target = format!("{{\"targetId\":\"{}\",\"flatten\":true}}", text_of(&target, "targetId"));
        self.session = text_of(&self.call("Target.attachToTarget", &target), "sessionId");
    }

    /// What an expression is as text; nothing while there is no such thing.
    fn value(&mut self, expression: &str) -> String {
        let expression = format!("(() => {{ try {{ return String({expression}) }} catch {{ return \"\" }} }})()");
        let answer = self.call("Runtime.evaluate", &format!("{{\"expression\":{expression:?}}}"));
        text_of(&answer, "value")
    }

    fn until(&mut self, expression: &str, done: impl Fn(&str) -> bool) -> String {
        let begun = Instant::now();
        loop {
            let value = self.value(expression);
            if done(&value) {
                return value;
            }
            assert!(begun.elapsed() < NEVER, "{expression} stays {value:?}");
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The text of this name in JSON, which holds nothing escaped.
fn text_of(json: &str, name: &str) -> String {
    let (_, rest) = json.split_once(&format!("\"{name}\":\"")).unwrap_or_else(|| panic!("no {name}: {json}"));
    rest.split('"').next().unwrap().to_owned()
}

/// The number of this name in the JSON.
fn number_of(json: &str, name: &str) -> f64 {
    let (_, rest) = json.split_once(&format!("\"{name}\":")).unwrap_or_else(|| panic!("no {name}: {json}"));
    rest.split([',', '}']).next().unwrap().parse().unwrap()
}

#[test]
fn a_browser_shows_a_download_as_it_goes_on() {
    let folder = site();
    let Some(mut browser) = Browser::start() else {
        // Where changes are judged it has to be there.
        assert!(std::env::var_os("CI").is_none(), "there is no chromium");
        return println!("there is no chromium");
    };
    let told = Told::start(Serving::config(Front::Direct, &folder));
    let mut client = told.stalled(HURTS_TARGET);
    told.until("/status.json", |text| text.contains("\"sending\":1,"));
    browser.open(told.admin);
    const BAR: &str = "document.querySelector('li progress').value";
    let number = |text: &str| text.parse().unwrap_or(0.0);
    let first: f64 = number(&browser.until(BAR, |value| number(value) > 0.0));
    // Style and script pass the policy, and a name is only text.
    assert_eq!(browser.until("getComputedStyle(document.querySelector('li')).display", |d| !d.is_empty()), "grid");
    let codes = browser.value("[...document.querySelector('li bdi').textContent].map(c => c.codePointAt(0)).join()");
    let expected: Vec<_> = format!("/{HURTS}").chars().map(|c| (c as u32).to_string()).collect();
    assert_eq!(codes, expected.join(","));
    assert_eq!(browser.value("document.querySelectorAll('li img').length + document.title"), "0brooklet: serving");
    // The bar moves, without another page.
    browser.value("window.stayed = true");
    client.take(LARGE / 2).unwrap();
    browser.until(BAR, |value| number(value) > first + 40.0);
    assert_eq!(browser.value("window.stayed"), "true");
    // The client takes no more: then the page says what the server says.
    let begun = Instant::now();
    loop {
        let text = told.get("/status.json").text().to_owned();
        let (_, row) = text.split_once("\"transfers\":").unwrap();
        let wanted = number_of(row, "sent") / LARGE as f64 * 100.0;
        let shown: f64 = number(&browser.value(BAR));
        if (wanted - shown).abs() < 0.001 {
            let size = format!("{:.1} MiB of 32.0 MiB", number_of(row, "sent") / f64::from(1 << 20));
            let label = browser.value("document.querySelector('li small').textContent.replace(/\\u00b7.*/, '')");
            assert_eq!(label.trim(), size);
            break;
        }
        assert!(begun.elapsed() < NEVER, "{shown} is shown, not {wanted}");
    }
    assert_eq!(browser.value("document.getElementById('sending').textContent"), "1");
    client.take(LARGE - LARGE / 2).unwrap();
    drop(client);
    browser.until("document.getElementById('none').hidden", |hidden| hidden == "false");
    assert_eq!(browser.value("document.querySelectorAll('li').length"), "0");
}
