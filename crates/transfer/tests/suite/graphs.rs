//! Properties of plans and copies over generated graphs.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use oci::{Descriptor, Digest, Manifest, MediaType};
use proptest::prelude::*;
use store::Store;
use transfer::{Graph, Options, Plan, Walk, plan};

use crate::images::{describe, index, put, run, tag};
use crate::place::Place;

/// One manifest of a generated graph: an image of some blobs, or an index of manifests made before it.
#[derive(Clone, Debug)]
struct Shape {
    is_index: bool,
    parts: Vec<prop::sample::Index>,
}

const BLOBS: usize = 12;

fn shapes() -> impl Strategy<Value = Vec<Shape>> {
    let parts = prop::collection::vec(any::<prop::sample::Index>(), 0..6);
    let shape = (any::<bool>(), parts).prop_map(|(is_index, parts)| Shape { is_index, parts });
    prop::collection::vec(shape, 1..14)
}

/// Which blobs, and which manifests of the graph, the destination has.
fn presence() -> impl Strategy<Value = (Vec<bool>, Vec<bool>)> {
    (prop::collection::vec(any::<bool>(), BLOBS), prop::collection::vec(prop::bool::weighted(0.2), 14))
}

fn blobs(place: &Place) -> Vec<Descriptor> {
    let content = |n: usize| vec![u8::try_from(n).unwrap(); 1 + n * 7 % BLOBS];
    (0..BLOBS).map(|n| place.inner.insert(content(n).into(), MediaType::OCI_LAYER)).collect()
}

/// Builds the graph in `place`; the last manifest is the root.
async fn build(place: &Place, shapes: &[Shape]) -> Vec<Manifest> {
    let blobs = blobs(place);
    let mut manifests: Vec<Manifest> = Vec::new();
    for (n, shape) in shapes.iter().enumerate() {
        // Repetitions are kept: lists may name a thing twice.
        let made = if shape.is_index && !manifests.is_empty() {
            let children: Vec<_> = shape.parts.iter().map(|part| ("", part.get(&manifests))).collect();
            index(&place.inner, &children).await
        } else {
            let layers: Vec<_> = shape.parts.iter().map(|part| describe(part.get(&blobs))).collect();
            put(&place.inner, format!(r#"{{"n":{n},"layers":[{}]}}"#, layers.join(","))).await
        };
        manifests.push(made);
    }
    manifests
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap()
}

/// Every step comes after what it stands on, and nothing comes twice.
fn check_order(graph: &Graph, plan: &Plan, present: &HashSet<Digest>) -> Result<(), TestCaseError> {
    let mut done: BTreeSet<Digest> = present.iter().copied().collect();
    let mut bytes = 0;
    let mut last = u64::MAX;
    for step in &plan.blobs {
        prop_assert!(done.insert(step.blob.digest), "a blob that is there, or twice");
        prop_assert!(step.blob.size <= last, "the largest first");
        last = step.blob.size;
        bytes += step.blob.size;
    }
    prop_assert_eq!(plan.bytes, bytes);
    let root = vec![graph.root];
    for wave in plan.waves.iter().chain([&root]) {
        prop_assert!(!wave.is_empty());
        for digest in wave {
            let node = &graph.manifests[digest];
            for part in node.children.iter().chain(node.blobs.iter().map(|blob| &blob.digest)) {
                prop_assert!(done.contains(part), "{} before its part {}", digest, part);
            }
        }
        for digest in wave {
            prop_assert!(done.insert(*digest), "a manifest twice");
        }
    }
    let expected = graph.manifests.len() + done.len() - plan.waves.iter().flatten().count() - 1;
    prop_assert_eq!(done.len(), expected, "all manifests are written");
    Ok(())
}

proptest! {
    #[test]
    fn plans_are_sound(shapes in shapes(), (held, _) in presence(), mounts in any::<bool>()) {
        let place = Place::new("place");
        let graph = runtime().block_on(async {
            let manifests = build(&place, &shapes).await;
            Graph::walk(&place, manifests.last().unwrap().clone(), &Walk::default()).await.unwrap()
        });
        let present: HashSet<Digest> =
            blobs(&place).iter().zip(&held).filter(|(_, held)| **held).map(|(blob, _)| blob.digest).collect();
        let origin = mounts.then(|| "here:1/a".parse().unwrap());
        let plan = plan(&graph, &present, origin.as_ref());
        prop_assert!(plan.blobs.iter().all(|step| step.origin == origin));
        check_order(&graph, &plan, &present)?;
    }

    #[test]
    fn copies_are_whole_and_move_nothing_twice(
        shapes in shapes(),
        (held, known) in presence(),
        mounts in any::<bool>(),
        refuses in any::<bool>(),
        jobs in 1_usize..5,
    ) {
        let source = Arc::new(Place::repository("here:1/a"));
        let destination = Place::repository(if mounts { "here:1/b" } else { "there:1/b" });
        let destination = Arc::new(if refuses { destination } else { destination.mounts_from(&source) });
        runtime().block_on(async {
            let manifests = build(&source, &shapes).await;
            let options = Options { jobs: jobs.try_into().unwrap(), ..Options::default() };
            // Some of it is there.
            let (before, _) = run(&source, &destination, options.clone());
            for (blob, _) in blobs(&source).iter().zip(&held).filter(|(_, held)| **held) {
                before.copy_blob(blob).await.unwrap();
            }
            for (manifest, _) in manifests.iter().zip(&known).filter(|(_, known)| **known) {
                before.copy(&manifest.digest().into(), &manifest.digest().into()).await.unwrap();
            }
            let mut had = HashSet::new();
            for blob in blobs(&source) {
                if destination.inner.contains(&blob).await.unwrap() {
                    had.insert(blob.digest);
                }
            }
            source.forget();
            destination.forget();

            let root = manifests.last().unwrap();
            let (transfer, _) = run(&source, &destination, options);
            transfer.copy(&root.digest().into(), &tag("copy")).await.unwrap();
            prop_assert_eq!(&destination.inner.manifest(&tag("copy")).await.unwrap(), root);
            // The destination refuses what is not whole; so the whole graph is there.
            let whole = Graph::walk(&destination.inner, root.clone(), &Walk::default()).await.unwrap();
            for blob in whole.manifests.values().flat_map(|node| &node.blobs) {
                prop_assert!(destination.inner.contains(blob).await.unwrap());
            }
            let mut read = HashSet::new();
            for line in source.log() {
                prop_assert!(read.insert(line.clone()), "{} twice", line);
                if let Some(digest) = line.strip_prefix("GET blob ") {
                    prop_assert!(!had.contains(&digest.parse().unwrap()), "{} was there", digest);
                }
            }
            let mut put = HashSet::new();
            for line in destination.log().into_iter().filter(|line| line.starts_with("PUT")) {
                prop_assert!(put.insert(line.clone()), "{} twice", line);
            }
            Ok(())
        })?;
    }
}
