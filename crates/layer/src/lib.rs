//! The bytes inside a layer: compression, tar, table of contents, and the one merge of layers into a file system.
