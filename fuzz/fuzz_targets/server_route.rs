//! The paths that a client may send: whatever is accepted must not lead out of the server's directories.

#![no_main]

use libfuzzer_sys::fuzz_target;
use server::Route;

fuzz_target!(|path: &str| {
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
});
