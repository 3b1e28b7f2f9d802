//! JSON for people: colours around the tokens of a document, whose own bytes stay as they are.

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
        // Nothing in a document may steer the terminal.
        let token = String::from_utf8_lossy(token);
        let shown = token.chars().filter(|c| !c.is_control() || c.is_ascii_whitespace());
        out.extend_from_slice(shown.collect::<String>().as_bytes());
        out.extend_from_slice(if colour.is_empty() { b"" } else { RESET.as_bytes() });
        rest = behind;
    }
    if !out.ends_with(b"\n") {
        out.push(b'\n');
    }
    out
}

fn laid_out(document: &[u8]) -> Option<Vec<u8>> {
    if document.trim_ascii_end().contains(&b'\n') {
        return None;
    }
    let value: serde_json::Value = serde_json::from_slice(document).ok()?;
    serde_json::to_vec_pretty(&value).ok()
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
    }

    #[test]
    fn broken_documents_end_too() {
        for broken in ["{\"a", "\u{1b}[2J", "\"\u{9b}2J\"", "\"\\", ""] {
            let text = String::from_utf8(coloured(broken.as_bytes())).unwrap();
            assert!(!text.contains("\u{1b}[2J") && !text.contains('\u{9b}'), "{broken}");
        }
    }
}
