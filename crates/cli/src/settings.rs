//! What was asked for, settled once: flags, environment, and the name that the program was called by.

use std::ffi::OsStr;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use oci::{Platform, PlatformError};
use registry::AllowedHost;

use crate::access::Access;
use crate::amount::Size;
use crate::args::Global;
use crate::failure::Failure;
use crate::root::Root;

/// What all commands go by.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub(crate) struct Settings {
    /// Whether the program was called as crane, and nothing may be refused that crane does.
    pub(crate) crane: bool,
    pub(crate) insecure: bool,
    pub(crate) allowed_hosts: Vec<AllowedHost>,
    /// Where hoist keeps what is its own between runs.
    pub(crate) root: Option<Root>,
    /// Whether nothing of registries is remembered, and no cache used.
    pub(crate) forgetful: bool,
    /// The directory of the cache of blobs.
    pub(crate) cache: Option<PathBuf>,
    /// The most that is kept there, in bytes.
    pub(crate) cache_size: u64,
    /// How all registries are reached, where nothing else is said of one.
    pub(crate) access: Access,
    /// All that was said with `--platform`, in order.
    pub(crate) platforms: Vec<PlatformChoice>,
    pub(crate) nondistributable: bool,
    /// The most exchanges with one host at once; `None` leaves it to the client.
    pub(crate) jobs: Option<NonZeroUsize>,
    /// A body that moves nothing for so long is asked for anew (`HOIST_STALL_SECONDS`); `None` leaves it to the client.
    pub(crate) stall: Option<Duration>,
    /// The time that reproducible builds write down (`SOURCE_DATE_EPOCH`).
    pub(crate) source_date_epoch: Option<String>,
    /// Where the docker daemon listens (`DOCKER_HOST`); `None` is this machine's own place for it.
    pub(crate) docker_host: Option<String>,
}

impl Settings {
    /// `program` is the name that it was called by, `variable` looks up the environment.
    pub(crate) fn new(
        global: &Global,
        program: &OsStr,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, Failure> {
        let set = |name| variable(name).filter(|value| !value.is_empty());
        Ok(Self {
            crane: is_crane(program),
            insecure: global.insecure,
            allowed_hosts: global.allow_host.clone(),
            root: Root::find(),
            forgetful: global.no_cache,
            cache: global.cache.clone().or_else(|| set("HOIST_CACHE").map(PathBuf::from)),
            cache_size: match (global.cache_size, set("HOIST_CACHE_SIZE")) {
                (Some(size), _) => size.0,
                (None, Some(text)) => size(&text)?,
                (None, None) => CACHE_SIZE,
            },
            access: global.access.clone(),
            platforms: global.platform.clone(),
            nondistributable: global.allow_nondistributable_artifacts,
            jobs: None,
            stall: variable("HOIST_STALL_SECONDS").map(|text| seconds(&text)).transpose()?,
            source_date_epoch: set("SOURCE_DATE_EPOCH"),
            docker_host: variable("DOCKER_HOST"),
        })
    }
}

/// How much a cache keeps unless it is told, in bytes.
const CACHE_SIZE: u64 = 2 << 30;

fn size(text: &str) -> Result<u64, Failure> {
    let wrong = |error| Failure::new(format_args!("HOIST_CACHE_SIZE is {text:?}: {error}"));
    text.parse::<Size>().map(|size| size.0).map_err(wrong)
}

fn seconds(text: &str) -> Result<Duration, Failure> {
    match text.parse() {
        Ok(seconds @ 1..) => Ok(Duration::from_secs(seconds)),
        _ => {
            Err(Failure::new(format_args!("HOIST_STALL_SECONDS is {text:?}, which is no number of seconds")))
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

impl Settings {
    /// The platform, where a whole index is as good.
    pub(crate) fn platform(&self) -> Option<&Platform> {
        match self.platforms.last() {
            None | Some(PlatformChoice::All) => None,
            Some(PlatformChoice::One(platform)) => Some(platform),
        }
    }

    /// The platform, where it has to be one: crane takes linux/amd64 then, whatever the machine.
    pub(crate) fn platform_or_default(&self) -> Platform {
        self.platform().cloned().unwrap_or_else(Platform::linux_amd64)
    }

    /// Whether all platforms were asked for in so many words.
    pub(crate) fn all_platforms(&self) -> bool {
        self.platforms.last() == Some(&PlatformChoice::All)
    }
}

impl FromStr for PlatformChoice {
    type Err = PlatformError;

    fn from_str(text: &str) -> Result<Self, PlatformError> {
        match text {
            "all" => Ok(Self::All),
            "host" => Ok(Self::One(Platform::host())),
            other => other.parse().map(Self::One),
        }
    }
}
