//! Pages of long lists: `n`, `last` and the `Link` to the next one (distribution specification, "Listing Tags").

use std::collections::BTreeSet;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::query::Query;

/// The most entries of one answer, whatever the client asks for. Without `n`, this many.
pub(crate) const MAX_ENTRIES: usize = 1000;

/// What stays readable in a query.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// Which part of a list a client asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Page {
    /// How many entries at most.
    pub(crate) limit: usize,
    /// Only entries behind this one, in the order of their bytes.
    pub(crate) last: Option<String>,
}

impl Page {
    /// Reads `n` and `last`; `None` if `n` is not a number. A number too large is the largest page.
    pub(crate) fn parse(query: Query<'_>) -> Option<Self> {
        let limit = match query.get("n") {
            None => MAX_ENTRIES,
            Some(n) if !n.is_empty() && n.bytes().all(|byte| byte.is_ascii_digit()) => {
                n.parse().unwrap_or(MAX_ENTRIES).min(MAX_ENTRIES)
            }
            Some(_) => return None,
        };
        Some(Self { limit, last: query.get("last").map(String::from) })
    }
}

/// Percent-encodes the value of a parameter.
pub(crate) fn encode(value: &str) -> impl std::fmt::Display {
    utf8_percent_encode(value, ENCODED)
}

/// Picks the entries of one page out of many that come in any order, holding no more than the page at a time.
#[derive(Debug)]
pub(crate) struct Picker {
    page: Page,
    picked: BTreeSet<String>,
    more: bool,
}

impl Picker {
    pub(crate) fn new(page: Page) -> Self {
        Self { page, picked: BTreeSet::new(), more: false }
    }

    /// Whether an entry that begins with `prefix` could still be picked.
    pub(crate) fn wants(&self, prefix: &str) -> bool {
        let behind = self.page.last.as_deref().is_none_or(|last| prefix > last || last.starts_with(prefix));
        let full = self.picked.len() >= self.page.limit;
        behind && !(full && self.more && self.picked.last().is_none_or(|largest| prefix > largest.as_str()))
    }

    /// Considers an entry.
    pub(crate) fn offer(&mut self, entry: String) {
        if self.page.last.as_deref().is_some_and(|last| entry.as_str() <= last) {
            return;
        }
        self.picked.insert(entry);
        if self.picked.len() > self.page.limit {
            self.picked.pop_last();
            self.more = true;
        }
    }

    /// The entries in order, and whether there are more behind them.
    pub(crate) fn finish(self) -> (Vec<String>, bool) {
        (self.picked.into_iter().collect(), self.more)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn parameters() {
        let page = |query: &'static str| Page::parse(Query(query));
        assert_eq!(page(""), Some(Page { limit: MAX_ENTRIES, last: None }));
        assert_eq!(page("n=2&last=b"), Some(Page { limit: 2, last: Some("b".into()) }));
        assert_eq!(page("n=0").unwrap().limit, 0);
        assert_eq!(page("n=1000000000").unwrap().limit, MAX_ENTRIES);
        assert_eq!(page("n=99999999999999999999999999").unwrap().limit, MAX_ENTRIES);
        for bad in ["n=-1", "n=", "n=x", "n=+1", "n=1.5"] {
            assert_eq!(page(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn picks_what_sorting_all_would_pick(
            entries in proptest::collection::btree_set("[ab/-]{1,4}", 0..20),
            limit in 0_usize..6,
            last in proptest::option::of("[ab/-]{0,4}"),
        ) {
            let behind: Vec<String> =
                entries.iter().filter(|entry| last.as_ref().is_none_or(|last| *entry > last)).cloned().collect();
            let mut picker = Picker::new(Page { limit, last });
            for entry in entries.into_iter().rev() {
                if picker.wants(&entry) {
                    picker.offer(entry);
                }
            }
            let (picked, more) = picker.finish();
            prop_assert_eq!(&picked[..], &behind[..behind.len().min(limit)]);
            prop_assert_eq!(more, behind.len() > limit);
        }
    }
}
