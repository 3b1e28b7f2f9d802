//! What OCI artifacts are: references, digests, media types, descriptors, platforms and manifests.
//!
//! Floor 0 of the house: no I/O and no async. The words are those of the OCI [image] and [distribution]
//! specifications; the rules for what a person may type as a reference are those of `crane`.
//!
//! ```
//! use oci::{Reference, Selector};
//!
//! let reference: Reference = "nginx:1.25".parse()?;
//! assert_eq!(reference.to_string(), "index.docker.io/library/nginx:1.25");
//! assert!(matches!(reference.selector(), Selector::Tag(tag) if tag.as_str() == "1.25"));
//! # Ok::<(), oci::ReferenceError>(())
//! ```
//!
//! [image]: https://github.com/opencontainers/image-spec/blob/v1.1.1/spec.md
//! [distribution]: https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md

mod config;
mod descriptor;
mod digest;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
pub mod json;
mod manifest;
mod media_type;
mod platform;
mod reference;
mod registry_name;
mod repository;
mod selector;
mod verify;

pub use config::{History, ImageConfig, RootFs};
pub use descriptor::Descriptor;
pub use digest::{Algorithm, Digest, DigestError, Hasher};
pub use manifest::{ImageManifest, Index, Manifest, ManifestError, Referrer, View};
pub use media_type::MediaType;
pub use platform::{Platform, PlatformError};
pub use reference::{Reference, ReferenceError};
pub use registry_name::RegistryName;
pub use repository::Repository;
pub use selector::{Selector, Tag};
pub use verify::{Verifier, VerifyError};
