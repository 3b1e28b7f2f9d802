//! What a rule answers.

use std::sync::Arc;
use std::time::Duration;

/// An answer: the registry's own, or one made up, spoiled as told.
#[derive(Clone, Debug)]
pub struct Answer {
    /// `None`: what the registry would say.
    pub(super) status: Option<u16>,
    pub(super) headers: Vec<(String, Option<String>)>,
    /// Headers beside those.
    pub(super) more: Vec<(String, String)>,
    /// A template of the `Location`.
    pub(super) location: Option<String>,
    pub(super) body: Option<Content>,
    pub(super) spoil: Spoil,
}

/// A body.
#[derive(Clone, Debug)]
pub(super) enum Content {
    Bytes(Arc<[u8]>),
    /// So many spaces, which no memory is needed for.
    Filler(u64),
}

/// What goes wrong.
#[derive(Clone, Debug, Default)]
pub(super) struct Spoil {
    pub(super) delay: Duration,
    pub(super) length: Length,
    pub(super) end: Option<End>,
    pub(super) corrupt: bool,
    pub(super) ignore_ranges: bool,
    pub(super) cut_request: Option<u64>,
    pub(super) connection: After,
}

/// What becomes of the connection behind a good answer.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) enum After {
    #[default]
    Open,
    /// It ends, without a word.
    Closed,
    /// It ends as the next request comes.
    ClosedOnRequest,
}

/// The `Content-Length` of an answer.
#[derive(Clone, Copy, Debug, Default)]
pub(super) enum Length {
    #[default]
    True,
    Claimed(u64),
    Absent,
    /// `Transfer-Encoding: chunked`.
    Chunked,
}

/// Where a body stops, before its end.
#[derive(Clone, Copy, Debug)]
pub(super) enum End {
    Cut(u64),
    Silence(u64),
}

impl Answer {
    /// What the registry would say, to be spoiled by the methods below.
    pub fn stored() -> Self {
        Self {
            status: None,
            headers: Vec::new(),
            more: Vec::new(),
            location: None,
            body: None,
            spoil: Spoil::default(),
        }
    }

    /// A status with an empty body.
    pub fn status(status: u16) -> Self {
        Self { status: Some(status), body: Some(Content::Bytes(Arc::from([]))), ..Self::stored() }
    }

    /// A status with the error body of the distribution specification.
    pub fn error(status: u16, code: &str, message: &str) -> Self {
        let body = serde_json::json!({"errors": [{"code": code, "message": message}]}).to_string();
        Self::status(status).header("Content-Type", "application/json").body(body)
    }

    /// A temporary redirect.
    pub fn redirect(location: &str) -> Self {
        Self::status(307).header("Location", location)
    }

    /// Sets a header, in place of the registry's own.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), Some(value.to_owned())));
        self
    }

    /// Adds a header, beside others of the same name.
    #[must_use]
    pub fn more(mut self, name: &str, value: &str) -> Self {
        self.more.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sets the `Location`, where `{request}` stands for the request's path, `{location}` for the registry's own
    /// `Location`, and `{last}` for the last segment of that.
    #[must_use]
    pub fn location(mut self, template: &str) -> Self {
        self.location = Some(template.to_owned());
        self
    }

    /// Leaves a header away.
    #[must_use]
    pub fn without_header(mut self, name: &str) -> Self {
        self.headers.push((name.to_owned(), None));
        self
    }

    /// This body.
    #[must_use]
    pub fn body(mut self, bytes: impl AsRef<[u8]>) -> Self {
        self.body = Some(Content::Bytes(Arc::from(bytes.as_ref())));
        self
    }

    /// A body of so many spaces.
    #[must_use]
    pub fn filler(mut self, bytes: u64) -> Self {
        self.body = Some(Content::Filler(bytes));
        self
    }

    /// Waits before it answers.
    #[must_use]
    pub fn delay(mut self, delay: Duration) -> Self {
        self.spoil.delay = delay;
        self
    }

    /// Announces a wrong length. Less than there is: the body is sent whole, and the connection ends. More: the
    /// connection ends after the body.
    #[must_use]
    pub fn claim_length(mut self, bytes: u64) -> Self {
        self.spoil.length = Length::Claimed(bytes);
        self
    }

    /// Announces no length: the body lasts until the connection ends.
    #[must_use]
    pub fn no_length(mut self) -> Self {
        self.spoil.length = Length::Absent;
        self
    }

    /// Sends the body in chunks, without a length.
    #[must_use]
    pub fn chunked(mut self) -> Self {
        self.spoil.length = Length::Chunked;
        self
    }

    /// Ends the connection behind the answer, which promised that it lasts.
    #[must_use]
    pub fn then_closed(mut self) -> Self {
        self.spoil.connection = After::Closed;
        self
    }

    /// Ends the connection when the next request comes on it.
    #[must_use]
    pub fn then_closed_on_request(mut self) -> Self {
        self.spoil.connection = After::ClosedOnRequest;
        self
    }

    /// Ends the connection after so many bytes of the body.
    #[must_use]
    pub fn cut_after(mut self, bytes: u64) -> Self {
        self.spoil.end = Some(End::Cut(bytes));
        self
    }

    /// Sends nothing more after so many bytes of the body, and keeps the connection open.
    #[must_use]
    pub fn silent_after(mut self, bytes: u64) -> Self {
        self.spoil.end = Some(End::Silence(bytes));
        self
    }

    /// Changes the last byte of the body.
    #[must_use]
    pub fn corrupt(mut self) -> Self {
        self.spoil.corrupt = true;
        self
    }

    /// Answers a `Range` with the whole, as registries may.
    #[must_use]
    pub fn ignore_ranges(mut self) -> Self {
        self.spoil.ignore_ranges = true;
        self
    }

    /// Ends the connection when so many bytes of the request's body have come; an upload session keeps them.
    #[must_use]
    pub fn cut_request_after(mut self, bytes: u64) -> Self {
        self.spoil.cut_request = Some(bytes);
        self
    }
}
