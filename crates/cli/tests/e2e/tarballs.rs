//! Archives where crane takes the path of one: `digest --tarball`, `validate --tarball`, `export -`.

use std::fs;

use serde_json::Value;
use testkit::images::{Image, Layer};
use testkit::{Cli, DockerRegistry, HoistServer, images};

use crate::crane::{assert_equal, both};
use crate::support::{refused, refused_export, serving};

/// A server with images, and archives of them that crane wrote: `single.tar`, `other.tar`, and `both.tar` with both.
fn pulled() -> (Cli, HoistServer, [String; 2]) {
    let (cli, server) = (Cli::new(), serving(&images::single(), "demo/web", "single"));
    server.push(&Image::new([Layer::new().file("other", "x")]).build(), "demo/web", "other");
    let names = ["single", "other"].map(|tag| format!("{}/demo/web:{tag}", server.address()));
    for (tag, name) in ["single", "other"].iter().zip(&names) {
        cli.peer("crane", ["pull", name, &format!("{tag}.tar")]).run().success();
    }
    cli.peer("crane", ["pull", &names[0], &names[1], "both.tar"]).run().success();
    (cli, server, names)
}

#[test]
fn digests_as_crane_gives_them() {
    let (cli, _server, [single, other]) = pulled();
    for arguments in [
        &["digest", "--tarball", "single.tar"][..],
        &["digest", "--tarball=other.tar"],
        &["digest", "--tarball", "both.tar", &single],
        &["digest", &other, "--tarball", "both.tar"],
        &["--platform", "all", "digest", "--tarball", "single.tar"],
        // Which of two, one that is not there, and what is no archive.
        &["digest", "--tarball", "both.tar"],
        &["digest", "--tarball", "single.tar", &other],
        &["digest", "--tarball", "nothing.tar"],
        &["digest", "--full-ref", "--tarball", "single.tar"],
    ] {
        assert_equal(&cli, arguments);
    }
    // So what crane pushes from there has the digest that hoist told before.
    let registry = DockerRegistry::plain();
    let pushed = format!("{}/demo/web:1", registry.address());
    cli.peer("crane", ["push", "single.tar", &pushed]).run().success();
    let digest = cli.hoist(["digest", &pushed]).run().success();
    assert_eq!(cli.hoist(["digest", "--tarball", "single.tar"]).run().success(), digest);
    cli.hoist(["cp", "docker-archive:single.tar", &pushed.replace(":1", ":2")]).run().success();
    assert_eq!(cli.hoist(["digest", &pushed.replace(":1", ":2")]).run().success(), digest);
}

/// What hoist wrote has its manifest with it; crane makes another.
#[test]
fn digests_that_an_archive_keeps() {
    let (cli, _server, [single, _]) = pulled();
    cli.hoist(["cp", &single, "docker-archive:own.tar"]).run().success();
    let [crane, hoist] = both(&cli, &["digest", "--tarball", "own.tar"]);
    assert_ne!(crane.success(), hoist.success());
    assert_eq!(hoist.stdout().trim_end(), images::single().manifest.digest);
    for line in [
        "gzip -k own.tar && hoist digest --tarball own.tar.gz",
        "zstd -q own.tar && hoist digest --tarball own.tar.zst",
        "cat own.tar.gz | hoist digest --tarball -",
        "mv own.tar with:colon && hoist digest --tarball with:colon",
    ] {
        assert_eq!(cli.shell(line).run().success(), hoist.stdout(), "{line}");
    }
}

#[test]
fn several_digests() {
    let (cli, server, [single, other]) = pulled();
    let docker = DockerRegistry::plain();
    docker.push(&images::eight_platforms(), "demo/web", "1");
    let eight = format!("{}/demo/web:1", docker.address());
    let names = [single.as_str(), &eight, &other, &single];
    let run = |arguments: &[&str], names: &[&str]| cli.hoist(arguments).args(names).run();
    let one_by_one =
        |arguments: &[&str]| names.iter().map(|name| run(arguments, &[name]).success()).collect::<String>();
    for arguments in [&["digest"][..], &["digest", "--full-ref"]] {
        assert_eq!(run(arguments, &names).success(), one_by_one(arguments));
    }
    let documents: Vec<Value> = names
        .iter()
        .map(|name| serde_json::from_str(&run(&["digest", "--json"], &[name]).success()).unwrap())
        .collect();
    let all: Value = serde_json::from_str(&run(&["digest", "--json"], &names).success()).unwrap();
    assert_eq!(all, Value::from(documents));
    assert_eq!(
        run(&["digest", "--jq", ".[].digest"], &names).success(),
        one_by_one(&["digest", "--jq", ".digest"])
    );
    let many = vec![single.as_str(); 60];
    assert_eq!(run(&["digest"], &many).success(), run(&["digest"], &[&single]).success().repeat(60));

    // In one archive, by their names and tags.
    let inside = run(&["digest", "--tarball", "both.tar"], &["other", &single]).success();
    let alone = |tar: &str| run(&["digest", "--tarball", tar], &[]).success();
    assert_eq!(inside, alone("other.tar") + &alone("single.tar"));

    // What comes before an image that is not there is told, and nothing behind it.
    let missing = format!("{}/demo/web:nothing", server.address());
    let outcome = run(&["digest"], &[&single, &missing, &other]);
    assert!(outcome.failure(1).contains("nothing"), "{outcome}");
    assert_eq!(outcome.stdout(), run(&["digest"], &[&single]).success());
    refused(&cli, &run(&["digest", "--json"], &[&single, &missing]), "nothing");
    // What cannot be meant costs no request.
    let before = server.accesses().len();
    refused(&cli, &run(&["digest"], &[&single, "a b"]), "could not parse reference");
    refused(&cli, &run(&["digest", "--tarball", "both.tar"], &["other", "third"]), "it has no image third");
    refused(&cli, &run(&["digest"], &[]), "<IMAGE>");
    assert_eq!(server.accesses().len(), before);
}

#[test]
fn validation_as_crane_does_it() {
    let (cli, _server, [single, other]) = pulled();
    for arguments in [
        &["validate", "--tarball", "single.tar"][..],
        &["validate", "--fast", "--tarball", "other.tar"],
        &["validate", "--tarball", "other.tar", "--remote", &single],
        &["validate", "--remote", &other, "--tarball", "single.tar", "--fast"],
        &["validate", "--tarball", "nothing.tar"],
        &["validate", "--tarball", "nothing.tar", "--remote", &single],
        &["validate", "--tarball", "both.tar"],
        &["validate", "--tarball", "single.tar", "--remote", &single.replace("single", "nothing")],
    ] {
        assert_equal(&cli, arguments);
    }
    let outcome = cli.hoist(["validate", "--tarball", "single.tar", &other]).run();
    assert_eq!(outcome.success(), format!("PASS: single.tar\nPASS: {other}\n"));
    let outcome = cli.hoist(["validate", "--json", "--tarball", "single.tar", &other]).run();
    let documents: Value = serde_json::from_str(&outcome.success()).unwrap();
    let names: Vec<&str> =
        documents.as_array().unwrap().iter().filter_map(|of| of["reference"].as_str()).collect();
    assert!(names[0].starts_with("docker-archive:single.tar") && names[1] == other, "{names:?}");
    refused(&cli, &cli.hoist(["validate", "--tarball", "single.tar", "a b"]).run(), "could not parse");

    // A layer that is another, under its old name: what is wrong in one does not hide the other.
    let line = "mkdir x && tar xf single.tar -C x && for f in x/*.tar.gz; do printf x >> $f; done && tar cf bad.tar -C x $(ls x)";
    cli.shell(line).run().success();
    let [crane, hoist] = both(&cli, &["validate", "--tarball", "bad.tar", "--remote", &single]);
    assert!(crane.failure(1).contains("Error: ") && crane.stdout().starts_with("FAIL: bad.tar: "), "{crane}");
    assert!(hoist.failure(1).contains("Error: bad.tar is not valid"), "{hoist}");
    let stdout = hoist.stdout();
    assert!(stdout.starts_with("FAIL: bad.tar: layer 1 sha256:"), "{hoist}");
    assert!(stdout.ends_with(&format!("\nPASS: {single}\n")), "{hoist}");
}

#[test]
fn exports_from_standard_input() {
    let (cli, server, [single, _]) = pulled();
    let expected = cli.hoist(["export", &single]).run().stdout;
    let saved = || fs::read(cli.work().join("single.tar")).unwrap();
    let listed = |tar: &[u8]| cli.peer("tar", ["tv"]).stdin(tar).run().success();
    let theirs = cli.peer("crane", ["export", "-", "-"]).stdin(saved()).run();
    theirs.success();
    assert_eq!(listed(&theirs.stdout).lines().count(), listed(&expected).lines().count());
    let ours = cli.hoist_as("crane", ["export", "-", "-"]).stdin(saved()).run();
    ours.success();
    assert!(ours.stdout == expected);

    cli.hoist(["cp", &single, "oci-archive:oci.tar"]).run().success();
    cli.hoist(["cp", &single, "docker-archive:own.tar"]).run().success();
    server.push(&images::eight_platforms(), "demo/web", "eight");
    let eight = format!("{}/demo/web:eight", server.address());
    cli.hoist(["cp", &eight, "oci-archive:eight.tar"]).run().success();
    cli.shell("gzip -k own.tar && zstd -q oci.tar").run().success();
    for line in [
        "hoist export - < single.tar",
        "hoist export - - < oci.tar",
        "cat own.tar.gz | hoist export -",
        "hoist export - < oci.tar.zst",
        "hoist export - out.tar < own.tar && cat out.tar",
        "hoist export - '' < own.tar",
    ] {
        assert!(cli.shell(line).run().stdout == expected, "{line}");
    }
    let arm = cli.shell("hoist export --platform linux/arm64 - < eight.tar").run().stdout;
    assert!(arm == cli.hoist(["export", "--platform=linux/arm64", &eight]).run().stdout);

    let cut = cli.shell("head -c 1500 single.tar | hoist export -").run();
    refused_export(&cli, &cut, "no tar archive");
    refused_export(&cli, &cli.hoist(["export", "-"]).stdin("").run(), "it has no image");
    refused_export(&cli, &cli.shell("hoist export - < both.tar").run(), "say which tag is meant");
    refused(&cli, &cli.shell("hoist export - never.tar < both.tar").run(), "say which tag is meant");
    assert!(!cli.work().join("never.tar").exists());
}
