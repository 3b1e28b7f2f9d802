use std::io::{self, Seek, Write};
use std::sync::Arc;

use image::Error;
use image::inside::{Spot, expand};
use layer::Kind;

use crate::context::Context;
use crate::failure::Failure;
use crate::looking::{self, Reading, shown};

/// What a file may have to be held in memory until it is proven, in bytes.
const MEMORY: usize = 1 << 20;

/// Print files of an image, without pulling it (+)
///
/// Of an index, of the image for linux/amd64 or --platform. Symbolic links are followed inside the image. The first time a layer is
/// read whole, verified, and a table of it kept; after that a file costs one request for about its compressed bytes, which are checked
/// against hashes of the table. Layers are asked from the newest on, no further than it takes. Of an artifact, PATH is a file's title.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The image or any other artifact
    #[arg(value_name = "IMAGE")]
    pub(crate) image: String,
    /// The files, by their paths from the root
    #[arg(value_name = "PATH", required = true)]
    pub(crate) paths: Vec<String>,
    /// Print bytes as soon as they come: of what is wrong in the end something has been printed then
    #[arg(long)]
    pub(crate) stream: bool,
    #[command(flatten)]
    pub(crate) reading: Reading,
}

pub(crate) async fn run(context: &Context, args: Args) -> Result<(), Failure> {
    let looked = looking::open(context, &args.image, args.reading).await?;
    for path in &args.paths {
        let found = looked.inside.find(path.as_bytes(), true).await;
        let Spot { path: found, layer, entry } = looked.end(found)?;
        let (Kind::File(body), Some(layer)) = (&entry.kind, layer) else {
            let kind = looking::kind(&entry.kind);
            return Err(Failure::new(format_args!("/{} is no file but a {kind}", shown(&found)))
                .hint(format!("`hoist files {} {path}` shows what is in it", args.image)));
        };
        let (stream, body, mut out) = (args.stream, body.clone(), context.ui.writer()?);
        let read = looked.inside.read(layer, Arc::new(body.clone()), move |_, stored| {
            if stream {
                return content(expand(&body, stored, &mut out).and_then(|()| out.flush()));
            }
            let mut held = tempfile::spooled_tempfile(MEMORY);
            content(expand(&body, stored, &mut held))?;
            let copied = held.rewind().and_then(|()| io::copy(&mut held, &mut out));
            copied.and_then(|_| out.flush()).map_err(Error::Output)
        });
        looked.end(read.await)?;
    }
    Ok(())
}

fn content(outcome: io::Result<()>) -> Result<(), Error> {
    outcome.map_err(|source| match source.kind() {
        io::ErrorKind::BrokenPipe => Error::Output(source),
        _ => Error::Body { source },
    })
}
