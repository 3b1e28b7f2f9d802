//! The configuration of an image or artifact.

use bytes::Bytes;
use oci::{Descriptor, Digest, Manifest, View};
use store::Store;

use crate::Error;

/// The largest configuration that is read, in bytes: as large as a manifest may be.
pub(crate) const LIMIT: u64 = 4 << 20;

/// The configuration that a manifest names, byte for byte.
///
/// # Errors
/// [`Error::NoConfig`] for an index and for the early artifact manifest, which have none; [`Error::Store`].
pub async fn config(store: &dyn Store, manifest: &Manifest) -> Result<Bytes, Error> {
    let config = match manifest.view()? {
        View::Image(image) => image.config,
        View::Index(_) => None,
    };
    of(store, manifest.digest(), config.as_ref()).await
}

/// The same, where it is known which that is.
pub(crate) async fn of(
    store: &dyn Store,
    manifest: Digest,
    config: Option<&Descriptor>,
) -> Result<Bytes, Error> {
    let config = config.ok_or(Error::NoConfig(manifest))?;
    if let Some(content) = config.embedded() {
        return Ok(content.into());
    }
    let stream = store.read(config, 0..config.size).await?;
    Ok(store::collect(stream, config, LIMIT).await?)
}
