//! The query of a request.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// The parameters behind a `?`. A `+` stands for itself: no parameter of the API holds a space, but media types such as
/// `application/vnd.example+json` are often sent without encoding.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Query<'a>(pub(crate) &'a str);

impl<'a> Query<'a> {
    /// All values of a parameter, in order. What is not UTF-8 gets replacement characters, which no grammar accepts.
    pub(crate) fn all(self, name: &'a str) -> impl Iterator<Item = Cow<'a, str>> {
        self.0
            .split('&')
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
            .filter(move |(key, _)| percent_decode_str(key).decode_utf8_lossy() == name)
            .map(|(_, value)| percent_decode_str(value).decode_utf8_lossy())
    }

    /// The first value of a parameter.
    pub(crate) fn get(self, name: &'a str) -> Option<Cow<'a, str>> {
        self.all(name).next()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters() {
        let query = Query("digest=sha256%3Aab&tag=a&tag=b&artifactType=x/y+json&empty&%6e=1");
        assert_eq!(query.get("digest").as_deref(), Some("sha256:ab"));
        assert_eq!(query.all("tag").collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(query.get("artifactType").as_deref(), Some("x/y+json"));
        assert_eq!(query.get("empty").as_deref(), Some(""));
        assert_eq!(query.get("n").as_deref(), Some("1"));
        assert_eq!(query.get("missing"), None);
        assert_eq!(Query("").get("n"), None);
    }
}
