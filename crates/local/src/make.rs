//! Makes a layout, and the directories in it (image specification, image-layout.md).

use std::fs;
use std::io::Write;
use std::path::Path;

use serde::Deserialize;

use crate::content;
use crate::error::Error;
use crate::folder::Folder;
use crate::sweep;

/// Names the version of the layout, and is what its writers lock: it is never replaced.
pub(crate) const MARKER: &str = "oci-layout";

/// The one version there is.
const VERSION: &str = "1.0.0";

/// What the marker says.
pub(crate) const CONTENT: &str = r#"{"imageLayoutVersion":"1.0.0"}"#;

/// The most that is read of the marker, in bytes.
const MARKER_LIMIT: u64 = 64 << 10;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Marker {
    image_layout_version: String,
}

/// Whether a directory is a layout.
pub(crate) fn is_layout(folder: &Folder) -> Result<bool, Error> {
    let path = folder.path().join(MARKER);
    let Some(mut file) = folder.read(MARKER)? else { return Ok(false) };
    check(&content::whole(&mut file, &path, MARKER_LIMIT)?, &path)?;
    Ok(true)
}

/// Makes sure that a marker is that of a layout of the known version.
pub(crate) fn check(bytes: &[u8], path: &Path) -> Result<(), Error> {
    let reason = match serde_json::from_slice::<Marker>(bytes) {
        Ok(marker) if marker.image_layout_version == VERSION => return Ok(()),
        Ok(marker) => {
            format!("layout version {:?} is not known, only {VERSION}", marker.image_layout_version)
        }
        Err(error) => format!("it does not tell the layout's version: {error}"),
    };
    Err(Error::Version { path: path.to_owned(), reason })
}

/// Whether a layout may be made in a directory: nothing is there but what others have begun who make one.
pub(crate) fn is_vacant(folder: &Folder) -> Result<bool, Error> {
    let begun = format!("{}.", temporary());
    Ok(folder.names()?.iter().all(|name| name.starts_with(&begun)))
}

/// Makes the directory and its marker, if they are not there.
pub(crate) fn layout(path: &Path) -> Result<(), Error> {
    fs::create_dir_all(path).map_err(|error| Error::io(path, error))?;
    let folder = Folder::open(path)?;
    if is_layout(&folder)? {
        return Ok(());
    }
    if !is_vacant(&folder)? {
        // Another process may have made the marker since, and more.
        return if is_layout(&folder)? { Ok(()) } else { Err(Error::NotEmpty(path.to_owned())) };
    }
    let name = format!("{}.{}", temporary(), sweep::unique());
    let failed = |error| Error::io(path.join(&name), error);
    let Some(mut file) = folder.replace(&name)? else { return Err(Error::NoDirectory(path.to_owned())) };
    let written = file.write_all(CONTENT.as_bytes()).and_then(|()| file.sync_all());
    if let Err(error) = written {
        let _ = folder.remove(&name);
        return Err(failed(error));
    }
    folder.settle(&name, MARKER)
}

/// What the names of files begin with that are to be markers.
fn temporary() -> String {
    format!(".{MARKER}")
}
