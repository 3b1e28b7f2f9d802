//! Values as text, laid out as jq does it. jaq's own printing differs: `3.0` for `1.5 * 2`, `NaN`, keys that are no strings.

use jaq_json::{Num, Val};

/// A value of the result, with a line end: a string raw, anything else as JSON.
///
/// # Errors
/// An object has a key that is no string, which JSON cannot say; or it is nested too deep.
pub(super) fn line(value: &Val) -> Result<Vec<u8>, String> {
    let mut out = Vec::new();
    match value {
        Val::TStr(text) => out.extend_from_slice(text),
        value => write(&mut out, value, 0)?,
    }
    out.push(b'\n');
    Ok(out)
}

/// A string raw, anything else as JSON, for messages.
pub(super) fn raw_or_json(value: &Val) -> String {
    match value {
        Val::TStr(text) => String::from_utf8_lossy(text).into_owned(),
        value => value.to_string(),
    }
}

/// A text that may be long, for a message.
pub(super) fn shortened(text: &str) -> String {
    const KEPT: usize = 100;
    if text.chars().count() <= 2 * KEPT {
        return text.to_owned();
    }
    let head: String = text.chars().take(KEPT).collect();
    let tail: String = text.chars().skip(text.chars().count() - KEPT).collect();
    format!("{head} … {tail}")
}

/// How deep a value may be nested. The indentation alone grows with the square.
const DEEPEST: usize = 1000;

/// Writes a value that lies so deep in others.
fn write(out: &mut Vec<u8>, value: &Val, depth: usize) -> Result<(), String> {
    if depth > DEEPEST {
        return Err(format!("a value nested more than {DEEPEST} levels deep is not printed"));
    }
    match value {
        Val::Null => out.extend_from_slice(b"null"),
        Val::Bool(value) => out.extend_from_slice(if *value { b"true" } else { b"false" }),
        Val::Num(number) => out.extend_from_slice(digits(number).as_bytes()),
        Val::TStr(text) | Val::BStr(text) => string(out, text),
        Val::Arr(values) => {
            out.push(b'[');
            for (index, value) in values.iter().enumerate() {
                item(out, index, depth);
                write(out, value, depth + 1)?;
            }
            close(out, b']', values.len(), depth);
        }
        Val::Obj(values) => {
            out.push(b'{');
            for (index, (key, value)) in values.iter().enumerate() {
                item(out, index, depth);
                let Val::TStr(key) = key else {
                    return Err(format!(
                        "object keys are strings, and {} is none",
                        shortened(&key.to_string())
                    ));
                };
                string(out, key);
                out.extend_from_slice(b": ");
                write(out, value, depth + 1)?;
            }
            close(out, b'}', values.len(), depth);
        }
    }
    Ok(())
}

fn item(out: &mut Vec<u8>, index: usize, depth: usize) {
    if index > 0 {
        out.push(b',');
    }
    indent(out, depth + 1);
}

fn close(out: &mut Vec<u8>, bracket: u8, items: usize, depth: usize) {
    if items > 0 {
        indent(out, depth);
    }
    out.push(bracket);
}

fn indent(out: &mut Vec<u8>, depth: usize) {
    out.push(b'\n');
    out.extend(std::iter::repeat_n(b' ', depth * 2));
}

/// Numbers of the document keep their digits; calculated ones are written as jq writes them.
fn digits(number: &Num) -> String {
    let Num::Float(value) = number else { return number.to_string() };
    let size = value.abs();
    if value.is_nan() {
        "null".to_owned()
    } else if value.is_infinite() {
        digits(&Num::Float(f64::MAX.copysign(*value)))
    } else if size == 0.0 || (1e-4..1e17).contains(&size) {
        value.to_string()
    } else {
        let text = format!("{value:e}");
        let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        match exponent.strip_prefix('-') {
            Some(exponent) => format!("{digits}e-{exponent:0>2}"),
            None => format!("{digits}e+{exponent}"),
        }
    }
}

fn string(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'"');
    for character in String::from_utf8_lossy(text).chars() {
        match character {
            '"' => out.extend_from_slice(b"\\\""),
            '\\' => out.extend_from_slice(b"\\\\"),
            '\n' => out.extend_from_slice(b"\\n"),
            '\t' => out.extend_from_slice(b"\\t"),
            '\r' => out.extend_from_slice(b"\\r"),
            '\u{8}' => out.extend_from_slice(b"\\b"),
            '\u{c}' => out.extend_from_slice(b"\\f"),
            '\0'..'\u{20}' | '\u{7f}' => {
                out.extend_from_slice(format!("\\u{:04x}", u32::from(character)).as_bytes());
            }
            character => out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    out.push(b'"');
}
