//! A file as it is sent: one version of it, and all that is said about it.

use std::borrow::Cow;
use std::fmt::Write;
use std::fs::File;
use std::ops::Range;
use std::sync::Arc;
use std::time::SystemTime;

use super::body::Segment;
use super::{Field, Fields, field_line, set_fields};
use crate::http::date;
use crate::http::validator::{Validators, Version};
use crate::rules::{Coding, Rules};
use crate::tree::Place;

/// One version of a file.
#[derive(Debug)]
pub(crate) struct Representation {
    pub(super) source: Source,
    pub(super) version: Version,
    pub(super) validators: Validators,
    /// What an answer with the whole of it says.
    pub(super) fields: Vec<Field>,
    /// These fields as they are sent, if it is kept.
    pub(super) lines: Box<[u8]>,
    /// Where it was found, if it is kept.
    pub(super) place: Option<Place>,
}

/// Where the bytes come from.
#[derive(Debug)]
pub(super) enum Source {
    File(File),
    /// All of them.
    Content(Box<[u8]>),
}

impl Representation {
    /// An open file as it is at the time `now`.
    pub(super) fn new(
        file: File,
        version: Version,
        content_type: Cow<'static, str>,
        rules: &Rules,
        now: SystemTime,
    ) -> Self {
        let validators = Validators::new(&version, now);
        let mut fields: Vec<Field> = Vec::with_capacity(6 + rules.headers.len());
        fields.push(("Content-Type".into(), content_type));
        fields.push(("ETag".into(), validators.etag.to_string().into()));
        if let Some(date) = validators.last_modified.and_then(date::format) {
            fields.push(("Last-Modified".into(), date.into()));
        }
        fields.push(("Accept-Ranges".into(), "bytes".into()));
        fields.push(("X-Content-Type-Options".into(), "nosniff".into()));
        if !rules.precompressed.is_empty() {
            fields.push(("Vary".into(), "Accept-Encoding".into()));
        }
        if let Some(value) = &rules.cache_control {
            fields.push(("Cache-Control".into(), value.clone().into()));
        }
        set_fields(&mut fields, &rules.headers);
        Self { source: Source::File(file), version, validators, fields, lines: Box::default(), place: None }
    }

    /// The same in a coding, from an open file that lies beside it.
    pub(super) fn variant(&self, file: File, version: Version, coding: Coding, now: SystemTime) -> Self {
        let mut validators = Validators::new(&version, now);
        // Two representations of one resource have two tags, whatever their times and sizes are.
        let _ = write!(validators.etag.opaque, "-{}", coding.name());
        let mut fields: Vec<Field> = Vec::with_capacity(self.fields.len() + 1);
        for (name, value) in &self.fields {
            match &**name {
                "ETag" => {
                    fields.push(("Content-Encoding".into(), coding.name().into()));
                    fields.push(("ETag".into(), validators.etag.to_string().into()));
                    let date = validators.last_modified.and_then(date::format);
                    fields.extend(date.map(|date| ("Last-Modified".into(), date.into())));
                }
                "Last-Modified" => {}
                _ => fields.push((name.clone(), value.clone())),
            }
        }
        Self { source: Source::File(file), version, validators, fields, lines: Box::default(), place: None }
    }

    /// For many answers: what they have in common is written once.
    pub(super) fn with_lines(self) -> Self {
        let mut lines = Vec::new();
        self.fields.iter().for_each(|(name, value)| field_line(&mut lines, name, value));
        Self { lines: lines.into(), ..self }
    }

    /// Those of its fields that tell its version, and how long that is good (RFC 9110 section 15.4.5).
    pub(super) fn validating(&self) -> impl Iterator<Item = Field> + '_ {
        self.fields
            .iter()
            .filter(|(name, _)| matches!(&**name, "ETag" | "Last-Modified" | "Cache-Control" | "Vary"))
            .cloned()
    }

    fn segment(&self, range: &Range<u64>) -> Segment<'_> {
        match &self.source {
            Source::File(file) => slice(file, range),
            Source::Content(content) => {
                let range = usize::try_from(range.start).unwrap_or(usize::MAX)
                    ..usize::try_from(range.end).unwrap_or(usize::MAX);
                Segment::Bytes(Cow::Borrowed(content.get(range).unwrap_or_default()))
            }
        }
    }
}

/// A representation for one answer.
#[derive(Debug)]
pub(super) enum Held {
    /// For this one alone.
    Fresh(Box<Representation>),
    /// From the cache.
    Kept(Arc<Representation>),
}

impl std::ops::Deref for Held {
    type Target = Representation;

    fn deref(&self) -> &Representation {
        match self {
            Self::Fresh(representation) => representation,
            Self::Kept(representation) => representation,
        }
    }
}

impl Held {
    /// What a body is made of, and the fields of an answer with the whole.
    pub(super) fn into_parts(self) -> (Opened, Fields) {
        match self {
            Self::Kept(kept) => {
                let fields = Fields { shared: Some(Arc::clone(&kept)), own: Vec::new() };
                (Opened::Kept(kept), fields)
            }
            Self::Fresh(fresh) => match *fresh {
                Representation { source: Source::File(file), fields, .. } => {
                    (Opened::File(file), Fields { shared: None, own: fields })
                }
                // Content is what is kept.
                content => Self::Kept(Arc::new(content.with_lines())).into_parts(),
            },
        }
    }
}

/// Where the slices of a body come from: no more of a representation than a long transfer needs.
#[derive(Debug)]
pub(super) enum Opened {
    File(File),
    Kept(Arc<Representation>),
}

impl Opened {
    pub(super) fn segment(&self, range: &Range<u64>) -> Segment<'_> {
        match self {
            Self::File(file) => slice(file, range),
            Self::Kept(representation) => representation.segment(range),
        }
    }
}

fn slice<'a>(file: &'a File, range: &Range<u64>) -> Segment<'a> {
    Segment::Slice { file, range: range.clone() }
}
