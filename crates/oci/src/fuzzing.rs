//! What has to hold for every input, however it came: for the fuzz targets, and for the replay of what they found.

use std::fmt::{Debug, Display};
use std::str::FromStr;

use bytes::Bytes;
use serde_json::Value;

use crate::{
    Algorithm, Descriptor, Digest, ImageConfig, Manifest, ManifestError, MediaType, Platform, Reference,
    RegistryName, Repository, Selector, Tag, View,
};

/// What people type as a reference: errors point inside the text, and what is accepted prints as it parses.
pub fn reference(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    match text.parse::<Reference>() {
        Err(error) => assert!(error.position <= text.chars().count(), "{error:?}"),
        Ok(reference) => {
            let printed = reference.to_string();
            // `latest`, or a tag beside a digest, is not told from one that was typed.
            let meant = Reference::new(reference.repository().clone(), reference.selector());
            assert_eq!(printed.parse().as_ref(), Ok(&meant));
            assert_eq!(meant.to_string(), printed);
            // It goes into URLs and onto terminals as it is.
            assert!(printed.bytes().all(|byte| byte.is_ascii_graphic() && !b"?#%\\\"<>".contains(&byte)));
            let mut parts = reference.repository().path().split('/');
            assert!(parts.all(|part| part != "." && part != ".."), "{printed}");
            assert!(reference.repository().path().len() <= 255, "{printed}");
            let registry = reference.repository().registry();
            assert!(!registry.host().is_empty() && registry.as_str().contains(registry.host()), "{printed}");
        }
    }
    prints_as_it_parses::<Repository>(text);
    prints_as_it_parses::<RegistryName>(text);
    prints_as_it_parses::<Platform>(text);
    if let Ok(digest) = text.parse::<Digest>() {
        assert_eq!(digest.to_string(), text);
        assert_eq!(digest.hex().len(), digest.algorithm().digest(b"").hex().len());
        assert!(Tag::new(digest.fallback_tag().as_str()).is_ok());
    }
    match Tag::new(text) {
        Err((position, _)) => assert!(position <= text.chars().count()),
        Ok(tag) => {
            let repository = Repository::new(RegistryName::docker_hub(), "x").expect("x is a repository");
            let reference = Reference::new(repository, Selector::Tag(tag));
            assert_eq!(reference.to_string().parse().as_ref(), Ok(&reference));
        }
    }
}

fn prints_as_it_parses<T: FromStr + Display + Debug + PartialEq>(text: &str) {
    let Ok(parsed) = text.parse::<T>() else { return };
    let printed = parsed.to_string();
    let again = printed.parse::<T>().ok().expect("what was printed parses");
    assert_eq!(again, parsed, "{printed}");
    assert_eq!(again.to_string(), printed);
}

/// Manifests and configurations as registries send them: the bytes are kept, no view makes two things of one document,
/// and a view says what the document says.
pub fn manifest(input: &[u8]) {
    let raw = Bytes::copy_from_slice(input);
    let whole = serde_json::from_slice::<Value>(input).ok();
    for media_type in [
        None,
        Some(MediaType::OCI_MANIFEST),
        Some(MediaType::OCI_INDEX),
        Some(MediaType::DOCKER_MANIFEST),
        Some(MediaType::DOCKER_LIST),
        Some(MediaType::DOCKER_SCHEMA1_SIGNED),
        Some(MediaType::OCTET_STREAM),
    ] {
        let manifest = match Manifest::new(raw.clone(), media_type.clone()) {
            Ok(manifest) => manifest,
            Err(error) => {
                printable(&error);
                continue;
            }
        };
        assert_eq!(manifest.raw(), &raw);
        assert_eq!(manifest.digest(), Algorithm::Sha256.digest(input));
        assert_eq!(manifest.descriptor().size, input.len() as u64);
        assert_eq!(manifest.descriptor().digest, manifest.digest());
        verified(&manifest, media_type.as_ref());
        match manifest.view() {
            Err(error) => printable(&error),
            // Where nobody looks there may be what is no JSON: bytes that are not UTF-8, numbers that are too large.
            Ok(view) => whole.iter().for_each(|whole| says_what_the_document_says(&view, whole)),
        }
    }
    config(input);
}

/// With the right digest of whatever algorithm it is the same manifest; with another one there is none.
fn verified(manifest: &Manifest, media_type: Option<&MediaType>) {
    let raw = manifest.raw();
    assert_eq!(
        Manifest::verified(raw.clone(), media_type.cloned(), manifest.digest()).as_ref(),
        Ok(manifest)
    );
    let long = Algorithm::Sha512.digest(raw);
    let other = Manifest::verified(raw.clone(), media_type.cloned(), long).expect("the same bytes");
    assert_eq!((other.raw(), other.media_type()), (raw, manifest.media_type()));
    assert_eq!(other.digest(), long);
    let wrong = Manifest::verified(
        raw.clone(),
        media_type.cloned(),
        Algorithm::Sha256.digest(&[raw, &b"\n"[..]].concat()),
    );
    assert!(matches!(wrong, Err(ManifestError::Mismatch { .. })));
}

fn says_what_the_document_says(view: &View, whole: &Value) {
    let list = |name: &str| whole[name].as_array().map_or(0, Vec::len);
    let (subject, annotations, descriptors) = match view {
        View::Index(index) => {
            assert!(
                ["config", "layers", "blobs"].iter().all(|name| whole[name].is_null())
                    || whole["manifests"].is_null()
            );
            assert_eq!(index.manifests.len(), list("manifests"));
            let chosen = Platform::linux_amd64().choose(&index.manifests);
            assert!(chosen.is_none_or(|chosen| index.manifests.contains(chosen)));
            (&index.subject, &index.annotations, index.manifests.iter().collect::<Vec<_>>())
        }
        View::Image(image) => {
            assert!(whole["manifests"].is_null());
            let layers = if whole["layers"].is_null() { "blobs" } else { "layers" };
            assert_eq!(image.layers.len(), list(layers));
            assert_eq!(image.config.is_some(), !whole["config"].is_null());
            assert_eq!(image.artifact_type.as_deref(), whole["artifactType"].as_str());
            (&image.subject, &image.annotations, image.config.iter().chain(&image.layers).collect())
        }
    };
    assert_eq!(subject.is_some(), !whole["subject"].is_null());
    assert_eq!(annotations.len(), whole["annotations"].as_object().map_or(0, serde_json::Map::len));
    for descriptor in descriptors.into_iter().chain(subject) {
        prints_as_it_reads(descriptor);
        if let Some(content) = descriptor.embedded() {
            assert_eq!(
                Descriptor::of(descriptor.media_type.clone(), descriptor.digest.algorithm(), &content).digest,
                descriptor.digest
            );
            assert_eq!(content.len() as u64, descriptor.size);
        }
        if let Some(platform) = &descriptor.platform {
            assert!(platform.accepts(platform));
        }
    }
}

fn prints_as_it_reads<T>(value: &T)
where
    T: serde::Serialize + serde::de::DeserializeOwned + PartialEq + Debug,
{
    let json = serde_json::to_string(value).expect("it can be written");
    assert_eq!(&serde_json::from_str::<T>(&json).expect("it can be read"), value);
}

/// An image's configuration.
fn config(input: &[u8]) {
    if let Ok(config) = serde_json::from_slice::<ImageConfig>(input) {
        prints_as_it_reads(&config);
    }
}

/// What a registry sends must not be able to steer the terminal.
fn printable(error: &ManifestError) {
    let text = error.to_string();
    assert!(!text.contains(char::is_control), "{text:?}");
}

#[path = "../../../fuzz/replay.rs"]
#[cfg(test)]
mod replay;

#[cfg(test)]
mod tests {
    use super::replay::replay;

    #[test]
    fn references_that_were_found() {
        replay("oci_reference", super::reference);
    }

    #[test]
    fn manifests_that_were_found() {
        replay("oci_manifest", super::manifest);
    }
}
