//! A file system tree, with everything about it that an archive carries.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

/// All paths below a root, and what is there.
pub(crate) type Tree = BTreeMap<PathBuf, Node>;

/// One file of whatever kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Node {
    kind: &'static str,
    mode: u32,
    owner: (u32, u32),
    modified: i64,
    device: u64,
    /// A file's content, a link's target.
    content: Vec<u8>,
    attributes: BTreeMap<String, Vec<u8>>,
    /// The first path of the same file, if it has several.
    same_as: Option<PathBuf>,
}

impl Node {
    /// What it is, and a file's content or a link's target.
    pub(crate) fn content(&self) -> (&'static str, &[u8], Option<&Path>) {
        (self.kind, &self.content, self.same_as.as_deref())
    }

    /// The content, if it is a file.
    pub(crate) fn file(&self) -> Option<&[u8]> {
        (self.kind == "file").then_some(&*self.content)
    }
}

/// Reads what is below `root`.
pub(crate) fn read(root: &Path) -> Tree {
    let mut tree = Tree::new();
    let mut first = BTreeMap::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let node = node(&path);
            if node.kind == "directory" {
                folders.push(path.clone());
            }
            let short = path.strip_prefix(root).unwrap().to_path_buf();
            tree.insert(short, node);
        }
    }
    for (path, node) in &mut tree {
        let metadata = fs::symlink_metadata(root.join(path)).unwrap();
        if metadata.nlink() > 1 && node.kind != "directory" {
            let first = first.entry(metadata.ino()).or_insert_with(|| path.clone());
            node.same_as = Some(first.clone());
        }
    }
    tree
}

fn node(path: &Path) -> Node {
    let metadata = fs::symlink_metadata(path).unwrap();
    let kind = metadata.file_type();
    let (kind, content) = match () {
        () if kind.is_dir() => ("directory", Vec::new()),
        () if kind.is_symlink() => {
            ("symbolic link", fs::read_link(path).unwrap().into_os_string().into_encoded_bytes())
        }
        () if kind.is_file() => ("file", fs::read(path).unwrap()),
        () if kind.is_char_device() => ("character device", Vec::new()),
        () if kind.is_block_device() => ("block device", Vec::new()),
        () if kind.is_fifo() => ("pipe", Vec::new()),
        () => ("socket", Vec::new()),
    };
    Node {
        kind,
        mode: metadata.mode() & 0o7777,
        owner: (metadata.uid(), metadata.gid()),
        modified: metadata.mtime(),
        device: metadata.rdev(),
        content,
        attributes: attributes(path),
        same_as: None,
    }
}

fn attributes(path: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut names = vec![0; 64 << 10];
    let length = rustix::fs::llistxattr(path, &mut names).unwrap();
    let names = names[..length].split(|&byte| byte == 0).filter(|name| !name.is_empty());
    names
        .map(|name| {
            let name = String::from_utf8(name.to_vec()).unwrap();
            let mut value = vec![0; 64 << 10];
            let length = rustix::fs::lgetxattr(path, name.as_str(), &mut value).unwrap();
            value.truncate(length);
            (name, value)
        })
        .collect()
}

/// Fails with the paths that differ, rather than with two whole trees.
#[track_caller]
pub(crate) fn assert_same(left: &Tree, right: &Tree) {
    let paths = left.keys().chain(right.keys());
    let mut differing: Vec<_> = paths.filter(|path| left.get(*path) != right.get(*path)).collect();
    differing.dedup();
    let shown: Vec<_> = differing.iter().map(|path| (path, left.get(*path), right.get(*path))).collect();
    assert!(shown.is_empty(), "{shown:#?}");
}
