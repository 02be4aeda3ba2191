//! `Content-Type` by the ending of a name.

/// The type of a file whose ending says nothing.
const UNKNOWN: &str = "application/octet-stream";

/// What the table of `mime_guess` does not know, or knows otherwise than today's web: (ending, type). Sorted.
const CURRENT: &[(&str, &str)] = &[
    ("adoc", "text/plain"),
    ("atom", "application/atom+xml"),
    ("bib", "text/plain"),
    ("br", "application/x-brotli"),
    ("cjs", "text/javascript"),
    ("diff", "text/x-diff"),
    ("go", "text/x-go"),
    ("ipynb", "application/x-ipynb+json"),
    ("java", "text/plain"),
    ("jsonl", "application/jsonl"),
    ("kt", "text/plain"),
    ("lock", "text/plain"),
    ("m3u8", "application/vnd.apple.mpegurl"),
    ("m4a", "audio/mp4"),
    ("m4s", "video/iso.segment"),
    ("map", "application/json"),
    ("mjs", "text/javascript"),
    ("mts", "video/mp2t"),
    ("nix", "text/plain"),
    ("opus", "audio/ogg; codecs=opus"),
    ("otf", "font/otf"),
    ("patch", "text/x-diff"),
    ("rb", "text/plain"),
    ("rpm", "application/x-rpm"),
    ("rst", "text/plain"),
    ("sqlite", "application/vnd.sqlite3"),
    ("swift", "text/plain"),
    ("ts", "video/mp2t"),
    ("tsx", "text/x-typescript"),
    ("usdz", "model/vnd.usdz+zip"),
    ("vue", "text/plain"),
    ("woff", "font/woff"),
    ("xml", "application/xml"),
    ("zst", "application/zstd"),
];

/// Names without an ending that are text wherever they are met.
const TEXTS: &[&str] = &["CHANGELOG", "COPYING", "Dockerfile", "LICENSE", "Makefile", "README"];

/// The media type for a file of this name, without parameters but those that belong to the type.
pub(crate) fn of(path: &[u8]) -> &'static str {
    let name = path.rsplit(|b| *b == b'/').next().unwrap_or_default();
    let Some(dot) = name.iter().rposition(|b| *b == b'.') else {
        let known = TEXTS.iter().any(|known| {
            // `LICENSE-MIT` is one, too.
            name.strip_prefix(known.as_bytes()).is_some_and(|rest| matches!(rest, [] | [b'-', ..]))
        });
        return if known { "text/plain" } else { UNKNOWN };
    };
    let Some(ending) = name.get(dot + 1..).and_then(|e| std::str::from_utf8(e).ok()) else { return UNKNOWN };
    let current = CURRENT.iter().find(|(known, _)| known.eq_ignore_ascii_case(ending));
    current.map(|(_, value)| *value).or_else(|| mime_guess::from_ext(ending).first_raw()).unwrap_or(UNKNOWN)
}

/// Whether a text of this type is said to be UTF-8. JSON and XML say it themselves (RFC 8259, RFC 7303).
pub(crate) fn is_text(media_type: &str) -> bool {
    media_type.starts_with("text/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_web_uses_today() {
        for (name, expected) in [
            ("index.html", "text/html"),
            ("a.HTM", "text/html"),
            ("a.css", "text/css"),
            ("a.js", "text/javascript"),
            ("a.mjs", "text/javascript"),
            ("a.json", "application/json"),
            ("a.js.map", "application/json"),
            ("a.wasm", "application/wasm"),
            ("a.svg", "image/svg+xml"),
            ("a.png", "image/png"),
            ("a.webp", "image/webp"),
            ("a.avif", "image/avif"),
            ("a.jxl", "image/jxl"),
            ("a.ico", "image/x-icon"),
            ("a.webmanifest", "application/manifest+json"),
            ("a.opus", "audio/ogg; codecs=opus"),
            ("a.flac", "audio/flac"),
            ("a.mp3", "audio/mpeg"),
            ("a.m4a", "audio/mp4"),
            ("a.mp4", "video/mp4"),
            ("a.webm", "video/webm"),
            ("a.mkv", "video/x-matroska"),
            ("a.ts", "video/mp2t"),
            ("a.m3u8", "application/vnd.apple.mpegurl"),
            ("a.epub", "application/epub+zip"),
            ("a.pdf", "application/pdf"),
            ("a.zip", "application/zip"),
            ("a.tar.gz", "application/gzip"),
            ("a.zst", "application/zstd"),
            ("a.woff2", "font/woff2"),
            ("a.woff", "font/woff"),
            ("a.otf", "font/otf"),
            ("a.ttf", "font/ttf"),
            ("a.md", "text/markdown"),
            ("a.txt", "text/plain"),
            ("a.vtt", "text/vtt"),
            ("a.xml", "application/xml"),
            ("a.rpm", "application/x-rpm"),
            ("a.rst", "text/plain"),
            ("README", "text/plain"),
            ("folder.d/LICENSE-MIT", "text/plain"),
            ("READMEs", "application/octet-stream"),
            ("folder.txt/program", "application/octet-stream"),
            ("a.", "application/octet-stream"),
            ("a.unheard-of", "application/octet-stream"),
        ] {
            assert_eq!(of(name.as_bytes()), expected, "{name}");
        }
        assert_eq!(of(b"a.\xff"), UNKNOWN);
        assert!(CURRENT.is_sorted());
    }
}
