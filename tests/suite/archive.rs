//! A folder as one download.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::process::{Command, Stdio};
use std::time::{Duration, UNIX_EPOCH};

use brooklet::{Config, Front, Rules};
use rustix::fs::{Mode, OFlags, mkdirat, openat};

use crate::client::{Client, Response, get, request};
use crate::measure::process::memory;
use crate::program::{BINARY, Program, within_reason};
use crate::site::{Folder, OLD, Serving, date, fronts, noise};

const TAR: &str = "?archive=tar";

fn serving(front: Front, folder: &Folder) -> Serving {
    let rules = Rules { archive: true, ..Rules::default() };
    Serving::with(Config { rules, workers: Some(24), ..Serving::config(front, folder) })
}

/// A folder `in` of all kinds of names and sizes, and what is not to be in an archive of it. Each file contains its own path.
fn fixture() -> (Folder, Vec<Vec<u8>>) {
    let folder = Folder::new();
    let long = "n".repeat(150);
    let names: Vec<Vec<u8>> = [
        b"in/plain.txt".to_vec(),
        b"in/sub/deep/er/file".to_vec(),
        b"in/sub/deeper.txt".to_vec(),
        b"in/sub.txt".to_vec(),
        "in/sp\u{e4} \u{65e5}\u{672c}\u{8a9e}".into(),
        format!("in/{long}/{long}").into(),
        b"in/no-utf8-\xff\xfe".to_vec(),
        [b"in/\xff", long.as_bytes()].concat(),
        b"in/line\nbreak".to_vec(),
        b"in/-rf *".to_vec(),
    ]
    .to_vec();
    for name in &names {
        folder.file(OsStr::from_bytes(name), name);
    }
    for length in [511, 512, 513, 100_000] {
        folder.file(format!("in/of-{length}"), noise(length, length as usize));
    }
    folder.file("in/empty", "").folder("in/hollow").file("in/.hidden", "h").file("in/.git/config", "h");
    folder
        .file("_headers", "")
        .file("in/index.html", "the index")
        .link("in/link", "plain.txt")
        .link("in/loop", "../in");
    assert!(Command::new("mkfifo").arg(folder.path("in/fifo")).status().is_ok_and(|status| status.success()));
    (folder, names)
}

/// What is in an archive: the content of each file; of a folder nothing.
fn members(archive: &[u8]) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut archive = tar::Archive::new(archive);
    let entries = archive.entries().unwrap().map(|entry| {
        let mut entry = entry.expect("a member");
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        assert_eq!(entry.header().entry_type().is_dir(), entry.path_bytes().ends_with(b"/"));
        (entry.path_bytes().into_owned(), content)
    });
    entries.collect()
}

#[test]
fn an_archive_is_what_the_folder_is() {
    let (folder, names) = fixture();
    for front in fronts() {
        let serving = serving(front, &folder);
        let answer = serving.get(&format!("/in/{TAR}"));
        assert_eq!((answer.status, answer.field("Content-Type")), (200, Some("application/x-tar")));
        assert_eq!(answer.field("Content-Disposition"), Some("attachment; filename=\"in.tar\""));
        assert_eq!(answer.length(), Some(answer.body.len()));
        let found = members(&answer.body);
        let mut expected: BTreeMap<_, _> = names.iter().map(|name| (name.clone(), name.clone())).collect();
        for length in [511, 512, 513, 100_000] {
            expected.insert(format!("in/of-{length}").into(), noise(length, length as usize));
        }
        expected.insert("in/empty".into(), Vec::new());
        expected.insert("in/index.html".into(), b"the index".to_vec());
        let long = format!("in/{}/", "n".repeat(150));
        for name in ["in/sub/", "in/sub/deep/", "in/sub/deep/er/", "in/hollow/", &long] {
            expected.insert(name.into(), Vec::new());
        }
        let shown = |members: &BTreeMap<Vec<u8>, Vec<u8>>| -> Vec<_> {
            members.keys().map(|name| name.escape_ascii().to_string()).collect()
        };
        assert_eq!(shown(&found), shown(&expected));
        assert!(found == expected);
        // Those of the root have a name of their own, and what makes rules is not among them.
        let top = members(&serving.get(&format!("/{TAR}")).body);
        assert!(top.contains_key(&b"files/in/plain.txt"[..]) && top.len() == expected.len() + 1);
    }
}

#[test]
fn it_is_not_there_without_being_wanted_and_a_file_is_none() {
    let (folder, _) = fixture();
    for front in fronts() {
        let plain = Serving::start(front, &folder);
        assert_eq!(plain.get(&format!("/in/{TAR}")).body, b"the index");
        let serving = serving(front, &folder);
        for (target, status) in [
            ("/in/?archive=zip", 400),
            ("/in/?archive=", 400),
            ("/in?archive=tar", 301),
            ("/in/plain.txt?archive=tar", 200),
            ("/in/plain.txt/?archive=tar", 404),
            ("/missing/?archive=tar", 404),
            ("/in/.git/?archive=tar", 404),
        ] {
            let answer = serving.get(target);
            assert_eq!(answer.status, status, "{target}");
            assert_ne!(answer.field("Content-Type"), Some("application/x-tar"), "{target}");
        }
        let linked = |serving: &Serving| serving.get("/in/sub/").text().contains("<a href=\"?archive=tar\">");
        assert_eq!((linked(&plain), linked(&serving)), (false, true), "the listing has a link to it");
        let hidden = Rules { archive: true, hidden: true, ..Rules::default() };
        let serving = Serving::with(Config { rules: hidden, ..Serving::config(front, &folder) });
        assert!(members(&serving.get(&format!("/in/{TAR}")).body).contains_key(&b"in/.git/config"[..]));
    }
}

/// Sets times that are old, of folders too, so that the tag is strong.
fn settle(folder: &Folder) {
    let mut find = Command::new("find");
    find.arg(folder.root()).args(["-exec", "touch", "-h", "-d", "2023-01-01", "{}", "+"]);
    assert!(find.status().is_ok_and(|status| status.success()));
}

#[test]
fn any_part_of_it_is_the_part_of_the_whole() {
    let (folder, _) = fixture();
    settle(&folder);
    for front in fronts() {
        let serving = serving(front, &folder);
        let mut client = serving.client();
        let target = format!("/in/{TAR}");
        let whole = client.exchange(get(&target));
        let (body, tag) = (whole.body, whole.fields.iter().find(|(name, _)| name == "ETag").unwrap().1.clone());
        assert!(tag.starts_with('"'), "{tag}");
        let head = client.exchange(request("HEAD", &target, &[]));
        assert_eq!((head.status, head.length()), (200, Some(body.len())));
        let mut seed = noise(11, 4000).into_iter();
        let mut number = || (0..3).fold(0, |sum, _| sum << 8 | usize::from(seed.next().unwrap())) % body.len();
        for round in 0..200 {
            let (one, other) = (number(), number());
            let (from, until) = match round {
                0..100 => (one.min(other), one.max(other)),
                // Short ones, which leave with their heads.
                _ => (one, (one + other % 2000).min(body.len() - 1)),
            };
            let range = format!("bytes={from}-{until}");
            let part = client.exchange(request("GET", &target, &[("Range", &range), ("If-Range", &tag)]));
            assert_eq!((part.status, part.length()), (206, Some(until + 1 - from)), "{range}");
            let content_range = format!("bytes {from}-{until}/{}", body.len());
            assert_eq!(part.field("Content-Range"), Some(content_range.as_str()));
            assert!(part.body == body[from..=until], "{range}");
        }
        for (fields, status, length) in [
            (&[("If-None-Match", tag.as_str())][..], 304, None),
            (&[("If-Match", "\"x\"")], 412, None),
            (&[("Range", "bytes=99999999-")], 416, None),
            (&[("Range", "bytes=-1000")], 206, Some(1000)),
            // An answer to several would have no end in sight.
            (&[("Range", "bytes=0-0,9-9")], 200, Some(body.len())),
            (&[("Range", "bytes=5-"), ("If-Range", "\"x\"")], 200, Some(body.len())),
        ] {
            let answer: Response = client.exchange(request("GET", &target, fields));
            assert_eq!(answer.status, status, "{fields:?}");
            assert_eq!(answer.field("ETag"), Some(tag.as_str()), "{fields:?}");
            assert!(length.is_none_or(|length| answer.body.len() == length), "{fields:?}");
        }
        // Through a small window, as often stopped as resumed.
        let mut slow = Client::with_small_window(serving.address);
        slow.send(get(&target));
        assert_eq!(slow.receive_head().length(), Some(body.len()));
        assert!(slow.take(body.len()).unwrap() == body);
    }
}

#[test]
fn whatever_changes_gives_another_tag() {
    let folder = Folder::new();
    folder.file("in/a", "a").file("in/b", "b").file("in/sub/c", "c");
    let old = |name: &str| date(&folder.path(name), UNIX_EPOCH + OLD);
    let changes: [(&str, &dyn Fn()); 6] = [
        ("a size", &|| _ = folder.file("in/a", "aa")),
        ("a time", &|| date(&folder.path("in/b"), UNIX_EPOCH + OLD + Duration::from_nanos(1))),
        ("a name", &|| std::fs::rename(folder.path("in/sub/c"), folder.path("in/sub/d")).unwrap()),
        ("a new file", &|| _ = folder.file("in/sub/new", "new")),
        ("a new folder", &|| _ = folder.folder("in/hollow")),
        ("one less", &|| std::fs::remove_file(folder.path("in/a")).unwrap()),
    ];
    let servings: Vec<_> = fronts().map(|front| serving(front, &folder)).collect();
    let tags = || -> Vec<_> {
        let head = |serving: &Serving| {
            let head = serving.client().exchange(request("HEAD", &format!("/in/{TAR}"), &[]));
            (head.field("ETag").unwrap().trim_start_matches("W/").to_owned(), head.length())
        };
        servings.iter().map(head).collect()
    };
    let mut seen = vec![tags()];
    for (name, change) in changes {
        change();
        let now = tags();
        assert!(now.iter().all(|tag| *tag == now[0]), "the fronts agree: {name}");
        assert!(!seen.contains(&now), "{name}");
        assert_eq!(now, tags(), "it stays: {name}");
        seen.push(now);
    }
    // Young as it is, it may change unseen.
    assert!(servings[0].get(&format!("/in/{TAR}")).field("ETag").unwrap().starts_with("W/"));
    old("in/b");
}

#[test]
fn what_changes_while_it_is_sent_ends_the_download() {
    const LARGE: usize = 24 << 20;
    let content = noise(3, LARGE);
    let changes: [(&str, &dyn Fn(&Folder)); 8] = [
        ("the file that is sent has another byte", &|folder| {
            let mut file = std::fs::File::options().write(true).open(folder.path("in/m/s/large")).unwrap();
            file.write_all(b"X").unwrap();
        }),
        ("the file that is sent grows", &|folder| {
            let mut file = std::fs::File::options().append(true).open(folder.path("in/m/s/large")).unwrap();
            file.write_all(b"more").unwrap();
        }),
        ("the file that is sent becomes shorter", &|folder| {
            let file = std::fs::File::options().write(true).open(folder.path("in/m/s/large")).unwrap();
            file.set_len(LARGE as u64 / 2).unwrap();
        }),
        ("a later file has another content of the same length", &|folder| {
            std::fs::write(folder.path("in/z"), "Z").unwrap()
        }),
        ("a later file is another one", &|folder| {
            folder.file("in/.new", "zz");
            std::fs::rename(folder.path("in/.new"), folder.path("in/z")).unwrap();
        }),
        ("a later file is gone", &|folder| std::fs::remove_file(folder.path("in/z")).unwrap()),
        ("another folder takes the place of one above", &|folder| {
            folder.file("../m/s/large", &content).file("../m/t", "u");
            for (from, to) in [("in/m", "../old"), ("../m", "in/m")] {
                std::fs::rename(folder.path(from), folder.path(to)).unwrap();
            }
        }),
        ("there is another one in a later folder", &|folder| _ = folder.file("in/n/y", "y")),
    ];
    for front in fronts() {
        for (name, change) in &changes {
            println!("{name}");
            let folder = Folder::new();
            folder.file("in/a", "a").file("in/m/s/large", &content).file("in/m/t", "t");
            folder.file("in/n/x", "x").file("in/z", "z");
            // What changes within one tick of the file system's clock has the same time.
            let changed = |name: &str| {
                let metadata = std::fs::metadata(folder.path(name)).unwrap();
                (metadata.ctime(), metadata.ctime_nsec())
            };
            within_reason("the clock ticks", || {
                folder.file("../probe", "");
                (changed("../probe") > changed("in/z").max(changed("in"))).then_some(())
            });
            let serving = serving(front, &folder);
            let ask = |fields: &[(&str, &str)]| {
                let mut client = Client::with_small_window(serving.address);
                client.send(request("GET", &format!("/in/{TAR}"), fields));
                client
            };
            // A part that ends in the large file is of one version, too.
            let mut clients = vec![ask(&[])];
            clients.extend(name.starts_with("the file that is sent").then(|| ask(&[("Range", "bytes=0-20000000")])));
            let heads: Vec<_> = clients.iter_mut().map(Client::receive_head).collect();
            let tag = heads[0].field("ETag").unwrap().to_owned();
            change(&folder);
            for (mut client, head) in clients.into_iter().zip(heads) {
                let (came, length) = (client.rest().len(), head.length().unwrap());
                assert!(came < length, "{name}: all {length} bytes came");
            }
            let next = serving.client().exchange(request("HEAD", &format!("/in/{TAR}"), &[]));
            assert_ne!(next.field("ETag"), Some(tag.as_str()), "{name}");
            assert!(!members(&serving.get(&format!("/in/{TAR}")).body).is_empty(), "{name}");
        }
    }
}

#[test]
fn more_names_than_are_held_come_all_the_same() {
    let folder = Folder::new();
    folder.folder("in/many");
    let name = |number: usize| format!("in/many/{:0>60}", number * 7919 % 100_003);
    for number in 0..30_000 {
        std::fs::write(folder.path(name(number)), "").unwrap();
    }
    // Folders beside one another, each of which leads away from the names of those behind it.
    for number in 0..600 {
        folder.file(format!("in/folder-{number:0>50}/file"), number.to_string());
    }
    for front in fronts() {
        let serving = serving(front, &folder);
        let body = serving.get(&format!("/in/{TAR}")).body;
        let mut archive = tar::Archive::new(&body[..]);
        let paths: Vec<_> = archive.entries().unwrap().map(|entry| entry.unwrap().path_bytes().into_owned()).collect();
        assert_eq!(paths.len(), 30_000 + 2 * 600 + 1);
        assert!(paths.is_sorted(), "in the order of the names");
        let part = request("GET", &format!("/in/{TAR}"), &[("Range", "bytes=-5000")]);
        assert!(serving.client().exchange(part).body == body[body.len() - 5000..]);
    }
}

#[test]
fn only_so_many_are_sent_at_once() {
    let folder = Folder::new();
    folder.file("in/large", noise(4, 16 << 20));
    for front in fronts() {
        let serving = serving(front, &folder);
        let ask = || {
            let mut client = Client::with_small_window(serving.address);
            client.send(get(&format!("/in/{TAR}")));
            client
        };
        let mut sent = Vec::new();
        for _ in 0..16 {
            // One after the other, since only some may be walked through at once.
            sent.push(ask());
            assert_eq!(sent.last_mut().map(|client| client.receive_head().status), Some(200));
        }
        let refused = ask().receive();
        assert_eq!((refused.status, refused.field("Retry-After")), (503, Some("1")));
        assert_eq!(serving.client().exchange(request("HEAD", "/in/large", &[])).status, 200);
        drop(sent.pop());
        within_reason("there is a place again", || (ask().receive_head().status == 200).then_some(()));
    }
}

#[test]
fn what_is_too_deep_to_be_asked_for_is_left_out() {
    let folder = Folder::new();
    folder.file("in/a", "a").file("in/z", "z");
    let name = "d".repeat(250);
    // Each in the one before, since the whole path is too long for any call.
    let mut inner = std::fs::File::open(folder.path("in")).unwrap();
    for _ in 0..20 {
        mkdirat(&inner, &name, Mode::RWXU).unwrap();
        inner = openat(&inner, &name, OFlags::RDONLY, Mode::empty()).unwrap().into();
        openat(&inner, "file", OFlags::CREATE | OFlags::WRONLY, Mode::RUSR).unwrap();
    }
    for front in fronts() {
        let rules = Rules { archive: true, spa: Some("in/a".into()), ..Rules::default() };
        let serving = Serving::with(Config { rules, workers: Some(1), ..Serving::config(front, &folder) });
        let accepting = [("Accept", "text/html")];
        let answer = serving.client().exchange(request("GET", &format!("/in/{TAR}"), &accepting));
        assert_eq!(answer.status, 200);
        let found = members(&answer.body);
        // 4000 bytes are 15 of these names, of 251 bytes with their slashes.
        assert_eq!((found.len(), found.get(&b"in/z"[..])), (2 + 2 * 15, Some(&b"z".to_vec())));
    }
    // Not what every program can remove.
    let status = Command::new("rm").arg("-rf").arg(folder.path("in")).status();
    assert!(status.is_ok_and(|status| status.success()));
}

#[test]
fn a_file_of_more_than_eight_gib_is_no_trouble() {
    const LENGTH: u64 = 9 << 30;
    let folder = Folder::new();
    folder.file("in/a", "a").file("in/z", "z");
    std::fs::File::create(folder.path("in/huge")).unwrap().set_len(LENGTH).unwrap();
    for front in fronts() {
        let serving = serving(front, &folder);
        let target = format!("/in/{TAR}");
        let head = serving.client().exchange(request("HEAD", &target, &[]));
        // Each a header of one block and one block of content, but for the large one: three blocks and itself; the end.
        assert_eq!(head.length(), Some(2 * 1024 + 3 * 512 + LENGTH as usize + 1024));
        let begin = serving.client().exchange(request("GET", &target, &[("Range", "bytes=0-4095")])).body;
        let mut archive = tar::Archive::new(&begin[..]);
        let entry = archive.entries().unwrap().nth(1).unwrap().unwrap();
        assert_eq!((entry.path_bytes().as_ref(), entry.size()), (&b"in/huge"[..], LENGTH));
        let end = serving.client().exchange(request("GET", &target, &[("Range", "bytes=-2048")])).body;
        assert_eq!(members(&end), BTreeMap::from([(b"in/z".to_vec(), b"z".to_vec())]));
    }
}

#[test]
fn programs_that_read_archives_agree() {
    let (folder, names) = fixture();
    folder.file("in/of-1969", "old");
    date(&folder.path("in/of-1969"), UNIX_EPOCH - Duration::from_millis(1500));
    let serving = serving(Front::Direct, &folder);
    let body = serving.get(&format!("/in/{TAR}")).body;
    let python = "import sys, tarfile; tarfile.open(fileobj=sys.stdin.buffer, mode='r|').extractall('.')";
    let readers: [(&str, &[&str]); 3] =
        [("tar", &["-xf", "-"]), ("bsdtar", &["-xf", "-"]), ("python3", &["-c", python])];
    let mut found = 0;
    for (program, arguments) in readers {
        let out = tempfile::tempdir().unwrap();
        let mut command = Command::new(program);
        // In which each name of a file is what it is.
        command.args(arguments).current_dir(out.path()).env("LC_ALL", "C.UTF-8").stdin(Stdio::piped());
        let mut child = match command.spawn() {
            Ok(child) => child,
            // Where changes are judged each of them has to be there.
            Err(error) if std::env::var_os("CI").is_none() => {
                println!("{program} is not there: {error}");
                continue;
            }
            Err(error) => panic!("{program}: {error}"),
        };
        child.stdin.take().unwrap().write_all(&body).unwrap();
        assert!(child.wait().unwrap().success(), "{program}");
        for name in &names {
            let path = out.path().join(OsStr::from_bytes(name));
            assert_eq!(std::fs::read(&path).ok().as_ref(), Some(name), "{program}: {}", path.display());
        }
        for (name, time) in [
            ("in/plain.txt", UNIX_EPOCH + Duration::from_secs(OLD.as_secs())),
            ("in/of-1969", UNIX_EPOCH - Duration::from_secs(2)),
        ] {
            assert_eq!(
                std::fs::metadata(out.path().join(name)).unwrap().modified().unwrap(),
                time,
                "{program}: {name}"
            );
        }
        assert!(out.path().join("in/hollow").is_dir() && !out.path().join("in/link").exists(), "{program}");
        found += 1;
    }
    assert!(found > 0, "no program that reads archives is there");
}

#[test]
fn its_memory_does_not_grow_with_the_number_of_files() {
    let folder = Folder::new();
    for part in 0..30 {
        folder.folder(format!("in/{part}"));
        for number in 0..1000 {
            std::fs::write(folder.path(format!("in/{part}/{number:0>40}")), "x").unwrap();
        }
    }
    folder.file("few/file", "x");
    for (name, _) in Front::ALL {
        let mut command = Command::new(BINARY);
        let arguments = ["--front", name, "--archive", "--workers", "2", "-q", "-p", "0"];
        let mut program = Program::start(command.args(arguments).arg(folder.root()));
        let address = program.address(&folder.root());
        let ask = |folder: &str| Client::connect(address).exchange(get(&format!("/{folder}/{TAR}"))).body.len();
        assert_eq!((0..8).map(|_| ask("few")).max(), Some(512 * 2 + 1024));
        let before = memory(program.id()).unwrap().peak;
        for _ in 0..2 {
            assert_eq!(ask("in"), 30_000 * 1024 + 30 * 512 + 1024);
        }
        let grown = memory(program.id()).unwrap().peak - before;
        assert!(grown < 1 << 20, "{name}: {grown} bytes more");
    }
}
