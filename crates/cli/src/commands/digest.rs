use std::sync::Arc;

use futures_util::stream::{self, StreamExt, TryStreamExt};
use local::{Archive, ArchiveFormat, ArchiveName, Wanted};
use oci::Descriptor;
use serde::Serialize;

use crate::context::Context;
use crate::failure::Failure;
use crate::output::Output;
use crate::place::{Place, Source};

/// So many images are asked for at once.
const AT_ONCE: usize = 16;

/// Print the digests of images
///
/// With --platform, that of the image for it: what a host of that platform pulls. Of several, one line each, in their
/// order; with --json as an array. The first that cannot be had ends the command.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The images or any other artifacts; several (+)
    #[arg(value_name = "IMAGE", required_unless_present = "tarball")]
    images: Vec<String>,
    /// Of an archive that `docker save`, `crane pull` or hoist wrote; IMAGE then names the one that is meant in it
    #[arg(long, value_name = "PATH", conflicts_with = "full_ref")]
    tarball: Option<String>,
    /// Print the full reference, REPOSITORY@DIGEST
    #[arg(long)]
    full_ref: bool,
    #[command(flatten)]
    output: Output,
}

/// The image's descriptor, with the platform that was asked for, and the reference that means nothing else.
#[derive(Serialize)]
struct Document {
    reference: String,
    #[serde(flatten)]
    image: Descriptor,
}

/// An image that was typed.
enum Meant {
    /// Where it is.
    Place(Place),
    /// In what is open.
    Source(Source),
}

pub(crate) async fn run(context: &Context, args: Args) -> Result<(), Failure> {
    // What cannot be typed, or is not in the archive, is told before anybody is asked.
    let images: Vec<Meant> = if let Some(path) = args.tarball {
        inside(&path, args.images).await?
    } else {
        let places = args.images.iter().map(|image| context.place(image).map(Meant::Place));
        places.collect::<Result<_, _>>()?
    };
    let asked = images.into_iter().map(|image| {
        let context = context.clone();
        async move {
            let source = match image {
                Meant::Place(place) => Source::open(place, &context).await?,
                Meant::Source(source) => source,
            };
            describe(&context, source).await
        }
    });
    let mut found = stream::iter(asked).buffered(AT_ONCE);
    if args.output.wants_json() {
        let all: Vec<Document> = found.try_collect().await?;
        return match all.as_slice() {
            [only] => args.output.print(&context.ui, only),
            all => args.output.print(&context.ui, &all),
        };
    }
    while let Some(Document { reference, image }) = found.try_next().await? {
        let line = if args.full_ref { reference } else { image.digest.to_string() };
        context.ui.println(&line)?;
    }
    Ok(())
}

/// The images of an archive that are named, or the only one.
async fn inside(path: &str, images: Vec<String>) -> Result<Vec<Meant>, Failure> {
    let archive = Archive::open(ArchiveFormat::Docker, path).await?;
    let names = if images.is_empty() { vec![None] } else { images.into_iter().map(Some).collect() };
    let sources = names.into_iter().map(|image| {
        let name = ArchiveName::new(ArchiveFormat::Docker, path.to_owned(), image.map(Wanted::Name));
        let selector = archive.find(name.wanted())?;
        let store = Arc::new(archive.clone());
        Ok(Meant::Source(Source { store, selector, place: Place::Archive(name) }))
    });
    sources.collect()
}

async fn describe(context: &Context, source: Source) -> Result<Document, Failure> {
    let Source { store, selector, place } = source;
    let image = match context.settings.platform() {
        Some(platform) => {
            let manifest = transfer::select(&*store, &selector, platform).await?;
            Descriptor { platform: Some(platform.clone()), ..manifest.descriptor() }
        }
        None => store.resolve(&selector).await?,
    };
    Ok(Document { reference: place.named(&image.digest.into()), image })
}
