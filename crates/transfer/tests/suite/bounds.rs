//! Memory and concurrency have bounds.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, stream};
use oci::{Algorithm, Descriptor, Manifest, MediaType, Repository, Selector, Tag};
use store::{ByteStream, Error, MemoryStore, Opened, Silent, Store, Writer};
use transfer::{Fate, Options, Transfer};

use crate::images::{image, run, tag};
use crate::place::Place;

const PIECE: usize = 256 << 10;

/// Bytes that are held by anybody, and the most there were.
#[derive(Debug, Default)]
struct Held {
    now: AtomicU64,
    most: AtomicU64,
}

struct Piece(Arc<Held>, &'static [u8]);

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        self.1
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        self.0.now.fetch_sub(self.1.len() as u64, Ordering::SeqCst);
    }
}

/// Makes zeros up as source, and forgets them as destination.
#[derive(Debug, Default)]
struct Zeros(Arc<Held>);

static ZEROS: [u8; PIECE] = [0; PIECE];

#[async_trait]
impl Store for Zeros {
    fn name(&self) -> String {
        "zeros".to_owned()
    }

    async fn resolve(&self, selector: &Selector) -> Result<Descriptor, Error> {
        MemoryStore::new("none").resolve(selector).await
    }

    async fn manifest(&self, selector: &Selector) -> Result<Manifest, Error> {
        MemoryStore::new("none").manifest(selector).await
    }

    async fn put_manifest(&self, _: &Selector, _: &Manifest) -> Result<(), Error> {
        panic!("no manifest is copied")
    }

    fn tags(&self) -> BoxStream<'_, Result<Vec<Tag>, Error>> {
        stream::empty().boxed()
    }

    async fn contains(&self, _: &Descriptor) -> Result<bool, Error> {
        Ok(false)
    }

    async fn read(&self, _: &Descriptor, range: Range<u64>) -> Result<ByteStream, Error> {
        let held = Arc::clone(&self.0);
        let pieces = (range.end - range.start) / PIECE as u64;
        let piece = move |_| {
            let now = held.now.fetch_add(PIECE as u64, Ordering::SeqCst) + PIECE as u64;
            held.most.fetch_max(now, Ordering::SeqCst);
            Ok(Bytes::from_owner(Piece(Arc::clone(&held), &ZEROS)))
        };
        Ok(stream::iter(0..pieces).map(piece).boxed())
    }

    async fn write(&self, _: &Descriptor, _: Option<&Repository>) -> Result<Opened, Error> {
        Ok(Opened::Writer(Box::new(Sink::default())))
    }
}

/// Forgets all but the last piece, as a writer whose place is busy.
#[derive(Default)]
struct Sink(VecDeque<Bytes>);

#[async_trait]
impl Writer for Sink {
    async fn write(&mut self, bytes: Bytes) -> Result<(), Error> {
        self.0.push_back(bytes);
        if self.0.len() > 1 {
            self.0.pop_front();
        }
        tokio::task::yield_now().await;
        Ok(())
    }

    async fn commit(self: Box<Self>) -> Result<(), Error> {
        Ok(())
    }
}

fn zeros(pieces: usize) -> Descriptor {
    let mut hasher = Algorithm::Sha256.hasher();
    (0..pieces).for_each(|_| hasher.update(&ZEROS));
    Descriptor::new(MediaType::OCTET_STREAM, hasher.finish(), (pieces * PIECE) as u64)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blob_of_a_gibibyte_passes_in_two_pieces() {
    let held = Arc::new(Held::default());
    let place = || Arc::new(Zeros(Arc::clone(&held)));
    let blob = zeros((1 << 30) / PIECE);
    let transfer = Transfer::new(place(), place(), Options::default(), Arc::new(Silent));
    assert_eq!(transfer.copy_blob(&blob).await.unwrap(), Some(Fate::Moved));
    // One that the writer holds, one on its way.
    assert!(held.most.load(Ordering::SeqCst) <= 2 * PIECE as u64);
    assert_eq!(held.now.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn no_more_blobs_move_at_once_than_allowed() {
    let (source, destination) = (Arc::new(Place::new("here")), Arc::new(Place::new("there")));
    for name in ["a", "b", "c", "d"] {
        let layers: Vec<String> = (0..9).map(|n| format!("layer {n} of {name}")).collect();
        let layers: Vec<&str> = layers.iter().map(String::as_str).collect();
        let image = image(&source.inner, name, &layers).await;
        source.inner.put_manifest(&tag(name), &image).await.unwrap();
    }
    let (transfer, _) =
        run(&source, &destination, Options { jobs: 3.try_into().unwrap(), ..Options::default() });
    assert_eq!(transfer.copy_tags().await.unwrap().moved, 40);
    assert_eq!(source.most_reads(), 3);
}
