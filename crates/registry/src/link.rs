//! The `Link` header that names the next page (RFC 8288).

/// The target of the first link with `rel="next"` in a header's value.
pub(crate) fn next(value: &str) -> Option<&str> {
    let mut rest = value;
    while let Some((_, after)) = rest.split_once('<') {
        let (target, after) = after.split_once('>')?;
        let end = end_of_parameters(after);
        let is_next = after[..end].split(';').any(|parameter| {
            parameter.split_once('=').is_some_and(|(name, value)| {
                let relations = value.trim().trim_matches('"');
                name.trim().eq_ignore_ascii_case("rel")
                    && relations.split_ascii_whitespace().any(|r| r.eq_ignore_ascii_case("next"))
            })
        });
        if is_next {
            return Some(target);
        }
        rest = &after[end..];
    }
    None
}

/// Where the parameters of a link end: at the first comma outside quotes.
fn end_of_parameters(text: &str) -> usize {
    let mut quoted = false;
    for (at, character) in text.char_indices() {
        match character {
            '"' => quoted = !quoted,
            ',' if !quoted => return at,
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::next;

    #[test]
    fn links() {
        for (value, expected) in [
            ("</v2/a/tags/list?last=b&n=2>; rel=\"next\"", Some("/v2/a/tags/list?last=b&n=2")),
            ("<https://h/p?a=1,2>;rel=next", Some("https://h/p?a=1,2")),
            ("</p>; rel=\"prev\", </n>; title=\"a, b\"; rel=\"last next\"", Some("/n")),
            ("</p>; rel=\"prev\"", None),
            ("</p>", None),
            ("<p", None),
            ("", None),
        ] {
            assert_eq!(next(value), expected, "{value}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in "[ -~\u{e9}]{0,60}") {
            let _ = next(&text);
        }
    }
}
