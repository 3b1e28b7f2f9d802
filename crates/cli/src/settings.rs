//! What was asked for, settled once: flags, environment, and the name that the program was called by.

use std::ffi::OsStr;
use std::path::Path;
use std::str::FromStr;

use oci::{Platform, PlatformError};

use crate::args::Global;

/// What all commands go by.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) insecure: bool,
    pub(crate) platform: PlatformChoice,
    pub(crate) nondistributable: bool,
}

impl Settings {
    pub(crate) fn new(global: &Global) -> Self {
        Self {
            insecure: global.insecure,
            platform: global.platform.clone(),
            nondistributable: global.allow_nondistributable_artifacts,
        }
    }
}

/// Whether the program was called through a link named `crane`: exit codes are crane's then, 0 and 1.
pub(crate) fn is_crane(program: &OsStr) -> bool {
    Path::new(program).file_stem().is_some_and(|name| name == "crane")
}

/// `--platform`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PlatformChoice {
    All,
    One(Platform),
}

impl PlatformChoice {
    /// The platform, where a whole index is as good.
    pub(crate) fn one(&self) -> Option<&Platform> {
        match self {
            Self::All => None,
            Self::One(platform) => Some(platform),
        }
    }

    /// The platform, where it has to be one: crane takes linux/amd64 then, whatever the machine.
    pub(crate) fn one_or_default(&self) -> Platform {
        self.one().cloned().unwrap_or_else(Platform::linux_amd64)
    }
}

impl FromStr for PlatformChoice {
    type Err = PlatformError;

    fn from_str(text: &str) -> Result<Self, PlatformError> {
        match text {
            "all" | "" => Ok(Self::All),
            "host" => Ok(Self::One(Platform::host())),
            other => other.parse().map(Self::One),
        }
    }
}
