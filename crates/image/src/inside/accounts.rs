//! Users and groups by the names that they have in the image.

use std::io::{self, Read};
use std::sync::{Arc, Mutex, PoisonError};

use layer::{Found, Kind, Merged};

use super::filter::{Account, Owner, id_in};
use super::{Inside, expand};
use crate::Error;

/// No list of users is longer than this, in bytes.
const LIST: u64 = 4 << 20;

impl Inside {
    /// Names become the numbers that `/etc/passwd` and `/etc/group` of the image have for them, as in a container. A name that is not
    /// there stays, and means what the layers' archives call so. `merged` is made of [`tocs`](Self::tocs).
    ///
    /// # Errors
    /// [`Error::NoAccount`] for a name that is in neither; those of [`read`](Self::read).
    pub async fn owner(&self, merged: &Merged<'_>, owner: Owner) -> Result<Owner, Error> {
        let user = match owner.user {
            Some(Account::Name(name)) => Some(self.account(merged, "/etc/passwd", name).await?),
            user => user,
        };
        let group = match owner.group {
            Some(Account::Name(name)) => Some(self.account(merged, "/etc/group", name).await?),
            group => group,
        };
        Ok(Owner { user, group })
    }

    async fn account(&self, merged: &Merged<'_>, list: &'static str, name: String) -> Result<Account, Error> {
        if let Some(id) = id_in(&self.list(merged, list).await?, &name) {
            return Ok(Account::Id(id));
        }
        let is_called = merged.nodes.iter().any(|node| {
            let metadata = &node.entry.metadata;
            let archived = if list == "/etc/group" { &metadata.owner.gname } else { &metadata.owner.uname };
            **archived == *name.as_bytes()
        });
        if is_called { Ok(Account::Name(name)) } else { Err(Error::NoAccount { name, list }) }
    }

    /// A small file; nothing if it is no such.
    async fn list(&self, merged: &Merged<'_>, path: &str) -> Result<Vec<u8>, Error> {
        let Ok(Found::Node(index)) = merged.find(path.as_bytes(), true) else { return Ok(Vec::new()) };
        let node = &merged.nodes[index];
        let Kind::File(body) = &node.entry.kind else { return Ok(Vec::new()) };
        if body.size > LIST {
            return Ok(Vec::new());
        }
        let text: Arc<Mutex<Vec<u8>>> = Arc::default();
        let (own, filled) = (body.clone(), Arc::clone(&text));
        let read = move |_, stored: &mut dyn Read| {
            let mut filled = filled.lock().unwrap_or_else(PoisonError::into_inner);
            filled.clear();
            expand(&own, stored, &mut *filled).map_err(|source: io::Error| Error::Body { source })
        };
        self.read(node.layer(), Arc::new(body.clone()), read).await?;
        let text = std::mem::take(&mut *text.lock().unwrap_or_else(PoisonError::into_inner));
        Ok(text)
    }
}
