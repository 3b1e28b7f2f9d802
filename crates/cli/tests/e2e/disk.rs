//! Places that cannot be written to.

use std::fs;
use std::path::{Path, PathBuf};

use testkit::{Cli, images};

use crate::support::{as_root, assert_empty, is_root, refused, serving};

/// A file system of 256 KiB.
struct Small<'a> {
    cli: &'a Cli,
    path: PathBuf,
}

impl<'a> Small<'a> {
    fn mount(cli: &'a Cli) -> Self {
        let path = cli.home().join("small");
        fs::create_dir(&path).unwrap();
        let arguments = ["-t", "tmpfs", "-o", "size=256k,mode=1777", "tmpfs", path.to_str().unwrap()];
        as_root(cli, "mount", arguments).run().success();
        Self { cli, path }
    }
}

impl Drop for Small<'_> {
    fn drop(&mut self) {
        as_root(self.cli, "umount", [self.path.to_str().unwrap()]).run().success();
    }
}

#[test]
fn a_full_disk() {
    let cli = Cli::new();
    let small = Small::mount(&cli);
    let server = serving(&images::large(1 << 20), "demo/web", "1");
    let name = format!("{}/demo/web:1", server.address());

    let spool = cli.hoist(["export", &name, "out.tar"]).env("TMPDIR", &small.path).run();
    refused(&cli, &spool, "No space left on device");
    assert_empty(&small.path);
    assert_empty(&cli.work());

    let target = small.path.join("out.tar");
    let output = cli.hoist(["export", &name]).arg(&target).run();
    refused(&cli, &output, "No space left on device");
    assert_empty(&small.path);

    let redirected = cli.shell(&format!("hoist export {name} > {}", target.display())).run();
    refused(&cli, &redirected, "No space left on device");
    let full = cli.shell(&format!("hoist manifest {name} > /dev/full")).run();
    refused(&cli, &full, "No space left on device");
}

#[test]
fn a_target_that_cannot_be() {
    let cli = Cli::new();
    let server = serving(&images::single(), "demo/web", "1");
    let name = format!("{}/demo/web:1", server.address());
    refused(&cli, &cli.hoist(["export", &name, "no/such/folder/out.tar"]).run(), "no/such/folder/out.tar");
    refused(&cli, &cli.hoist(["export", &name, "."]).run(), "directory");
    refused(&cli, &cli.hoist(["export", &name, "/proc/out.tar"]).run(), "/proc/out.tar");
    assert_empty(&cli.work());
    if !is_root() {
        refused(&cli, &cli.hoist(["export", &name, "/out.tar"]).run(), "denied");
    }
    let nowhere = cli.hoist(["export", &name, "out.tar"]).env("TMPDIR", "/no/such/folder").run();
    refused(&cli, &nowhere, "/no/such/folder");
    assert!(!Path::new("/no").exists());
    assert_empty(&cli.work());
}

#[test]
fn the_limit_of_temporary_space() {
    let cli = Cli::new();
    let server = serving(&images::large(1 << 20), "demo/web", "1");
    let name = format!("{}/demo/web:1", server.address());
    let arguments = ["export", "--spool-limit", "500000", &name, "out.tar"];
    refused(&cli, &cli.hoist(arguments).run(), "500000 bytes of temporary space");
    assert_empty(&cli.work());
    cli.hoist(["export", "--spool-limit", "2000000", &name, "out.tar"]).run().success();
}
