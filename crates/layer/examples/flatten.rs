//! Layers in, lowest first, one tar archive out: `flatten LAYER... > root.tar`. Says on standard error what took how long.

#![expect(clippy::print_stderr, reason = "a program")]

use std::env;
use std::fs::File;
use std::io::{self, BufReader};
use std::os::fd::AsFd;
use std::thread;
use std::time::Instant;

use layer::{Decoder, Limits, Table, merge, write_tar};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let start = Instant::now();
    let read = |path| -> Result<(File, Table), Box<dyn std::error::Error + Send + Sync>> {
        let spool = tempfile::tempfile()?;
        let layer = Decoder::new(BufReader::with_capacity(128 * 1024, File::open(path)?))?;
        let table = Table::scan(layer, &spool, Limits::default())?;
        Ok((spool, table))
    };
    let (mut spools, mut tables) = (Vec::new(), Vec::new());
    thread::scope(|scope| {
        let threads: Vec<_> = env::args_os().skip(1).map(|path| scope.spawn(|| read(path))).collect();
        for thread in threads {
            let (spool, table) = thread.join().map_err(|_| "a thread panicked")??;
            spools.push(spool);
            tables.push(table);
        }
        Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
    })
    .map_err(|error| error.to_string())?;
    eprintln!("scanned after {:.3?}", start.elapsed());
    let merged = merge(&tables)?;
    eprintln!("merged after {:.3?}", start.elapsed());
    // Not `io::stdout()`, which looks for the ends of lines.
    let out = File::from(io::stdout().as_fd().try_clone_to_owned()?);
    write_tar(&merged, &spools[..], out)?;
    let size: u64 = tables.iter().map(|table| table.size).sum();
    let entries: usize = tables.iter().map(|table| table.entries.len()).sum();
    eprintln!("written after {:.3?}: {entries} entries, {size} bytes inflated", start.elapsed());
    Ok(())
}
