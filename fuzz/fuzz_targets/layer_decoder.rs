//! Compressed bytes of any kind: no panic, no endless loop, and the same result whatever pieces they come in.

#![no_main]

use std::io::{self, BufReader, Read};

use layer::Decoder;
use libfuzzer_sys::fuzz_target;

/// More than the inputs of a fuzzer inflate to in a useful time.
const MOST: u64 = 1 << 20;

fn decode(bytes: &[u8], capacity: usize) -> io::Result<Vec<u8>> {
    let mut out = Vec::new();
    Decoder::new(BufReader::with_capacity(capacity, bytes))?.take(MOST).read_to_end(&mut out)?;
    Ok(out)
}

fuzz_target!(|bytes: &[u8]| {
    match (decode(bytes, 64 * 1024), decode(bytes, 3)) {
        (Ok(large), Ok(small)) => assert!(large == small),
        (Err(_), Err(_)) => {}
        // Behind the last byte that is looked at there may be an error.
        (Ok(one), Err(_)) | (Err(_), Ok(one)) => assert_eq!(one.len() as u64, MOST),
    }
});
