//! What several of these tests need.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use local::Layout;
use oci::{Algorithm, Descriptor, Manifest, MediaType, Tag};
use store::{Opened, Placer, Store};
use tempfile::TempDir;

/// A layout that nothing has been written to yet.
pub(crate) fn layout() -> (TempDir, Layout) {
    let directory = tempfile::tempdir().unwrap();
    let layout = Layout::create(directory.path().join("layout")).unwrap();
    (directory, layout)
}

/// So many bytes that look like nothing in particular.
pub(crate) fn content(length: usize) -> Bytes {
    let mut state = 1_u32;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state.to_le_bytes()[0]
    };
    (0..length).map(|_| next()).collect()
}

pub(crate) fn blob(content: &[u8]) -> Descriptor {
    Descriptor::of(MediaType::OCTET_STREAM, Algorithm::Sha256, content)
}

/// A manifest that is like no other of another name.
pub(crate) fn manifest(name: &str) -> Manifest {
    let json = format!(r#"{{"schemaVersion":2,"layers":[],"annotations":{{"x":"{name}"}}}}"#);
    Manifest::new(Bytes::from(json), None).unwrap()
}

pub(crate) fn tag(text: &str) -> Tag {
    Tag::new(text).unwrap()
}

pub(crate) async fn placer(layout: &Layout, blob: &Descriptor) -> Box<dyn Placer> {
    match layout.write(blob, None).await.unwrap() {
        Opened::Placer(placer) => placer,
        opened => panic!("{opened:?}"),
    }
}

pub(crate) fn path_of(root: &Path, blob: &Descriptor) -> PathBuf {
    root.join("blobs").join(blob.digest.to_string().replace(':', "/"))
}

pub(crate) fn partial_of(root: &Path, blob: &Descriptor) -> PathBuf {
    root.join("blobs/.partial").join(blob.digest.to_string().replace(':', "-"))
}
