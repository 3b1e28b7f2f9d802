//! Platforms: what an image runs on, and which entry of an index serves one.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::Descriptor;
use crate::descriptor::nullable;

/// A platform (image specification, image-index.md). Prints and parses as `os/arch[/variant][:osversion]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Platform {
    /// Operating system, Go's name: `linux`, `windows`.
    #[serde(default)]
    pub os: String,
    /// Processor, Go's name: `amd64`, `arm64`.
    #[serde(default)]
    pub architecture: String,
    /// Processor's variant: `v7`, `v8`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// Operating system's version, for Windows.
    #[serde(default, rename = "os.version", skip_serializing_if = "Option::is_none")]
    pub os_version: Option<String>,
    /// Operating system's features that the image needs.
    #[serde(
        default,
        rename = "os.features",
        deserialize_with = "nullable",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub os_features: Vec<String>,
}

/// Why a text is not a platform.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "could not parse platform {input:?}: {reason}; write os/arch[/variant][:osversion], such as linux/arm64"
)]
pub struct PlatformError {
    /// What was given.
    pub input: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

impl Platform {
    /// A platform without a variant.
    pub fn new(os: &str, architecture: &str) -> Self {
        Self { os: os.to_owned(), architecture: architecture.to_owned(), ..Self::default() }
    }

    /// What crane takes where one image is needed and nothing was asked for.
    pub fn linux_amd64() -> Self {
        Self::new("linux", "amd64")
    }

    /// The platform this program was built for, with the variant that containerd takes for granted, so that
    /// [`Platform::choose`] prefers it to a better one that this machine may not run. macOS runs Linux images.
    pub fn host() -> Self {
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            "x86" => "386",
            "powerpc64" if cfg!(target_endian = "little") => "ppc64le",
            "mips64" if cfg!(target_endian = "little") => "mips64le",
            "mips" if cfg!(target_endian = "little") => "mipsle",
            other => other,
        };
        let os = if std::env::consts::OS == "windows" { "windows" } else { "linux" };
        let variant = match architecture {
            "amd64" => Some("v1"),
            "arm64" => Some("v8"),
            "arm" if cfg!(target_feature = "v7") => Some("v7"),
            "arm" => Some("v6"),
            _ => None,
        };
        Self { variant: variant.map(str::to_owned), ..Self::new(os, architecture) }
    }

    /// crane's rule: os and architecture are equal; variant and version are equal if asked for; all features that are
    /// asked for are offered.
    pub fn accepts(&self, offered: &Self) -> bool {
        let if_asked = |asked: &Option<String>, offered: &Option<String>| asked.is_none() || asked == offered;
        self.os == offered.os
            && self.architecture == offered.architecture
            && if_asked(&self.variant, &offered.variant)
            && if_asked(&self.os_version, &offered.os_version)
            && self.os_features.iter().all(|feature| offered.os_features.contains(feature))
    }

    /// Which of an index's entries an image for this platform is, or `None`.
    ///
    /// crane's rule first: the first entry it accepts, where an entry without a platform counts as linux/amd64. What
    /// that leaves unanswered follows containerd: the same processor with the next lower variant that it also runs
    /// (arm v7 runs v6 and v5; amd64 v3 runs v2 and the baseline; arm64 is v8), and the entry without variant last.
    pub fn choose<'a>(&self, entries: &'a [Descriptor]) -> Option<&'a Descriptor> {
        let offered = |entry: &Descriptor| entry.platform.clone().unwrap_or_else(Self::linux_amd64);
        entries.iter().find(|entry| self.accepts(&offered(entry))).or_else(|| {
            self.compatible_variants().into_iter().find_map(|variant| {
                entries.iter().find(|entry| {
                    let platform = offered(entry);
                    let wanted = Self { variant: None, ..self.clone() };
                    wanted.accepts(&platform) && platform.variant.as_deref() == variant
                })
            })
        })
    }

    /// Variants that this platform runs besides its own, best first.
    fn compatible_variants(&self) -> Vec<Option<&'static str>> {
        match (self.architecture.as_str(), self.variant.as_deref()) {
            ("arm", Some("v8")) => vec![Some("v7"), Some("v6"), Some("v5"), None],
            // Without a variant containerd takes v7 for granted, so an entry without one serves v7 first.
            ("arm", Some("v7")) => vec![None, Some("v6"), Some("v5")],
            ("arm", Some("v6")) => vec![Some("v5")],
            ("arm64", Some("v9")) => vec![Some("v8"), None],
            ("arm64", Some("v8")) | ("amd64", Some("v1")) => vec![None],
            ("amd64", Some("v2")) => vec![Some("v1"), None],
            ("amd64", Some("v3")) => vec![Some("v2"), Some("v1"), None],
            ("amd64", Some("v4")) => vec![Some("v3"), Some("v2"), Some("v1"), None],
            _ => Vec::new(),
        }
    }
}

impl FromStr for Platform {
    type Err = PlatformError;

    fn from_str(text: &str) -> Result<Self, PlatformError> {
        let fail = |reason| PlatformError { input: text.to_owned(), reason };
        let (main, version) = match text.split_once(':') {
            Some((main, version)) => (main, Some(version)),
            None => (text, None),
        };
        let parts: Vec<&str> = main.split('/').collect();
        if parts.iter().any(|part| part.is_empty()) || version == Some("") {
            return Err(fail("a part is empty"));
        }
        let (os, architecture, variant) = match parts[..] {
            [os, architecture] => (os, architecture, None),
            [os, architecture, variant] => (os, architecture, Some(variant)),
            [_] => return Err(fail("the architecture is missing")),
            _ => return Err(fail("it has too many parts")),
        };
        Ok(Self {
            variant: variant.map(str::to_owned),
            os_version: version.map(str::to_owned),
            ..Self::new(os, architecture)
        })
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        if let Some(variant) = &self.variant {
            write!(f, "/{variant}")?;
        }
        if let Some(version) = &self.os_version {
            write!(f, ":{version}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Algorithm, MediaType};

    fn entries(platforms: &[&str]) -> Vec<Descriptor> {
        let entry = |text: &&str| {
            let mut entry = Descriptor::of(MediaType::OCI_MANIFEST, Algorithm::Sha256, text.as_bytes());
            entry.platform = (!text.is_empty()).then(|| text.parse().unwrap());
            entry
        };
        platforms.iter().map(entry).collect()
    }

    #[test]
    fn choice_of_an_entry() {
        let article: &[&str] =
            &["linux/amd64", "linux/arm/v5", "linux/arm/v7", "linux/arm64/v8", "linux/386", "linux/s390x"];
        for (asked, offered, chosen) in [
            ("linux/amd64", article, Some(0)),
            ("linux/arm", article, Some(1)),
            ("linux/arm/v7", article, Some(2)),
            ("linux/arm/v6", article, Some(1)),
            ("linux/arm/v8", article, Some(2)),
            ("linux/arm64", article, Some(3)),
            ("linux/arm64/v8", &["linux/arm64"], Some(0)),
            ("linux/arm64/v9", article, Some(3)),
            ("linux/amd64/v3", &["linux/amd64", "linux/amd64/v2"], Some(1)),
            ("linux/amd64/v2", &["linux/amd64", "linux/amd64/v3"], Some(0)),
            ("linux/amd64/v1", &["linux/amd64/v3", "linux/amd64"], Some(1)),
            ("linux/arm64/v8", &["linux/arm64/v9", "linux/arm64"], Some(1)),
            ("linux/arm/v7", &["linux/arm/v6", "linux/arm"], Some(1)),
            ("linux/amd64", &[""], Some(0)),
            ("linux/riscv64", article, None),
            ("linux/arm/v5", &["linux/arm/v7"], None),
            ("windows/amd64:10.0.17763.1", &["windows/amd64:10.0.17763.1"], Some(0)),
            ("windows/amd64:10.0.17763.1", &["windows/amd64:10.0.20348.1"], None),
            ("windows/amd64", &["windows/amd64:10.0.20348.1"], Some(0)),
        ] {
            let offered = entries(offered);
            let wanted: Platform = asked.parse().unwrap();
            assert_eq!(wanted.choose(&offered), chosen.map(|at: usize| &offered[at]), "{asked}");
        }
    }

    #[test]
    fn prints_as_it_parses() {
        for text in ["linux/amd64", "linux/arm/v7", "windows/amd64:10.0.17763.1"] {
            assert_eq!(text.parse::<Platform>().unwrap().to_string(), text);
        }
        for wrong in ["linux", "", "linux/", "a/b/c/d", "linux/amd64:"] {
            assert!(wrong.parse::<Platform>().is_err(), "{wrong}");
        }
    }
}
