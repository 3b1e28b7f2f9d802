//! What refers to an image: attached by oras, on a registry that keeps the list and on one that does not.

use std::fs;

use serde_json::{Value, json};
use testkit::{Answer, Cli, DockerRegistry, FaultRegistry, HoistServer, Route, images};

use crate::support::{logged, refused};

const SBOM: &str = "application/vnd.example.sbom+json";
const SIGNATURE: &str = "application/vnd.example.signature";

fn attach(cli: &Cli, name: &str, artifact_type: &str, more: &[&str]) {
    fs::write(cli.work().join("note.txt"), "a note").unwrap();
    let attach = ["attach", "--plain-http", "--artifact-type", artifact_type, name, "note.txt"];
    cli.peer("oras", attach.iter().chain(more)).run().success();
}

/// What oras finds, by digest.
fn discovered(cli: &Cli, name: &str) -> Vec<String> {
    let json = cli.peer("oras", ["discover", "--plain-http", "--format", "json", name]).run().success();
    let json: Value = serde_json::from_str(&json).unwrap();
    let referrers = json["referrers"].as_array().or(json["manifests"].as_array()).unwrap();
    let mut digests: Vec<String> =
        referrers.iter().map(|referrer| referrer["digest"].as_str().unwrap().to_owned()).collect();
    digests.sort();
    digests
}

fn sorted(lines: &str) -> Vec<String> {
    let mut lines: Vec<String> = lines.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

fn attached_by_oras(address: &str, via: &str) {
    let cli = Cli::new();
    let name = format!("{address}/demo/web:1");
    images::eight_platforms().push(&testkit::Client::new(address), "demo/web", "1");
    attach(&cli, &name, SBOM, &[]);
    attach(&cli, &name, SIGNATURE, &[]);
    let hoist = |arguments: &[&str]| cli.hoist(["referrers", &name]).args(arguments).run();

    let all = hoist(&[]);
    let rows: Vec<String> = sorted(&all.success());
    let digests = discovered(&cli, &name);
    assert_eq!(digests.len(), 2);
    let cells: Vec<Vec<&str>> = rows.iter().map(|row| row.split_whitespace().collect()).collect();
    for (row, digest) in cells.iter().zip(&digests) {
        assert_eq!(row[0], digest);
        assert!([SBOM, SIGNATURE].contains(&row[1]), "{row:?}");
        let size = cli.hoist(["manifest", &format!("{address}/demo/web@{digest}")]).run().success().len();
        assert_eq!(row[2..4], [&size.to_string(), "B"]);
        // oras writes when.
        assert!(row[4].starts_with("20") && row[4].ends_with('Z'), "{row:?}");
    }
    // The columns stand below each other.
    assert_eq!(rows[0].find(" B "), rows[1].find(" B "));

    let subject = images::eight_platforms().manifest.digest;
    let expected: &[String] = &[format!(
        "{address}/demo/web keeps no list of referrers; this is that of tag {}",
        subject.replace(':', "-")
    )];
    assert_eq!(logged(&all.stderr()), if via == "tag" { expected } else { &[] });

    // By digest the same; by type and in part.
    let by_digest = format!("{address}/demo/web@{subject}");
    assert_eq!(sorted(&cli.hoist(["referrers", &by_digest]).run().success()), rows);
    let sboms = hoist(&["--artifact-type", SBOM]).success();
    assert!(sboms.lines().count() == 1 && sboms.contains(SBOM), "{sboms}");
    let none = hoist(&["--artifact-type", "application/vnd.example.none"]);
    assert_eq!(none.success(), "");
    let told = format!("nothing is known that refers to {address}/demo/web@{subject}");
    assert_eq!(logged(&none.stderr()).last(), Some(&told));
    assert_eq!(hoist(&["--limit", "1"]).success().lines().count(), 1);

    let json: Value = serde_json::from_str(&hoist(&["--json"]).success()).unwrap();
    assert_eq!((json["subject"].as_str(), json["via"].as_str()), (Some(subject.as_str()), Some(via)));
    let referrers = json["referrers"].as_array().unwrap();
    assert_eq!(referrers.len(), 2);
    for referrer in referrers {
        assert!(digests.contains(&referrer["digest"].as_str().unwrap().to_owned()));
        assert_eq!(referrer["mediaType"], "application/vnd.oci.image.manifest.v1+json");
        assert!(referrer["annotations"]["org.opencontainers.image.created"].is_string());
    }

    // A child has referrers of its own.
    let platform = ["--platform", "linux/arm64"];
    assert_eq!(hoist(&platform).success(), "");
    attach(&cli, &name, SIGNATURE, &platform);
    let of_child = hoist(&platform).success();
    assert_eq!(of_child.lines().count(), 1);
    assert!(!rows.iter().any(|row| row == of_child.trim_end()));
    assert_eq!(sorted(&hoist(&[]).success()), rows);

    refused(
        &cli,
        &cli.hoist(["referrers", &format!("{address}/demo/web:missing")]).run(),
        "MANIFEST_UNKNOWN",
    );
}

#[test]
fn a_registry_that_keeps_the_list() {
    attached_by_oras(HoistServer::start().address(), "api");
}

#[test]
fn a_registry_that_does_not() {
    attached_by_oras(DockerRegistry::plain().address(), "tag");
}

/// A registry that does not keep the list gets one with the copy, which oras finds and adds to.
#[test]
fn a_copied_signature_is_found() {
    let (cli, from, to) = (Cli::new(), HoistServer::start(), DockerRegistry::plain());
    let [source, destination] = [from.address(), to.address()].map(|address| format!("{address}/demo/web"));
    images::eight_platforms().push(&from.client(), "demo/web", "1");
    attach(&cli, &format!("{source}:1"), SBOM, &[]);
    attach(&cli, &format!("{source}:1"), SIGNATURE, &["--annotation", "by=me"]);
    let image = format!("{destination}:1");
    cli.hoist(["cp", &format!("{source}:1"), &image]).run().success();
    let attached = discovered(&cli, &format!("{source}:1"));
    for digest in &attached {
        let outcome =
            cli.hoist(["cp", &format!("{source}@{digest}"), &format!("{destination}@{digest}")]).run();
        outcome.success();
    }
    assert_eq!(discovered(&cli, &image), attached);
    let list = cli.hoist(["referrers", "--json", &image]).run().success();
    let list: Value = serde_json::from_str(&list).unwrap();
    let here = cli.hoist(["referrers", "--json", &format!("{source}:1")]).run().success();
    let here: Value = serde_json::from_str(&here).unwrap();
    assert_eq!((list["via"].as_str(), here["via"].as_str()), (Some("tag"), Some("api")));
    let entries = |list: &Value| {
        let mut entries: Vec<String> =
            list["referrers"].as_array().unwrap().iter().map(Value::to_string).collect();
        entries.sort();
        entries
    };
    assert_eq!(entries(&list), entries(&here), "as a registry that keeps the list has them");
    attach(&cli, &image, SIGNATURE, &[]);
    assert_eq!(discovered(&cli, &image).len(), 3);
}

/// A registry that does not keep the list gets one without what is deleted, for oras too.
fn deleted_one_by_one(address: &str) {
    let cli = Cli::new();
    let image = format!("{address}/demo/web:1");
    images::single().push(&testkit::Client::new(address), "demo/web", "1");
    for artifact_type in [SBOM, SIGNATURE, SIGNATURE] {
        attach(
            &cli,
            &image,
            artifact_type,
            &["--annotation", &format!("of={}", discovered(&cli, &image).len())],
        );
    }
    let mut left = discovered(&cli, &image);
    assert_eq!(left.len(), 3);
    while let Some(digest) = left.pop() {
        let outcome = cli.hoist(["delete", &format!("{address}/demo/web@{digest}")]).run();
        assert_eq!(outcome.success(), "");
        let deleted = format!("deleted manifest {address}/demo/web@{digest}, which had no tag");
        assert_eq!(logged(&outcome.stderr()), [deleted]);
        assert_eq!(discovered(&cli, &image), left);
    }
    assert_eq!(cli.hoist(["referrers", &image]).run().success(), "");
}

#[test]
fn a_deleted_signature_is_listed_no_more() {
    deleted_one_by_one(DockerRegistry::plain().address());
}

#[test]
fn a_deleted_signature_is_listed_no_more_by_the_registry() {
    deleted_one_by_one(HoistServer::start().address());
}

#[test]
fn what_cannot_be_deleted_or_read() {
    const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
    let cli = Cli::new();
    let registry = FaultRegistry::start();
    let manifest = |mut members: Value| {
        members["mediaType"] = IMAGE.into();
        members["layers"] = json!([]);
        let bytes = members.to_string().into_bytes();
        let digest = oci::Algorithm::Sha256.digest(&bytes);
        registry.put_manifest("demo/web", &digest.to_string(), IMAGE, &bytes);
        (digest, bytes.len())
    };
    let (subject, size) = manifest(json!({}));
    let (signature, length) =
        manifest(json!({"subject": {"mediaType": IMAGE, "digest": subject, "size": size}}));
    let tag = subject.fallback_tag();
    let list = json!({"manifests": [{"mediaType": IMAGE, "digest": signature, "size": length}]}).to_string();
    let index = "application/vnd.oci.image.index.v1+json";
    registry.put_manifest("demo/web", tag.as_str(), index, list.as_bytes());
    let entries = || {
        let list: Value =
            serde_json::from_slice(&registry.manifest("demo/web", tag.as_str()).unwrap()).unwrap();
        list["manifests"].as_array().unwrap().len()
    };
    let name = format!("{}/demo/web@{signature}", registry.address());

    // It stays, and so does its entry; what is not listed is not listed for that.
    registry.on(Route::new("DELETE", "*").times(2), Answer::error(405, "UNSUPPORTED", "deletion is off"));
    refused(&cli, &cli.hoist(["delete", &name]).run(), "UNSUPPORTED: deletion is off");
    assert!(registry.manifest("demo/web", &signature.to_string()).is_some());
    assert_eq!(entries(), 1);
    registry.put_manifest("demo/web", tag.as_str(), index, br#"{"manifests":[]}"#);
    refused(&cli, &cli.hoist(["delete", &name]).run(), "UNSUPPORTED: deletion is off");
    assert_eq!(entries(), 0);
    registry.put_manifest("demo/web", tag.as_str(), index, list.as_bytes());

    // It goes, and nobody knows where it is listed.
    let path = format!("/v2/demo/web/manifests/{signature}");
    registry.on(Route::get(&path), Answer::error(403, "DENIED", "not yours"));
    let outcome = cli.hoist(["delete", &name]).run();
    outcome.success();
    let warning = "is gone, but may still be listed as what refers to its subject: fetching manifest";
    assert!(outcome.stderr().contains(warning), "{outcome}");
    assert!(registry.manifest("demo/web", &signature.to_string()).is_none());
    assert_eq!(entries(), 1);
}
