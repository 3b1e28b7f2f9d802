//! Where the programs are that hoist is compared with.

use std::env;
use std::path::PathBuf;

/// The path of `crane`, `oras`, `skopeo`, `umoci`, `docker-registry`, `docker`, `ctr`, `htpasswd` ...
///
/// Looks where `scripts/peers` puts them (`HOIST_PEERS`, else `peers/bin` in the target directory), then on `PATH`,
/// then where Debian keeps daemons.
///
/// # Panics
/// When it is nowhere: a test that needs a program never passes without it.
pub fn path(program: &str) -> PathBuf {
    directories()
        .into_iter()
        .map(|directory| directory.join(program))
        .find(|path| path.is_file())
        .unwrap_or_else(|| panic!("{program} is missing: run scripts/test"))
}

fn directories() -> Vec<PathBuf> {
    let mut directories: Vec<PathBuf> = env::var_os("HOIST_PEERS").map(PathBuf::from).into_iter().collect();
    // A test binary is in TARGET/TRIPLE/PROFILE/deps.
    if let Ok(test) = env::current_exe() {
        directories.extend(test.ancestors().map(|ancestor| ancestor.join("peers/bin")));
    }
    directories.push(PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/peers/bin")));
    directories.extend(env::split_paths(&env::var_os("PATH").unwrap_or_default()));
    directories.extend(["/usr/bin", "/bin", "/usr/sbin", "/sbin"].map(PathBuf::from));
    directories
}
