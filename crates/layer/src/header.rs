//! The 512 bytes before an entry: v7, ustar, star and GNU.
//!
//! The layout is tar-core's. Its numbers are not used: they lose the upper bytes of a base-256 field and the sign of a time
//! before 1970, and two readers that disagree about a size read different archives.

use tar_core::{GNU_MAGIC, GNU_VERSION, GnuHeader, Header as Layout, USTAR_MAGIC, UstarHeader};

use crate::entry::{Extent, Time};

/// Bytes in a block: archives are made of these.
pub(crate) const BLOCK: usize = 512;

/// One header block whose checksum is right.
pub(crate) struct Header<'a> {
    layout: &'a Layout,
    format: Format,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Format {
    /// Before POSIX: no magic, no names, no devices.
    V7,
    Ustar,
    /// Like ustar, with a shorter prefix.
    Star,
    Gnu,
}

impl<'a> Header<'a> {
    /// Checks a block, which is not all zeros.
    pub(crate) fn parse(block: &'a [u8; BLOCK]) -> Result<Self, &'static str> {
        let layout = Layout::from_bytes(block);
        let this = Self { layout, format: Format::of(layout) };
        let checksum = number(&this.ustar().cksum);
        // Historic tars summed signed bytes.
        let unsigned = sum(block, i64::from);
        let signed = sum(block, |byte| i64::from(byte.cast_signed()));
        if checksum == Some(unsigned) || checksum == Some(signed) {
            Ok(this)
        } else {
            Err("not a tar header (its checksum is wrong)")
        }
    }

    fn ustar(&self) -> &'a UstarHeader {
        self.layout.as_ustar()
    }

    /// The fields of the GNU format, if the header has it.
    fn gnu(&self) -> Option<&'a GnuHeader> {
        (self.format == Format::Gnu).then(|| self.layout.as_gnu())
    }

    pub(crate) fn kind(&self) -> u8 {
        self.ustar().typeflag[0]
    }

    /// Name, with the prefix that ustar keeps apart.
    pub(crate) fn path(&self) -> Vec<u8> {
        let ustar = self.ustar();
        let prefix = match self.format {
            Format::Ustar => &ustar.prefix[..],
            Format::Star => &ustar.prefix[..131],
            Format::V7 | Format::Gnu => &[],
        };
        let mut path = text(prefix).to_vec();
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(text(&ustar.name));
        path
    }

    pub(crate) fn link(&self) -> &'a [u8] {
        text(&self.ustar().linkname)
    }

    pub(crate) fn size(&self) -> Result<u64, &'static str> {
        unsigned(&self.ustar().size, "malformed size in a tar header")
    }

    /// Permission bits; the kind of file that some tars add is in [`kind`](Self::kind).
    pub(crate) fn mode(&self) -> Result<u32, &'static str> {
        let mode = unsigned(&self.ustar().mode, "malformed mode in a tar header")?;
        // Twelve bits fit.
        Ok(u32::try_from(mode & 0o7777).unwrap_or(0))
    }

    pub(crate) fn uid(&self) -> Result<u64, &'static str> {
        unsigned(&self.ustar().uid, "malformed owner in a tar header")
    }

    pub(crate) fn gid(&self) -> Result<u64, &'static str> {
        unsigned(&self.ustar().gid, "malformed group in a tar header")
    }

    pub(crate) fn mtime(&self) -> Result<Time, &'static str> {
        // Not the one number that has no opposite, and could not be written as a negative decimal.
        let seconds = number(&self.ustar().mtime).filter(|seconds| *seconds > i64::MIN);
        let seconds = seconds.ok_or("malformed time in a tar header")?;
        Ok(Time::new(seconds, 0))
    }

    pub(crate) fn uname(&self) -> &'a [u8] {
        if self.format == Format::V7 { &[] } else { text(&self.ustar().uname) }
    }

    pub(crate) fn gname(&self) -> &'a [u8] {
        if self.format == Format::V7 { &[] } else { text(&self.ustar().gname) }
    }

    /// Major and minor number.
    pub(crate) fn device(&self) -> Result<(u32, u32), &'static str> {
        const MALFORMED: &str = "malformed device number in a tar header";
        if self.format == Format::V7 {
            return Err("device without numbers (the header is of the v7 format)");
        }
        let part = |field| u32::try_from(unsigned(field, MALFORMED)?).map_err(|_| MALFORMED);
        Ok((part(&self.ustar().dev_major)?, part(&self.ustar().dev_minor)?))
    }

    /// What an old GNU sparse header says: the size of the file, its first extents, and whether blocks with more follow.
    pub(crate) fn sparse(&self) -> Result<(u64, Vec<Extent>, bool), &'static str> {
        let gnu = self.gnu().ok_or("sparse file in a header that is not of the GNU format")?;
        let mut extents = Vec::new();
        for slot in &gnu.sparse {
            if !push_extent(&mut extents, &slot.offset, &slot.numbytes)? {
                break;
            }
        }
        let size = unsigned(&gnu.realsize, "malformed size in a sparse header")?;
        Ok((size, extents, gnu.isextended[0] != 0))
    }
}

impl Format {
    fn of(layout: &Layout) -> Self {
        let ustar = layout.as_ustar();
        // Some writers leave ustar's version out; GNU's is part of its magic.
        if ustar.magic == *USTAR_MAGIC {
            if ustar.pad.ends_with(b"tar\0") { Self::Star } else { Self::Ustar }
        } else if ustar.magic == *GNU_MAGIC && ustar.version == *GNU_VERSION {
            Self::Gnu
        } else {
            Self::V7
        }
    }
}

/// Reads a block that continues an old GNU sparse header: 21 more extents. True when yet another block follows.
pub(crate) fn sparse_block(block: &[u8; BLOCK], extents: &mut Vec<Extent>) -> Result<bool, &'static str> {
    let (slots, _) = block.as_chunks::<24>();
    for slot in slots {
        let (offset, length) = slot.split_at(12);
        if !push_extent(extents, offset, length)? {
            break;
        }
    }
    Ok(block[504] != 0)
}

/// Takes one slot of an old GNU sparse map; false when it is unused.
fn push_extent(extents: &mut Vec<Extent>, offset: &[u8], length: &[u8]) -> Result<bool, &'static str> {
    const MALFORMED: &str = "malformed extent in a sparse header";
    if offset.first() == Some(&0) {
        return Ok(false);
    }
    extents.push(Extent { offset: unsigned(offset, MALFORMED)?, length: unsigned(length, MALFORMED)? });
    Ok(true)
}

/// The bytes of a field before its first NUL.
fn text(field: &[u8]) -> &[u8] {
    field.split(|byte| *byte == 0).next().unwrap_or_default()
}

fn unsigned(field: &[u8], problem: &'static str) -> Result<u64, &'static str> {
    number(field).and_then(|number| u64::try_from(number).ok()).ok_or(problem)
}

/// A number: octal digits between blanks or NULs (nothing means zero), or, with the highest bit set, big-endian two's
/// complement as GNU tar has it. `None` when it is neither, or does not fit.
fn number(field: &[u8]) -> Option<i64> {
    if let [first, rest @ ..] = field
        && first & 0x80 != 0
    {
        // Bit 6 is the sign; it is spread over bit 7, which was the mark.
        let first = if first & 0x40 == 0 { first & 0x7f } else { *first };
        let mut number = i64::from(first.cast_signed());
        for byte in rest {
            number = number.checked_mul(256)?.checked_add(i64::from(*byte))?;
        }
        return Some(number);
    }
    let blank = |byte: &u8| *byte == b' ' || *byte == 0;
    let start = field.iter().position(|byte| !blank(byte)).unwrap_or(field.len());
    let end = field.iter().rposition(|byte| !blank(byte)).map_or(start, |last| last + 1);
    let mut number = 0_i64;
    for digit in text(&field[start..end]) {
        let digit = (b'0'..=b'7').contains(digit).then(|| i64::from(digit - b'0'))?;
        number = number.checked_mul(8)?.checked_add(digit)?;
    }
    Some(number)
}

/// Sum of a header's bytes, its checksum counted as blanks.
fn sum(block: &[u8; BLOCK], value: impl Fn(u8) -> i64) -> i64 {
    let all: i64 = block.iter().map(|byte| value(*byte)).sum();
    let field: i64 = block[148..156].iter().map(|byte| value(*byte)).sum();
    all - field + 8 * i64::from(b' ')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        let cases: [(&[u8], Option<i64>); 16] = [
            (b"0000644\0", Some(0o644)),
            (b"   644 \0", Some(0o644)),
            (b"\0 644\0\0\0", Some(0o644)),
            (b"00000644", Some(0o644)),
            (b"644\x007", Some(0o644)),
            (b"        ", Some(0)),
            (b"\0\0\0\0", Some(0)),
            (b"", Some(0)),
            (b"0000648\0", None),
            (b"-000001\0", None),
            (b"64 4\0", None),
            (b"\x80\0\0\0\x02\0\0\0\0\0\0\x05", Some((2 << 56) + 5)),
            (b"\x80\0\0\0\0\0\0\x02\0\0\0\x05", Some((2 << 32) + 5)),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfe", Some(-2)),
            (b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff", Some(i64::MAX)),
            (b"\x80\0\0\0\x80\0\0\0\0\0\0\0", None),
        ];
        for (field, expected) in cases {
            assert_eq!(number(field), expected, "{}", field.escape_ascii());
        }
        assert_eq!(number(b"\x80\0\x01\0\0\0\0\0\0\0\0\x05"), None, "tar-core reads 5 here");
    }
}
