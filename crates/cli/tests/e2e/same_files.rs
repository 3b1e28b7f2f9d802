//! Whatever an image is made into, its files stay what they are: what umoci unpacks of generated images is what hoist exports of
//! them, of them flattened, and of them on another base.

use std::fs;

use testkit::images::{Compression, Entry, EntryType, Graph, Image, Layer};
use testkit::{Cli, HoistServer};

use crate::support::as_root;
use crate::tree::{self, Tree};

/// Numbers that are the same in every run (xorshift64).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % sides as u64).unwrap()
    }
}

const DIRECTORIES: [&str; 4] = ["a", "a/b", "c", "c/d"];
const NAMES: [&str; 4] = ["f", "g", "h", "i"];

/// A layer of files, links, directories, whiteouts; paths that a lower layer has as something else too.
fn layer(dice: &mut Dice, number: usize) -> Layer {
    let kinds = [Compression::Gzip, Compression::Zstd, Compression::None];
    let mut layer = Layer::new().compression(kinds[dice.roll(3)]);
    // Parents that may be a file below are written first.
    for directory in DIRECTORIES {
        layer = layer.directory(directory);
        if number > 0 && dice.roll(6) == 0 {
            layer = layer.file(&format!("{directory}/.wh..wh..opq"), "");
        }
    }
    for directory in DIRECTORIES {
        for name in NAMES {
            let path = format!("{directory}/{name}");
            let owner = (u32::try_from(dice.roll(3)).unwrap(), 7);
            layer = match dice.roll(9) {
                0 | 1 => layer.entry(Entry {
                    owner,
                    mode: 0o640,
                    content: format!("{path} {number}").into(),
                    ..Entry::at(&path)
                }),
                2 => layer.symbolic_link(&path, "../c/f"),
                3 => layer
                    .entry(Entry {
                        kind: EntryType::Directory,
                        mode: 0o700,
                        ..Entry::at(&format!("{path}/"))
                    })
                    .file(&format!("{path}/in"), "x"),
                4 => layer
                    .file(&format!("{directory}/first-{number}-{name}"), "shared")
                    .hard_link(&path, &format!("{directory}/first-{number}-{name}")),
                5 | 6 if number > 0 => layer.file(&format!("{directory}/.wh.{name}"), ""),
                _ => layer,
            };
        }
    }
    layer
}

struct Bench {
    cli: Cli,
    server: HoistServer,
}

impl Bench {
    fn name(&self, tag: &str) -> String {
        format!("{}/demo/web:{tag}", self.server.address())
    }

    /// What GNU tar makes of hoist's export.
    fn exported(&self, tag: &str) -> Tree {
        let target = self.cli.work().join(format!("export-{tag}"));
        fs::create_dir(&target).unwrap();
        let archive = self.cli.hoist(["export", &self.name(tag)]).run();
        archive.success();
        let tar =
            ["--extract", "--same-permissions", "--same-owner", "--directory", target.to_str().unwrap()];
        as_root(&self.cli, "tar", tar).stdin(archive.stdout).run().success();
        tree::read(&target)
    }

    /// What umoci makes of an image.
    fn unpacked(&self, tag: &str) -> Tree {
        self.cli.hoist(["cp", &self.name(tag), &format!("oci:layout:{tag}")]).run().success();
        let bundle = self.cli.work().join(format!("bundle-{tag}"));
        let words = ["unpack", "--image", &format!("layout:{tag}"), bundle.to_str().unwrap()];
        as_root(&self.cli, "umoci", words).run().success();
        tree::read(&bundle.join("rootfs"))
    }

    /// `extract` makes the same files, and `cat` prints their content.
    fn assert_taken(&self, tag: &str, whole: &Tree) {
        let target = self.cli.work().join(format!("taken-{tag}"));
        self.cli.hoist(["extract", &self.name(tag), "/", target.to_str().unwrap()]).run().success();
        let taken = tree::read(&target);
        assert!(taken.keys().eq(whole.keys()), "{:?}", taken.keys());
        for (path, node) in whole {
            assert_eq!(taken[path].content(), node.content(), "{}", path.display());
            if let Some(content) = node.file() {
                let cat = self.cli.hoist(["cat", &self.name(tag), path.to_str().unwrap()]);
                // Of some with no table known, so that layers are asked from the newest on.
                let printed = if content.len() % 3 == 0 { cat.arg("--no-cache") } else { cat }.run();
                printed.success();
                assert_eq!(printed.stdout, content, "{}", path.display());
            }
        }
    }

    fn push(&self, layers: &[Layer], tag: &str) -> Graph {
        let graph = Image::new(layers.to_vec()).build();
        self.server.push(&graph, "demo/web", tag);
        graph
    }
}

#[test]
fn files_stay_what_they_are() {
    let bench = Bench { cli: Cli::new(), server: HoistServer::start() };
    for seed in 1..=12 {
        let mut dice = Dice(u64::wrapping_mul(seed, 0x9e37_79b9_7f4a_7c15));
        let layers: Vec<Layer> = (0..4).map(|number| layer(&mut dice, number)).collect();
        let other = [layer(&mut dice, 0), layer(&mut dice, 1)];
        let tag = |what: &str| format!("{what}-{seed}");
        bench.push(&layers, &tag("web"));
        bench.push(&layers[..2], &tag("base"));
        bench.push(&other, &tag("other"));
        let [web, base, other_base] = ["web", "base", "other"].map(|what| bench.name(&tag(what)));
        let how = ["gzip", "zstd", "none"][dice.roll(3)];
        let flatten = |words: &[&str], to: &str| {
            let to = bench.name(&tag(to));
            let words = [&["flatten", "--compression", how, "-t", &to], words].concat();
            bench.cli.hoist(words).run().success();
        };
        let whole = bench.unpacked(&tag("web"));
        assert!(whole.len() > 2 * DIRECTORIES.len(), "there is something to compare");
        tree::assert_same(&bench.exported(&tag("web")), &whole);
        let listed = bench.cli.hoist(["files", &web]).run().success();
        let listed: Vec<&str> = listed.lines().map(|line| &line[1..]).collect();
        let mut paths: Vec<&str> = whole.keys().map(|path| path.to_str().unwrap()).collect();
        paths.sort_by_key(|path| path.split('/').collect::<Vec<_>>());
        assert_eq!(listed, paths);
        bench.assert_taken(&tag("web"), &whole);
        flatten(&[&web], "flat");
        flatten(&[&web, "--above", &base], "above");
        for what in ["flat", "above"] {
            tree::assert_same(&bench.exported(&tag(what)), &whole);
            tree::assert_same(&bench.unpacked(&tag(what)), &whole);
        }
        // On another base it is what the same layers make there, flattened or not.
        let there: Vec<Layer> = other.iter().chain(&layers[2..]).cloned().collect();
        bench.push(&there, &tag("there"));
        let to = bench.name(&tag("rebased"));
        let words = ["rebase", &web, "--old_base", &base, "--new_base", &other_base, "-t", &to];
        bench.cli.hoist(words).run().success();
        let there = bench.unpacked(&tag("there"));
        tree::assert_same(&bench.exported(&tag("rebased")), &there);
        tree::assert_same(&bench.unpacked(&tag("rebased")), &there);
    }
}
