//! Manifests as registries send them: the bytes are kept, and no view makes two things of one document.

#![no_main]

use libfuzzer_sys::fuzz_target;
use oci::Manifest;

fuzz_target!(|raw: &[u8]| {
    if let Ok(manifest) = Manifest::new(raw.to_vec().into(), None) {
        assert_eq!(manifest.raw(), raw);
        let _ = manifest.view();
    }
});
