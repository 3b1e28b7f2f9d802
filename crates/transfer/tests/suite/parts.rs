//! Large blobs over several connections.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::future::try_join_all;
use oci::Descriptor;
use store::{MemoryStore, Silent, Store};
use tokio::time::Instant;
use transfer::{Error, Fate, Options, Transfer};

use crate::link::{Link, Slow, TICK, Yard, alone};

const SIZE: usize = 32 << 20;

fn transfer(source: &Arc<Link>, destination: impl Store + 'static) -> Transfer {
    Transfer::new(Arc::clone(source) as _, Arc::new(destination), Options::default(), Arc::new(Silent))
}

#[tokio::test(start_paused = true)]
async fn helpers_bring_a_large_blob_where_pieces_may_come_in_any_order() {
    let (source, yard) = (Arc::new(Link::new(SIZE, true)), Yard::default());
    let began = Instant::now();
    assert_eq!(transfer(&source, yard.clone()).copy_blob(&source.blob).await.unwrap(), Some(Fate::Moved));
    let blob = &source.blob;
    assert!(began.elapsed() < alone(blob.size) / 4, "{:?}", began.elapsed());
    assert!(yard.contains(blob).await.unwrap());
    // What the leader had on its way when it was relieved is all that came in vain.
    assert!(source.sent() < blob.size + (4 << 20), "{} bytes", source.sent());
}

#[tokio::test(start_paused = true)]
async fn bytes_in_order_come_over_several_connections_when_the_source_is_slow() {
    let source = Arc::new(Link::new(SIZE, true));
    let began = Instant::now();
    let memory = MemoryStore::new("memory");
    assert_eq!(transfer(&source, memory.clone()).copy_blob(&source.blob).await.unwrap(), Some(Fate::Moved));
    let blob = &source.blob;
    assert!(began.elapsed() < alone(blob.size) / 2, "{:?}", began.elapsed());
    assert!(memory.contains(blob).await.unwrap());
    assert!(source.sent() < blob.size + (4 << 20), "{} bytes", source.sent());
}

#[tokio::test(start_paused = true)]
async fn nothing_is_split_where_the_destination_is_what_all_wait_for() {
    let source = Arc::new(Link::new(SIZE, true));
    let yard = Yard { slow: Some(Slow { ticks: 2, ..Slow::default() }), ..Yard::default() };
    transfer(&source, yard).copy_blob(&source.blob).await.unwrap();
    // The blob, and the byte that tells whether there are parts.
    assert_eq!(source.reads(), 2);
}

/// What keeps a near destination busy may be the processor, while all wait for the connections to the source.
#[tokio::test(start_paused = true)]
async fn a_near_destination_may_be_busy_where_the_source_is_far() {
    for (milliseconds, several) in [(1, false), (50, true)] {
        let source = Arc::new(Link::new(2 * SIZE, true).slower(5));
        source.pace().unwrap().answered(Duration::from_millis(milliseconds));
        let yard = Yard { slow: Some(Slow { ticks: 2, ..Slow::default() }), ..Yard::default() };
        let began = Instant::now();
        transfer(&source, yard).copy_blob(&source.blob).await.unwrap();
        let (took, alone) = (began.elapsed(), 5 * alone(source.blob.size));
        assert_eq!((took < alone * 2 / 3, source.reads() > 2), (several, several), "{took:?} of {alone:?}");
    }
}

/// What lies between us and the link hides for a while that the destination takes no more than one connection brings.
#[tokio::test(start_paused = true)]
async fn one_connection_goes_on_where_several_bring_no_more() {
    let source = Arc::new(Link::new(2 * SIZE, true));
    let yard = Yard { slow: Some(Slow { ticks: 1, room: 4 << 20, ..Slow::default() }), ..Yard::default() };
    let began = Instant::now();
    transfer(&source, yard).copy_blob(&source.blob).await.unwrap();
    let blob = &source.blob;
    let last = source.reads.lock().unwrap().last().cloned().unwrap();
    assert!(last.end == blob.size && last.end - last.start > blob.size / 4, "{last:?}");
    assert!(began.elapsed() < alone(blob.size) * 11 / 10, "{:?}", began.elapsed());
    assert!(source.sent() < blob.size + (4 << 20), "{} bytes", source.sent());
}

/// docker-registry stands still while the disk takes what it has: several connections help before and after.
#[tokio::test(start_paused = true)]
async fn several_connections_come_back_when_the_destination_stood_still() {
    let source = Arc::new(Link::new(4 * SIZE, true));
    let stop = Duration::from_millis(400);
    let yard = Yard { slow: Some(Slow { stop, ..Slow::default() }), ..Yard::default() };
    let began = Instant::now();
    transfer(&source, yard).copy_blob(&source.blob).await.unwrap();
    let (blob, took) = (&source.blob, began.elapsed().saturating_sub(3 * stop));
    let reads = source.reads.lock().unwrap();
    let rejoined = reads.iter().skip(1).position(|read| read.end == blob.size && read.start + 1 < blob.size);
    assert!(rejoined.is_some_and(|at| at + 2 < reads.len()), "one connection, and then several: {reads:?}");
    assert!(took < alone(blob.size) / 3, "{took:?}");
}

/// Long pieces cost less, and a blob that has many waits longer for each.
#[tokio::test(start_paused = true)]
async fn pieces_are_long_where_other_blobs_wait_for_connections() {
    for (count, is_long) in [(1, false), (10, true)] {
        let source = Arc::new(Link::new(2 * SIZE, true));
        source.pace().unwrap().answered(Duration::from_millis(50));
        let blobs: Vec<Descriptor> = (0..count).map(|less| source.but(less)).collect();
        let transfer = transfer(&source, MemoryStore::new("memory"));
        try_join_all(blobs.iter().map(|blob| transfer.copy_blob(blob))).await.unwrap();
        let reads = source.reads.lock().unwrap();
        let some = |length| reads.iter().any(|read| read.end - read.start == length);
        assert_eq!((some(5 << 19), some(4 << 20)), (true, is_long), "{count}: {reads:?}");
    }
}

/// What comes over several connections waits in memory, and what finds no room there in theirs.
#[tokio::test(start_paused = true)]
async fn little_waits_in_memory_while_the_destination_stands_still() {
    let source = Arc::new(Link::new(2 * SIZE, true));
    let blobs: Vec<Descriptor> = (0..4).map(|less| source.but(less)).collect();
    let stop = Duration::from_mins(1);
    let yard = Yard { slow: Some(Slow { stop, ..Slow::default() }), ..Yard::default() };
    let transfer = transfer(&source, yard);
    let copies = try_join_all(blobs.iter().map(|blob| transfer.copy_blob(blob)));
    let stands_still = async {
        let mut before = 0;
        while before != source.sent() || before == 0 {
            before = source.sent();
            tokio::time::sleep(stop / 4).await;
        }
        before
    };
    let (outcome, sent) = tokio::join!(copies, stands_still);
    outcome.unwrap();
    let waiting = sent - blobs.iter().map(|blob| blob.size).sum::<u64>() / 2;
    assert!((6 << 20..12 << 20).contains(&waiting), "{waiting} bytes");
}

/// Nor do connections that wait for room keep others from the source.
#[tokio::test(start_paused = true)]
async fn what_waits_long_gives_its_slot_back() {
    let source = Arc::new(Link::new(4 * SIZE, true).slots(8));
    let stop = Duration::from_mins(1);
    let yard = Yard { slow: Some(Slow { stop, ..Slow::default() }), ..Yard::default() };
    let transfer = transfer(&source, yard);
    let others = async {
        tokio::time::sleep(stop / 2).await;
        let all = source.pace().unwrap().acquire(8);
        tokio::time::timeout(stop / 4, all)
            .await
            .map(drop)
            .expect("nobody else needs one while it stands still");
    };
    let (outcome, ()) = tokio::join!(transfer.copy_blob(&source.blob), others);
    outcome.unwrap();
    let reads = source.reads.lock().unwrap();
    let again = reads.iter().filter(|read| {
        reads.iter().any(|part| part.contains(&read.start) && part.end == read.end && part != *read)
    });
    assert!(again.filter(|read| read.end < source.blob.size).count() > 2, "the rest of some: {reads:?}");
}

/// Whatever the order in which the tasks of its pieces are run.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn few_slots_are_enough() {
    for slots in 1..5 {
        let source = Arc::new(Link::new(SIZE, true).slots(slots));
        let memory = MemoryStore::new("memory");
        let transfer = transfer(&source, memory.clone());
        let copy = transfer.copy_blob(&source.blob);
        tokio::time::timeout(Duration::from_secs(30), copy).await.expect("an end").unwrap();
        assert!(memory.contains(&source.blob).await.unwrap());
    }
}

/// The trial has long been given up, and may be made again, when its first connection is not yet at its end.
#[tokio::test(start_paused = true)]
async fn a_blob_is_not_split_again_while_others_read_a_part_of_it() {
    let source = Arc::new(Link::new(SIZE, true).slower(300));
    let memory = MemoryStore::new("memory");
    transfer(&source, memory.clone()).copy_blob(&source.blob).await.unwrap();
    assert!(memory.contains(&source.blob).await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_source_that_sends_no_parts_is_read_in_one() {
    let source = Arc::new(Link::new(SIZE, false));
    transfer(&source, Yard::default()).copy_blob(&source.blob).await.unwrap();
    // The blob, and the byte that told.
    assert_eq!(source.reads(), 2);
    transfer(&source, MemoryStore::new("memory")).copy_blob(&source.blob).await.unwrap();
    assert_eq!(source.reads(), 3);
}

#[tokio::test(start_paused = true)]
async fn what_came_before_an_interruption_is_not_read_again() {
    let (source, yard) = (Arc::new(Link::new(SIZE, true)), Yard::default());
    source.breaks.store(9, Ordering::SeqCst);
    transfer(&source, yard.clone()).copy_blob(&source.blob).await.unwrap();
    assert!(yard.contains(&source.blob).await.unwrap());
    // `Yard` takes no byte twice. What was on its way when a connection broke was read in vain.
    assert!(source.sent() < source.blob.size + (36 << 20), "{} bytes", source.sent());
}

#[tokio::test(start_paused = true)]
async fn who_never_gets_further_gives_up() {
    let source = Arc::new(Link::new(SIZE, true));
    source.breaks.store(usize::MAX, Ordering::SeqCst);
    let began = Instant::now();
    // Here nothing is kept from one attempt to the next.
    let error = transfer(&source, MemoryStore::new("memory")).copy_blob(&source.blob).await.unwrap_err();
    assert!(matches!(error, Error::GaveUp { attempts: 4, .. }), "{error}");
    assert!(began.elapsed() > TICK);
}

#[tokio::test(start_paused = true)]
async fn a_cap_holds_for_all_connections_together() {
    let (source, yard) = (Arc::new(Link::new(8 << 20, true)), Yard::default());
    let options = Options { bandwidth: 1_000_000.try_into().ok(), ..Options::default() };
    let began = Instant::now();
    let transfer = Transfer::new(Arc::clone(&source) as _, Arc::new(yard), options, Arc::new(Silent));
    transfer.copy_blob(&source.blob).await.unwrap();
    assert!((8.0..10.0).contains(&began.elapsed().as_secs_f64()), "{:?}", began.elapsed());
}
