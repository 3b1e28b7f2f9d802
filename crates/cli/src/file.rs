//! A file that is written as a whole, or not at all.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::failure::Failure;

/// A file in the making: it lies beside its name until it is kept, and is gone if it never is. What is no regular file is written
/// straight. A link keeps pointing where it points, and a file that is replaced keeps its mode.
pub(crate) struct NewFile {
    path: PathBuf,
    place: Place,
}

enum Place {
    /// Until it is kept, with what it is to be called then.
    Beside(NamedTempFile, PathBuf),
    Straight(File),
}

impl NewFile {
    pub(crate) fn at(path: &Path) -> Result<Self, Failure> {
        let place = Self::place(path).map_err(|error| failed(path, &error))?;
        Ok(Self { path: path.to_owned(), place })
    }

    fn place(path: &Path) -> io::Result<Place> {
        let existing = std::fs::metadata(path).ok();
        if existing.as_ref().is_some_and(|existing| !existing.is_file()) {
            return OpenOptions::new().write(true).open(path).map(Place::Straight);
        }
        let target = if existing.is_some() { path.canonicalize()? } else { path.to_owned() };
        let folder = target.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new("."));
        let temporary = tempfile::Builder::new()
            .prefix(".hoist-")
            .permissions(Permissions::from_mode(0o666))
            .tempfile_in(folder)
            .map_err(|error| in_folder(folder, &error))?;
        if let Some(existing) = existing {
            temporary.as_file().set_permissions(existing.permissions())?;
        }
        Ok(Place::Beside(temporary, target))
    }

    /// Where its content goes.
    pub(crate) fn writer(&self) -> Result<Box<dyn Write + Send>, Failure> {
        let file = match &self.place {
            Place::Beside(temporary, _) => temporary.reopen(),
            Place::Straight(file) => file.try_clone(),
        };
        Ok(Box::new(file.map_err(|error| failed(&self.path, &error))?))
    }

    /// Gives it its name.
    pub(crate) fn keep(self) -> Result<(), Failure> {
        match self.place {
            Place::Beside(temporary, target) => {
                temporary.persist(target).map(drop).map_err(|error| failed(&self.path, &error.error))
            }
            Place::Straight(_) => Ok(()),
        }
    }
}

/// The same without the temporary file's name, which nobody knows.
fn in_folder(folder: &Path, error: &io::Error) -> io::Error {
    let text = match error.kind() {
        ErrorKind::NotFound => format!("there is no directory {}", folder.display()),
        kind => format!("directory {}: {kind}", folder.display()),
    };
    io::Error::new(error.kind(), text)
}

fn failed(path: &Path, error: &io::Error) -> Failure {
    Failure::new(format_args!("writing {}: {error}", path.display()))
}
