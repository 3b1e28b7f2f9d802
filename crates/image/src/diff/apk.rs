//! The packages in apk's list (apk-tools, "installed").

use std::io::{self, BufRead};

use super::packages::Package;

/// Reads a list: paragraphs of lines that begin with a letter and a colon.
pub(super) fn packages(mut text: impl BufRead) -> io::Result<Vec<Package>> {
    let mut packages = Vec::new();
    let mut package = Package::default();
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = text.read_until(b'\n', &mut line)?;
        let trimmed = line.trim_ascii_end();
        let value = || String::from_utf8_lossy(&trimmed[2..]).into_owned();
        match trimmed {
            [] => {
                let package = std::mem::take(&mut package);
                packages.extend(Some(package).filter(|package| !package.name.is_empty()));
                if read == 0 {
                    return Ok(packages);
                }
            }
            [b'P', b':', ..] => package.name = value(),
            [b'V', b':', ..] => package.version = value(),
            [b'A', b':', ..] => package.architecture = value(),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paragraphs_are_packages() {
        let text =
            "C:Q1abc=\nP:musl\nV:1.2.5-r0\nA:x86_64\nF:lib\nR:ld-musl.so\n\nP:busybox\nV:1.36\n\n\nV:1\n";
        let found = packages(text.as_bytes()).unwrap();
        let found: Vec<[&str; 3]> =
            found.iter().map(|package| [&*package.name, &*package.architecture, &*package.version]).collect();
        assert_eq!(found, [["musl", "x86_64", "1.2.5-r0"], ["busybox", "", "1.36"]]);
        assert!(packages(&b"P\n:\nP:"[..]).unwrap().is_empty());
    }
}
