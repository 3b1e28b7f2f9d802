//! Which entries of a merged file system are wanted.

use std::ops::RangeInclusive;
use std::str::FromStr;

use globset::{Candidate, GlobBuilder, GlobMatcher};
use layer::{Kind, Node, Time};
use oci::Descriptor;

use crate::Error;

/// What an entry has to be like; what is left out, or empty, takes all. Of several globs or types one has to fit.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Its name, the last component of its path.
    pub names: Vec<Glob>,
    /// Its path.
    pub paths: Vec<Glob>,
    /// What it is.
    pub types: Vec<Type>,
    /// It is a file of so many bytes.
    pub size: Option<RangeInclusive<u64>>,
    /// It was changed after this.
    pub newer: Option<Time>,
    /// It is a file that runs as its owner or its group: setuid or setgid.
    pub setuid: bool,
    /// Whom it belongs to.
    pub owner: Option<Owner>,
    /// Its content and metadata come from one of these layers, counted from the bottom, from zero.
    pub layers: Option<Vec<usize>>,
}

impl Filter {
    /// Whether it takes an entry.
    pub fn takes(&self, node: &Node<'_>) -> bool {
        let (kind, metadata) = (&node.entry.kind, &node.entry.metadata);
        let name = node.path().rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        let is_file = matches!(kind, Kind::File(_));
        any(&self.types, |of| *of == Type::of(kind))
            && self.size.as_ref().is_none_or(|size| is_file && size.contains(&node.entry.size()))
            && self.newer.is_none_or(|than| metadata.mtime > than)
            && (!self.setuid || is_file && metadata.mode & 0o6000 != 0)
            && self.owner.as_ref().is_none_or(|asked| {
                let owner = &metadata.owner;
                asked.user.as_ref().is_none_or(|user| user.is(owner.uid, &owner.uname))
                    && asked.group.as_ref().is_none_or(|group| group.is(owner.gid, &owner.gname))
            })
            && self.layers.as_ref().is_none_or(|layers| layers.contains(&node.layer()))
            && any(&self.names, |glob| glob.takes(name))
            && any(&self.paths, |glob| glob.takes(node.path()))
    }
}

/// Whether one fits, or there is none.
fn any<T>(all: &[T], fits: impl FnMut(&T) -> bool) -> bool {
    all.is_empty() || all.iter().any(fits)
}

/// A pattern: `?`, `*`, `[a-z]`, `{a,b}`, `\` before what is meant as it stands. They go by bytes.
#[derive(Clone, Debug)]
pub struct Glob(GlobMatcher);

/// Why a text is no pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct GlobError(String);

impl Glob {
    /// Of names.
    ///
    /// # Errors
    /// If it is none, or has a `/`, which no name has.
    pub fn name(text: &str) -> Result<Self, GlobError> {
        if text.contains('/') {
            return Err(GlobError("no name has a /".to_owned()));
        }
        Self::new(text)
    }

    /// Of paths from the root, with or without a `/` in front. `*` and `?` stand for no `/`; `**` stands for any directories.
    ///
    /// # Errors
    /// If it is none.
    pub fn path(text: &str) -> Result<Self, GlobError> {
        Self::new(text.strip_prefix('/').unwrap_or(text))
    }

    fn new(text: &str) -> Result<Self, GlobError> {
        let glob = GlobBuilder::new(text).literal_separator(true).backslash_escape(true).build();
        glob.map(|glob| Self(glob.compile_matcher())).map_err(|error| GlobError(error.kind().to_string()))
    }

    /// Whether a name, or a path without `/` in front, is like that.
    pub fn takes(&self, text: &[u8]) -> bool {
        self.0.is_match_candidate(&Candidate::from_bytes(text))
    }
}

/// What an entry is. Parses from a word or from the letter that `find` has for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// `file`, `f`: with one name or several.
    File,
    /// `directory`, `d`
    Directory,
    /// `symlink`, `l`
    Symlink,
    /// `character-device`, `c`
    CharacterDevice,
    /// `block-device`, `b`
    BlockDevice,
    /// `fifo`, `p`
    Fifo,
}

impl Type {
    fn of(kind: &Kind) -> Self {
        match kind {
            // A merged file system has no hard links but files with several names.
            Kind::File(_) | Kind::HardLink(_) => Self::File,
            Kind::Directory => Self::Directory,
            Kind::Symlink(_) => Self::Symlink,
            Kind::CharacterDevice(_) => Self::CharacterDevice,
            Kind::BlockDevice(_) => Self::BlockDevice,
            Kind::Fifo => Self::Fifo,
        }
    }
}

impl FromStr for Type {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text {
            "f" | "file" => Self::File,
            "d" | "directory" => Self::Directory,
            "l" | "symlink" => Self::Symlink,
            "c" | "character-device" => Self::CharacterDevice,
            "b" | "block-device" => Self::BlockDevice,
            "p" | "fifo" => Self::Fifo,
            _ => {
                return Err(
                    "it is f (file), d (directory), l (symlink), c (character-device), b (block-device) or p (fifo)",
                );
            }
        })
    }
}

/// Whom an entry belongs to. Parses from `USER`, `USER:GROUP` or `:GROUP`, numbers or names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The user, if it matters.
    pub user: Option<Account>,
    /// The group, if it matters.
    pub group: Option<Account>,
}

/// A user or a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Account {
    /// By its number.
    Id(u64),
    /// By the name that the layer's archive has for it.
    Name(String),
}

impl Account {
    fn is(&self, id: u64, name: &[u8]) -> bool {
        match self {
            Self::Id(own) => *own == id,
            Self::Name(own) => own.as_bytes() == name,
        }
    }
}

impl FromStr for Owner {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let account = |text: &str| {
            let id = || text.parse().map_or_else(|_| Account::Name(text.to_owned()), Account::Id);
            (!text.is_empty()).then(id)
        };
        let (user, group) = text.split_once(':').unwrap_or((text, ""));
        match (account(user), account(group)) {
            (None, None) => Err("it is UID, UID:GID or :GID, or names in their place"),
            (user, group) => Ok(Self { user, group }),
        }
    }
}

/// The number of a name in `/etc/passwd` or `/etc/group` (`passwd(5)`, `group(5)`): the first line counts.
pub(super) fn id_in(database: &[u8], name: &str) -> Option<u64> {
    let mut lines = database.split(|byte| *byte == b'\n').map(|line| line.split(|byte| *byte == b':'));
    let mut fields =
        lines.find_map(|mut fields| (fields.next() == Some(name.as_bytes())).then_some(fields))?;
    std::str::from_utf8(fields.nth(1)?).ok()?.parse().ok()
}

/// A layer as it is typed: its number, from 1 at the bottom, or its digest, or how that begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LayerChoice {
    /// Its number.
    Number(usize),
    /// The beginning of its digest, with or without the algorithm. What are digits alone is a number.
    Digest(String),
}

impl LayerChoice {
    /// The layers that are meant, counted from zero: several where the same one is there more than once.
    ///
    /// # Errors
    /// [`Error::NoLayer`], or [`Error::SeveralLayers`] if different digests begin like that.
    pub fn among(&self, layers: &[Descriptor]) -> Result<Vec<usize>, Error> {
        let meant: Vec<usize> = match self {
            Self::Number(number) => number.checked_sub(1).filter(|n| *n < layers.len()).into_iter().collect(),
            Self::Digest(beginning) => {
                let is_meant = |layer: &Descriptor| {
                    layer.digest.hex().starts_with(beginning.as_str())
                        || layer.digest.to_string().starts_with(beginning.as_str())
                };
                (0..layers.len()).filter(|n| is_meant(&layers[*n])).collect()
            }
        };
        let asked = || match self {
            Self::Number(number) => number.to_string(),
            Self::Digest(beginning) => beginning.clone(),
        };
        match meant.first() {
            None => Err(Error::NoLayer { asked: asked(), layers: layers.len() }),
            Some(first) if meant.iter().any(|n| layers[*n].digest != layers[*first].digest) => {
                Err(Error::SeveralLayers(asked()))
            }
            Some(_) => Ok(meant),
        }
    }
}

impl FromStr for LayerChoice {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(number) = text.parse() {
            return Ok(Self::Number(number));
        }
        let hex = text.split_once(':').map_or(text, |(_, hex)| hex);
        let is_hex = !hex.is_empty() && hex.bytes().all(|byte| byte.is_ascii_hexdigit());
        let error = "it is a number, from 1 for the lowest layer, or the layer's digest or how that begins";
        is_hex.then(|| Self::Digest(text.to_ascii_lowercase())).ok_or(error)
    }
}

#[cfg(test)]
mod tests {
    use layer::{Body, Entry, Metadata, Table, merge};
    use oci::{Algorithm, MediaType};

    use super::*;

    fn file(path: &str, size: u64, metadata: Metadata) -> Entry {
        let kind = Kind::File(Body::whole(0, size));
        Entry { path: path.as_bytes().into(), kind, metadata }
    }

    fn takes(filter: &Filter, entry: &Entry) -> bool {
        let layer = Table { entries: vec![entry.clone()], ..Table::default() };
        let layers = [Table::default(), layer];
        filter.takes(&merge(&layers).unwrap().nodes[0])
    }

    #[test]
    fn globs() {
        for (glob, path, taken) in [
            ("/etc/*.conf", "etc/a.conf", true),
            ("etc/*.conf", "etc/a.conf", true),
            ("/etc/*.conf", "etc/d/a.conf", false),
            ("/etc/**/*.conf", "etc/d/e/a.conf", true),
            ("/etc/**/*.conf", "etc/a.conf", true),
            ("/etc/**", "etc", false),
            ("/etc/**", "etc/d/e", true),
            ("**/a", "a", true),
            ("/**/a", "d/a", true),
            ("/*", "etc/a", false),
            ("/???", "etc", true),
            ("/{bin,etc}/[a-c]", "etc/b", true),
            ("/et\\*", "etc", false),
            ("/", "", true),
        ] {
            assert_eq!(Glob::path(glob).unwrap().takes(path.as_bytes()), taken, "{glob} {path}");
        }
        assert!(Glob::name("*\u{e9}*").unwrap().takes("caf\u{e9}".as_bytes()));
        assert!(Glob::name("*").unwrap().takes(b"\xff"));
        for glob in ["a/b", "[", "{a"] {
            assert!(Glob::name(glob).is_err(), "{glob}");
        }
    }

    #[test]
    fn all_that_is_asked_has_to_hold() {
        let time = Time::new(100, 5);
        let owner = layer::Owner { uid: 7, gid: 8, uname: b"www"[..].into(), ..layer::Owner::default() };
        let metadata = Metadata { mtime: time, owner: owner.into(), ..Metadata::new(0o4755) };
        let entry = file("usr/bin/su", 10, metadata);
        let all = Filter {
            names: vec![Glob::name("x").unwrap(), Glob::name("s?").unwrap()],
            paths: vec![Glob::path("/usr/**").unwrap()],
            types: vec![Type::Directory, Type::File],
            size: Some(10..=10),
            newer: Some(Time::new(100, 0)),
            setuid: true,
            owner: Some("www:8".parse().unwrap()),
            layers: Some(vec![1]),
        };
        assert!(takes(&all, &entry) && takes(&Filter::default(), &entry));
        for other in [
            Filter { names: vec![Glob::name("s").unwrap()], ..all.clone() },
            Filter { paths: vec![Glob::path("/usr/*").unwrap()], ..all.clone() },
            Filter { types: vec![Type::Fifo], ..all.clone() },
            Filter { size: Some(11..=u64::MAX), ..all.clone() },
            Filter { newer: Some(time), ..all.clone() },
            Filter { owner: Some("7:7".parse().unwrap()), ..all.clone() },
            Filter { owner: Some("root".parse().unwrap()), ..all.clone() },
            Filter { layers: Some(vec![0, 2]), ..all.clone() },
        ] {
            assert!(!takes(&other, &entry), "{other:?}");
        }
        // A directory has no size, and runs as nobody.
        let directory = Entry { kind: Kind::Directory, ..file("d", 0, Metadata::new(0o2755)) };
        assert!(!takes(&Filter { size: Some(0..=u64::MAX), ..Filter::default() }, &directory));
        assert!(!takes(&Filter { setuid: true, ..Filter::default() }, &directory));
        assert!(!takes(&Filter { setuid: true, ..Filter::default() }, &file("f", 0, Metadata::new(0o755))));
    }

    #[test]
    fn owners() {
        let account = |name: &str| Some(Account::Name(name.to_owned()));
        assert_eq!("0".parse(), Ok(Owner { user: Some(Account::Id(0)), group: None }));
        assert_eq!("a:1".parse(), Ok(Owner { user: account("a"), group: Some(Account::Id(1)) }));
        assert_eq!(":b".parse(), Ok(Owner { user: None, group: account("b") }));
        assert!("".parse::<Owner>().is_err() && ":".parse::<Owner>().is_err());
        let database = b"root:x:0:0:root:/root:/bin/sh\nwww:x:33:33\nbad:x\nworse:x:-1:\nwww:x:34:\n";
        for (name, id) in [("root", Some(0)), ("www", Some(33)), ("bad", None), ("worse", None), ("", None)] {
            assert_eq!(id_in(database, name), id, "{name}");
        }
    }

    #[test]
    fn layers() {
        let layers = [&b"one"[..], b"two", b"one", b"three"]
            .map(|content| Descriptor::of(MediaType::OCI_EMPTY, Algorithm::Sha256, content));
        let among = |text: &str| text.parse::<LayerChoice>().unwrap().among(&layers);
        let two = layers[1].digest;
        assert_eq!(among("2").unwrap(), [1]);
        assert_eq!(among(&two.to_string()).unwrap(), [1]);
        assert_eq!(among(&two.hex()[..20]).unwrap(), [1]);
        assert_eq!(among(&two.to_string()[..20].to_uppercase()).unwrap(), [1]);
        assert_eq!(among(&layers[0].digest.hex()).unwrap(), [0, 2]);
        for text in ["0", "5", "aaaaaaaaaaaa"] {
            assert!(matches!(among(text), Err(Error::NoLayer { layers: 4, .. })), "{text}");
        }
        let all = LayerChoice::Digest("sha256:".to_owned());
        assert!(matches!(all.among(&layers), Err(Error::SeveralLayers(_))));
        for text in ["", "sha256:", "top", "-1"] {
            assert!(text.parse::<LayerChoice>().is_err(), "{text}");
        }
    }
}
