//! Manifests as registries send them.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| oci::fuzzing::manifest(input));
