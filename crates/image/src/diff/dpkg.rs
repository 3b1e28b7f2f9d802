//! The packages in dpkg's list (deb-control(5), dpkg-query(1)).

use std::io::{self, BufRead};

use super::packages::Package;

/// Reads a list: paragraphs of fields. Packages that are gone but for their configuration files are none.
pub(super) fn packages(mut text: impl BufRead) -> io::Result<Vec<Package>> {
    let mut packages = Vec::new();
    let (mut package, mut is_there) = (Package::default(), true);
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = text.read_until(b'\n', &mut line)?;
        let trimmed = line.trim_ascii_end();
        if trimmed.is_empty() {
            let package = std::mem::take(&mut package);
            if is_there && !package.name.is_empty() {
                packages.push(package);
            }
            is_there = true;
            if read == 0 {
                return Ok(packages);
            }
            continue;
        }
        // What begins with white space goes on with the field before.
        let Some(colon) = trimmed.iter().position(|byte| *byte == b':').filter(|_| trimmed[0] > b' ') else {
            continue;
        };
        let value = || String::from_utf8_lossy(trimmed[colon + 1..].trim_ascii()).into_owned();
        match trimmed[..colon].to_ascii_lowercase().as_slice() {
            b"package" => package.name = value(),
            b"version" => package.version = value(),
            b"architecture" => package.architecture = value(),
            b"status" => {
                is_there = !["not-installed", "config-files"].iter().any(|state| value().ends_with(state));
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paragraphs_are_packages() {
        let text = "Package: curl\nStatus: install ok installed\nArchitecture: amd64\nVersion: 7.88.1-10\n\
            Description: tool\n Package: no\n .\n\tVersion: 9\n\n\n\
            Package: gone\nStatus: deinstall ok config-files\nVersion: 1\n\n\
            package:half\nversion:2:1.0~rc\r\nStatus: install ok half-configured\n\nVersion: 3\n";
        let found = packages(text.as_bytes()).unwrap();
        let found: Vec<[&str; 3]> =
            found.iter().map(|package| [&*package.name, &*package.architecture, &*package.version]).collect();
        assert_eq!(found, [["curl", "amd64", "7.88.1-10"], ["half", "", "2:1.0~rc"]]);
        // As distroless has it: no status, no end of line.
        let found = packages(&b"Package: tzdata\nVersion: 2024a"[..]).unwrap();
        assert_eq!((found.len(), &*found[0].version), (1, "2024a"));
        assert!(packages(&b"\xff\x00:\n:\n \n"[..]).unwrap().is_empty());
    }
}
