//! Reads and builds images: platform choice, export of the merged file system, small images from files.
