//! Which part of a blob is read by whom, decided without any I/O.

use std::collections::VecDeque;
use std::ops::Range;

/// The parts of one blob that are still to be read. One reader leads: it takes the first part whole, in one request. When
/// others come to help, the leader's part ends soon, and all go on in pieces, in order.
#[derive(Debug)]
pub(crate) struct Parts {
    free: VecDeque<Range<u64>>,
    /// What the leader is reading; it begins where the leader is.
    lead: Range<u64>,
    piece: u64,
    helped: bool,
    /// Pieces that helpers have taken and not ended.
    taken: usize,
}

impl Parts {
    /// The parts of a blob that are missing, in order; helpers take `piece` bytes at a time, at least one.
    pub(crate) fn new(missing: Vec<Range<u64>>, piece: u64) -> Self {
        Self { free: missing.into(), lead: 0..0, piece: piece.max(1), helped: false, taken: 0 }
    }

    /// The leader's next part, if any is left.
    pub(crate) fn lead(&mut self) -> Option<Range<u64>> {
        let next = if self.helped { self.cut() } else { self.free.pop_front() }?;
        self.lead = next.clone();
        Some(next)
    }

    /// The leader got `bytes` more; so many of them are its own. Fewer: others read what follows.
    pub(crate) fn advance(&mut self, bytes: u64) -> u64 {
        let own = bytes.min(self.lead.end - self.lead.start);
        self.lead.start += own;
        own
    }

    /// A helper's next piece, if there is enough left for two.
    pub(crate) fn help(&mut self) -> Option<Range<u64>> {
        if self.free.is_empty() {
            let keep = self.lead.start.saturating_add(self.piece);
            if self.lead.end <= keep.saturating_add(self.piece / 2) {
                return None;
            }
            self.free.push_back(keep..self.lead.end);
            self.lead.end = keep;
        }
        self.helped = true;
        self.taken += 1;
        self.cut()
    }

    /// A helper is done with a piece, but for `left` of it.
    pub(crate) fn end(&mut self, left: Range<u64>) {
        self.taken -= 1;
        if !left.is_empty() {
            self.free.push_front(left);
        }
    }

    /// Whether all has been read, and nobody is at it.
    pub(crate) fn are_done(&self) -> bool {
        self.taken == 0 && self.left() == 0
    }

    /// What the leader has not got of its part.
    pub(crate) fn lead_left(&self) -> u64 {
        self.lead.end - self.lead.start
    }

    /// The bytes that no helper reads or has read, and that the leader has not got.
    pub(crate) fn left(&self) -> u64 {
        let free: u64 = self.free.iter().map(|part| part.end - part.start).sum();
        free + (self.lead.end - self.lead.start)
    }

    fn cut(&mut self) -> Option<Range<u64>> {
        let first = self.free.front_mut()?;
        let end = first.end.min(first.start.saturating_add(self.piece));
        let piece = first.start..end;
        first.start = end;
        if first.is_empty() {
            self.free.pop_front();
        }
        Some(piece)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_leader_alone_reads_all_in_one() {
        let mut parts = Parts::new(vec![10..100, 200..300], 8);
        assert_eq!(parts.lead(), Some(10..100));
        assert_eq!(parts.advance(90), 90);
        assert_eq!(parts.lead(), Some(200..300));
        assert_eq!(parts.advance(100), 100);
        assert_eq!((parts.lead(), parts.help()), (None, None));
    }

    #[test]
    fn a_helper_shortens_the_leader() {
        let mut parts = Parts::new(std::iter::once(0..100).collect(), 10);
        assert_eq!(parts.lead(), Some(0..100));
        assert_eq!(parts.advance(5), 5);
        assert_eq!(parts.help(), Some(15..25));
        assert_eq!(parts.help(), Some(25..35));
        assert_eq!(parts.advance(7), 7);
        assert_eq!(parts.advance(7), 3);
        assert_eq!(parts.lead(), Some(35..45));
        assert_eq!(parts.left(), 65);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Advance(u64),
        Help,
        GiveBack,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![(1..40_u64).prop_map(Step::Advance), Just(Step::Help), Just(Step::GiveBack)];
        proptest::collection::vec(step, 0..60)
    }

    proptest! {
        /// Whatever the order of events, each byte is read once and none is left out.
        #[test]
        fn every_byte_is_read_once(
            bounds in proptest::collection::btree_set(0..400_u64, 0..8),
            piece in 0..50_u64,
            steps in steps(),
        ) {
            let bounds: Vec<u64> = bounds.into_iter().collect();
            let missing: Vec<Range<u64>> = bounds.chunks_exact(2).map(|pair| pair[0]..pair[1]).collect();
            let mut parts = Parts::new(missing.clone(), piece);
            let mut read = vec![0; 400];
            let mark = |read: &mut Vec<u8>, part: Range<u64>| part.for_each(|at| read[usize::try_from(at).unwrap()] += 1);
            let mut at = parts.lead();
            for step in steps {
                match step {
                    Step::Advance(bytes) => {
                        let Some(part) = &mut at else { continue };
                        let own = parts.advance(bytes.min(part.end - part.start));
                        mark(&mut read, part.start..part.start + own);
                        part.start += own;
                        if own < bytes || part.is_empty() {
                            at = parts.lead();
                        }
                    }
                    Step::Help => if let Some(part) = parts.help() { mark(&mut read, part) },
                    Step::GiveBack => if let Some(part) = parts.help() { parts.end(part) },
                }
            }
            while let Some(part) = at {
                let own = parts.advance(part.end - part.start);
                mark(&mut read, part.start..part.start + own);
                at = parts.lead();
            }
            for (at, times) in read.iter().enumerate() {
                let wanted = missing.iter().any(|part| part.contains(&(at as u64)));
                prop_assert_eq!(*times, u8::from(wanted), "byte {}", at);
            }
            prop_assert_eq!(parts.left(), 0);
        }
    }
}
