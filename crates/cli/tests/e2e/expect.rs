//! `--expect`: a tag is written only where it stands for what is expected.

use testkit::images::{self, Graph};
use testkit::{Answer, Cli, DockerRegistry, FaultRegistry, HoistServer, Route, Running};

use crate::support::{assert_empty, refused};

/// An image, and another one.
fn images() -> [Graph; 2] {
    [images::single(), images::eight_platforms()]
}

fn digests() -> [String; 2] {
    images().map(|graph| graph.manifest.digest)
}

fn digest(cli: &Cli, name: &str) -> String {
    cli.hoist(["digest", name]).run().success().trim_end().to_owned()
}

/// Moves a name by a command that ends with the image to take, `1` or `2`, under every condition.
fn under_conditions(cli: &Cli, name: &str, command: &dyn Fn(&str, &str) -> Vec<String>) {
    let [first, second] = &digests();
    let run = |image: &str, expected: &str| cli.hoist(command(image, expected)).run();
    let error = |image: &str, expected: &str, cause: &str| {
        let text = refused(cli, &run(image, expected), cause);
        let line = text.lines().find(|line| line.starts_with("Error: ")).unwrap().to_owned();
        assert_eq!(line, format!("Error: {name} {cause}; nothing was written"));
    };
    error("1", first, &format!("does not exist, and was expected to be {first}"));
    refused(cli, &cli.hoist(["digest", name]).run(), "");
    run("1", "none").success();
    assert_eq!(digest(cli, name), *first);
    error("2", "none", &format!("is {first}, and was expected not to exist"));
    error("2", second, &format!("is {first}, not the expected {second}"));
    assert_eq!(digest(cli, name), *first);
    run("1", first).success();
    run("2", first).success();
    assert_eq!(digest(cli, name), *second);
    // It is what was wanted, but nothing that was expected.
    error("2", first, &format!("is {second}, not the expected {first}"));
    assert_eq!(digest(cli, name), *second);
}

fn words(line: &str) -> Vec<String> {
    line.split(' ').map(str::to_owned).collect()
}

#[test]
fn on_registries() {
    let (cli, docker, hoist) = (Cli::new(), DockerRegistry::plain(), HoistServer::start());
    for (number, graph) in ["1", "2"].iter().zip(&images()) {
        docker.push(graph, "demo/web", number);
        hoist.push(graph, "demo/web", number);
    }
    let places = [docker.address(), hoist.address()].map(|address| format!("{address}/demo"));
    for place in &places {
        under_conditions(&cli, &format!("{place}/web:now"), &|image, expected| {
            words(&format!("tag {place}/web:{image} now --expect {expected}"))
        });
        under_conditions(&cli, &format!("{place}/web:again"), &|image, expected| {
            words(&format!("cp --expect={expected} {place}/web:{image} {place}/web:again"))
        });
        let crane = cli.peer("crane", ["digest", &format!("{place}/web:now")]).run();
        assert_eq!(crane.success().trim_end(), digests()[1]);
        for from in &places {
            let copy = if from == place { "near" } else { "far" };
            under_conditions(&cli, &format!("{place}/{copy}:1"), &|image, expected| {
                words(&format!("cp --expect {expected} {from}/web:{image} {place}/{copy}:1"))
            });
        }
    }
}

#[test]
fn in_layouts() {
    let (cli, hoist) = (Cli::new(), HoistServer::start());
    for (number, graph) in ["1", "2"].iter().zip(&images()) {
        graph.write_layout(&cli.work().join("made"), number);
        hoist.push(graph, "demo/web", number);
    }
    under_conditions(&cli, "oci:made:now", &|image, expected| {
        words(&format!("tag oci:made:{image} now --expect {expected}"))
    });
    let from = format!("{}/demo/web", hoist.address());
    under_conditions(&cli, "oci:copy:now", &|image, expected| {
        words(&format!("cp {from}:{image} oci:copy:now --expect {expected}"))
    });
    under_conditions(&cli, &format!("{}/demo/copy:now", hoist.address()), &|image, expected| {
        words(&format!("cp oci:made:{image} {}/demo/copy:now --expect {expected}", hoist.address()))
    });
}

/// Of many who write to a layout at once one comes first.
#[test]
fn one_of_many() {
    let cli = Cli::new();
    for (number, graph) in ["1", "2"].iter().zip(&images()) {
        graph.write_layout(&cli.work().join("made"), number);
    }
    for verb in ["tag oci:made:1 now", "cp oci:made:1 oci:copy:now"] {
        let writers: Vec<Running> =
            (0..10).map(|_| cli.hoist(words(verb)).args(["--expect", "none"]).start()).collect();
        let outcomes = writers.into_iter().map(Running::wait);
        assert_eq!(outcomes.filter(|outcome| outcome.status.success()).count(), 1, "{verb}");
    }
    assert_eq!(digest(&cli, "oci:copy:now"), digests()[0]);
}

/// A registry where `1` and `now` are the first image.
fn registry() -> (FaultRegistry, String) {
    let registry = FaultRegistry::start();
    let [first, second] = images();
    registry.put("demo/web", "1", &first);
    registry.put("demo/web", "2", &second);
    registry.put("demo/web", "now", &first);
    let name = format!("{}/demo/web", registry.address());
    (registry, name)
}

const NOW: &str = "/v2/demo/web/manifests/now";

/// The answer to a HEAD that says that a tag is this image.
fn stands_for(graph: &Graph) -> Answer {
    let manifest = &graph.manifest;
    Answer::status(200)
        .header("content-type", &manifest.media_type)
        .header("docker-content-digest", &manifest.digest)
        .claim_length(manifest.bytes.len() as u64)
}

#[test]
fn the_condition_goes_along() {
    let (cli, [first, _]) = (Cli::new(), digests());
    let (registry, name) = registry();
    cli.hoist(["tag", &format!("{name}:2"), "now", "--expect", &first]).run().success();
    cli.hoist(["tag", &format!("{name}:2"), "new", "--expect", "none"]).run().success();
    cli.hoist(["tag", &format!("{name}:2"), "new"]).run().success();
    let puts: Vec<_> = registry.requests().into_iter().filter(|request| request.method == "PUT").collect();
    let headers = |header: &str| -> Vec<Option<String>> {
        puts.iter().map(|request| request.header(header).map(str::to_owned)).collect()
    };
    assert_eq!(headers("if-match"), [Some(format!("\"{first}\"")), None, None]);
    assert_eq!(headers("if-none-match"), [None, Some("*".to_owned()), None]);
}

/// Somebody comes between the look and the write, and the registry says so; or it only says so.
#[test]
fn a_registry_that_heeds_the_condition() {
    let (cli, [first, second]) = (Cli::new(), digests());
    let precondition = || Answer::error(412, "DENIED", "it has changed");
    let (own, name) = registry();
    own.put("demo/web", "now", &images()[1]);
    own.on(Route::new("HEAD", NOW).times(1), stands_for(&images()[0]));
    own.on(Route::new("PUT", NOW), precondition());
    let outcome = cli.hoist(["tag", &format!("{name}:1"), "now", "--expect", &first]).run();
    let cause = format!("{name}:now is {second}, not the expected {first}; nothing was written");
    refused(&cli, &outcome, &cause);

    // The first attempt had written it, and its answer was lost.
    let (own, name) = registry();
    own.put("demo/web", "now", &images()[1]);
    own.on(Route::new("HEAD", NOW).times(1), stands_for(&images()[0]));
    own.on(Route::new("PUT", NOW), precondition());
    cli.hoist(["tag", &format!("{name}:2"), "now", "--expect", &first]).run().success();

    // It is what was expected, and refused all the same.
    let (own, name) = registry();
    own.on(Route::new("PUT", NOW), precondition());
    let outcome = cli.hoist(["tag", &format!("{name}:2"), "now", "--expect", &first]).run();
    refused(&cli, &outcome, "DENIED: it has changed");
}

/// The tag changes while blobs move: they are there then, and the tag is what it has become.
#[test]
fn a_tag_that_changes_meanwhile() {
    let (cli, [first, second]) = (Cli::new(), digests());
    let (registry, name) = registry();
    let source = HoistServer::start();
    source.push(&images::zstd(), "demo/web", "1");
    registry.put("demo/web", "now", &images()[1]);
    registry.on(Route::new("HEAD", NOW).times(1), stands_for(&images()[0]));
    let from = format!("{}/demo/web:1", source.address());
    let outcome = cli.hoist(["cp", &from, &format!("{name}:now"), "--expect", &first]).run();
    let cause = format!("{name}:now is {second}, not the expected {first}; it was left as it is");
    refused(&cli, &outcome, &cause);
    assert_eq!(registry.manifest("demo/web", "now").unwrap(), *images()[1].manifest.bytes);
    assert_eq!(registry.count("PUT", NOW), 0);

    // Whoever may not look does not write.
    let (registry, name) = self::registry();
    registry.on(Route::new("HEAD", NOW), Answer::status(403));
    registry.on(Route::get(NOW), Answer::error(403, "DENIED", "hidden"));
    for expected in ["none", &first] {
        let outcome = cli.hoist(["cp", &from, &format!("{name}:now"), "--expect", expected]).run();
        refused(&cli, &outcome, "DENIED");
    }
    assert_eq!(registry.count("P*", "*"), 0);
}

#[test]
fn what_cannot_be_expected() {
    let (cli, [first, _]) = (Cli::new(), digests());
    let (registry, name) = registry();
    images::single().write_layout(&cli.work().join("made"), "1");
    let (image, now) = (format!("{name}:1"), format!("{name}:now"));
    for (line, cause) in [
        (format!("tag {image} now --expect sha256:12"), "invalid value 'sha256:12' for '--expect <DIGEST>'"),
        (format!("cp {image} {now} --expect latest"), "invalid value 'latest' for '--expect <DIGEST>'"),
        (format!("cp -a {name} {name}/copy --expect none"), "cannot be used with '--expect <DIGEST>'"),
        (
            "cp oci:made:1 oci-archive:a.tar --expect none".to_owned(),
            "oci-archive:a.tar is written as a whole",
        ),
        (format!("cp oci:made:1 docker-archive:a.tar:x --expect {first}"), "written as a whole"),
        (
            "cp oci:made:1 dir:a --expect none".to_owned(),
            "dir:a is written as a whole, and --expect is about a tag",
        ),
        (format!("cp oci:made:1 {name}@{first} --expect none"), "is written without a tag"),
        (format!("cp oci:made@{first} oci:copy --expect none"), "oci:copy is written without a tag"),
    ] {
        let text = refused(&cli, &cli.hoist(words(&line)).run(), cause);
        assert_eq!(text.lines().filter(|line| line.starts_with("Error: ")).count(), 1, "{text}");
    }
    assert_eq!(registry.requests().len(), 0);
    let outcome = cli.hoist(["cp", "--dry-run", &image, &now, "--expect", "none"]).run();
    refused(&cli, &outcome, &format!("is {first}, and was expected not to exist"));
    cli.hoist(["cp", "--dry-run", &image, &now, "--expect", &first]).run().success();
    assert_eq!(registry.count("PUT", "*"), 0);
    std::fs::remove_dir_all(cli.work().join("made")).unwrap();
    assert_empty(&cli.work());
}
