//! Which bytes of a blob are there.

use std::ops::Range;

/// Ranges of bytes: in order, apart from each other, none empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pieces(Vec<Range<u64>>);

impl Pieces {
    /// Adds a range; what touches becomes one.
    pub(crate) fn insert(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        let first = self.0.partition_point(|piece| piece.end < range.start);
        let behind = self.0.partition_point(|piece| piece.start <= range.end);
        let start = self.0.get(first).map_or(range.start, |piece| piece.start.min(range.start));
        let end = self.0[..behind].last().map_or(range.end, |piece| piece.end.max(range.end));
        self.0.splice(first..behind, std::iter::once(start..end));
    }

    /// Takes a range out.
    pub(crate) fn remove(&mut self, range: &Range<u64>) {
        if range.is_empty() {
            return;
        }
        let cut = |piece: Range<u64>| {
            let before = piece.start..piece.end.min(range.start);
            let behind = piece.start.max(range.end)..piece.end;
            [before, behind].into_iter().filter(|rest| !rest.is_empty())
        };
        self.0 = std::mem::take(&mut self.0).into_iter().flat_map(cut).collect();
    }

    /// What of `range` is not there, in order.
    pub(crate) fn gaps(&self, range: Range<u64>) -> Vec<Range<u64>> {
        let mut gaps = Vec::new();
        let mut at = range.start;
        let first = self.0.partition_point(|piece| piece.end <= range.start);
        for piece in self.0[first..].iter().take_while(|piece| piece.start < range.end) {
            gaps.push(at..piece.start);
            at = piece.end;
        }
        gaps.push(at..range.end);
        gaps.retain(|gap| !gap.is_empty());
        gaps
    }

    /// The end of what is there without a gap from the first byte on.
    pub(crate) fn front(&self) -> u64 {
        self.0.first().filter(|piece| piece.start == 0).map_or(0, |piece| piece.end)
    }

    /// How many bytes are there.
    pub(crate) fn bytes(&self) -> u64 {
        self.0.iter().map(|piece| piece.end - piece.start).sum()
    }

    /// The ranges, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Range<u64>> {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_touches_is_one() {
        let mut pieces = Pieces::default();
        for range in [10..20, 30..40, 0..5, 20..30, 7..7] {
            pieces.insert(range);
        }
        assert_eq!(pieces.0, [0..5, 10..40]);
        assert_eq!(pieces.gaps(0..50), [5..10, 40..50]);
        assert_eq!(pieces.gaps(12..39), []);
        assert_eq!((pieces.front(), pieces.bytes()), (5, 35));
        pieces.remove(&(3..15));
        assert_eq!(pieces.0, [0..3, 15..40]);
    }

    proptest! {
        /// As a set of bytes would have it.
        #[test]
        fn is_a_set_of_bytes(
            steps in proptest::collection::vec((any::<bool>(), 0..60_u64, 0..20_u64), 0..40),
            asked in 0..60_u64,
        ) {
            let mut pieces = Pieces::default();
            let mut bytes = [false; 80];
            for (adds, start, length) in steps {
                let range = start..start + length;
                if adds { pieces.insert(range.clone()) } else { pieces.remove(&range) }
                range.for_each(|at| bytes[usize::try_from(at).unwrap()] = adds);
            }
            let there = |at: u64| bytes[usize::try_from(at).unwrap()];
            prop_assert_eq!(pieces.bytes(), bytes.iter().filter(|there| **there).count() as u64);
            prop_assert!(pieces.0.windows(2).all(|pair| pair[0].end < pair[1].start));
            prop_assert!(pieces.0.iter().all(|piece| piece.clone().all(there)));
            prop_assert_eq!(pieces.front(), (0..80).find(|at| !there(*at)).unwrap_or(80));
            let missing: Vec<u64> = pieces.gaps(asked..asked + 20).into_iter().flatten().collect();
            let expected: Vec<u64> = (asked..asked + 20).filter(|at| !there(*at)).collect();
            prop_assert_eq!(missing, expected);
        }
    }
}
