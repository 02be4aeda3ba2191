//! What a target names: a file, in the coding that the client wants most; a folder, by its index or its listing; or another
//! address.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::time::SystemTime;

use super::listing::{Format, Listing, Query};
use super::representation::{Held, Representation};
use super::site_files::{self, SiteRules};
use super::{Answer, HTML, PLAIN, Refusal, Site, cache};
use crate::http::request::Request;
use crate::http::target::{Target, is_hidden, is_reachable};
use crate::http::{accept, escape, media_type};
use crate::rules::Coding;
use crate::tree::Found;

/// The end of the name of a page, which a clean address leaves out.
const PAGE: &[u8] = b".html";

/// What a target names.
pub(super) enum Resource {
    File(Held),
    Folder(Box<Listing>),
    /// A folder as one download.
    Archive(Box<Answer>),
    /// It has this address; the status that says so.
    Elsewhere(u16, String),
    /// What is shown in place of what is not there.
    Missing(Held),
}

/// What is at a path.
pub(super) enum Sought {
    File(Held),
    Folder,
    Nothing,
}

/// What of a folder is shown: what a client could ask for, no more.
#[derive(Debug, Clone, Copy)]
pub(super) struct Visible {
    /// Dotfiles are.
    pub(super) hidden: bool,
    /// `_headers` and `_redirects` are: they are plain files.
    pub(super) site_files: bool,
}

impl Visible {
    /// Whether what has this name is; `top`: it stands directly below the root.
    pub(super) fn shows(self, name: &[u8], top: bool) -> bool {
        let hidden = !self.hidden && is_hidden(name, top);
        !hidden && is_reachable(name) && !(top && !self.site_files && site_files::is_one(name))
    }
}

impl Site {
    /// The name of the file that the target names; none for the index of a folder.
    pub(super) fn name<'a>(&'a self, target: &'a Target<'_>) -> Option<&'a [u8]> {
        let last = || target.path.rsplit(|byte| *byte == b'/').next().filter(|_| !target.folder);
        self.tree.only().or_else(last)
    }

    /// What the target names, or where else `_redirects` leads. What is there goes before a rule that is not forced, but for a
    /// listing, which nobody wrote.
    pub(super) fn resource_or_redirect(
        &self,
        request: &Request<'_>,
        target: &Target<'_>,
        site: Option<&SiteRules>,
        now: SystemTime,
    ) -> Result<Resource, Refusal> {
        let Some(redirect) = site.and_then(|site| site.redirect(target)) else {
            return self.resource(request, target, self.rules.listing, now);
        };
        if !redirect.forced {
            match self.resource(request, target, false, now) {
                Err(Refusal { status: 404, .. }) => {}
                found => return found,
            }
        }
        match redirect.status {
            200 | 404 => {
                let to = Target::parse(&redirect.to).map_err(|_| Refusal::from(404))?;
                let held = self.rewritten(request, &to, now)?;
                Ok(if redirect.status == 404 { Resource::Missing(held) } else { Resource::File(held) })
            }
            status => {
                let prefix = self.rules.prefix.as_ref().filter(|_| redirect.to.starts_with('/'));
                let begin = prefix.map(|prefix| format!("/{prefix}")).unwrap_or_default();
                Ok(Resource::Elsewhere(status, begin + &redirect.to))
            }
        }
    }

    /// The file that a rule puts in place of another: it is not asked again where that leads, and nobody is sent elsewhere.
    fn rewritten(&self, request: &Request<'_>, to: &Target<'_>, now: SystemTime) -> Result<Held, Refusal> {
        if !self.rules.hidden && to.is_hidden() {
            return Err(Refusal::from(404));
        }
        let page = match to.folder {
            true => None,
            false => match self.negotiate(request, &to.path, now)? {
                Sought::File(held) => Some(held),
                _ => self.page(request, to, now)?,
            },
        };
        match page {
            Some(held) => Ok(held),
            None => self.index(request, to, now)?.ok_or(Refusal::from(404)),
        }
    }

    /// What the target names; `listing`: whether a folder may be listed.
    fn resource(
        &self,
        request: &Request<'_>,
        target: &Target<'_>,
        listing: bool,
        now: SystemTime,
    ) -> Result<Resource, Refusal> {
        if let Some(only) = self.tree.only() {
            // Wherever one looks for it.
            return match self.seek(only, now)? {
                Sought::File(held) => Ok(Resource::File(held)),
                _ => Err(Refusal::from(404)),
            };
        }
        if !self.rules.hidden && target.is_hidden() {
            return Err(Refusal::from(404));
        }
        if target.folder {
            return match target.parameter("archive").filter(|_| self.rules.archive) {
                Some("tar") => Ok(Resource::Archive(Box::new(self.archive(request, target, now)?))),
                // There is no other kind.
                Some(_) => Err(Refusal::from(400)),
                None => self.index_or_listing(request, target, listing, now),
            };
        }
        if target.path.is_empty() {
            // The prefix, without a slash behind it.
            return Ok(Resource::Elsewhere(301, self.location(target, b"", "/")));
        }
        match self.negotiate(request, &target.path, now)? {
            Sought::File(held) => match self.clean(target, now)? {
                Some(location) => Ok(Resource::Elsewhere(301, location)),
                None => Ok(Resource::File(held)),
            },
            other => match self.page(request, target, now)? {
                Some(held) => Ok(Resource::File(held)),
                None if matches!(other, Sought::Folder) => {
                    Ok(Resource::Elsewhere(301, self.location(target, &target.path, "/")))
                }
                None => Err(Refusal::from(404)),
            },
        }
    }

    /// What stands for a folder: its index, else its listing.
    fn index_or_listing(
        &self,
        request: &Request<'_>,
        target: &Target<'_>,
        listing: bool,
        now: SystemTime,
    ) -> Result<Resource, Refusal> {
        // One that is there and cannot be read is no reason to show what lies beside it.
        if let Some(held) = self.index(request, target, now)? {
            return Ok(Resource::File(held));
        }
        match self.tree.open(&target.path)? {
            Found::Folder(folder) if listing => {
                let query = Query::of(target, format(request, target), self.visible());
                let mut query = query.map_err(|_| Refusal::from(400))?;
                query.archive = self.rules.archive;
                let listing = Listing::read(&self.tree, folder, &target.path, query, &self.listed)?;
                Ok(Resource::Folder(Box::new(listing)))
            }
            // `/file/` names a folder, and there is none.
            _ => Err(Refusal::from(404)),
        }
    }

    /// The file that stands for a folder, if there is one.
    fn index(&self, request: &Request<'_>, target: &Target<'_>, now: SystemTime) -> Result<Option<Held>, Refusal> {
        for name in &self.rules.index {
            let path = [&*target.path, target.separator(), name.as_bytes()].concat();
            if let Sought::File(held) = self.negotiate(request, &path, now)? {
                return Ok(Some(held));
            }
        }
        Ok(None)
    }

    pub(super) fn visible(&self) -> Visible {
        Visible { hidden: self.rules.hidden, site_files: self.site_files.is_none() }
    }

    /// Whether this is the path of a file that makes rules, which is not served itself by its own name.
    pub(super) fn is_site_file(&self, path: &[u8]) -> bool {
        self.site_files.is_some() && site_files::is_one(path)
    }

    /// What is at this path, in the coding that the client wants most of those that are there (RFC 9110 section 12.1).
    pub(super) fn negotiate(&self, request: &Request<'_>, path: &[u8], now: SystemTime) -> Result<Sought, Refusal> {
        match self.seek(path, now)? {
            Sought::File(original) if !self.rules.precompressed.is_empty() => {
                let accepted = request.accept_encoding.as_deref().unwrap_or_default();
                self.variant(accepted, path, original, now).map(Sought::File)
            }
            other => Ok(other),
        }
    }

    fn variant(&self, accepted: &str, path: &[u8], original: Held, now: SystemTime) -> Result<Held, Refusal> {
        let weight = |coding: Coding| Some((accept::coding(accepted, coding.name())?.0, coding));
        let mut codings: Vec<_> = self.rules.precompressed.iter().filter_map(|coding| weight(*coding)).collect();
        codings.sort_by_key(|(weight, _)| Reverse(*weight));
        let identity = accept::coding(accepted, "identity");
        for (weight, coding) in codings {
            // Only who says so wants the file as it is more than in a coding.
            if weight == 0 || matches!(identity, Some((wanted, true)) if wanted > weight) {
                break;
            }
            if let Some(variant) = self.coded(coding, path, &original, now) {
                return Ok(variant);
            }
        }
        match identity {
            Some((0, _)) => Err(Refusal { status: 406, field: Some(("Vary".into(), "Accept-Encoding".into())) }),
            _ => Ok(original),
        }
    }

    /// The variant of a file in this coding, unless it is older.
    fn coded(&self, coding: Coding, path: &[u8], original: &Held, now: SystemTime) -> Option<Held> {
        let path = [path, coding.ending()].concat();
        // Asked for by its own name it is another representation.
        let key = [&*path, cache::VARIANT].concat();
        let held = match self.cache.get(&self.tree, &key) {
            Some(kept) => Held::Kept(kept),
            None => match self.tree.open(&path).ok()? {
                Found::File(file, version) => {
                    let fresh = original.variant(file, version, coding, now);
                    self.cache.offer(&self.tree, &key, fresh, now)
                }
                Found::Folder(_) => return None,
            },
        };
        (held.version.modified >= original.version.modified).then_some(held)
    }

    /// What is at this path. That there is nothing is no error here: there may be something else instead.
    fn seek(&self, path: &[u8], now: SystemTime) -> Result<Sought, Refusal> {
        if self.is_site_file(path) {
            return Ok(Sought::Nothing);
        }
        if let Some(kept) = self.cache.get(&self.tree, path) {
            return Ok(Sought::File(Held::Kept(kept)));
        }
        match self.tree.open(path).map_err(Refusal::from) {
            Ok(Found::File(file, version)) => {
                let content_type = content_type(media_type::of(path));
                let fresh = Representation::new(file, version, content_type, &self.rules, now);
                Ok(Sought::File(self.cache.offer(&self.tree, path, fresh, now)))
            }
            Ok(Found::Folder(_)) => Ok(Sought::Folder),
            Err(refusal) if refusal.status == 404 => Ok(Sought::Nothing),
            Err(refusal) => Err(refusal),
        }
    }

    /// The page that a clean address stands for.
    fn page(&self, request: &Request<'_>, target: &Target<'_>, now: SystemTime) -> Result<Option<Held>, Refusal> {
        if !self.rules.clean_urls {
            return Ok(None);
        }
        match self.negotiate(request, &[&target.path, PAGE].concat(), now)? {
            Sought::File(held) => Ok(Some(held)),
            _ => Ok(None),
        }
    }

    /// The clean address of a page, if that is no other file.
    fn clean(&self, target: &Target<'_>, now: SystemTime) -> Result<Option<String>, Refusal> {
        let Some(clean) = target.path.strip_suffix(PAGE).filter(|_| self.rules.clean_urls) else { return Ok(None) };
        let start = target.path.iter().rposition(|byte| *byte == b'/').map_or(0, |at| at + 1);
        let (folder, name) = target.path.split_at(start);
        if self.rules.index.first().is_some_and(|index| index.as_bytes() == name) {
            return Ok(Some(self.location(target, folder.strip_suffix(b"/").unwrap_or(folder), "/")));
        }
        match self.seek(clean, now)? {
            // The file has no other address than its own.
            Sought::File(_) => Ok(None),
            _ if name == PAGE => Ok(None),
            _ => Ok(Some(self.location(target, clean, ""))),
        }
    }

    /// The address of what is at this path, with the query of the request. Made of decoded segments, none empty: it never
    /// begins with `//`, which would name another host.
    fn location(&self, target: &Target<'_>, path: &[u8], end: &str) -> String {
        let query = target.query.map(|query| format!("?{query}")).unwrap_or_default();
        let prefix = self.rules.prefix.iter().map(String::as_bytes);
        let segments: Vec<_> = prefix.chain([path]).filter(|part| !part.is_empty()).collect();
        let end = if segments.is_empty() { "" } else { end };
        format!("/{}{end}{query}", escape::path(&segments.join(&b'/')))
    }
}

fn content_type(media_type: &'static str) -> Cow<'static, str> {
    match media_type {
        "text/html" => HTML.into(),
        "text/plain" => PLAIN.into(),
        text if media_type::is_text(text) => format!("{text}; charset=utf-8").into(),
        other => other.into(),
    }
}

/// What a client reads a listing as: JSON if the query or `Accept` says so, else the page.
fn format(request: &Request<'_>, target: &Target<'_>) -> Format {
    let accepted = |main, sub| accept::preference(request.accept.as_deref(), main, sub);
    match target.parameter("format") {
        Some("json") => Format::Json,
        Some("html") => Format::Html,
        _ if accepted("application", "json") > accepted("text", "html") => Format::Json,
        _ => Format::Html,
    }
}
