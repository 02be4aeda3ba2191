//! The grammar of HTTP as far as a file server needs it: pure functions over text, no file and no socket in sight.

pub mod accept;
pub mod date;
pub(crate) mod escape;
pub mod media_type;
pub mod range;
pub mod request;
pub mod target;
pub mod validator;
