//! What has to hold for every input, however it came: for the fuzz targets, and for the replay of what they found.

mod challenge;
mod guard;
mod headers;
mod link;

pub use challenge::challenge;
pub use guard::guard;
pub use headers::headers;
pub use link::link;

/// The lines of an input, each the value of a header of its own.
fn lines(input: &[u8]) -> impl Iterator<Item = &[u8]> {
    input.split(|byte| *byte == b'\n')
}

/// What a registry sends must not be able to steer the terminal.
fn printable(text: &str) {
    assert!(text.chars().all(|c| c == '\t' || !c.is_control()), "{text:?}");
}

#[path = "../../../fuzz/replay.rs"]
#[cfg(test)]
mod replay;

#[cfg(test)]
mod tests {
    use super::replay::replay;

    #[test]
    fn challenges_that_were_found() {
        replay("registry_challenge", super::challenge);
    }

    #[test]
    fn addresses_that_were_found() {
        replay("registry_guard", super::guard);
    }

    #[test]
    fn headers_that_were_found() {
        replay("registry_headers", super::headers);
    }

    #[test]
    fn links_that_were_found() {
        replay("registry_link", super::link);
    }
}
