//! The layer that makes one file system of another.

use layer::{changes, merge, write_changes};
use proptest::prelude::*;

use crate::archive::{archive, listing, scan};
use crate::oracle::entry;

/// What has to be put on the first `lower` layers, as a layer of its own.
fn on_top(archives: &[Vec<u8>], lower: usize) -> Vec<u8> {
    let tables: Vec<_> = archives.iter().map(|archive| scan(archive).unwrap()).collect();
    let (whole, lower) = (merge(&tables).unwrap(), merge(&tables[..lower]).unwrap());
    write_changes(&changes(&lower, &whole), &whole, archives, Vec::new()).unwrap()
}

fn listed(archives: &[Vec<u8>]) -> Vec<String> {
    let tables: Vec<_> = archives.iter().map(|archive| scan(archive).unwrap()).collect();
    listing(&merge(&tables).unwrap(), archives)
}

#[test]
fn what_is_written() {
    for (lower, upper, expected) in [
        // Nothing but what changed.
        (&["a/", "a/b=1", "c=2"][..], &["a/b=3"][..], &["a/b=3"][..]),
        (&["a=1"], &[], &[]),
        // What is gone is hidden at its top, and before anything else.
        (&["a/", "a/b=1", "c=1"], &[".wh.a=", "c=2"], &[".wh.a=", "c=2"]),
        (&["a/b=1"], &["a/.wh.b="], &[".wh.a="]),
        (&["a/b=1", "a/c=1"], &["a/.wh.b="], &["a/.wh.b="]),
        // What takes another's place hides it.
        (&["a/", "a/b=1"], &["a=2"], &["a=2"]),
        (&["a->b", "b/"], &[".wh.a=", "a/c=1"], &[".wh.a=", "a/c=1"]),
        // Another name of what is there.
        (&["b=1"], &["a=>b"], &["a=>b"]),
        // The content of what is not.
        (&["b=1"], &["a=>b", ".wh.b="], &[".wh.b=", "a=1"]),
    ] {
        let layers = [archive(lower), archive(upper)];
        let top = on_top(&layers, 1);
        let table = scan(&top).unwrap();
        let written: Vec<String> = table
            .entries
            .iter()
            .map(|entry| {
                let path = String::from_utf8_lossy(&entry.path).into_owned();
                match &entry.kind {
                    layer::Kind::Directory => format!("{path}/"),
                    layer::Kind::HardLink(target) => format!("{path}=>{}", String::from_utf8_lossy(target)),
                    layer::Kind::File(body) => {
                        let start = usize::try_from(body.offset).unwrap();
                        let content = &top[start..start + usize::try_from(body.size).unwrap()];
                        format!("{path}={}", String::from_utf8_lossy(content))
                    }
                    other => format!("{path} {other:?}"),
                }
            })
            .collect();
        assert_eq!(written, expected, "{lower:?} {upper:?}");
        assert_eq!(listed(&[layers[0].clone(), top]), listed(&layers), "{lower:?} {upper:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    /// Whatever the layers: those below and the new one make the same file system.
    #[test]
    fn the_file_system_stays(
        layers in proptest::collection::vec(proptest::collection::vec(entry(), 0..10), 1..5),
        lower in 0..4_usize,
    ) {
        // Entries that do not fit are left out.
        let mut good: Vec<Vec<&str>> = Vec::new();
        for layer in &layers {
            good.push(Vec::new());
            let at = good.len() - 1;
            for entry in layer {
                good[at].push(entry);
                let tables: Vec<_> = good.iter().map(|entries| scan(&archive(entries)).unwrap()).collect();
                if merge(&tables).is_err() {
                    good[at].pop();
                }
            }
        }
        let archives: Vec<_> = good.iter().map(|entries| archive(entries)).collect();
        let lower = lower.min(archives.len());
        let mut result = archives[..lower].to_vec();
        result.push(on_top(&archives, lower));
        prop_assert_eq!(listed(&result), listed(&archives), "{:?} of {:?}", lower, good);
    }
}
