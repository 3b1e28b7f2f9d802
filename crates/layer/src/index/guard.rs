//! A bound on the parts of a JSON document, before a parser holds them.

use std::io::{self, ErrorKind, Read};

/// The most that one entry may have, as extended headers of tar may.
const MOST: u64 = 1 << 20;

/// Passes on a document whose list of entries stands at the second level, and refuses one with an entry of more than 1 MiB, or as much
/// beside them.
pub(super) struct Guard<R> {
    reader: R,
    depth: u32,
    in_string: bool,
    escaped: bool,
    /// Bytes since the last entry ended, or began.
    since: u64,
}

impl<R> Guard<R> {
    pub(super) fn new(reader: R) -> Self {
        Self { reader, depth: 0, in_string: false, escaped: false, since: 0 }
    }

    pub(super) fn into_inner(self) -> R {
        self.reader
    }

    fn pass(&mut self, byte: u8) -> io::Result<()> {
        self.since += 1;
        if self.since > MOST {
            return Err(io::Error::new(ErrorKind::InvalidData, "one entry has more than 1 MiB"));
        }
        if self.in_string {
            self.in_string = self.escaped || byte != b'"';
            self.escaped = byte == b'\\' && !self.escaped;
            return Ok(());
        }
        match byte {
            b'"' => self.in_string = true,
            b'{' | b'[' => self.depth = self.depth.saturating_add(1),
            b'}' | b']' => self.depth = self.depth.saturating_sub(1),
            // Between entries, and between members of the document.
            b',' if self.depth <= 2 => self.since = 0,
            _ => {}
        }
        Ok(())
    }
}

impl<R: Read> Read for Guard<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(out)?;
        out[..count].iter().try_for_each(|byte| self.pass(*byte))?;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passes(document: &str) -> bool {
        let mut passed = Vec::new();
        let is_ok = Guard::new(document.as_bytes()).read_to_end(&mut passed).is_ok();
        is_ok && passed == document.as_bytes()
    }

    #[test]
    fn what_is_long_is_refused_before_it_is_held() {
        let long = "x".repeat(600 << 10);
        assert!(passes(&format!(
            r#"{{"a": "{long}", "entries": [{{"name": "{long}"}}, {{"name": "{long}"}}]}}"#
        )));
        assert!(!passes(&format!(r#"{{"entries": [{{"name": "{long}", "xattrs": {{"{long}": ""}}}}]}}"#)));
        assert!(!passes(&format!(r#"{{"entries": [{{"name": "{long},\"}}{long}"}}]}}"#)));
        assert!(!passes(&format!(r#"{{"a": "{long},{long}"}}"#)));
    }
}
