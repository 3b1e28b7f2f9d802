//! What fuzzing has found, without a fuzzer: the tests of each crate run its properties over the corpus that is kept.

use std::fs;
use std::panic::catch_unwind;
use std::path::Path;

/// Runs a target's property over every file of its corpus.
pub(crate) fn replay(target: &str, property: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let files = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let paths: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    assert!(!paths.is_empty(), "{} is empty", folder.display());
    for path in paths {
        let input = fs::read(&path).unwrap();
        // What is wrong has been said by the panic; here it gets its place.
        assert!(catch_unwind(|| property(&input)).is_ok(), "{} breaks the property", path.display());
    }
}
