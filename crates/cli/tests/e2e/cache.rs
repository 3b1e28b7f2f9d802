//! The cache of blobs: what it saves, what may happen to it, and that nothing wrong comes out of it.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde_json::Value;
use testkit::images::{self, Graph};
use testkit::{Cli, DockerRegistry, HoistServer, Relay};

use crate::support::{as_root, logged, refused, serving, until};

/// A registry with an image, and a relay that counts.
struct Remote {
    _server: HoistServer,
    relay: Relay,
    graph: Graph,
}

impl Remote {
    fn new(graph: Graph) -> Self {
        let server = serving(&graph, "demo/web", "1");
        Self { relay: Relay::to(server.address()), _server: server, graph }
    }

    fn name(&self) -> String {
        format!("{}/demo/web:1", self.relay.address())
    }

    /// What was asked since the last time: methods, and what of.
    fn asked(&self, since: usize) -> Vec<String> {
        let short = |path: &str| path.rsplit('/').nth(1).unwrap_or_default().to_owned();
        let requests = self.relay.requests();
        requests[since..]
            .iter()
            .map(|request| format!("{} {}", request.method, short(&request.path)))
            .collect()
    }
}

/// Damages a file, whose content it is given.
type Spoil = fn(&Path, &[u8]);

/// The files of a cache: blobs and manifests.
fn files(cache: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for algorithm in ["sha256", "sha512"] {
        let Ok(directory) = fs::read_dir(cache.join("blobs").join(algorithm)) else { continue };
        files.extend(directory.map(|file| file.unwrap().path()));
    }
    files
}

fn total(cache: &Path) -> u64 {
    files(cache).iter().map(|file| fs::metadata(file).unwrap().len()).sum()
}

/// All of an image is in a cache, and nothing else.
#[track_caller]
fn assert_holds(cache: &Path, graph: &Graph) {
    let mut expected = BTreeSet::new();
    graph.visit(&mut |graph| {
        for blob in graph.blobs.iter().chain([&graph.manifest]) {
            let path = cache.join("blobs").join(blob.digest.replace(':', "/"));
            assert!(fs::read(&path).unwrap() == *blob.bytes, "{}", path.display());
            expected.insert(path);
        }
    });
    assert_eq!(files(cache).into_iter().collect::<BTreeSet<_>>(), expected);
    assert!(!cache.join("blobs/.partial").exists(), "nothing is left behind");
}

#[track_caller]
fn assert_valid(cli: &Cli, name: &str, graph: &Graph) {
    assert_eq!(cli.hoist(["digest", name]).run().success().trim_end(), graph.manifest.digest);
    cli.hoist(["validate", name]).run().success();
}

#[test]
fn what_is_there_is_not_fetched() {
    let (cli, remote) = (Cli::new(), Remote::new(images::eight_platforms()));
    let (name, cache) = (remote.name(), cli.work().join("c"));
    let cp = |to: &str| cli.hoist(["cp", "--cache", "c", &name, to]).run().success();
    cp("oci:one:1");
    assert_holds(&cache, &remote.graph);
    let tag = fs::read_to_string(cache.join("blobs/CACHEDIR.TAG")).unwrap();
    assert!(tag.starts_with("Signature: 8a477f597d28d172789f06886806bc55\n"));
    // What the tag stands for is asked, and no more.
    let since = remote.relay.requests().len();
    cp("oci:two:1");
    assert_eq!(remote.asked(since), ["GET manifests"]);
    assert_valid(&cli, "oci:two:1", &remote.graph);
    // Into another registry, and an archive.
    let other = HoistServer::start();
    let there = format!("{}/demo/copy:1", other.address());
    let since = remote.relay.requests().len();
    cp(&there);
    cp("oci-archive:three.tar");
    assert!(remote.asked(since).iter().all(|asked| asked.ends_with(" manifests")));
    assert_valid(&cli, &there, &remote.graph);
    assert_valid(&cli, "oci-archive:three.tar", &remote.graph);
    // A layout's files are its own.
    for file in files(&cli.work().join("two")) {
        assert_eq!(fs::metadata(&file).unwrap().nlink(), 1, "{}", file.display());
    }
    // Other verbs: by digest nothing at all is asked.
    let child = &remote.graph.children[0];
    let repository = name.trim_end_matches(":1");
    let by_digest = format!("{repository}@{}", child.manifest.digest);
    let since = remote.relay.requests().len();
    let manifest = cli.hoist(["manifest", "--cache", "c", &by_digest]).run();
    assert_eq!(manifest.success().as_bytes(), &*child.manifest.bytes);
    cli.hoist(["config", &by_digest]).env("HOIST_CACHE", "c").run().success();
    cli.hoist(["export", "--cache_path", "c", &by_digest, "out.tar"]).run().success();
    assert_eq!(remote.asked(since), [""; 0]);
    // Who wants to know what the registry has asks the registry.
    cli.hoist(["validate", "--cache", "c", &name]).run().success();
    assert!(remote.asked(since).iter().any(|asked| asked.ends_with(" blobs")));
    let since = remote.relay.requests().len();
    cli.hoist(["export", "--cache", "c", "--no-cache", &by_digest, "out.tar"]).run().success();
    assert!(remote.asked(since).iter().any(|asked| asked.ends_with(" blobs")));
}

/// Blobs that come in several parts, and what a summary says.
#[test]
fn large_blobs() {
    let (cli, remote) = (Cli::new(), Remote::new(images::large(96 << 20)));
    let cp = |to: &str| {
        let told = cli.hoist(["cp", "--progress", "json", "--cache", "c", &remote.name(), to]).run();
        told.success();
        let summary: Value = serde_json::from_str(told.stderr().lines().last().unwrap()).unwrap();
        let bytes = &summary["bytes"];
        (bytes["moved"].as_u64().unwrap(), bytes["cached"].as_u64().unwrap())
    };
    let (moved, cached) = cp("oci:one:1");
    assert!(moved > 96 << 20 && cached == 0, "{moved} {cached}");
    assert_holds(&cli.work().join("c"), &remote.graph);
    let before = remote.relay.bytes_down();
    assert_eq!(cp("oci:two:1"), (moved, moved));
    assert!(remote.relay.bytes_down() - before < 1 << 20);
    assert_valid(&cli, "oci:two:1", &remote.graph);
}

#[test]
fn nothing_wrong_is_served() {
    let (cli, remote) = (Cli::new(), Remote::new(images::eight_platforms()));
    let (name, cache) = (remote.name(), cli.work().join("c"));
    let damage: [(&str, Spoil); 5] = [
        ("flipped", |path, bytes| {
            let mut bytes = bytes.to_vec();
            let last = bytes.len() - 1;
            bytes[last] ^= 1;
            fs::write(path, bytes).unwrap();
        }),
        ("cut", |path, bytes| fs::write(path, &bytes[..bytes.len() / 2]).unwrap()),
        ("long", |path, bytes| fs::write(path, [bytes, b"!"].concat()).unwrap()),
        ("empty", |path, _| fs::write(path, "").unwrap()),
        ("link", |path, _| {
            fs::remove_file(path).unwrap();
            std::os::unix::fs::symlink("/etc/passwd", path).unwrap();
        }),
    ];
    let archive = |number: usize| format!("out{number}.tar");
    for (number, (kind, spoil)) in damage.into_iter().enumerate() {
        let empty = HoistServer::start();
        for to in [format!("oci:{kind}:1"), format!("{}/demo/copy:1", empty.address()), archive(number)] {
            cli.hoist(["cp", "--cache", "c", &name, "oci:warm:1"]).run().success();
            fs::remove_dir_all(cli.work().join("warm")).unwrap();
            assert_holds(&cache, &remote.graph);
            for path in files(&cache) {
                spoil(&path, &fs::read(&path).unwrap());
            }
            if to == archive(number) {
                let arguments = ["export", "--platform", "linux/arm64", "--cache", "c", &name, &to];
                cli.hoist(arguments).run().success();
                cli.shell(&format!("hoist export --platform linux/arm64 {name} - | cmp - {to}"))
                    .run()
                    .success();
            } else {
                let told = cli.hoist(["cp", "--cache", "c", &name, &to]).run();
                told.success();
                if kind == "flipped" {
                    let text = "what was kept of it on this machine is dropped";
                    assert!(told.stderr().contains(text), "{told}");
                }
                assert_valid(&cli, &to, &remote.graph);
                if kind != "link" {
                    assert_holds(&cache, &remote.graph);
                }
            }
            if kind == "link" {
                // Whoever put it there has to take it away.
                fs::remove_dir_all(&cache).unwrap();
            }
        }
    }
}

/// What goes into a stream cannot be taken back.
#[test]
fn nothing_wrong_is_streamed() {
    let (cli, remote) = (Cli::new(), Remote::new(images::large(3 << 20)));
    let name = remote.name();
    cli.hoist(["cp", "--cache", "c", &name, "oci:warm:1"]).run().success();
    cli.hoist(["cp", &name, "oci-archive:right.tar"]).run().success();
    for path in files(&cli.work().join("c")) {
        let mut bytes = fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(&path, bytes).unwrap();
    }
    let told = cli
        .shell(&format!("hoist cp --cache c {name} oci-archive:- > out.tar && cmp out.tar right.tar"))
        .run();
    told.success();
    assert!(told.stderr().contains("is damaged"), "{told}");
    assert_holds(&cli.work().join("c"), &remote.graph);
}

/// Damage that cannot be mended, and damage that another process finds at the same time.
#[test]
fn damage_that_stays() {
    let (cli, remote) = (Cli::new(), Remote::new(images::large(24 << 20)));
    let (name, cache) = (remote.name(), cli.work().join("c"));
    cli.hoist(["cp", "--cache", "c", &name, "oci:warm:1"]).run().success();
    let damage = || {
        let large = files(&cache).into_iter().max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap();
        let mut bytes = fs::read(&large).unwrap();
        bytes[7] ^= 1;
        fs::write(&large, bytes).unwrap();
    };
    damage();
    let running: Vec<_> = (0..6)
        .map(|number| cli.hoist(["cp", "--cache", "c", &name, &format!("oci:{number}:1")]).start())
        .collect();
    for process in running {
        process.wait().success();
    }
    for number in 0..6 {
        assert_valid(&cli, &format!("oci:{number}:1"), &remote.graph);
    }
    damage();
    let path = cache.to_str().unwrap();
    as_root(&cli, "mount", ["--bind", path, path]).run().success();
    as_root(&cli, "mount", ["-o", "remount,bind,ro", path]).run().success();
    let copied = cli.hoist(["cp", "--cache", "c", &name, "oci:read-only:1"]).run();
    let exported = cli.hoist(["export", "--cache", "c", &name, "out.tar"]).run();
    as_root(&cli, "umount", [path]).run().success();
    copied.success();
    exported.success();
    assert_valid(&cli, "oci:read-only:1", &remote.graph);
}

#[test]
fn many_fill_one() {
    let (cli, remote) = (Cli::new(), Remote::new(images::eight_platforms()));
    let large = serving(&images::large(8 << 20), "demo/large", "1");
    let large_name = format!("{}/demo/large:1", large.address());
    let running: Vec<_> = (0..8)
        .map(|number| {
            let name = if number % 2 == 0 { remote.name() } else { large_name.clone() };
            cli.hoist(["cp", "--cache", "c", &name, &format!("oci:{number}:1")]).start()
        })
        .collect();
    for process in running {
        process.wait().success();
    }
    for number in 0..8 {
        let graph = if number % 2 == 0 { &remote.graph } else { &images::large(8 << 20) };
        assert_valid(&cli, &format!("oci:{number}:1"), graph);
    }
    for path in files(&cli.work().join("c")) {
        let digest = format!("sha256:{}", path.file_name().unwrap().to_str().unwrap());
        let found = cli.shell(&format!("sha256sum < {}", path.display())).run().success();
        assert!(digest.ends_with(found.split(' ').next().unwrap()), "{}", path.display());
    }
    // Whatever two of them were at in the same moment is there by the next time.
    for name in [&remote.name(), &large_name] {
        cli.hoist(["cp", "--cache", "c", name, "oci:again:1"]).run().success();
        fs::remove_dir_all(cli.work().join("again")).unwrap();
    }
    let since = remote.relay.requests().len();
    cli.hoist(["cp", "--cache", "c", &remote.name(), "oci:again:1"]).run().success();
    assert_eq!(remote.asked(since), ["GET manifests"]);
    assert!(!cli.work().join("c/blobs/.partial").exists());
}

#[test]
fn killed_in_the_middle() {
    let (cli, remote) = (Cli::new(), Remote::new(images::large(32 << 20)));
    let (name, cache) = (remote.name(), cli.work().join("c"));
    for _ in 0..3 {
        let _ = fs::remove_dir_all(cli.work().join("one"));
        let running = cli.hoist(["cp", "--bwlimit", "30M", "--cache", "c", &name, "oci:one:1"]).start();
        let before = remote.relay.bytes_down();
        until("some of it has come", || remote.relay.bytes_down() > before + (6 << 20));
        drop(running);
    }
    assert!(cache.join("blobs/.partial").exists());
    // It goes on in the layout, so that less than all of it passes: what the cache has from before is completed.
    cli.hoist(["cp", "--cache", "c", &name, "oci:one:1"]).run().success();
    assert_valid(&cli, "oci:one:1", &remote.graph);
    cli.hoist(["cp", "--cache", "c", &name, "oci:two:1"]).run().success();
    assert_valid(&cli, "oci:two:1", &remote.graph);
    assert_holds(&cache, &remote.graph);
}

#[test]
fn it_stays_within_its_size() {
    let cli = Cli::new();
    let server = HoistServer::start();
    let cache = cli.work().join("c");
    // One layer each, all different.
    let size = |number: usize| (1 << 20) + (number << 10);
    for number in 0..6 {
        server.push(&images::large(size(number)), "demo/web", &number.to_string());
    }
    let cp = |number: usize| {
        let name = format!("{}/demo/web:{number}", server.address());
        let arguments = ["cp", "--cache", "c", "--cache-size", "4.2MiB", &name, "oci:out:1"];
        let told = cli.hoist(arguments).run();
        told.success();
        assert!(total(&cache) <= 4_404_020, "{}", total(&cache));
        fs::remove_dir_all(cli.work().join("out")).unwrap();
        told.stderr()
    };
    let has = |number: usize| {
        let blobs = images::large(size(number)).blobs.into_iter().map(|blob| blob.digest.replace(':', "/"));
        let found = blobs.filter(|path| cache.join("blobs").join(path).exists()).count();
        found == 2
    };
    for number in 0..4 {
        cp(number);
    }
    assert!((0..4).all(has));
    // The first is used again, so the second is the longest unused.
    cp(0);
    cp(4);
    assert!(has(0) && !has(1) && has(2) && has(3) && has(4));
    // What is larger than all is not kept, and nothing goes for it.
    server.push(&images::large(5 << 20), "demo/web", "9");
    assert!(cp(9).contains("bytes, more than the 4404019 that may be kept"));
    assert!(has(0) && has(4));
    // Many at once.
    let all = format!("{}/demo/web", server.address());
    cli.hoist(["cp", "-a", "--cache", "c", "--cache-size", "2.5MiB", &all, "oci:all"]).run().success();
    assert!(total(&cache) <= 2_621_440, "{}", total(&cache));
    cp(4);
    // A smaller size from now on.
    let arguments = ["cache", "gc", "--cache", "c", "--cache-size", "1.5MB"];
    let told = cli.hoist(arguments).run();
    told.success();
    assert!(total(&cache) <= 1_500_000 && has(4), "{told}");
}

#[test]
fn a_cache_that_cannot_be() {
    let (cli, remote) = (Cli::new(), Remote::new(images::eight_platforms()));
    let name = remote.name();
    // The work goes on without, and one line says so.
    fs::write(cli.work().join("file"), "").unwrap();
    let told = cli.hoist(["cp", "--cache", "file", &name, "oci:one:1"]).run();
    told.success();
    let lines = logged(&told.stderr());
    let failed: Vec<_> = lines.iter().filter(|line| line.starts_with("the cache file: ")).collect();
    assert!(failed.len() == 1 && failed[0].ends_with("nothing more is kept there"), "{told}");
    assert_valid(&cli, "oci:one:1", &remote.graph);
    // Somebody's layout is no cache.
    for arguments in [&["cp", &name, "oci:two:1"][..], &["cache", "clear", "blobs"], &["cache", "gc"]] {
        let told = cli.hoist(arguments).args(["--cache", "one"]).run();
        refused(&cli, &told, "one/blobs is not empty, and no cache of hoist");
    }
    assert_valid(&cli, "oci:one:1", &remote.graph);
    let env = |name: &str, value: &str| cli.hoist(["digest", &remote.name()]).env(name, value).run();
    env("HOIST_CACHE", "").success();
    env("HOIST_CACHE_SIZE", "").success();
    refused(&cli, &env("HOIST_CACHE_SIZE", "much"), "HOIST_CACHE_SIZE is \"much\": it is a number of bytes");
    let homeless = |arguments: &[&str]| cli.hoist(arguments).env("HOME", "").env("XDG_CACHE_HOME", "").run();
    assert_eq!(homeless(&["cache", "ls", "--cache", "c"]).success().lines().count(), 1);
    refused(&cli, &homeless(&["cache", "ls"]), "nothing is kept here");
    let wrong = cli.hoist(["digest", "--cache-size", "much", &name]).run();
    assert!(wrong.failure(1).contains("it is a number of bytes, such as 500M or 2GiB"), "{wrong}");
}

#[test]
fn a_full_disk() {
    let (cli, remote) = (Cli::new(), Remote::new(images::large(4 << 20)));
    let small = cli.home().join("small");
    fs::create_dir(&small).unwrap();
    let path = small.to_str().unwrap();
    as_root(&cli, "mount", ["-t", "tmpfs", "-o", "size=1m,mode=1777", "tmpfs", path]).run().success();
    let told = cli.hoist(["cp", "--cache", path, &remote.name(), "oci:one:1"]).run();
    let left = files(&small);
    as_root(&cli, "umount", [path]).run().success();
    told.success();
    assert!(
        logged(&told.stderr()).iter().filter(|line| line.contains("No space left")).count() == 1,
        "{told}"
    );
    assert_valid(&cli, "oci:one:1", &remote.graph);
    assert!(left.len() <= 2, "{left:?}");
}

#[test]
fn what_is_kept_is_shown_and_removed() {
    let cli = Cli::new();
    let docker = DockerRegistry::plain();
    let graph = images::single();
    docker.push(&graph, "demo/web", "1");
    let name = format!("{}/demo/web:1", docker.address());
    for kind in ["blobs", "hosts", "tables", "uploads"] {
        assert_eq!(cli.hoist(["cache", "ls", kind]).run().success(), "");
    }
    let root = cli.home().join(".cache/hoist");
    // The same directory for all kinds, where none is named.
    cli.hoist(["cp", &name, "oci:one:1"]).env("HOIST_CACHE", &root).run().success();
    let listed = cli.hoist(["cache", "ls", "--json"]).run().success();
    let kinds: Value = serde_json::from_str(&listed).unwrap();
    let blobs = graph.blobs.len() + 1;
    let bytes: usize = graph.blobs.iter().chain([&graph.manifest]).map(|blob| blob.bytes.len()).sum();
    assert_eq!(kinds[0]["kind"], "blobs");
    assert_eq!(kinds[0]["path"].as_str().unwrap(), root.join("blobs").to_str().unwrap());
    assert_eq!((&kinds[0]["entries"], &kinds[0]["bytes"]), (&blobs.into(), &bytes.into()));
    assert_eq!((&kinds[1]["kind"], &kinds[1]["entries"]), (&"hosts".into(), &1.into()));
    assert_eq!((&kinds[2]["kind"], &kinds[2]["entries"]), (&"tables".into(), &0.into()));
    assert_eq!((&kinds[3]["kind"], &kinds[3]["entries"]), (&"uploads".into(), &0.into()));
    let text = cli.hoist(["cache", "ls"]).run().success();
    assert!(text.starts_with("blobs  ") && text.lines().count() == 4, "{text}");
    let text = cli.hoist(["cache", "ls", "blobs"]).run().success();
    let digests: BTreeSet<&str> = text.lines().map(|line| line.split(' ').next().unwrap()).collect();
    let expected = graph.blobs.iter().chain([&graph.manifest]).map(|blob| &*blob.digest).collect();
    assert_eq!(digests, expected);
    assert!(cli.hoist(["cache", "ls", "hosts"]).run().success().starts_with(docker.address()));

    // What is not the cache's own stays; what nobody goes on with goes.
    fs::write(root.join("blobs/sha256/README"), "mine").unwrap();
    fs::write(root.join("other"), "mine").unwrap();
    fs::create_dir(root.join("blobs/.partial")).unwrap();
    let partial = root.join("blobs/.partial").join(graph.manifest.digest.replace(':', "-"));
    fs::write(&partial, "torn").unwrap();
    let long_ago = SystemTime::now() - Duration::from_hours(1);
    fs::File::options().write(true).open(&partial).unwrap().set_modified(long_ago).unwrap();
    cli.hoist(["cache", "gc"]).run().success();
    assert!(!root.join("blobs/.partial").exists());
    assert_eq!(files(&root).len(), blobs + 1);
    cli.hoist(["cache", "clear", "hosts", "uploads"]).run().success();
    assert_eq!(cli.hoist(["cache", "ls", "hosts"]).run().success(), "");
    assert_eq!(files(&root).len(), blobs + 1);
    let told = cli.hoist(["cache", "clear"]).run();
    told.success();
    assert!(logged(&told.stderr())[0].starts_with(&format!("{blobs} blobs removed (")), "{told}");
    assert_eq!(files(&root), [root.join("blobs/sha256/README")]);
    assert_eq!(fs::read(root.join("other")).unwrap(), b"mine");
    let unknown = cli.hoist(["cache", "clear", "everything"]).run();
    assert!(unknown.failure(1).contains("blobs, hosts, tables, uploads"), "{unknown}");
}

/// Where the file system can, a blob is not copied out of the cache, but shared.
#[test]
fn blobs_are_shared_where_they_can_be() {
    let (cli, remote) = (Cli::new(), Remote::new(images::large(64 << 20)));
    let (image, mount) = (cli.home().join("xfs.img"), cli.home().join("xfs"));
    let [image, mount] = [&image, &mount].map(|path| path.to_str().unwrap());
    fs::create_dir(mount).unwrap();
    fs::File::create(image).unwrap().set_len(400 << 20).unwrap();
    cli.peer("mkfs.xfs", ["-q", "-m", "reflink=1", image]).run().success();
    as_root(&cli, "mount", ["-o", "loop", image, mount]).run().success();
    as_root(&cli, "chmod", ["1777", mount]).run().success();
    let free = || {
        let space =
            cli.shell(&format!("sync -f {mount}; df --output=avail -B1 {mount} | tail -1")).run().success();
        space.trim().parse::<u64>().unwrap()
    };
    let cp = |from: &str, to: &str| {
        let to = format!("oci:{mount}/{to}:1");
        let outcome = cli.hoist(["cp", "--cache", &format!("{mount}/c"), from, &to]).run();
        (outcome, to)
    };
    let (first, one) = cp(&remote.name(), "one");
    let before = free();
    let (second, two) = cp(&remote.name(), "two");
    // Between layouts too.
    let (third, three) = cp(&two, "three");
    let used = before.saturating_sub(free());
    let valid = [&one, &two, &three].map(|name| cli.hoist(["validate", name]).run());
    as_root(&cli, "umount", [mount]).run().success();
    for outcome in [first, second, third].into_iter().chain(valid) {
        outcome.success();
    }
    assert!(used < 8 << 20, "{used} bytes were used for two copies of 64 MiB");
}
