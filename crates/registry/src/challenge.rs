//! What a registry asks for with a 401: the `WWW-Authenticate` header (RFC 9110, section 11.6.1).

use http::HeaderMap;
use http::header::WWW_AUTHENTICATE;
use serde::{Deserialize, Serialize};

use crate::scope::Scope;

/// One way in that hoist knows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Challenge {
    /// User and password with every request.
    Basic,
    /// A token from another server (distribution's token specification).
    Bearer(Bearer),
}

/// Where and for what to get a token.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Bearer {
    /// The token server's URL.
    pub(crate) realm: String,
    /// What the registry calls itself there.
    pub(crate) service: Option<String>,
    /// What the refused request needs.
    #[serde(skip)]
    pub(crate) scopes: Vec<Scope>,
}

impl Challenge {
    /// The challenge of an answer's headers.
    pub(crate) fn of(headers: &HeaderMap) -> Option<Self> {
        let values = headers.get_all(WWW_AUTHENTICATE).iter();
        Self::choose(values.filter_map(|value| value.to_str().ok()))
    }

    /// The first challenge of the headers' values that hoist can answer. Where both are offered a token comes before a
    /// password, as containerd has it: it can be had by nobody in particular too.
    fn choose<'a>(values: impl IntoIterator<Item = &'a str>) -> Option<Self> {
        let known = values.into_iter().flat_map(parse).filter_map(|(scheme, parameters)| {
            let parameter = |name: &str| {
                let found = parameters.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
                found.map(|(_, value)| value.clone())
            };
            if scheme.eq_ignore_ascii_case("basic") {
                return Some(Self::Basic);
            }
            let realm = parameter("realm").filter(|_| scheme.eq_ignore_ascii_case("bearer"))?;
            let scopes = parameter("scope").map(|text| Scope::parse_list(&text)).unwrap_or_default();
            Some(Self::Bearer(Bearer { realm, service: parameter("service"), scopes }))
        });
        known.min_by_key(|challenge| matches!(challenge, Self::Basic))
    }
}

/// A challenge as it is written: its scheme, and its parameters with their names.
pub(crate) type Parsed = (String, Vec<(String, String)>);

/// All challenges of one header value. What cannot be understood is passed over, as there may be a good one behind it.
pub(crate) fn parse(value: &str) -> Vec<Parsed> {
    let mut challenges: Vec<Parsed> = Vec::new();
    let mut rest = value;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        if rest.is_empty() {
            return challenges;
        }
        let (token, after) = split_token(rest);
        if token.is_empty() {
            // Not a token: skip one character, so that this ends.
            rest = after.get(after.chars().next().map_or(0, char::len_utf8)..).unwrap_or_default();
            continue;
        }
        let after_space = after.trim_start_matches([' ', '\t']);
        // `name=value` belongs to the challenge before it.
        if let (Some(after_equals), Some((_, parameters))) =
            (after_space.strip_prefix('='), challenges.last_mut())
        {
            let (text, after) = split_value(after_equals.trim_start_matches([' ', '\t']));
            parameters.push((token.to_owned(), text));
            rest = after;
        } else {
            challenges.push((token.to_owned(), Vec::new()));
            rest = after_space.strip_prefix('=').unwrap_or(after);
        }
    }
}

fn split_token(text: &str) -> (&str, &str) {
    let end = text
        .find(|c: char| !(c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c)))
        .unwrap_or(text.len());
    text.split_at(end)
}

/// A quoted string or a bare value up to the next comma or space.
fn split_value(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([',', ' ', '\t']).unwrap_or(text.len());
        return (text[..end].to_owned(), &text[end..]);
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return (value, &quoted[at + 1..]),
            '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
            other => value.push(other),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bearer(realm: &str, service: Option<&str>, scopes: &str) -> Challenge {
        Challenge::Bearer(Bearer {
            realm: realm.into(),
            service: service.map(str::to_owned),
            scopes: Scope::parse_list(scopes),
        })
    }

    #[test]
    fn challenges_of_the_field() {
        let scope = "repository:library/nginx:pull";
        for (values, expected) in [
            (&["Basic realm=\"Registry\""][..], Some(Challenge::Basic)),
            (&["basic"], Some(Challenge::Basic)),
            (
                &[
                    "Bearer realm=\"https://auth.docker.io/token\",service=\"registry.docker.io\",scope=\"repository:library/nginx:pull\"",
                ],
                Some(bearer("https://auth.docker.io/token", Some("registry.docker.io"), scope)),
            ),
            (&["Bearer realm = \"https://h/t\" , scope = \"\""], Some(bearer("https://h/t", None, ""))),
            (&["Bearer realm=https://h/t,service=s"], Some(bearer("https://h/t", Some("s"), ""))),
            (&["Negotiate, Bearer realm=\"https://h/t?a=b,c\""], Some(bearer("https://h/t?a=b,c", None, ""))),
            (&["Negotiate abc==", "Basic realm=\"x\""], Some(Challenge::Basic)),
            // Gitea.
            (
                &["Basic realm=\"Gitea\"", "Bearer realm=\"https://h/v2/token\",service=\"s\",scope=\"*\""],
                Some(bearer("https://h/v2/token", Some("s"), "")),
            ),
            (&["Bearer service=\"no realm\", Basic realm=\"x\""], Some(Challenge::Basic)),
            (&["BEARER REALM=\"https://h/\\\"t\""], Some(bearer("https://h/\"t", None, ""))),
            (&["Bearer service=\"no realm\""], None),
            (&["Digest realm=\"x\""], None),
            (&[""], None),
            (&["Bearer realm=\"open"], Some(bearer("open", None, ""))),
        ] {
            assert_eq!(Challenge::choose(values.iter().copied()), expected, "{values:?}");
        }
    }

    proptest! {
        #[test]
        fn never_panics_or_hangs(text in "[ -~\u{e9}\t]{0,60}") {
            let _ = Challenge::choose([text.as_str()]);
        }
    }
}
