//! Look into, copy and change container images and every other OCI artifact: on registries, in layouts and archives on this
//! machine, at a docker daemon. All that the command line `hoist` does, for Rust programs, without a container runtime.
//!
//! The crate has nothing of its own but [`Place`] and [`Spot`]: it is the door to the floors of the house, each of which is a module here.
//!
//! | module | |
//! |---|---|
//! | [`oci`] | references, digests, platforms, manifests: no I/O |
//! | [`store`] | the trait of every place, events, a place in memory |
//! | [`registry`], [`auth`] | registries, and the credentials for them |
//! | [`local`] | layouts, archives, `dir:`, the docker daemon, a cache |
//! | [`transfer`] | copy, tag, delete, choose the image for a platform |
//! | [`image`](mod@image) | config, export, validate; append, mutate, flatten, rebase, edit indexes |
//! | [`layer`] | what is inside a layer: compression, tar, the merge of layers |
//!
//! What goes over a network or waits for a disk needs a [tokio](https://docs.rs/tokio) runtime. Lists come as streams of pages, which
//! [futures-util](https://docs.rs/futures-util) reads. Nothing is printed, and no variable of the environment is read but by the libraries for
//! proxies and certificates.
//!
//! # Look
//!
//! A [`Place`] is what a person writes, a [`Spot`] what has been opened: a [`Store`], and the tag or digest that is meant in it.
//! A [`Client`] knows the way to all registries; make one, and clone it.
//!
//! ```
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/playground/mod.rs"));
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let Playground { registry, folder } = Playground::start().await?;
//! use futures_util::TryStreamExt;
//! use hoist::auth::{Keychain, Locations};
//! use hoist::oci::ImageConfig;
//! use hoist::{Client, Place, Platform, Tag};
//!
//! // The credentials of docker and podman. `Client::default()` has none.
//! let keychain = Keychain::load(&Locations::from_lookup(|name| std::env::var_os(name)))?;
//! let client = Client::new(hoist::registry::Options::default(), keychain);
//!
//! let place: Place = format!("{registry}/app:1.0").parse()?;
//! let app = place.open(&client).await?;
//! let tags: Vec<Tag> = app.store.tags().try_concat().await?;
//! assert_eq!(tags, [Tag::new("1.0").unwrap()]);
//!
//! // What the tag stands for is an index; this is the image in it for one platform.
//! let arm64 = Platform::new("linux", "arm64");
//! let manifest = hoist::transfer::select(&*app.store, &app.selector, &arm64).await?;
//! println!("{}@{}", app.store.name(), manifest.digest());
//!
//! let config = hoist::image::config(&*app.store, &manifest).await?;
//! let config: ImageConfig = serde_json::from_slice(&config)?;
//! assert_eq!(config.platform, arm64);
//! assert_eq!(config.rootfs.diff_ids.len(), 2);
//! # Ok(())
//! # }
//! ```
//!
//! # Copy
//!
//! [`Spot::copy_to`] copies all platforms, byte for byte, so that digests stay; what is there already is not sent again. A
//! [`Transfer`] has options, and tells an [`Observer`] what happens.
//!
//! ```
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/playground/mod.rs"));
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let Playground { registry, folder } = Playground::start().await?;
//! use std::sync::Arc;
//! use std::sync::atomic::{AtomicU64, Ordering};
//!
//! use hoist::transfer::Options;
//! use hoist::{Client, Event, Observer, Place, Transfer};
//!
//! #[derive(Default)]
//! struct Bytes(AtomicU64);
//!
//! impl Observer for Bytes {
//!     fn event(&self, event: &Event<'_>) {
//!         match event {
//!             Event::Planned { blobs, bytes, .. } => println!("{blobs} blobs, {bytes} bytes"),
//!             Event::BlobAdvanced(_, bytes) => drop(self.0.fetch_add(*bytes, Ordering::Relaxed)),
//!             _ => {}
//!         }
//!     }
//! }
//!
//! let client = Client::default();
//! let from = format!("{registry}/app:1.0").parse::<Place>()?.open(&client).await?;
//! let images = folder.path().join("images");
//! let to = format!("oci:{}:1.0", images.display()).parse::<Place>()?.create(&client, &from)?;
//!
//! let bytes = Arc::new(Bytes::default());
//! let options = Options { no_clobber: true, ..Options::default() };
//! let transfer = Transfer::new(from.store, to.store, options, bytes.clone());
//! let copied = transfer.copy(&from.selector, &to.selector).await?;
//! // An archive is there only now.
//! transfer.finish().await?;
//! assert_eq!(bytes.0.load(Ordering::Relaxed), copied.bytes);
//! # Ok(())
//! # }
//! ```
//!
//! # Through an air gap
//!
//! An archive carries an image, and what refers to nothing else, to where there is no network.
//!
//! ```
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/playground/mod.rs"));
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let Playground { registry, folder } = Playground::start().await?;
//! use hoist::{Client, Place};
//!
//! let client = Client::default();
//! let from = format!("{registry}/app:1.0").parse::<Place>()?.open(&client).await?;
//! let archive: Place = format!("oci-archive:{}/app.tar:1.0", folder.path().display()).parse()?;
//! from.copy_to(&archive.create(&client, &from)?).await?;
//!
//! // On the other side.
//! let carried = archive.open(&client).await?;
//! let inside: Place = format!("{registry}/inside/app:1.0").parse()?;
//! let copied = carried.copy_to(&inside.create(&client, &carried)?).await?;
//! assert_eq!(copied.descriptor.digest, from.manifest().await?.digest());
//! # Ok(())
//! # }
//! ```
//!
//! # Change
//!
//! An [`Edit`](image::Edit) changes an image, or all images of an index and the index with them. What it does not touch stays as it is
//! written. Nothing is sent before the result is copied to where it shall be, and then only what is new.
//!
//! Layers are made of archives, or of files of this machine:
//!
//! ```
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/playground/mod.rs"));
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let Playground { registry, folder } = Playground::start().await?;
//! use std::io::Cursor;
//!
//! use hoist::image::{Append, Files, LayerContent, NewLayer, Packing};
//! use hoist::layer::{Metadata, TarWriter};
//! use hoist::{Client, Place, Spot};
//!
//! let mut archive = TarWriter::new(Vec::new());
//! archive.file(b"etc/greeting", &Metadata::new(0o644), 6, &b"hello\n"[..])?;
//! let content = LayerContent::Stream(Box::new(Cursor::new(archive.finish()?)));
//! // No encoding is named, so what is not compressed becomes gzip.
//! let greeting = NewLayer::pack("a greeting".to_owned(), content, Packing::new(None)).await?;
//!
//! # let site = folder.path().join("site");
//! # std::fs::create_dir(&site)?;
//! # std::fs::write(site.join("index.html"), "hello")?;
//! let content = LayerContent::Files(Files::new(&site, "/srv/www"));
//! let site = NewLayer::pack("the site".to_owned(), content, Packing::new(None)).await?;
//!
//! let client = Client::default();
//! let app = format!("{registry}/app:1.0").parse::<Place>()?.open(&client).await?;
//! let append = Append { layers: vec![greeting, site], ..Append::by("my program") };
//! let edited = app.edit(&append).await?;
//! assert_eq!(edited.images, 2);
//!
//! let to = format!("{registry}/app:1.1").parse::<Place>()?.create(&client, &app)?;
//! let copied = Spot::from(edited).copy_to(&to).await?;
//! // Two layers and two configurations.
//! assert_eq!(copied.moved, 4);
//! # Ok(())
//! # }
//! ```
//!
//! A label on all platforms:
//!
//! ```
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/playground/mod.rs"));
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let Playground { registry, folder } = Playground::start().await?;
//! use hoist::image::{Mutation, Setting};
//! use hoist::{Client, Place, Spot};
//!
//! let client = Client::default();
//! let place: Place = format!("{registry}/app:1.0").parse()?;
//! let app = place.open(&client).await?;
//! let mutation = Mutation {
//!     labels: vec![Setting::set("org.example.team", "blue"), Setting::Remove("stale".to_owned())],
//!     ..Mutation::default()
//! };
//! let edited = app.edit(&mutation).await?;
//! Spot::from(edited).copy_to(&place.create(&client, &app)?).await?;
//! # let platform = hoist::Platform::linux_amd64();
//! # let manifest = hoist::transfer::select(&*app.store, &app.selector, &platform).await?;
//! # let config = hoist::image::config(&*app.store, &manifest).await?;
//! # let config: serde_json::Value = serde_json::from_slice(&config)?;
//! # assert_eq!(config["config"]["Labels"]["org.example.team"], "blue");
//! # Ok(())
//! # }
//! ```
//!
//! Another base below the same layers:
//!
//! ```
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/playground/mod.rs"));
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let Playground { registry, folder } = Playground::start().await?;
//! use hoist::image::{Base, OldBase, Rebase};
//! use hoist::{Client, Place, Spot};
//!
//! let client = Client::default();
//! let app = format!("{registry}/app:1.0").parse::<Place>()?.open(&client).await?;
//! let old = format!("{registry}/base:1").parse::<Place>()?.open(&client).await?;
//! let new = format!("{registry}/base:2").parse::<Place>()?.open(&client).await?;
//!
//! let rebase = Rebase {
//!     // Or what each image says by its annotations: `OldBase::Noted`.
//!     old: OldBase::Given(Base::find(old.store, &old.selector).await?),
//!     new: Base::find(new.store, &new.selector).await?,
//!     new_name: Some(format!("{registry}/base:2")),
//!     created: None,
//! };
//! let edited = app.edit(&rebase).await?;
//! let to = format!("{registry}/app:rebased").parse::<Place>()?.create(&client, &app)?;
//! Spot::from(edited).copy_to(&to).await?;
//! # assert_ne!(to.manifest().await?.digest(), app.manifest().await?.digest());
//! # Ok(())
//! # }
//! ```
//!
//! # Files
//!
//! [`export`](image::export()) writes the merged file system of one image as a tar archive. Nothing is written before all layers have proved
//! right, and memory stays small, whatever they hold.
//!
//! ```
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/playground/mod.rs"));
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let Playground { registry, folder } = Playground::start().await?;
//! use hoist::image::Export;
//! use hoist::{Client, Place, Platform};
//!
//! let client = Client::default();
//! let app = format!("{registry}/app:1.0").parse::<Place>()?.open(&client).await?;
//! let amd64 = hoist::transfer::select(&*app.store, &app.selector, &Platform::linux_amd64()).await?;
//! let path = folder.path().join("files.tar");
//! let file = std::fs::File::create(&path)?;
//! hoist::image::export(Export::new(app.store), &amd64, Box::new(file)).await?;
//! # let mut files = tar::Archive::new(std::fs::File::open(&path)?);
//! # let names: Vec<_> = files.entries()?.map(|entry| Ok(entry?.path()?.into_owned())).collect::<std::io::Result<_>>()?;
//! # assert!(names.contains(&"etc/motd".into()) && names.contains(&"app".into()), "{names:?}");
//! # Ok(())
//! # }
//! ```
//!
//! # When something goes wrong
//!
//! Errors say in one line what was being done to what, and why it failed. What a program can act on is their [`Kind`]; behind it
//! a registry's own answer can be had. Requests have been repeated by then as often as it made sense
//! ([`registry::Retries`]), and a copy that is begun again goes on with what it has moved.
//!
//! ```
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/playground/mod.rs"));
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let Playground { registry, folder } = Playground::start().await?;
//! use hoist::{Client, Kind, Place};
//!
//! let client = Client::default();
//! let missing = format!("{registry}/app:0.9").parse::<Place>()?.open(&client).await?;
//! let error = missing.manifest().await.unwrap_err();
//! match error.kind() {
//!     Kind::NotFound => {
//!         let registry = error.cause().downcast_ref::<hoist::registry::Error>();
//!         assert_eq!(registry.and_then(|error| error.status()).unwrap(), 404);
//!     }
//!     Kind::Unauthorized | Kind::Denied => println!("log in: {error}"),
//!     Kind::TooManyRequests | Kind::Interrupted | Kind::Unreachable => println!("later: {error}"),
//!     _ => return Err(error.into()),
//! }
//!
//! // Transfers and edits have errors of their own; they have a kind if a store failed.
//! let to = format!("oci:{}/copy", folder.path().display()).parse::<Place>()?;
//! let error = missing.copy_to(&to.create(&client, &missing)?).await.unwrap_err();
//! assert_eq!(error.kind(), Some(Kind::NotFound));
//! # Ok(())
//! # }
//! ```
//!
//! Two whole programs are in `examples/`: one mirrors a repository, one labels all platforms of an image.

mod place;
mod spot;

#[doc(inline)]
pub use auth;
#[doc(inline)]
pub use image;
#[doc(inline)]
pub use layer;
#[doc(inline)]
pub use local;
#[doc(inline)]
pub use oci;
pub use oci::{Descriptor, Digest, Manifest, Platform, Reference, Repository, Selector, Tag};
pub use place::{Place, PlaceError};
#[doc(inline)]
pub use registry;
pub use registry::Client;
pub use spot::Spot;
#[doc(inline)]
pub use store;
pub use store::{Event, Kind, Observer, Silent, Store};
#[doc(inline)]
pub use transfer;
pub use transfer::Transfer;
