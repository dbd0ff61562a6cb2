//! Sends a request to a backend of its route: the only network I/O of the pipeline. Failed attempts are made again
//! elsewhere, within the route's limits and budget, and only as far as nobody pays for the same work twice.

use std::sync::Arc;
use std::time::Duration;

use futures::future::{Either, select};
use tokio::time::Instant;

pub use super::attempt::Upstream;
use super::attempt::attempt;
use super::boundary;
use super::prompt::Rendered;
use super::route::{self, Roles, Target};
use super::shadow;
use crate::backend::Backend;
use crate::backend::circuit::Fault;
use crate::backend::endpoint::{Endpoint, Load};
use crate::caller::Caller;
use crate::complete;
use crate::config::snapshot::{Hedging, Route};
use crate::error::{Again, GatewayError};
use crate::limits;
use crate::server::facts::Phase;
use crate::server::record::Record;

/// Pause before the same address is asked again: doubled each time, and drawn between half and all of it.
const PAUSE: Duration = Duration::from_millis(50);

/// Sends to a backend of the route.
///
/// # Errors
/// When no backend takes the request, or the last attempt that may be made fails.
pub async fn send(
    route: &Arc<Route>,
    rendered: &Rendered,
    record: &mut Record,
) -> Result<Upstream, GatewayError> {
    route.budget.note_request();
    note_candidates(route, record);
    record.note_phase(Phase::Route);
    let caller = record.caller().cloned();
    shadow::copy(route, rendered, caller.as_deref());
    let mut tries = Tries::new(route, rendered, caller.as_deref(), deadline(route, record.began));
    loop {
        let (backend, endpoint, why) = tries.next().await?;
        record.set_backend(&backend);
        record.note_because(why);
        let (at, began) = (Arc::clone(&endpoint), std::time::Instant::now());
        let result = match &route.hedging {
            Some(hedging) if tries.made == 1 => tries.hedged(hedging, &backend, endpoint).await,
            _ => attempt(route, &backend, endpoint, rendered, tries.load, tries.deadline).await,
        };
        record.note_phase(Phase::FirstByte);
        let word = result.as_ref().map_or_else(GatewayError::reason, |_| "ok");
        record.note_attempt(&backend.name, Some(at.base()), began, word);
        match result {
            Ok(upstream) => {
                if !Arc::ptr_eq(upstream.permit.backend(), &backend) {
                    record.set_backend(upstream.permit.backend());
                    record.note_because("hedge");
                }
                return Ok(upstream);
            }
            Err(error) => {
                if let GatewayError::UpstreamStatus { status, .. } = &error {
                    record.note_model_status(status.as_u16());
                }
                tries.may_go_on(&backend, error)?;
            }
        }
    }
}

/// Notes which backends there were to choose from, for whoever asks why.
fn note_candidates(route: &Route, record: &mut Record) {
    for (candidate, weight) in route.answering() {
        let verdict = if *weight == 0 {
            "weight is 0"
        } else if candidate.missing_credential().is_some() {
            "credential is missing"
        } else if candidate.is_healthy() {
            "healthy"
        } else {
            "unhealthy"
        };
        record.note_candidate(&candidate.name, verdict, Some(f64::from(*weight)));
    }
}

/// Sends to this backend, once.
///
/// # Errors
/// When it does not take the request or fails.
pub async fn to_backend(
    route: &Route,
    backend: &Arc<Backend>,
    rendered: &Rendered,
) -> Result<Upstream, GatewayError> {
    let until = Instant::now() + Duration::from_millis(route.timeout.total_ms);
    let load = rendered.load();
    match backend.pick(load, &[]) {
        crate::backend::endpoint::Pick::Take(endpoint, _) => {
            attempt(route, backend, endpoint, rendered, load, until).await
        }
        crate::backend::endpoint::Pick::Wait(retry_after, _) => Err(GatewayError::Open { retry_after }),
        crate::backend::endpoint::Pick::None => Err(GatewayError::NoBackend("no address is known")),
    }
}

/// Attempts of one request.
pub struct Tries<'a> {
    route: &'a Route,
    rendered: &'a Rendered,
    caller: Option<&'a Caller>,
    load: Load<'a>,
    deadline: Instant,
    tried: Vec<Arc<Endpoint>>,
    made: u32,
    last: Option<GatewayError>,
}

impl<'a> Tries<'a> {
    /// Before the first.
    #[must_use]
    pub fn new(
        route: &'a Route,
        rendered: &'a Rendered,
        caller: Option<&'a Caller>,
        deadline: Instant,
    ) -> Self {
        Self {
            route,
            rendered,
            caller,
            load: rendered.load(),
            deadline,
            tried: Vec::new(),
            made: 0,
            last: None,
        }
    }

    /// Where the next attempt goes, after the pause that it needs.
    async fn next(&mut self) -> Result<(Arc<Backend>, Arc<Endpoint>, &'static str), GatewayError> {
        let mut waited = false;
        loop {
            match route::target(self.route, self.caller, self.load, &self.tried, Roles::All) {
                Target::Send(backend, endpoint, why) => {
                    self.made += 1;
                    self.tried.push(Arc::clone(&endpoint));
                    return Ok((backend, endpoint, why));
                }
                // Every address was tried: the same ones again, after a pause.
                Target::None
                    if !self.tried.is_empty() && self.last.as_ref().is_some_and(GatewayError::may_pass) =>
                {
                    self.tried.clear();
                    self.sleep(pause(self.made), GatewayError::NoBackend("none is left to try")).await?;
                }
                Target::Wait(left, asked) => {
                    let error = if asked {
                        GatewayError::Busy { retry_after: left }
                    } else {
                        GatewayError::Open { retry_after: left }
                    };
                    if waited || !asked || left > limits::WAIT_FOR_BUSY {
                        return Err(self.last.take().unwrap_or(error));
                    }
                    waited = true;
                    self.sleep(left + Duration::from_millis(1), error).await?;
                }
                Target::None if self.made == 0 && !waited && self.asleep().is_some() => {
                    waited = true;
                    if let Some(backend) = self.asleep() {
                        self.rendered.note(&backend, complete::Phase::Queue);
                        backend.wake(self.rendered.until(self.route).min(self.deadline)).await?;
                    }
                }
                Target::None => {
                    return Err(self.last.take().unwrap_or_else(|| none(self.route, self.caller)));
                }
            }
        }
    }

    /// A backend that could answer if a pod of it were there.
    fn asleep(&self) -> Option<Arc<Backend>> {
        let mut could = self.route.answering().filter(|(backend, weight)| {
            *weight > 0 && backend.is_asleep() && boundary::check(self.route, backend, self.caller).is_ok()
        });
        could.next().map(|(backend, _)| Arc::clone(backend))
    }

    /// Pauses, unless the answer would then come too late.
    async fn sleep(&mut self, pause: Duration, error: GatewayError) -> Result<(), GatewayError> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if pause > left / 2 {
            return Err(self.last.take().unwrap_or(error));
        }
        tokio::time::sleep(pause).await;
        Ok(())
    }

    /// Whether another attempt may follow this failure.
    fn may_go_on(&mut self, backend: &Backend, error: GatewayError) -> Result<(), GatewayError> {
        let again = error.again();
        let allowed = match again {
            Again::Never => false,
            Again::Unsent | Again::Refused => true,
            Again::IfUnpaid => !backend.is_paid(),
        };
        if !allowed || self.made > self.route.retries || Instant::now() >= self.deadline {
            return Err(error);
        }
        // Not a byte was sent: no load that a budget would have to bound.
        if again != Again::Unsent && !self.route.budget.take(std::time::Instant::now()) {
            backend.series.routing.denied.inc();
            return Err(error);
        }
        backend.series.routing.retries.inc();
        // A short pause that an address asked for is waited for, rather than a fallback taken.
        if matches!(error.fault(), Some(Fault::Busy(Some(pause))) if pause <= limits::WAIT_FOR_BUSY) {
            self.tried.pop();
        }
        self.last = Some(error);
        Ok(())
    }

    /// The first attempt, and a second one beside it when its first token is late. The one that is later is dropped, which
    /// cancels it.
    async fn hedged(
        &mut self,
        hedging: &Hedging,
        backend: &Arc<Backend>,
        endpoint: Arc<Endpoint>,
    ) -> Result<Upstream, GatewayError> {
        hedging.budget.note_request();
        let began = Instant::now();
        let (route, rendered, load, until) = (self.route, self.rendered, self.load, self.deadline);
        let mut first = std::pin::pin!(attempt(route, backend, endpoint, rendered, load, until));
        let result = match hedging.after.or_else(|| hedging.first_tokens.p95()) {
            None => first.await,
            Some(after) => match tokio::time::timeout(after, &mut first).await {
                Ok(result) => result,
                Err(_) => match route::target(route, self.caller, load, &self.tried, Roles::Primary) {
                    Target::Send(other, endpoint, _) if hedging.budget.take(std::time::Instant::now()) => {
                        backend.series.routing.hedges.inc();
                        self.tried.push(Arc::clone(&endpoint));
                        let second = std::pin::pin!(attempt(route, &other, endpoint, rendered, load, until));
                        match select(first, second).await {
                            Either::Left((Err(_), second)) => second.await,
                            Either::Right((Err(_), first)) => first.await,
                            Either::Left((done, _)) | Either::Right((done, _)) => done,
                        }
                    }
                    _ => first.await,
                },
            },
        };
        if result.is_ok() {
            hedging.first_tokens.note(began.elapsed());
        }
        result
    }
}

/// Why no backend is left: the data boundary, where that is the reason.
fn none(route: &Route, caller: Option<&Caller>) -> GatewayError {
    let refused = route.answering().find_map(|(backend, _)| boundary::check(route, backend, caller).err());
    refused.unwrap_or(GatewayError::NoBackend("none has a weight, an address and a credential"))
}

/// Carries a broken stream's request on elsewhere: one attempt after another at addresses that were not tried.
///
/// # Errors
/// When there is none, or none that answers.
pub async fn elsewhere(
    route: &Route,
    rendered: &Rendered,
    caller: Option<&Caller>,
    tried: &mut Vec<Arc<Endpoint>>,
    deadline: Instant,
) -> Result<Upstream, GatewayError> {
    let load = rendered.load();
    let mut last = GatewayError::Unresumable;
    for _ in 0..route.retries {
        let Target::Send(backend, endpoint, _) = route::target(route, caller, load, tried, Roles::All) else {
            break;
        };
        tried.push(Arc::clone(&endpoint));
        match attempt(route, &backend, endpoint, rendered, load, deadline).await {
            Err(error) if error.again() != Again::Never => last = error,
            done => return done,
        }
    }
    Err(last)
}

fn pause(made: u32) -> Duration {
    let whole = PAUSE.saturating_mul(1 << made.saturating_sub(1).min(6));
    whole.mul_f64(rand::random_range(0.5..=1.0))
}

/// When everything of the request must be over.
#[must_use]
pub fn deadline(route: &Route, began: std::time::Instant) -> Instant {
    Instant::from_std(began) + Duration::from_millis(route.timeout.total_ms)
}
