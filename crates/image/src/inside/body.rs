//! The content of a file, from what is stored of it.

use std::io::{self, Read, Write};

use layer::{Body, Extent};

/// Writes a file's content: what is stored of it, with zeros where it has holes.
///
/// # Errors
/// `UnexpectedEof` if there is less than is stored, and those of reader and writer.
pub fn expand(body: &Body, stored: &mut dyn Read, out: &mut dyn Write) -> io::Result<()> {
    let whole = [Extent { offset: 0, length: body.size }];
    let extents = body.extents.as_deref().unwrap_or(&whole);
    let mut at = 0;
    for extent in extents {
        io::copy(&mut io::repeat(0).take(extent.offset.saturating_sub(at)), out)?;
        if io::copy(&mut (&mut *stored).take(extent.length), out)? < extent.length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        at = extent.offset.saturating_add(extent.length);
    }
    io::copy(&mut io::repeat(0).take(body.size.saturating_sub(at)), out).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holes_are_zeros() {
        let extents = [Extent { offset: 1, length: 2 }, Extent { offset: 4, length: 1 }];
        let mut body = Body { offset: 0, stored: 3, size: 6, extents: Some(extents.into()) };
        let mut out = Vec::new();
        expand(&body, &mut &b"abc"[..], &mut out).unwrap();
        assert_eq!(out, b"\0ab\0c\0");
        assert!(expand(&body, &mut &b"ab"[..], &mut out).is_err());
        out.clear();
        body.extents = None;
        expand(&body, &mut &b"abcdef"[..], &mut out).unwrap();
        assert_eq!(out, b"abcdef");
    }
}
