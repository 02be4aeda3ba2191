//! Where requests come in and answers go out. Each front feeds the same core.

pub mod direct;
pub mod tiny;
