//! A blob that is sent with the request that would open its session ("Single POST").

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use http::{Method, StatusCode};
use oci::{Descriptor, Verifier};
use store::{Error as StoreError, Kind, Writer};

use super::Target;
use crate::error::Error;
use crate::retry::is_passing;

/// Gathers the bytes, and sends them when they are known to be right.
pub(super) struct SmallWriter {
    target: Target,
    blob: Descriptor,
    verifier: Verifier,
    bytes: BytesMut,
}

impl SmallWriter {
    pub(super) fn new(target: Target, blob: &Descriptor) -> Self {
        Self { target, blob: blob.clone(), verifier: Verifier::new(blob), bytes: BytesMut::new() }
    }

    fn doing(&self) -> String {
        self.target.doing(&self.blob)
    }
}

impl Target {
    /// Sends a whole blob: without a session, or in one where the registry wants that.
    async fn send(&self, blob: &Descriptor, bytes: Bytes) -> Result<(), Error> {
        let habits = &self.host.uploads;
        let session = if habits.small().is_some() {
            let query = format!("digest={}", blob.digest);
            match self.post(Some(&query), &self.scopes, bytes.clone()).await {
                Ok((StatusCode::CREATED, _)) => {
                    habits.took_single(true);
                    return Ok(());
                }
                Ok((_, session)) => session?,
                Err(error) if is_about_single(&error) => {
                    self.post(None, &self.scopes, Bytes::new()).await?.1?
                }
                Err(error) => return Err(error),
            }
        } else {
            self.post(None, &self.scopes, Bytes::new()).await?.1?
        };
        // Only a registry that takes blobs otherwise shows that it does not take them so.
        self.request(Method::PUT, session.end(&blob.digest), &self.scopes, bytes).await?;
        habits.took_single(false);
        Ok(())
    }
}

/// Whether a refusal may be one of the way rather than of the blob.
fn is_about_single(error: &Error) -> bool {
    let told = !matches!(error.kind(), Kind::Unauthorized | Kind::Denied | Kind::TooManyRequests);
    matches!(error, Error::Status(_)) && told && error.status().is_some_and(|status| !is_passing(status))
}

#[async_trait]
impl Writer for SmallWriter {
    async fn write(&mut self, bytes: Bytes) -> Result<(), StoreError> {
        self.verifier.update(&bytes).map_err(|error| StoreError::verify(self.doing(), error))?;
        self.bytes.extend_from_slice(&bytes);
        Ok(())
    }

    async fn commit(self: Box<Self>) -> Result<(), StoreError> {
        let doing = self.doing();
        let Self { target, blob, verifier, bytes } = *self;
        verifier.finish().map_err(|error| StoreError::verify(&doing, error))?;
        target.send(&blob, bytes.freeze()).await.map_err(|error| error.doing(doing))?;
        target.has(&blob);
        Ok(())
    }
}
