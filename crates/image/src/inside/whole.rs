//! Files of a layer that has to be read as a whole, for it has no spans, or wrong ones.

use std::io::{self, Read, Seek, SeekFrom, Write};

use layer::Decoder;
use oci::Descriptor;
use store::Store;

use super::Looking;
use super::run::Run;
use crate::Error;
use crate::feed::{self, Feed, fill};

/// Inflates a layer into a temporary file, and reads files of it when all has proved right. What is one file is not inflated.
pub(super) async fn read(
    looking: &Looking,
    store: &dyn Store,
    blob: &Descriptor,
    is_tar: bool,
    run: Run,
) -> Result<(), Error> {
    let (sender, feed) = feed::pair();
    let (folder, limit) = (looking.spool_folder.clone(), looking.spool_limit);
    let spool = tokio::task::spawn_blocking(move || {
        let failed = |source| Error::Spool { folder: folder.display().to_string(), source };
        let file = tempfile::tempfile_in(&folder).map_err(failed)?;
        let mut file = io::BufWriter::with_capacity(256 << 10, file);
        let copied = if is_tar { inflate(feed, &mut file, limit) } else { copy(feed, &mut file, limit) };
        match copied {
            Ok(count) if count > limit => return Err(Error::SpoolLimit(limit)),
            Ok(_) => {}
            Err(error) => return Err(failed(error)),
        }
        file.into_inner().map_err(|error| failed(error.into_error()))
    });
    let filled = fill(store, blob, sender, &*looking.observer, || false).await;
    let spooled = spool.await?;
    filled?;
    let mut file = spooled?;
    let mut run = run;
    let reading = tokio::task::spawn_blocking(move || {
        for index in run.left() {
            let body = run.bodies.get(index);
            file.seek(SeekFrom::Start(body.offset)).map_err(|source| Error::Body { source })?;
            (run.read)(index, &mut (&mut file).take(body.stored()))?;
        }
        Ok(())
    });
    reading.await?
}

fn inflate(feed: Feed, out: &mut impl Write, limit: u64) -> io::Result<u64> {
    copy(Decoder::new(feed)?, out, limit)
}

fn copy(reader: impl Read, out: &mut impl Write, limit: u64) -> io::Result<u64> {
    io::copy(&mut reader.take(limit.saturating_add(1)), out)
}
