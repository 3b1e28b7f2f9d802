//! What repositories a registry has.

use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use oci::{RegistryName, Repository};

use crate::{Client, names};

impl Client {
    /// The repositories of a registry, in its order, page by page. Many registries do not tell, or only some users; that
    /// is an error of the stream. Names that break the grammar are left out, and
    /// [`Event::Warned`](store::Event::Warned) tells of them.
    pub fn catalog(
        &self,
        registry: &RegistryName,
    ) -> BoxStream<'static, Result<Vec<Repository>, store::Error>> {
        let doing = format!("listing the repositories of {registry}");
        let pages = names::repositories(self.host(registry), registry);
        pages.map(move |page| page.map_err(|error| error.doing(&doing))).boxed()
    }
}
