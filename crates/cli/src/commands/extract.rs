use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use image::Inside;
use image::inside::Extracted;
use indicatif::HumanBytes;
use layer::Kind;

use crate::context::Context;
use crate::failure::Failure;
use crate::looking::{self, Reading, absolute};

/// Copy a file or a directory of an image to this machine, without pulling it (+)
///
/// A DEST that is a directory gets PATH under its own name; one that is not there becomes what PATH is. Nothing is written outside
/// of DEST, and nothing in the place of what is there. Modes and times are kept; owners, set-user-ID and set-group-ID bits are not, and
/// devices are left out. Symbolic links are made as they are, and followed only on the way to PATH.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The image or any other artifact
    #[arg(value_name = "IMAGE")]
    pub(crate) image: String,
    /// The file or directory, by its path from the root
    #[arg(value_name = "PATH")]
    pub(crate) path: String,
    /// Where it goes
    #[arg(value_name = "DEST")]
    pub(crate) dest: PathBuf,
    #[command(flatten)]
    pub(crate) reading: Reading,
}

pub(crate) async fn run(context: &Context, args: Args) -> Result<(), Failure> {
    let looked = looking::open(context, &args.image, args.reading).await?;
    let found = looked.inside.find(args.path.as_bytes(), true).await;
    let spot = looked.end(found)?;
    let path = spot.path.as_slice();
    let dest = destination(&args.dest, args.path.as_bytes(), path)?;
    // What is under way lies beside it, and is gone if it does not come to its end.
    let parent = dest.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let folder = tempfile::Builder::new().prefix(".hoist-").tempdir_in(parent).map_err(|error| {
        let reason = match error.kind() {
            std::io::ErrorKind::NotFound => format!("there is no directory {}", parent.display()),
            kind => format!("directory {}: {kind}", parent.display()),
        };
        Failure::new(format_args!("writing {}: {reason}", dest.display()))
    })?;
    let staged = folder.path().join("content");
    let extracted = match spot.entry.kind {
        Kind::File(_) => looked.inside.extract_file(&spot, &staged).await,
        _ => directory(&looked.inside, path, &staged).await,
    };
    let Extracted { files, bytes, directories, links, left_out } = looked.end(extracted)?;
    if dest.symlink_metadata().is_ok() {
        return Err(taken(&dest));
    }
    fs::rename(&staged, &dest)
        .map_err(|error| Failure::new(format_args!("writing {}: {error}", dest.display())))?;
    context.ui.log(&format!(
        "{} of {}: {files} files ({}), {directories} directories, {links} links",
        dest.display(),
        absolute(path),
        HumanBytes(bytes)
    ));
    if left_out > 0 {
        context.ui.log(&format!("{left_out} devices and pipes left out"));
    }
    Ok(())
}

async fn directory(inside: &Inside, path: &[u8], to: &Path) -> Result<Extracted, image::Error> {
    let tocs = inside.tocs().await?;
    inside.extract(&tocs, path, to).await
}

/// What is to be made.
fn destination(dest: &Path, typed: &[u8], path: &[u8]) -> Result<PathBuf, Failure> {
    let dest = if dest.is_dir() {
        // As it was typed, so that a link's name is kept; the root has none.
        let name =
            |path: &[u8]| path.rsplit(|byte| *byte == b'/').find(|part| !part.is_empty()).map(<[u8]>::to_vec);
        let name = name(typed).filter(|name| name != b"." && name != b"..").or_else(|| name(path));
        match name {
            Some(name) => dest.join(OsStr::from_bytes(&name)),
            None => {
                return Err(Failure::new(format_args!(
                    "{} is there already; the root has no name to go under in it",
                    dest.display()
                ))
                .hint("name a directory that is not there yet"));
            }
        }
    } else {
        dest.to_owned()
    };
    if dest.symlink_metadata().is_ok() { Err(taken(&dest)) } else { Ok(dest) }
}

fn taken(dest: &Path) -> Failure {
    Failure::new(format_args!("{} is there already", dest.display()))
        .hint("remove it, or choose another name: nothing is overwritten")
}
