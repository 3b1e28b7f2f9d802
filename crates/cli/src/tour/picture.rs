//! The image of the tour: small, but whole. Six layers, whiteouts, links, an odd name, eight platforms.

use image::{Content, File, Layer};
use oci::{Descriptor, Platform, Repository, Selector, Tag};
use serde_json::{Value, json};
use store::Store;

use crate::context::Context;
use crate::failure::Failure;

/// The platforms of the well-known images.
const PLATFORMS: [&str; 8] = [
    "linux/amd64",
    "linux/arm/v5",
    "linux/arm/v7",
    "linux/arm64/v8",
    "linux/386",
    "linux/mips64le",
    "linux/ppc64le",
    "linux/s390x",
];

const TAGS: [&str; 2] = ["1.0", "1.1"];

const fn file<'a>(path: &'a str, mode: u32, content: &'a str) -> File<'a> {
    File { path, mode, content: Content::File(content.as_bytes()) }
}

const fn folder(path: &str) -> File<'_> {
    File { path, mode: 0o755, content: Content::Directory }
}

/// Pushes `web`, with two tags, to the registry at `address`.
pub(super) async fn push(context: &Context, address: &str) -> Result<(), Failure> {
    let repository: Repository = format!("{address}/web").parse()?;
    let store = context.store(&repository)?.for_push(None);
    for tag in TAGS {
        let version = format!("{tag}\n");
        let layers = layers(&version)?;
        let mut images = Vec::new();
        for platform in PLATFORMS {
            images.push(push_one(&store, platform, &layers).await?);
        }
        // The tags are the tour's own, and right.
        let tag = Tag::new(tag).map_err(|(_, reason)| Failure::new(reason))?;
        image::push_index(&store, &images, &Selector::Tag(tag)).await?;
    }
    Ok(())
}

/// The image of one platform: its own second layer between those that all share.
async fn push_one(store: &dyn Store, platform: &str, shared: &[Layer]) -> Result<Descriptor, Failure> {
    let line = format!("{platform}\n");
    let own =
        Layer::new(&[folder("usr/lib"), folder("usr/lib/web"), file("usr/lib/web/platform", 0o644, &line)])?;
    let mut layers: Vec<&Layer> = shared.iter().collect();
    layers.insert(1.min(layers.len()), &own);
    let platform: Platform = platform.parse().map_err(Failure::new)?;
    Ok(image::push(store, &platform, &layers, &config()).await?)
}

fn config() -> Value {
    json!({
        "Env": ["PATH=/usr/bin:/bin"],
        "Entrypoint": ["/docker-entrypoint.sh"],
        "Cmd": ["web", "/srv/www"],
        "ExposedPorts": { "80/tcp": {} },
        "Labels": { "org.opencontainers.image.title": "web" },
    })
}

/// The five layers that all platforms share.
fn layers(version: &str) -> Result<[Layer; 5], Failure> {
    Ok([
        Layer::new(&[
            folder("bin"),
            folder("etc"),
            file("etc/motd", 0o644, "A newer layer removes this.\n"),
            file("etc/passwd", 0o644, "root:x:0:0:root:/:/bin/sh\nweb:x:80:80:web:/srv/www:/bin/false\n"),
            folder("srv"),
            folder("usr"),
            folder("usr/bin"),
            folder("usr/share"),
            folder("usr/share/doc"),
            file("usr/share/doc/old.txt", 0o644, "An opaque directory hides this.\n"),
        ])?,
        Layer::new(&[
            folder("srv/www"),
            file("srv/www/index.html", 0o644, "<!doctype html>\n<title>web</title>\n<p>It works.</p>\n"),
            file("srv/www/version", 0o644, version),
        ])?,
        Layer::new(&[
            file("usr/bin/web", 0o4755, "#!/bin/sh\nexec httpd -f -h \"$1\"\n"),
            File { path: "usr/bin/web-server", mode: 0o4755, content: Content::HardLink("usr/bin/web") },
            File { path: "bin/web", mode: 0o777, content: Content::Symlink("../usr/bin/web") },
        ])?,
        Layer::new(&[
            file("etc/.wh.motd", 0o644, ""),
            folder("usr/share/doc"),
            file("usr/share/doc/.wh..wh..opq", 0o644, ""),
            file("usr/share/doc/readme.txt", 0o644, "A newer layer brought this.\n"),
        ])?,
        Layer::new(&[
            file("docker-entrypoint.sh", 0o755, "#!/bin/sh\nexec \"$@\"\n"),
            file("srv/www/caf\u{e9}.html", 0o644, "<p>caf\u{e9}</p>\n"),
        ])?,
    ])
}
