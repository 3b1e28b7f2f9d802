//! `Warning` headers, by which a registry speaks to its users (distribution specification, "Warnings").

use crate::redact::printable;

/// The text of a `299 - "text"` warning; other warnings are not meant for people.
pub(crate) fn text(value: &str) -> Option<String> {
    let quoted = value.trim().strip_prefix("299 ")?.trim_start().strip_prefix("- ")?.trim_start();
    let quoted = quoted.strip_prefix('"')?;
    let mut text = String::new();
    let mut characters = quoted.chars();
    loop {
        match characters.next()? {
            // A registry must not be able to steer the terminal.
            '"' => return Some(printable(&text)),
            '\\' => text.push(characters.next()?),
            other => text.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::text;

    #[test]
    fn warnings() {
        assert_eq!(text("299 - \"moves to \\\"x\\\" soon\"").as_deref(), Some("moves to \"x\" soon"));
        assert_eq!(text("299 - \"red \u{1b}[31m\"").as_deref(), Some("red [31m"));
        assert_eq!(text("299 - \"red \\\u{1b}[31m\"").as_deref(), Some("red [31m"));
        assert_eq!(text("199 - \"misc\""), None);
        assert_eq!(text("299 - \"open"), None);
        assert_eq!(text(""), None);
    }
}
