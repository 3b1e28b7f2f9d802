//! A source at the end of a link on which each connection is slow, and a place that takes pieces in any order. Time is
//! the test's own, so nothing here waits.

use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, stream};
use oci::{Algorithm, Descriptor, Digest, Manifest, MediaType, Repository, Selector, Tag};
use store::{ByteStream, Error, Kind, MemoryStore, Opened, Pace, Placer, Ranges, Store, Writer};
use tokio::time::Instant;

/// What a connection moves at a time, and how long that takes.
const CHUNK: usize = 64 << 10;
pub(crate) const TICK: Duration = Duration::from_millis(5);

/// So many chunks come while nobody takes any, and wait in the connection's buffer.
const BUFFER: usize = 16;

/// How long a connection takes for so many bytes.
pub(crate) fn alone(bytes: u64) -> Duration {
    TICK * u32::try_from(bytes.div_ceil(CHUNK as u64)).unwrap()
}

#[derive(Debug)]
pub(crate) struct Link {
    content: Bytes,
    pub(crate) blob: Descriptor,
    pace: Arc<Pace>,
    ranges: Mutex<Ranges>,
    /// Whether parts are sent at all.
    sends_parts: bool,
    /// How long a connection takes for a chunk.
    tick: Duration,
    /// So many reads break off after a chunk.
    pub(crate) breaks: AtomicUsize,
    pub(crate) reads: Mutex<Vec<Range<u64>>>,
    pub(crate) sent: Arc<AtomicUsize>,
}

impl Link {
    /// With a blob of `size` bytes.
    pub(crate) fn new(size: usize, sends_parts: bool) -> Self {
        // No chunk is like another, and making it costs nothing.
        let pattern: Vec<u8> = (0..65_521_u32).map(|at| at.to_le_bytes()[0] ^ at.to_le_bytes()[1]).collect();
        let mut content = pattern.repeat(size / pattern.len() + 1);
        content.truncate(size);
        let blob = Descriptor::of(MediaType::OCTET_STREAM, Algorithm::Sha256, &content);
        Self {
            content: content.into(),
            blob,
            pace: Pace::new("link", 32),
            ranges: Mutex::new(Ranges::Unknown),
            sends_parts,
            tick: TICK,
            breaks: AtomicUsize::new(0),
            reads: Mutex::default(),
            sent: Arc::default(),
        }
    }

    /// The same, so many times slower.
    pub(crate) fn slower(self, times: u32) -> Self {
        Self { tick: self.tick * times, ..self }
    }

    /// The same for so many requests at once.
    pub(crate) fn slots(self, slots: usize) -> Self {
        Self { pace: Pace::new("link", slots), ..self }
    }

    /// Another blob, so many bytes shorter.
    pub(crate) fn but(&self, less: usize) -> Descriptor {
        let content = &self.content[..self.content.len() - less];
        Descriptor::of(MediaType::OCTET_STREAM, Algorithm::Sha256, content)
    }

    pub(crate) fn reads(&self) -> usize {
        self.reads.lock().unwrap().len()
    }

    pub(crate) fn sent(&self) -> u64 {
        self.sent.load(Ordering::SeqCst) as u64
    }
}

fn none() -> MemoryStore {
    MemoryStore::new("none")
}

#[async_trait]
impl Store for Link {
    fn name(&self) -> String {
        "link".to_owned()
    }

    async fn resolve(&self, selector: &Selector) -> Result<Descriptor, Error> {
        none().resolve(selector).await
    }

    async fn manifest(&self, selector: &Selector) -> Result<Manifest, Error> {
        none().manifest(selector).await
    }

    async fn put_manifest(&self, _: &Selector, _: &Manifest) -> Result<(), Error> {
        panic!("no manifest is copied")
    }

    fn tags(&self) -> BoxStream<'_, Result<Vec<Tag>, Error>> {
        stream::empty().boxed()
    }

    async fn contains(&self, _: &Descriptor) -> Result<bool, Error> {
        Ok(true)
    }

    async fn read(&self, _: &Descriptor, range: Range<u64>) -> Result<ByteStream, Error> {
        self.reads.lock().unwrap().push(range.clone());
        tokio::time::sleep(self.tick).await;
        if range != (0..self.blob.size) {
            *self.ranges.lock().unwrap() = if self.sends_parts { Ranges::Yes } else { Ranges::No };
        }
        self.pace.accepted();
        let breaks = self.breaks.try_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        let part =
            self.content.slice(usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap());
        let mut pieces: Vec<Result<Bytes, Error>> =
            part.chunks(CHUNK).map(|piece| Ok(part.slice_ref(piece))).collect();
        if breaks.is_ok() && pieces.len() > 1 {
            pieces[1] = Err(Error::new(Kind::Interrupted, "reading a blob", "connection reset"));
        }
        let (sent, tick) = (Arc::clone(&self.sent), self.tick);
        let state = (pieces.into_iter(), Instant::now(), VecDeque::from(vec![Instant::now(); BUFFER]));
        let pieces = stream::unfold(state, move |(mut pieces, mut came, mut taken)| {
            let sent = Arc::clone(&sent);
            async move {
                let piece = pieces.next()?;
                came = came.max(taken.pop_front()?) + tick;
                tokio::time::sleep_until(came).await;
                taken.push_back(Instant::now());
                sent.fetch_add(piece.as_ref().map_or(0, Bytes::len), Ordering::SeqCst);
                Some((piece, (pieces, came, taken)))
            }
        });
        Ok(pieces.boxed())
    }

    async fn write(&self, _: &Descriptor, _: Option<&Repository>) -> Result<Opened, Error> {
        panic!("nothing is written here")
    }

    fn ranges(&self) -> Ranges {
        *self.ranges.lock().unwrap()
    }

    fn pace(&self) -> Option<&Arc<Pace>> {
        Some(&self.pace)
    }
}

/// Takes pieces in any order, or, if `slow`, bytes in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Yard {
    pub(crate) slow: Option<Slow>,
    pub(crate) partial: Arc<Mutex<HashMap<Digest, Partial>>>,
    pub(crate) done: Arc<Mutex<HashMap<Digest, Vec<u8>>>>,
}

/// A connection for bytes in order: it takes `room` bytes at any rate, and then as many as leave it, a chunk in so many
/// `ticks`. When half of a blob has come it stands still: one piece takes `stop`, and so do the next two.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Slow {
    pub(crate) ticks: u32,
    pub(crate) room: usize,
    pub(crate) stop: Duration,
}

#[derive(Debug)]
pub(crate) struct Partial {
    content: Vec<u8>,
    /// By chunk: whatever comes is made of whole ones.
    there: Vec<bool>,
}

impl Partial {
    fn missing(&self) -> Vec<Range<u64>> {
        let mut missing: Vec<Range<u64>> = Vec::new();
        let absent = self.there.iter().enumerate().filter(|(_, there)| !**there);
        for at in absent.map(|(at, _)| (at * CHUNK) as u64) {
            let end = (at + CHUNK as u64).min(self.content.len() as u64);
            match missing.last_mut() {
                Some(range) if range.end == at => range.end = end,
                _ => missing.push(at..end),
            }
        }
        missing
    }
}

#[async_trait]
impl Store for Yard {
    fn name(&self) -> String {
        "yard".to_owned()
    }

    async fn resolve(&self, selector: &Selector) -> Result<Descriptor, Error> {
        none().resolve(selector).await
    }

    async fn manifest(&self, selector: &Selector) -> Result<Manifest, Error> {
        none().manifest(selector).await
    }

    async fn put_manifest(&self, _: &Selector, _: &Manifest) -> Result<(), Error> {
        panic!("no manifest is copied")
    }

    fn tags(&self) -> BoxStream<'_, Result<Vec<Tag>, Error>> {
        stream::empty().boxed()
    }

    async fn contains(&self, blob: &Descriptor) -> Result<bool, Error> {
        Ok(self.done.lock().unwrap().contains_key(&blob.digest))
    }

    async fn read(&self, blob: &Descriptor, range: Range<u64>) -> Result<ByteStream, Error> {
        none().read(blob, range).await
    }

    async fn write(&self, blob: &Descriptor, _: Option<&Repository>) -> Result<Opened, Error> {
        if let Some(slow) = self.slow {
            let inner = match none().write(blob, None).await? {
                Opened::Writer(writer) => writer,
                other => panic!("{other:?}"),
            };
            let full = Instant::now();
            return Ok(Opened::Writer(Box::new(SlowWriter {
                inner,
                slow,
                full,
                half: blob.size / 2,
                stops: 3,
            })));
        }
        let size = usize::try_from(blob.size).unwrap();
        let new = || Partial { content: vec![0; size], there: vec![false; size.div_ceil(CHUNK)] };
        self.partial.lock().unwrap().entry(blob.digest).or_insert_with(new);
        Ok(Opened::Placer(Box::new(Pieces { yard: self.clone(), blob: blob.clone() })))
    }

    async fn kept(&self, blob: &Descriptor) -> u64 {
        let partial = self.partial.lock().unwrap();
        let missing = partial.get(&blob.digest).map(Partial::missing);
        missing.map_or(0, |missing| blob.size - missing.iter().map(|part| part.end - part.start).sum::<u64>())
    }
}

struct SlowWriter {
    inner: Box<dyn Writer>,
    slow: Slow,
    /// When all that it took has left it.
    full: Instant,
    /// So many bytes are to come until it stands still, and so often does it.
    half: u64,
    stops: u32,
}

impl Slow {
    fn takes(self, bytes: usize) -> Duration {
        TICK * self.ticks * u32::try_from(bytes).unwrap() / u32::try_from(CHUNK).unwrap()
    }
}

#[async_trait]
impl Writer for SlowWriter {
    async fn write(&mut self, bytes: Bytes) -> Result<(), Error> {
        self.full = self.full.max(Instant::now()) + self.slow.takes(bytes.len());
        let room = self.slow.takes(self.slow.room);
        if let Some(begin) = self.full.checked_sub(room) {
            tokio::time::sleep_until(begin).await;
        }
        self.half = self.half.saturating_sub(bytes.len() as u64);
        if self.half == 0 && self.stops > 0 {
            self.stops -= 1;
            tokio::time::sleep(self.slow.stop).await;
        }
        self.inner.write(bytes).await
    }

    async fn commit(self: Box<Self>) -> Result<(), Error> {
        self.inner.commit().await
    }
}

struct Pieces {
    yard: Yard,
    blob: Descriptor,
}

#[async_trait]
impl Placer for Pieces {
    fn missing(&self) -> Vec<Range<u64>> {
        self.yard.partial.lock().unwrap()[&self.blob.digest].missing()
    }

    async fn write_at(&self, at: u64, bytes: Bytes) -> Result<(), Error> {
        let mut partial = self.yard.partial.lock().unwrap();
        let partial = partial.get_mut(&self.blob.digest).unwrap();
        let range = usize::try_from(at).unwrap()..usize::try_from(at).unwrap() + bytes.len();
        partial.content[range.clone()].copy_from_slice(&bytes);
        assert!(range.start.is_multiple_of(CHUNK), "{range:?}");
        let chunks = range.start / CHUNK..range.end.div_ceil(CHUNK);
        assert!(partial.there[chunks.clone()].iter().all(|there| !there), "{range:?} came twice");
        partial.there[chunks].fill(true);
        Ok(())
    }

    async fn commit(self: Box<Self>) -> Result<(), Error> {
        let partial = self.yard.partial.lock().unwrap().remove(&self.blob.digest).unwrap();
        assert!(partial.there.iter().all(|there| *there));
        let found = Algorithm::Sha256.digest(&partial.content);
        if found != self.blob.digest {
            let mismatch = oci::VerifyError::Mismatch { expected: self.blob.digest, found };
            return Err(Error::verify("writing", mismatch));
        }
        self.yard.done.lock().unwrap().insert(self.blob.digest, partial.content);
        Ok(())
    }

    async fn abandon(self: Box<Self>) {
        self.yard.partial.lock().unwrap().remove(&self.blob.digest);
    }
}
