//! What a site answers with, as far as that is a matter of taste: plain values, checked in one place.

use crate::network::Network;

/// How a [`Site`](crate::Site) answers: [`Config::rules`](crate::Config::rules) of a server, or
/// [`Site::with_rules`](crate::Site::with_rules).
///
/// Start from [`Rules::default`], which is the safe choice everywhere, and change what is to be different. New fields are not counted
/// as a breaking change (see [Versions](crate#versions)), so end with `..Rules::default()`:
///
/// ```
/// use brooklet::{Coding, Rules};
///
/// let rules = Rules {
///     precompressed: vec![Coding::Brotli, Coding::Gzip],
///     cache_control: Some("max-age=3600".into()),
///     ..Rules::default()
/// };
/// assert_eq!(rules.validate(), Ok(()));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// A path before all others, without slashes at its ends: with `docs` the folder is at `/docs/`, and any other path is 404. For a
    /// proxy that does not strip it. Default: none.
    pub prefix: Option<String>,
    /// The names of files that stand for their folder, of which the first that exists is sent. Default: `index.html`.
    pub index: Vec<String>,
    /// Whether a folder without such a file is listed, as a page or as JSON; else it is 404. Default: true.
    pub listing: bool,
    /// Whether files and folders whose names begin with a dot are served and listed; else they are 404. Default: false, but for
    /// `/.well-known/` (RFC 8615), which always is.
    pub hidden: bool,
    /// Which symbolic links are followed. Default: [`Symlinks::Inside`].
    pub symlinks: Symlinks,
    /// Whether `/about` is answered with `about.html`, and `/about.html` redirected to `/about`. Default: false.
    pub clean_urls: bool,
    /// The page of a single-page application, by its path beneath the root. It is sent with 200, in place of 404, to clients whose
    /// `Accept` names `text/html`, as browsers do when they go to another page. Default: none.
    pub spa: Option<String>,
    /// Codings in which files may lie beside their originals, as `app.js.br` beside `app.js`, to be sent to clients that accept them
    /// (`Accept-Encoding`, RFC 9110 section 12.5.3). Of those that a client wants equally, the first one here is taken. A variant that is
    /// older than its original is not sent. Default: none.
    pub precompressed: Vec<Coding>,
    /// The value of `Cache-Control` (RFC 9111 section 5.2) of files. Default: none.
    pub cache_control: Option<String>,
    /// The origin whose pages may read what is served, by the CORS protocol of the Fetch standard: `https://host:port`, or `*` for
    /// all. Preflight requests are answered. Default: none, and only pages of the server's own origin may.
    pub cors: Option<String>,
    /// Whether pages are isolated from those of other origins (`Cross-Origin-Opener-Policy`, `Cross-Origin-Embedder-Policy`), which
    /// browsers want before they allow `SharedArrayBuffer` and threads of WebAssembly. Default: false.
    pub isolate: bool,
    /// Whether `/folder/?archive=tar` is all of that folder as one download, made while it is sent. It has a length and an entity tag,
    /// so it can be resumed. Every such request looks at every file of the folder. Default: false.
    pub archive: bool,
    /// Whether the files `_headers` and `_redirects` at the root say which fields the answers for a path have and where paths are
    /// redirected, as on static hosts. Then the two files are not served themselves. Default: true.
    pub site_files: bool,
    /// The networks whose clients are answered; others get 403. Behind a proxy every client has the address of the proxy.
    /// Default: none, and everybody is answered.
    pub allow: Vec<Network>,
    /// Fields of every answer, by name and value, in place of the server's own of the same name. Those that frame a message or
    /// describe a representation, such as `Content-Length` and `ETag`, cannot be set, nor `Allow`, `Location` and
    /// `WWW-Authenticate`. Default: none.
    pub headers: Vec<(String, String)>,
}

/// Which symbolic links are followed, see [`Rules::symlinks`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Symlinks {
    /// Relative ones that lead to something beneath the root; others are 404.
    #[default]
    Inside,
    /// None: all are 404.
    Never,
    /// All, wherever they lead: whoever may write beneath the root decides what of the whole machine is served.
    Follow,
}

/// A content coding (RFC 9110 section 8.4.1) of files that are compressed already, see [`Rules::precompressed`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Coding {
    /// `br` (RFC 7932), in files that end in `.br`.
    Brotli,
    /// `zstd` (RFC 8878), in files that end in `.zst`.
    Zstandard,
    /// `gzip` (RFC 1952), in files that end in `.gz`.
    Gzip,
}

impl Coding {
    /// Every coding, with its name in HTTP.
    pub const ALL: &[(&str, Self)] = &[("br", Self::Brotli), ("zstd", Self::Zstandard), ("gzip", Self::Gzip)];

    /// Its name in HTTP.
    pub(crate) fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, coding)| *coding == self).map_or("identity", |(name, _)| name)
    }

    /// What the names of files in it end in.
    pub(crate) fn ending(self) -> &'static [u8] {
        match self {
            Self::Brotli => b".br",
            Self::Zstandard => b".zst",
            Self::Gzip => b".gz",
        }
    }
}

impl Symlinks {
    /// Every choice, with its name on the command line.
    pub const ALL: &[(&str, Self)] = &[("inside", Self::Inside), ("never", Self::Never), ("follow", Self::Follow)];
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            prefix: None,
            index: vec!["index.html".into()],
            listing: true,
            hidden: false,
            symlinks: Symlinks::Inside,
            clean_urls: false,
            spa: None,
            precompressed: Vec::new(),
            cache_control: None,
            cors: None,
            isolate: false,
            archive: false,
            site_files: true,
            allow: Vec::new(),
            headers: Vec::new(),
        }
    }
}

/// Fields that say where a message ends or which version it is: they are the server's.
const OURS: &[&str] = &[
    "accept-ranges",
    "allow",
    "connection",
    "content-encoding",
    "content-length",
    "content-range",
    "content-type",
    "date",
    "etag",
    "keep-alive",
    "last-modified",
    "location",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "vary",
    "www-authenticate",
];

impl Rules {
    /// Checks every value. A [`Server`](crate::Server) does so itself, [`Site::with_rules`](crate::Site::with_rules) does not.
    ///
    /// # Errors
    /// In one line: the first value that cannot work, by its name on the command line, and why.
    pub fn validate(&self) -> Result<(), String> {
        if let Some(prefix) = &self.prefix {
            let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~/".contains(&b);
            if !is_path(prefix) || !prefix.bytes().all(plain) {
                return Err(format!("prefix: {prefix:?} is none such as docs or my/docs, of letters, digits and -._~"));
            }
        }
        for name in &self.index {
            if name.is_empty() || name.contains(['/', '\0']) || matches!(name.as_str(), "." | "..") {
                return Err(format!("index: {name:?} is no name of a file in a folder"));
            }
        }
        if let Some(path) = &self.spa {
            if !is_path(path) {
                return Err(format!("spa: {path:?} is no path of a file beneath the root, such as app/index.html"));
            }
        }
        if let Some(value) = self.cache_control.as_deref().filter(|value| !is_value(value)) {
            return Err(format!("cache-control: {value:?} is no value of a field"));
        }
        if let Some(origin) = self.cors.as_deref().filter(|origin| !is_origin(origin)) {
            return Err(format!("cors: {origin:?} is no origin such as https://example.org:8080, nor *"));
        }
        for (name, value) in &self.headers {
            if !is_token(name) {
                return Err(format!("header: {name:?} is no name of a field"));
            }
            if is_ours(name) {
                return Err(format!("header: the field {name} is the server's own"));
            }
            if !is_value(value) {
                return Err(format!("header: {value:?} is no value of the field {name}"));
            }
        }
        Ok(())
    }

    /// The fields of every answer, by name and value: those that were asked for count before what follows from other rules.
    pub(crate) fn fields(&self) -> Vec<(String, String)> {
        let cors = self.cors.iter().flat_map(|origin| {
            [("Access-Control-Allow-Origin", origin.as_str()), ("Access-Control-Expose-Headers", "*")]
        });
        let isolate = [("Cross-Origin-Opener-Policy", "same-origin"), ("Cross-Origin-Embedder-Policy", "require-corp")];
        let asked_for = |name: &str| self.headers.iter().any(|(known, _)| known.eq_ignore_ascii_case(name));
        let all = cors.chain(isolate.into_iter().filter(|_| self.isolate)).filter(|(name, _)| !asked_for(name));
        all.map(|(name, value)| (name.into(), value.into())).chain(self.headers.iter().cloned()).collect()
    }
}

/// Segments, none of which leads elsewhere.
fn is_path(text: &str) -> bool {
    !text.contains('\0') && text.split('/').all(|segment| !matches!(segment, "" | "." | ".."))
}

/// `*`, or an origin as browsers write it (RFC 6454 section 6.2): in small letters, and without the port that its scheme has
/// anyway. They compare it byte by byte.
fn is_origin(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once("://") else { return text == "*" };
    // The colons of an address of IPv6 stand in brackets.
    let (host, port) = match rest.rsplit_once(':').filter(|(_, port)| !port.contains(']')) {
        Some((host, port)) => (host, Some(port)),
        None => (rest, None),
    };
    let usual = match scheme {
        "http" => "80",
        "https" => "443",
        _ => return false,
    };
    let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let visible = |b: u8| b.is_ascii_graphic() && !b.is_ascii_uppercase() && !b"/?#@,*[]".contains(&b);
    let named =
        !host.is_empty() && inner.unwrap_or(host).bytes().all(visible) && (inner.is_some() || !host.contains(':'));
    named && port.is_none_or(|port| port != usual && !port.starts_with('0') && port.parse::<u16>().is_ok())
}

/// Whether a field of this name is the server's own.
pub(crate) fn is_ours(name: &str) -> bool {
    OURS.iter().any(|ours| name.eq_ignore_ascii_case(ours))
}

/// RFC 9110 section 5.6.2.
pub(crate) fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

/// RFC 9110 section 5.5: visible text with blanks in between, as far as it is ASCII, which everybody reads alike.
pub(crate) fn is_value(text: &str) -> bool {
    let visible = |b: u8| b.is_ascii_graphic() || matches!(b, b' ' | b'\t');
    !text.is_empty() && text.trim_ascii() == text && text.bytes().all(visible)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_as_browsers_write_them() {
        for origin in
            ["*", "https://a.b", "http://localhost:3000", "http://[::1]:8080", "https://[::1]", "http://a:443"]
        {
            assert!(is_origin(origin), "{origin}");
        }
        for text in [
            "",
            "null",
            "http://",
            "http://:80",
            "http://a:",
            "http://a:080",
            "http://::1",
            "https://[::1",
            "http://a:99999",
        ] {
            assert!(!is_origin(text), "{text}");
        }
    }

    #[test]
    fn what_cannot_work_is_named() {
        let rules = Rules::default;
        let header = |name: &str, value: &str| Rules { headers: vec![(name.into(), value.into())], ..rules() };
        assert_eq!(rules().validate(), Ok(()));
        assert_eq!(Rules { index: Vec::new(), spa: Some("a/b.html".into()), ..rules() }.validate(), Ok(()));
        assert_eq!(header("X-Robots-Tag", "noindex, nofollow").validate(), Ok(()));
        for (word, rules) in [
            ("a/b", Rules { index: vec!["a/b".into()], ..rules() }),
            ("\"..\"", Rules { index: vec!["..".into()], ..rules() }),
            ("prefix", Rules { prefix: Some(String::new()), ..rules() }),
            ("prefix", Rules { prefix: Some("/docs".into()), ..rules() }),
            ("prefix", Rules { prefix: Some("a b".into()), ..rules() }),
            ("../a", Rules { spa: Some("../a".into()), ..rules() }),
            ("/a", Rules { spa: Some("/a".into()), ..rules() }),
            ("value", Rules { cache_control: Some("a\r\nb".into()), ..rules() }),
            ("value", Rules { cache_control: Some(String::new()), ..rules() }),
            ("name", header("a b", "c")),
            ("name", header("", "c")),
            ("value of the field X", header("X", "a\nb")),
            ("value of the field X", header("X", " a")),
            ("own", header("content-Length", "1")),
            ("origin", Rules { cors: Some("example.org".into()), ..rules() }),
            ("origin", Rules { cors: Some("https://example.org/".into()), ..rules() }),
            ("origin", Rules { cors: Some("https://a, https://b".into()), ..rules() }),
            ("origin", Rules { cors: Some("https://Example.org".into()), ..rules() }),
            ("origin", Rules { cors: Some("https://example.org:443".into()), ..rules() }),
            ("origin", Rules { cors: Some("http://a:b:c".into()), ..rules() }),
            ("origin", Rules { cors: Some("ftp://a".into()), ..rules() }),
        ] {
            let error = rules.validate().unwrap_err();
            assert!(error.contains(word) && !error.contains('\n'), "{error}");
        }
    }
}
