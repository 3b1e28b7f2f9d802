use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use image::Overlay;
use local::{Archive, ArchiveFormat, Directory, Layout};
use oci::{Digest, Manifest, MediaType, Reference, Selector, Tag};
use store::Store;
use transfer::{Options, Transfer};

use super::tag;
use crate::context::Context;
use crate::destination;
use crate::failure::Failure;
use crate::place::{Place, Source};
use crate::progress::Progress;

/// Push an image that lies on this machine
///
/// PATH is whatever has it: a file of `docker save`, old or new, compressed or not; an OCI layout, as a directory or as an archive; a
/// directory as skopeo writes it; `-` for an archive on standard input; or a place with its prefix, such as `oci:DIR:TAG`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Where the image is
    #[arg(value_name = "PATH")]
    pub(crate) path: String,
    /// What it is to be called
    #[arg(value_name = "IMAGE", required_unless_present = "all")]
    pub(crate) image: Option<String>,
    /// Push all that a layout directory lists as one index
    #[arg(long)]
    pub(crate) index: bool,
    /// A file for the reference that was pushed, with its digest
    #[arg(long, value_name = "FILE")]
    pub(crate) image_refs: Option<PathBuf>,
    /// Give it this tag too (+)
    #[arg(short, long, value_name = "TAG")]
    pub(crate) tag: Vec<String>,
    /// Which of several images is meant, by its name, tag or digest (+)
    #[arg(long = "ref", value_name = "NAME", conflicts_with_all = ["all", "index"])]
    pub(crate) name: Option<String>,
    /// Push every image that has a name, each below --to (+)
    #[arg(long, requires = "to", conflicts_with_all = ["image", "index", "tag"])]
    pub(crate) all: bool,
    /// The registry, and whatever else stands before the repositories of --all: `host/a` makes `host/a/library/nginx:1` of
    /// `nginx:1`, and `host/a:1` of what is called `1` (+)
    #[arg(long, value_name = "PREFIX", requires = "all")]
    pub(crate) to: Option<String>,
}

/// What is on this machine.
enum Bundle {
    Layout(Layout),
    Archive(Archive),
    /// One image, wherever it is.
    Image(Arc<dyn Store>, Selector),
}

pub(crate) async fn run(context: &Context, args: Args) -> Result<(), Failure> {
    let bundle = Bundle::open(context, &args.path).await?;
    let mut pushed = Vec::new();
    if args.all {
        // The parser demands it.
        let prefix = args.to.as_deref().unwrap_or_default();
        let targets = targets(prefix, bundle.names(&args.path)?)?;
        for (to, digest) in targets {
            let copy = Copy { store: bundle.store(), root: digest.into(), tags: &[] };
            let copied = copy.to(context, &to).await;
            if let (Err(_), Some(file)) = (&copied, &args.image_refs) {
                // What is there by now is told all the same.
                write_refs(file, &pushed.join("\n"))?;
            }
            pushed.push(copied?);
        }
    } else {
        let (store, root) = bundle.choose(&args)?;
        let to = args.image.as_deref().unwrap_or_default();
        let tags: Vec<Tag> = args.tag.iter().map(|tag| tag::parse(tag)).collect::<Result<_, _>>()?;
        pushed.push(Copy { store, root, tags: &tags }.to(context, to).await?);
    }
    if let Some(file) = &args.image_refs {
        write_refs(file, &pushed.join("\n"))?;
    }
    pushed.iter().try_for_each(|reference| context.ui.println(reference))
}

/// What is pushed, and where it is.
type Chosen = (Arc<dyn Store>, Selector);

impl Bundle {
    async fn open(context: &Context, path: &str) -> Result<Self, Failure> {
        if !context.settings.crane && path.contains(':') && !Path::new(path).exists() {
            match context.place(path)? {
                Place::Registry(_) => {}
                // Without a word of which, all that is there may be meant.
                Place::Layout(name) if name.selector().is_none() => {
                    return Ok(Self::Layout(Layout::open(name.directory())?));
                }
                Place::Archive(name) if name.wanted().is_none() => {
                    return Ok(Self::Archive(Archive::open(name.format(), name.file()).await?));
                }
                place => {
                    let source = Source::open(place, context).await?;
                    return Ok(Self::Image(source.store, source.selector));
                }
            }
        }
        let directory = Path::new(path);
        if !directory.is_dir() {
            return Ok(Self::Archive(Archive::open(ArchiveFormat::Docker, path).await?));
        }
        if !directory.join("index.json").exists() && directory.join("manifest.json").exists() {
            let store = Directory::open(path)?;
            let selector = store.only()?;
            return Ok(Self::Image(Arc::new(store), selector));
        }
        Ok(Self::Layout(Layout::open(path)?))
    }

    fn store(&self) -> Arc<dyn Store> {
        match self {
            Self::Layout(layout) => Arc::new(layout.clone()),
            Self::Archive(archive) => Arc::new(archive.clone()),
            Self::Image(store, _) => Arc::clone(store),
        }
    }

    /// The names that are in it.
    fn names(&self, path: &str) -> Result<Vec<(String, Digest)>, Failure> {
        let names = match self {
            Self::Layout(layout) => layout.named_images()?,
            Self::Archive(archive) => archive.named_images(),
            Self::Image(..) => {
                return Err(Failure::new(format_args!("{path} is one image, not a bundle"))
                    .hint("leave out --all and --to, and say what it is to be called"));
            }
        };
        if names.is_empty() {
            return Err(Failure::new(format_args!("nothing in {path} has a name"))
                .hint("--ref DIGEST pushes one image"));
        }
        Ok(names)
    }

    /// The one that is meant.
    fn choose(&self, args: &Args) -> Result<Chosen, Failure> {
        // What is no layout has one image, as crane takes it.
        if args.index
            && let Some(whole) = self.whole(&args.path)?
        {
            return Ok(whole);
        }
        let store = self.store();
        let selector = match (self, &args.name) {
            (Self::Image(_, selector), None) => selector.clone(),
            (Self::Image(..), Some(_)) => {
                return Err(Failure::new(format_args!("{} names one image already", args.path))
                    .hint("leave out --ref"));
            }
            (Self::Layout(layout), None) => layout.only().map_err(|error| self.several(&args.path, error))?,
            (Self::Archive(archive), None) => {
                archive.find(None).map_err(|error| self.several(&args.path, error))?
            }
            (_, Some(name)) => self.named(name, &args.path)?,
        };
        Ok((store, selector))
    }

    /// What has a name, a tag or a digest.
    fn named(&self, name: &str, path: &str) -> Result<Selector, Failure> {
        if let Ok(digest) = name.parse::<Digest>() {
            return Ok(digest.into());
        }
        let names = self.names(path)?;
        let meant: Option<Reference> = name.parse().ok();
        let same = |known: &str| {
            known == name || Tag::new(known).is_err() && meant.is_some() && known.parse().ok() == meant
        };
        if let Some((_, digest)) = names.iter().find(|(known, _)| same(known)) {
            return Ok((*digest).into());
        }
        let tag = Tag::new(name).ok().filter(|_| matches!(self, Self::Layout(_)));
        if let Some(tag) = tag {
            return Ok(tag.into());
        }
        let names: Vec<&str> = names.iter().map(|(name, _)| name.as_str()).collect();
        Err(Failure::new(format_args!("{path} has nothing that is called {name}"))
            .hint(format!("it has {}", names.join(", "))))
    }

    /// That there is more than one image.
    fn several(&self, path: &str, error: store::Error) -> Failure {
        let failure = Failure::from(error);
        let names = match self {
            Self::Layout(layout) => layout.named_images().unwrap_or_default(),
            Self::Archive(archive) => archive.named_images(),
            Self::Image(..) => Vec::new(),
        };
        if names.len() < 2 {
            return failure;
        }
        let count = names.len();
        let names: Vec<&str> = names.iter().map(|(name, _)| name.as_str()).collect();
        Failure::new(format_args!("{path} contains {count} entries, consider --index"))
            .hint(format!("--ref chooses one: {}; --all pushes each by its name", names.join(", ")))
    }

    /// All that a layout lists, as an index.
    fn whole(&self, path: &str) -> Result<Option<Chosen>, Failure> {
        let Some(text) = (match self {
            Self::Layout(layout) => Some(layout.index_json()?),
            Self::Archive(archive) => archive.index_json()?,
            Self::Image(..) => {
                return Err(Failure::new(format_args!("{path} is one image, and --index pushes all"))
                    .hint("leave out --index"));
            }
        }) else {
            return Ok(None);
        };
        let index = Manifest::new(text, Some(MediaType::OCI_INDEX)).map_err(Failure::new)?;
        let mut store = Overlay::over(self.store());
        let selector = index.digest().into();
        store.add_manifest(index);
        Ok(Some((Arc::new(store), selector)))
    }
}

/// Where the images of a bundle go: no two of them to one place.
fn targets(prefix: &str, names: Vec<(String, Digest)>) -> Result<Vec<(String, Digest)>, Failure> {
    let mut targets: Vec<(String, Digest)> = Vec::new();
    for (name, digest) in names {
        let to = below(prefix, &name)?;
        match targets.iter().find(|(known, _)| *known == to) {
            Some((_, known)) if *known == digest => {}
            Some(_) => {
                return Err(Failure::new(format_args!("two images would go to {to}; nothing was pushed"))
                    .hint("push them one by one, with --ref"));
            }
            None => targets.push((to, digest)),
        }
    }
    Ok(targets)
}

/// Where an image of a bundle goes.
fn below(prefix: &str, name: &str) -> Result<String, Failure> {
    if Tag::new(name).is_ok() {
        return Ok(format!("{prefix}:{name}"));
    }
    let reference: Reference = name.parse()?;
    let repository = format!("{}/{}", prefix.trim_end_matches('/'), reference.repository().path());
    Ok(match (reference.digest(), reference.tag()) {
        (Some(digest), _) => format!("{repository}@{digest}"),
        (None, tag) => format!("{repository}:{}", tag.cloned().unwrap_or(Tag::latest())),
    })
}

/// An image on its way.
struct Copy<'a> {
    store: Arc<dyn Store>,
    root: Selector,
    tags: &'a [Tag],
}

impl Copy<'_> {
    /// Copies it; what it is called there.
    async fn to(self, context: &Context, typed: &str) -> Result<String, Failure> {
        let place = context.place(typed)?;
        let Place::Registry(reference) = &place else {
            return Err(Failure::new(format_args!("{typed} is not on a registry"))
                .hint("`hoist cp` copies between all places"));
        };
        let name = reference.selector();
        let destination = destination::open(context, &place, &[], Some(&name))?;
        let options = Options {
            platform: context.settings.platform().cloned(),
            nondistributable: context.settings.nondistributable,
            ..Options::default()
        };
        let names = (place.named(&name), typed.to_owned());
        let progress = Arc::new(Progress::copy(context.ui.clone(), names));
        let transfer = Transfer::new(self.store, destination, options, Arc::clone(&progress) as _);
        let copied = transfer.copy(&self.root, &name).await?;
        for tag in self.tags {
            transfer.copy(&copied.descriptor.digest.into(), &tag.clone().into()).await?;
        }
        progress.end(true);
        Ok(place.named(&copied.descriptor.digest.into()))
    }
}

/// Writes what was pushed for whoever comes next, who alone may read it.
fn write_refs(file: &Path, text: &str) -> Result<(), Failure> {
    let written = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(file)
        .and_then(|mut out| out.write_all(text.as_bytes()));
    written.map_err(|error| Failure::new(format_args!("writing {}: {error}", file.display())))
}
