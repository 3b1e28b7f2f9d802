//! JSON for people: colours around the tokens of a document, whose own bytes stay as they are.

use serde::de::IgnoredAny;

const KEY: &str = "\u{1b}[1;34m";
const STRING: &str = "\u{1b}[32m";
const OTHER: &str = "\u{1b}[36m";
const RESET: &str = "\u{1b}[0m";

/// The document with colours, laid out anew if it is all on one line, and with a line end.
pub(crate) fn coloured(document: &[u8]) -> Vec<u8> {
    let laid_out = laid_out(document);
    let document = laid_out.as_deref().unwrap_or(document);
    let mut out = Vec::with_capacity(document.len() * 2);
    let mut rest = document;
    while let [first, ..] = rest {
        let (length, colour) = match first {
            b'"' => {
                let length = string_length(rest);
                let is_key = rest[length..].trim_ascii_start().first() == Some(&b':');
                (length, if is_key { KEY } else { STRING })
            }
            b'{' | b'}' | b'[' | b']' | b',' | b':' | b' ' | b'\t' | b'\r' | b'\n' => (1, ""),
            _ => {
                let ends = |byte: &u8| b"{}[],:\" \t\r\n".contains(byte);
                (rest.iter().position(ends).unwrap_or(rest.len()).max(1), OTHER)
            }
        };
        let (token, behind) = rest.split_at(length);
        out.extend_from_slice(colour.as_bytes());
        out.extend_from_slice(&harmless(token));
        out.extend_from_slice(if colour.is_empty() { b"" } else { RESET.as_bytes() });
        rest = behind;
    }
    if !out.ends_with(b"\n") {
        out.push(b'\n');
    }
    out
}

/// A document of one line on several, its tokens as they are; `None` if it has several, or is no document.
fn laid_out(document: &[u8]) -> Option<Vec<u8>> {
    let document = document.trim_ascii();
    if document.contains(&b'\n') || serde_json::from_slice::<IgnoredAny>(document).is_err() {
        return None;
    }
    let mut out = Vec::with_capacity(document.len() * 2);
    let mut depth = 0_usize;
    let mut rest = document;
    while let [first, behind @ ..] = rest {
        let line = |out: &mut Vec<u8>, depth| {
            out.push(b'\n');
            out.extend(std::iter::repeat_n(b' ', depth * 2));
        };
        match first {
            b'"' => {
                let (string, behind) = rest.split_at(string_length(rest));
                out.extend_from_slice(string);
                rest = behind;
                continue;
            }
            b'{' | b'[' => {
                out.push(*first);
                let inside = behind.trim_ascii_start();
                if let [close @ (b'}' | b']'), behind @ ..] = inside {
                    out.push(*close);
                    rest = behind;
                    continue;
                }
                depth += 1;
                line(&mut out, depth);
            }
            b'}' | b']' => {
                depth = depth.saturating_sub(1);
                line(&mut out, depth);
                out.push(*first);
            }
            b',' => {
                out.push(b',');
                line(&mut out, depth);
            }
            b':' => out.extend_from_slice(b": "),
            byte if byte.is_ascii_whitespace() => {}
            byte => out.push(*byte),
        }
        rest = behind;
    }
    Some(out)
}

/// A text without what could steer a terminal.
pub(crate) fn harmless(text: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(text);
    text.chars().filter(|c| !c.is_control() || c.is_ascii_whitespace()).collect::<String>().into_bytes()
}

/// How long the string at the start is, quotes included; an open one goes to the end.
fn string_length(text: &[u8]) -> usize {
    let mut escaped = false;
    for (at, byte) in text.iter().enumerate().skip(1) {
        match byte {
            b'"' if !escaped => return at + 1,
            b'\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(coloured: &[u8]) -> String {
        let mut text = String::from_utf8(coloured.to_vec()).unwrap();
        for code in [KEY, STRING, OTHER, RESET] {
            text = text.replace(code, "");
        }
        text
    }

    #[test]
    fn only_colours_are_added() {
        let document = "{\n  \"a\\\"b\": [1.10, true, \"x:y\"]\n}";
        let coloured = coloured(document.as_bytes());
        assert_eq!(plain(&coloured), format!("{document}\n"));
        let text = String::from_utf8(coloured).unwrap();
        assert!(text.contains(&format!("{KEY}\"a\\\"b\"{RESET}: [{OTHER}1.10{RESET}")), "{text}");
    }

    #[test]
    fn one_line_is_laid_out() {
        assert_eq!(plain(&coloured(b"{\"a\":1}")), "{\n  \"a\": 1\n}\n");
        assert_eq!(plain(&coloured(b"1.10")), "1.10\n");
        assert_eq!(
            plain(&coloured(b"[ 1.10,[ ],{},{\"a:,\":[\"{\",12345678901234567890]} ]")),
            "[\n  1.10,\n  [],\n  {},\n  {\n    \"a:,\": [\n      \"{\",\n      12345678901234567890\n    ]\n  }\n]\n"
        );
    }

    #[test]
    fn broken_documents_end_too() {
        for broken in ["{\"a", "\u{1b}[2J", "\"\u{9b}2J\"", "\"\\", ""] {
            let text = String::from_utf8(coloured(broken.as_bytes())).unwrap();
            assert!(!text.contains("\u{1b}[2J") && !text.contains('\u{9b}'), "{broken}");
        }
    }
}
