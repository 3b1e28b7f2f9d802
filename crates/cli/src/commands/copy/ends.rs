//! Where a copy goes from and to.

use std::sync::Arc;

use local::{Layout, LayoutName};
use oci::{Reference, Selector, Tag};
use store::Store;

use crate::context::Context;
use crate::failure::Failure;
use crate::place::{Place, Source};

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
        let Source { store, selector, .. } = from.clone().open(source)?;
        let name = match to {
            Place::Registry(reference) => reference.selector(),
            Place::Layout(name) => match (name.selector(), tag(from, &selector)) {
                (Some(named), _) => named.clone(),
                (None, Some(tag)) => tag.into(),
                (None, None) => match source.settings.platform.one() {
                    Some(platform) => transfer::select(&*store, &selector, platform).await?.digest().into(),
                    None => selector.clone(),
                },
            },
        };
        let root = Some(&name);
        Ok(Self {
            destination: destination(contexts, places, root)?,
            source: store,
            image: Some([selector, name]),
        })
    }

    /// Opens both, for all tags.
    pub(super) fn open_all(contexts: [&Context; 2], places: [&Place; 2]) -> Result<Self, Failure> {
        let source = places[0].store(contexts[0])?;
        Ok(Self { destination: destination(contexts, places, None)?, source, image: None })
    }
}

/// The tag of the source, which is also its name in a layout where no other is given.
fn tag(from: &Place, selector: &Selector) -> Option<Tag> {
    match (from, selector) {
        (_, Selector::Tag(tag)) => Some(tag.clone()),
        (Place::Registry(reference), Selector::Digest(_)) => reference.tag().cloned(),
        (Place::Layout(_), Selector::Digest(_)) => None,
    }
}

fn destination(
    [_, context]: [&Context; 2],
    [from, to]: [&Place; 2],
    root: Option<&Selector>,
) -> Result<Arc<dyn Store>, Failure> {
    match to {
        Place::Registry(reference) => {
            let origin = match from {
                Place::Registry(from) => Some(from),
                Place::Layout(_) => None,
            };
            let store = context.store(reference.repository())?;
            Ok(Arc::new(store.for_push(origin.map(Reference::repository))))
        }
        Place::Layout(name) => layout(name, root),
    }
}

fn layout(name: &LayoutName, root: Option<&Selector>) -> Result<Arc<dyn Store>, Failure> {
    let layout = Layout::create(name.directory())?;
    Ok(Arc::new(match root {
        Some(Selector::Digest(digest)) => layout.with_root(*digest),
        _ => layout,
    }))
}
