//! Small real images of every kind, made with nothing of hoist's own.
//!
//! All of them are the same bytes in every run.

mod build;
mod graph;
mod tree;

pub use build::{Dialect, Image, index};
pub(crate) use graph::digest_like;
pub use graph::{Algorithm, Blob, Graph};
pub use tar::EntryType;
pub use tree::{Compression, Entry, Layer};

use serde_json::json;

/// The eight platforms of the official images on Docker Hub.
pub const EIGHT_PLATFORMS: [&str; 8] = [
    "linux/amd64",
    "linux/arm/v5",
    "linux/arm/v7",
    "linux/arm64/v8",
    "linux/386",
    "linux/mips64le",
    "linux/ppc64le",
    "linux/s390x",
];

/// One image for linux/amd64 with two gzip layers: `etc/`, `etc/motd`, `bin/`, `bin/hello`.
pub fn single() -> Graph {
    Image::new([base(), hello("linux/amd64")]).platform("linux/amd64").build()
}

/// An index of eight images that share their first layer.
pub fn eight_platforms() -> Graph {
    index(EIGHT_PLATFORMS.map(|platform| Image::new([base(), hello(platform)]).platform(platform).build()))
}

/// One image in docker's media types.
pub fn docker_schema2() -> Graph {
    Image::new([base(), hello("linux/amd64")]).dialect(Dialect::Docker).platform("linux/amd64").build()
}

/// A list of two images in docker's media types.
pub fn docker_list() -> Graph {
    index(["linux/amd64", "linux/arm64"].map(|platform| {
        Image::new([base(), hello(platform)]).dialect(Dialect::Docker).platform(platform).build()
    }))
}

/// One image whose layers are zstd.
pub fn zstd() -> Graph {
    let layers = [base(), hello("linux/amd64")].map(|layer| layer.compression(Compression::Zstd));
    Image::new(layers).platform("linux/amd64").build()
}

/// An artifact (image specification 1.1): an empty config, no layers, an artifact type and an annotation.
pub fn artifact() -> Graph {
    let config = Blob::new("application/vnd.oci.empty.v1+json", b"{}");
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "artifactType": "application/vnd.example.note",
        "config": config.descriptor(),
        "layers": [],
        "annotations": {"org.example.note": "there is nothing below"},
    });
    Graph::leaf(&manifest, vec![config])
}

/// An index that holds an index of two platforms, and an artifact of no platform.
pub fn nested_index() -> Graph {
    let inner = index(
        ["linux/amd64", "linux/arm64"]
            .map(|platform| Image::new([base(), hello(platform)]).platform(platform).build()),
    );
    index([inner, artifact()])
}

/// One image where every digest is sha512.
pub fn sha512() -> Graph {
    Image::new([base(), hello("linux/amd64")]).algorithm(Algorithm::Sha512).platform("linux/amd64").build()
}

/// One image whose one layer has `bytes` bytes that do not compress: for transfers that are cut.
pub fn large(bytes: usize) -> Graph {
    Image::new([Layer::new().file("noise", noise(bytes)).compression(Compression::None)])
        .platform("linux/amd64")
        .build()
}

/// What [`whiteouts`] leaves: every path of the merged tree, sorted.
pub const WHITEOUTS_LEAVE: [&str; 11] = [
    "again",
    "again/new",
    "kept",
    "kept/hard",
    "kept/soft",
    "kept/twice",
    "opaque",
    "opaque/above",
    "opaque/below",
    "replaced",
    "unrelated.wh.name",
];

/// One image where layers above hide, replace and bring back what lies below.
///
/// `kept/hard` is a hard link to a file that the next layer removes: the content stays. In the second layer a file in
/// an opaque directory comes before the mark, and stays, for a mark hides lower layers only.
pub fn whiteouts() -> Graph {
    let lower = Layer::new()
        .directory("again")
        .file("again/old", "old")
        .directory("gone")
        .file("gone/deep", "deep")
        .directory("kept")
        .file("kept/original", "content")
        .hard_link("kept/hard", "kept/original")
        .file("kept/twice", "first")
        .directory("opaque")
        .file("opaque/hidden", "hidden")
        .file("replaced", "a file")
        .file("unrelated.wh.name", "no mark");
    let middle = Layer::new()
        .file("kept/.wh.original", "")
        .file(".wh.gone", "")
        .file(".wh.again", "")
        .file("kept/twice", "second")
        .file("kept/twice", "third")
        .directory("opaque")
        .file("opaque/above", "before the mark")
        .file("opaque/.wh..wh..opq", "")
        .file("opaque/below", "after the mark");
    let upper = Layer::new()
        .directory("again")
        .file("again/new", "new")
        .symbolic_link("kept/soft", "twice")
        .file(".wh.replaced", "")
        .file("replaced", "again a file");
    Image::new([lower, middle, upper]).platform("linux/amd64").build()
}

/// One image that starts in an empty root: `program`, statically linked, with its arguments.
pub fn runnable(program: impl Into<Vec<u8>>, arguments: &[&str]) -> Graph {
    let command: Vec<&str> = ["/program"].iter().chain(arguments).copied().collect();
    let platform = if cfg!(target_arch = "aarch64") { "linux/arm64" } else { "linux/amd64" };
    Image::new([Layer::new().executable("program", program)]).platform(platform).entrypoint(&command).build()
}

/// A manifest of schema 1, which only its bytes are good for.
pub fn schema1() -> Graph {
    let manifest = json!({
        "schemaVersion": 1, "name": "demo/old", "tag": "latest", "architecture": "amd64",
        "fsLayers": [], "history": [], "signatures": [],
    });
    let bytes = serde_json::to_vec_pretty(&manifest).expect("JSON");
    let manifest = Blob::new("application/vnd.docker.distribution.manifest.v1+prettyjws", &bytes);
    Graph { manifest, platform: None, children: Vec::new(), blobs: Vec::new() }
}

fn base() -> Layer {
    Layer::new().directory("etc").file("etc/motd", "welcome\n")
}

fn hello(platform: &str) -> Layer {
    Layer::new().directory("bin").executable("bin/hello", format!("#!/bin/sh\necho hello from {platform}\n"))
}

/// Bytes that do not compress (xorshift64).
fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let words = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    words.flatten().take(bytes).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_the_same_every_time() {
        assert_eq!(eight_platforms().manifest.digest, eight_platforms().manifest.digest);
        assert_eq!(eight_platforms().children.len(), 8);
        assert_eq!(large(1000).blobs.len(), 2);
        assert!(sha512().manifest.digest.starts_with("sha512:"));
    }

    #[test]
    fn noise_does_not_compress() {
        let noise = noise(100_000);
        assert!(::zstd::bulk::compress(&noise, 3).unwrap().len() > 99_000);
    }
}
