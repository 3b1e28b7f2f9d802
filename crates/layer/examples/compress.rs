//! A tar archive in, a layer out: `compress ENCODING THREADS < layer.tar > layer`. Says on standard error what took how long.

#![expect(clippy::print_stderr, reason = "a program")]

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::time::Instant;
use std::{env, process};

use layer::{Encoder, Encoding};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [encoding, threads] = &arguments[..] else {
        eprintln!("compress ENCODING THREADS < layer.tar > layer");
        process::exit(2);
    };
    let encoding: Encoding = encoding.parse()?;
    // Neither `io::stdin()` nor `io::stdout()`: their buffers are small, and the latter looks for the ends of lines.
    let mut input = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    let out = File::from(io::stdout().as_fd().try_clone_to_owned()?);
    let start = Instant::now();
    let mut encoder = Encoder::new(out, encoding, threads.parse()?)?;
    let (mut buffer, mut size) = (vec![0; 128 * 1024], 0);
    loop {
        let count = input.read(&mut buffer)?;
        if count == 0 {
            break;
        }
        encoder.write_all(&buffer[..count])?;
        size += count;
    }
    encoder.finish()?;
    eprintln!("{size} bytes as {encoding} after {:.3?}", start.elapsed());
    Ok(())
}
