//! The pure functions that every request passes through, each by itself, so that a slowdown is seen: `cargo bench` compares
//! with what it measured the last time.

use std::hint::black_box;
use std::time::SystemTime;

use brooklet::tiny_http::Method;
use brooklet::{Request, Site, parts};
use criterion::Criterion;

/// What a browser sends.
const HEAD: &str = "GET /assets/app.0f3a.js?v=12 HTTP/1.1\r\nHost: files.example.org:8080\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\nAccept: */*\r\n\
    Accept-Language: en-GB,en;q=0.7,de;q=0.3\r\nAccept-Encoding: gzip, deflate, br, zstd\r\nDNT: 1\r\n\
    Connection: keep-alive\r\nReferer: http://files.example.org:8080/\r\nSec-Fetch-Dest: script\r\n\
    Sec-Fetch-Mode: no-cors\r\nSec-Fetch-Site: same-origin\r\nIf-None-Match: \"17-65a1-9f3c2d\"\r\n\r\n";

fn functions(criterion: &mut Criterion) {
    criterion.bench_function("head", |bench| bench.iter(|| parts::head(black_box(HEAD.as_bytes()))));
    let short = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
    criterion.bench_function("head, short", |bench| bench.iter(|| parts::head(black_box(short.as_bytes()))));
    for (name, target) in
        [("target", "/assets/app.0f3a.js?v=12"), ("target, encoded", "/M%C3%A4rz/Protokoll%202026.pdf")]
    {
        criterion.bench_function(name, |bench| bench.iter(|| parts::target(black_box(target))));
    }
    for (name, range) in [("range", "bytes=1048576-2097151"), ("range, three", "bytes=0-99,1000-1999,-500")] {
        criterion.bench_function(name, |bench| bench.iter(|| parts::range(black_box(range), black_box(1 << 30))));
    }
    let file = parts::File::default();
    let etag = file.etag();
    let tags = format!("\"another\", {etag}");
    for (name, field, value) in [
        ("precondition, tags", "If-None-Match", tags.as_str()),
        ("precondition, date", "If-Modified-Since", "Tue, 14 Nov 2023 22:13:20 GMT"),
    ] {
        let request = Request::new(&Method::Get, "/").with(field, value);
        criterion.bench_function(name, |bench| bench.iter(|| parts::precondition(black_box(&request), &file)));
    }
}

/// The whole answer for a small file: from the cache, and from the file system each time.
fn answers(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().and_then(|folder| {
        std::fs::write(folder.path().join("small.html"), [b'x'; 1024])?;
        // What has just changed may change again unseen: it is not kept.
        let file = std::fs::File::open(folder.path().join("small.html"))?;
        file.set_modified(SystemTime::now() - std::time::Duration::from_secs(3600))?;
        Ok(folder)
    });
    let Ok(folder) = folder else { return eprintln!("no temporary folder can be made: the answers are left out") };
    for (name, cache) in [("answer, kept", 1 << 20), ("answer, opened", 0)] {
        let Ok(site) = Site::open(folder.path()).map(|site| site.with_cache(cache)) else { return };
        let request = Request::new(&Method::Get, "/small.html").with("Host", "localhost");
        let (mut out, now) = (Vec::with_capacity(1024), SystemTime::now() + std::time::Duration::from_secs(3600));
        criterion.bench_function(name, |bench| {
            bench.iter(|| {
                out.clear();
                parts::answer(&site, black_box(&request), now, &mut out);
                out.len()
            });
        });
    }
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    functions(&mut criterion);
    answers(&mut criterion);
    criterion.final_summary();
}
