//! Errors as the distribution specification writes them ("Error Codes").

use http::StatusCode;
use http::header::{ALLOW, HeaderName};
use serde_json::{Value, json};

use super::answer::Answer;
use super::closing;
use crate::Error;
use crate::body::Cut;
use crate::name::RepositoryName;

/// A refusal.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) status: StatusCode,
    pub(super) code: &'static str,
    pub(super) message: String,
    /// What is not for the client: the whole of an error of the disk.
    internal: Option<String>,
    detail: Value,
    headers: Vec<(HeaderName, String)>,
    /// Whether the connection is of no use any more.
    close: bool,
}

impl Fault {
    pub(super) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
            internal: None,
            detail: Value::Null,
            headers: Vec::new(),
            close: false,
        }
    }

    /// What the server's own log says.
    pub(super) fn log(&self) -> &str {
        self.internal.as_deref().unwrap_or(&self.message)
    }

    /// A refusal of what the client sent.
    pub(super) fn bad(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, message)
    }

    pub(super) fn not_found(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, code, message)
    }

    pub(super) fn no_repository(name: &RepositoryName) -> Self {
        Self::not_found("NAME_UNKNOWN", format!("there is no repository {name}"))
    }

    /// A method that the resource does not have.
    pub(super) fn method(allowed: &'static str) -> Self {
        let message = format!("this resource has the methods {allowed}");
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED", message).header(ALLOW, allowed)
    }

    pub(super) fn detail(mut self, detail: Value) -> Self {
        self.detail = detail;
        self
    }

    pub(super) fn header(mut self, name: HeaderName, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub(super) fn into_answer(self) -> Answer {
        let document = json!({
            "errors": [{ "code": self.code, "message": self.message, "detail": self.detail }]
        });
        let mut answer = Answer::json(self.status, document.to_string());
        for (name, value) in self.headers {
            answer = answer.header(name, &value);
        }
        if self.close {
            closing(&mut answer.headers);
        }
        answer
    }
}

impl From<Error> for Fault {
    /// The disk's troubles. The paths of this machine are nobody's business, so only the system's reason is told.
    fn from(error: Error) -> Self {
        let reason = match &error {
            Error::Io { source, .. } => source.to_string(),
            _ => error.to_string(),
        };
        let full = matches!(
            &error,
            Error::Io { source, .. }
                if matches!(source.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded)
        );
        let status = if full { StatusCode::INSUFFICIENT_STORAGE } else { StatusCode::INTERNAL_SERVER_ERROR };
        let mut fault = Self::new(status, "UNKNOWN", format!("the registry's storage failed: {reason}"));
        fault.internal = Some(match &error {
            Error::Io { source, .. } => format!("{error}: {source}"),
            _ => error.to_string(),
        });
        fault
    }
}

impl From<Cut> for Fault {
    fn from(_: Cut) -> Self {
        let mut fault = Self::bad("BLOB_UPLOAD_INVALID", "the body ended before its end");
        fault.close = true;
        fault
    }
}
