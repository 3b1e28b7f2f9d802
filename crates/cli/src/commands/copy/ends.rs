//! Where a copy goes from and to.

use std::sync::Arc;

use local::Wanted;
use oci::{Selector, Tag};
use store::Store;

use crate::context::Context;
use crate::destination;
use crate::failure::Failure;
use crate::place::{self, Place, Source};

/// The two ends of a copy.
pub(super) struct Ends {
    pub(super) source: Arc<dyn Store>,
    pub(super) destination: Arc<dyn Store>,
    /// What is copied, and what it is to be called; `None` for all tags.
    pub(super) image: Option<[Selector; 2]>,
}

impl Ends {
    /// Opens both, each with what counts for its side.
    pub(super) async fn open(contexts: [&Context; 2], places: [&Place; 2]) -> Result<Self, Failure> {
        let ([source, _], [from, to]) = (contexts, places);
        let Source { store, selector, .. } = Source::open(from.clone(), source).await?;
        let name = match to {
            Place::Registry(reference) => reference.selector(),
            Place::Layout(name) => match name.selector() {
                Some(named) => named.clone(),
                None => own_name(source, &*store, from, &selector).await?,
            },
            Place::Archive(name) => {
                match (name.wanted(), name.tag()) {
                    (Some(Wanted::Selector(named)), _) => named.clone(),
                    (Some(Wanted::Name(_)), Some(tag)) => tag.into(),
                    (Some(Wanted::Name(_)), None) => Tag::latest().into(),
                    (Some(Wanted::Position(_)), _) => {
                        return Err(Failure::new(format_args!("{name} does not say what the image is to be called"))
                        .hint("a position tells what is read; write a name, such as docker-archive:FILE:app:1.0"));
                    }
                    (None, _) => own_name(source, &*store, from, &selector).await?,
                }
            }
            Place::Directory(_) => root_digest(source, &*store, &selector).await?,
            Place::Daemon(name) => name.tag().cloned().unwrap_or(Tag::latest()).into(),
        };
        let root = Some(&name);
        Ok(Self {
            destination: destination::open(contexts[1], to, &[from], root)?,
            source: store,
            image: Some([selector, name]),
        })
    }

    /// Opens both, for all tags.
    pub(super) async fn open_all(contexts: [&Context; 2], places: [&Place; 2]) -> Result<Self, Failure> {
        let source = place::store(places[0], contexts[0]).await?;
        Ok(Self {
            destination: destination::open(contexts[1], places[1], &[places[0]], None)?,
            source,
            image: None,
        })
    }
}

/// The tag of the source, which is also its name in a layout where no other is given.
fn tag(from: &Place, selector: &Selector) -> Option<Tag> {
    match (from, selector) {
        (_, Selector::Tag(tag)) => Some(tag.clone()),
        (Place::Registry(reference), Selector::Digest(_)) => reference.tag().cloned(),
        (Place::Archive(name), Selector::Digest(_)) => name.tag(),
        (Place::Daemon(name), Selector::Digest(_)) => name.tag().cloned(),
        (Place::Layout(_) | Place::Directory(_), Selector::Digest(_)) => None,
    }
}

/// What the source is called in a place that is not told how to call it: its tag, or its digest.
async fn own_name(
    source: &Context,
    store: &dyn Store,
    from: &Place,
    selector: &Selector,
) -> Result<Selector, Failure> {
    match tag(from, selector) {
        Some(tag) => Ok(tag.into()),
        None => root_digest(source, store, selector).await,
    }
}

/// The digest of what is copied.
async fn root_digest(source: &Context, store: &dyn Store, selector: &Selector) -> Result<Selector, Failure> {
    Ok(match (source.settings.platform(), selector) {
        (Some(platform), _) => transfer::select(store, selector, platform).await?.digest().into(),
        (None, Selector::Digest(_)) => selector.clone(),
        (None, Selector::Tag(_)) => store.resolve(selector).await?.digest.into(),
    })
}
