//! What receives requests and sends answers, see [`Front`](crate::Front). The two modules have no items: their pages say how each works
//! and what it bounds.

pub mod direct;
pub mod tiny;

use std::io::{self, ErrorKind};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use threadpool::ThreadPool;

use crate::admin::{self, Admin};
use crate::answer::{Answer, Site};
use crate::budget::Plan;
use crate::config::Config;
use crate::http::request::Request;
use crate::limits;
use crate::listen::Listener;
use crate::seldom::Seldom;
use crate::send::copy::Failure;
use crate::stop::Stop;
use crate::traffic::{Outcome, Traffic};

/// How often the cache lets go of what nobody wants.
const TIDY: Duration = Duration::from_secs(30);

/// What a front starts with, beside what it serves.
pub(crate) struct Start {
    pub(crate) listeners: Vec<Listener>,
    pub(crate) config: Config,
    pub(crate) plan: Plan,
    pub(crate) stop: Arc<Stop>,
    pub(crate) traffic: Arc<Traffic>,
}

/// What answers. A server has one of the first kind; the second is a small one beside it.
#[expect(clippy::large_enum_variant, reason = "there is one of each, and no request pays for a way to it")]
pub(crate) enum Service {
    /// The files.
    Site(Site),
    /// What is told of the server to who runs it.
    Admin(Admin),
}

impl Service {
    fn answer(&self, request: &Request<'_>, now: SystemTime) -> Answer {
        match self {
            Self::Site(site) => site.answer(request, now),
            Self::Admin(admin) => admin.answer(request, now),
        }
    }

    fn site(&self) -> Option<&Site> {
        match self {
            Self::Site(site) => Some(site),
            Self::Admin(_) => None,
        }
    }

    /// What is to be done now and then.
    fn tidy(&self) {
        match self {
            Self::Site(site) => site.tidy(),
            Self::Admin(admin) => admin.sample(SystemTime::now()),
        }
    }

    /// How often.
    fn tidies(&self) -> Duration {
        match self {
            Self::Site(_) => TIDY,
            Self::Admin(_) => admin::SAMPLE,
        }
    }
}

/// So many worker threads; an error if the system has no thread more.
fn pool(workers: usize) -> io::Result<ThreadPool> {
    let builder = threadpool::Builder::new()
        .num_threads(workers)
        .thread_name("worker".into())
        .thread_stack_size(limits::WORKER_STACK);
    // It panics if it cannot.
    catch_unwind(|| builder.build())
        .map_err(|_| io::Error::other(format!("{workers} worker threads cannot be started")))
}

/// The answer, whatever happens: a defect in one request is the end of that request.
fn answer_or_500(request: &Request<'_>, answer: impl FnOnce() -> Answer) -> Answer {
    catch_unwind(AssertUnwindSafe(answer)).unwrap_or_else(|_| Answer::error(500, request))
}

/// How a transfer ended that failed.
fn outcome_of(failure: &Failure) -> Outcome {
    match failure {
        Failure::Source(error) => {
            static SELDOM: Seldom = Seldom::new();
            SELDOM.warn(format_args!("an answer was broken off: {error}"));
            Outcome::SourceFailed
        }
        // What a timeout of a socket looks like.
        Failure::Client(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
            Outcome::TooSlow
        }
        Failure::Client(_) => Outcome::ClientLeft,
    }
}
