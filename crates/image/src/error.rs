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
    /// Where an index is needed there is something else.
    #[error("{0} is one image, not an index")]
    NotAnIndex(Digest),
    /// What an image's configuration has was to be changed of something that has another configuration.
    #[error(
        "manifest {0} is an artifact without an image's config; only its annotations and layers can be changed"
    )]
    NotAnImageConfig(Digest),
    /// An index lists nothing that is to be changed.
    #[error("index {0} lists no image for that")]
    NothingToChange(Digest),
    /// What can only be said of one image was to be done to several.
    #[error("index {index} has {images} images, and this can only be done to one; choose it by its platform")]
    ForOne {
        /// The index.
        index: Digest,
        /// How many images it lists.
        images: usize,
    },
    /// Indexes stand in each other deeper than anybody means.
    #[error("index {0} stands in too many others")]
    TooDeep(Digest),
    /// A document cannot be edited.
    #[error("{what} {digest} cannot be edited: {source}")]
    Document {
        /// What it is.
        what: &'static str,
        /// Its digest.
        digest: Digest,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// A part of a document is not what it should be.
    #[error("the image cannot be edited: {0}")]
    Edit(#[from] serde_json::Error),
    /// A layer and the index that its manifest binds to it do not agree.
    #[error("layer {layer} is not what its {format} index says")]
    Index {
        /// The layer.
        layer: Digest,
        /// The index's format.
        format: &'static str,
    },
    /// The manifest has other layers than the configuration.
    #[error("manifest {0} has another number of layers than its config; `hoist validate` tells more")]
    LayersDisagree(Digest),
    /// An image does not say what it is built on.
    #[error("image {0} does not say by annotations what it is built on")]
    NoBase(Digest),
    /// What was wanted as a file is something else.
    #[error("{0:?} is not a regular file in the image")]
    NotAFile(String),
    /// An image is not built on what it is said to be.
    #[error("image {image} does not begin with the layers of base {base}")]
    OtherBase {
        /// The image.
        image: Digest,
        /// The base.
        base: Digest,
    },
    /// A base is for another platform than the image.
    #[error("image {image} is for {is}, and the new base for {base}")]
    OtherPlatform {
        /// The image.
        image: Digest,
        /// Its platform.
        is: Box<oci::Platform>,
        /// The base's platform.
        base: Box<oci::Platform>,
    },
    /// What a layer is to be made of cannot be read.
    #[error("reading {name}: {source}")]
    Input {
        /// What was read.
        name: String,
        /// What the system says.
        source: io::Error,
    },
    /// There is nothing in what a layer is to be made of.
    #[error("{0} is empty, which is no layer")]
    EmptyLayer(String),
    /// What was given as a layer is none.
    #[error("{name} is no layer: {}", causes(source))]
    NotALayer {
        /// What was read.
        name: String,
        /// What is wrong with it.
        source: layer::Error,
    },
    /// Files cannot become a layer.
    #[error("{name} cannot become a layer: {problem}")]
    Unfit {
        /// What was read.
        name: String,
        /// Why.
        problem: String,
    },
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
    /// A path leads nowhere.
    #[error(transparent)]
    Path(#[from] layer::FindError),
    /// An image has no such layer.
    #[error("there is no layer {asked}; the image has {layers}, and the lowest is 1")]
    NoLayer {
        /// What was asked for.
        asked: String,
        /// How many there are.
        layers: usize,
    },
    /// Several layers of an image have digests that begin like that.
    #[error("the digests of several layers begin with {0}")]
    SeveralLayers(String),
    /// Nobody in an image has this name.
    #[error("there is no {name} in the image's {list}, and nothing in its layers belongs to one")]
    NoAccount {
        /// The name.
        name: String,
        /// Where it would be.
        list: &'static str,
    },
    /// The content of a file could not be read from what its layer inflates to.
    #[error("reading a file's content: {source}")]
    Body {
        /// What went wrong.
        source: io::Error,
    },
    /// What was taken out of an image could not be written.
    #[error("writing {}: {source}", path.display())]
    Extract {
        /// Where.
        path: std::path::PathBuf,
        /// What went wrong.
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
