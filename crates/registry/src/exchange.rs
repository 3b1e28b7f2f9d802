//! One question to a registry and its answer: credentials, redirects and retries included.

use std::error::Error as StdError;
use std::io;
use std::iter::Peekable;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

use auth::Secret;
use backon::ExponentialBackoff;
use base64::Engine as _;
use bytes::{Bytes, BytesMut};
use http::header::{AUTHORIZATION, LOCATION, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use reqwest::{Client, Response};
use store::{Event, Kind};
use url::Url;

use crate::elsewhere::Elsewhere;
use crate::error::{ClockSkew, Error, StatusError};
use crate::explain::explain;
use crate::host::{Authorization, Host};
use crate::link;
use crate::retry::{is_dropped, is_passing, retry_after};
use crate::scope::Scope;
use crate::transport::Lane;
use crate::{rate_limit, redact};

/// How long a registry may take to begin its answer to a request without a long body.
const PATIENCE: Duration = Duration::from_mins(1);

/// The largest body of an error that is read, in bytes.
const ERROR_LIMIT: u64 = 64 << 10;

/// How often a request is sent again because the registry said when to come back, or because another had ended. Beyond that
/// it counts as broken.
const REFUSALS: usize = 6;

/// How many redirects are followed.
pub(crate) const REDIRECTS: usize = 10;

/// A request that can be repeated.
#[derive(Clone)]
pub(crate) struct Request<'a> {
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// What a token has to be for.
    pub(crate) scopes: &'a [Scope],
    /// The repository's path, for credentials that are kept by repository.
    pub(crate) repository: &'a str,
    pub(crate) lane: Lane,
}

/// A good answer and the URL that gave it, behind all redirects.
pub(crate) struct Answer {
    pub(crate) response: Response,
    pub(crate) url: Url,
    /// The same place, if the registry sent us there.
    pub(crate) elsewhere: Option<Elsewhere>,
}

/// A good answer with its whole body.
pub(crate) struct Document {
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// The attempts that a request has left.
struct Left {
    waits: Peekable<ExponentialBackoff>,
    /// How many refusals may cost none of them, because the registry says when to come back or something else has ended.
    refusals: usize,
}

impl Host {
    /// Sends a request and reads an answer of at most `limit` bytes. One that breaks off is asked for again.
    pub(crate) async fn fetch(&self, request: Request<'_>, limit: u64) -> Result<Document, Error> {
        let started = Instant::now();
        let mut waits = self.shared.options.retries.schedule();
        let mut attempts = 0;
        loop {
            attempts += 1;
            let Answer { response, url, .. } = self.send(request.clone()).await?;
            let headers = response.headers().clone();
            let broken = match read_bounded(response, limit, self.shared.options.stall).await {
                Ok(Some(body)) => return Ok(Document { headers, body }),
                Ok(None) => return Err(Error::TooLarge { url: redact::url(&url), limit }),
                Err(source) => Error::network(&request.method, &url, source, (attempts, started.elapsed())),
            };
            match waits.next().filter(|_| broken.kind() == Kind::Interrupted) {
                Some(wait) => self.shared.wait(&broken, wait).await,
                None => return Err(broken),
            }
        }
    }

    /// Sends a request until the answer is a good one (2xx), or it is clear that it will not be.
    pub(crate) async fn send(&self, request: Request<'_>) -> Result<Answer, Error> {
        self.send_until(request, None, is_worth_another).await
    }

    /// As [`send`](Self::send), but goes at once to where the registry sent us before. If that is no good any more, the
    /// registry is asked.
    pub(crate) async fn send_to(
        &self,
        elsewhere: Option<Elsewhere>,
        request: Request<'_>,
    ) -> Result<Answer, Error> {
        self.send_until(request, elsewhere, is_worth_another).await
    }

    /// As [`send`](Self::send), for a caller that has another way: an answer that refuses is not asked for again.
    pub(crate) async fn probe(&self, request: Request<'_>) -> Result<Answer, Error> {
        self.send_until(request, None, |error| error.status().is_none() && is_worth_another(error)).await
    }

    async fn send_until(
        &self,
        mut request: Request<'_>,
        elsewhere: Option<Elsewhere>,
        worth_another: impl Fn(&Error) -> bool,
    ) -> Result<Answer, Error> {
        request.url = self.set_right(request.url);
        let started = Instant::now();
        let mut left = Left { waits: self.shared.options.retries.schedule().peekable(), refusals: REFUSALS };
        let mut scopes = request.scopes.to_vec();
        let mut by_heart = elsewhere.is_some();
        let (mut url, mut sender) = match elsewhere {
            Some(Elsewhere { url, from }) => (url, Some(from)),
            None => (request.url.clone(), self.sender(&request.url)),
        };
        let (mut attempts, mut redirects, mut challenges, mut dropped) = (0, 0, 0, false);
        loop {
            let authorization = if self.is_own(&url) {
                self.authorization(&url, &scopes, request.repository).await?
            } else {
                Authorization::Unasked
            };
            attempts += 1;
            let effort = || (attempts, started.elapsed());
            let client = self.shared.transport.client_of(request.lane, &url, sender, dropped)?;
            if self.is_own(&url) {
                self.patience().await;
            }
            let outcome = self.attempt(&client, &request, &url, &authorization).await;
            if let Some(again) = self.misled(&url, &authorization, &outcome).await {
                request.url = self.set_right(request.url);
                url = again;
                attempts -= 1;
                continue;
            }
            let (error, asked) = match outcome {
                // Servers close connections that are idle, and a request may be on its way already. So it says nothing
                // of the registry's health, and every other connection that waits may be as old.
                Err(source) if !dropped && is_dropped(source.as_ref()) => {
                    dropped = true;
                    self.drops.store(true, Ordering::Relaxed);
                    attempts -= 1;
                    continue;
                }
                Err(source) => {
                    self.pace.failed();
                    (Error::network(&request.method, &url, source, effort()), None)
                }
                Ok(response) => {
                    let status = response.status();
                    if self.is_own(&url) {
                        self.judge(status, asked_patience(response.headers()));
                    }
                    if status.is_success() {
                        let elsewhere = sender.map(|from| Elsewhere { url: url.clone(), from });
                        return Ok(Answer { response, url, elsewhere });
                    }
                    let unasked = matches!(authorization, Authorization::Unasked);
                    if (status == StatusCode::UNAUTHORIZED || (status == StatusCode::FORBIDDEN && unasked))
                        && self.is_own(&url)
                        && challenges < 2
                        && self.challenged(response.headers(), &authorization, &mut scopes, challenges == 0)
                    {
                        challenges += 1;
                        attempts -= 1;
                        continue;
                    }
                    if unasked && self.is_own(&url) && self.lets_in_who_asks(status, request.repository).await
                    {
                        attempts -= 1;
                        continue;
                    }
                    if let Some(target) = redirect(&request.method, request.body.is_empty(), &url, &response)?
                    {
                        redirects += 1;
                        if redirects > REDIRECTS {
                            return Err(Error::protocol(&request.method, &request.url, "too many redirects"));
                        }
                        // Each place on the way counts: one that is public cannot send us back inside.
                        let here = self.shared.transport.reached(&url, response.remote_addr());
                        let from = sender.map_or(here, |before| before.min(here));
                        sender = (!self.is_own(&target)).then_some(from);
                        url = target;
                        attempts -= 1;
                        continue;
                    }
                    let asked = asked_patience(response.headers());
                    let authorized = authorization.header().is_some();
                    let error = status_error(&request.method, &url, response, authorized, effort()).await;
                    (error.under(&authorization, &scopes), asked)
                }
            };
            if std::mem::take(&mut by_heart) {
                // Maybe it was signed for a time that is over.
                attempts -= 1;
            } else if !worth_another(&error)
                || !self.wait_for_another(&mut left, &error, asked, self.is_own(&url)).await
            {
                return Err(error);
            }
            // A redirect may lead to an address that is signed for a short time: begin at the registry again.
            url = request.url.clone();
            sender = self.sender(&url);
            (redirects, challenges) = (0, 0);
        }
    }

    /// Waits until a request that failed may be sent again; `false` if it may not.
    /// `own` says whether it was the registry's own; its places tell nothing of another host.
    async fn wait_for_another(
        &self,
        left: &mut Left,
        error: &Error,
        asked: Option<Duration>,
        own: bool,
    ) -> bool {
        let retries = self.shared.options.retries;
        let busy = is_refusal(error.status()) && left.refusals > 0;
        // Whoever says when to come back is not broken, only busy.
        let scheduled =
            if busy && asked.is_some() { Some(Duration::ZERO) } else { left.waits.peek().copied() };
        let Some(scheduled) = scheduled.filter(|_| retries.allow(asked)) else { return false };
        left.refusals -= usize::from(busy);
        tokio::select! {
            () = self.shared.wait(error, retries.wait(scheduled, asked)) => {
                if !busy || asked.is_none() {
                    left.waits.next();
                }
            }
            // Whoever does not say may take the request as soon as another has ended.
            () = self.pace.freed(), if busy && own && asked.is_none() => {}
        }
        true
    }

    /// Waits while the registry wants to be left alone.
    async fn patience(&self) {
        while let Some(pause) = self.pace.pause() {
            tokio::time::sleep(pause).await;
        }
    }

    /// Learns from an answer how much the registry takes at once.
    pub(crate) fn judge(&self, status: StatusCode, asked: Option<Duration>) {
        if !is_refusal(Some(status)) {
            return self.pace.accepted();
        }
        // What asks for more is told at once, and nobody waits for it.
        let asked = asked.filter(|&asked| self.shared.options.retries.allow(Some(asked)));
        self.pace.refused(asked);
        if let Some(wait) = asked.filter(|wait| !wait.is_zero()) {
            self.shared.options.observer.event(&Event::Limited { host: self.pace.host(), wait });
        }
    }

    /// Sends a request once, with what lets it in.
    pub(crate) async fn attempt(
        &self,
        client: &Client,
        request: &Request<'_>,
        url: &Url,
        authorization: &Authorization,
    ) -> Result<Response, Box<dyn StdError + Send + Sync>> {
        let mut headers = self.own_headers(url, authorization);
        headers.extend(request.headers.clone());
        let mut builder = client.request(request.method.clone(), url.clone()).headers(headers);
        if !matches!(request.method, Method::GET | Method::HEAD) {
            builder = builder.body(request.body.clone());
        }
        let exchange = self.exchange(client, builder.build()?);
        let asked = Instant::now();
        match tokio::time::timeout(PATIENCE, exchange).await {
            Ok(outcome) => {
                let response = outcome?;
                if self.is_own(url) {
                    self.pace.answered(asked.elapsed());
                }
                Ok(response)
            }
            Err(_) => Err(io::Error::new(
                io::ErrorKind::TimedOut,
                format!("no answer for {} s", PATIENCE.as_secs()),
            )
            .into()),
        }
    }

    /// What only the registry itself may see: the user's headers and the credential.
    pub(crate) fn own_headers(&self, url: &Url, authorization: &Authorization) -> HeaderMap {
        if !self.is_own(url) {
            return HeaderMap::new();
        }
        let mut headers = self.shared.transport.headers.clone();
        headers.extend(authorization.header().map(|value| (AUTHORIZATION, value)));
        headers
    }

    /// Sends a request once, with lines for whoever debugs. The error names no URL, as that may be signed.
    pub(crate) async fn exchange(
        &self,
        client: &Client,
        request: reqwest::Request,
    ) -> Result<Response, Box<dyn StdError + Send + Sync>> {
        let target = request.url().clone();
        let (method, url) = (request.method().clone(), redact::url(&target));
        tracing::debug!(target: "hoist::http", "--> {method} {url}{}", redact::Headers(request.headers()));
        let started = Instant::now();
        let outcome = client.execute(request).await;
        if let Ok(response) = &outcome {
            if self.is_own(&target) {
                self.reached(self.shared.transport.reached(&target, response.remote_addr()));
            }
            tracing::debug!(
                target: "hoist::http",
                "<-- {} {method} {url} ({:.0?}){}",
                response.status(),
                started.elapsed(),
                redact::Headers(response.headers())
            );
            self.shared.warn(response.headers());
        } else {
            tracing::debug!(target: "hoist::http", "<-- no answer to {method} {url}");
        }
        outcome.map_err(|error| self.shared.transport.explain(&target, error))
    }
}

/// Whether an answer means that there are too many requests.
fn is_refusal(status: Option<StatusCode>) -> bool {
    matches!(status, Some(StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE))
}

/// Whether another attempt may end better.
pub(crate) fn is_worth_another(error: &Error) -> bool {
    match error.status() {
        Some(status) => is_passing(status),
        None => error.kind() == Kind::Interrupted,
    }
}

/// Where a redirect leads, if the answer is one that may be followed. A request with a body is not sent elsewhere.
pub(crate) fn redirect(
    method: &Method,
    is_empty: bool,
    url: &Url,
    response: &Response,
) -> Result<Option<Url>, Error> {
    let follows = match response.status().as_u16() {
        301..=303 => matches!(*method, Method::GET | Method::HEAD),
        307 | 308 => is_empty,
        _ => false,
    };
    let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
    let Some(location) = location.filter(|_| follows) else { return Ok(None) };
    let target = url
        .join(location)
        .map_err(|error| Error::protocol(method, url, format!("redirects to no URL: {error}")))?;
    let target = link::as_reached(url, target);
    if !matches!(target.scheme(), "http" | "https") || (url.scheme() == "https" && target.scheme() == "http")
    {
        let reason = format!("redirects from {} to {}, which is refused", url.scheme(), target.scheme());
        return Err(Error::protocol(method, url, reason));
    }
    Ok(Some(target))
}

/// How long an answer asks to wait.
pub(crate) fn asked_patience(headers: &HeaderMap) -> Option<Duration> {
    retry_after(headers.get(RETRY_AFTER)?.to_str().ok()?, SystemTime::now())
}

/// Reads what an error says.
pub(crate) async fn status_error(
    method: &Method,
    url: &Url,
    response: Response,
    authorized: bool,
    (attempts, elapsed): (usize, Duration),
) -> Error {
    let status = response.status();
    let retry_after = asked_patience(response.headers());
    let limited = status == StatusCode::TOO_MANY_REQUESTS;
    let limit = limited.then(|| rate_limit::parse(response.headers())).flatten();
    let skew = ClockSkew::of(response.headers());
    // What cannot be read explains nothing; the status still does.
    let body = tokio::time::timeout(PATIENCE, read_bounded(response, ERROR_LIMIT, PATIENCE)).await;
    let body = body.ok().and_then(Result::ok).flatten().unwrap_or_default();
    let (errors, text) = explain(&body);
    Error::Status(Box::new(StatusError {
        method: method.clone(),
        url: redact::url(url),
        status,
        errors,
        text,
        authorized,
        granted: None,
        needed: Vec::new(),
        retry_after,
        limit,
        skew,
        attempts,
        elapsed,
    }))
}

/// Reads a body of at most `limit` bytes into memory; `None` if it is larger.
pub(crate) async fn read_bounded(
    mut response: Response,
    limit: u64,
    stall: Duration,
) -> Result<Option<Bytes>, Box<dyn StdError + Send + Sync>> {
    if response.content_length().is_some_and(|length| length > limit) {
        return Ok(None);
    }
    let mut body = BytesMut::new();
    loop {
        let piece = tokio::time::timeout(stall, response.chunk()).await.map_err(|_| stalled(stall))?;
        match piece.map_err(reqwest::Error::without_url)? {
            None => return Ok(Some(body.freeze())),
            Some(piece) if (body.len() + piece.len()) as u64 > limit => return Ok(None),
            Some(piece) => body.extend_from_slice(&piece),
        }
    }
}

/// A body that moves nothing.
pub(crate) fn stalled(after: Duration) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, format!("nothing came for {} s", after.as_secs_f64()))
}

/// The header of user and password (RFC 7617).
pub(crate) fn basic(username: &str, password: &Secret) -> HeaderValue {
    let encoded =
        base64::engine::general_purpose::STANDARD.encode(format!("{username}:{}", password.expose()));
    sensitive(&format!("Basic {encoded}"))
}

/// A header value that no log shows. Bytes that no header can hold make it empty, and the registry refuses that.
pub(crate) fn sensitive(text: &str) -> HeaderValue {
    let mut value = HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static(""));
    value.set_sensitive(true);
    value
}
