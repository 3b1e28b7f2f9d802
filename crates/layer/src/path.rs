//! Paths of entries: cleaned, and confined to the root.

/// The longest path, in bytes, that Linux opens (`PATH_MAX` counts the NUL at the end). No tool can unpack a longer one; and
/// the limit keeps one entry from making a million directories.
pub(crate) const PATH_MAX: usize = 4095;

/// Cleans an entry's path: `./a//b/` becomes `a/b`, a leading `/` goes, the root itself is empty.
///
/// Bytes stay bytes: names need not be UTF-8, and a backslash or a drive letter is a part of a name. `..` is refused
/// wherever it stands.
pub(crate) fn confine(raw: &[u8]) -> Result<Box<[u8]>, &'static str> {
    clean(raw, |_| Err("path has a `..` component"))
}

/// Cleans the target of a hard link, which is a path from the root of the layer. `..` is resolved by its letters; a target
/// outside the root is refused.
pub(crate) fn confine_link(raw: &[u8]) -> Result<Box<[u8]>, &'static str> {
    let target = clean(raw, |path| {
        if path.is_empty() {
            return Err("hard link target escapes the root");
        }
        path.truncate(path.iter().rposition(|byte| *byte == b'/').unwrap_or(0));
        Ok(())
    })?;
    if target.is_empty() { Err("hard link has no target") } else { Ok(target) }
}

fn clean(
    raw: &[u8],
    mut parent: impl FnMut(&mut Vec<u8>) -> Result<(), &'static str>,
) -> Result<Box<[u8]>, &'static str> {
    if raw.contains(&0) {
        return Err("path has a NUL byte");
    }
    let mut path = Vec::with_capacity(raw.len());
    for component in raw.split(|byte| *byte == b'/') {
        match component {
            b"" | b"." => {}
            b".." => parent(&mut path)?,
            name => {
                if !path.is_empty() {
                    path.push(b'/');
                }
                path.extend_from_slice(name);
            }
        }
    }
    if path.len() > PATH_MAX {
        return Err("path is longer than 4095 bytes");
    }
    Ok(path.into_boxed_slice())
}

/// Splits a clean path into its directory (empty for the root) and its last component.
pub(crate) fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (&[], path),
    }
}

/// The directories that a clean path lies in, from the top, without the root.
pub(crate) fn parents(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| &path[..at])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entry_paths() {
        let good: [(&[u8], &[u8]); 12] = [
            (b"a/b", b"a/b"),
            (b"./a//b/", b"a/b"),
            (b"/etc/passwd", b"etc/passwd"),
            (b"///", b""),
            (b"./", b""),
            (b".", b""),
            (b"", b""),
            (b"a/./b/.", b"a/b"),
            (b"...", b"..."),
            (b"a..b/..c", b"a..b/..c"),
            (b"C:\\x", b"C:\\x"),
            (b"\xff\xfe/\x01", b"\xff\xfe/\x01"),
        ];
        for (raw, clean) in good {
            assert_eq!(confine(raw).as_deref(), Ok(clean), "{}", raw.escape_ascii());
        }
        for raw in [&b".."[..], b"../a", b"a/../b", b"a/..", b"/..", b"a\0b"] {
            assert!(confine(raw).is_err(), "{}", raw.escape_ascii());
        }
        assert!(confine(&[b'a'; PATH_MAX]).is_ok());
        assert!(confine(&[b'a'; PATH_MAX + 1]).is_err());
    }

    #[test]
    fn link_targets() {
        let good: [(&[u8], &[u8]); 5] = [
            (b"a", b"a"),
            (b"/usr/bin/a", b"usr/bin/a"),
            (b"./usr/../bin/a", b"bin/a"),
            (b"a/b/../../c", b"c"),
            (b"a/../b", b"b"),
        ];
        for (raw, clean) in good {
            assert_eq!(confine_link(raw).as_deref(), Ok(clean), "{}", raw.escape_ascii());
        }
        for raw in [&b""[..], b"/", b".", b"../a", b"a/../../b", b"/../a", b"a/..", b"a\0"] {
            assert!(confine_link(raw).is_err(), "{}", raw.escape_ascii());
        }
    }

    #[test]
    fn parts() {
        assert_eq!(split(b"a/b/c"), (&b"a/b"[..], &b"c"[..]));
        assert_eq!(split(b"c"), (&b""[..], &b"c"[..]));
    }
}
