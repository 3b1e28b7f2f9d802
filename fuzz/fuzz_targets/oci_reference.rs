//! What people type as a reference.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| oci::fuzzing::reference(input));
