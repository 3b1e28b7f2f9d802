//! The list of entries of an eStargz or zstd:chunked layer.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| layer::fuzzing::list(input));
