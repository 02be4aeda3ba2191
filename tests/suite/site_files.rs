//! `_headers` and `_redirects`: what they make of answers on every front, that they are read again when they change, and what
//! is said of their wrong lines.

use std::process::Command;
use std::time::{Duration, SystemTime};

use brooklet::tiny_http::Method;
use brooklet::{Coding, Config, Front, Request, Rules, Site};
use rustix::process::Signal;

use crate::client::{Response, request};
use crate::program::{BINARY, Program, within_reason};
use crate::site::{Folder, Serving};

fn folder(headers: &str, redirects: &str) -> Folder {
    let folder = Folder::new();
    folder.file("index.html", "start").file("about.html", "about").file("app.js", "script").file("404.html", "own 404");
    folder.file("docs/index.html", "docs").file("docs/other.html", "other").file("empty/file", "file");
    folder.file(".secret", "secret").file("sub/_headers", "plain").file("sub/_redirects", "plain");
    for (name, text) in [("_headers", headers), ("_redirects", redirects)] {
        if !text.is_empty() {
            folder.file(name, text);
        }
    }
    folder
}

/// A server with these rules on each front.
fn serving(folder: &Folder, rules: &Rules) -> impl Iterator<Item = Serving> {
    Front::ALL.iter().map(|(name, front)| {
        println!("front: {name}");
        Serving::with(Config { rules: rules.clone(), ..Serving::config(*front, folder) })
    })
}

type Fields<'a> = &'a [(&'a str, &'a str)];

const PAGE: Fields<'_> = &[("Accept", "text/html,*/*;q=0.8")];

#[test]
fn the_fields_of_a_path_are_those_of_all_its_rules() {
    let folder = folder(
        "# for all\n\
         /*\n  X-All: 1\n  X-Content-Type-Options: off\n  X-Robots-Tag: noindex\n  Cache-Control: max-age=60\n\
         /*.js\n  X-All: 2\n  ! X-Content-Type-Options\n\
         /docs/:page\n  X-Page: a, b\n  x-all: 3\n  Set-Cookie: a=b\n\
         /\n  Content-Security-Policy: default-src 'none'\n",
        "/gone /about.html 302\n",
    );
    let rules = Rules { headers: vec![("X-Robots-Tag".into(), "all".into())], ..Rules::default() };
    for serving in serving(&folder, &rules) {
        let mut client = serving.client();
        let mut ask = |method: &str, target: &str, fields: Fields<'_>| client.exchange(request(method, target, fields));
        let tag = ask("GET", "/about.html", &[]).field("ETag").unwrap().to_owned();
        let known: Fields<'_> = &[("If-None-Match", &tag)];
        let part: Fields<'_> = &[("Range", "bytes=0-1")];
        let parts: Fields<'_> = &[("Range", "bytes=0-0,2-2")];
        let kept = Some("max-age=60");
        for (method, target, fields, status, all, nosniff, cached) in [
            ("GET", "/about.html", &[][..], 200, "1", Some("off"), kept),
            ("HEAD", "/about.html", &[], 200, "1", Some("off"), kept),
            ("GET", "/about.html", part, 206, "1", Some("off"), kept),
            ("GET", "/about.html", parts, 206, "1", Some("off"), kept),
            ("GET", "/about.html", known, 304, "1", Some("off"), kept),
            ("GET", "/about.html?x", &[("If-Match", "\"x\"")], 412, "1", Some("off"), None),
            ("GET", "/app.js", &[], 200, "1, 2", None, kept),
            ("GET", "/app%2Ejs", &[], 200, "1, 2", None, kept),
            ("GET", "/missing.js", &[], 404, "1, 2", None, None),
            ("GET", "/missing", PAGE, 404, "1", Some("off"), None),
            ("GET", "/docs/other.html", &[], 200, "1, 3", Some("off"), kept),
            ("GET", "/docs", &[], 301, "1", Some("off"), kept),
            ("GET", "/empty/", PAGE, 200, "1", Some("off"), kept),
            ("GET", "/gone", &[], 302, "1", Some("off"), kept),
            ("POST", "/about.html", &[], 405, "1", Some("off"), None),
            ("OPTIONS", "/app.js", &[], 204, "1, 2", None, kept),
        ] {
            // Again and again, so that it comes from the cache.
            for _ in 0..3 {
                let answer = ask(method, target, fields);
                let what = format!("{method} {target} {fields:?}: {answer:?}");
                assert_eq!((answer.status, answer.field("X-All")), (status, Some(all)), "{what}");
                assert_eq!(answer.field("X-Content-Type-Options"), nosniff, "{what}");
                assert_eq!(answer.field("Cache-Control"), cached, "{what}");
                assert_eq!(answer.field("X-Robots-Tag"), Some("noindex"), "{what}");
                let page = target == "/docs/other.html";
                assert_eq!(answer.field("X-Page"), page.then_some("a, b"), "{what}");
                assert_eq!(answer.field("Set-Cookie"), page.then_some("a=b"), "{what}");
            }
        }
        let root = ask("GET", "/", &[]);
        assert_eq!((root.text(), root.field("Content-Security-Policy")), ("start", Some("default-src 'none'")));
        // What is no path has no fields.
        assert_eq!(ask("GET", "/%00", &[]).field("X-All"), None);
    }
}

#[test]
fn an_answer_from_the_cache_has_the_fields_of_its_path_and_all_of_its_own() {
    let folder = folder("/docs/*\n  X-A: b\n  X-Content-Type-Options: off\n", "/route /docs/other.html 200\n");
    let site = Site::open(folder.root()).unwrap().with_cache(1 << 20).with_rules(Rules::default());
    // A time at which all that was written now is settled.
    let now = SystemTime::now() + Duration::from_secs(60);
    let ask = |target: &str| {
        let answer = site.answer(&Request::new(&Method::Get, target).with("Host", "x"), now);
        let mut fields: Vec<_> = answer.fields.iter().map(|(name, value)| format!("{name}: {value}")).collect();
        fields.sort();
        (answer.status.0, answer.content_length, fields)
    };
    let (with, without) = (ask("/docs/other.html"), ask("/route"));
    assert!(with.2.iter().any(|field| field == "X-A: b") && with.2.iter().any(|field| field.starts_with("ETag: ")));
    assert!(
        with.2.iter().filter(|field| field.starts_with("X-Content-Type-Options: ")).eq(["X-Content-Type-Options: off"])
    );
    assert_eq!(without.2.len() + 1, with.2.len());
    // From the third time on it is kept.
    for _ in 0..4 {
        assert_eq!(ask("/docs/other.html"), with);
        assert_eq!(ask("/route"), without);
    }
}

/// What is expected of an answer.
enum Expected {
    /// This status and this body.
    Body(u16, &'static str),
    /// This status, and this address.
    To(u16, &'static str),
    /// This status.
    Status(u16),
}
use Expected::{Body, Status, To};

fn check(redirects: &str, rules: &Rules, rows: &[(&str, Fields<'_>, Expected)]) {
    let folder = folder("", redirects);
    for serving in serving(&folder, rules) {
        let mut client = serving.client();
        for (target, fields, expected) in rows {
            for _ in 0..3 {
                let answer = client.exchange(request("GET", target, fields));
                let what = format!("{target}: {} {:?} {:?}", answer.status, answer.fields, answer.body);
                match expected {
                    Body(status, body) => assert_eq!((answer.status, answer.text()), (*status, *body), "{what}"),
                    To(status, to) => {
                        assert_eq!((answer.status, answer.field("Location")), (*status, Some(*to)), "{what}");
                    }
                    Status(status) => assert_eq!(answer.status, *status, "{what}"),
                }
            }
        }
    }
}

#[test]
fn a_path_leads_where_the_first_rule_says() {
    let redirects = "/home /\n\
                     /found /about.html 302\n\
                     /other /about.html 303\n\
                     /kept /about.html 307\n\
                     /moved /about.html 308\n\
                     /blog/* /news/:splat\n\
                     /blog/never /never\n\
                     /u/:id/:what /p?id=:id#:what 302\n\
                     /far/* https://example.org/there/:splat 302\n\
                     /about.html /shadowed\n\
                     /app.js /forced 302!\n\
                     /docs /shadowed\n\
                     /empty /full 302\n\
                     /slash /slash/ 301!\n";
    check(
        redirects,
        &Rules::default(),
        &[
            ("/home", &[], To(301, "/")),
            ("/found", &[], To(302, "/about.html")),
            ("/other", &[], To(303, "/about.html")),
            ("/kept", &[], To(307, "/about.html")),
            ("/moved?a=b&c", &[], To(308, "/about.html?a=b&c")),
            ("/blog/2024/a%20b", &[], To(301, "/news/2024/a%20b")),
            ("/blog/never/", &[], To(301, "/news/never/")),
            ("/blog", &[], To(301, "/news/")),
            ("/u/x%26y=z/w?q", &[], To(302, "/p?id=x%26y%3Dz#w")),
            ("/far/a", &[], To(302, "https://example.org/there/a")),
            ("/about.html", &[], Body(200, "about")),
            ("/app.js", &[], To(302, "/forced")),
            ("/docs", &[], To(301, "/docs/")),
            ("/docs/", &[], Body(200, "docs")),
            // A listing does not go before a rule.
            ("/empty/", PAGE, To(302, "/full")),
            ("/slash", &[], To(301, "/slash/")),
            ("/slash/", &[], Status(404)),
            ("/unknown", &[], Status(404)),
        ],
    );
}

#[test]
fn whatever_a_client_sends_it_stays_on_the_host() {
    let redirects = "/r/* /:splat\n/s* /:splat/x\n/f/* https://good.example/:splat\n";
    check(
        redirects,
        &Rules::default(),
        &[
            ("/r//evil.example", &[], Status(400)),
            ("/r/%2Fevil.example", &[], Status(400)),
            ("/r/%5Cevil.example", &[], Status(400)),
            ("/r/\\evil.example", &[], Status(400)),
            ("/r/..//evil.example", &[], Status(400)),
            ("/r/%0D%0AX-Evil:%201", &[], To(301, "/%0D%0AX-Evil%3A%201")),
            ("/r/@evil.example", &[], To(301, "/%40evil.example")),
            ("/r/https:evil.example", &[], To(301, "/https%3Aevil.example")),
            ("/r/%252Fevil.example", &[], To(301, "/%252Fevil.example")),
            ("/s/evil.example", &[], To(301, "/evil.example/x")),
            ("/s", &[], To(301, "/x")),
            ("/f/@evil.example", &[], To(301, "https://good.example/%40evil.example")),
            ("/f", &[], To(301, "https://good.example/")),
            ("/f/%3F%23", &[], To(301, "https://good.example/%3F%23")),
        ],
    );
}

#[test]
fn a_rule_puts_a_file_in_place_of_another() {
    let redirects = "/app.js /about.html 200\n\
                     /forced.js /app.js 200!\n\
                     /index.html /docs/other.html 200!\n\
                     /pages/* /docs/:splat.html 200\n\
                     /docs2 /docs 200\n\
                     /docs3 /docs/ 200\n\
                     /secret /.secret 200\n\
                     /rules /_headers 200\n\
                     /twice /forced 200\n\
                     /list /empty/ 200\n\
                     /de/* /docs/index.html 404\n\
                     /none/* /not/there 404\n\
                     /a/* /:splat 200\n";
    let rules = Rules { clean_urls: true, ..Rules::default() };
    for rules in [Rules::default(), rules] {
        check(
            redirects,
            &rules,
            &[
                ("/app.js", &[], Body(200, "script")),
                ("/forced.js", &[], Body(200, "script")),
                ("/forced.js", &[("Range", "bytes=1-2")], Body(206, "cr")),
                ("/index.html?x", &[], Body(200, "other")),
                ("/", &[], Body(200, "start")),
                ("/pages/other", &[], Body(200, "other")),
                ("/pages/missing", &[], Status(404)),
                ("/docs2", &[], Body(200, "docs")),
                ("/docs3", &[], Body(200, "docs")),
                ("/secret", &[], Status(404)),
                ("/rules", &[], Status(404)),
                ("/twice", &[], Status(404)),
                ("/list", PAGE, Body(404, "own 404")),
                ("/de/x", &[], Body(404, "docs")),
                ("/de/x", &[("Range", "bytes=1-2")], Body(404, "docs")),
                ("/none/x", PAGE, Body(404, "own 404")),
                ("/a/docs/", &[], Body(200, "docs")),
                ("/a/_redirects", &[], Status(404)),
                ("/a/.secret", &[], Status(404)),
                ("/a/sub/_headers", &[], Body(200, "plain")),
            ],
        );
    }
    // The page of an application, as it is written down for static hosts.
    let fallback = "/* /index.html 200";
    for clean_urls in [false, true] {
        check(
            fallback,
            &Rules { clean_urls, ..Rules::default() },
            &[
                ("/some/route", &[], Body(200, "start")),
                ("/app.js", &[], Body(200, "script")),
                ("/empty/", &[], Body(200, "start")),
                ("/_headers", &[], Body(200, "start")),
                ("/docs", &[], To(301, "/docs/")),
                ("/%00", &[], Status(400)),
            ],
        );
    }
}

#[test]
fn what_is_rewritten_is_a_representation_as_ever() {
    let folder = folder("/route\n  X-A: b\n/app.js\n  X-A: c\n", "/route /app.js 200\n/gone /app.js 404\n");
    folder.file("app.js.br", "in br!");
    let rules = Rules { precompressed: vec![Coding::Brotli], ..Rules::default() };
    for serving in serving(&folder, &rules) {
        let mut client = serving.client();
        let mut ask = |method: &str, target: &str, fields: Fields<'_>| client.exchange(request(method, target, fields));
        let answer = ask("GET", "/route", &[]);
        assert_eq!(answer.field("Content-Type"), Some("text/javascript; charset=utf-8"));
        // The fields are those of the path that was asked for.
        assert_eq!(answer.field("X-A"), Some("b"));
        let tag = answer.field("ETag").unwrap();
        assert_eq!(Some(tag), ask("GET", "/app.js", &[]).field("ETag"));
        let again = ask("GET", "/route", &[("If-None-Match", tag)]);
        assert_eq!((again.status, again.field("X-A"), again.field("ETag")), (304, Some("b"), Some(tag)));
        assert_eq!(ask("GET", "/route", &[("If-Match", "\"x\"")]).status, 412);
        let head = ask("HEAD", "/route", &[]);
        assert_eq!((head.status, head.length()), (200, Some(6)));
        let part = ask("GET", "/route", &[("Range", "bytes=-2"), ("If-Range", tag)]);
        assert_eq!((part.status, part.text(), part.field("Content-Range")), (206, "pt", Some("bytes 4-5/6")));
        let coded = ask("GET", "/route", &[("Accept-Encoding", "br")]);
        assert_eq!((coded.text(), coded.field("Content-Encoding")), ("in br!", Some("br")));
        // What says that there is nothing cannot be asked for again.
        let gone = ask("GET", "/gone", &[("If-None-Match", "*")]);
        assert_eq!((gone.status, gone.text(), gone.field("ETag")), (404, "script", None));
        assert_eq!((gone.field("Accept-Ranges"), gone.field("Last-Modified")), (None, None));
        assert_eq!((gone.field("Vary"), ask("HEAD", "/gone", &[]).length()), (Some("Accept-Encoding"), Some(6)));
    }
}

#[test]
fn the_files_themselves_are_neither_served_nor_listed() {
    let folder = folder("/x\n  X-A: b\n", "/x /y\n");
    std::fs::remove_file(folder.path("index.html")).unwrap();
    let index = vec!["_headers".into()];
    let rules = Rules { index, spa: Some("_redirects".into()), hidden: true, ..Rules::default() };
    let targets = ["/_headers", "/_redirects", "/%5Fheaders", "/_re%64irects", "/_headers/", "/_headers?download"];
    for serving in serving(&folder, &rules) {
        for target in targets {
            let answer = serving.client().exchange(request("GET", target, PAGE));
            assert_eq!((answer.status, answer.text()), (404, "own 404"), "{target}");
        }
        let listing = serving.get("/?format=json");
        assert!(listing.text().contains("about.html") && !listing.text().contains("\"_"), "{}", listing.text());
        assert!(serving.get("/sub/_headers").text() == "plain" && serving.get("/sub/").text() == "plain");
    }
    let plain = Rules { site_files: false, ..Rules::default() };
    for serving in serving(&folder, &plain) {
        assert_eq!(serving.get("/_headers").text(), "/x\n  X-A: b\n");
        assert_eq!((serving.get("/_redirects").text(), serving.get("/x").status), ("/x /y\n", 404));
        assert!(serving.get("/?format=json").text().contains("_redirects"));
        assert_eq!(serving.get("/x").field("X-A"), None);
    }
    // One file that is served alone makes no rules.
    for (_, front) in Front::ALL {
        let config = Config { root: folder.path("_redirects"), ..Serving::config(*front, &folder) };
        assert_eq!(Serving::with(config).get("/x").text(), "/x /y\n");
    }
}

#[test]
fn paths_are_relative_to_the_prefix() {
    let folder = folder(
        "/a\n  X-A: b\n/my/docs/a\n  X-B: c\n",
        "/a /b\n/r /about.html 200\n/far https://example.org/\n/my/docs/c /d\n/ /docs/ 302!\n",
    );
    let rules = Rules { prefix: Some("my/docs".into()), ..Rules::default() };
    for serving in serving(&folder, &rules) {
        for (target, status, to, field) in [
            ("/my/docs/a?x", 301, Some("/my/docs/b?x"), Some("b")),
            ("/my/docs/far", 301, Some("https://example.org/"), None),
            ("/my/docs/", 302, Some("/my/docs/docs/"), None),
            ("/my/docs/r", 200, None, None),
            ("/my/docs/c", 404, None, None),
            ("/a", 404, None, None),
            ("/r", 404, None, None),
        ] {
            let answer = serving.get(target);
            assert_eq!((answer.status, answer.field("Location")), (status, to), "{target}");
            assert_eq!((answer.field("X-A"), answer.field("X-B")), (field, None), "{target}");
        }
    }
}

#[test]
fn a_change_is_picked_up() {
    let folder = folder("", "");
    for serving in serving(&folder, &Rules::default()) {
        let becomes = |what: &str, wanted: &dyn Fn(&Response) -> bool| {
            within_reason(what, || wanted(&serving.get("/x")).then_some(()));
        };
        assert_eq!(serving.get("/x").status, 404);
        std::fs::write(folder.path("_redirects"), "/x /y\n").unwrap();
        becomes("a rule that is new", &|answer| answer.field("Location") == Some("/y"));
        std::fs::write(folder.path("_redirects"), "/x /z\n").unwrap();
        becomes("another rule of the same length", &|answer| answer.field("Location") == Some("/z"));
        std::fs::write(folder.path("_headers"), "/x\n  X-A: b\n").unwrap();
        becomes("a field", &|answer| answer.field("X-A") == Some("b") && answer.status == 301);
        // As it is done by who wants no half of a file to be seen.
        std::fs::write(folder.path("new"), "/x\n  X-A: c\n").unwrap();
        std::fs::rename(folder.path("new"), folder.path("_headers")).unwrap();
        becomes("a file in place of another", &|answer| answer.field("X-A") == Some("c"));
        for name in ["_headers", "_redirects"] {
            std::fs::remove_file(folder.path(name)).unwrap();
        }
        becomes("no rule", &|answer| answer.status == 404 && answer.field("X-A").is_none());
    }
}

#[test]
fn what_is_read_again_at_once_counts_and_what_cannot_be_read_changes_nothing() {
    let folder = folder("", "");
    for serving in serving(&folder, &Rules::default()) {
        let field = || serving.get("/y").field("X-A").map(str::to_owned);
        folder.file("../outside", "/y\n  X-A: outside\n");
        for value in ["a", "b", "c"] {
            std::fs::write(folder.path("_headers"), format!("/y\n  X-A: {value}\n")).unwrap();
            assert_eq!(serving.reload(), Ok(()));
            assert_eq!(field().as_deref(), Some(value));
        }
        // Nor if it is looked at as ever, after some time.
        std::fs::remove_file(folder.path("_headers")).unwrap();
        folder.link("_headers", "../outside");
        for _ in 0..2 {
            assert!(serving.reload().is_err_and(|reason| reason.starts_with("_headers cannot be read")));
            assert_eq!(field().as_deref(), Some("c"));
        }
        std::fs::remove_file(folder.path("_headers")).unwrap();
        assert_eq!(serving.reload(), Ok(()));
        assert_eq!(field(), None);
    }
}

#[test]
fn wrong_lines_are_named_once_and_the_rest_holds() {
    let folder = folder(
        "X-None: 1\n/x\n  X-A: b\n  Content-Length: 5\n  X-B: \u{1}\n  basic-auth: a:b\n",
        "/x /y\n/a //evil.example\n/b /c 200 Country=au\n/d https://example.org/ 200\n",
    );
    for (name, _) in Front::ALL {
        let root = folder.root();
        let mut program = Program::start(Command::new(BINARY).args(["--front", name, "-p", "0"]).arg(&root));
        let address = program.address(&root);
        let ask = || crate::client::Client::connect(address).exchange(request("GET", "/x", &[]));
        let answer = ask();
        assert_eq!((answer.status, answer.field("X-A"), answer.field("X-B")), (301, Some("b"), None));
        ask();
        program.signal(Signal::TERM);
        let (status, _, err) = program.end();
        assert_eq!(status, Some(0));
        let mut warnings: Vec<_> = err.lines().filter(|line| line.starts_with("brooklet: warn: ")).collect();
        for (place, reason) in [
            ("_headers, line 1", "without a path"),
            ("_headers, line 4", "the server's own"),
            ("_headers, line 5", "control character"),
            ("_headers, line 6", "--auth"),
            ("_redirects, line 2", "such as"),
            ("_redirects, line 3", "conditions"),
            ("_redirects, line 4", "another host"),
        ] {
            let line = warnings.iter().position(|line| line.contains(place) && line.contains(reason));
            warnings.remove(line.unwrap_or_else(|| panic!("{place} {reason}: {err}")));
        }
        assert!(warnings.is_empty(), "{err}");
    }
}
