//! Where requests come in and answers go out. Each front feeds the same core.

pub mod direct;
pub mod tiny;

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::answer::Answer;
use crate::http::request::Request;
use crate::send::copy::Failure;

/// The answer, whatever happens: a defect in one request is the end of that request.
fn answer_or_500(request: &Request<'_>, answer: impl FnOnce() -> Answer) -> Answer {
    catch_unwind(AssertUnwindSafe(answer)).unwrap_or_else(|_| Answer::error(500, request))
}

/// How a transfer ended, for the log.
fn outcome(sent: &Result<u64, Failure>) -> String {
    match sent {
        Ok(count) => format!("{count} bytes"),
        Err(Failure::Source(error)) => format!("not finished: {error}"),
        Err(Failure::Client(error)) => format!("the client did not take it: {error}"),
    }
}
