//! The distribution API: a request goes to the resource that its path names.

use std::time::Instant;

use http::header::{CONNECTION, CONTENT_LENGTH, EXPECT};
use http::request::Parts;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use hyper::body::Incoming;

use crate::access::{Access, Counted, Observer, Report};
use crate::body::{Content, RequestBody};
use crate::query::Query;
use crate::route::{Route, RouteError};
use crate::storage::Storage;

mod answer;
mod blobs;
mod catalog;
mod document;
mod fault;
mod manifests;
mod referrers;
mod tags;
mod uploads;

use answer::Answer;
use fault::Fault;

/// Longer paths and queries are refused.
const MAX_URI: usize = 8 * 1024;

/// A request on its way to a resource.
#[derive(Debug)]
struct Call {
    storage: Storage,
    parts: Parts,
    body: RequestBody,
}

impl Call {
    fn query(&self) -> Query<'_> {
        Query(self.parts.uri.query().unwrap_or_default())
    }

    /// A header's text; one that is not ASCII is taken for missing.
    fn header(&self, name: impl http::header::AsHeaderName) -> Option<&str> {
        self.parts.headers.get(name)?.to_str().ok()
    }
}

/// Answers a request.
pub(crate) async fn handle(
    storage: Storage,
    observer: Option<Observer>,
    request: Request<Incoming>,
) -> Response<Counted> {
    let begun = Instant::now();
    let (parts, incoming) = request.into_parts();
    let path = parts.uri.path_and_query().map_or_else(|| parts.uri.to_string(), ToString::to_string);
    let method = parts.method.clone();
    let waits = parts.headers.contains_key(EXPECT);
    let mut call = Call { storage, parts, body: RequestBody::new(incoming) };
    let (answer, error) = match dispatch(&mut call).await {
        Ok(answer) => (answer, None),
        Err(fault) => {
            let error = (fault.code, fault.log().to_owned());
            (fault.into_answer(), Some(error))
        }
    };
    // A client that waits for leave to send its body has not sent it, and does not now.
    if !(waits && call.body.received() == 0) {
        call.body.drain().await;
    }
    let access = Access {
        method: method.clone(),
        path,
        status: answer.status,
        error,
        received: call.body.received(),
        sent: 0,
        duration: begun.elapsed(),
    };
    send(answer, &method, Report { access, begun, observer })
}

fn send(answer: Answer, method: &Method, report: Report) -> Response<Counted> {
    let Answer { status, headers, content } = answer;
    let length = content.length();
    let bodiless = status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED;
    let content =
        if method == Method::HEAD || bodiless { Content::Bytes(bytes::Bytes::new()) } else { content };
    let mut response = Response::new(Counted { body: content.into_body(), report });
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    if !bodiless {
        response.headers_mut().insert(CONTENT_LENGTH, length.into());
    }
    response
}

async fn dispatch(call: &mut Call) -> Result<Answer, Fault> {
    let uri = &call.parts.uri;
    if uri.path().len() + uri.query().unwrap_or_default().len() > MAX_URI {
        return Err(Fault::new(StatusCode::URI_TOO_LONG, "UNSUPPORTED", "the path and query are too long"));
    }
    let method = call.parts.method.clone();
    let route = Route::parse(uri.path()).map_err(|error| unroutable(&error, &method))?;
    match (&method, route) {
        (&Method::GET | &Method::HEAD, Route::Base) => Ok(Answer::json(StatusCode::OK, "{}")),
        (&Method::GET | &Method::HEAD, Route::Catalog) => catalog::list(call).await,
        (&Method::GET | &Method::HEAD, Route::Tags(name)) => tags::list(call, name).await,
        (&Method::GET | &Method::HEAD, Route::Referrers(name, digest)) => {
            referrers::list(call, name, digest).await
        }
        (&Method::GET | &Method::HEAD, Route::Manifest(name, selector)) => {
            manifests::get(call, name, selector).await
        }
        (&Method::PUT, Route::Manifest(name, selector)) => manifests::put(call, name, selector).await,
        (&Method::DELETE, Route::Manifest(name, selector)) => manifests::delete(call, name, selector).await,
        (&Method::GET | &Method::HEAD, Route::Blob(name, digest)) => blobs::get(call, name, digest).await,
        (&Method::DELETE, Route::Blob(name, digest)) => blobs::delete(call, name, digest).await,
        (&Method::POST, Route::Uploads(name)) => uploads::begin(call, name).await,
        (&Method::GET | &Method::HEAD, Route::Upload(name, id)) => uploads::status(call, name, id).await,
        (&Method::PATCH, Route::Upload(name, id)) => uploads::append(call, name, id).await,
        (&Method::PUT, Route::Upload(name, id)) => uploads::finish(call, name, id).await,
        (&Method::DELETE, Route::Upload(name, id)) => uploads::cancel(call, name, id).await,
        (_, route) => Err(Fault::method(allowed(&route))),
    }
}

fn allowed(route: &Route) -> &'static str {
    match route {
        Route::Base | Route::Catalog | Route::Tags(_) | Route::Referrers(..) => "GET, HEAD",
        Route::Manifest(..) => "GET, HEAD, PUT, DELETE",
        Route::Blob(..) => "GET, HEAD, DELETE",
        Route::Uploads(_) => "POST",
        Route::Upload(..) => "GET, HEAD, PATCH, PUT, DELETE",
    }
}

fn unroutable(error: &RouteError, method: &Method) -> Fault {
    let (status, code) = match error {
        RouteError::Unknown => (StatusCode::NOT_FOUND, "UNSUPPORTED"),
        RouteError::Encoding | RouteError::Name(..) => (StatusCode::BAD_REQUEST, "NAME_INVALID"),
        RouteError::Digest(..) => (StatusCode::BAD_REQUEST, "DIGEST_INVALID"),
        RouteError::Tag(_) if method == Method::PUT => (StatusCode::BAD_REQUEST, "TAG_INVALID"),
        // Nothing can be there, and clients that ask know what "not found" means.
        RouteError::Tag(_) => (StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN"),
        RouteError::Session(_) => (StatusCode::NOT_FOUND, "BLOB_UPLOAD_UNKNOWN"),
    };
    Fault::new(status, code, error.to_string())
}

/// Whether a client's `If-None-Match` holds the digest: its copy is still right (RFC 9110, section 13.1.2).
fn is_known(headers: &HeaderMap, etag: &str) -> bool {
    let lists =
        headers.get_all(http::header::IF_NONE_MATCH).into_iter().filter_map(|list| list.to_str().ok());
    lists
        .flat_map(|list| list.split(','))
        .map(str::trim)
        .any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag)
}

/// Closes the connection behind an answer.
fn closing(headers: &mut HeaderMap) {
    headers.insert(CONNECTION, http::HeaderValue::from_static("close"));
}
