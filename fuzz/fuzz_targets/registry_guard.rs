//! Addresses, URLs and what a user allows.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| registry::fuzzing::guard(input));
