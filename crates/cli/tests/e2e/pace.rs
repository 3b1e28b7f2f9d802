//! How much moves at once is found out, and a registry that wants to be left alone is.

use std::time::Duration;

use testkit::images::{Image, Layer};
use testkit::{Answer, Cli, DockerRegistry, FaultRegistry, Route};

/// An image of many small layers.
fn many(layers: usize) -> testkit::images::Graph {
    Image::new((0..layers).map(|n| Layer::new().file("n", format!("layer {n}")))).build()
}

#[test]
fn it_settles_at_what_a_registry_takes() {
    let (source, destination) = (DockerRegistry::plain(), FaultRegistry::start());
    source.push(&many(300), "demo/many", "1");
    destination.limit(6, Duration::from_millis(60));
    let cli = Cli::new();
    let from = format!("{}/demo/many:1", source.address());
    cli.hoist(["cp", &from, &format!("{}/demo/many:1", destination.address())]).run().success();
    let load = destination.load();
    let refused = load.iter().filter(|(_, refused)| *refused).count();
    assert!(refused * 20 < load.len(), "{refused} of {} refused", load.len());
    // The first third is spent on finding out.
    let settled = &load[load.len() / 3..load.len() - load.len() / 10];
    // Of requests that begin together the first sees nobody, the second one: the most that a dozen saw is how many there are at once.
    let most: Vec<_> =
        settled.chunks(12).filter_map(|dozen| dozen.iter().map(|(active, _)| active).max()).collect();
    let mean = most.iter().copied().sum::<usize>() * 10 / most.len();
    assert!((45..=70).contains(&mean), "about {mean} tenths at once");
}

#[test]
fn a_third_of_all_requests_is_refused_and_all_arrives() {
    let (source, destination) = (FaultRegistry::start(), FaultRegistry::start());
    let image = many(60);
    source.put("demo/many", "1", &image);
    for registry in [&source, &destination] {
        let busy = Answer::error(429, "TOOMANYREQUESTS", "slow down").header("Retry-After", "1");
        registry.on(Route::any().every(3).times(12), busy);
    }
    let cli = Cli::new();
    let [from, to] = [&source, &destination].map(|registry| format!("{}/demo/many:1", registry.address()));
    let outcome = cli.hoist(["cp", &from, &to]).patience(Duration::from_mins(5)).run();
    outcome.success();
    assert!(outcome.stderr().contains("429"), "{}", outcome.stderr());
    for blob in &image.blobs {
        assert!(destination.blob("demo/many", &blob.digest).is_some(), "{}", blob.digest);
    }
}

#[test]
fn jobs_are_a_ceiling() {
    let (source, destination) = (DockerRegistry::plain(), FaultRegistry::start());
    source.push(&many(40), "demo/many", "1");
    destination.limit(100, Duration::from_millis(5));
    let cli = Cli::new();
    let from = format!("{}/demo/many:1", source.address());
    let to = format!("{}/demo/many:1", destination.address());
    cli.hoist(["cp", "-j", "3", &from, &to]).run().success();
    let most = destination.load().iter().map(|(active, _)| *active).max().unwrap();
    assert!((2..=3).contains(&most), "{most} at once");
}

#[test]
fn a_dry_run_shows_the_plan_and_writes_nothing() {
    let (source, destination) = (DockerRegistry::plain(), FaultRegistry::start());
    let image = many(5);
    source.push(&image, "demo/many", "1");
    destination.put_blob("demo/many", &image.blobs[1].digest, &image.blobs[1].bytes);
    let cli = Cli::new();
    let from = format!("{}/demo/many:1", source.address());
    let to = format!("{}/demo/many:1", destination.address());
    let plan = cli.hoist(["cp", "--dry-run", &from, &to]).run().success();
    assert_eq!(plan.lines().filter(|line| line.starts_with("move ")).count(), 5, "{plan}");
    assert!(plan.lines().last().unwrap().starts_with("5 blobs, "), "{plan}");
    let moved = cli.hoist(["cp", "--dry-run", "--jq", ".blobs | length", &from, &to]).run().success();
    assert_eq!(moved, "5\n");
    for method in ["POST", "PUT", "PATCH", "DELETE"] {
        assert_eq!(destination.count(method, "*"), 0);
    }
    cli.hoist(["cp", &from, &to]).run().success();
    let again = cli.hoist(["cp", "--dry-run", &from, &to]).run().success();
    assert!(again.contains("already"), "{again}");
    let refused = cli.hoist(["cp", "-n", "--dry-run", &from, &to]).run();
    let copied = cli.hoist(["cp", "-n", &from, &to]).run();
    assert!(!refused.status.success() && !copied.status.success());
    assert_eq!(refused.stderr().lines().last(), copied.stderr().lines().last());
}

#[test]
fn a_dry_run_of_all_tags_counts_each_blob_once() {
    let (source, destination) = (DockerRegistry::plain(), DockerRegistry::plain());
    let (five, three) = (many(5), many(3));
    for (image, tag) in [(&five, "1"), (&five, "1.2"), (&three, "0")] {
        source.push(image, "demo/many", tag);
    }
    destination.push(&three, "demo/many", "0");
    let cli = Cli::new();
    let from = format!("{}/demo/many", source.address());
    let to = format!("{}/demo/many", destination.address());
    let plan = cli.hoist(["cp", "-a", "--dry-run", &from, &to]).run().success();
    let summary = plan.lines().last().unwrap();
    assert!(summary.starts_with("2 tags, 1 are there, 0 skipped: "), "{plan}");
    // Each tag's own; the images have no others.
    assert!(summary.contains("; 2 manifests; "), "{plan}");
    let moves = plan.lines().filter(|line| line.starts_with("move ")).count();
    let json = cli.hoist(["cp", "-an", "--dry-run", "--json", &from, &to]).run().success();
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["skipped"], serde_json::json!(["0"]));
    assert_eq!(json["tags"][1]["root"]["digest"], *five.manifest.digest);
    assert_eq!(json["blobs"].as_array().unwrap().len(), moves);
    let copied = cli.hoist(["cp", "-a", &from, &to]).run();
    let copied = copied.stderr();
    assert_eq!(copied.matches("pushed blob: ").count(), moves, "{copied}");
}

#[test]
fn what_makes_no_sense_is_said() {
    let cli = Cli::new();
    for (arguments, cause) in [
        (&["cp", "--bwlimit", "fast", "a", "b"][..], "bytes a second"),
        (&["cp", "--bwlimit", "0", "a", "b"], "nothing would ever arrive"),
        (&["cp", "--json", "localhost:1/a", "localhost:1/b"], "no result"),
    ] {
        let outcome = cli.hoist(arguments).run();
        assert!(!outcome.status.success());
        assert!(outcome.stderr().contains(cause), "{arguments:?}: {}", outcome.stderr());
    }
}
