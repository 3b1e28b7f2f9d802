//! What refers to an image: attached by oras, on a registry that keeps the list and on one that does not.

use std::fs;

use serde_json::Value;
use testkit::{Cli, DockerRegistry, HoistServer, images};

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
