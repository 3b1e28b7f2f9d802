//! What an examination finds.

use oci::{Digest, MediaType};
use serde::Serialize;

use super::address::{Address, Connections};
use super::certificate::Certificate;
use crate::error::ClockSkew;
use crate::{RateLimit, Trusted};

/// What is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Probe {
    /// https or http.
    Scheme,
    /// What stands between.
    Proxy,
    /// The addresses of the registry's name.
    Address,
    /// Whether they answer.
    Connection,
    /// The protocol below https, and the certificate.
    Tls,
    /// `GET /v2/` (distribution specification, end-1).
    Api,
    /// The registry's clock beside this machine's.
    Clock,
    /// What the registry asks for.
    Challenge,
    /// What there is to show.
    Credentials,
    /// Whether that is taken: by the token server, or by the registry.
    Login,
    /// The list of repositories.
    Catalog,
    /// The list of tags (end-8).
    Tags,
    /// `GET` of a manifest (end-3).
    Manifest,
    /// `HEAD` of the same.
    Head,
    /// The first byte of a blob (end-2, with `Range`).
    Blob,
    /// The list of what refers to the manifest (end-12).
    Referrers,
    /// How often the registry may be asked.
    Limit,
    /// A token that is good for pushing.
    PushToken,
    /// An upload session (end-4a).
    Upload,
    /// A piece of a blob, and how far the session got (end-5, end-13).
    Chunks,
    /// The end of a session that is given up (end-14).
    Cancel,
    /// A blob from the same registry (end-11).
    Mount,
    /// Deleting a manifest that does not exist (end-9).
    Delete,
}

/// One probe, and what came of it.
#[derive(Debug)]
#[non_exhaustive]
pub struct Finding {
    /// What was looked at.
    pub probe: Probe,
    /// What came of it.
    pub outcome: Outcome,
    /// Whether a failure here means that what was asked for would not work.
    pub decides: bool,
}

/// What came of a probe.
#[derive(Debug)]
pub enum Outcome {
    /// It is as it should be.
    Good(Facts),
    /// It works, but for this.
    Odd(Facts, Oddity),
    /// It does not work; what is known all the same, and why.
    Failed(Option<Facts>, store::Error),
    /// It was not looked at; why.
    Skipped(&'static str),
}

impl Outcome {
    /// What is known.
    pub fn facts(&self) -> Option<&Facts> {
        match self {
            Self::Good(facts) | Self::Odd(facts, _) => Some(facts),
            Self::Failed(facts, _) => facts.as_ref(),
            Self::Skipped(_) => None,
        }
    }

    pub(super) fn failed(&self) -> bool {
        matches!(self, Self::Failed(..))
    }
}

/// What is not as it should be, though it works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Oddity {
    /// Some of the addresses do not answer.
    SomeAddresses,
    /// It is http, and not on this machine.
    InTheClear,
    /// Every certificate is believed.
    AnyCertificate,
    /// The certificate ends within a week.
    EndsSoon,
    /// The clocks are far apart.
    Clock(ClockSkew),
    /// The registry wants a user and a password, and there are none.
    NoCredentials,
    /// The token is not good for all that was asked for.
    LesserToken,
    /// A manifest's `HEAD` tells no digest.
    NoDigest,
    /// Blobs come whole only.
    NoRanges,
    /// The registry keeps no list of referrers.
    NoReferrers,
    /// Nothing is left of the limit.
    NothingLeft,
    /// The registry does not say how far an upload got.
    NoProgress,
    /// The registry does not mount what it has.
    NoMount,
    /// The registry deletes no manifests, or not these credentials'.
    NoDelete,
}

/// What a probe found. The words are those of `Display`.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
#[non_exhaustive]
pub enum Facts {
    /// https or http, and why.
    Scheme {
        /// `https` or `http`.
        scheme: &'static str,
        /// Why.
        reason: &'static str,
    },
    /// The proxy, without its credentials.
    Proxy {
        /// Its URL, if there is one.
        proxy: Option<String>,
    },
    /// The addresses.
    Addresses {
        /// In the order of the name server.
        addresses: Vec<Address>,
    },
    /// Which of them answer.
    Connections(Connections),
    /// The protocol and the certificate.
    Tls {
        /// The protocol's version.
        version: &'static str,
        /// The server's own certificate, if it can be read.
        certificate: Option<Certificate>,
        /// Whose certificates are trusted.
        trusted: Trusted,
    },
    /// The answer to `/v2/`.
    Api {
        /// Its status.
        status: u16,
        /// What the server calls itself.
        server: Option<String>,
    },
    /// The clock.
    Clock {
        /// How far the registry's is ahead, in seconds, where that is more than three minutes.
        ahead: i64,
    },
    /// What the registry asks for.
    Challenge {
        /// `none`, `basic` or `bearer`.
        scheme: &'static str,
        /// The token server.
        realm: Option<String>,
        /// What the registry calls itself there.
        service: Option<String>,
    },
    /// What there is to show; never the secret.
    Credentials {
        /// As [`auth::Credential::kind`] has it.
        kind: &'static str,
        /// The user.
        username: Option<String>,
        /// Who gave them, in words.
        source: Option<String>,
    },
    /// User and password were taken.
    LoggedIn {},
    /// A token.
    Token {
        /// The scopes that it was asked for.
        asked: Vec<String>,
        /// The scopes that it says it is good for, if it says so.
        granted: Option<Vec<String>>,
        /// How long it is good, in seconds, if the token server says so.
        #[serde(rename = "expiresIn")]
        expires_in: Option<u64>,
    },
    /// The first page of a list.
    Page {
        /// How many names it has.
        count: usize,
    },
    /// A manifest.
    Manifest {
        /// The tag or digest that was asked for.
        reference: String,
        /// Its media type.
        #[serde(rename = "mediaType")]
        media_type: MediaType,
        /// Its digest.
        digest: Digest,
        /// Its length in bytes.
        size: usize,
    },
    /// The answer to a `HEAD`.
    Head {
        /// The digest that it tells.
        digest: Option<Digest>,
    },
    /// A blob's first byte.
    Blob {
        /// The blob.
        digest: Digest,
        /// The status: 206 for the part, 200 for the whole.
        status: u16,
        /// The host that it came from, if that is not the registry.
        elsewhere: Option<String>,
    },
    /// What refers to the manifest.
    Referrers {
        /// `api` or `tag`.
        via: &'static str,
        /// How many there are on the first page.
        count: usize,
    },
    /// The limits.
    Limit {
        /// How often in one window.
        limit: Option<u64>,
        /// How often still.
        remaining: Option<u64>,
        /// How long a window is, in seconds.
        window: Option<u64>,
    },
    /// An upload session.
    Upload {
        /// The host that the bytes go to, if that is not the registry.
        elsewhere: Option<String>,
        /// The least length of a piece, in bytes (`OCI-Chunk-Min-Length`).
        #[serde(rename = "leastChunk")]
        least_chunk: Option<u64>,
    },
    /// A piece was taken.
    Chunks {
        /// Its length in bytes.
        sent: u64,
        /// How much the registry says it has, if it says so.
        kept: Option<u64>,
    },
    /// The session is gone.
    Cancelled {},
    /// Whether a blob was mounted.
    Mount {
        /// Otherwise a session was opened, and given up.
        mounted: bool,
    },
    /// The answer to a deletion of what does not exist.
    Delete {
        /// Its status.
        status: u16,
    },
}

impl Facts {
    pub(super) fn limit(limit: &RateLimit) -> Self {
        Self::Limit { limit: limit.limit, remaining: limit.remaining, window: limit.window }
    }
}
