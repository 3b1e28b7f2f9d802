//! Threads that work side by side on pieces, which come back in the order in which they were given.

use std::io;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread::{self, JoinHandle};

/// What a thread does with each piece that it gets.
pub(crate) type Work<T> = Box<dyn FnMut(&mut T) -> io::Result<()> + Send>;

/// Up to so many threads, each begun when there is a piece for it.
///
/// The pieces go round: the thread that has the oldest piece is known, and nothing has to be sorted. No more than
/// [`Workers::room`] pieces are on the way, so nothing waits in a full channel, and dropping never hangs.
pub(crate) struct Workers<T> {
    make: Box<dyn Fn() -> Work<T> + Send>,
    most: usize,
    lanes: Vec<Lane<T>>,
    threads: Vec<JoinHandle<()>>,
    given: usize,
    taken: usize,
}

/// The two ends of a thread.
struct Lane<T> {
    pieces: SyncSender<T>,
    done: Receiver<io::Result<T>>,
}

/// Pieces on the way to, in and from each thread: one that is worked on, and one that waits for that.
const DEPTH: usize = 2;

impl<T: Send + 'static> Workers<T> {
    /// `make` is called for each thread that begins.
    pub(crate) fn new(most: usize, make: impl Fn() -> Work<T> + Send + 'static) -> Self {
        Self { make: Box::new(make), most, lanes: vec![], threads: vec![], given: 0, taken: 0 }
    }

    /// Whether no piece was ever given.
    pub(crate) fn unused(&self) -> bool {
        self.given == 0
    }

    /// Gives the next piece. There must be room for it.
    pub(crate) fn give(&mut self, piece: T) -> io::Result<()> {
        let lane = self.given % self.most;
        if lane == self.lanes.len() {
            let (pieces, queue) = sync_channel::<T>(DEPTH);
            let (results, done) = sync_channel(DEPTH);
            let mut work = (self.make)();
            let run = move || {
                for mut piece in queue {
                    let result = work(&mut piece).map(|()| piece);
                    // Nobody waits any more.
                    if results.send(result).is_err() {
                        break;
                    }
                }
            };
            self.threads.push(thread::Builder::new().name("compress".to_owned()).spawn(run)?);
            self.lanes.push(Lane { pieces, done });
        }
        self.lanes[lane].pieces.send(piece).map_err(|_| stopped())?;
        self.given += 1;
        Ok(())
    }

    /// The oldest piece, if it is done. Waits for it if there is no room for another.
    pub(crate) fn room(&mut self) -> io::Result<Option<T>> {
        if self.given - self.taken == self.most * DEPTH {
            return self.oldest();
        }
        if self.given == self.taken {
            return Ok(None);
        }
        match self.lanes[self.taken % self.most].done.try_recv() {
            Ok(result) => {
                self.taken += 1;
                result.map(Some)
            }
            Err(TryRecvError::Empty) => Ok(None),
            Err(TryRecvError::Disconnected) => Err(stopped()),
        }
    }

    /// Waits for the oldest piece; `None` when there is none.
    pub(crate) fn oldest(&mut self) -> io::Result<Option<T>> {
        if self.given == self.taken {
            return Ok(None);
        }
        let result = self.lanes[self.taken % self.most].done.recv().map_err(|_| stopped())?;
        self.taken += 1;
        result.map(Some)
    }
}

impl<T> Drop for Workers<T> {
    fn drop(&mut self) {
        // A thread ends with the piece that it has: there is nobody to send it to.
        self.lanes.clear();
        for thread in self.threads.drain(..) {
            // That it panicked was said when its piece was missed.
            let _ = thread.join();
        }
    }
}

fn stopped() -> io::Error {
    io::Error::other("a thread that compresses has stopped")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;

    /// Gives all pieces, and takes them as a writer does.
    fn run(workers: &mut Workers<u64>, pieces: u64) -> io::Result<Vec<u64>> {
        let mut done = vec![];
        for piece in 0..pieces {
            while let Some(piece) = workers.room()? {
                done.push(piece);
            }
            workers.give(piece)?;
        }
        while let Some(piece) = workers.oldest()? {
            done.push(piece);
        }
        Ok(done)
    }

    #[test]
    fn pieces_come_back_in_order() {
        for threads in [1, 2, 5] {
            let mut workers = Workers::new(threads, || {
                Box::new(|piece: &mut u64| {
                    thread::sleep(Duration::from_micros(*piece * 7919 % 500));
                    *piece += 1000;
                    Ok(())
                })
            });
            assert!(workers.unused());
            assert_eq!(run(&mut workers, 200).unwrap(), (1000..1200).collect::<Vec<_>>());
            assert_eq!(workers.threads.len(), threads);
        }
    }

    #[test]
    fn no_more_threads_than_pieces() {
        let mut workers = Workers::new(5, || Box::new(|_: &mut u64| Ok(())));
        assert_eq!(run(&mut workers, 2).unwrap(), [0, 1]);
        assert_eq!(workers.threads.len(), 2);
    }

    #[test]
    fn what_goes_wrong_is_said() {
        for threads in [1, 3] {
            let mut failing = Workers::new(threads, || {
                Box::new(|piece: &mut u64| if *piece == 7 { Err(io::Error::other("seven")) } else { Ok(()) })
            });
            assert_eq!(run(&mut failing, 100).unwrap_err().to_string(), "seven");
            let mut panicking = Workers::new(threads, || {
                Box::new(|piece: &mut u64| {
                    assert!(*piece != 7, "seven, as the test wants it");
                    Ok(())
                })
            });
            let error = run(&mut panicking, 100).unwrap_err();
            assert_eq!(error.to_string(), "a thread that compresses has stopped");
        }
    }

    #[test]
    fn dropping_leaves_no_thread() {
        struct Alive(Arc<AtomicUsize>);
        impl Drop for Alive {
            fn drop(&mut self) {
                self.0.fetch_sub(1, Ordering::SeqCst);
            }
        }
        let alive = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&alive);
        let mut workers = Workers::new(3, move || {
            count.fetch_add(1, Ordering::SeqCst);
            let token = Alive(Arc::clone(&count));
            Box::new(move |_: &mut u64| {
                let _ = &token;
                thread::sleep(Duration::from_millis(5));
                Ok(())
            })
        });
        for piece in 0..6 {
            workers.give(piece).unwrap();
        }
        assert_eq!(alive.load(Ordering::SeqCst), 3);
        drop(workers);
        assert_eq!(alive.load(Ordering::SeqCst), 0);
    }
}
