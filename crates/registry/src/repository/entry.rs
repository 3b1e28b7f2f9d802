//! Entering a manifest in the list of what refers to its subject, and striking it off, where clients keep it (distribution
//! specification, "Pushing Manifests with Subject", "Deleting Manifests" and "Referrers Tag Schema").

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use http::{HeaderMap, StatusCode};
use oci::{Descriptor, Digest, Manifest, MediaType, Selector, Tag, View};
use serde_json::{Value, json};
use store::{Error as StoreError, Expected, Kind, Store};
use tokio::sync::{Mutex, OnceCell};
use tokio::time::sleep;

use super::RegistryStore;
use super::replacement::condition;
use crate::error::Error;

/// With this a registry says that it keeps the list itself, and has entered a manifest there.
const SUBJECT: &str = "oci-subject";

/// How often a list is written that others have overwritten, or came before.
const ATTEMPTS: u32 = 8;

/// How long is waited before the second time; doubled each time.
const WAIT: Duration = Duration::from_millis(20);

/// How a registry keeps the lists of a repository, and which of them are being written.
#[derive(Debug, Default)]
pub(super) struct Lists {
    /// Whether it said that it keeps them itself.
    kept: AtomicBool,
    /// What it says when it is asked for one.
    asked: OnceCell<bool>,
    /// By the digest of the subject: each is read, changed and written by one at a time.
    turns: [Mutex<()>; 16],
}

impl Lists {
    /// Learns from the answer to a manifest.
    pub(super) fn hear(&self, headers: &HeaderMap) {
        if headers.contains_key(SUBJECT) {
            self.kept.store(true, Ordering::Relaxed);
        }
    }

    fn turn(&self, subject: &Digest) -> &Mutex<()> {
        let sum = subject.hex().bytes().fold(0_usize, |sum, byte| sum.wrapping_mul(31) ^ usize::from(byte));
        &self.turns[sum % self.turns.len()]
    }
}

impl RegistryStore {
    /// Enters a manifest, if it refers to another, is not in the list, and the registry does not keep such lists itself. The tag, if
    /// there was no list before.
    ///
    /// Others may do the same at the same time. A registry that heeds conditions (RFC 9110) keeps them from overwriting each other;
    /// with others it is seen if an entry was overwritten before it was looked at again.
    pub(super) async fn enter(&self, manifest: &Manifest) -> Result<Option<Tag>, StoreError> {
        let changed = self.change(manifest, "listing", with).await?;
        Ok(changed.and_then(|(tag, is_new)| is_new.then_some(tag)))
    }

    /// Takes a manifest out of the list that it was entered in; whether it was there. The same goes for what others do meanwhile.
    pub(super) async fn strike(&self, manifest: &Manifest) -> Result<bool, StoreError> {
        self.change(manifest, "unlisting", without).await.map(|changed| changed.is_some())
    }

    /// Changes the list that a manifest belongs to, until the change has nothing more to do. If it had something to do, the tag, and
    /// whether there was no list before.
    async fn change(
        &self,
        manifest: &Manifest,
        verb: &str,
        change: Change,
    ) -> Result<Option<(Tag, bool)>, StoreError> {
        let view = manifest.view().ok();
        let Some(referrer) = view.and_then(|view| view.referrer(manifest.descriptor())) else {
            return Ok(None);
        };
        let subject = referrer.subject;
        if self.keeps_lists(&subject).await? {
            return Ok(None);
        }
        let tag = subject.fallback_tag();
        let name = Selector::Tag(tag.clone());
        let doing = || format!("{verb} {} as a referrer in {}", manifest.digest(), self.reference(&name));
        let _turn = self.lists.turn(&subject).lock().await;
        let (mut written, mut is_new) = (false, false);
        let (mut conditional, mut before, mut wait) = (true, None, WAIT);
        for attempt in 0..=ATTEMPTS {
            if attempt > 1 {
                sleep(wait).await;
                wait *= 2;
            }
            let found = match self.manifest(&name).await {
                Ok(found) => Some(found),
                Err(error) if error.kind() == Kind::NotFound => None,
                Err(error) => return Err(error),
            };
            let list = change(found.as_ref(), &referrer.descriptor)
                .map_err(|reason| StoreError::new(Kind::Invalid, doing(), reason))?;
            let Some(list) = list else { return Ok(written.then_some((tag, is_new))) };
            if attempt == ATTEMPTS {
                break;
            }
            let expected = found.map_or(Expected::Nothing, |found| Expected::Digest(found.digest()));
            match self.put(&name, &list, condition(expected).filter(|_| conditional)).await {
                Ok(()) => (written, is_new) = (true, is_new || expected == Expected::Nothing),
                Err(error)
                    if conditional
                        && error.status() == Some(StatusCode::PRECONDITION_FAILED)
                        && (expected != Expected::Nothing || before != Some(expected)) =>
                {
                    // Where the same is still there, the registry compares something else.
                    conditional = before != Some(expected);
                    before = Some(expected);
                }
                Err(error) => return Err(error.doing(doing())),
            }
        }
        let reason = format!("others have overwritten it {ATTEMPTS} times");
        Err(StoreError::new(Kind::Other, doing(), reason))
    }

    /// Whether the registry keeps lists of referrers itself. Not all that do say so with the manifest; and whoever does not let us ask
    /// keeps none for us.
    async fn keeps_lists(&self, subject: &Digest) -> Result<bool, StoreError> {
        let ask = async || match self.referrer_pages(subject, None).next().await {
            Some(Ok(Ok(_))) => Ok(true),
            Some(Err(error)) if !is_refusal(&error) => Err(error),
            _ => Ok(false),
        };
        if self.lists.kept.load(Ordering::Relaxed) {
            return Ok(true);
        }
        let kept = self.lists.asked.get_or_try_init(ask).await;
        let doing = || format!("asking {} whether it lists referrers", self.repository.registry());
        kept.copied().map_err(|error| error.doing(doing()))
    }
}

/// Whether an answer is the last word about a question.
fn is_refusal(error: &Error) -> bool {
    let (lasting, passing) = (400..500, [401, 408, 429]);
    let status = error.status().map(|status| status.as_u16());
    status.is_some_and(|status| status == 501 || lasting.contains(&status) && !passing.contains(&status))
}

/// What becomes of a list, if there is one, for the sake of an entry; `None` if nothing has to. An error tells why there can be none.
type Change = fn(Option<&Manifest>, &Descriptor) -> Result<Option<Manifest>, String>;

/// The list with one entry more, all else as it was.
fn with(found: Option<&Manifest>, entry: &Descriptor) -> Result<Option<Manifest>, String> {
    let mut list = json!({"schemaVersion": 2, "mediaType": MediaType::OCI_INDEX.as_str(), "manifests": []});
    let mut media_type = MediaType::OCI_INDEX;
    if let Some(found) = found {
        if has(found, entry)? {
            return Ok(None);
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
    written(&list, media_type)
}

/// The list without an entry, all else as it was. The last one leaves an empty list: not every registry deletes a tag.
fn without(found: Option<&Manifest>, entry: &Descriptor) -> Result<Option<Manifest>, String> {
    let Some(found) = found else { return Ok(None) };
    if !has(found, entry)? {
        return Ok(None);
    }
    let mut list: Value = serde_json::from_slice(found.raw()).map_err(|error| unreadable(&error))?;
    let digest = entry.digest.to_string();
    if let Some(entries) = list["manifests"].as_array_mut() {
        entries.retain(|listed| listed["digest"] != digest.as_str());
    }
    written(&list, found.media_type().clone())
}

/// Whether a list has an entry for a manifest.
fn has(list: &Manifest, entry: &Descriptor) -> Result<bool, String> {
    match list.view().map_err(|error| unreadable(&error))? {
        View::Index(index) => Ok(index.manifests.iter().any(|listed| listed.digest == entry.digest)),
        View::Image(_) => Err(unreadable(&list.media_type().as_str())),
    }
}

fn unreadable(error: &dyn std::fmt::Display) -> String {
    format!("what has the tag is no list of referrers ({error}); take that tag away")
}

fn written(list: &Value, media_type: MediaType) -> Result<Option<Manifest>, String> {
    let raw = Bytes::from(list.to_string());
    Manifest::new(raw, Some(media_type)).map(Some).map_err(|error| error.to_string())
}
