//! What can go wrong with an image.

use std::io;

use oci::{Digest, ManifestError};
use store::Kind;

/// Why an image could not be read or built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The place that holds the image failed.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The manifest cannot be understood.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// There is no image for the platform that was asked for, or it could not be looked for.
    #[error(transparent)]
    Select(#[from] transfer::Error),
    /// The manifest names no configuration.
    #[error("manifest {0} has no config")]
    NoConfig(Digest),
    /// Where one image is needed there is an index.
    #[error("{0} is an index of several images; choose one by its platform")]
    NotAnImage(Digest),
    /// A layer is not what it should be.
    #[error("layer {layer}: {}", causes(source))]
    Layer {
        /// The layer's digest.
        layer: Digest,
        /// What is wrong with it.
        source: layer::Error,
    },
    /// The layers do not make a file system.
    #[error("merging the layers: {}", causes(.0))]
    Merge(layer::Error),
    /// The inflated layers need more room than they may have.
    #[error("the inflated layers need more than the {0} bytes of temporary space that they may take")]
    SpoolLimit(u64),
    /// The temporary file for the inflated layers failed.
    #[error("keeping inflated layers in {folder}: {source}")]
    Spool {
        /// The folder of the temporary file.
        folder: String,
        /// What the system says.
        source: io::Error,
    },
    /// The output could not be written.
    #[error("writing the output: {0}")]
    Output(io::Error),
    /// A thread that inflates has stopped.
    #[error("inflating a layer stopped: {0}")]
    Stopped(#[from] tokio::task::JoinError),
}

/// An error and what it came from, in one line.
pub(crate) fn causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

impl Error {
    /// The store's error, if one failed.
    pub fn store(&self) -> Option<&store::Error> {
        match self {
            Self::Store(error) => Some(error),
            Self::Select(error) => error.store(),
            _ => None,
        }
    }

    /// What a caller can act on, if a store failed.
    pub fn kind(&self) -> Option<Kind> {
        self.store().map(store::Error::kind)
    }

    /// Whether whoever reads the output has closed it, which is no failure of the image.
    pub fn is_closed(&self) -> bool {
        matches!(self, Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }
}
