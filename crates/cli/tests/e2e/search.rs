//! `find` and `grep`: beside the real `tar` and `grep`, on what `export` writes.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use testkit::images::{self, Algorithm, Compression, Entry, EntryType, Graph, Image, Layer};
use testkit::{Cli, DockerRegistry, Outcome, Relay};

use crate::edits::on_both;
use crate::support::{assert_empty, is_log, refused};

const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nwww:x:33:33::/srv:\n";

/// Three layers with whatever can be searched for; the second was made by GNU tar, which knows times and names.
fn rich(cli: &Cli) -> Graph {
    let owned = |path: &str, mode, owner| Entry { mode, owner, ..Entry::at(path) };
    let kind = |path: &str, kind| Entry { kind, device: (1, 3), ..Entry::at(path) };
    let low = Layer::new()
        .directory("etc")
        .file("etc/passwd", PASSWD)
        .file("etc/group", "root:x:0:\nstaff:x:50:www\n")
        .file("etc/motd", "Welcome, one and all\none.two\n")
        .hard_link("etc/motd.link", "etc/motd")
        .symbolic_link("etc/motd.soft", "motd")
        .file("etc/hidden", "one that nobody sees\n")
        .directory("bin")
        .entry(Entry { content: b"\x7fELF\0one\n".to_vec(), ..owned("bin/su", 0o4755, (0, 0)) })
        .entry(owned("bin/wall", 0o2755, (0, 50)))
        .entry(Entry { kind: EntryType::Directory, mode: 0o2777, owner: (33, 50), ..Entry::at("srv/") })
        .entry(Entry { content: b"<p>one</p>\n".to_vec(), ..owned("srv/index.html", 0o644, (33, 33)) })
        .directory("dev")
        .entry(kind("dev/null", EntryType::Char))
        .entry(kind("dev/loop0", EntryType::Block))
        .entry(kind("dev/pipe", EntryType::Fifo));
    let made =
        "mkdir -p opt/app/conf && printf 'key = one\n' > opt/app/conf/app.conf && head -c 20000 /dev/zero |
                tr '\\0' x > opt/app/large && printf 'no line end: one' > opt/app/end &&
                tar --create --format=posix --owner=app:1000 --group=apps:1001 --mtime=@1800000000 \
                    --pax-option=delete=atime,delete=ctime --sort=name opt";
    let made = cli.shell(made).run();
    made.success();
    let middle = Layer::new().garbage(&made.stdout);
    let top = Layer::new()
        .file("etc/.wh.hidden", "")
        .file("top", b"\tone\x1b[2J\xe9 \xc3\xa9\n")
        .compression(Compression::Zstd);
    Image::new([low, middle, top]).platform("linux/amd64").build()
}

fn lines(outcome: &Outcome) -> Vec<String> {
    let mut lines: Vec<String> = outcome.success().lines().map(str::to_owned).collect();
    assert!(outcome.stderr().lines().all(is_log), "{outcome}");
    lines.sort();
    lines
}

/// What the shell prints, sorted.
fn shell(cli: &Cli, line: &str) -> Vec<String> {
    lines(&cli.shell(&format!("set -o pipefail; {line}")).run())
}

#[test]
fn find_takes_what_every_flag_says() {
    on_both(|cli, registry| {
        registry.push(&rich(cli), "web", "1");
        let name = registry.name("web:1");
        let layers = cli.hoist(["manifest", &name, "--jq", ".layers[].digest"]).run().success();
        let layers: Vec<&str> = layers.lines().collect();
        let top = layers[2];
        for (flags, found) in [
            ("--name motd*", "/etc/motd /etc/motd.link /etc/motd.soft"),
            ("--name motd --name top", "/etc/motd /top"),
            ("--path /opt/*", "/opt/app"),
            ("--path opt/**/*.conf", "/opt/app/conf/app.conf"),
            ("--path **/{su,wall}", "/bin/su /bin/wall"),
            ("--type d", "/bin /dev /etc /opt /opt/app /opt/app/conf /srv"),
            ("--type l,p", "/dev/pipe /etc/motd.soft"),
            ("--type character-device --type b", "/dev/loop0 /dev/null"),
            ("--type symlink,fifo", "/dev/pipe /etc/motd.soft"),
            ("--size +10K", "/opt/app/large"),
            ("--size +20K", ""),
            ("--size 20000", "/opt/app/large"),
            ("--size -1", "/bin/wall"),
            ("--newer 2026-01-01T00:00:00Z --type f", "/opt/app/conf/app.conf /opt/app/end /opt/app/large"),
            ("--newer 1799999999 --type f", "/opt/app/conf/app.conf /opt/app/end /opt/app/large"),
            ("--newer 1800000000", ""),
            ("--newer /etc/motd --name *.conf", "/opt/app/conf/app.conf"),
            ("--newer /opt/app", ""),
            ("--setuid", "/bin/su /bin/wall"),
            ("--owner 33", "/srv /srv/index.html"),
            ("--owner www:33", "/srv/index.html"),
            ("--owner :staff", "/bin/wall /srv"),
            ("--owner app:apps --type d", "/opt /opt/app /opt/app/conf"),
            ("--layer 3", "/top"),
            (&format!("--layer {top}"), "/top"),
            (&format!("--layer {}", &top[..20]), "/top"),
            (&format!("--layer {}", &top["sha256:".len()..]), "/top"),
            ("--layer 1 --type f --name i*", "/srv/index.html"),
            ("--name hidden", ""),
            ("--name none", ""),
        ] {
            let outcome = cli.hoist(["find", &name]).args(flags.split(' ')).run();
            assert_eq!(outcome.success().split_whitespace().collect::<Vec<_>>().join(" "), found, "{flags}");
            assert_eq!(outcome.stderr(), "", "{flags}");
        }
        let zeros = cli.hoist(["find", "-0", &name, "--name", "motd*"]).run();
        assert_eq!(zeros.success(), "/etc/motd\0/etc/motd.link\0/etc/motd.soft\0");
        assert_eq!(cli.hoist(["find", "--print0", &name, "--layer", "3"]).run().success(), "/top\0");
        let long = cli.hoist(["find", "-l", &name, "--path", "/{etc/motd.soft,bin/*,opt/app/large}"]).run();
        assert_eq!(
            long.success(),
            "-rwsr-xr-x 0:0           9 2025-01-01T00:00:00Z 1 /bin/su\n\
             -rwxr-sr-x 0:50          0 2025-01-01T00:00:00Z 1 /bin/wall\n\
             lrwxrwxrwx 0:0           0 2025-01-01T00:00:00Z 1 /etc/motd.soft -> motd\n\
             -rw-r--r-- 1000:1001 20000 2027-01-15T08:00:00Z 2 /opt/app/large\n"
        );
        let json = cli.hoist(["find", "--json", &name, "--path", "/{etc/motd.soft,opt/app/large}"]).run();
        let json: Value = serde_json::from_str(&json.success()).unwrap();
        assert_eq!(
            json,
            serde_json::json!([
                {"path": "/etc/motd.soft", "type": "symlink", "mode": "0777", "uid": 0, "gid": 0, "size": 0,
                 "time": "2025-01-01T00:00:00Z", "target": "motd", "layer": 1, "layerDigest": layers[0]},
                {"path": "/opt/app/large", "type": "file", "mode": "0644", "uid": 1000, "gid": 1001, "user": "app",
                 "group": "apps", "size": 20000, "time": "2027-01-15T08:00:00Z", "layer": 2, "layerDigest": layers[1]},
            ])
        );
        let modes = cli.hoist(["find", &name, "--setuid", "--jq", ".[].mode"]).run();
        assert_eq!(modes.success(), "4755\n2755\n");
        assert_empty(&cli.tmp());
    });
}

#[test]
fn find_finds_what_an_export_has() {
    on_both(|cli, registry| {
        registry.push(&images::eight_platforms(), "eight", "1");
        registry.push(&images::whiteouts(), "whiteouts", "1");
        registry.push(&rich(cli), "rich", "1");
        for (name, flags) in
            [("eight", ""), ("eight", "--platform linux/arm64"), ("whiteouts", ""), ("rich", "")]
        {
            let image = format!("{} {flags}", registry.name(&format!("{name}:1")));
            let files = shell(cli, &format!("hoist find {image} --type f"));
            let exported =
                format!("hoist export {image} - | tar tv | grep '^[-h]' | sed 's/ link to .*//; s|.* |/|'");
            assert_eq!(files, shell(cli, &exported), "{image}");
            assert!(!files.is_empty());
            let all = shell(cli, &format!("hoist find {image}"));
            let exported = format!("hoist export {image} - | tar t | sed 's|/$||; s|^|/|'");
            assert_eq!(all, shell(cli, &exported), "{image}");
        }
        let all = shell(cli, &format!("hoist find {}", registry.name("whiteouts:1")));
        assert_eq!(all, images::WHITEOUTS_LEAVE.map(|path| format!("/{path}")));
    });
}

#[test]
fn grep_agrees_with_grep() {
    on_both(|cli, registry| {
        registry.push(&rich(cli), "web", "1");
        registry.push(&images::whiteouts(), "whiteouts", "1");
        for image in ["web", "whiteouts"] {
            let name = registry.name(&format!("{image}:1"));
            cli.shell(&format!(
                "mkdir -p {image} && hoist export {name} - | tar x --exclude='dev/*' -C {image}"
            ))
            .run()
            .success();
            for flags in [
                "one", "-i ONE", "-w one", "-F e.t", "e.t", "-l one", "-il ONE", "^", "t[a-z]*$", "-n e",
                "-- -", "[^a-z]o", "third", "x*",
            ] {
                let theirs = format!("cd {image} && LC_ALL=C grep -rnI {flags} . | sed 's|^[.]||'");
                // It names a line's number with -l too late: never.
                assert_eq!(
                    shell(cli, &format!("hoist grep {name} {flags} || true")),
                    shell(cli, &format!("{theirs} || true")),
                    "{flags}"
                );
            }
            let theirs = format!("cd {image} && LC_ALL=C grep -rcI e . | sed 's|^[.]||' | grep -v ':0$'");
            assert_eq!(shell(cli, &format!("hoist grep --count {name} e")), shell(cli, &theirs));
            let theirs = format!("cd {image} && LC_ALL=C grep -rna e . | sed 's|^[.]||'");
            assert_eq!(
                cli.shell(&format!("hoist grep --text {name} e | sort | od -c")).run().success(),
                cli.shell(&format!("({theirs}) | sort | od -c")).run().success()
            );
        }
    });
}

#[test]
fn grep_takes_what_every_flag_says() {
    on_both(|cli, registry| {
        registry.push(&rich(cli), "web", "1");
        let name = registry.name("web:1");
        let motd = "/etc/motd:2:one.two /etc/motd.link:2:one.two";
        for (words, found) in [
            ("one.two", motd),
            ("one.two /etc/motd", "/etc/motd:2:one.two"),
            ("one.two etc/motd.soft /etc", motd),
            ("one srv/../srv", "/srv/index.html:1:<p>one</p>"),
            ("ONE.TWO --ignore-case etc", motd),
            ("e.t etc --fixed-strings", motd),
            ("tw etc/motd", "/etc/motd:2:one.two"),
            ("TWO -w -i --files-with-matches", "/etc/motd /etc/motd.link"),
            ("on[e] --word-regexp -l --name *.html --name end", "/srv/index.html /opt/app/end"),
            ("one -c --max-size 11 /srv /opt", "/srv/index.html:1 /opt/app/conf/app.conf:1"),
            ("one -l --layer 2", "/opt/app/conf/app.conf /opt/app/end"),
            ("one -l --text /bin", "/bin/su"),
            ("-x etc/passwd --count", ""),
            ("one --line-number /etc/motd --layer 1", "/etc/motd:1:Welcome, one and all /etc/motd:2:one.two"),
        ] {
            let outcome = cli.hoist(["grep", &name]).args(words.split(' ')).run();
            if found.is_empty() {
                assert_eq!(outcome.failure(1), "", "{words}");
                assert_eq!(outcome.stdout(), "");
                continue;
            }
            assert_eq!(outcome.success().lines().collect::<Vec<_>>().join(" "), found, "{words}");
            assert_eq!(outcome.stderr(), "", "{words}");
        }
        let json = cli.hoist(["grep", "--json", &name, "one", "/top", "srv"]).run();
        let json: Value = serde_json::from_str(&json.success()).unwrap();
        let layers = cli.hoist(["manifest", &name, "--jq", "[.layers[].digest]"]).run().success();
        let layers: Value = serde_json::from_str(&layers).unwrap();
        assert_eq!(
            json,
            serde_json::json!([
                {"path": "/srv/index.html", "line": 1, "text": "<p>one</p>", "layer": 1, "layerDigest": layers[0]},
                {"path": "/top", "line": 1, "text": "\tone\u{1b}[2J\u{fffd} \u{e9}", "layer": 3, "layerDigest": layers[2]},
            ])
        );
        let counts =
            cli.hoist(["grep", "-c", &name, "one", "etc", "--jq", ".[] | [.path, .count] | @tsv"]).run();
        assert_eq!(counts.success(), "/etc/motd\t2\n/etc/motd.link\t2\n");
        let nothing = cli.hoist(["grep", "--json", &name, "nobody"]).run();
        assert_eq!((nothing.failure(1), nothing.stdout()), (String::new(), "[]\n".to_owned()));
        assert_empty(&cli.tmp());
    });
}

#[test]
fn what_is_no_text_is_left_out() {
    let (cli, registry) = (Cli::new(), DockerRegistry::plain());
    let late = [&b"one\n".repeat(20_000)[..], b"\0\none\n"].concat();
    let long = [&b"one\n"[..], &vec![b'x'; 17 << 20], b"\none\n"].concat();
    let layer = Layer::new()
        .file("early", "one\n\0one\n")
        .file("empty", "")
        .file("late", late)
        .file("long", long)
        .file("text", "one\n");
    registry.push(&Image::new([layer]).build(), "web", "1");
    let name = format!("{}/web:1", registry.address());
    let outcome = cli.hoist(["grep", "-c", &name, "^one$"]).run();
    assert_eq!(outcome.success(), "/late:20000\n/long:1\n/text:1\n");
    let notes = outcome.stderr();
    assert!(notes.lines().all(is_log) && notes.lines().count() == 2, "{notes}");
    assert!(notes.contains("/late is no text from byte 80000 on"), "{notes}");
    assert!(notes.contains("/long has a line that is too long"), "{notes}");
    // What waits until its file has been searched waits on disk, and goes.
    assert_eq!(cli.hoist(["grep", &name, "one", "late"]).run().success().lines().count(), 20_000);
    assert_eq!(cli.hoist(["grep", "-l", &name, "one", "--max-size", "4"]).run().success(), "/text\n");
    assert_empty(&cli.tmp());
}

#[test]
fn what_does_not_fit_is_said_in_one_line() {
    on_both(|cli, registry| {
        registry.push(&rich(cli), "web", "1");
        registry.push(&images::artifact(), "note", "1");
        let name = registry.name("web:1");
        for (line, cause) in [
            ("grep NAME (one", "is no pattern: unclosed group"),
            ("grep NAME one /none", "there is no \"/none\" in the image"),
            ("grep NAME one /etc/motd/x", "\"/etc/motd\" is not a directory"),
            ("grep NAME one --layer 4", "there is no layer 4; the image has 3, and the lowest is 1"),
            ("grep NAME one --name [", "--name"),
            ("grep NAME one --max-size much", "--max-size"),
            ("grep NONE one", "none:1"),
            ("find NONE", "none:1"),
            ("find NAME --layer 0", "there is no layer 0"),
            ("find NAME --layer ffffffffffff", "there is no layer ffffffffffff"),
            ("find NAME --layer lowest", "--layer"),
            ("find NAME --newer /none", "there is no \"/none\" in the image"),
            ("find NAME --newer yesterday", "--newer"),
            ("find NAME --owner nobody", "there is no nobody in the image's /etc/passwd"),
            ("find NAME --owner 0:nobody", "there is no nobody in the image's /etc/group"),
            ("find NAME --path {a", "--path"),
            ("find NAME --name a/b", "--name"),
            ("find NAME --type x", "--type"),
            ("find NAME --size many", "--size"),
        ] {
            let words = line.replace("NAME", &name).replace("NONE", &registry.name("none:1"));
            let outcome = cli.hoist(words.split(' ')).run();
            let text = outcome.failure(1);
            assert!(text.contains(cause), "{line}: {outcome}");
            assert_eq!(outcome.stdout(), "", "{line}");
            if !cause.starts_with("--") {
                refused(cli, &outcome, cause);
            }
        }
        // There is nothing in it.
        assert_eq!(cli.hoist(["find", &registry.name("note:1")]).run().success(), "");
        assert_eq!(cli.hoist(["grep", &registry.name("note:1"), "."]).run().failure(1), "");
    });
}

#[test]
fn no_image_commands_a_terminal() {
    let (cli, registry) = (Cli::new(), DockerRegistry::plain());
    let layer = Layer::new().file("a\u{1b}[2Jb", "\tone\u{1b}]0;title\u{7}\n").file("c\nd", "one\n");
    registry.push(&Image::new([layer]).build(), "web", "1");
    let name = format!("{}/web:1", registry.address());
    let terminal = |line: &str| cli.shell(&format!("script -qfec 'hoist {line}' log")).run().success();
    assert_eq!(terminal(&format!("--progress none find {name}")), "/a\\u{1b}[2Jb\r\n/c\\nd\r\n");
    assert_eq!(
        terminal(&format!("--progress none grep {name} one")),
        "/a\\u{1b}[2Jb:1:\tone\\u{1b}]0;title\\u{7}\r\n/c\\nd:1:one\r\n"
    );
    // Programs get the bytes.
    assert_eq!(cli.hoist(["find", &name]).run().success(), "/a\u{1b}[2Jb\n/c\nd\n");
    assert_eq!(
        cli.hoist(["grep", &name, "one"]).run().success(),
        "/a\u{1b}[2Jb:1:\tone\u{1b}]0;title\u{7}\n/c\nd:1:one\n"
    );
}

#[test]
fn few_requests_are_made() {
    let (cli, registry) = (Cli::new(), DockerRegistry::plain());
    registry.push(&rich(&cli), "demo/web", "1");
    let relay = Relay::to(registry.address());
    let name = format!("{}/demo/web:1", relay.address());
    let blobs = || {
        let requests = relay.requests();
        requests.iter().filter(|request| request.path.contains("/blobs/")).count()
    };
    cli.hoist(["find", &name]).run().success();
    assert_eq!(blobs(), 3, "each layer once");
    cli.hoist(["find", &name, "--setuid"]).run().success();
    assert_eq!(blobs(), 3, "all is known");
    cli.hoist(["grep", &name, "one", "/etc", "/srv"]).run().success();
    assert_eq!(blobs(), 4, "one for all files of a layer");
    cli.hoist(["grep", &name, "one"]).run().success();
    assert_eq!(blobs(), 6, "two of three layers: that of one frame of zstd is kept");
    // Nothing is searched where no file is.
    assert_eq!(cli.hoist(["grep", &name, "one", "--name", "none"]).run().failure(1), "");
    assert_eq!(blobs(), 6);
}

#[test]
fn a_table_that_does_not_hold_is_made_again() {
    let (cli, registry) = (Cli::new(), DockerRegistry::plain());
    registry.push(&rich(&cli), "web", "1");
    let name = format!("{}/web:1", registry.address());
    let right = cli.hoist(["grep", &name, "one"]).run().success();
    let tables = files(&cli.home().join(".cache"));
    let tables =
        tables.iter().filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("sha256-"));
    for (index, path) in tables.enumerate() {
        // Its last bytes are the hash of the layer's bytes, a list of nothing, and its own hash: the one is wrong, the other right.
        let mut bytes = fs::read(path).unwrap();
        let end = bytes.len() - 32;
        bytes[end - 2] ^= 1;
        let hash = Algorithm::Sha256.digest(&bytes[..end]);
        let hex = hash.trim_start_matches("sha256:").as_bytes();
        let hash =
            hex.chunks(2).map(|hex| u8::from_str_radix(std::str::from_utf8(hex).unwrap(), 16).unwrap());
        bytes.splice(end.., hash);
        fs::write(path, bytes).unwrap();
        assert!(index < 3);
    }
    let again = cli.hoist(["grep", &name, "one"]).run();
    assert_eq!(again.success(), right);
    assert_eq!(again.stderr().matches("do not agree").count(), 3, "{again}");
    assert_empty(&cli.tmp());
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}
