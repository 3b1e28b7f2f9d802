//! What nobody goes on with goes away.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use crate::error::Error;
use crate::folder::Folder;
use crate::partial::{FOLDER, JOURNAL};

/// How long a partial file in a layout is kept that nobody touches.
pub(crate) const AGE: Duration = Duration::from_hours(7 * 24);

/// The end of a name that no other temporary file has, of this process or another.
pub(crate) fn unique() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    format!("{}.{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

/// Removes what lies in `.partial` below `base` and nobody has touched for so long, unless somebody has it open; how many
/// files that were, and how many bytes of the disk they had.
pub(crate) fn old(base: &Folder, age: Duration) -> Result<(u64, u64), Error> {
    let Some(folder) = base.folder(FOLDER)? else { return Ok((0, 0)) };
    let (mut files, mut bytes) = (0, 0);
    let mut remove = |name: &str| {
        let occupied = folder.occupied(name)?.unwrap_or_default();
        if folder.remove(name)? {
            files += 1;
            bytes += occupied;
        }
        Ok::<_, Error>(())
    };
    let now = SystemTime::now();
    for name in folder.names()? {
        let changed = folder.changed(&name)?;
        // What has a time of the future is not old.
        let own = changed.and_then(|changed| now.duration_since(changed).ok());
        if own.is_none_or(|own| own < age) {
            continue;
        }
        if name.contains('.') {
            // A journal goes with its file; one whose file is gone, and what a killed process was writing, goes alone.
            let of = name.split('.').next().unwrap_or_default();
            if !name.ends_with(JOURNAL) || folder.length(of)?.is_none() {
                remove(&name)?;
            }
        } else if let Ok(Some(_held)) = folder.lock(&name, false, false) {
            remove(&name)?;
            remove(&(name + JOURNAL))?;
        }
    }
    base.tidy(FOLDER);
    Ok((files, bytes))
}
