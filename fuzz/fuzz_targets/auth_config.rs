//! Docker's configuration file: nothing in it makes reading it panic, and errors do not print it.

#![no_main]

use std::path::Path;

use auth::DockerConfig;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|content: &[u8]| {
    let _ = DockerConfig::parse(Path::new("config.json"), content);
});
