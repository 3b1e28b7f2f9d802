//! Writing a blob from its beginning to its end where pieces could come in any order.

use async_trait::async_trait;
use bytes::Bytes;

use crate::{Error, Placer, Writer};

/// A writer over a placer, for whoever has the bytes in order. It begins where the first bytes are missing; those that an
/// earlier attempt left behind that are written again.
pub fn in_order(placer: Box<dyn Placer>) -> Box<dyn Writer> {
    // Without anything missing there is nothing to write, and nobody asks for the offset of nothing.
    let offset = placer.missing().first().map_or(0, |range| range.start);
    Box::new(InOrder { placer, offset, next: offset })
}

struct InOrder {
    placer: Box<dyn Placer>,
    offset: u64,
    next: u64,
}

#[async_trait]
impl Writer for InOrder {
    fn offset(&self) -> u64 {
        self.offset
    }

    async fn write(&mut self, bytes: Bytes) -> Result<(), Error> {
        let length = bytes.len() as u64;
        self.placer.write_at(self.next, bytes).await?;
        self.next += length;
        Ok(())
    }

    async fn commit(self: Box<Self>) -> Result<(), Error> {
        self.placer.commit().await
    }

    async fn abandon(self: Box<Self>) {
        self.placer.abandon().await;
    }
}
