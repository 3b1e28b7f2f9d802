//! What may be chosen about a transfer.

use std::num::NonZeroUsize;

use oci::Platform;

use crate::Limits;

/// What may be chosen about a transfer. The default copies everything, eight blobs at once.
#[derive(Clone, Debug)]
pub struct Options {
    /// Only the image for this platform; the destination's name is then that of the image itself. `None` copies all.
    pub platform: Option<Platform>,
    /// Whether a tag that the destination has already is left alone.
    pub no_clobber: bool,
    /// Whether layers are copied that their owner does not allow to be pushed elsewhere. Registries usually do not
    /// hold them, so they are left out by default; the manifest names them all the same.
    pub nondistributable: bool,
    /// How many blobs, and how many tags, move at once.
    pub jobs: NonZeroUsize,
    /// How large a graph may be.
    pub limits: Limits,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            platform: None,
            no_clobber: false,
            nondistributable: false,
            jobs: const { NonZeroUsize::new(8).expect("eight is not zero") },
            limits: Limits::default(),
        }
    }
}
