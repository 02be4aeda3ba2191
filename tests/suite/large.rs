//! Folders with more entries than are sorted, which are read while their listing is sent; and pages of the JSON.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, hard_link, remove_file};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use brooklet::limits::LISTING_SORTED;

use crate::client::{Client, Response, get, request};
use crate::listing::Json;
use crate::measure::MIB;
use crate::measure::process::memory;
use crate::program::{BINARY, Program};
use crate::site::{Folder, Serving, fronts};

/// Makes empty files of these numbers; more than 10,000 share an inode, which is quicker.
fn fill(folder: &Path, numbers: std::ops::Range<usize>) {
    let mut first = folder.join("none");
    for number in numbers {
        let path = folder.join(name(number));
        if number % 10_000 == 0 || hard_link(&first, &path).is_err() {
            File::create(&path).unwrap();
            first = path;
        }
    }
}

fn name(number: usize) -> String {
    format!("file {number:07}")
}

/// A folder `many` with so many files.
fn many(count: usize) -> Folder {
    let folder = Folder::new();
    folder.folder("many").file("small", "small");
    fill(&folder.path("many"), 0..count);
    folder
}

/// The names in the rows of a page.
fn shown(page: &str) -> Vec<&str> {
    page.split("<bdi>").skip(1).map(|rest| rest.split_once("</bdi>").unwrap().0).filter(|n| *n != "many").collect()
}

fn names(json: &Json) -> Vec<String> {
    json.get("entries").list().iter().map(|entry| entry.get("name").text().to_owned()).collect()
}

fn is_sorted(json: &Json) -> bool {
    json.get("sorted") == &Json::Other("true".into())
}

/// Holds that each of so many names is there once, and nothing else.
fn each_once<'a>(found: impl IntoIterator<Item = &'a str>, count: usize) {
    let found: Vec<_> = found.into_iter().collect();
    assert_eq!(found.len(), count);
    let found: BTreeSet<_> = found.into_iter().collect();
    assert!(found.len() == count && (0..count).all(|number| found.contains(&*name(number))));
}

#[test]
fn a_folder_is_sorted_up_to_a_bound_and_read_while_it_is_sent_beyond() {
    let folder = many(LISTING_SORTED);
    for front in fronts() {
        let serving = Serving::start(front, &folder);
        let mut client = serving.client();
        let whole = client.exchange(get("/many/"));
        assert!(whole.length().is_some() && shown(whole.text()).is_sorted());
        each_once(shown(whole.text()), LISTING_SORTED);
        assert!(whole.text().contains("aria-sort=\"") && !whole.text().contains("Not sorted"));
        assert!(is_sorted(&Json::parse(client.exchange(get("/many/?format=json")).text())));

        let one_more = folder.path("many").join(name(LISTING_SORTED));
        File::create(&one_more).unwrap();
        let count = LISTING_SORTED + 1;
        // All on one connection: who took one end for another would not get far.
        let large = client.exchange(get("/many/?sort=size"));
        assert_eq!((large.length(), large.field("Transfer-Encoding")), (None, Some("chunked")));
        assert_eq!(large.field("Connection"), None);
        each_once(shown(large.text()), count);
        assert!(large.text().contains("Not sorted") && !large.text().contains("aria-sort=\""));
        assert!(large.text().contains(&format!("0 folders, {count} files")) && large.text().ends_with("</html>\n"));
        let json = client.exchange(get("/many/?format=json"));
        assert_eq!((json.length(), json.field("Transfer-Encoding")), (None, Some("chunked")));
        let json = Json::parse(json.text());
        assert!(!is_sorted(&json) && json.find("next").is_none());
        each_once(names(&json).iter().map(String::as_str), count);

        let head = client.exchange(request("HEAD", "/many/", &[]));
        assert_eq!((head.status, head.length(), head.field("Transfer-Encoding")), (200, None, None));
        // A part that is small enough is sorted, and so has a length.
        let some = client.exchange(get("/many/?q=E+0012&sort=name&order=desc"));
        assert!(some.length().is_some() && shown(some.text()).is_sorted_by(|a, b| a > b));
        assert_eq!(shown(some.text()).len(), 1000);
        let most = client.exchange(get("/many/?q=file"));
        assert!(most.length().is_none() && shown(most.text()).len() == count);
        assert_eq!(client.exchange(get("/small")).body, b"small");

        for fields in ["", "Connection: keep-alive\r\n"] {
            let mut old = serving.client();
            old.send(format!("GET /many/ HTTP/1.0\r\n{fields}\r\n"));
            let head = old.receive_head();
            assert_eq!((head.status, head.length(), head.field("Transfer-Encoding")), (200, None, None));
            assert_eq!(head.field("Connection"), Some("close"));
            assert!(old.whole_rest().unwrap() == client.exchange(get("/many/")).body, "{fields:?}");
        }
        let mut closing = serving.client();
        let closed = closing.exchange(request("GET", "/many/", &[("Connection", "close")]));
        assert_eq!(closed.field("Transfer-Encoding"), Some("chunked"));
        assert_eq!(closing.whole_rest().unwrap(), b"");
        remove_file(&one_more).unwrap();
    }
}

#[test]
fn who_stands_still_in_the_middle_of_a_folder_goes_on_and_holds_nobody_up() {
    let folder = many(LISTING_SORTED + 1);
    for front in fronts() {
        let serving = Serving::start(front, &folder);
        let mut clients: Vec<_> = (0..4).map(|_| Client::with_small_window(serving.address)).collect();
        clients.iter_mut().for_each(|client| client.send(get("/many/") + &get("/small")));
        let mut bodies = Vec::new();
        for client in &mut clients {
            assert_eq!(client.receive_head().field("Transfer-Encoding"), Some("chunked"));
            bodies.push(client.chunk().unwrap().unwrap());
        }
        for _ in 0..20 {
            assert_eq!(serving.get("/small").body, b"small");
        }
        for (client, body) in clients.iter_mut().zip(&mut bodies) {
            while let Some(chunk) = client.chunk().unwrap() {
                assert!(chunk.len() < 64 << 10);
                body.extend(chunk);
            }
            each_once(shown(std::str::from_utf8(body).unwrap()), LISTING_SORTED + 1);
            assert_eq!(client.receive().body, b"small");
        }
    }
}

/// Follows the pages of the folder `many` from this query on.
fn follow(client: &mut Client, query: &str, mut each: impl FnMut(&Response, Vec<String>)) {
    let mut next = query.to_owned();
    loop {
        let response = client.exchange(get(&format!("/many/{next}")));
        assert_eq!(response.status, 200, "{next}");
        assert!(response.length().is_some());
        let json = Json::parse(response.text());
        each(&response, names(&json));
        match json.find("next") {
            Some(link) => next = link.text().to_owned(),
            None => break,
        }
    }
}

#[test]
fn pages_by_name_are_in_order_and_give_each_name_once() {
    let folder = many(250);
    for odd in ["%", "+", "a&b=c", "\u{fc}", "/\u{1}"] {
        folder.file(format!("many/odd{odd}"), "");
    }
    folder.folder("many/sub");
    let expected: Vec<_> = ["odd%", "odd+", "odda&b=c", "odd", "sub", "odd\u{fc}"].into();
    for front in fronts() {
        let serving = Serving::start(front, &folder);
        let mut client = serving.client();
        for limit in [1, 7, 256, 10_000] {
            let mut found = Vec::new();
            follow(&mut client, &format!("?format=json&limit={limit}"), |response, names| {
                assert!(names.len() <= limit && response.text().contains("\"sorted\":true"));
                found.extend(names);
            });
            assert!(found.is_sorted() && found.len() == 256, "{limit}: {}", found.len());
            assert!(expected.iter().all(|name| found.iter().any(|found| found == name)), "{found:?}");
        }
        let mut found = Vec::new();
        follow(&mut client, "?format=json&limit=3&q=ODD", |_, names| found.extend(names));
        assert_eq!(found, ["odd", "odd%", "odd+", "odda&b=c", "odd\u{fc}"]);
    }
}

#[test]
fn pages_give_each_name_that_stays_once_while_others_come_and_go() {
    let count = LISTING_SORTED + 1;
    let folder = many(count);
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut number = 0;
            while !over.load(Ordering::Relaxed) {
                number += 1;
                File::create(folder.path(format!("many/come {number}"))).unwrap();
                let _ = remove_file(folder.path(format!("many/come {}", number - 50)));
            }
        });
        let outcome = std::panic::catch_unwind(|| {
            for front in fronts() {
                let serving = Serving::start(front, &folder);
                for (query, by_name) in [
                    ("?format=json&limit=997", false),
                    ("?format=json&limit=997&q=file", false),
                    ("?format=json&limit=3001&after=", true),
                ] {
                    let mut found = BTreeMap::new();
                    follow(&mut serving.client(), query, |response, names| {
                        let sorted = response.text().contains("\"sorted\":true");
                        assert!(sorted == by_name || !cfg!(target_os = "linux"), "{query}");
                        for name in names.into_iter().filter(|name| name.starts_with("file")) {
                            *found.entry(name).or_insert(0) += 1;
                        }
                    });
                    assert!(found.values().all(|times| *times == 1), "{query}");
                    each_once(found.keys().map(String::as_str), count);
                }
            }
        });
        over.store(true, Ordering::Relaxed);
        outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
}

#[test]
#[ignore = "slow: make slow runs it"]
fn a_million_files_cost_less_than_four_mebibytes() {
    const COUNT: usize = 1_000_000;
    let folder = many(COUNT);
    for front in fronts() {
        let (name, _) = brooklet::Front::ALL.iter().find(|(_, known)| *known == front).unwrap();
        // Each of these has its own, with its own watchdog.
        let with_program = |run: &dyn Fn(&mut Client)| {
            let mut program =
                Program::start(Command::new(BINARY).args(["-q", "-p", "0", "--front", name]).arg(folder.root()));
            let address = program.address(&folder.root());
            for _ in 0..100 {
                assert_eq!(Client::connect(address).exchange(get("/small")).body, b"small");
            }
            let before = memory(program.id()).unwrap();
            run(&mut Client::connect(address));
            let after = memory(program.id()).unwrap();
            println!("{name}: from {} to {} bytes", before.resident, after.peak);
            assert!(after.peak < before.resident + 4 * MIB, "{name}: {before:?} {after:?}");
        };
        with_program(&|client| {
            client.send(get("/many/"));
            client.receive_head();
            let mut rows = 0;
            while let Some(chunk) = client.chunk().unwrap() {
                rows += chunk.windows(4).filter(|bytes| bytes == b"<tr>").count();
            }
            // One is the head.
            assert_eq!(rows, COUNT + 1);
        });
        with_program(&|client| {
            let mut seen = vec![false; COUNT];
            follow(client, "?format=json&limit=10000", |_, names| {
                for name in names {
                    let number: usize = name.strip_prefix("file ").unwrap().parse().unwrap();
                    assert!(!std::mem::replace(&mut seen[number], true), "{name} comes twice");
                }
            });
            assert!(seen.into_iter().all(|seen| seen));
        });
        with_program(&|client| {
            let mut expected = COUNT - 50_000;
            let after = format!("?format=json&limit=10000&after=file%20{:07}", expected - 1);
            follow(client, &after, |_, names| {
                for name in names {
                    assert_eq!(name, self::name(expected));
                    expected += 1;
                }
            });
            assert_eq!(expected, COUNT);
        });
    }
}
