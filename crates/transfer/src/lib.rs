//! Moves graphs of manifests and blobs between stores.
