//! What a site answers with by its rules, on every front. Each table asks one server.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use brooklet::tiny_http::Method;
use brooklet::{Coding, Config, Front, Request, Rules, Site, Symlinks};
use proptest::prelude::*;

use crate::client::{Response, request};
use crate::site::{Folder, OLD, Serving, date};

fn folder() -> Folder {
    let folder = Folder::new();
    folder.file("index.html", "start").file("about.html", "about").file("app.js", "script").file("plain", "plain");
    folder.file("plain.html", "page beside it").file("docs/start.html", "docs").file("docs/other.html", "other");
    folder.file("both/a", "in it").file("both.html", "beside it").file("empty/file", "file");
    folder.file(".secret", "secret").file(".git/config", "config");
    folder
}

/// What is expected of an answer.
enum Expected {
    /// This status and this body.
    Body(u16, &'static str),
    /// A redirect to there.
    To(&'static str),
    /// This status.
    Status(u16),
}
use Expected::{Body, Status, To};

const PAGE: &[(&str, &str)] = &[("Accept", "text/html,*/*;q=0.8")];

/// Asks each target twice, so that it may come from the cache, on every front.
fn check(rules: &Rules, rows: &[(&str, &[(&str, &str)], Expected)]) {
    let folder = folder();
    folder.file("../beside", "beside").link("inside", "about.html").link("outside", folder.path("../beside"));
    for (_, front) in Front::ALL {
        let serving = Serving::with(Config { rules: rules.clone(), ..Serving::config(*front, &folder) });
        let mut client = serving.client();
        for (target, fields, expected) in rows {
            for _ in 0..3 {
                let answer = client.exchange(request("GET", target, fields));
                let what = format!("{front:?} {target}: {} {:?}", answer.status, answer.fields);
                match expected {
                    Body(status, body) => assert_eq!((answer.status, answer.text()), (*status, *body), "{what}"),
                    To(place) => assert_eq!((answer.status, answer.field("Location")), (301, Some(*place)), "{what}"),
                    Status(status) => assert_eq!(answer.status, *status, "{what}"),
                }
            }
        }
    }
}

#[test]
fn the_first_index_that_is_there_stands_for_its_folder() {
    let rules = Rules { index: vec!["start.html".into(), "index.html".into()], ..Rules::default() };
    check(
        &rules,
        &[
            ("/", &[], Body(200, "start")),
            ("/docs/", &[], Body(200, "docs")),
            ("/docs", &[], To("/docs/")),
            ("/empty/", PAGE, Status(200)),
            ("/about.html/", &[], Status(404)),
        ],
    );
    let rules = Rules { index: Vec::new(), listing: false, ..Rules::default() };
    check(
        &rules,
        &[
            ("/", PAGE, Status(404)),
            ("/index.html", &[], Body(200, "start")),
            ("/empty/?format=json", &[], Status(404)),
            ("/empty", &[], To("/empty/")),
        ],
    );
}

#[test]
fn dotfiles_are_served_and_listed_if_that_is_wanted() {
    check(&Rules::default(), &[("/.secret", &[], Status(404)), ("/.git/config", &[], Status(404))]);
    let rules = Rules { hidden: true, index: Vec::new(), ..Rules::default() };
    check(&rules, &[("/.secret", &[], Body(200, "secret")), ("/.git/config", &[], Body(200, "config"))]);
    let folder = folder();
    for (hidden, listed) in [(false, false), (true, true)] {
        let rules = Rules { hidden, ..rules.clone() };
        let serving = Serving::with(Config { rules, ..Serving::config(Front::Direct, &folder) });
        let text = serving.client().exchange(request("GET", "/?format=json", &[])).text().to_owned();
        assert_eq!(text.contains(".secret"), listed, "{text}");
    }
}

#[test]
fn links_are_followed_as_far_as_is_said() {
    for (symlinks, inside, outside) in
        [(Symlinks::Inside, 200, 404), (Symlinks::Never, 404, 404), (Symlinks::Follow, 200, 200)]
    {
        let rules = Rules { symlinks, ..Rules::default() };
        check(&rules, &[("/inside", &[], Status(inside)), ("/outside", &[], Status(outside))]);
    }
}

#[test]
fn a_page_has_an_address_without_its_ending() {
    let rules = Rules { clean_urls: true, ..Rules::default() };
    check(
        &rules,
        &[
            ("/about", &[], Body(200, "about")),
            ("/about.html?a=b", &[], To("/about?a=b")),
            ("/about/", &[], Status(404)),
            ("/index.html", &[], To("/")),
            ("/", &[], Body(200, "start")),
            ("/docs/other", &[], Body(200, "other")),
            ("/docs/other.html", &[], To("/docs/other")),
            // The file of that very name goes before the page, and the page before the folder.
            ("/plain", &[], Body(200, "plain")),
            ("/plain.html", &[], Body(200, "page beside it")),
            ("/both", &[], Body(200, "beside it")),
            ("/both/a", &[], Body(200, "in it")),
            ("/empty", &[], To("/empty/")),
            ("/missing", &[], Status(404)),
            ("/missing.html", &[], Status(404)),
            ("/app.js", &[], Body(200, "script")),
        ],
    );
    // Another index that is there, too, is a page of its own.
    let index = vec!["index.html".into(), "about.html".into()];
    let rules = Rules { clean_urls: true, index, ..Rules::default() };
    check(&rules, &[("/about.html", &[], To("/about")), ("/about", &[], Body(200, "about"))]);
    let rules = Rules::default();
    check(&rules, &[("/about", &[], Status(404)), ("/about.html", &[], Body(200, "about"))]);
}

#[test]
fn an_application_gets_its_page_in_place_of_404_and_its_parts_do_not() {
    let rules = Rules { spa: Some("index.html".into()), ..Rules::default() };
    check(
        &rules,
        &[
            ("/some/route", PAGE, Body(200, "start")),
            ("/.secret", PAGE, Body(200, "start")),
            ("/missing.js", &[("Accept", "*/*")], Status(404)),
            ("/missing.js", &[], Status(404)),
            ("/app.js", PAGE, Body(200, "script")),
            ("/%00", PAGE, Status(400)),
        ],
    );
    let folder = folder();
    for (_, front) in Front::ALL {
        let serving = Serving::with(Config { rules: rules.clone(), ..Serving::config(*front, &folder) });
        let mut client = serving.client();
        let answer = client.exchange(request("GET", "/route", PAGE));
        assert_eq!(
            (answer.field("Vary"), answer.field("Content-Type")),
            (Some("Accept"), Some("text/html; charset=utf-8"))
        );
        let tag = answer.field("ETag").unwrap().to_owned();
        let again = client.exchange(request("GET", "/route", &[PAGE[0], ("If-None-Match", &tag)]));
        assert_eq!((again.status, again.field("Vary")), (304, Some("Accept")));
        assert_eq!(client.exchange(request("POST", "/route", PAGE)).status, 405);
    }
    // The page itself may be missing.
    check(&Rules { spa: Some("no.html".into()), ..Rules::default() }, &[("/route", PAGE, Status(404))]);
}

#[test]
fn files_say_how_long_they_keep_and_everything_has_the_fields_that_were_asked_for() {
    let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let links = ["<a>; rel=preload", "<b>; rel=preload"];
    let mut headers = vec![header("X-Robots-Tag", "noindex"), header("x-content-type-options", "off")];
    headers.extend(links.map(|link| header("Link", link)));
    let rules = Rules { cache_control: Some("max-age=60".into()), headers, ..Rules::default() };
    let folder = folder();
    for (_, front) in Front::ALL {
        let serving = Serving::with(Config { rules: rules.clone(), ..Serving::config(*front, &folder) });
        let mut client = serving.client();
        let tag = client.exchange(request("GET", "/about.html", &[])).field("ETag").unwrap().to_owned();
        let some: &[(&str, &str)] = &[("Range", "bytes=0-1")];
        let parts: &[(&str, &str)] = &[("Range", "bytes=0-0,2-2")];
        let known: &[(&str, &str)] = &[("If-None-Match", &tag)];
        for (target, fields, status, kept) in [
            ("/about.html", &[][..], 200, Some("max-age=60")),
            ("/about.html", &[], 200, Some("max-age=60")),
            ("/about.html", some, 206, Some("max-age=60")),
            ("/about.html", parts, 206, Some("max-age=60")),
            ("/about.html", known, 304, Some("max-age=60")),
            ("/missing", &[], 404, None),
            ("/docs", &[], 301, None),
            ("/docs/", &[], 200, Some("no-cache")),
        ] {
            let answer: Response = client.exchange(request("GET", target, fields));
            let what = format!("{front:?} {target} {fields:?}: {answer:?}");
            assert_eq!((answer.status, answer.field("Cache-Control")), (status, kept), "{what}");
            assert_eq!(answer.field("X-Robots-Tag"), Some("noindex"), "{what}");
            assert_eq!(answer.field("X-Content-Type-Options"), Some("off"), "{what}");
            let lines = answer.fields.iter().filter(|(name, _)| name.eq_ignore_ascii_case("Link"));
            assert!(lines.map(|(_, value)| value.as_str()).eq(links), "{what}");
        }
    }
}

#[test]
fn pages_of_other_origins_may_read_if_that_is_wanted() {
    let folder = folder();
    let cors = |origin: &str| Rules { cors: Some(origin.into()), isolate: true, ..Rules::default() };
    for (rules, origin) in
        [(Rules::default(), None), (cors("*"), Some("*")), (cors("https://a.b"), Some("https://a.b"))]
    {
        for (_, front) in Front::ALL {
            let serving = Serving::with(Config { rules: rules.clone(), ..Serving::config(*front, &folder) });
            let mut client = serving.client();
            let from = ("Origin", "https://a.b");
            for (method, target, status) in [
                ("GET", "/about.html", 200),
                ("GET", "/missing", 404),
                ("HEAD", "/app.js", 200),
                ("OPTIONS", "/app.js", 204),
            ] {
                let answer =
                    client.exchange(request(method, target, &[from, ("Access-Control-Request-Method", "GET")]));
                let what = format!("{front:?} {method} {target}: {answer:?}");
                assert_eq!((answer.status, answer.field("Access-Control-Allow-Origin")), (status, origin), "{what}");
                let asked = origin.filter(|_| method == "OPTIONS");
                assert_eq!(answer.field("Access-Control-Allow-Methods"), asked.map(|_| "GET, HEAD, OPTIONS"), "{what}");
                assert_eq!(answer.field("Access-Control-Allow-Headers"), asked.map(|_| "*, Authorization"), "{what}");
                assert_eq!(answer.field("Cross-Origin-Opener-Policy"), origin.map(|_| "same-origin"), "{what}");
                assert_eq!(answer.field("Cross-Origin-Embedder-Policy"), origin.map(|_| "require-corp"), "{what}");
            }
        }
    }
}

const CODINGS: [Coding; 3] = [Coding::Brotli, Coding::Zstandard, Coding::Gzip];

/// A script in all codings, a style in one, and a text whose variant is older than itself.
fn coded() -> Folder {
    let folder = folder();
    folder.file("app.js.br", "in br!").file("app.js.zst", "in zstd").file("app.js.gz", "in gzip");
    folder.file("a.css", "style").file("a.css.gz", "style in gzip").file("a.txt", "text").file("a.txt.br", "old");
    folder.file("docs/index.html", "index").file("docs/index.html.br", "index in br").file("only.js.br", "alone");
    date(&folder.path("a.txt.br"), UNIX_EPOCH + OLD - Duration::from_millis(1));
    folder
}

#[test]
fn who_accepts_a_coding_gets_the_variant_that_lies_there() {
    let folder = coded();
    let rules = Rules { precompressed: CODINGS.to_vec(), clean_urls: true, ..Rules::default() };
    for (_, front) in Front::ALL {
        let serving = Serving::with(Config { rules: rules.clone(), ..Serving::config(*front, &folder) });
        let mut client = serving.client();
        for (target, accepted, coding, body) in [
            ("/app.js", None, None, "script"),
            ("/app.js", Some(""), None, "script"),
            ("/app.js", Some("br"), Some("br"), "in br!"),
            ("/app.js", Some("gzip, deflate, br, zstd"), Some("br"), "in br!"),
            ("/app.js", Some("gzip, zstd"), Some("zstd"), "in zstd"),
            ("/app.js", Some("gzip, br;q=0.5"), Some("gzip"), "in gzip"),
            ("/app.js", Some("br;q=0, *"), Some("zstd"), "in zstd"),
            ("/app.js", Some("*"), Some("br"), "in br!"),
            ("/app.js", Some("identity, gzip;q=0.9"), None, "script"),
            ("/app.js", Some("identity;q=0, gzip;q=0.1"), Some("gzip"), "in gzip"),
            ("/app.js", Some("compress"), None, "script"),
            ("/a.css", Some("br, gzip"), Some("gzip"), "style in gzip"),
            ("/a.css", Some("br"), None, "style"),
            ("/a.txt", Some("br"), None, "text"),
            ("/docs/", Some("br"), Some("br"), "index in br"),
            ("/about", Some("br"), None, "about"),
            ("/app.js.br", Some("br"), None, "in br!"),
        ] {
            let accept: Vec<_> = accepted.map(|value| ("Accept-Encoding", value)).into_iter().collect();
            for method in ["GET", "HEAD"] {
                let answer = client.exchange(request(method, target, &accept));
                let what = format!("{front:?} {method} {target} {accepted:?}: {answer:?}");
                assert_eq!((answer.status, answer.field("Content-Encoding")), (200, coding), "{what}");
                assert_eq!(
                    (answer.field("Vary"), answer.length()),
                    (Some("Accept-Encoding"), Some(body.len())),
                    "{what}"
                );
                assert_eq!(answer.text(), if method == "GET" { body } else { "" }, "{what}");
                let script = target == "/app.js";
                assert!(!script || answer.field("Content-Type") == Some("text/javascript; charset=utf-8"), "{what}");
            }
        }
        let refused = client.exchange(request("GET", "/a.css", &[("Accept-Encoding", "br, identity;q=0")]));
        assert_eq!(refused.status, 406);
        assert_eq!(client.exchange(request("GET", "/only.js", &[("Accept-Encoding", "br")])).status, 404);
    }
    check(&Rules::default(), &[("/app.js", &[("Accept-Encoding", "br")], Body(200, "script"))]);
}

#[test]
fn a_variant_is_a_representation_of_its_own() {
    let folder = coded();
    let rules = Rules { precompressed: CODINGS.to_vec(), ..Rules::default() };
    for (_, front) in Front::ALL {
        let serving = Serving::with(Config { rules: rules.clone(), ..Serving::config(*front, &folder) });
        let mut client = serving.client();
        let mut ask = |fields: &[(&str, &str)]| client.exchange(request("GET", "/app.js", fields));
        let br = ("Accept-Encoding", "br");
        let (plain, coded) = (ask(&[]), ask(&[br]));
        let [plain_tag, tag] = [&plain, &coded].map(|answer| answer.field("ETag").unwrap());
        assert_ne!(plain_tag, tag);
        assert_eq!(ask(&[br, ("If-None-Match", tag)]).lasting_head().0, 304);
        let fresh = ask(&[br, ("If-None-Match", plain_tag)]);
        assert_eq!((fresh.status, fresh.text()), (200, "in br!"));
        let known = ask(&[("If-None-Match", plain_tag)]);
        assert_eq!((known.status, known.field("Vary")), (304, Some("Accept-Encoding")));
        let part = ask(&[br, ("Range", "bytes=3-"), ("If-Range", tag)]);
        assert_eq!((part.status, part.text(), part.field("Content-Range")), (206, "br!", Some("bytes 3-5/6")));
        assert_eq!(part.field("Content-Encoding"), Some("br"));
        let whole = ask(&[("Range", "bytes=3-"), ("If-Range", tag)]);
        assert_eq!((whole.status, whole.text()), (200, "script"), "a part of another representation");
    }
}

#[test]
fn a_variant_in_the_cache_is_neither_out_of_date_nor_taken_for_the_file_it_is() {
    let folder = coded();
    let rules = Rules { precompressed: CODINGS.to_vec(), ..Rules::default() };
    let site = Site::open(folder.root()).unwrap().with_cache(1 << 20).with_rules(rules);
    // A time at which all that was written now is settled.
    let now = SystemTime::now() + Duration::from_secs(60);
    let ask = |target: &str, accepted: &str| {
        let request = Request::new(&Method::Get, target).with("Host", "x").with("Accept-Encoding", accepted);
        let answer = site.answer(&request, now);
        let length = answer.content_length.unwrap();
        let coded =
            answer.fields.iter().find(|(name, _)| *name == "Content-Encoding").map(|(_, value)| value.to_owned());
        (length, coded)
    };
    for _ in 0..4 {
        assert_eq!(ask("/app.js", "br"), (6, Some("br".into())));
        assert_eq!(ask("/app.js.br", "br"), (6, None));
        assert_eq!(ask("/app.js", ""), (6, None));
    }
    folder.file("app.js.br", "in br again");
    assert_eq!(ask("/app.js", "br"), (11, Some("br".into())));
    // The original is newer now.
    date(&folder.path("app.js"), UNIX_EPOCH + OLD + Duration::from_secs(1));
    assert_eq!(ask("/app.js", "br"), (6, None));
    std::fs::remove_file(folder.path("app.js")).unwrap();
    let request = Request::new(&Method::Get, "/app.js").with("Host", "x").with("Accept-Encoding", "br");
    assert_eq!(site.answer(&request, now).status.0, 404);
}

#[test]
fn all_addresses_begin_with_the_prefix() {
    let rules =
        Rules { prefix: Some("my/docs".into()), clean_urls: true, spa: Some("index.html".into()), ..Rules::default() };
    check(
        &rules,
        &[
            ("/my/docs/", &[], Body(200, "start")),
            ("/my/docs", &[], To("/my/docs/")),
            ("/my/docs?a=b", &[], To("/my/docs/?a=b")),
            ("/my/docs/app.js", &[], Body(200, "script")),
            ("/my/docs/empty", &[], To("/my/docs/empty/")),
            ("/my/docs/about.html", &[], To("/my/docs/about")),
            ("/my/docs/index.html", &[], To("/my/docs/")),
            ("/my/docs/docs/index.html", &[], Status(404)),
            ("/", &[], Status(404)),
            ("/app.js", &[], Status(404)),
            ("/my/docsapp.js", &[], Status(404)),
            ("/my/docs/../app.js", &[], Status(400)),
            ("/my/docs/route", PAGE, Body(200, "start")),
            ("/route", PAGE, Status(404)),
            ("/my/docs/.secret", &[], Status(404)),
        ],
    );
}

#[test]
fn a_file_that_is_served_alone_is_what_every_address_names() {
    let folder = coded();
    folder.file("404.html", "not this").file("sp\u{e4} \"x\".txt", "other").link("current", "app.js");
    for (_, front) in Front::ALL {
        for (name, rules) in [
            ("app.js", Rules::default()),
            ("current", Rules { hidden: true, clean_urls: true, spa: Some("index.html".into()), ..Rules::default() }),
            ("app.js", Rules { precompressed: CODINGS.to_vec(), prefix: Some("a".into()), ..Rules::default() }),
        ] {
            let prefix = rules.prefix.as_ref().map(|prefix| format!("/{prefix}")).unwrap_or_default();
            let serving = Serving::with(Config { root: folder.path(name), rules, ..Serving::config(*front, &folder) });
            let mut client = serving.client();
            for target in ["/", "/app.js", "/index.html", "/404.html", "/a/b/c/", "/.secret", "/x?format=json"] {
                let accepted = [PAGE[0], ("Accept-Encoding", "br")];
                let answer = client.exchange(request("GET", &format!("{prefix}{target}"), &accepted));
                let what = format!("{front:?} {name} {target}: {answer:?}");
                assert_eq!((answer.status, answer.text()), (200, "script"), "{what}");
                assert_eq!(answer.field("Content-Type"), Some("text/javascript; charset=utf-8"), "{what}");
                assert_eq!((answer.field("Vary"), answer.field("Content-Disposition")), (None, None), "{what}");
            }
            let stored = "attachment; filename=\"app.js\"";
            for (method, fields, status) in
                [("GET", &[][..], 200), ("HEAD", &[], 200), ("GET", &[("Range", "bytes=1-2")], 206)]
            {
                let answer = client.exchange(request(method, &format!("{prefix}/?download"), fields));
                assert_eq!((answer.status, answer.field("Content-Disposition")), (status, Some(stored)), "{answer:?}");
            }
            assert_eq!(client.exchange(request("GET", &format!("{prefix}/../x"), &[])).status, 400);
        }
        // Another file that takes its place is served, a link in its place is not, and nothing beside it.
        let root = folder.path("app.js");
        let serving = Serving::with(Config { root: root.clone(), ..Serving::config(*front, &folder) });
        folder.file("new", "a new one");
        std::fs::rename(folder.path("new"), &root).unwrap();
        assert_eq!(serving.get("/").text(), "a new one");
        std::fs::remove_file(&root).unwrap();
        folder.link("app.js", "plain");
        let gone = serving.client().exchange(request("GET", "/404.html", PAGE));
        assert!(gone.status == 404 && !gone.text().contains("not this"), "{gone:?}");
        std::fs::remove_file(&root).unwrap();
        folder.file("app.js", "script");
    }
}

#[test]
fn what_is_to_be_stored_has_its_name() {
    let folder = folder();
    folder.file("sp\u{e4} \"x\".txt", "other");
    let odd = "attachment; filename=\"sp_ _x_.txt\"; filename*=UTF-8''sp%C3%A4%20%22x%22.txt";
    for (_, front) in Front::ALL {
        let serving = Serving::start(*front, &folder);
        for (target, status, expected) in [
            ("/about.html?download", 200, Some("attachment; filename=\"about.html\"")),
            ("/about.html?x&download=1", 200, Some("attachment; filename=\"about.html\"")),
            ("/sp%C3%A4%20%22x%22.txt?download", 200, Some(odd)),
            ("/about.html?downloads", 200, None),
            ("/about.html", 200, None),
            ("/missing?download", 404, None),
            ("/?download", 200, None),
        ] {
            for _ in 0..3 {
                let answer = serving.get(target);
                assert_eq!((answer.status, answer.field("Content-Disposition")), (status, expected), "{target}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Against a reader who looks at every coding for itself.
    #[test]
    fn of_the_codings_that_are_there_a_client_gets_one_that_it_wants_most(
        there in proptest::sample::subsequence(vec![0, 1, 2], 0..=3),
        order in Just(vec![0, 1, 2]).prop_shuffle(),
        wishes in proptest::collection::vec((0usize..5, 0u16..=10), 0..6),
    ) {
        const CODINGS: [(Coding, &str, &str); 3] =
            [(Coding::Brotli, "br", ".br"), (Coding::Zstandard, "zstd", ".zst"), (Coding::Gzip, "gzip", ".gz")];
        let names = ["br", "zstd", "gzip", "identity", "*"];
        let folder = Folder::new();
        folder.file("a.js", "plain");
        for number in &there {
            folder.file(format!("a.js{}", CODINGS[*number].2), CODINGS[*number].1);
        }
        let precompressed = order.iter().map(|number| CODINGS[*number].0).collect();
        let site = Site::open(folder.root()).unwrap().with_rules(Rules { precompressed, ..Rules::default() });
        let field: Vec<_> = wishes.iter().map(|(name, q)| format!("{};q={}", names[*name], f32::from(*q) / 10.0)).collect();
        let field = field.join(", ");
        let request = Request::new(&Method::Get, "/a.js").with("Host", "x").with("Accept-Encoding", &field);
        let answer = site.answer(&request, SystemTime::now());
        // What is said of a coding: by its name for the first time, else by the last star.
        let said = |name: usize| wishes.iter().find(|(known, _)| *known == name).map(|(_, q)| *q);
        let star = wishes.iter().rev().find(|(known, _)| *known == 4).map(|(_, q)| *q);
        let coded = order.iter().filter(|number| there.contains(number));
        let best = coded.map(|number| (said(*number).or(star).unwrap_or(0), *number)).filter(|(q, _)| *q > 0);
        // The first of those that are wanted equally, unless the file as it is was wanted more, in so many words.
        let best = best.fold(None, |best: Option<(u16, usize)>, one| best.filter(|best| best.0 >= one.0).or(Some(one)));
        let expected = match best.filter(|(q, _)| said(3).is_none_or(|plain| plain <= *q)) {
            Some((_, number)) => Ok(Some(CODINGS[number].1)),
            None if said(3).or(star) == Some(0) => Err(406),
            None => Ok(None),
        };
        let coding = answer.fields.iter().find(|(name, _)| *name == "Content-Encoding").map(|(_, value)| value);
        let found = if answer.status.0 == 200 { Ok(coding) } else { Err(answer.status.0) };
        prop_assert_eq!(found, expected, "{:?} there, {:?} in this order: {}", there, order, field);
    }
}
