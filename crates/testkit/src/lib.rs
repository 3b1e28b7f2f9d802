//! Real registries, faults on demand and test images, for hoist's own tests.
