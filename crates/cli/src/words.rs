//! Lists and pairs in one word, as Go's flags take them: separated by commas, in quotes where a part has one.

use image::Setting;

/// The parts of a word: `a,b` has two, `"a,b",c` too; nothing has none.
pub(crate) fn parts(word: &str) -> Result<Vec<String>, String> {
    let (mut parts, mut rest) = (Vec::new(), word);
    if word.is_empty() {
        return Ok(parts);
    }
    loop {
        let (part, after) = if let Some(quoted) = rest.strip_prefix('"') {
            unquote(quoted).ok_or_else(|| format!("a quote in {word:?} does not end"))?
        } else {
            let end = rest.find(',').unwrap_or(rest.len());
            (rest[..end].to_owned(), &rest[end..])
        };
        parts.push(part);
        rest = match after.strip_prefix(',') {
            Some(after) => after,
            None if after.is_empty() => return Ok(parts),
            None => return Err(format!("something follows a quote in {word:?}; a comma should")),
        };
    }
}

/// What stands in quotes, and what follows them. Two quotes are one.
fn unquote(text: &str) -> Option<(String, &str)> {
    let (mut part, mut rest) = (String::new(), text);
    loop {
        let (before, after) = rest.split_once('"')?;
        part.push_str(before);
        match after.strip_prefix('"') {
            Some(after) => {
                part.push('"');
                rest = after;
            }
            None => return Some((part, after)),
        }
    }
}

/// All parts of all words.
pub(crate) fn all(words: &[String]) -> Result<Vec<String>, String> {
    let parts: Vec<_> = words.iter().map(|word| parts(word)).collect::<Result<_, _>>()?;
    Ok(parts.concat())
}

/// `key=value` once or several times, and `key-` for a key that is to go. A word with one `=` is one pair, whatever else is
/// in its value.
pub(crate) fn settings(words: &[String]) -> Result<Vec<Setting>, String> {
    let mut settings = Vec::new();
    for word in words {
        let words = match word.split_once('=') {
            Some((key, value)) if !key.contains(',') && !value.contains('=') => {
                vec![word.trim_matches('"').to_owned()]
            }
            _ => parts(word)?,
        };
        for word in words {
            settings.push(setting(&word)?);
        }
    }
    Ok(settings)
}

/// `key=value`, or `key-`.
pub(crate) fn setting(word: &str) -> Result<Setting, String> {
    match (word.split_once('='), word.strip_suffix('-')) {
        (Some(("", _)), _) | (None, Some("")) => Err(format!("{word:?} has no key")),
        (Some((key, value)), _) => Ok(Setting::Set(key.to_owned(), value.to_owned())),
        (None, Some(key)) => Ok(Setting::Remove(key.to_owned())),
        (None, None) => Err(format!("{word:?} is no KEY=VALUE; KEY- takes a key away")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_come_apart() {
        for (word, expected) in [
            ("", &[][..]),
            ("a", &["a"]),
            ("a,b", &["a", "b"]),
            ("a,", &["a", ""]),
            (r#""a,b",c"#, &["a,b", "c"]),
            (r#""a""b","""#, &["a\"b", ""]),
            ("/bin/sh -c", &["/bin/sh -c"]),
        ] {
            assert_eq!(parts(word).unwrap(), expected, "{word}");
        }
        for word in [r#""a"#, r#""a"b"#] {
            assert!(parts(word).is_err(), "{word}");
        }
        assert_eq!(all(&["a,b".into(), String::new(), "c".into()]).unwrap(), ["a", "b", "c"]);
    }

    #[test]
    fn pairs_come_apart() {
        let set = |key: &str, value: &str| Setting::Set(key.to_owned(), value.to_owned());
        let words = ["a=1,2", "b=,c=x", "d-", "e=\"q\"", "f-,g=h"].map(str::to_owned);
        let gone = |key: &str| Setting::Remove(key.to_owned());
        let expected = [
            set("a", "1,2"),
            set("b", ""),
            set("c", "x"),
            gone("d"),
            set("e", "\"q"),
            gone("f"),
            set("g", "h"),
        ];
        assert_eq!(settings(&words).unwrap(), expected);
        for word in ["a", "=a", "-", "a,b=1", "a=1,b=2,c"] {
            assert!(settings(&[word.to_owned()]).is_err(), "{word}");
        }
    }
}
