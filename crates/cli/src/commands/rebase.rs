use std::sync::Arc;

use image::{Base, BaseNote, OldBase, Rebase};
use oci::Manifest;

use crate::change::{self, Delivery, Target, Time};
use crate::context::Context;
use crate::failure::Failure;
use crate::place::{self, Place, Source};

/// Put the layers of an image on another base
///
/// Every layer that is not the old base's is kept, and the configuration too. The bases are those that are given, or what the image
/// tells in its annotations `org.opencontainers.image.base.name` and `.digest`. Of an index, every image is rebased, or the one for
/// --platform, each on the image of the base for its platform.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The image
    #[arg(value_name = "IMAGE", required_unless_present = "original")]
    pub(crate) image: Option<String>,
    /// What the image is built on
    #[arg(long = "old_base", value_name = "BASE", alias = "old-base")]
    pub(crate) old_base: Option<String>,
    /// What it shall be built on
    #[arg(long = "new_base", value_name = "BASE", alias = "new-base")]
    pub(crate) new_base: Option<String>,
    /// The image, as crane once took it
    #[arg(long, hide = true, conflicts_with = "image")]
    pub(crate) original: Option<String>,
    /// The name for the result, as crane once took it
    #[arg(long, hide = true, conflicts_with = "tag")]
    pub(crate) rebased: Option<String>,
    #[command(flatten)]
    pub(crate) target: Target,
    #[command(flatten)]
    pub(crate) time: Time,
}

pub(crate) async fn run(context: &Context, args: Args) -> Result<(), Failure> {
    let target = args.target.tag.as_deref().or(args.rebased.as_deref());
    // The parser demands one of them.
    let typed = args.image.as_deref().or(args.original.as_deref()).unwrap_or_default();
    let source = change::open(context, typed, target).await?;
    let root = change::root(context, &source, target.unwrap_or(typed)).await?;
    let note = match (&args.old_base, &args.new_base) {
        (Some(_), Some(_)) => None,
        _ => Some(note(&source, &root).await?),
    };
    let noted = |note: &Option<BaseNote>| note.as_ref().map(|note| note.name.clone()).unwrap_or_default();
    let old = match &args.old_base {
        Some(old) => {
            let Source { store, selector, .. } = context.open(old).await?;
            OldBase::Given(Base::find(store, &selector).await?)
        }
        None => OldBase::Noted(place::store(&context.place(&noted(&note))?, context).await?),
    };
    let new_name = args.new_base.clone().unwrap_or_else(|| noted(&note));
    let new = context.open(&new_name).await?;
    let rebase = Rebase {
        old,
        new: Base::find(Arc::clone(&new.store), &new.selector).await?,
        new_name: match &new.place {
            Place::Registry(reference) => Some(reference.to_string()),
            _ => None,
        },
        created: args.time.created(context)?,
    };
    let before = root.digest();
    let platform = context.settings.platform();
    let edited = image::edit(Arc::clone(&source.store), root, platform, &rebase).await?;
    if edited.root.digest() == before {
        context.ui.log("rebasing was no-op");
    }
    let to = target.unwrap_or(typed);
    context.ui.log(&format!("pushing rebased image as {to}"));
    let delivery = Delivery {
        edited,
        from: vec![&source.place, &new.place],
        to,
        own: target.is_none().then(|| source.selector.clone()),
        by_digest: false,
        before: None,
        care: args.target.care,
    };
    delivery.send(context).await
}

/// What the image says that it is built on.
async fn note(source: &Source, root: &Manifest) -> Result<BaseNote, Failure> {
    BaseNote::of(&*source.store, root).await?.ok_or_else(|| {
        Failure::new(format_args!("{} does not say what it is built on", source.name())).hint(
            "say it with --old_base and --new_base; `hoist append --set-base-image-annotations` writes it down",
        )
    })
}
