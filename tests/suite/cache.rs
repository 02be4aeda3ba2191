//! The cache of both fronts, which has a bound but no moment at which it is out of date: what is done to files between two
//! requests, and what the second one gets.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use brooklet::{Config, Rules};

use crate::client::{Response, request};
use crate::site::{Folder, OLD, Serving, date, fronts, noise};

const KIB: usize = 1 << 10;
const SECOND: Duration = Duration::from_secs(1);

/// What is done to a file between two requests, and what is asked for.
struct Case {
    name: &'static str,
    file: &'static str,
    target: &'static str,
    change: fn(&Change<'_>) -> Outcome,
}

impl Case {
    const fn of_file(name: &'static str, change: fn(&Change<'_>) -> Outcome) -> Self {
        Self { name, file: "file", target: "file", change }
    }

    const fn of_index(name: &'static str, change: fn(&Change<'_>) -> Outcome) -> Self {
        Self { name, file: "index.html", target: "", change }
    }

    /// Asks for the file by way of a link beside it.
    const fn of_link(name: &'static str, change: fn(&Change<'_>) -> Outcome) -> Self {
        Self { name, file: "file", target: "link", change }
    }
}

/// Where a change takes place: `CASE/SIZE/deep/FILE`. `CASE/SIZE-twin/deep/FILE` has other content, as long and as old.
struct Change<'a> {
    root: &'a Folder,
    /// `CASE/SIZE`
    above: &'a str,
    file: &'a str,
    old: &'a [u8],
    new: &'a [u8],
}

/// What is to be served then.
enum Outcome {
    Body(Vec<u8>),
    Status(u16),
}
use Outcome::{Body, Status};

impl Change<'_> {
    /// The folder of the file.
    fn deep(&self) -> String {
        format!("{}/deep", self.above)
    }

    fn name(&self) -> String {
        format!("{}/{}", self.deep(), self.file)
    }

    fn path(&self) -> PathBuf {
        self.root.path(self.name())
    }

    fn link(&self) -> PathBuf {
        self.root.path(format!("{}/link", self.deep()))
    }

    /// The twin of `CASE/SIZE`.
    fn twin(&self) -> String {
        format!("{}-twin", self.above)
    }

    fn deep_twin(&self) -> String {
        format!("{}/deep", self.twin())
    }

    fn name_of_twin(&self) -> String {
        format!("{}/{}", self.deep_twin(), self.file)
    }

    /// A place beside the root.
    fn outside(&self) -> String {
        format!("../{}", self.above.replace('/', "-"))
    }

    /// A link at this place, so many folders beneath the root, to what has that path seen from the root.
    fn link_from(&self, depth: usize, place: impl AsRef<Path>, to: &str) {
        symlink("../".repeat(depth) + to, self.root.path(place)).unwrap();
    }

    fn is_new(&self) -> Outcome {
        Body(self.new.to_vec())
    }

    fn rename(&self, from: impl AsRef<Path>, to: impl AsRef<Path>) {
        std::fs::rename(self.root.path(from), self.root.path(to)).unwrap();
    }

    /// The one folder takes the name of the other.
    fn swap(&self, one: &str, other: &str) {
        self.rename(one, "swapped");
        self.rename(other, one);
        self.rename("swapped", other);
    }

    fn set_length(&self, length: usize) {
        OpenOptions::new().write(true).open(self.path()).unwrap().set_len(length as u64).unwrap();
    }
}

/// What can happen to a file between two requests.
const CASES: &[Case] = &[
    Case::of_file("written over", |c| {
        std::fs::write(c.path(), c.new).unwrap();
        c.is_new()
    }),
    Case::of_file("written over, and given its time back", |c| {
        std::fs::write(c.path(), c.new).unwrap();
        date(&c.path(), SystemTime::UNIX_EPOCH + OLD);
        c.is_new()
    }),
    Case::of_file("replaced by a rename", |c| {
        c.rename(c.name_of_twin(), c.name());
        c.is_new()
    }),
    Case::of_file("replaced, removed before", |c| {
        std::fs::remove_file(c.path()).unwrap();
        c.root.file(c.name(), c.new);
        c.is_new()
    }),
    Case::of_file("truncated", |c| {
        c.set_length(c.old.len() / 2);
        Body(c.old[..c.old.len() / 2].to_vec())
    }),
    Case::of_file("truncated, and given its time back", |c| {
        c.set_length(c.old.len() - 1);
        date(&c.path(), SystemTime::UNIX_EPOCH + OLD);
        Body(c.old[..c.old.len() - 1].to_vec())
    }),
    Case::of_file("emptied", |c| {
        c.set_length(0);
        Body(Vec::new())
    }),
    Case::of_file("grown", |c| {
        OpenOptions::new().append(true).open(c.path()).unwrap().write_all(b"more").unwrap();
        Body([c.old, b"more"].concat())
    }),
    Case::of_file("removed", |c| {
        std::fs::remove_file(c.path()).unwrap();
        Status(404)
    }),
    Case::of_file("made unreadable", |c| {
        std::fs::set_permissions(c.path(), std::fs::Permissions::from_mode(0o000)).unwrap();
        // Root may read everything.
        if rustix::process::geteuid().is_root() { Body(c.old.to_vec()) } else { Status(403) }
    }),
    Case::of_file("replaced by a folder", |c| {
        std::fs::remove_file(c.path()).unwrap();
        c.root.folder(c.name());
        Status(301)
    }),
    Case::of_file("replaced by a link that leads out", |c| {
        std::fs::remove_file(c.path()).unwrap();
        c.root.file(c.outside(), c.old);
        c.link_from(3, c.name(), &c.outside());
        Status(404)
    }),
    Case::of_file("moved out, and replaced by a link to it", |c| {
        c.rename(c.name(), c.outside());
        c.link_from(3, c.name(), &c.outside());
        Status(404)
    }),
    Case::of_file("replaced by a link to another", |c| {
        std::fs::remove_file(c.path()).unwrap();
        c.link_from(3, c.name(), &c.name_of_twin());
        c.is_new()
    }),
    Case::of_file("its folder moved out", |c| {
        c.rename(c.deep(), c.outside());
        Status(404)
    }),
    Case::of_file("its folder moved out, and replaced by a link to it", |c| {
        c.rename(c.deep(), c.outside());
        c.link_from(2, c.deep(), &c.outside());
        Status(404)
    }),
    Case::of_file("the folder above moved out, and replaced by a link to it", |c| {
        c.rename(c.above, c.outside());
        c.link_from(1, c.above, &c.outside());
        Status(404)
    }),
    Case::of_file("its folder moved out, and replaced by a whole link to it", |c| {
        c.rename(c.deep(), c.outside());
        symlink(c.root.path(c.outside()), c.root.path(c.deep())).unwrap();
        Status(404)
    }),
    Case::of_file("its folder made a dotfile", |c| {
        c.rename(c.deep(), format!("{}/.deep", c.above));
        Status(404)
    }),
    Case::of_file("its folder swapped for its twin", |c| {
        c.swap(&c.deep(), &c.deep_twin());
        c.is_new()
    }),
    Case::of_file("the folder above swapped for its twin", |c| {
        c.swap(c.above, &c.twin());
        c.is_new()
    }),
    Case::of_file("its folder replaced by a link to its twin", |c| {
        c.rename(c.deep(), c.outside());
        c.link_from(2, c.deep(), &c.deep_twin());
        c.is_new()
    }),
    Case {
        name: "made where none was",
        file: "file",
        target: "later",
        change: |c| {
            c.root.file(format!("{}/later", c.deep()), c.new);
            c.is_new()
        },
    },
    Case::of_index("an index written over", |c| {
        std::fs::write(c.path(), c.new).unwrap();
        c.is_new()
    }),
    Case::of_index("an index replaced by a rename", |c| {
        c.rename(c.name_of_twin(), c.name());
        c.is_new()
    }),
    Case::of_index("an index whose folder is swapped for its twin", |c| {
        c.swap(&c.deep(), &c.deep_twin());
        c.is_new()
    }),
    Case::of_link("a link that is made to lead elsewhere", |c| {
        std::fs::remove_file(c.link()).unwrap();
        c.link_from(3, c.link(), &c.name_of_twin());
        c.is_new()
    }),
    Case::of_link("a link that is made to lead out", |c| {
        std::fs::remove_file(c.link()).unwrap();
        c.root.file(c.outside(), c.old);
        c.link_from(3, c.link(), &c.outside());
        Status(404)
    }),
    Case::of_link("the file behind a link, written over", |c| {
        std::fs::write(c.path(), c.new).unwrap();
        c.is_new()
    }),
];

#[test]
fn what_is_in_the_cache_is_never_out_of_date() {
    const SIZES: [usize; 3] = [10, 5 * KIB, 100_000];
    let caches = [None, Some(0)];
    // All are made together, so that they are old enough together.
    let worlds: Vec<_> = fronts()
        .flat_map(|front| caches.map(|cache| (Config { cache, front, ..Config::default() }, Folder::new())))
        .collect();
    let contents = SIZES.map(|size| (size, noise(1, size), noise(2, size)));
    let all = || {
        CASES.iter().enumerate().flat_map(|(number, case)| contents.iter().map(move |content| (number, case, content)))
    };
    for (_, folder) in &worlds {
        for (number, Case { file, target, .. }, (size, old, new)) in all() {
            folder
                .file(format!("{number}/{size}/deep/{file}"), old)
                .file(format!("{number}/{size}-twin/deep/{file}"), new);
            if *target == "link" {
                folder.link(format!("{number}/{size}/deep/link"), file);
            }
        }
    }
    // What has changed just now is kept by no cache.
    std::thread::sleep(5 * SECOND / 2);
    for (Config { front, cache, .. }, folder) in &worlds {
        let headers = vec![("X-Robots-Tag".to_owned(), "noindex".to_owned())];
        let rules = Rules { cache_control: Some("no-cache".into()), headers, ..Rules::default() };
        let serving = Serving::with(Config { cache: *cache, rules, ..Serving::config(*front, folder) });
        let mut client = serving.client();
        for (number, Case { name, file, target, change }, (size, old, new)) in all() {
            let above = &*format!("{number}/{size}");
            let target = format!("/{above}/deep/{target}");
            let mut expect = |outcome: &Outcome, when: &str| {
                let what = format!("{name}, {size} bytes, {front:?}, a cache of {cache:?}: {when}");
                let answers = ["GET", "HEAD", "GET"].map(|method| client.exchange(request(method, &target, &[])));
                // Whether it comes from the cache or not.
                assert!(answers.iter().all(|answer| answer.lasting_head() == answers[0].lasting_head()), "{what}");
                for (method, Response { status, body, .. }) in ["GET", "HEAD", "GET"].into_iter().zip(&answers) {
                    match outcome {
                        Status(expected) => assert_eq!(status, expected, "{what}"),
                        Body(_) if method == "HEAD" => assert_eq!(*status, 200, "{what}"),
                        Body(expected) => {
                            assert_eq!((*status, body.len()), (200, expected.len()), "{what}");
                            assert!(body == expected, "{what}");
                        }
                    }
                }
            };
            expect(&if target.ends_with("later") { Status(404) } else { Body(old.clone()) }, "before");
            let outcome = change(&Change { root: folder, above, file, old, new });
            expect(&outcome, "behind");
        }
    }
}
