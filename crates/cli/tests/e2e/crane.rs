//! hoist in the place of crane: the same standard output and exit codes, side by side.

use testkit::{Cli, DockerRegistry, HoistServer, Outcome, images};

use crate::support::{is_log, kinds, logged};

/// Both programs with the same arguments.
pub(crate) fn both(cli: &Cli, arguments: &[&str]) -> [Outcome; 2] {
    [cli.peer("crane", arguments).run(), cli.hoist_as("crane", arguments).run()]
}

#[track_caller]
pub(crate) fn assert_equal(cli: &Cli, arguments: &[&str]) {
    let [crane, hoist] = both(cli, arguments);
    assert_eq!(crane.status.code(), hoist.status.code(), "{arguments:?}\n{crane}\n{hoist}");
    assert_eq!(crane.stdout, hoist.stdout, "{arguments:?}\n{crane}\n{hoist}");
    if !crane.status.success() {
        assert!(hoist.stderr().starts_with("Error: "), "{hoist}");
    }
}

#[test]
fn reading_verbs() {
    let registry = DockerRegistry::plain();
    for (kind, graph) in kinds() {
        registry.push(&graph, "demo/web", kind);
    }
    registry.push(&images::artifact(), "demo/web", &images::single().manifest.digest.replace(':', "-"));
    let cli = Cli::new();
    let web = format!("{}/demo/web", registry.address());
    let name = |tag: &str| format!("{web}:{tag}");
    let (eight, single) = (name("eight"), name("single"));
    let by_digest = format!("{web}@{}", images::single().manifest.digest);
    let blob = format!("{web}@{}", images::single().blobs[1].digest);
    for arguments in [
        &["ls", &web][..],
        &["ls", "-O", &web],
        &["ls", "--omit-digest-tags", &web],
        &["ls", "--full-ref", &web],
        &["ls", "--full-ref", "-O", &web],
        &["ls", &format!("{web}/nothing")],
        &["blob", &blob],
        &["manifest", &by_digest],
        &["digest", &by_digest],
        &["digest", "--full-ref", &by_digest],
        // Flags stand before and behind the verb and its arguments.
        &["--platform", "linux/arm64", "digest", &eight],
        &["digest", &eight, "--platform", "linux/arm64"],
        &["digest", "--platform=linux/386", "--platform=linux/arm/v7", &eight],
        &["digest", "--insecure=true", &eight],
        &["digest", "--insecure=false", &eight],
        &["digest", "--insecure", &eight],
        &["digest", "--full-ref", "--platform", "linux/s390x", &eight],
        &["digest", "--platform", "all", &eight],
        &["digest", "--platform", "linux/riscv64", &eight],
        &["digest", "--platform", "linux/amd64", &single],
        &["manifest", "--platform", "linux/arm/v5", &eight],
        &["config", "--platform", "linux/mips64le", &eight],
        &["config", "--platform", "linux/riscv64", &eight],
        // What is no verb, no flag, no argument.
        &["no-such-verb"],
        &["ls", "--no-such-flag", &web],
        &["ls"],
        &["cp", &web],
        &["manifest", &name("no-such-tag")],
        &["digest", &name("no-such-tag")],
        &["blob", &name("single")],
    ] {
        assert_equal(&cli, arguments);
    }
    for (kind, _) in kinds() {
        assert_equal(&cli, &["digest", &name(kind)]);
        assert_equal(&cli, &["digest", "--full-ref", &name(kind)]);
        assert_equal(&cli, &["manifest", &name(kind)]);
        if kind != "nested" {
            assert_equal(&cli, &["config", &name(kind)]);
        }
    }
}

#[test]
fn exports_list_the_same() {
    let registry = DockerRegistry::plain();
    let cli = Cli::new();
    for (kind, graph) in [("eight", images::eight_platforms()), ("docker", images::docker_schema2())] {
        registry.push(&graph, "demo/web", kind);
        let name = format!("{}/demo/web:{kind}", registry.address());
        let [crane, hoist] = both(&cli, &["export", &name, "-"]);
        // The order differs, for parents come first here; and directories have a slash at their end, as `tar` writes them.
        let listed = |archive: Outcome| {
            archive.success();
            let list = cli.peer("tar", ["tv"]).stdin(archive.stdout).run().success();
            let mut lines: Vec<String> =
                list.lines().map(|line| line.trim_end_matches('/').to_owned()).collect();
            lines.sort();
            lines
        };
        assert_eq!(listed(crane), listed(hoist));
    }
}

/// Log lines, blobs in any order.
fn shape(outcome: &Outcome) -> Vec<String> {
    outcome.success();
    assert_eq!(outcome.stdout(), "", "a copy prints no result");
    assert!(outcome.stderr().lines().all(is_log), "{outcome}");
    let mut lines = logged(&outcome.stderr());
    // First comes what is done, last the tag; what is between has no order.
    let end = lines.len() - 1;
    if let Some(middle) = lines.get_mut(1..end) {
        middle.sort();
    }
    lines
}

#[test]
fn copies_say_the_same() {
    let cli = Cli::new();
    let copies = |with: &dyn Fn(&[&str]) -> Outcome| {
        // Each has registries of its own: what is there already is told too.
        let (docker, hoist) = (DockerRegistry::plain(), HoistServer::start());
        docker.push(&images::eight_platforms(), "demo/web", "1");
        docker.push(&images::single(), "demo/web", "2");
        let docker_name = |rest: &str| format!("{}/demo/{rest}", docker.address());
        let hoist_name = |rest: &str| format!("{}/demo/{rest}", hoist.address());
        let mut shapes = Vec::new();
        for [from, to] in [
            [docker_name("web:1"), hoist_name("web:1")],
            [docker_name("web:1"), hoist_name("web:1")],
            [docker_name("web:1"), hoist_name("web:again")],
            [docker_name("web:2"), docker_name("copy")],
            [docker_name("web:2"), docker_name(&format!("copy@{}", images::single().manifest.digest))],
        ] {
            let lines = shape(&with(&["cp", &from, &to]));
            let neutral = lines
                .iter()
                .map(|line| line.replace(docker.address(), "DOCKER").replace(hoist.address(), "HOIST"));
            shapes.push(neutral.collect::<Vec<_>>());
        }
        shapes
    };
    let crane = copies(&|arguments| cli.peer("crane", arguments).run());
    let hoist = copies(&|arguments| cli.hoist_as("crane", arguments).run());
    for (crane, hoist) in crane.into_iter().zip(hoist) {
        assert_eq!(crane, hoist);
    }
}

#[test]
fn clobbering() {
    let registry = DockerRegistry::plain();
    registry.push(&images::single(), "demo/web", "1");
    registry.push(&images::zstd(), "demo/web", "2");
    registry.push(&images::eight_platforms(), "demo/copy", "1");
    let name = |rest: &str| format!("{}/demo/{rest}", registry.address());
    let cli = Cli::new();
    let [crane, hoist] = both(&cli, &["cp", "-n", &name("web:1"), &name("copy:1")]);
    let error = |outcome: Outcome| {
        let text = outcome.failure(1);
        text.lines().find(|line| line.starts_with("Error: ")).unwrap().to_owned()
    };
    let crane = error(crane);
    assert_eq!(error(hoist), crane);
    assert!(crane.contains("refusing to clobber existing tag"), "{crane}");

    // All tags, but for those that exist.
    let outcome = cli.hoist(["cp", "--all-tags", "--no-clobber", &name("web"), &name("copy")]).run();
    outcome.success();
    assert!(logged(&outcome.stderr()).iter().any(|line| line == "Skipping 1 due to no-clobber"), "{outcome}");
    let digest = |rest: &str| cli.hoist(["digest", &name(rest)]).run().success();
    assert_eq!(digest("copy:1").trim_end(), images::eight_platforms().manifest.digest);
    assert_eq!(digest("copy:2"), digest("web:2"));
    cli.hoist(["cp", "-a", &name("web"), &name("copy")]).run().success();
    assert_eq!(digest("copy:1"), digest("web:1"));
}

#[test]
fn tags() {
    let registry = DockerRegistry::plain();
    registry.push(&images::eight_platforms(), "demo/web", "1");
    let cli = Cli::new();
    let web = format!("{}/demo/web", registry.address());
    let [crane, hoist] = both(&cli, &["tag", &format!("{web}:1"), "2"]);
    assert_eq!((crane.success(), hoist.success()), (String::new(), String::new()));
    assert_eq!(logged(&crane.stderr()), logged(&hoist.stderr()));
    assert_equal(&cli, &["tag", &format!("{web}:no-such-tag"), "3"]);
    let mut tags: Vec<String> = cli.hoist(["ls", &web]).run().success().lines().map(str::to_owned).collect();
    tags.sort();
    assert_eq!(tags, ["1", "2"]);
}
