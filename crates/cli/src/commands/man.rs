use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use clap::CommandFactory;
use clap_mangen::Man;

use crate::failure::Failure;
use crate::ui::Ui;

/// Print the manual page, or write those of all verbs (+)
///
/// `hoist man | man -l -` shows it. `hoist man --dir /usr/local/share/man/man1` puts hoist(1), hoist-ls(1) and all the
/// others where man finds them.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Write a page for each verb into this folder, which is made if it is missing (+)
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

pub(crate) fn run(ui: &Ui, args: &Args) -> Result<(), Failure> {
    let pages = pages().map_err(Failure::new)?;
    let Some(folder) = &args.dir else {
        return pages.first().map_or(Ok(()), |(_, page)| ui.print(page));
    };
    let failed =
        |path: &Path, error: io::Error| Failure::new(format_args!("writing {}: {error}", path.display()));
    std::fs::create_dir_all(folder).map_err(|error| failed(folder, error))?;
    for (name, page) in pages {
        let path = folder.join(name);
        write(folder, &path, &page).map_err(|error| failed(&path, error))?;
    }
    Ok(())
}

/// Writes beside the target and renames: nobody reads half a page.
fn write(folder: &Path, path: &Path, page: &[u8]) -> io::Result<()> {
    let mode = Permissions::from_mode(0o666);
    let mut temporary =
        tempfile::Builder::new().prefix(".hoist-man-").permissions(mode).tempfile_in(folder)?;
    io::Write::write_all(&mut temporary, page)?;
    temporary.persist(path)?;
    Ok(())
}

/// The pages with their file names: the program's first, then the verbs'.
fn pages() -> io::Result<Vec<(String, Vec<u8>)>> {
    let mut program = crate::args::Args::command().disable_help_subcommand(true);
    program.build();
    let mut pages = Vec::new();
    let mut commands = vec![program];
    while let Some(command) = commands.pop() {
        let below = command.get_subcommands().filter(|command| !command.is_hide_set());
        commands.extend(below.cloned().collect::<Vec<_>>().into_iter().rev());
        let page = page(command);
        let mut text = Vec::new();
        page.render(&mut text)?;
        pages.push((page.get_filename(), text));
    }
    Ok(pages)
}

fn page(mut command: clap::Command) -> Man {
    // The synopsis as in the help, not with all options once more.
    let usage = command.render_usage().to_string();
    let name = command.get_bin_name().unwrap_or("hoist").to_owned();
    let usage = usage.trim_start_matches("Usage: ").to_owned();
    let title = command.get_display_name().unwrap_or(&name).to_uppercase();
    let command = command.override_usage(usage);
    Man::new(command).title(title).source(concat!("hoist ", env!("CARGO_PKG_VERSION"))).manual("hoist")
}
