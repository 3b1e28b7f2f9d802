//! Indexes of layers that others have made: where they are, and getting them.

use std::collections::BTreeMap;
use std::error::Error as _;
use std::ops::Range;

use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, TryStreamExt};
use layer::Toc;
use layer::index::{Estargz, ZstdChunked, soci};
use oci::{Algorithm, Descriptor, Digest, Selector, View};
use store::Event;
use tokio::sync::{OnceCell, mpsc};

use super::{Looking, run};
use crate::Error;
use crate::feed;

/// A smaller layer is read as soon as its index is, in bytes.
pub(super) const SMALL: u64 = 64 << 10;

/// What is read of the end of a layer to find its index: mostly the index is in it.
const END: u64 = 32 << 10;

/// Whose indexes of layers are believed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Indexes {
    /// Nobody's: each layer is read.
    None,
    /// Those that the image's manifest binds to its layers.
    #[default]
    Bound,
    /// Those, and SOCI indexes that refer to the image: of anybody who may push to its repository.
    Referrers,
}

/// An index of a layer.
pub(super) enum Place {
    Estargz(Estargz),
    ZstdChunked(ZstdChunked),
    Soci(Box<Descriptor>),
}

impl Place {
    /// Under what its table is kept: it is that of the layer by this index. Others may bind the same index to another layer, or
    /// another index to the same layer.
    pub(super) fn key(&self, layer: &Digest) -> Digest {
        let index = match self {
            Self::Estargz(index) => index.digest,
            Self::ZstdChunked(index) => index.digest,
            Self::Soci(blob) => blob.digest,
        };
        Algorithm::Sha256.digest(format!("{layer} {index}").as_bytes())
    }
}

/// The SOCI index of an image, which is asked for when it is needed.
#[derive(Debug)]
pub(super) struct Soci {
    /// That which the manifest names.
    bound: Option<Digest>,
    image: Digest,
    ztocs: OnceCell<Vec<Descriptor>>,
}

impl Soci {
    /// That of an image with these annotations and this digest.
    pub(super) fn new(annotations: &BTreeMap<String, String>, image: Digest) -> Self {
        let bound = annotations.get(soci::INDEX_DIGEST).and_then(|digest| digest.parse().ok());
        Self { bound, image, ztocs: OnceCell::new() }
    }

    async fn ztocs(&self, looking: &Looking) -> &[Descriptor] {
        let ztocs = self.ztocs.get_or_init(|| async {
            self.ask(looking).await.unwrap_or_else(|error| {
                let text = format!("the SOCI index of {} is not used: {}", self.image, cause(&error));
                looking.observer.event(&Event::Uncached(&text));
                Vec::new()
            })
        });
        ztocs.await
    }

    async fn ask(&self, looking: &Looking) -> Result<Vec<Descriptor>, Error> {
        let index = match self.bound {
            Some(digest) => Some(digest),
            None if looking.indexes == Indexes::Referrers => {
                let mut referrers = looking.store.referrers(&self.image, Some(soci::ARTIFACT_TYPE));
                let mut found = None;
                while let Some(page) = referrers.try_next().await? {
                    found = found.or_else(|| page.first().map(|index| index.digest));
                }
                found
            }
            None => None,
        };
        let Some(index) = index else { return Ok(Vec::new()) };
        let manifest = looking.store.manifest(&Selector::Digest(index)).await?;
        let View::Image(image) = manifest.view()? else { return Ok(Vec::new()) };
        Ok(image.layers)
    }
}

/// The index of a layer, if there is one.
pub(super) async fn place(looking: &Looking, layer: &Descriptor, soci: &Soci) -> Option<Place> {
    if looking.indexes == Indexes::None || layer.size < SMALL {
        return None;
    }
    // Some writers of zstd:chunked name the digest of eStargz besides.
    if let Some(index) = ZstdChunked::of(layer) {
        return Some(Place::ZstdChunked(index));
    }
    if let Some(index) = Estargz::of(layer) {
        return Some(Place::Estargz(index));
    }
    soci::ztoc_of(soci.ztocs(looking).await, &layer.digest).cloned().map(Box::new).map(Place::Soci)
}

/// The table that an index makes.
pub(super) async fn read(looking: &Looking, layer: &Descriptor, place: Place) -> Result<Toc, Error> {
    let limits = looking.limits;
    match place {
        Place::Estargz(index) => {
            let start = layer.size.saturating_sub(END);
            let end = part(looking, layer, start..layer.size).await?;
            let footer = usize::try_from(Estargz::FOOTER).unwrap_or(0);
            let footer = &end[end.len().saturating_sub(footer)..];
            let place = index.place(footer).map_err(|source| wrong(layer, source))?;
            // At most END bytes, of those that came.
            let known = usize::try_from(place.start.saturating_sub(start)).unwrap_or(0).min(end.len());
            let missing = place.start..start.max(place.start);
            let bytes = (missing, end.slice(known..));
            streamed(looking, layer, bytes, move |feed| index.read(feed, place, limits)).await
        }
        Place::ZstdChunked(index) => {
            let place = index.place.clone();
            streamed(looking, layer, (place, Bytes::new()), move |feed| index.read(feed, limits)).await
        }
        Place::Soci(blob) => {
            let bytes = looking.store.read(&blob, 0..blob.size).await?;
            let bytes = store::collect(bytes, &blob, soci::MOST).await?;
            let size = layer.size;
            let read = tokio::task::spawn_blocking(move || soci::read(&bytes, size, limits)).await?;
            let toc = read.map_err(|source| wrong(layer, source))?;
            if (0..toc.spans()).any(|span| run::is_long(&toc, span)) {
                let problem = "its spans are too long".into();
                return Err(wrong(layer, layer::Error::Index { problem }));
            }
            Ok(toc)
        }
    }
}

async fn part(looking: &Looking, layer: &Descriptor, range: Range<u64>) -> Result<Bytes, Error> {
    let mut pieces = looking.store.read(layer, range).await?;
    let mut bytes = BytesMut::new();
    while let Some(piece) = pieces.next().await {
        bytes.extend_from_slice(&piece?);
    }
    Ok(bytes.freeze())
}

/// Has a thread read a part of a layer, and bytes behind it that are there.
async fn streamed(
    looking: &Looking,
    layer: &Descriptor,
    (range, behind): (Range<u64>, Bytes),
    read: impl FnOnce(feed::Feed) -> Result<Toc, layer::Error> + Send + 'static,
) -> Result<Toc, Error> {
    let (sender, feed) = feed::pair();
    let reading = tokio::task::spawn_blocking(move || read(feed));
    let sent = send(looking, layer, (range, behind), sender).await;
    let read = reading.await?;
    sent?;
    read.map_err(|source| wrong(layer, source))
}

async fn send(
    looking: &Looking,
    layer: &Descriptor,
    (range, behind): (Range<u64>, Bytes),
    sender: mpsc::Sender<Bytes>,
) -> Result<(), Error> {
    let behind = futures_util::stream::iter((!behind.is_empty()).then_some(Ok(behind)));
    let mut pieces = if range.is_empty() {
        behind.boxed()
    } else {
        looking.store.read(layer, range).await?.chain(behind).boxed()
    };
    while let Some(piece) = pieces.next().await {
        // Who does not read any more has an error to tell.
        if sender.send(piece?).await.is_err() {
            break;
        }
    }
    Ok(())
}

fn wrong(layer: &Descriptor, source: layer::Error) -> Error {
    Error::Layer { layer: layer.digest, source }
}

/// The cause at the end of an error, for a line that has said the rest.
pub(super) fn cause(error: &Error) -> String {
    match error {
        Error::Layer { source: layer::Error::Index { problem }, .. } => problem.to_string(),
        Error::Layer { source, .. } => source.to_string(),
        error => error.source().map_or_else(|| error.to_string(), |source| format!("{error}: {source}")),
    }
}
