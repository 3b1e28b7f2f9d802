//! What a transfer shows of itself: on a terminal, in a log, and to programs.

use std::collections::HashMap;

use serde_json::Value;
use testkit::images::{self, Graph};
use testkit::{Answer, Cli, FaultRegistry, HoistServer, Invocation, Outcome, Route, peers};

use crate::support::{logged, refused, serving};

/// A copy from a registry with faults, of an image whose layer is large; what it runs, and both ends.
fn faulty(bytes: usize) -> (FaultRegistry, HoistServer, Graph, [String; 2]) {
    let (registry, server) = (FaultRegistry::start(), HoistServer::start());
    let graph = images::large(bytes);
    registry.put("demo/web", "1", &graph);
    let ends = [registry.address(), server.address().to_owned()].map(|host| format!("{host}/demo/web:1"));
    (registry, server, graph, ends)
}

/// The objects of a command's standard error, each checked to be what every object is.
#[track_caller]
fn objects(outcome: &Outcome) -> Vec<Value> {
    let objects: Vec<Value> =
        outcome.stderr().lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    for object in &objects {
        assert_eq!(object["v"], 1, "{object}");
        assert!(object["event"].is_string(), "{object}");
        assert!(object["time"].as_str().unwrap().ends_with('Z'), "{object}");
    }
    objects
}

fn of<'a>(objects: &'a [Value], event: &str) -> Vec<&'a Value> {
    objects.iter().filter(|object| object["event"] == event).collect()
}

fn sum(objects: &[&Value], field: &str) -> u64 {
    objects.iter().map(|object| object[field].as_u64().unwrap()).sum()
}

/// Runs on a terminal of its own; what is drawn is standard output then.
fn on_terminal(cli: &Cli, line: &str) -> Invocation {
    cli.shell("hoist version").run().success();
    let path = format!("{}/bin:/usr/local/bin:/usr/bin:/bin", cli.home().display());
    let script = cli.command(&peers::path("script"), ["-q", "-e", "-c", line, "/dev/null"]);
    script.env("PATH", path).env("TERM", "xterm")
}

#[test]
fn objects_add_up() {
    let graph = images::eight_platforms();
    let server = serving(&graph, "demo/web", "1");
    let other = HoistServer::start();
    let cli = Cli::new();
    let mut sizes = HashMap::new();
    graph.visit(&mut |graph| {
        sizes.extend(graph.blobs.iter().map(|b| (b.digest.clone(), b.bytes.len() as u64)));
    });
    let (count, bytes) = (sizes.len() as u64, sizes.values().sum::<u64>());
    let from = format!("{}/demo/web:1", server.address());
    let copy = |to: &str| {
        let outcome = cli.hoist(["cp", "--progress", "json", &from, to]).run();
        assert_eq!(outcome.success(), "");
        let objects = objects(&outcome);
        assert_eq!(objects.last().unwrap()["event"], "summary", "{outcome}");
        assert_eq!(objects.last().unwrap()["complete"], true, "{outcome}");
        objects
    };

    // Everything moves.
    let all = copy(&format!("{}/demo/web:1", other.address()));
    assert_eq!(of(&all, "note")[0]["message"].as_str().unwrap().split(' ').next(), Some("Copying"));
    let (planned, done) = (of(&all, "planned"), of(&all, "done"));
    assert_eq!((sum(&planned, "blobs"), sum(&planned, "bytes"), sum(&planned, "kept")), (count, bytes, 0));
    let moved: HashMap<String, u64> = done
        .iter()
        .map(|object| (object["digest"].as_str().unwrap().to_owned(), object["size"].as_u64().unwrap()))
        .collect();
    assert_eq!(moved, sizes);
    assert_eq!(of(&all, "started").len(), done.len());
    let summary = &all.last().unwrap();
    assert_eq!((&summary["bytes"]["moved"], &summary["blobs"]["moved"]), (&bytes.into(), &count.into()));
    assert_eq!(summary["bytes"]["retried"], 0);
    assert_eq!(of(&all, "manifest").len() as u64, summary["manifests"]["written"].as_u64().unwrap());

    // The registry has it elsewhere.
    let mounted = copy(&format!("{}/demo/other:1", server.address()));
    assert_eq!(sum(&of(&mounted, "mounted"), "size"), bytes);
    let summary = &mounted.last().unwrap();
    assert_eq!((&summary["bytes"]["mounted"], &summary["blobs"]["mounted"]), (&bytes.into(), &count.into()));
    assert_eq!(summary["bytes"]["moved"], 0);

    // It is there.
    let there = copy(&format!("{}/demo/web:1", other.address()));
    assert_eq!(of(&there, "manifest")[0]["existed"], true);
    assert_eq!(there.last().unwrap()["manifests"]["existed"], 1);
}

#[test]
fn blobs_that_are_there_are_told() {
    let graph = images::single();
    let server = serving(&graph, "demo/web", "1");
    let other = FaultRegistry::start();
    for blob in &graph.blobs {
        other.put_blob("demo/web", &blob.digest, &blob.bytes);
    }
    let [from, to] = [server.address(), &other.address()].map(|host| format!("{host}/demo/web:1"));
    let outcome = Cli::new().hoist(["cp", "--progress=json", &from, &to]).run();
    outcome.success();
    let objects = objects(&outcome);
    let bytes: u64 = graph.blobs.iter().map(|blob| blob.bytes.len() as u64).sum();
    assert_eq!(sum(&of(&objects, "existed"), "size"), bytes);
    assert_eq!(objects.last().unwrap()["bytes"]["existed"], bytes);
}

#[test]
fn objects_tell_what_goes_wrong() {
    let (registry, _server, graph, [from, to]) = faulty(4 << 20);
    let blob = &graph.blobs[1];
    let path = format!("/v2/demo/web/blobs/{}", blob.digest);
    registry.on(Route::get(&path).times(1), Answer::stored().cut_after(1 << 20));
    let cli = Cli::new();
    let outcome = cli.hoist(["cp", "--progress=json", &from, &to]).run();
    outcome.success();
    let all = objects(&outcome);
    let retried = of(&all, "retried");
    assert!(
        !retried.is_empty() && retried[0]["reason"].as_str().unwrap().contains(&blob.digest),
        "{outcome}"
    );
    let bytes = &all.last().unwrap()["bytes"];
    let bytes = |name: &str| bytes[name].as_u64().unwrap();
    assert_eq!(bytes("moved") + bytes("resumed") - bytes("retried"), sum(&of(&all, "done"), "size"));

    // What ends a command is an object too, and the last.
    let missing = cli.hoist(["cp", "--progress=json", &from.replace(":1", ":nope"), &to]).run();
    missing.failure(1);
    let all = objects(&missing);
    let [.., summary, error] = &all[..] else { panic!("{missing}") };
    assert_eq!((&summary["event"], &summary["complete"]), (&"summary".into(), &false.into()));
    assert_eq!(error["event"], "error");
    assert!(error["message"].as_str().unwrap().contains("nope"), "{missing}");
    assert!(error["hints"][0].as_str().unwrap().contains("hoist ls"), "{missing}");
}

#[test]
fn advances_are_few_and_whole() {
    let (registry, _server, graph, [from, to]) = faulty(4 << 20);
    let blob = &graph.blobs[1];
    let path = format!("/v2/demo/web/blobs/{}", blob.digest);
    registry.on(Route::get(&path).times(1), Answer::stored().silent_after(1 << 20));
    let cli = Cli::new();
    let outcome = cli.hoist(["cp", "--progress=json", &from, &to]).env("HOIST_STALL_SECONDS", "2").run();
    outcome.success();
    let all = objects(&outcome);
    let of_blob: Vec<&Value> =
        of(&all, "advanced").into_iter().filter(|object| object["digest"] == *blob.digest).collect();
    // Two seconds of silence are at least one tick, and of the pieces of 1 MiB hardly any has a line of its own.
    assert!(!of_blob.is_empty() && of_blob.len() < 16, "{outcome}");
    let mut at = 0;
    for object in of_blob {
        at += object["bytes"].as_u64().unwrap();
        assert_eq!((&object["at"], &object["size"]), (&at.into(), &blob.bytes.len().into()), "{outcome}");
    }
}

#[test]
fn a_host_that_asks_to_wait_is_told_once() {
    for (form, expected) in [("plain", " asks to wait 1 s"), ("json", "\"event\":\"limited\"")] {
        let (registry, _server, _, [from, to]) = faulty(1 << 10);
        let answer = Answer::error(429, "TOOMANYREQUESTS", "slow down").header("Retry-After", "1");
        registry.on(Route::get("/v2/demo/web/blobs/*").times(2), answer);
        let outcome = Cli::new().hoist(["cp", "--progress", form, &from, &to]).run();
        outcome.success();
        let told =
            outcome.stderr().lines().filter(|line| line.contains(expected) && !line.contains("retr")).count();
        // Both blobs are refused; on a busy machine the second after the wait of the first.
        assert!((1..=2).contains(&told), "{outcome}");
    }
}

#[test]
fn nothing_is_told_when_nothing_is_to_be() {
    let (_registry, _server, _, [from, to]) = faulty(1 << 10);
    let cli = Cli::new();
    let outcome = cli.hoist(["--progress", "none", "cp", &from, &to]).run();
    assert_eq!((outcome.success(), outcome.stderr()), (String::new(), String::new()));
    let missing = cli.hoist(["--progress", "none", "cp", &from.replace(":1", ":nope"), &to]).run();
    refused(&cli, &missing, "nope");
}

#[test]
fn lines_are_crane_s_where_there_is_no_terminal() {
    let (_registry, _server, graph, [from, to]) = faulty(1 << 10);
    let cli = Cli::new();
    for (number, form) in ["auto", "bars", "plain"].into_iter().enumerate() {
        let to = to.replace("/demo/web", &format!("/demo/web{number}"));
        let outcome = cli.hoist(["cp", "--no-cache", "--progress", form, &from, &to]).run();
        outcome.success();
        let mut lines = logged(&outcome.stderr());
        lines[1..3].sort();
        let mut blobs: Vec<String> =
            graph.blobs.iter().map(|blob| format!("pushed blob: {}", blob.digest)).collect();
        blobs.sort();
        let manifest = &graph.manifest;
        let last = format!("{to}: digest: {} size: {}", manifest.digest, manifest.bytes.len());
        assert_eq!(lines, [vec![format!("Copying from {from} to {to}")], blobs, vec![last]].concat());
    }
}

#[test]
fn bars_on_a_terminal() {
    let (registry, _server, graph, [from, to]) = faulty(4 << 20);
    let blob = &graph.blobs[1];
    let path = format!("/v2/demo/web/blobs/{}", blob.digest);
    let silent = |verb: &str| match verb {
        // It reads a first MiB, and then the rest.
        "export" => registry.on(Route::get(&path).after(1).times(1), Answer::stored().silent_after(0)),
        _ => registry.on(Route::get(&path).times(1), Answer::stored().silent_after(1 << 20)),
    };
    let cli = Cli::new();
    let short = &blob.digest["sha256:".len()..][..12];
    let expected = [short, "1.0 MiB of 4.0 MiB", "total", "━"];
    for (verb, rest) in [("cp", &*to), ("export", "image.tar"), ("validate", "")] {
        silent(verb);
        let outcome =
            on_terminal(&cli, &format!("hoist {verb} {from} {rest}")).env("HOIST_STALL_SECONDS", "2").run();
        let drawn = outcome.success();
        for text in expected {
            assert!(drawn.contains(text), "{text} of {outcome}");
        }
        assert!(drawn.contains("retrying in"), "{outcome}");
    }
    // Other forms draw nothing, and neither does a terminal that cannot.
    for (form, terminal) in [("plain", "xterm"), ("json", "xterm"), ("none", "xterm"), ("auto", "dumb")] {
        let line = format!("hoist validate --progress {form} {from}");
        let drawn = on_terminal(&cli, &line).env("TERM", terminal).run().success();
        assert!(!drawn.contains('━') && !drawn.contains("total"), "{form} on {terminal}: {drawn}");
    }
}

#[test]
fn nobody_has_to_listen() {
    let (_registry, _server, _, [from, to]) = faulty(1 << 20);
    let cli = Cli::new();
    for (number, form) in ["auto", "bars", "json"].into_iter().enumerate() {
        let to = to.replace("/demo/web", &format!("/demo/web{number}"));
        let closed = format!("hoist cp --no-cache --progress {form} {from} {to} 2>&-; echo $?");
        assert_eq!(cli.shell(&closed).run().success(), "0\n");
        let to = to.replace("/demo/web", "/demo/piped");
        let piped = format!(
            "hoist cp --no-cache --progress {form} {from} {to} 2>&1 >/dev/null | true; echo ${{PIPESTATUS[0]}}"
        );
        assert_eq!(cli.shell(&piped).run().success(), "0\n");
        assert!(cli.hoist(["digest", &to]).run().success().starts_with("sha256:"));
    }
}
