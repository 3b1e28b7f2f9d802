//! What a registry can do, as it turned out.

use serde::{Deserialize, Serialize};

/// What was seen of a registry. `None` is not known; what is known may be old, so that it is never more than a reason to
/// try one way before the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Features {
    /// Manifests answer `HEAD`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) head: Option<bool>,
    /// Blobs answer `Range` with a part.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ranges: Option<bool>,
    /// One `POST` with all bytes writes a blob (distribution specification, "Single POST").
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) single_post: Option<bool>,
    /// The longest body that it may take, in bytes, since longer ones were refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) longest_body: Option<u64>,
    /// A mount without `from` finds the blob (distribution specification, "Mounting a blob from another repository").
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) anonymous_mount: Option<bool>,
}

impl Features {
    /// These, and where nothing is known, what `older` says.
    pub(crate) fn or(self, older: Self) -> Self {
        Self {
            head: self.head.or(older.head),
            ranges: self.ranges.or(older.ranges),
            single_post: self.single_post.or(older.single_post),
            longest_body: self.longest_body.or(older.longest_body),
            anonymous_mount: self.anonymous_mount.or(older.anonymous_mount),
        }
    }

    /// What of these is not in `known`.
    pub(crate) fn beyond(self, known: Self) -> Self {
        fn new<T: Copy + PartialEq>(seen: Option<T>, known: Option<T>) -> Option<T> {
            if seen == known { None } else { seen }
        }
        Self {
            head: new(self.head, known.head),
            ranges: new(self.ranges, known.ranges),
            single_post: new(self.single_post, known.single_post),
            longest_body: new(self.longest_body, known.longest_body),
            anonymous_mount: new(self.anonymous_mount, known.anonymous_mount),
        }
    }
}
