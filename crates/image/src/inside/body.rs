//! The content of a file, from what is stored of it.

use std::io::{self, Read, Write};

use layer::{Body, Extent};

/// Contents in one layer that are to be read. There may be millions, so who has them elsewhere need not have them twice.
pub trait Wanted: Send + Sync + 'static {
    /// How many there are.
    fn count(&self) -> usize;

    /// One of them, by its index. Those that come in the order in which they lie in the layer are read at once; what lies before the
    /// one that came before takes another request.
    fn get(&self, index: usize) -> &Body;
}

impl Wanted for Body {
    fn count(&self) -> usize {
        1
    }

    fn get(&self, _: usize) -> &Body {
        self
    }
}

impl Wanted for Vec<Body> {
    fn count(&self) -> usize {
        self.len()
    }

    fn get(&self, index: usize) -> &Body {
        &self[index]
    }
}

/// Writes a file's content: what is stored of it, with zeros where it has holes.
///
/// # Errors
/// `UnexpectedEof` if there is less than is stored, and those of reader and writer.
pub fn expand(body: &Body, stored: &mut dyn Read, out: &mut dyn Write) -> io::Result<()> {
    io::copy(&mut Expanded::new(body, stored), out).map(drop)
}

/// A file's content, to be read: what is stored of it, with zeros where it has holes.
pub(super) struct Expanded<'a> {
    stored: &'a mut dyn Read,
    size: u64,
    at: u64,
    /// The extent that is next, or has begun.
    next: Option<Extent>,
    /// Those behind it.
    rest: &'a [Extent],
}

impl<'a> Expanded<'a> {
    pub(super) fn new(body: &'a Body, stored: &'a mut dyn Read) -> Self {
        let (next, rest) = match body.extents() {
            None => (Some(Extent { offset: 0, length: body.size }), &[][..]),
            Some(extents) => (extents.first().copied(), extents.get(1..).unwrap_or_default()),
        };
        Self { stored, size: body.size, at: 0, next, rest }
    }
}

impl Read for Expanded<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let fitting = |left: u64| usize::try_from(left).map_or(out.len(), |left| left.min(out.len()));
        let count = loop {
            match self.next {
                Some(extent) if self.at >= extent.offset => {
                    let left = extent.offset.saturating_add(extent.length).saturating_sub(self.at);
                    if left == 0 {
                        self.next = self.rest.first().copied();
                        self.rest = self.rest.get(1..).unwrap_or_default();
                        continue;
                    }
                    let wanted = fitting(left);
                    let count = self.stored.read(&mut out[..wanted])?;
                    if count == 0 && wanted > 0 {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                    break count;
                }
                hole => {
                    let end = hole.map_or(self.size, |extent| extent.offset);
                    let count = fitting(end.saturating_sub(self.at));
                    out[..count].fill(0);
                    break count;
                }
            }
        };
        self.at += count as u64;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use layer::Sparse;

    use super::*;

    #[test]
    fn holes_are_zeros() {
        let extents = [Extent { offset: 1, length: 2 }, Extent { offset: 4, length: 1 }];
        let sparse = Sparse { stored: 3, extents: extents.into() };
        let mut body = Body { offset: 0, size: 6, sparse: Some(Box::new(sparse)) };
        let mut out = Vec::new();
        expand(&body, &mut &b"abc"[..], &mut out).unwrap();
        assert_eq!(out, b"\0ab\0c\0");
        assert!(expand(&body, &mut &b"ab"[..], &mut out).is_err());
        out.clear();
        body.sparse = None;
        expand(&body, &mut &b"abcdef"[..], &mut out).unwrap();
        assert_eq!(out, b"abcdef");
    }
}
