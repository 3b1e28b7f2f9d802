//! What has to hold for every input, however it came: for the fuzz targets, and for the replay of what they found.

use crate::Route;

/// The paths that a client may send: whatever is accepted must not lead out of the server's directories.
pub fn route(input: &[u8]) {
    let Ok(path) = std::str::from_utf8(input) else { return };
    let name = match Route::parse(path) {
        Ok(
            Route::Tags(name)
            | Route::Manifest(name, _)
            | Route::Blob(name, _)
            | Route::Uploads(name)
            | Route::Upload(name, _)
            | Route::Referrers(name, _),
        ) => name,
        Ok(Route::Base | Route::Catalog) | Err(_) => return,
    };
    assert!(name.as_str().len() <= 255);
    for part in name.as_str().split('/') {
        assert!(part.starts_with(|first: char| first.is_ascii_lowercase() || first.is_ascii_digit()));
        assert!(!part.contains(['\\', '\0', '%', '+']));
    }
}

#[path = "../../../fuzz/replay.rs"]
#[cfg(test)]
mod replay;

#[cfg(test)]
mod tests {
    #[test]
    fn paths_that_were_found() {
        super::replay::replay("server_route", super::route);
    }
}
