//! Archives of any kind, as layers of one image.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| layer::fuzzing::scan(input));
