//! The file beside a partial one, which tells what of it is written.
//!
//! A line with the boot that this machine is in, then records of one length each, so that one that was cut off spoils no
//! other: `<start>-<end>` in hexadecimal, of bytes that were written. The empty range is a mark: all before it was
//! flushed to the disk. What was written after the last mark is there as long as the machine has not been started anew,
//! however the process ended.

use std::fmt::Write as _;
use std::ops::Range;

use crate::pieces::Pieces;

/// The length of the first line, in bytes.
const HEAD: usize = 37;

/// The length of a record, in bytes.
const RECORD: usize = 34;

/// What of a partial file is written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Written {
    /// All of it.
    pub(crate) all: Pieces,
    /// That which survives the machine, too.
    pub(crate) flushed: Pieces,
}

/// The boot that this machine is in, as Linux names it; elsewhere every process is in one of its own.
pub(crate) fn boot() -> String {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let id = id.trim();
    if id.len() < HEAD && !id.is_empty() { id.to_owned() } else { format!("process-{}", std::process::id()) }
}

/// Reads a journal of a file of `size` bytes. What cannot be read counts as not written.
pub(crate) fn parse(bytes: &[u8], boot: &str, size: u64) -> Written {
    let mut written = Written::default();
    let Some((head, records)) = bytes.split_at_checked(HEAD) else { return written };
    for record in records.chunks_exact(RECORD) {
        match range(record) {
            Some(range) if range.is_empty() => written.flushed = written.all.clone(),
            Some(range) if range.end <= size => written.all.insert(range),
            _ => {}
        }
    }
    if head != format!("{boot:36}\n").as_bytes() {
        written.all = written.flushed.clone();
    }
    written
}

fn range(record: &[u8]) -> Option<Range<u64>> {
    let (start, end) = std::str::from_utf8(record).ok()?.strip_suffix('\n')?.split_once('-')?;
    let number = |text: &str| u64::from_str_radix(text, 16).ok().filter(|_| text.len() == 16);
    let range = number(start)?..number(end)?;
    (range.start <= range.end).then_some(range)
}

/// A journal that says the same in as few records as it takes.
pub(crate) fn whole(boot: &str, written: &Written) -> String {
    let mut rest = written.all.clone();
    written.flushed.iter().for_each(|range| rest.remove(range));
    format!("{boot:36}\n{}{}{}", records(&written.flushed), mark(), records(&rest))
}

/// What is to be appended for more pieces.
pub(crate) fn records(pieces: &Pieces) -> String {
    pieces.iter().fold(String::new(), |mut text, range| {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{:016x}-{:016x}", range.start, range.end);
        text
    })
}

/// The record that says that all before it has been flushed.
fn mark() -> String {
    format!("{:016x}-{:016x}\n", 0, 0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pieces(ranges: impl IntoIterator<Item = Range<u64>>) -> Pieces {
        let mut pieces = Pieces::default();
        ranges.into_iter().for_each(|range| pieces.insert(range));
        pieces
    }

    #[test]
    fn lengths() {
        assert_eq!(whole("b", &Written::default()).len(), HEAD + RECORD);
        assert!(boot().len() < HEAD);
    }

    #[test]
    fn another_boot_has_what_was_flushed() {
        let (all, flushed) = (pieces([0..10, 20..30]), pieces(std::iter::once(0..5)));
        let text = whole("one", &Written { all: all.clone(), flushed: flushed.clone() });
        assert_eq!(parse(text.as_bytes(), "one", 30), Written { all, flushed: flushed.clone() });
        assert_eq!(parse(text.as_bytes(), "two", 30), Written { all: flushed.clone(), flushed });
    }

    #[test]
    fn what_is_torn_or_odd_counts_for_nothing() {
        let good = records(&pieces([0..10, 20..30]));
        for (text, expected) in [
            (format!("{:36}\n{good}00000", "b"), pieces([0..10, 20..30])),
            (format!("{:36}\n{}", "b", &good[..RECORD + 5]), pieces(std::iter::once(0..10))),
            (format!("{:36}\n{}{good}", "b", "?".repeat(RECORD)), pieces([0..10, 20..30])),
            (
                format!("{:36}\n{good}{}", "b", records(&pieces(std::iter::once(25..31)))),
                pieces([0..10, 20..30]),
            ),
            ("b".to_owned(), Pieces::default()),
            (String::new(), Pieces::default()),
        ] {
            assert_eq!(parse(text.as_bytes(), "b", 30).all, expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let written = parse(&bytes, "b", 1000);
            prop_assert!(written.all.gaps(0..1000).is_empty() || written.all.bytes() < 1000);
        }

        /// Cut off anywhere, a journal tells nothing that was not so.
        #[test]
        fn a_torn_journal_never_lies(
            steps in proptest::collection::vec((0..100_u64, 1..20_u64, any::<bool>()), 0..20),
            cut in 0..1000_usize,
        ) {
            let mut all = Pieces::default();
            let mut text = whole("b", &Written::default());
            for (start, length, flushes) in steps {
                all.insert(start..start + length);
                text += &records(&pieces(std::iter::once(start..start + length)));
                if flushes { text += &mark() }
            }
            let torn = &text.as_bytes()[..cut.min(text.len())];
            for boot in ["b", "c"] {
                let read = parse(torn, boot, 1000);
                prop_assert!(read.all.iter().all(|range| all.gaps(range.clone()).is_empty()));
                prop_assert!(read.flushed.iter().all(|range| read.all.gaps(range.clone()).is_empty()));
                let again = parse(whole("b", &read).as_bytes(), "b", 1000);
                prop_assert_eq!(again, read);
            }
        }
    }
}
