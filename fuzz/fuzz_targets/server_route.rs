//! The paths that a client may send.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| server::fuzzing::route(input));
