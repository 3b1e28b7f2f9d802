//! Entering a manifest in the list of what refers to its subject, where clients keep it (distribution specification, "Pushing
//! Manifests with Subject" and "Referrers Tag Schema").

use bytes::Bytes;
use futures_util::StreamExt;
use http::{HeaderMap, StatusCode};
use oci::{Descriptor, Digest, Manifest, MediaType, Selector, View};
use serde_json::{Value, json};
use store::{Error as StoreError, Expected, Kind, Store};
use tokio::sync::{Mutex, OnceCell};

use super::RegistryStore;
use super::referrers::has_no_api;
use super::replacement::condition;

/// With this a registry says that it has entered a manifest itself.
const SUBJECT: &str = "oci-subject";

/// How often an entry is made again that others have overwritten, or came before.
const ATTEMPTS: usize = 10;

/// How a registry keeps its lists of referrers, and which of them are being written.
#[derive(Debug, Default)]
pub(crate) struct Lists {
    /// Whether it keeps them itself, once that was asked.
    kept: OnceCell<bool>,
    /// By the digest of the subject: each is read, changed and written by one at a time.
    turns: [Mutex<()>; 16],
}

impl Lists {
    fn turn(&self, subject: &Digest) -> &Mutex<()> {
        let sum = subject.hex().bytes().fold(0_usize, |sum, byte| sum.wrapping_mul(31) ^ usize::from(byte));
        &self.turns[sum % self.turns.len()]
    }
}

/// Whether the registry says that it has entered a manifest, with its answer to the manifest.
pub(super) fn is_entered(headers: &HeaderMap) -> bool {
    headers.contains_key(SUBJECT)
}

impl RegistryStore {
    /// Enters a manifest that was written, if it refers to another, and the registry does not keep such lists itself.
    ///
    /// Others may do the same at the same time. A registry that heeds conditions (RFC 9110) keeps them from overwriting each other;
    /// with others it is seen if an entry was overwritten before it was looked at again.
    pub(super) async fn enter(&self, manifest: &Manifest) -> Result<(), StoreError> {
        let view = manifest.view().ok();
        let Some(referrer) = view.and_then(|view| view.referrer(manifest.descriptor())) else {
            return Ok(());
        };
        let subject = referrer.subject;
        if self.keeps_lists(&subject).await? {
            return Ok(());
        }
        let tag: Selector = subject.fallback_tag().into();
        let doing = || format!("listing {} as a referrer in {}", manifest.digest(), self.reference(&tag));
        let _turn = self.host.lists.turn(&subject).lock().await;
        for _ in 0..ATTEMPTS {
            let found = match self.manifest(&tag).await {
                Ok(found) => Some(found),
                Err(error) if error.kind() == Kind::NotFound => None,
                Err(error) => return Err(error),
            };
            let list = with(found.as_ref(), &referrer.descriptor)
                .map_err(|reason| StoreError::new(Kind::Invalid, doing(), reason))?;
            let Some(list) = list else { return Ok(()) };
            let expected = found.map_or(Expected::Nothing, |found| Expected::Digest(found.digest()));
            match self.put(&tag, &list, condition(expected)).await {
                Ok(_) => {}
                Err(error) if error.status() == Some(StatusCode::PRECONDITION_FAILED) => {}
                Err(error) => return Err(error.doing(doing())),
            }
        }
        let reason = format!("others have overwritten it {ATTEMPTS} times; copy the manifest once more");
        Err(StoreError::new(Kind::Other, doing(), reason))
    }

    /// Whether the registry keeps lists of referrers itself. Not all that do say so with the manifest.
    async fn keeps_lists(&self, subject: &Digest) -> Result<bool, StoreError> {
        let ask = async || match self.referrer_pages(subject, None).next().await {
            Some(Ok(Ok(_))) => Ok(true),
            Some(Err(error)) if !has_no_api(&error) => Err(error),
            _ => Ok(false),
        };
        let kept = self.host.lists.kept.get_or_try_init(ask).await;
        let doing = || format!("asking {} whether it lists referrers", self.repository.registry());
        kept.copied().map_err(|error| error.doing(doing()))
    }
}

/// The list with one entry more, all else as it was; `None` if it is there. An error tells why there can be none.
fn with(found: Option<&Manifest>, entry: &Descriptor) -> Result<Option<Manifest>, String> {
    let unreadable =
        |error: &dyn std::fmt::Display| format!("what has the tag is no list of referrers: {error}");
    let mut list = json!({"schemaVersion": 2, "mediaType": MediaType::OCI_INDEX.as_str(), "manifests": []});
    let mut media_type = MediaType::OCI_INDEX;
    if let Some(found) = found {
        match found.view().map_err(|error| unreadable(&error))? {
            View::Index(index) if index.manifests.iter().any(|listed| listed.digest == entry.digest) => {
                return Ok(None);
            }
            View::Index(_) => {}
            View::Image(_) => return Err(unreadable(&found.media_type().as_str())),
        }
        list = serde_json::from_slice(found.raw()).map_err(|error| unreadable(&error))?;
        media_type = found.media_type().clone();
    }
    let entry = serde_json::to_value(entry).map_err(|error| error.to_string())?;
    match list["manifests"].as_array_mut() {
        Some(entries) => entries.push(entry),
        // An index may leave them out, or have null.
        None => list["manifests"] = Value::Array(vec![entry]),
    }
    let raw = Bytes::from(list.to_string());
    Manifest::new(raw, Some(media_type)).map(Some).map_err(|error| error.to_string())
}
