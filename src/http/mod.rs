//! The grammar of HTTP as far as a file server needs it: pure functions over text, no file and no socket in sight.

pub(crate) mod accept;
pub(crate) mod date;
pub(crate) mod escape;
pub(crate) mod media_type;
pub(crate) mod range;
pub(crate) mod request;
pub(crate) mod site_files;
pub(crate) mod target;
pub(crate) mod validator;
