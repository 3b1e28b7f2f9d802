//! What people type as a reference: errors point inside the text, and what is accepted prints as it parses.

#![no_main]

use libfuzzer_sys::fuzz_target;
use oci::Reference;

fuzz_target!(|text: &str| {
    match text.parse::<Reference>() {
        Err(error) => assert!(error.position <= text.chars().count()),
        Ok(reference) => {
            let printed = reference.to_string();
            let again = printed.parse::<Reference>().expect("a printed reference parses");
            assert_eq!(again.to_string(), printed);
        }
    }
});
