//! Which resource a path names. Pure: no I/O, no regular expressions.

use oci::{Digest, DigestError, Selector, Tag};
use percent_encoding::percent_decode_str;
use uuid::Uuid;

use crate::name::{NameError, RepositoryName};

/// A resource of the registry, parsed from the path of a request (distribution specification, "Endpoints").
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// `/v2/`: is this a registry?
    Base,
    /// `/v2/_catalog`: the names of all repositories.
    Catalog,
    /// `/v2/<name>/tags/list`.
    Tags(RepositoryName),
    /// `/v2/<name>/manifests/<reference>`.
    Manifest(RepositoryName, Selector),
    /// `/v2/<name>/blobs/<digest>`.
    Blob(RepositoryName, Digest),
    /// `/v2/<name>/blobs/uploads/`: where uploads begin.
    Uploads(RepositoryName),
    /// `/v2/<name>/blobs/uploads/<session>`: an upload that has begun.
    Upload(RepositoryName, Uuid),
    /// `/v2/<name>/referrers/<digest>`.
    Referrers(RepositoryName, Digest),
}

/// Why a path names no resource.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    /// It has none of the shapes that the API knows.
    #[error("there is nothing at this path")]
    Unknown,
    /// It is not UTF-8 behind its percent signs.
    #[error("the path is not UTF-8")]
    Encoding,
    /// The repository's name breaks the grammar.
    #[error("repository name {0:?}: {1}")]
    Name(String, NameError),
    /// What stands where a digest has to stand is none.
    #[error("digest {0:?}: {1}")]
    Digest(String, DigestError),
    /// What stands where a tag may stand is none.
    #[error(
        "tag {0:?}: a tag is 1 to 128 of A-Z, a-z, 0-9, '_', '.', '-' and begins with none of the last two"
    )]
    Tag(String),
    /// An upload session has a name that this server never gives.
    #[error("there is no upload session {0:?}")]
    Session(String),
}

impl Route {
    /// Parses the path of a request, without its query. Percent signs are decoded once, before anything else, so an
    /// encoded slash is a slash and a percent sign that remains is refused by every grammar.
    ///
    /// The resource is recognised from the end: a repository may be called `a/blobs/uploads`.
    ///
    /// # Errors
    /// [`RouteError`] names the part that is wrong.
    pub fn parse(path: &str) -> Result<Self, RouteError> {
        let path = percent_decode_str(path).decode_utf8().map_err(|_| RouteError::Encoding)?;
        let path = match path.as_ref() {
            "/v2" | "/v2/" => return Ok(Self::Base),
            "/v2/_catalog" => return Ok(Self::Catalog),
            path => path.strip_prefix("/v2/").ok_or(RouteError::Unknown)?,
        };
        if let Some(name) = path.strip_suffix("/tags/list") {
            return Ok(Self::Tags(parse_name(name)?));
        }
        if let Some(name) =
            path.strip_suffix("/blobs/uploads/").or_else(|| path.strip_suffix("/blobs/uploads"))
        {
            return Ok(Self::Uploads(parse_name(name)?));
        }
        let (before, last) = path.rsplit_once('/').ok_or(RouteError::Unknown)?;
        if let Some(name) = before.strip_suffix("/blobs/uploads") {
            return Ok(Self::Upload(parse_name(name)?, parse_session(last)?));
        }
        if let Some(name) = before.strip_suffix("/manifests") {
            return Ok(Self::Manifest(parse_name(name)?, parse_selector(last)?));
        }
        if let Some(name) = before.strip_suffix("/blobs") {
            return Ok(Self::Blob(parse_name(name)?, parse_digest(last)?));
        }
        if let Some(name) = before.strip_suffix("/referrers") {
            return Ok(Self::Referrers(parse_name(name)?, parse_digest(last)?));
        }
        Err(RouteError::Unknown)
    }
}

fn parse_name(text: &str) -> Result<RepositoryName, RouteError> {
    text.parse().map_err(|error| RouteError::Name(text.to_owned(), error))
}

/// Only the canonical form that the server itself writes: the type accepts others.
fn parse_session(text: &str) -> Result<Uuid, RouteError> {
    Uuid::parse_str(text)
        .ok()
        .filter(|id| id.hyphenated().to_string() == text)
        .ok_or_else(|| RouteError::Session(text.to_owned()))
}

pub(crate) fn parse_digest(text: &str) -> Result<Digest, RouteError> {
    text.parse().map_err(|error| RouteError::Digest(text.to_owned(), error))
}

/// A tag by the specification's grammar, which is stricter than what [`Tag`] accepts for reading foreign registries.
pub(crate) fn parse_tag(text: &str) -> Result<Tag, RouteError> {
    match Tag::new(text) {
        Ok(tag) if !text.starts_with(['.', '-']) => Ok(tag),
        _ => Err(RouteError::Tag(text.to_owned())),
    }
}

fn parse_selector(text: &str) -> Result<Selector, RouteError> {
    if text.contains(':') {
        parse_digest(text).map(Selector::Digest)
    } else {
        parse_tag(text).map(Selector::Tag)
    }
}

#[cfg(test)]
mod tests {
    use oci::Algorithm;
    use proptest::prelude::*;

    use super::*;

    fn name(text: &str) -> RepositoryName {
        text.parse().unwrap()
    }

    #[test]
    fn resources() {
        let digest = Algorithm::Sha256.digest(b"");
        let id = "67e55044-10b1-426f-9247-bb680e5fe0c8";
        let uuid = Uuid::parse_str(id).unwrap();
        let tag = || Selector::Tag(Tag::new("v1").unwrap());
        for (path, route) in [
            ("/v2".to_owned(), Route::Base),
            ("/v2/".to_owned(), Route::Base),
            ("/v2/_catalog".to_owned(), Route::Catalog),
            ("/v2/a/tags/list".to_owned(), Route::Tags(name("a"))),
            ("/v2/a/b/manifests/v1".to_owned(), Route::Manifest(name("a/b"), tag())),
            (format!("/v2/a/manifests/{digest}"), Route::Manifest(name("a"), digest.into())),
            (format!("/v2/a/blobs/{digest}"), Route::Blob(name("a"), digest)),
            (format!("/v2/a/blobs/{digest}").replace(':', "%3A"), Route::Blob(name("a"), digest)),
            ("/v2/a%2Fb/tags/list".to_owned(), Route::Tags(name("a/b"))),
            ("/v2/a/blobs/uploads/".to_owned(), Route::Uploads(name("a"))),
            ("/v2/a/blobs/uploads".to_owned(), Route::Uploads(name("a"))),
            (format!("/v2/a/blobs/uploads/{id}"), Route::Upload(name("a"), uuid)),
            (format!("/v2/a/referrers/{digest}"), Route::Referrers(name("a"), digest)),
            // Names that hold the API's own words.
            ("/v2/a/blobs/uploads/tags/list".to_owned(), Route::Tags(name("a/blobs/uploads"))),
            ("/v2/x/blobs/uploads/blobs/uploads/".to_owned(), Route::Uploads(name("x/blobs/uploads"))),
            ("/v2/a/manifests/y/manifests/v1".to_owned(), Route::Manifest(name("a/manifests/y"), tag())),
            ("/v2/tags/list/tags/list".to_owned(), Route::Tags(name("tags/list"))),
            ("/v2/v2/manifests/v1".to_owned(), Route::Manifest(name("v2"), tag())),
            ("/v2/blobs/blobs/uploads/".to_owned(), Route::Uploads(name("blobs"))),
        ] {
            assert_eq!(Route::parse(&path), Ok(route), "{path}");
        }
    }

    #[test]
    fn everything_else_is_refused() {
        let hex = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        for path in [
            "",
            "/",
            "/v1/",
            "/v2x",
            "v2/",
            "/v2//",
            "/v2/a",
            "/v2/_catalog/",
            "/v2/tags/list",
            "/v2//tags/list",
            "/v2/a//tags/list",
            "/v2/a/tags/list/",
            "/v2/../tags/list",
            "/v2/%2e%2e/tags/list",
            "/v2/a/%2e%2e/%2e%2e/tags/list",
            "/v2/%252e/tags/list",
            "/v2/a%00/tags/list",
            "/v2/A/tags/list",
            "/v2/a/manifests/",
            "/v2/a/manifests/..",
            "/v2/a/manifests/.x",
            "/v2/a/manifests/-x",
            "/v2/a/manifests/%2e%2e",
            "/v2/a/manifests/..%2f..%2fx",
            "/v2/_a/manifests/x",
            "/v2/a/manifests/x%20y",
            "/v2/a/blobs/",
            "/v2/a/blobs/sha256:../../x",
            "/v2/a/blobs/sha256:..%2f..%2fx",
            "/v2/a/blobs/md5:00",
            "/v2/a/blobs/sha256:",
            "/v2/blobs/uploads/",
            "/v2/a/blobs/uploads/..",
            "/v2/a/blobs/uploads/x",
            "/v2/a/blobs/uploads/67E55044-10B1-426F-9247-BB680E5FE0C8",
            "/v2/a/blobs/uploads/67e5504410b1426f9247bb680e5fe0c8",
            "/v2/a/blobs/uploads/{67e55044-10b1-426f-9247-bb680e5fe0c8}",
            "/v2/a/referrers/latest",
            "/v2/a/%ff/tags/list",
            "/V2/a/tags/list",
            "/v2/con\\..\\x/tags/list",
            &format!("/v2/a/blobs/sha256:{}", hex.to_uppercase()),
            &format!("/v2/a/blobs/sha256:{hex}0"),
            &format!("/v2/a/manifests/{}", "t".repeat(129)),
            &format!("/v2/{}/tags/list", "a".repeat(256)),
        ] {
            assert!(Route::parse(path).is_err(), "{path}: {:?}", Route::parse(path));
        }
    }

    proptest! {
        #[test]
        fn never_panics(path in "\\PC{0,120}") {
            let _ = Route::parse(&path);
        }

        #[test]
        fn names_round_trip(
            text in "(v2|blobs|uploads|tags|list|manifests|[a-z]{1,3})(/(blobs|uploads|tags|list|manifests|x)){0,5}",
            tag in "[a-zA-Z0-9_][a-zA-Z0-9._-]{0,20}",
        ) {
            let expected = Route::Manifest(name(&text), Selector::Tag(Tag::new(&tag).unwrap()));
            prop_assert_eq!(Route::parse(&format!("/v2/{text}/manifests/{tag}")), Ok(expected));
            prop_assert_eq!(Route::parse(&format!("/v2/{text}/tags/list")), Ok(Route::Tags(name(&text))));
            prop_assert_eq!(Route::parse(&format!("/v2/{text}/blobs/uploads/")), Ok(Route::Uploads(name(&text))));
        }
    }
}
