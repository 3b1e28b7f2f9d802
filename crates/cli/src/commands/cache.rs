use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use clap::ValueEnum;
use indicatif::HumanBytes;
use local::{Cache, Freed, Tables};
use serde::Serialize;

use crate::context::Context;
use crate::failure::Failure;
use crate::output::Output;
use crate::root::Root;

/// What hoist keeps on this machine: blobs, tables of layers, what it remembers of registries, uploads to go on with (+)
///
/// Blobs lie in the directory of --cache (or `$HOIST_CACHE`), all else in `$XDG_CACHE_HOME/hoist`, or `~/.cache/hoist`, as do
/// blobs where no directory is given.
#[derive(Debug, clap::Args)]
#[command(arg_required_else_help = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Ls(Ls),
    Gc(Gc),
    Clear(Clear),
}

/// Show how much is kept of each kind, or all of one (+)
///
/// Of one kind each entry is a line: its name (of a blob the digest; the last used is the first), its size, and when it was last
/// used. As JSON: `[{"kind", "path", "entries", "bytes"}…]`, of one kind `[{"name", "bytes", "used"}…]`.
#[derive(Debug, clap::Args)]
struct Ls {
    /// Of which kind
    #[arg(value_name = "KIND")]
    kind: Option<Kind>,
    #[command(flatten)]
    output: Output,
}

/// Remove blobs and tables beyond --cache-size, the longest unused first, and what nobody goes on with (+)
#[derive(Debug, clap::Args)]
struct Gc {}

/// Remove all that is kept, or all of some kinds (+)
///
/// What another process is writing stays.
#[derive(Debug, clap::Args)]
struct Clear {
    /// Of which kinds
    #[arg(value_name = "KIND")]
    kinds: Vec<Kind>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// Blobs and manifests, by digest
    Blobs,
    /// What is remembered of registries
    Hosts,
    /// Tables of contents of layers
    Tables,
    /// Uploads that can be gone on with
    Uploads,
}

/// What is kept of a kind.
#[derive(Serialize)]
struct Kept {
    kind: &'static str,
    path: PathBuf,
    entries: usize,
    bytes: u64,
}

#[derive(Serialize)]
struct Entry {
    name: String,
    bytes: u64,
    /// RFC 3339.
    used: String,
}

/// Where things are kept.
struct Places {
    blobs: Cache,
    root: Option<Root>,
}

pub(crate) async fn run(context: &Context, args: Args) -> Result<(), Failure> {
    let places = Places::find(context)?;
    match args.command {
        Command::Ls(Ls { kind: Some(kind), output }) => {
            let entries = places.entries(kind).await?;
            if output.wants_json() {
                return output.print(&context.ui, &entries);
            }
            let width = entries.iter().map(|entry| entry.name.len()).max().unwrap_or_default();
            let line = |Entry { name, bytes, used }: &Entry| {
                format!("{name:<width$}  {:>10}  {used}\n", HumanBytes(*bytes).to_string())
            };
            context.ui.print(entries.iter().map(line).collect::<String>().as_bytes())
        }
        Command::Ls(Ls { kind: None, output }) => {
            let kept = places.kept().await?;
            if output.wants_json() {
                return output.print(&context.ui, &kept);
            }
            let line = |Kept { kind, path, entries, bytes }: &Kept| {
                format!(
                    "{kind:<7}  {entries:>6}  {:>10}  {}\n",
                    HumanBytes(*bytes).to_string(),
                    path.display()
                )
            };
            context.ui.print(kept.iter().map(line).collect::<String>().as_bytes())
        }
        Command::Gc(Gc {}) => {
            let Freed { entries, bytes } = places.blobs.collect().await?;
            if let Some(tables) = places.path(Kind::Tables) {
                let freed = Tables::new(tables, context.settings.cache_size).collect()?;
                context.ui.log(&format!("{} tables removed ({})", freed.entries, HumanBytes(freed.bytes)));
            }
            if let Some(uploads) = places.path(Kind::Uploads) {
                registry::tidy_uploads(&uploads).map_err(|error| failure("tidying", &uploads, &error))?;
            }
            context.ui.log(&format!("{entries} blobs removed ({})", HumanBytes(bytes)));
            Ok(())
        }
        Command::Clear(Clear { kinds }) => {
            // One that cannot be cleared keeps nobody from clearing the others.
            let mut outcome = Ok(());
            for kind in Kind::value_variants() {
                if kinds.is_empty() || kinds.contains(kind) {
                    outcome = outcome.and(places.clear(context, *kind).await);
                }
            }
            outcome
        }
    }
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Blobs => "blobs",
            Self::Hosts => "hosts",
            Self::Tables => "tables",
            Self::Uploads => "uploads",
        }
    }
}

impl Places {
    fn find(context: &Context) -> Result<Self, Failure> {
        let settings = &context.settings;
        let root = settings.root.clone();
        let Some(path) = settings.cache.as_ref().or(root.as_ref().map(Root::path)) else {
            return Err(Failure::new(
                "nothing is kept here: there is neither $XDG_CACHE_HOME nor a home directory",
            )
            .hint("--cache DIR names a directory of blobs"));
        };
        Ok(Self { blobs: context.cache_in(path)?, root })
    }

    /// Where a kind lies; what is only kept in a home may have no place.
    fn path(&self, kind: Kind) -> Option<PathBuf> {
        match kind {
            Kind::Blobs => Some(self.blobs.path().join("blobs")),
            Kind::Hosts => self.root.as_ref().map(Root::hosts),
            Kind::Tables => self.root.as_ref().map(Root::tables),
            Kind::Uploads => self.root.as_ref().map(Root::uploads),
        }
    }

    async fn entries(&self, kind: Kind) -> Result<Vec<Entry>, Failure> {
        let Some(path) = self.path(kind) else { return Ok(Vec::new()) };
        match kind {
            Kind::Blobs => {
                let entries = self.blobs.entries().await?.into_iter();
                Ok(entries
                    .map(|entry| Entry {
                        name: entry.digest.to_string(),
                        bytes: entry.size,
                        used: timestamp(entry.used),
                    })
                    .collect())
            }
            Kind::Tables => {
                let entries = Tables::new(path, 0).entries()?.into_iter();
                Ok(entries
                    .map(|entry| Entry {
                        name: entry.layer.to_string(),
                        bytes: entry.size,
                        used: timestamp(entry.used),
                    })
                    .collect())
            }
            Kind::Hosts | Kind::Uploads => {
                files(&path).map_err(|error| failure("looking into", &path, &error))
            }
        }
    }

    async fn kept(&self) -> Result<Vec<Kept>, Failure> {
        let mut kept = Vec::new();
        for &kind in Kind::value_variants() {
            let entries = self.entries(kind).await?;
            let bytes = entries.iter().map(|entry| entry.bytes).sum();
            if let Some(path) = self.path(kind) {
                kept.push(Kept { kind: kind.name(), path, entries: entries.len(), bytes });
            }
        }
        Ok(kept)
    }

    async fn clear(&self, context: &Context, kind: Kind) -> Result<(), Failure> {
        let Some(path) = self.path(kind) else { return Ok(()) };
        let failed = |error: io::Error| failure("clearing", &path, &error);
        match kind {
            Kind::Blobs => {
                let Freed { entries, bytes } = self.blobs.clear().await?;
                context.ui.log(&format!("{entries} blobs removed ({})", HumanBytes(bytes)));
            }
            Kind::Hosts => {
                registry::forget_all(&path).map_err(failed)?;
                context.ui.log("all registries forgotten");
            }
            Kind::Tables => {
                let Freed { entries, bytes } = Tables::new(path, 0).clear()?;
                context.ui.log(&format!("{entries} tables removed ({})", HumanBytes(bytes)));
            }
            Kind::Uploads => {
                registry::forget_uploads(&path).map_err(failed)?;
                context.ui.log("all uploads forgotten that are not under way");
            }
        }
        Ok(())
    }
}

/// The files of a directory of small ones, but for those that all others share.
fn files(path: &Path) -> io::Result<Vec<Entry>> {
    let directory = match fs::read_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        outcome => outcome?,
    };
    let mut entries = Vec::new();
    for file in directory {
        let file = file?;
        let name = file.file_name().to_string_lossy().into_owned();
        // It may have been replaced meanwhile.
        let Ok(metadata) = file.metadata() else { continue };
        if metadata.is_file() && !["lock", "salt"].contains(&&*name) {
            let used = timestamp(metadata.modified()?);
            entries.push(Entry { name, bytes: metadata.len(), used });
        }
    }
    entries.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(entries)
}

/// To the second.
fn timestamp(time: SystemTime) -> String {
    // What no calendar has is as old as can be.
    let time = jiff::Timestamp::try_from(time).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn failure(doing: &str, path: &Path, error: &io::Error) -> Failure {
    Failure::new(format_args!("{doing} {}: {error}", path.display()))
}
