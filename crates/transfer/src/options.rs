//! What may be chosen about a transfer.

use std::num::{NonZeroU64, NonZeroUsize};

use oci::{Descriptor, Platform};
use store::Expected;

use crate::Limits;

/// What may be chosen about a transfer. The default copies everything.
#[derive(Clone, Debug)]
pub struct Options {
    /// Only the image for this platform; the destination's name is then that of the image itself. `None` copies all.
    pub platform: Option<Platform>,
    /// Whether a tag that the destination has already is left alone.
    pub no_clobber: bool,
    /// Whether a tag that names an index is left alone when it would name a single image after this.
    pub spare_index: bool,
    /// What the destination's name has to stand for before it is written; it is looked at before anything is done, and again
    /// when the name is written. `None` takes it as it is. Of all tags, it holds for each.
    pub expect: Option<Expected>,
    /// What the destination's name is known to stand for. `None` asks.
    pub there: Option<Descriptor>,
    /// Whether layers are copied that their owner does not allow to be pushed elsewhere. Registries usually do not
    /// hold them, so they are left out by default; the manifest names them all the same.
    pub nondistributable: bool,
    /// The most blobs, and the most tags, that move at once. How much a host takes is found out below that.
    pub jobs: NonZeroUsize,
    /// The most bytes a second, in each direction. What stays on this machine does not count.
    pub bandwidth: Option<NonZeroU64>,
    /// How large a graph may be.
    pub limits: Limits,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            platform: None,
            no_clobber: false,
            spare_index: false,
            expect: None,
            there: None,
            nondistributable: false,
            jobs: const { NonZeroUsize::new(32).expect("32 is not zero") },
            bandwidth: None,
            limits: Limits::default(),
        }
    }
}
