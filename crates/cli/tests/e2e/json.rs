//! `--json` and `--jq`.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use testkit::images::Graph;
use testkit::{Cli, HoistServer, images};

use crate::support::{refused, refused_midway, serving, until};

/// A server with an image of eight platforms.
fn eight() -> (HoistServer, String) {
    let server = serving(&images::eight_platforms(), "demo/web", "1");
    let name = format!("{}/demo/web:1", server.address());
    (server, name)
}

#[test]
fn expressions_mean_what_they_mean_to_jq() {
    let (_server, name) = eight();
    let cli = Cli::new();
    let raw = cli.hoist(["manifest", &name]).run();
    assert_eq!(raw.stderr(), "");
    for expression in [
        ".",
        ".mediaType, .schemaVersion",
        ".manifests[].platform | .os + \"/\" + .architecture",
        "[.manifests[] | {(.platform.architecture): .digest}] | add",
        ".manifests | map(.size) | add, length, min, max, (add / length | floor)",
        ".manifests | group_by(.platform.architecture) | map({a: .[0].platform.architecture, n: length})",
        ".manifests | sort_by(.digest) | .[0].digest | split(\":\")",
        ".manifests[] | select(.platform.architecture | test(\"^arm\")) | .platform.variant // \"none\"",
        "[paths] | length",
        "to_entries | map(.key) | join(\",\")",
        ".manifests[0] | with_entries(select(.value | type == \"string\"))",
        "del(.manifests) | tojson",
        ".manifests[] | [.platform.architecture, .size, true, null] | @tsv, @csv, @sh, @html, @json",
        "reduce .manifests[] as $m (0; . + $m.size) | ., -., . / 4, . % 7",
        "[limit(3; .manifests[].digest)] | map(@base64) | map(@base64d) | .[0][:14]",
        "[.manifests[].digest | ascii_upcase | ltrimstr(\"SHA256:\") | .[0:8]] | unique | length",
        "def f($x): . + $x; [1, 2] | map(f(10)), first, last, any(. > 1), all(. > 1), index(2)",
        "[.manifests[] | .platform | has(\"variant\")] | [., (map(not))] | transpose | .[0]",
        ".manifests as [$a, $b] | $a.platform.architecture, ($b | .platform | keys)",
        "try error(\"x\") catch ., (.a.b.c | not), (.manifests[99] | tostring), ([] | add)",
        "[.. | strings] | length, ([\"\\u00e9\\u0007\\u007f\\\"\"] | .[0], .)",
        "\"\\(.schemaVersion) \\(1 + 1)\", ([1, 2.5] | tostring), (\"1 2\" | [scan(\"[0-9]\")]), (\"a,b\" | split(\",\"))",
        "1767225600 | todate, gmtime[0], strftime(\"%Y-%m-%d\")",
        "[range(0; 10; 3)], [3, 1, 2 | . * 1.5], (1e3 | sqrt | floor), infinite, nan, ([nan] | sort)",
        "{} | .a = 1 | .b |= 2 | .c += 3 | ., (to_entries | from_entries), ([tostream] | length)",
        "input_line_number? // 0 | empty",
        "label $out | 1, 2, break $out, 3",
        "[.manifests[].size] | tojson | fromjson | . == sort | type",
        "walk(if type == \"object\" then del(.digest, .size) else . end) | .manifests[0]",
        "getpath([\"manifests\", 0, \"platform\"]) | ., (.os | explode | implode | ascii_downcase)",
    ] {
        let ours = cli.hoist(["manifest", "--jq", expression, &name]).run();
        let jq = cli.peer("jq", ["-r", expression]).stdin(raw.stdout.clone()).run();
        assert_eq!(ours.success(), jq.success(), "{expression}");
        assert_eq!(ours.stderr(), "", "{expression}");
    }
    // The environment is empty, local time is not.
    let environment =
        cli.hoist(["manifest", "--jq", "env, $ENV | tojson", &name]).env("SECRET", "hunter2").run();
    assert_eq!(environment.success(), "{}\n{}\n");
    let local =
        |zone| cli.hoist(["manifest", "--jq", "0 | localtime[3]", &name]).env("TZ", zone).run().success();
    assert_eq!((local("UTC"), local("Asia/Tokyo")), ("0\n".to_owned(), "9\n".to_owned()));
}

#[test]
fn numbers_keep_their_digits() {
    let server = HoistServer::start();
    let manifest = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[],"n":[1.10,12345678901234567890,1E400]}"#;
    let client = server.client();
    let headers = [("content-type", "application/vnd.oci.image.index.v1+json")];
    let reply = client.send("PUT", "/v2/demo/numbers/manifests/1", &headers, manifest.as_bytes());
    assert_eq!(reply.status, 201, "{}", reply.text());
    let name = format!("{}/demo/numbers:1", server.address());
    let cli = Cli::new();
    assert_eq!(cli.hoist(["manifest", &name]).run().success(), manifest);
    let digits = cli.hoist(["manifest", "--jq", ".n[]", &name]).run().success();
    assert_eq!(digits, "1.10\n12345678901234567890\n1E400\n");
    let nested = cli.hoist(["manifest", "--jq", "{n}", &name]).run().success();
    assert_eq!(nested, "{\n  \"n\": [\n    1.10,\n    12345678901234567890,\n    1E400\n  ]\n}\n");
}

#[test]
fn deeply_nested_documents_are_read_or_refused() {
    let server = HoistServer::start();
    let cli = Cli::new();
    let media_type = "application/vnd.oci.image.index.v1+json";
    for (tag, depth) in [("deep", 100_usize), ("deeper", 20_000), ("deepest", 1_900_000)] {
        let (open, close) = ("[".repeat(depth), "]".repeat(depth));
        let index =
            format!(r#"{{"schemaVersion":2,"mediaType":"{media_type}","manifests":[],"x":{open}{close}}}"#);
        let path = format!("/v2/demo/nested/manifests/{tag}");
        let reply = server.client().send("PUT", &path, &[("content-type", media_type)], index.as_bytes());
        let name = format!("{}/demo/nested:{tag}", server.address());
        let run = |expression: &str| cli.hoist(["manifest", "--jq", expression, &name]).run();
        if reply.status != 201 {
            assert_eq!(tag, "deepest", "{}", reply.text());
            refused(&cli, &run("."), "MANIFEST_UNKNOWN");
            continue;
        }
        match tag {
            "deep" => assert_eq!(run("[.x | recurse] | length").success(), "100\n"),
            "deeper" => {
                assert_eq!(run(".schemaVersion").success(), "2\n");
                refused(&cli, &run(".x"), "nested more than 1000 levels deep");
            }
            _ => drop(refused(&cli, &run(".schemaVersion | [.] | .[0]"), "--jq")),
        }
    }
}

#[test]
fn a_typing_error_costs_no_request() {
    let (server, name) = eight();
    let cli = Cli::new();
    let (repository, before) = (name.trim_end_matches(":1"), server.accesses().len());
    let verbs = [
        vec!["manifest", &name],
        vec!["config", &name],
        vec!["digest", &name],
        vec!["ls", repository],
        vec!["catalog", server.address()],
        vec!["referrers", &name],
    ];
    for verb in verbs {
        for (expression, cause) in [
            (".a |", r#"--jq ".a |": term was expected where the expression ends (at character 4)"#),
            ("\n.a\n| foo(1)", r#"--jq "\n.a\n| foo(1)": foo/1 is not defined (at character 6)"#),
            ("", r#"--jq "": term was expected where the expression ends (at character 0)"#),
        ] {
            let text = refused(&cli, &cli.hoist(verb.clone()).arg("--jq").arg(expression).run(), cause);
            assert_eq!(text, format!("Error: {cause}\n"));
        }
    }
    let deep = "(".repeat(100_000);
    refused(&cli, &cli.hoist(["ls", repository, "--jq", &deep]).run(), "--jq");
    assert_eq!(server.accesses().len(), before, "nothing was asked");
}

#[test]
fn an_expression_fails_as_in_jq() {
    let (_server, name) = eight();
    let cli = Cli::new();
    let run = |expression: &str| cli.hoist(["manifest", "--jq", expression, &name]).run();
    for (expression, out, cause) in [
        (".schemaVersion, .schemaVersion.x", "2\n", "cannot index 2 with \"x\""),
        ("1, error(\"no\\nway\"), 2", "1\n", "no way"),
        ("error({a: 1})", "", "{\"a\":1}"),
        ("\"why\" | halt_error", "", "why"),
        ("1, halt(3), 2", "1\n", "halted with 3"),
        ("input", "", "No more inputs"),
        // What would end the process that does it.
        ("1, (def f: 1 + f; f)", "", "recurses too deeply"),
        ("reduce range(2000000) as $i (0; [.]) | tojson", "", "recurses too deeply"),
        ("reduce range(5000) as $i (0; [.])", "", "nested more than 1000 levels deep"),
    ] {
        let outcome = run(expression);
        let text = refused_midway(&cli, &outcome, cause);
        assert!(text.starts_with("Error: --jq ") && text.lines().count() == 1, "{text}");
        assert_eq!(outcome.stdout(), out, "{expression}");
    }
    assert_eq!(run("1, halt, 2").success(), "1\n");
    assert_eq!(run("reduce range(100000) as $i (0; [.]) | flatten").success(), "[\n  0\n]\n");
    assert_eq!(run("last(range(100000))").success(), "99999\n");
    let notes = run(".schemaVersion | debug | (\"x\" | stderr)");
    assert_eq!((notes.success(), notes.stderr()), ("x\n".to_owned(), "[\"DEBUG:\",2]\nx\n".to_owned()));
}

#[test]
fn endless_output_ends_with_its_reader() {
    let (_server, name) = eight();
    let cli = Cli::new();
    for expression in ["repeat(1)", "range(1e18)", "def f: 1, f; f"] {
        let line =
            format!("hoist manifest --jq '{expression}' {name} | head -n 2 | wc -l; echo ${{PIPESTATUS[0]}}");
        let outcome = cli.shell(&line).run();
        assert_eq!(
            (outcome.success(), outcome.stderr()),
            ("2\n0\n".to_owned(), String::new()),
            "{expression}"
        );
    }
}

#[test]
fn what_never_ends_is_ended() {
    let (_server, name) = eight();
    let cli = Cli::new();
    let mut running = cli.hoist(["manifest", "--jq", "1 | debug | def f: f; f", &name]).start();
    running.await_stderr("DEBUG");
    let children = format!("/proc/{0}/task/{0}/children", running.id());
    let child = fs::read_to_string(&children).unwrap().trim().to_owned();
    assert!(Path::new("/proc").join(&child).join("exe").exists(), "{child:?} evaluates");
    running.terminate();
    running.wait().failure(143);
    let process = format!("/proc/{child}");
    until("the evaluation is gone", || !Path::new(&process).exists());
}

#[test]
fn documents_of_the_verbs() {
    let (server, name) = eight();
    server.push(&images::single(), "demo/web", "2");
    let cli = Cli::new();
    let repository = name.trim_end_matches(":1");
    let json = |arguments: &[&str]| -> Value {
        let outcome = cli.hoist(arguments).arg("--json").run();
        serde_json::from_str(&outcome.success()).unwrap()
    };
    assert_eq!(json(&["ls", repository]), json!({"repository": repository, "tags": ["1", "2"]}));
    let full = json!({"repository": repository, "tags": [format!("{repository}:2")]});
    assert_eq!(json(&["ls", "--full-ref", "--filter", "2", repository]), full);
    assert_eq!(json(&["ls", "--filter", "3", repository]), json!({"repository": repository, "tags": []}));

    let index: Graph = images::eight_platforms();
    let document = json(&["digest", &name]);
    assert_eq!(document["mediaType"], index.json()["mediaType"]);
    let digest = document["digest"].as_str().unwrap();
    assert_eq!(document["reference"], format!("{repository}@{digest}"));
    let raw = cli.hoist(["manifest", &name]).run();
    assert_eq!(document["size"], raw.stdout.len());
    assert_eq!(document.get("platform"), None);
    let arm = json(&["digest", "--platform", "linux/arm64", &name]);
    let entries = index.json()["manifests"].as_array().unwrap().clone();
    let entry = entries.iter().find(|entry| entry["platform"]["architecture"] == "arm64").unwrap();
    assert_eq!((&arm["digest"], &arm["size"]), (&entry["digest"], &entry["size"]));
    assert_eq!(arm["platform"], json!({"os": "linux", "architecture": "arm64"}));

    let through = |arguments: &[&str]| cli.hoist(arguments).run().success();
    assert_eq!(through(&["digest", "--jq", ".digest", &name]), format!("{digest}\n"));
    assert_eq!(through(&["ls", "--jq", ".tags[]", repository]), "1\n2\n");
    assert_eq!(through(&["ls", "--json", "--jq", ".tags | length", repository]), "2\n");
    assert_eq!(through(&["config", "--jq", ".architecture", &name]), "amd64\n");
    assert_eq!(through(&["catalog", "--jq", ".repositories[0]", server.address()]), "demo/web\n");
}
