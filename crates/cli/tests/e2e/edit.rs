//! `edit config`, `manifest` and `fs`: what comes through standard input takes the place of what is there.

use serde_json::Value;
use testkit::{Cli, DockerRegistry, images};

use crate::crane::both;
use crate::edits::on_both;
use crate::support::{assert_empty, refused};

fn config(cli: &Cli, name: &str) -> String {
    cli.hoist(["config", name]).run().success()
}

#[test]
fn a_configuration_byte_for_byte() {
    let (cli, registry) = (Cli::new(), DockerRegistry::plain());
    registry.push(&images::single(), "web", "1");
    registry.push(&images::eight_platforms(), "web", "all");
    let name = |tag: &str| format!("{}/web:{tag}", registry.address());
    // White space, order and numbers as they are typed.
    let typed = config(&cli, &name("1")).replacen('{', "{ \"x\": 1.10,\n ", 1) + "\n";
    let edit = cli.hoist(["edit", "config", &name("1"), "-t", &name("2")]).stdin(typed.clone()).run();
    assert_eq!(edit.success(), format!("{}\n", name("2")));
    assert_eq!(config(&cli, &name("2")), typed);
    cli.hoist(["validate", &name("2")]).run().success();

    // Of an index, that of one platform; the others stay what they are.
    let before = cli.hoist(["manifest", &name("all")]).run().success();
    let arm = ["--platform", "linux/arm64", "config", &name("all")];
    let typed = cli.hoist(arm).run().success().replacen('{', "{\"x\":1,", 1);
    let words = ["--platform", "linux/arm64", "edit", "config", &name("all")];
    cli.hoist(words).stdin(typed.clone()).run().success();
    assert_eq!(cli.hoist(arm).run().success(), typed);
    let digests = |manifest: &str| -> Vec<Value> {
        let manifest: Value = serde_json::from_str(manifest).unwrap();
        manifest["manifests"].as_array().unwrap().iter().map(|entry| entry["digest"].clone()).collect()
    };
    let after = cli.hoist(["manifest", &name("all")]).run().success();
    let (before, after) = (digests(&before), digests(&after));
    let changed = before.iter().zip(&after).filter(|(before, after)| before != after).count();
    assert_eq!((before.len(), after.len(), changed), (8, 8, 1));

    let broken = cli.hoist(["edit", "config", &name("1")]).stdin("no JSON").run();
    refused(&cli, &broken, "cannot be edited");
    assert_eq!(
        cli.hoist(["digest", &name("1")]).run().success().trim_end(),
        images::single().manifest.digest
    );
}

#[test]
fn a_manifest_as_crane_writes_it() {
    let (cli, registry) = (Cli::new(), DockerRegistry::plain());
    registry.push(&images::single(), "web", "1");
    let name = |tag: &str| format!("{}/web:{tag}", registry.address());
    let typed = cli.hoist(["manifest", &name("1")]).run().success().replacen('{', "{ ", 1);
    let results = ["crane", "hoist"].map(|who| {
        let words = ["edit", "manifest", &name("1"), "-t", &name(who)];
        let program = if who == "crane" { cli.peer(who, words) } else { cli.hoist_as("crane", words) };
        program.stdin(typed.clone()).run().success().replace(who, "WHO")
    });
    assert_eq!(results[0], results[1]);
    assert_eq!(cli.hoist(["manifest", &name("hoist")]).run().success(), typed);
    let [crane, hoist] = both(&cli, &["edit", "manifest", &name("none")]);
    assert_eq!(crane.status.code(), hoist.status.code());
    let broken = cli.hoist(["edit", "manifest", &name("1")]).stdin("[]").run();
    refused(&cli, &broken, "is not valid");
}

#[test]
fn a_file_in_a_layer_of_its_own() {
    let (cli, registry) = (Cli::new(), DockerRegistry::plain());
    registry.push(&images::eight_platforms(), "web", "1");
    let name = |tag: &str| format!("{}/web:{tag}", registry.address());
    let amd64 = cli.hoist(["--platform", "linux/amd64", "digest", "--full-ref", &name("1")]).run().success();
    let listed = |tag: &str, file: &str| {
        cli.shell(&format!("hoist export {} - | tar tv {file}", name(tag))).run().success()
    };
    let read = |tag: &str, file: &str| {
        cli.shell(&format!("hoist export {} - | tar xO {file}", name(tag))).run().success()
    };
    let old = listed("1", "etc/motd");
    let words = ["edit", "fs", amd64.trim_end(), "-f", "/etc/motd", "-t", &name("2")];
    cli.hoist(words).stdin("new\n").run().success();
    assert_eq!(read("2", "etc/motd"), "new\n");
    // Mode and owner are those of the file that was there.
    assert_eq!(listed("2", "etc/motd")[..10], old[..10]);
    let words = ["edit", "fs", &name("2"), "--filename", "opt/tool", "--compression", "zstd"];
    cli.hoist(words).stdin("#!/bin/sh\n").run().success();
    assert!(listed("2", "opt/tool").starts_with("-r-xr-xr-x"));
    let layers = cli.hoist(["manifest", &name("2"), "--jq", ".layers[-1].mediaType"]).run().success();
    assert!(layers.trim_end().ends_with("zstd"), "{layers}");
    cli.hoist(["validate", &name("2")]).run().success();
    // Of an index, the image for linux/amd64; the tag stays an index.
    cli.hoist(["edit", "fs", &name("1"), "-f", "etc/motd"]).stdin("all\n").run().success();
    assert_eq!(read("1", "etc/motd"), "all\n");
    let count = cli.hoist(["manifest", &name("1"), "--jq", ".manifests | length"]).run().success();
    assert_eq!(count, "8\n");
    let directory = cli.hoist(["edit", "fs", &name("2"), "-f", "etc"]).stdin("x").run();
    refused(&cli, &directory, "not a regular file");
}

#[test]
fn in_an_editor_where_there_is_a_terminal() {
    on_both(|cli, registry| {
        registry.push(&images::single(), "web", "1");
        let name = registry.name("web:1");
        // It sees the text, puts another file in its place as editors do, and is a terminal's program.
        cli.script(
            "editor",
            "#!/bin/sh\n[ -t 0 ] && [ \"$1\" = --wait ] || exit 9\n\
             sed \"s/layer 1/in $(basename \"$2\")/\" \"$2\" > \"$2~\" && mv \"$2~\" \"$2\"\n",
        );
        cli.script("quitter", "#!/bin/sh\necho lost > \"$1\"; exit 3\n");
        let run = |editor: &str, words: &str| {
            cli.shell(&format!("script -qfec 'hoist edit {words}' log")).env("EDITOR", editor).run()
        };
        let edited = run("editor --wait", &format!("config {name} -t {name}-new")).success();
        assert!(edited.contains(&format!("{name}-new\r\n")), "{edited}");
        let changed = config(cli, &format!("{name}-new"));
        assert_eq!(changed.replace("in config.json", "layer 1"), config(cli, &name));
        assert_ne!(changed, config(cli, &name));

        run("editor --wait", &format!("fs {name} -f etc/motd -t {name}-fs")).success();
        run("editor --wait", &format!("manifest {name} -t {name}-same")).success();
        let digest = |name: &str| cli.hoist(["digest", name]).run().success();
        assert_eq!(digest(&format!("{name}-same")), digest(&name));

        // Who leaves the editor with an error, or has none, changes nothing.
        let before = digest(&name);
        for (editor, cause) in [("quitter", "nothing was changed"), ("none-such", "starting none-such")] {
            let outcome = run(editor, &format!("config {name}"));
            assert_eq!(outcome.status.code(), Some(1), "{outcome}");
            assert!(outcome.stdout().contains(cause), "{outcome}");
            assert_eq!(digest(&name), before);
        }
        assert_empty(&cli.tmp());
    });
}
