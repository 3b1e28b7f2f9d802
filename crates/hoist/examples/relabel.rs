//! Sets labels on all platforms of an image, where it is: the index and its other contents stay as they are written.
//!
//! usage: relabel IMAGE KEY=VALUE..., such as `relabel localhost:5000/app:1.0 org.example.team=blue`

#![expect(clippy::print_stdout, reason = "an example talks to people")]

use std::error::Error;

use hoist::auth::{Keychain, Locations};
use hoist::image::{Mutation, Setting};
use hoist::{Client, Place, Spot};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [image, labels @ ..] = arguments.as_slice() else {
        return Err("usage: relabel IMAGE KEY=VALUE...".into());
    };
    let setting = |label: &String| label.split_once('=').map(|(key, value)| Setting::set(key, value));
    let labels = labels.iter().map(setting).collect::<Option<Vec<Setting>>>();
    let labels = labels.ok_or("a label is written as KEY=VALUE")?;

    let keychain = Keychain::load(&Locations::from_lookup(|name| std::env::var_os(name)))?;
    let client = Client::new(hoist::registry::Options::default(), keychain);
    let place: Place = image.parse()?;
    let source = place.open(&client).await?;
    let edited = source.edit(&Mutation { labels, ..Mutation::default() }).await?;
    for note in &edited.notes {
        println!("{note}");
    }
    let (images, digest) = (edited.images, edited.root.digest());
    Spot::from(edited).copy_to(&place.create(&client, &source)?).await?;
    println!("{images} images labelled: {}@{digest}", source.store.name());
    Ok(())
}
