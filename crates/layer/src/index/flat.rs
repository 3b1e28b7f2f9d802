//! Reading `FlatBuffers` (their "internals" document), as far as a zTOC needs it.
//!
//! The crates for it read lists of tables with `unsafe` alone.

/// A table: a place in the bytes, and where its fields are.
#[derive(Clone, Copy)]
pub(super) struct Table<'a> {
    bytes: &'a [u8],
    at: usize,
    /// A list of 16-bit offsets from `at`, by the number of the field; 0 for one that is not there.
    fields: &'a [u8],
}

impl<'a> Table<'a> {
    /// The one at the root.
    pub(super) fn root(bytes: &'a [u8]) -> Option<Self> {
        Self::at(bytes, follow(bytes, 0)?)
    }

    fn at(bytes: &'a [u8], at: usize) -> Option<Self> {
        let back = i64::from(i32::from_le_bytes(array(bytes, at)?));
        let start = usize::try_from(i64::try_from(at).ok()?.checked_sub(back)?).ok()?;
        let length = usize::from(u16::from_le_bytes(array(bytes, start)?));
        let fields = bytes.get(start.checked_add(4)?..start.checked_add(length)?)?;
        Some(Self { bytes, at, fields })
    }

    /// Where a field is, if it is there.
    fn field(&self, number: usize) -> Option<usize> {
        let offset = usize::from(u16::from_le_bytes(array(self.fields, number * 2)?));
        if offset == 0 { None } else { self.at.checked_add(offset) }
    }

    /// A number of so many bytes, little-endian; zeros, its default, if it is not there.
    pub(super) fn number<const N: usize>(&self, field: usize) -> Option<[u8; N]> {
        self.field(field).map_or(Some([0; N]), |at| array(self.bytes, at))
    }

    /// A number that cannot be below zero.
    pub(super) fn length(&self, field: usize) -> Option<u64> {
        u64::try_from(i64::from_le_bytes(self.number(field)?)).ok()
    }

    /// A list of bytes, or a string; empty if it is not there.
    pub(super) fn bytes(&self, field: usize) -> Option<&'a [u8]> {
        self.field(field).map_or(Some(&[]), |at| list(self.bytes, follow(self.bytes, at)?, 1))
    }

    /// Another table.
    pub(super) fn table(&self, field: usize) -> Option<Self> {
        Self::at(self.bytes, follow(self.bytes, self.field(field)?)?)
    }

    /// The places of the offsets in a list of tables or strings; none if it is not there.
    fn offsets(&self, field: usize) -> Option<impl ExactSizeIterator<Item = usize> + use<'a>> {
        let (start, length) = match self.field(field) {
            None => (0, 0),
            Some(at) => {
                let at = follow(self.bytes, at)?;
                (at.checked_add(4)?, list(self.bytes, at, 4)?.len())
            }
        };
        Some((0..length / 4).map(move |number| start + number * 4))
    }

    /// A list of tables, each of which may be none.
    pub(super) fn tables(
        &self,
        field: usize,
    ) -> Option<impl ExactSizeIterator<Item = Option<Self>> + use<'a>> {
        let bytes = self.bytes;
        Some(self.offsets(field)?.map(move |at| Self::at(bytes, follow(bytes, at)?)))
    }

    /// A list of strings, each of which may be none.
    pub(super) fn strings(
        &self,
        field: usize,
    ) -> Option<impl ExactSizeIterator<Item = Option<&'a [u8]>> + use<'a>> {
        let bytes = self.bytes;
        Some(self.offsets(field)?.map(move |at| list(bytes, follow(bytes, at)?, 1)))
    }
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

/// Where an offset leads.
fn follow(bytes: &[u8], at: usize) -> Option<usize> {
    at.checked_add(usize::try_from(u32::from_le_bytes(array(bytes, at)?)).ok()?)
}

/// The elements of a list, which begins with their number, of so many bytes each.
fn list(bytes: &[u8], at: usize, size: usize) -> Option<&[u8]> {
    let length = usize::try_from(u32::from_le_bytes(array(bytes, at)?)).ok()?.checked_mul(size)?;
    let start = at.checked_add(4)?;
    bytes.get(start..start.checked_add(length)?)
}
