//! What has to hold for every input, however it came: for the fuzz targets, and for the replay of what they found.

use crate::diff::read_any;

/// A list of packages of any kind: each that is found has a name, in one line, and what pieces the list comes in changes nothing.
pub fn packages(list: &[u8]) {
    for packages in read_any(list) {
        for [name, architecture, version] in packages {
            assert!(
                !name.is_empty() && ![name, architecture, version].iter().any(|text| text.contains('\n'))
            );
        }
    }
}

#[path = "../../../fuzz/replay.rs"]
#[cfg(test)]
mod replay;

#[cfg(test)]
mod tests {
    use super::replay::replay;

    #[test]
    fn lists_of_packages_that_were_found() {
        replay("image_packages", super::packages);
    }
}
