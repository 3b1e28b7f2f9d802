use local::Layout;
use oci::{Selector, Tag};
use store::{Expected, Store};

use crate::context::Context;
use crate::failure::Failure;
use crate::place::Place;

/// Give an image another tag, without moving a byte of it
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The image or any other artifact
    #[arg(value_name = "IMAGE")]
    pub(crate) image: String,
    /// The new tag, without a repository
    #[arg(value_name = "TAG")]
    pub(crate) tag: String,
    /// Write the tag only if it stands for this digest now, or with `none` only if it does not exist. Between the look and
    /// the write somebody else may come: most registries do not heed the condition that the write itself has (If-Match) (+)
    #[arg(long, value_name = "DIGEST")]
    expect: Option<Expected>,
}

pub(crate) async fn run(context: &Context, args: Args) -> Result<(), Failure> {
    let place = context.place(&args.image)?;
    let tag = parse(&args.tag)?;
    let (store, from): (Box<dyn Store>, Selector) = match &place {
        Place::Registry(reference) => {
            (Box::new(context.store(reference.repository())?.for_push(None)), reference.selector())
        }
        Place::Layout(name) => {
            let layout = Layout::open(name.directory())?;
            let selector = name.selector().cloned().map_or_else(|| layout.only(), Ok)?;
            (Box::new(layout), selector)
        }
        Place::Archive(_) | Place::Directory(_) | Place::Daemon(_) => {
            return Err(Failure::new(format_args!("{} cannot be given another tag", place.repository()))
                .hint("an archive is written as a whole: `hoist cp` writes it with another tag"));
        }
    };
    let manifest = transfer::tag(&*store, &from, &tag, args.expect).await?;
    let named = place.named(&tag.into());
    context.ui.log(&format!("{named}: digest: {} size: {}", manifest.digest(), manifest.raw().len()));
    Ok(())
}

/// A tag that is typed without a repository.
pub(super) fn parse(text: &str) -> Result<Tag, Failure> {
    Tag::new(text).map_err(|(at, reason)| {
        Failure::new(format_args!("could not parse tag: {text}: {reason} (at character {})", at + 1))
            .hint("the new tag stands alone, such as `v1`; the repository is that of the image")
    })
}
