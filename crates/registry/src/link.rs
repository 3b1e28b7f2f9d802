//! Where registries point: the `Link` header that names the next page (RFC 8288), and their own addresses.

use url::Url;

/// The target of the first link with `rel="next"` in the headers' values. Where there is none, a link that does not say
/// what it is counts: in a list there is nothing else to link to.
pub(crate) fn next<'a>(values: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let mut untold = None;
    for (target, parameters) in values.into_iter().flat_map(links) {
        let mut relations = parameters.split(';').filter_map(|parameter| {
            let (name, value) = parameter.split_once('=')?;
            name.trim().eq_ignore_ascii_case("rel").then_some(value.trim().trim_matches('"'))
        });
        match relations.next() {
            Some(relations) if relations.split_ascii_whitespace().any(|r| r.eq_ignore_ascii_case("next")) => {
                return Some(target);
            }
            Some(_) => {}
            None => untold = untold.or(Some(target)),
        }
    }
    untold
}

/// The links of one value: targets and parameters.
fn links(value: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut rest = value;
    std::iter::from_fn(move || {
        let (_, after) = rest.split_once('<')?;
        let (target, after) = after.split_once('>')?;
        let (parameters, after) = after.split_at(end_of_parameters(after));
        rest = after;
        Some((target, parameters))
    })
}

/// An address that a registry gives of itself, as it is reached: one behind a proxy that ends TLS may not know that, and
/// says `http`, and may not know the port.
pub(crate) fn as_reached(here: &Url, mut target: Url) -> Url {
    let same_port = target.port().is_none() || target.port() == here.port_or_known_default();
    if here.scheme() == "https" && target.scheme() == "http" && target.host() == here.host() && same_port {
        // Both fail only for URLs without a host, and these two have the same.
        let _ = target.set_scheme("https");
        let _ = target.set_port(here.port());
    }
    target
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

    use super::*;

    #[test]
    fn links() {
        for (value, expected) in [
            ("</v2/a/tags/list?last=b&n=2>; rel=\"next\"", Some("/v2/a/tags/list?last=b&n=2")),
            ("<https://h/p?a=1,2>;rel=next", Some("https://h/p?a=1,2")),
            ("</p>; rel=\"prev\", </n>; title=\"a, b\"; rel=\"last next\"", Some("/n")),
            ("</p>; rel=\"prev\"", None),
            ("</p>", Some("/p")),
            ("</p>; title=next, </n>; rel=next", Some("/n")),
            ("<p", None),
            ("", None),
        ] {
            assert_eq!(next([value]), expected, "{value}");
        }
        assert_eq!(next(["</p>", "</n>; rel=next"]), Some("/n"));
        assert_eq!(next([""; 0]), None);
    }

    #[test]
    fn own_addresses() {
        for (here, target, expected) in [
            ("https://h/v2/", "http://h/x?a=b", "https://h/x?a=b"),
            ("https://h:8443/v2/", "http://h/x", "https://h:8443/x"),
            ("https://h:8443/v2/", "http://h:8443/x", "https://h:8443/x"),
            ("https://h/v2/", "http://h:443/x", "https://h/x"),
            ("https://h/v2/", "http://h:5000/x", "http://h:5000/x"),
            ("https://h/v2/", "http://other/x", "http://other/x"),
            ("https://h/v2/", "https://h/x", "https://h/x"),
            ("http://h/v2/", "http://h/x", "http://h/x"),
        ] {
            let [here, target] = [here, target].map(|text| Url::parse(text).unwrap());
            assert_eq!(as_reached(&here, target).as_str(), expected);
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in "[ -~\u{e9}]{0,60}") {
            let _ = next([text.as_str()]);
        }
    }
}
