//! Databases of packages, of dpkg and apk.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| image::fuzzing::packages(input));
