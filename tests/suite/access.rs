//! Who is answered: by where a client comes from, and by name and password, on every front.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Instant, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use brooklet::tiny_http::Method;
use brooklet::{Auth, Config, Network, Request, Rules, Site};
use rustix::process::Signal;

use crate::client::{Client, Response, request};
use crate::program::{BINARY, Program};
use crate::site::{Folder, Serving, fronts};

/// Of the passwords `secret` and `Grüße: €`, of the least cost.
pub(crate) const SECRET: &str = "$2y$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW";
const GREETING: &str = "$2b$04$abcdefghijklmnopqrstuuxPsBP2vhEbnQ/jtC7kjpSQD8Ff8cige";

/// What a client is asked with.
const CHALLENGE: &str = "Basic realm=\"brooklet\", charset=\"UTF-8\"";

/// Some files, and beside them the users `ann` and `jürgen`.
fn folder() -> Folder {
    let folder = Folder::new();
    folder.file("small", "small").file("docs/a", "a").file("404.html", "not here");
    folder.file("_headers", "/*\n  X-Inside: yes\n");
    folder.file("../users", format!("# who may\n\nann:{SECRET}\njürgen:{GREETING}\n"));
    folder
}

pub(crate) fn basic(credentials: &str) -> String {
    format!("Basic {}", STANDARD.encode(credentials))
}

fn ask(client: &mut Client, target: &str, credentials: &str) -> Response {
    client.exchange(request("GET", target, &[("Authorization", &basic(credentials))]))
}

fn networks(list: &str) -> Vec<Network> {
    list.split_terminator(',').map(|network| network.parse().unwrap()).collect()
}

#[test]
fn who_has_the_password_is_served_and_nobody_else() {
    let folder = folder();
    for front in fronts() {
        let auth = Some(folder.path("../users"));
        let serving = Serving::with(Config { auth, ..Serving::config(front, &folder) });
        let mut client = serving.client();
        let right = &*basic("ann:secret");
        for (method, target, authorization, status) in [
            ("GET", "/small", Some(right), 200),
            ("GET", "/small", None, 401),
            ("GET", "/small", Some(&*basic("jürgen:Grüße: €")), 200),
            ("GET", "/small", Some(&*right.replace("Basic", "bAsIc ")), 200),
            ("GET", "/small", Some(&*basic("ann:Secret")), 401),
            ("GET", "/small", Some(&*basic("ann:secret ")), 401),
            ("GET", "/small", Some(&*basic("ann:")), 401),
            ("GET", "/small", Some(&*basic("bert:secret")), 401),
            ("GET", "/small", Some(&*basic("jürgen:secret")), 401),
            ("GET", "/small", Some(&*basic("ann")), 401),
            ("GET", "/small", Some(&*basic(SECRET)), 401),
            ("GET", "/small", Some("Basic"), 401),
            ("GET", "/small", Some("Basic !"), 401),
            ("GET", "/small", Some(&*right.replace("Basic", "Bearer")), 401),
            ("GET", "/small", Some(&*format!("{right}, {right}")), 401),
            ("HEAD", "/small", None, 401),
            ("HEAD", "/small", Some(right), 200),
            ("GET", "/missing", None, 401),
            ("GET", "/missing", Some(right), 404),
            ("GET", "/docs", None, 401),
            ("GET", "/docs", Some(right), 301),
            ("GET", "/docs/", None, 401),
            ("GET", "/docs/", Some(right), 200),
            ("GET", "/%00", None, 401),
            ("GET", "/%00", Some(right), 400),
            ("PUT", "/small", None, 401),
            ("PUT", "/small", Some(right), 405),
            ("OPTIONS", "/small", None, 401),
            ("OPTIONS", "*", None, 401),
            ("OPTIONS", "*", Some(right), 204),
        ] {
            let fields: Vec<_> = authorization.map(|value| ("Authorization", value)).into_iter().collect();
            // The second time it may be in the cache, and remembered. Five that are wrong have to be verified: in all as often as
            // a client may be wrong.
            for _ in 0..2 {
                let answer = client.exchange(request(method, target, &fields));
                let what = format!("{method} {target} {authorization:?}: {answer:?}");
                assert_eq!(answer.status, status, "{what}");
                assert_eq!(answer.field("WWW-Authenticate"), (status == 401).then_some(CHALLENGE), "{what}");
                // A listing has a rule of its own.
                let kept = if (status, target) == (200, "/docs/") { "private, no-cache" } else { "private" };
                assert_eq!(answer.field("Cache-Control"), Some(kept), "{what}");
                let inside = status != 401 && !matches!(target, "*" | "/%00");
                assert_eq!(answer.field("X-Inside"), inside.then_some("yes"), "{what}");
                assert!(status == 200 || status == 404 || !answer.text().contains("not here"), "{what}");
            }
        }
        let page = client.exchange(request("GET", "/", &[("Accept", "text/html")]));
        assert!(page.text().contains("<h1>401 Unauthorized</h1><p>This needs a name and a password."), "{page:?}");
    }
}

#[test]
fn the_cache_control_that_was_asked_for_stays_and_a_part_says_it_too() {
    let folder = folder();
    for front in fronts() {
        for (own, expected) in [(None, "private"), (Some("public, max-age=60"), "public, max-age=60")] {
            let rules = Rules { cache_control: own.map(str::to_owned), ..Rules::default() };
            let auth = Some(folder.path("../users"));
            let serving = Serving::with(Config { auth, rules, ..Serving::config(front, &folder) });
            let mut client = serving.client();
            let authorization = basic("ann:secret");
            for part in [None, Some(("Range", "bytes=1-2")), Some(("If-None-Match", "*"))] {
                let fields: Vec<_> = part.into_iter().chain([("Authorization", &*authorization)]).collect();
                let answer = client.exchange(request("GET", "/small", &fields));
                assert_eq!(answer.field("Cache-Control"), Some(expected), "{part:?} {answer:?}");
                assert!(matches!(answer.status, 200 | 206 | 304), "{answer:?}");
            }
            assert_eq!(serving.get("/small").field("Cache-Control"), Some("private"));
        }
    }
}

#[test]
fn a_browser_that_asks_beforehand_has_no_password_yet() {
    let folder = folder();
    for front in fronts() {
        for (cors, status) in [(None, 401), (Some("https://a.b"), 204)] {
            let rules = Rules { cors: cors.map(str::to_owned), ..Rules::default() };
            let auth = Some(folder.path("../users"));
            let serving = Serving::with(Config { auth, rules, ..Serving::config(front, &folder) });
            let mut client = serving.client();
            let fields = [
                ("Origin", "https://a.b"),
                ("Access-Control-Request-Method", "GET"),
                ("Access-Control-Request-Headers", "authorization"),
            ];
            for target in ["/small", "/missing"] {
                let answer = client.exchange(request("OPTIONS", target, &fields));
                assert_eq!((answer.status, answer.field("Access-Control-Allow-Origin")), (status, cors), "{answer:?}");
                let headers = answer.field("Access-Control-Allow-Headers");
                assert_eq!(headers, cors.map(|_| "*, Authorization"), "{answer:?}");
                // A page of the other origin may read why it gets nothing.
                let refused = client.exchange(request("GET", target, &fields[..1]));
                assert_eq!((refused.status, refused.field("Access-Control-Allow-Origin")), (401, cors), "{refused:?}");
            }
        }
    }
}

#[test]
fn who_comes_from_elsewhere_is_refused_before_anything_else() {
    let folder = folder();
    for front in fronts() {
        for (allow, from_one, from_two) in [
            ("", true, true),
            ("127.0.0.1", true, false),
            ("127.0.0.0/8", true, true),
            ("::ffff:127.0.0.2", false, true),
            ("10.0.0.0/8,::1", false, false),
            ("::/0", false, false),
            ("10.0.0.0/8,127.0.0.2/31", false, true),
        ] {
            for auth in [None, Some(folder.path("../users"))] {
                let closed = auth.is_some();
                let rules = Rules { allow: networks(allow), cors: Some("*".into()), ..Rules::default() };
                let serving = Serving::with(Config { auth, rules, ..Serving::config(front, &folder) });
                for (address, allowed) in [([127, 0, 0, 1], from_one), ([127, 0, 0, 2], from_two)] {
                    let mut client = Client::from(Ipv4Addr::from(address), serving.address);
                    for (method, target, open) in [
                        ("GET", "/small", 200),
                        ("HEAD", "/small", 200),
                        ("GET", "/missing", 404),
                        ("GET", "/%00", 400),
                        ("PUT", "/small", 405),
                        ("OPTIONS", "*", 204),
                    ] {
                        let answer = client.exchange(request(method, target, &[]));
                        let status = match allowed {
                            false => 403,
                            true if closed && method != "OPTIONS" => 401,
                            true => open,
                        };
                        let what = format!("{allow} {address:?} {closed} {method} {target}: {answer:?}");
                        assert_eq!(answer.status, status, "{what}");
                        assert_eq!(answer.field("WWW-Authenticate").is_some(), status == 401, "{what}");
                        let inside = !matches!(status, 401 | 403);
                        assert!(inside || answer.field("X-Inside").is_none(), "{what}");
                        assert!(status != 403 || answer.text().is_empty() || answer.text().contains("403"), "{what}");
                    }
                    let answer = ask(&mut client, "/small", "ann:secret");
                    assert_eq!(answer.status, if allowed { 200 } else { 403 }, "{allow} {address:?}");
                }
            }
        }
    }
}

#[test]
fn an_ipv4_client_of_an_ipv6_socket_is_an_ipv4_client() {
    let folder = folder();
    for front in fronts() {
        for (allow, status) in [("127.0.0.1", 200), ("::1", 403), ("::/0", 403)] {
            let rules = Rules { allow: networks(allow), ..Rules::default() };
            let bind = vec![Ipv6Addr::UNSPECIFIED.into()];
            let serving = Serving::with(Config { bind, rules, ..Serving::config(front, &folder) });
            let address = (Ipv4Addr::LOCALHOST, serving.address.port()).into();
            assert_eq!(Client::connect(address).exchange(request("GET", "/small", &[])).status, status, "{allow}");
        }
    }
}

#[test]
fn who_is_not_known_may_not_come_from_some_networks_alone() {
    let folder = folder();
    let site = |allow: &str| {
        Site::open(folder.root()).unwrap().with_rules(Rules { allow: networks(allow), ..Rules::default() })
    };
    let mut asked = Request::new(&Method::Get, "/small").with("Host", "x");
    for (client, allow, status) in [
        (None, "", 200),
        (None, "0.0.0.0/0,::/0", 403),
        (Some("192.0.2.1"), "0.0.0.0/0,::/0", 200),
        (Some("2001:db8::1"), "0.0.0.0/0,::/0", 200),
        (Some("192.0.2.1"), "", 200),
    ] {
        asked.client = client.map(|client| client.parse().unwrap());
        assert_eq!(site(allow).answer(&asked, SystemTime::now()).status.0, status, "{client:?} {allow}");
    }
    // Rules and users do not depend on which comes first.
    let auth = Arc::new(Auth::read(folder.path("../users")).unwrap());
    let authorization = basic("ann:secret");
    let asked = Request::new(&Method::Get, "/small").with("Host", "x").with("Authorization", &authorization);
    for site in [
        Site::open(folder.root()).unwrap().with_auth(Arc::clone(&auth)).with_rules(Rules::default()),
        Site::open(folder.root()).unwrap().with_rules(Rules::default()).with_auth(auth),
    ] {
        let answer = site.answer(&asked, SystemTime::now());
        assert_eq!(answer.status.0, 200);
        assert!(answer.fields.iter().any(|field| field == ("Cache-Control", "private")));
    }
}

#[test]
fn a_flood_of_wrong_passwords_is_refused_unseen_and_who_was_right_is_served_on() {
    let folder = folder();
    for front in fronts() {
        let serving = Serving::with(Config { auth: Some(folder.path("../users")), ..Serving::config(front, &folder) });
        let (begun, over, address) = (Instant::now(), AtomicBool::new(false), serving.address);
        let mut known = serving.client();
        assert_eq!(ask(&mut known, "/small", "ann:secret").status, 200);
        let answers: Vec<Response> = std::thread::scope(|scope| {
            let flood = |number: usize| {
                let mut client = Client::connect(address);
                let mut tries = 0..;
                let mut answers = Vec::new();
                // All of them go on until the other has been served, and each has been refused some times.
                while answers.len() < 10 || !over.load(Ordering::Relaxed) {
                    let credentials = format!("ann:{number} {}", tries.next().unwrap_or(0));
                    answers.push(ask(&mut client, "/small", &credentials));
                }
                answers
            };
            let crowd: Vec<_> = (0..30).map(|number| scope.spawn(move || flood(number))).collect();
            let served = (0..200).filter(|_| ask(&mut known, "/small", "ann:secret").text() == "small").count();
            over.store(true, Ordering::Relaxed);
            assert_eq!(served, 200);
            crowd.into_iter().flat_map(|client| client.join().unwrap()).collect()
        });
        let count = |status| answers.iter().filter(|answer| answer.status == status).count();
        let (verified, refused) = (count(401), count(429));
        // 10, and one each 5 s.
        let most = 10 + begun.elapsed().as_secs() as usize / 5 + 1;
        println!("{verified} verified, {refused} not");
        assert!((1..=most).contains(&verified), "{verified} of {}: not 1 to {most}", answers.len());
        assert_eq!(verified + refused, answers.len());
        assert!(refused > verified);
        let refusal = answers.iter().find(|answer| answer.status == 429).unwrap();
        let after: usize = refusal.field("Retry-After").unwrap().parse().unwrap();
        assert!((1..=5).contains(&after) && refusal.text().starts_with("429 Too Many Requests: "), "{refusal:?}");
        // Another client has its own tries.
        assert_eq!(ask(&mut Client::from([127, 0, 0, 2], address), "/small", "ann:secret").status, 200);
    }
}

/// Runs the program until it ends by itself; what it says.
fn refusal(arguments: &[&str], root: &Path, status: i32) -> String {
    let program = Program::start(Command::new(BINARY).args(["-p", "0"]).args(arguments).arg(root));
    let (ended, out, err) = program.end();
    assert_eq!((ended, out.as_str(), err.matches('\n').count()), (Some(status), "", 1), "{arguments:?}: {err}");
    err
}

#[test]
fn a_file_of_users_that_cannot_be_used_is_refused_at_the_start() {
    let folder = folder();
    // Nothing else is to be said.
    std::fs::remove_file(folder.path("_headers")).unwrap();
    folder.folder("../folder").file("users", format!("ann:{SECRET}")).link("../link", folder.path("users"));
    folder.file(".users", format!("ann:{SECRET}")).file(".well-known/users", format!("ann:{SECRET}"));
    let good = format!("ann:{SECRET}\n");
    let expensive = good.replace("$04$", "$15$");
    let large = "#".repeat((1 << 20) + 1);
    for (name, content, words) in [
        ("empty", "", &["no user", "htpasswd -B"][..]),
        ("comments", "# nobody\n\n", &["no user"]),
        ("colon", "# who\ntellnoone\n", &["line 2", "colon"]),
        ("plain", "ann:tellnoone\n", &["line 1", "not a bcrypt hash", "htpasswd -B"]),
        ("md5", "\nann:$apr1$tellnoone$x/tellnoonex/.\n", &["line 2", "htpasswd -B"]),
        ("sha", "ann:{SHA}tellnoone=\n", &["line 1", "htpasswd -B"]),
        ("crypt", "ann:rqXexS6ZhobKA\n", &["line 1", "htpasswd -B"]),
        ("broken", "ann:$2y$04$tellnoone\n", &["line 1", "not whole"]),
        ("twice", &format!("{good}{good}"), &["line 2", "line 1"]),
        ("cost", &expensive, &["line 1", "cost 15", "4 to 14"]),
        ("large", &large, &["1048576 bytes"]),
    ] {
        folder.file(format!("../{name}"), content);
        let path = folder.path(format!("../{name}")).display().to_string();
        let said = refusal(&["--auth", &path], &folder.root(), 1);
        assert!(words.iter().all(|word| said.contains(word)) && said.contains(&path), "{name}: {said}");
        assert!(!said.contains("tellnoone"), "{name}: {said}");
    }
    for (name, arguments, word) in [
        ("../missing", &[][..], "cannot read"),
        ("../folder", &[], "no file"),
        ("users", &[], "served"),
        ("../link", &[], "served"),
        (".well-known/users", &[], "served"),
        (".users", &["--hidden"], "served"),
    ] {
        let path = folder.path(name).display().to_string();
        let said = refusal(&[&["--auth", &path], arguments].concat(), &folder.root(), 1);
        assert!(said.contains(word) && said.contains(&path), "{name}: {said}");
    }
    // One that is served as it is the only one.
    let path = folder.path("users");
    assert!(refusal(&["--auth", &path.display().to_string()], &path, 1).contains("served"));
    for allow in ["localhost", "10.1.2.3/8", "10.0.0.0/33", "10.0.0.0/8,"] {
        let said = refusal(&["--allow", allow], &folder.root(), 2);
        assert!(said.contains("--allow"), "{said}");
    }
}

#[test]
fn no_password_comes_into_the_log() {
    let folder = folder();
    folder.file(".users", format!("ann:{SECRET}"));
    for front in ["direct", "tiny-http"] {
        let mut command = Command::new(BINARY);
        command.env("RUST_LOG", "brooklet=trace,tiny_http=trace").args([
            "-p",
            "0",
            "--front",
            front,
            "--allow",
            "127.0.0.0/8,::1",
            "--auth",
        ]);
        // A dotfile is not served.
        let mut program = Program::start(command.arg(folder.path(".users")).arg(folder.root()));
        let mut client = Client::connect(program.address(&folder.root()));
        for (credentials, status) in [("ann:secret", 200), ("ann:secret1", 401), ("secret2:ann", 401), ("secret3", 401)]
        {
            assert_eq!(ask(&mut client, "/small", credentials).status, status, "{credentials}");
        }
        program.signal(Signal::TERM);
        let (status, _, err) = program.end();
        assert_eq!(status, Some(0));
        assert!(err.contains("\"/small\" 200") && err.contains("\"/small\" 401"), "{err}");
        for secret in ["secret", "Basic ", &STANDARD.encode("ann:secre"), "$2y$"] {
            assert!(!err.contains(secret), "{secret}: {err}");
        }
    }
}
