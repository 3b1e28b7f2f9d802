//! Docker's and podman's files of credentials.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| auth::fuzzing::config(input));
