//! How real registries deviate from the distribution specification.

use super::{Answer, FaultRegistry, Route};

/// A deviation that real registries have, to be spoken by a [`FaultRegistry`] (see [`FaultRegistry::speak`]).
///
/// Texts may hold `{self}`, the registry's own URL, and `{address}`, that without a scheme.
#[derive(Clone, Debug)]
pub enum Dialect {
    /// `HEAD` of a manifest without `Docker-Content-Digest` (old Artifactory, registries behind a CDN).
    HeadWithoutDigest,
    /// `HEAD` of a manifest is answered with this status, `GET` as it should be (Nexus 3: 404; ECR: 400 at times).
    ManifestHead(u16),
    /// `HEAD` of a manifest is an empty 200 without any header of the protocol.
    EmptyHead,
    /// `HEAD` of a blob is answered with this status, `GET` as it should be.
    BlobHead(u16),
    /// The `Location` of an upload session, as a template of [`Answer::location`].
    Sessions(&'static str),
    /// Answers to writes carry no more headers than a client can do without.
    Bare,
    /// Who is not logged in gets this status on every route, without a challenge (Quay, GitLab, Harbor, Artifactory); what
    /// `/v2/` answers then.
    Hidden(u16, Ping),
    /// Who is not logged in gets a 403, with a Basic challenge.
    ForbiddenWithChallenge,
    /// Requests need a token. The `WWW-Authenticate` headers, where `{realm}` is the token server, and its answer. The
    /// token that counts is [`Dialect::TOKEN`].
    Tokens(Vec<&'static str>, &'static str),
    /// The pages of the list of tags: JSON and `Link` headers, one after the other.
    TagPages(Vec<(&'static str, Vec<&'static str>)>),
    /// The list of tags has pages but no links (go-containerregistry's own registry).
    PagesWithoutLinks,
    /// Answers are sent in chunks, without a length.
    Chunked,
    /// Connections end after each answer, without `Connection: close`.
    ClosesIdle,
    /// Connections end when a second request comes.
    ClosesOnRequest,
    /// Pulls are limited, as Docker Hub limits them, and none is left; the `Retry-After`, if there is one.
    PullLimit(Option<&'static str>),
    /// Repositories have to be made before they are pushed to (ECR).
    NoRepository,
    /// Tags cannot be overwritten (ECR).
    ImmutableTags,
    /// Mounts are answered with this status.
    Mounts(u16),
    /// Bodies of more than so many bytes are refused (proxies).
    BodiesUpTo(u64),
    /// Uploads are to come in chunks of so many bytes at least.
    ChunksFrom(u64),
    /// Everything is refused with this status and body.
    Refuses(u16, &'static str),
    /// Manifests have this `Content-Type`.
    ManifestsAs(&'static str),
    /// Blobs come with `Content-Encoding: gzip`, which nobody asked for (storage that keeps what it was told).
    GzipEncoding,
    /// Blobs are elsewhere: a redirect to the same path below this address, signed for `GET`.
    BlobsAt(String),
    /// The storage that such redirects lead to: it refuses credentials, and `HEAD` (S3).
    Storage,
}

/// What `GET /v2/` answers to who is not logged in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ping {
    /// A 401 with a Basic challenge.
    Basic,
    /// A 401 with a Bearer challenge.
    Bearer,
    /// A 200 with a Basic challenge all the same (zot with anonymous policies).
    Welcome,
    /// A 200 and no challenge.
    Silent,
}

impl Dialect {
    /// The token that the token servers of dialects give.
    pub const TOKEN: &str = "t0ken";
}

const BASIC: &str = r#"Basic realm="Registry Realm""#;

/// The error that S3 answers credentials with that it did not ask for.
const TWO_MECHANISMS: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>InvalidArgument</Code>\
    <Message>Only one auth mechanism allowed</Message><RequestId>1</RequestId></Error>";

impl FaultRegistry {
    /// Answers in a dialect, from now on.
    pub fn speak(&self, dialect: Dialect) {
        let (manifests, blobs, uploads) =
            ("/v2/*/manifests/*", "/v2/*/blobs/sha256:*", "/v2/*/blobs/uploads/*");
        match dialect {
            Dialect::HeadWithoutDigest => self
                .on(Route::new("HEAD", manifests), Answer::stored().without_header("Docker-Content-Digest")),
            Dialect::ManifestHead(status) => self.on(Route::new("HEAD", manifests), Answer::status(status)),
            Dialect::EmptyHead => self.on(Route::new("HEAD", manifests), Answer::status(200).no_length()),
            Dialect::BlobHead(status) => self.on(Route::new("HEAD", blobs), Answer::status(status)),
            Dialect::Sessions(template) => {
                let answer = Answer::stored().location(&self.filled(template));
                self.on(Route::new("POST", uploads), answer.clone());
                self.on(Route::new("PATCH", uploads), answer.clone());
                self.on(Route::new("PUT", uploads), answer);
            }
            Dialect::Bare => {
                let bare = ["Range", "Docker-Upload-UUID", "Docker-Content-Digest"];
                let bare = bare.into_iter().fold(Answer::stored(), Answer::without_header);
                self.on(Route::new("POST", uploads), bare.clone());
                self.on(Route::new("PUT", "*"), bare.without_header("Location"));
            }
            Dialect::Hidden(status, ping) => self.hide(status, ping),
            Dialect::ForbiddenWithChallenge => {
                let answer = Answer::error(403, "DENIED", "who are you?").header("WWW-Authenticate", BASIC);
                self.on(Route::new("*", "/v2/*").without("authorization"), answer);
            }
            Dialect::Tokens(challenges, answer) => self.want_tokens(&challenges, answer),
            Dialect::TagPages(pages) => {
                for (tags, links) in pages {
                    let page = Answer::status(200).body(format!(r#"{{"name":"x","tags":{tags}}}"#));
                    let page = links.iter().fold(page, |page, link| page.more("Link", &self.filled(link)));
                    self.on(Route::get("/v2/*/tags/list").times(1), page);
                }
            }
            Dialect::PagesWithoutLinks => {
                self.on(Route::get("/v2/*/tags/list"), Answer::stored().without_header("Link"));
            }
            Dialect::Chunked => self.on(Route::any(), Answer::stored().chunked()),
            Dialect::ClosesIdle => self.on(Route::any(), Answer::stored().then_closed()),
            Dialect::ClosesOnRequest => self.on(Route::any(), Answer::stored().then_closed_on_request()),
            Dialect::PullLimit(retry_after) => {
                let answer = Answer::error(
                    429,
                    "TOOMANYREQUESTS",
                    "You have reached your unauthenticated pull rate limit. https://www.docker.com/increase-rate-limit",
                );
                let answer = answer
                    .header("RateLimit-Limit", "100;w=21600")
                    .header("RateLimit-Remaining", "0;w=21600");
                let answer =
                    retry_after.into_iter().fold(answer, |answer, wait| answer.header("Retry-After", wait));
                self.on(Route::new("*", manifests), answer);
            }
            Dialect::NoRepository => {
                let text = "The repository with name 'demo/web' does not exist in the registry with id '123456789012'";
                self.on(Route::new("*", "/v2/*"), Answer::error(404, "NAME_UNKNOWN", text));
            }
            Dialect::ImmutableTags => {
                let text = "The image tag '1.0' already exists in the 'demo/web' repository and cannot be overwritten \
                    because the repository is immutable.";
                self.on(Route::new("PUT", manifests), Answer::error(400, "TAG_INVALID", text));
            }
            Dialect::Mounts(status) => {
                // Mounts are the sessions' starts with a query; the others have none.
                let answer = Answer::error(status, "UNSUPPORTED", "no mounts here");
                self.on(Route::new("POST", uploads).with_query("mount"), answer);
            }
            Dialect::BodiesUpTo(bytes) => {
                self.on(Route::any().longer_than(bytes), Answer::status(413).body("<html>too large</html>"));
            }
            Dialect::ChunksFrom(bytes) => {
                let answer = Answer::stored().header("OCI-Chunk-Min-Length", &bytes.to_string());
                self.on(Route::new("POST", uploads), answer);
            }
            Dialect::Refuses(status, body) => self.on(Route::any(), Answer::status(status).body(body)),
            Dialect::ManifestsAs(media_type) => {
                self.on(Route::new("*", manifests), Answer::stored().header("Content-Type", media_type));
            }
            Dialect::GzipEncoding => {
                self.on(Route::new("*", blobs), Answer::stored().header("Content-Encoding", "gzip"));
            }
            Dialect::BlobsAt(address) => {
                let target = format!("{address}{{request}}?X-Amz-Signature=s3cret");
                self.on(Route::get(blobs), Answer::status(307).location(&target));
                self.on(Route::new("HEAD", blobs), Answer::status(307).location(&target));
            }
            Dialect::Storage => {
                self.on(Route::any().with("authorization"), Answer::status(400).body(TWO_MECHANISMS));
                self.on(Route::new("HEAD", "*"), Answer::status(403));
            }
        }
    }

    fn hide(&self, status: u16, ping: Ping) {
        let denied = || Answer::error(401, "UNAUTHORIZED", "authentication required");
        let welcome = || Answer::status(200).body("{}");
        let answer = match ping {
            Ping::Basic => denied().header("WWW-Authenticate", BASIC),
            Ping::Bearer => {
                let token = format!(r#"{{"token":"{}"}}"#, Dialect::TOKEN);
                self.on(Route::get("/token"), Answer::status(200).body(token));
                denied()
                    .header("WWW-Authenticate", &self.filled(r#"Bearer realm="{self}/token",service="s""#))
            }
            Ping::Welcome => welcome().header("WWW-Authenticate", BASIC),
            Ping::Silent => welcome(),
        };
        self.on(Route::new("*", "/v2/").without("authorization"), answer);
        self.on(
            Route::new("*", "/v2/*").without("authorization"),
            Answer::error(status, "NAME_UNKNOWN", "not found"),
        );
    }

    fn want_tokens(&self, challenges: &[&str], answer: &str) {
        self.on(Route::new("*", "/token"), Answer::status(200).body(answer));
        let page = "<!DOCTYPE html>\n<html><body>\n<h1>401 Authorization Required</h1>\n</body></html>";
        let denied = Answer::status(401).header("Content-Type", "text/html").body(page);
        let denied = challenges.iter().fold(denied, |denied, challenge| {
            denied.more("WWW-Authenticate", &challenge.replace("{realm}", &self.filled("{self}/token")))
        });
        let token = format!("Bearer {}", Dialect::TOKEN);
        self.on(Route::new("*", "/v2/*").without_value("authorization", &token), denied);
    }

    fn filled(&self, text: &str) -> String {
        let scheme = if self.authority.is_some() { "https" } else { "http" };
        let address = self.address();
        text.replace("{self}", &format!("{scheme}://{address}")).replace("{address}", &address)
    }
}
