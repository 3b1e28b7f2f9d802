//! One direction of a connection: bytes that were read, and are written when their time has come.
//!
//! A thread reads and writes in turns, and keeps its buffers, so that the link takes little of the processors that the programs
//! are measured on.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::count::Requests;
use crate::line::Line;
use crate::link::Common;

/// What is delivered at once: small, so that a slow link trickles, and large enough for hundreds of megabytes a second.
const PIECE: usize = 64 * 1024;
/// What a link holds at least, as the socket buffers of a real one do.
const DEPTH: usize = 256 * 1024;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Direction {
    Up,
    Down,
}

/// Bytes on their way.
struct Piece {
    read: Instant,
    bytes: Vec<u8>,
    length: usize,
}

/// How the bytes came to their end.
#[derive(Clone, Copy, PartialEq)]
enum End {
    Closed,
    Broken,
}

pub(crate) struct Pump<'a> {
    link: &'a Common,
    from: &'a TcpStream,
    to: &'a TcpStream,
    direction: Direction,
    /// Bytes of the connection, both directions counted.
    passed: &'a AtomicU64,
    line: Option<Line>,
    requests: Requests,
    depth: usize,
    on_way: VecDeque<Piece>,
    end: Option<End>,
    /// Of the first piece: when it leaves, and how much of it has.
    due: Option<Instant>,
    written: usize,
    spare: Vec<Vec<u8>>,
}

impl<'a> Pump<'a> {
    /// Both sides do not block.
    pub(crate) fn new(
        link: &'a Common,
        [from, to]: [&'a TcpStream; 2],
        direction: Direction,
        passed: &'a AtomicU64,
    ) -> Self {
        // On its way is as much as goes there and back, as on a real link whose windows are open; and a piece at either end.
        let rate = link.settings.rate.or(link.settings.shared).unwrap_or_default();
        let product = rate * link.settings.delay.as_secs_f64() * 2.0;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a positive number of bytes"
        )]
        let depth = (product as usize).max(DEPTH) / PIECE + 2;
        Self {
            link,
            from,
            to,
            direction,
            passed,
            line: link.settings.rate.map(Line::new),
            requests: Requests::default(),
            depth,
            on_way: VecDeque::with_capacity(depth),
            end: None,
            due: None,
            written: 0,
            spare: Vec::new(),
        }
    }

    /// Passes all on, until the end.
    pub(crate) fn run(mut self) {
        loop {
            let is_dry = self.fetch();
            let now = Instant::now();
            let due = self.due();
            if due.is_some_and(|due| due <= now) {
                match self.deliver() {
                    Ok(true) => {}
                    Ok(false) => self.wait(is_dry, true, None),
                    Err(Severed) => return self.sever(),
                }
            } else if due.is_none() && self.end == Some(End::Closed) {
                let _ = self.to.shutdown(Shutdown::Write);
                return;
            } else if due.is_none() && self.end == Some(End::Broken) {
                // Broken, not ended: the other side learns it once it has what was on its way.
                return self.sever();
            } else {
                self.wait(is_dry, false, due.map(|due| due - now));
            }
        }
    }

    /// Reads what is there, as long as there is room; whether there is room for more than was there.
    fn fetch(&mut self) -> bool {
        while self.end.is_none() && self.on_way.len() < self.depth {
            let mut bytes = self.spare.pop().unwrap_or_else(|| vec![0; PIECE]);
            match self.from.read(&mut bytes) {
                Ok(0) => self.end = Some(End::Closed),
                Ok(length) => {
                    if self.direction == Direction::Up {
                        self.requests.feed(&bytes[..length], &self.link.counts);
                    }
                    self.on_way.push_back(Piece { read: Instant::now(), bytes, length });
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.spare.push(bytes);
                    return true;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => self.spare.push(bytes),
                Err(_) => self.end = Some(End::Broken),
            }
        }
        false
    }

    /// When the first piece leaves, if there is one.
    fn due(&mut self) -> Option<Instant> {
        let first = self.on_way.front()?;
        let due = *self.due.get_or_insert_with(|| {
            let shared = match self.direction {
                Direction::Up => self.link.up.as_ref(),
                Direction::Down => self.link.down.as_ref(),
            };
            let lines = [self.line.as_ref(), shared].into_iter().flatten();
            lines
                .map(|line| line.take(first.length))
                .fold(first.read + self.link.settings.delay, Instant::max)
        });
        Some(due.max(*self.link.silent.lock().unwrap_or_else(PoisonError::into_inner)))
    }

    /// Writes of the first piece what the other side takes; whether it took all.
    fn deliver(&mut self) -> Result<bool, Severed> {
        let Some(first) = self.on_way.front() else { return Ok(true) };
        let length = first.length;
        match self.to.write(&first.bytes[self.written..length]) {
            Ok(written) => self.written += written,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return Err(Severed),
        }
        if self.written < length {
            return Ok(true);
        }
        (self.written, self.due) = (0, None);
        self.spare.extend(self.on_way.pop_front().map(|piece| piece.bytes));
        let counter = match self.direction {
            Direction::Up => &self.link.counts.sent,
            Direction::Down => &self.link.counts.received,
        };
        counter.fetch_add(length as u64, Ordering::Relaxed);
        let so_far = self.passed.fetch_add(length as u64, Ordering::Relaxed) + length as u64;
        if self.link.settings.cut.is_some_and(|limit| so_far > limit) {
            self.link.counts.cut.fetch_add(1, Ordering::Relaxed);
            return Err(Severed);
        }
        Ok(true)
    }

    /// Waits until there is something to read, or the other side takes more, or so long.
    fn wait(&self, reads: bool, writes: bool, long: Option<Duration>) {
        let long = long.and_then(|long| Timespec::try_from(long).ok());
        let read = reads.then(|| PollFd::new(self.from, PollFlags::IN));
        let write = writes.then(|| PollFd::new(self.to, PollFlags::OUT));
        let mut sides: Vec<PollFd<'_>> = read.into_iter().chain(write).collect();
        // Whatever comes of it: what is to be done is looked for anew.
        let _ = poll(&mut sides, long.as_ref());
    }

    fn sever(&self) {
        for side in [self.from, self.to] {
            let _ = side.shutdown(Shutdown::Both);
        }
    }
}

/// The connection is at its end.
struct Severed;
