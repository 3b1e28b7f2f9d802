//! A zTOC, of SOCI.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| layer::fuzzing::ztoc(input));
