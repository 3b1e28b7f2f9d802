//! What the verbs that change an image have in common: what is meant, how it is made, and where it goes.

use std::path::Path;
use std::sync::Arc;

use image::{Created, Edited, LayerContent, NewLayer, Packing};
use layer::Encoding;
use local::ArchiveFormat;
use oci::{Descriptor, Manifest, Selector};
use store::Store;
use transfer::{Options, Transfer};

use crate::context::Context;
use crate::destination;
use crate::failure::{Failure, is_closed};
use crate::place::{Place, Source};
use crate::progress::{self, Progress};

/// Where a changed image goes.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Target {
    /// The name for the result; without it, that of the image itself, and for an image named by digest, the new digest
    #[arg(short, long, value_name = "IMAGE")]
    pub(crate) tag: Option<String>,
    #[command(flatten)]
    pub(crate) care: Care,
}

/// What is spared at the destination.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub(crate) struct Care {
    /// Let a single image take the place of an index under the same tag (+)
    #[arg(long)]
    pub(crate) replace_index: bool,
}

/// What is written down as the time.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub(crate) struct Time {
    /// When the result is made, as 2022-04-16T07:10:51Z or seconds since 1970; without it or `$SOURCE_DATE_EPOCH` no time is
    /// written (+)
    #[arg(long, value_name = "TIME")]
    created: Option<Created>,
}

/// How layers are compressed.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub(crate) struct Compress {
    /// How new layers are compressed: `gzip[:1-9]`, `zstd[:1-22]` or `none`; what is compressed already stays so unless this is
    /// given (+)
    #[arg(long, value_name = "HOW")]
    compression: Option<Encoding>,
}

impl Time {
    /// What was said, here or by the environment.
    pub(crate) fn created(self, context: &Context) -> Result<Option<Created>, Failure> {
        match (self.created, &context.settings.source_date_epoch) {
            (Some(created), _) => Ok(Some(created)),
            (None, Some(text)) => {
                let wrong = |error| Failure::new(format_args!("SOURCE_DATE_EPOCH: {error}"));
                text.parse().map(Some).map_err(wrong)
            }
            (None, None) => Ok(None),
        }
    }
}

impl Compress {
    pub(crate) fn packing(self) -> Packing {
        Packing::new(self.compression)
    }

    /// Makes a layer, and shows how far that is. `total`: how many inflated bytes it has, where that is known.
    pub(crate) async fn layer(
        self,
        context: &Context,
        name: &str,
        made_of: LayerContent,
        total: Option<u64>,
    ) -> Result<NewLayer, Failure> {
        let packing = self.packing();
        let _shown = progress::Packing::start(&context.ui, name, Arc::clone(&packing.packed), total);
        Ok(NewLayer::pack(name.to_owned(), made_of, packing).await?)
    }
}

/// The result of a change, on its way.
pub(crate) struct Delivery<'a> {
    pub(crate) edited: Edited,
    /// Where it comes from; others that it has layers of behind it.
    pub(crate) from: Vec<&'a Place>,
    /// The name that was typed for it.
    pub(crate) to: &'a str,
    /// What it is called in a layout if nothing is said: what it was called before.
    pub(crate) own: Option<Selector>,
    /// Whether it is only to be found by its digest there.
    pub(crate) by_digest: bool,
    /// What the name stood for a moment ago, if it has been asked.
    pub(crate) before: Option<Descriptor>,
    pub(crate) care: Care,
}

impl Delivery<'_> {
    /// Writes it to where it goes, and prints what it is called there, by its digest.
    pub(crate) async fn send(self, context: &Context) -> Result<(), Failure> {
        let reference = self.write(context).await?;
        context.ui.println(&reference)
    }

    /// The same, but prints the name that was typed for it, unless that was a digest.
    pub(crate) async fn send_by_name(self, context: &Context) -> Result<(), Failure> {
        let to = self.to;
        let is_digest = context.place(to)?.digest().is_some();
        let reference = self.write(context).await?;
        context.ui.println(if is_digest { &reference } else { to })
    }

    /// Writes it to where it goes. What it is called there, by its digest.
    async fn write(self, context: &Context) -> Result<String, Failure> {
        let place = context.place(self.to)?;
        let root = self.edited.root.digest();
        let by_digest = self.by_digest || place.digest().is_some();
        let name = match &place {
            _ if by_digest => root.into(),
            Place::Registry(reference) => reference.selector(),
            Place::Layout(name) => name.selector().cloned().or(self.own.clone()).unwrap_or(root.into()),
            Place::Archive(name) => name.tag().map_or(root.into(), Into::into),
            Place::Directory(_) => root.into(),
            Place::Daemon(name) => name.tag().cloned().unwrap_or(oci::Tag::latest()).into(),
        };
        let place = if by_digest { strip(place) } else { place };
        let destination = destination::open(context, &place, &self.from, Some(&name))?;
        let full = place.named(&name);
        let typed = if matches!(name, Selector::Digest(_)) { &full } else { self.to };
        let options = Options { there: self.before, ..options(context, self.care) };
        copy(context, self.edited, destination, [&full, typed], &name, options).await?;
        Ok(place.named(&root.into()))
    }

    /// Writes it to a tarball for docker, and prints nothing, as crane does.
    pub(crate) async fn save(self, context: &Context, file: &Path) -> Result<(), Failure> {
        let (repository, tag) = destination::docker_name(self.to, &context.place(self.to)?)?;
        let name = format!("{repository}:{tag}");
        let archive = destination::tarball(context, file)?;
        let archive = destination::add_image(&archive, &self.edited.store, &self.edited.root, name).await?;
        let root = self.edited.root.digest().into();
        let full = file.display().to_string();
        let options = options(context, self.care);
        copy(context, self.edited, Arc::new(archive), [&full, self.to], &root, options).await
    }
}

/// The same place without a digest: another one goes there.
fn strip(place: Place) -> Place {
    match place {
        Place::Registry(reference) => {
            let latest = oci::Tag::latest().into();
            Place::Registry(oci::Reference::new(reference.repository().clone(), latest))
        }
        Place::Layout(name) => Place::Layout(name.without_selector()),
        other => other,
    }
}

fn options(context: &Context, care: Care) -> Options {
    Options {
        nondistributable: context.settings.nondistributable,
        spare_index: !care.replace_index,
        ..Options::default()
    }
}

async fn copy(
    context: &Context,
    edited: Edited,
    destination: Arc<dyn Store>,
    [full, typed]: [&str; 2],
    name: &Selector,
    options: Options,
) -> Result<(), Failure> {
    for note in &edited.notes {
        context.ui.log(note);
    }
    let progress = Arc::new(Progress::copy(context.ui.clone(), (full.to_owned(), typed.to_owned())));
    let transfer = Transfer::new(Arc::new(edited.store), destination, options, Arc::clone(&progress) as _);
    let sent = async {
        transfer.copy(&edited.root.digest().into(), name).await?;
        transfer.finish().await
    };
    match sent.await {
        Ok(()) => {
            progress.end(true);
            Ok(())
        }
        Err(error) if is_closed(&error) => Err(Failure::Closed),
        Err(error) => Err(error.into()),
    }
}

/// What is to be changed for a place: an index is for none that holds one image, so there it is the image for the platform.
pub(crate) async fn root(context: &Context, source: &Source, to: &str) -> Result<Manifest, Failure> {
    let holds_one = match context.place(to)? {
        Place::Archive(name) => name.format() == ArchiveFormat::Docker,
        Place::Daemon(_) => true,
        _ => false,
    };
    Ok(match context.settings.platform() {
        Some(platform) if holds_one => transfer::select(&*source.store, &source.selector, platform).await?,
        _ => source.store.manifest(&source.selector).await?,
    })
}

/// An image that is to be changed where it is, unless another name is given for the result.
pub(crate) async fn open(context: &Context, image: &str, target: Option<&str>) -> Result<Source, Failure> {
    let source = context.open(image).await?;
    if target.is_none() && matches!(source.place, Place::Archive(_) | Place::Directory(_) | Place::Daemon(_))
    {
        return Err(Failure::new(format_args!("{} cannot be changed in place", source.place.repository()))
            .hint("say with -t where the result goes"));
    }
    Ok(source)
}
