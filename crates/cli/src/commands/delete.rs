use local::Layout;
use oci::{Selector, Tag};
use store::Store;
use transfer::{DeleteOptions, Deleted};

use crate::context::Context;
use crate::failure::Failure;
use crate::place::Place;

/// Delete a tag, or a manifest by its digest
///
/// A tag is deleted alone. Many registries delete by digest only, and all tags of the digest go along: there a tag is
/// deleted if it is the only one of its digest, and refused otherwise. A digest that is given is refused if it has two
/// tags or more. A signature or another referrer is also taken out of the list of referrers where the registry keeps none.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The tag or digest
    #[arg(value_name = "IMAGE")]
    pub(crate) image: String,
    /// Delete the manifest also if more tags go with it (+)
    #[arg(long)]
    pub(crate) force_digest: bool,
}

pub(crate) async fn run(context: &Context, args: Args) -> Result<(), Failure> {
    let place = context.place(&args.image)?;
    let (store, selector): (Box<dyn Store>, Selector) = match &place {
        Place::Registry(reference) => {
            (Box::new(context.store(reference.repository())?.for_delete()), reference.selector())
        }
        Place::Layout(name) => {
            let Some(selector) = name.selector() else {
                return Err(Failure::new(format_args!("{} does not say what to delete", args.image))
                    .hint("write oci:DIR:TAG or oci:DIR@DIGEST"));
            };
            (Box::new(Layout::open(name.directory())?), selector.clone())
        }
        Place::Archive(_) | Place::Directory(_) | Place::Daemon(_) => {
            return Err(Failure::new(format_args!("nothing can be deleted from {}", place.repository()))
                .hint("an archive is written as a whole, and a directory has one image"));
        }
    };
    let options = DeleteOptions { force_digest: args.force_digest };
    let deleted = match selector {
        // crane asks nothing before.
        Selector::Digest(digest) if context.settings.crane => {
            store.delete(&selector).await?;
            Deleted::Manifest { digest, tags: None, still_listed: None }
        }
        _ => transfer::delete(&*store, &selector, options).await?,
    };
    let text = match deleted {
        Deleted::Tag => format!("deleted tag {}; its manifest stays", place.named(&selector)),
        Deleted::Manifest { digest, tags, still_listed } => {
            let named = place.named(&digest.into());
            if let Some(reason) = still_listed {
                context.ui.warn(&format!(
                    "{named} is gone, but may still be listed as what refers to its subject: {reason}"
                ));
            }
            format!("deleted manifest {named}{}", along(tags.as_deref()))
        }
    };
    context.ui.log(&text);
    Ok(())
}

/// What went with a manifest.
fn along(tags: Option<&[Tag]>) -> String {
    match tags {
        None => ", with whatever tags it had".to_owned(),
        Some([]) => ", which had no tag".to_owned(),
        Some(tags) => {
            let plural = if tags.len() == 1 { "" } else { "s" };
            let tags: Vec<&str> = tags.iter().map(Tag::as_str).collect();
            format!(", with its tag{plural} {}", tags.join(", "))
        }
    }
}
