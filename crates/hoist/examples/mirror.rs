//! Copies all tags of a repository on a registry to another one, or to a layout, and leaves alone what is there already.
//!
//! usage: mirror REPOSITORY TO, such as `mirror nginx oci:nginx`

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "an example talks to people")]

use std::error::Error;
use std::sync::Arc;

use hoist::auth::{Keychain, Locations};
use hoist::transfer::Options;
use hoist::{Client, Event, Observer, Place, Transfer};

/// Says what is copied, a line each.
struct Lines;

impl Observer for Lines {
    fn event(&self, event: &Event<'_>) {
        match event {
            Event::ManifestDone { reference, .. } => eprintln!("copied {reference}"),
            Event::TagSkipped(tag) => eprintln!("{tag} is there already"),
            Event::Retried { reason, wait } => eprintln!("again in {wait:.1?}: {reason}"),
            _ => {}
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [from, to] = arguments.as_slice() else { return Err("usage: mirror REPOSITORY TO".into()) };

    let keychain = Keychain::load(&Locations::from_lookup(|name| std::env::var_os(name)))?;
    let client = Client::new(hoist::registry::Options::default(), keychain);
    let from = from.parse::<Place>()?.open(&client).await?;
    let to = to.parse::<Place>()?.create(&client, &from)?;

    let options = Options { no_clobber: true, ..Options::default() };
    let transfer = Transfer::new(from.store, to.store, options, Arc::new(Lines));
    let copied = transfer.copy_tags().await?;
    transfer.finish().await?;
    println!("{} tags copied, {} bytes", copied.copied, copied.bytes);
    Ok(())
}
