//! What refers to a manifest where a place keeps no list of it: the index behind a tag (distribution specification,
//! "Referrers Tag Schema").

use oci::{Descriptor, Digest, Selector, View};

use crate::{Error, Kind, Store};

/// Reads the index behind the fallback tag of `subject`; without that tag there is none. `artifact_type` leaves only
/// those of the type.
///
/// # Errors
/// [`Kind::Invalid`] if what has the tag is no index, or is too large; those of [`Store::manifest`].
pub async fn referrers_by_tag<S: Store + ?Sized>(
    store: &S,
    subject: &Digest,
    artifact_type: Option<&str>,
) -> Result<Vec<Descriptor>, Error> {
    let tag = subject.fallback_tag();
    let doing = || format!("reading what refers to {subject} from {}:{tag}", store.name());
    let manifest = match store.manifest(&Selector::Tag(tag.clone())).await {
        Ok(manifest) => manifest,
        Err(error) if error.kind() == Kind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    match manifest.view().map_err(|error| Error::manifest(doing(), error))? {
        View::Index(index) => Ok(of_type(index.manifests, artifact_type)),
        View::Image(_) => {
            let reason = format!("it is no index, but {}", manifest.media_type());
            Err(Error::new(Kind::Invalid, doing(), reason))
        }
    }
}

/// The descriptors of one artifact type. A descriptor names its manifest's artifact type, or the media type of its
/// config where it has none (distribution specification, "Listing Referrers").
pub fn of_type(mut referrers: Vec<Descriptor>, artifact_type: Option<&str>) -> Vec<Descriptor> {
    if artifact_type.is_some() {
        referrers.retain(|referrer| referrer.artifact_type.as_deref() == artifact_type);
    }
    referrers
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use futures_util::{FutureExt, TryStreamExt};
    use oci::{Algorithm, Manifest, MediaType};

    use super::*;
    use crate::MemoryStore;

    fn tagged(subject: &Digest, json: &str) -> MemoryStore {
        let store = MemoryStore::new("memory");
        let manifest = Manifest::new(Bytes::copy_from_slice(json.as_bytes()), None).unwrap();
        store.put_manifest(&subject.fallback_tag().into(), &manifest).now_or_never().unwrap().unwrap();
        store
    }

    fn listed(
        store: &dyn Store,
        subject: &Digest,
        artifact_type: Option<&str>,
    ) -> Result<Vec<String>, Error> {
        let pages: Vec<Vec<Descriptor>> =
            store.referrers(subject, artifact_type).try_collect().now_or_never().unwrap()?;
        Ok(pages.concat().into_iter().map(|referrer| referrer.artifact_type.unwrap_or_default()).collect())
    }

    #[test]
    fn the_index_behind_the_tag() {
        for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
            let subject = algorithm.digest(b"subject");
            let entry = |artifact_type: &str| {
                let manifest = MediaType::OCI_MANIFEST;
                format!(r#"{{"mediaType":"{manifest}","digest":"{subject}","size":1{artifact_type}}}"#)
            };
            let entries =
                [entry(r#","artifactType":"a/b""#), entry(r#","artifactType":"c/d""#), entry("")].join(",");
            let store = tagged(&subject, &format!(r#"{{"manifests":[{entries}]}}"#));
            assert_eq!(listed(&store, &subject, None).unwrap(), ["a/b", "c/d", ""]);
            assert_eq!(listed(&store, &subject, Some("c/d")).unwrap(), ["c/d"]);
            assert!(listed(&store, &subject, Some("e/f")).unwrap().is_empty());
            let other = algorithm.digest(b"other");
            assert!(listed(&store, &other, None).unwrap().is_empty());
        }
    }

    #[test]
    fn what_is_no_index_is_told() {
        let subject = Algorithm::Sha256.digest(b"subject");
        for (json, reason) in [(r#"{"layers":[]}"#, "it is no index"), (r#"{"manifests":1}"#, "not valid")] {
            let error = listed(&tagged(&subject, json), &subject, None).unwrap_err();
            assert_eq!(error.kind(), Kind::Invalid);
            assert!(error.to_string().contains(reason), "{error}");
            assert!(error.to_string().contains(subject.fallback_tag().as_str()), "{error}");
        }
    }
}
