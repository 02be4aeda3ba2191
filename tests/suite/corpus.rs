//! The properties of the parsers, for what `make fuzz` has kept, and for text that looks like what clients send.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;

use crate::properties::{self, ALL};

fn fuzz(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz").join(name)
}

fn names(folder: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn what_fuzzing_has_kept_holds() {
    for (name, property) in ALL {
        let folder = fuzz("corpus").join(name);
        let kept = names(&folder);
        assert!((1..=40).contains(&kept.len()), "{name}: {} files", kept.len());
        for file in kept {
            let data = fs::read(folder.join(&file)).unwrap();
            assert!(data.len() <= 4096, "{name}: {file} has {} bytes", data.len());
            println!("{name}: {file}");
            property(&data);
        }
    }
}

#[test]
fn each_property_has_a_target_and_a_corpus() {
    let expected: BTreeSet<_> = ALL.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(names(&fuzz("corpus")), expected);
    let targets = names(&fuzz("targets")).into_iter().map(|name| name.trim_end_matches(".rs").to_owned());
    assert_eq!(targets.collect::<BTreeSet<_>>(), expected);
    let manifest = fs::read_to_string(fuzz("Cargo.toml")).unwrap();
    for name in expected {
        let target = fs::read_to_string(fuzz("targets").join(&name).with_extension("rs")).unwrap();
        assert!(target.contains(&format!("properties::{name}(data)")), "{name}");
        assert!(manifest.contains(&format!("name = \"{name}\"\npath = \"targets/{name}.rs\"")), "{name}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn heads(text in "(\r?\n)?(GET|HEAD|X!) (/|/a\\?b|\\*|http://h/) HTTP/1\\.[01]\r?\n(Host: x\r\n){0,2}((Content-Length|Transfer-Encoding): (5|chunked)\r\n){0,2}((Host|X|Content-Length|Transfer-Encoding|Connection|Range|A b|): ?(5|0|-1|x|chunked|close|bytes=0-|\t|é|\r|)\r?\n){0,2}\r?\n?(more)?") {
        properties::head(text.as_bytes());
    }

    #[test]
    fn bodies(
        kind: u8,
        piece: u8,
        text in "((0{0,17}5(;a=\"b\"| |\tc)?\r\nhello\r\n)|(1\r\n[\r\n0]\r\n)|(\r?\n)|;|f{1,17}\r\n){0,6}(0\r\n(A: b\r\n)?\r?\n)?(0\r\n\r\n)?",
    ) {
        properties::body(&[&[kind, piece], text.as_bytes()].concat());
    }

    #[test]
    fn targets(text in "(http://h|HTTPS://h:1)?(/|%2e|%2F|\\.|\\.\\.|a|%61|%00|\\\\|%5c|\\?|%|é|#|%c3%a9|%20|\\*){0,12}") {
        properties::target(text.as_bytes());
    }

    #[test]
    fn ranges(length in "[0-9]{1,20}", set in "(bytes|Bytes |lines)=([0-9]{0,3}-[0-9]{0,3}|-|[0-9]{17,25}-| ?[0-9]-[0-9] ?|[0-9])(,([0-9]-[0-9]|[0-9]{0,3}-[0-9]{0,3}|)){0,20}") {
        properties::range(format!("{length}\n{set}").as_bytes());
    }

    #[test]
    fn tags_and_dates(text in "((W/)?\"(17979cfe362a0000-3|a|,|)\"|\\*|,|, | |\"|Tue, 14 Nov 2023 22:13:(19|20|21) GMT|Tue Nov 14 22:13:20 2023|\n){0,5}") {
        properties::validators(text.as_bytes());
    }

    #[test]
    fn wishes(text in "((gzip|x-gzip|BR|zstd|identity|\\*|text/html|TEXT/\\*|\\*/\\*|application/json|text|)( ?; ?(q|Q|a)=(0|1|0\\.[0-9]{0,4}|1\\.[0-9]{0,4}|x|-1|2|\\.5|0,5|))?[, ]{0,2}){0,6}") {
        properties::accept(text.as_bytes());
    }

    #[test]
    fn fields_of_paths(text in "/[ab/]{0,4}\n((/\\*|/a|/:x/\\*|/a/\\*b|https://h/\\*|a)?(\n| |\r\n)(! ?)?(X-A|X-B|Set-Cookie|ETag|é| )?:? ?(v|w, x|é|\u{0}|)(\n|\r|\n\n)){0,6}") {
        properties::headers(text.as_bytes());
    }

    #[test]
    fn redirects(text in "/[ab/.]{0,5}(\\?q)?\n((/\\*|/a|/:x|/:x/\\*|/a\\*b|/\\*b)[ \t](/|/b|/:splat|/:x|:x|:splat|https://h|http://h:1/:x|//|\\.|#f|\\?q|\\\\){1,4}( (200|301!|302|404|418|x))?\r?\n){1,4}") {
        properties::redirects(text.as_bytes());
    }
}
