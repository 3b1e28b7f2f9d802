//! What the two processes of `--jq` tell each other.

use std::io::{self, Read, Write};

/// What the evaluation says: a kind, a length of four bytes, and the content.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) kind: Kind,
    pub(super) content: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The expression is compiled.
    Ready,
    /// Strings of the result, with their line ends.
    Raw,
    /// Other values of the result, as JSON with line ends.
    Json,
    /// Something for standard error.
    Note,
    /// Why it ended. The last frame.
    Failed,
    /// It ended well. The last frame.
    Done,
}

const KINDS: [(u8, Kind); 6] = [
    (b'c', Kind::Ready),
    (b'r', Kind::Raw),
    (b'j', Kind::Json),
    (b'n', Kind::Note),
    (b'f', Kind::Failed),
    (b'd', Kind::Done),
];

impl Frame {
    pub(super) fn write(out: &mut impl Write, kind: Kind, content: &[u8]) -> io::Result<()> {
        let code = KINDS.iter().find(|(_, known)| *known == kind).map_or(b'f', |(code, _)| *code);
        out.write_all(&[code])?;
        write_block(out, content)?;
        out.flush()
    }

    pub(super) fn read(input: &mut impl Read) -> io::Result<Self> {
        let mut code = [0];
        input.read_exact(&mut code)?;
        let kind = KINDS.iter().find(|(known, _)| *known == code[0]).map(|(_, kind)| *kind);
        let kind = kind.ok_or(io::ErrorKind::InvalidData)?;
        Ok(Self { kind, content: read_block(input)? })
    }
}

/// A length of four bytes, and as many bytes.
pub(super) fn write_block(out: &mut impl Write, content: &[u8]) -> io::Result<()> {
    let length = u32::try_from(content.len()).map_err(|_| io::ErrorKind::FileTooLarge)?;
    out.write_all(&length.to_be_bytes())?;
    out.write_all(content)
}

pub(super) fn read_block(input: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    input.read_exact(&mut length)?;
    let length = u32::from_be_bytes(length);
    let mut content = Vec::new();
    input.by_ref().take(length.into()).read_to_end(&mut content)?;
    if content.len() as u64 == u64::from(length) {
        Ok(content)
    } else {
        Err(io::ErrorKind::UnexpectedEof.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut wire = Vec::new();
        for (_, kind) in KINDS {
            Frame::write(&mut wire, kind, b"abc").unwrap();
        }
        let mut rest = wire.as_slice();
        for (_, kind) in KINDS {
            assert_eq!(Frame::read(&mut rest).unwrap(), Frame { kind, content: b"abc".to_vec() });
        }
        assert!(Frame::read(&mut rest).is_err());
        assert!(Frame::read(&mut &wire[..5]).is_err());
        assert!(Frame::read(&mut &b"x\0\0\0\0"[..]).is_err());
    }
}
