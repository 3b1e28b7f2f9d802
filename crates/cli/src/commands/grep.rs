use std::io::{self, BufRead, BufReader, BufWriter, Seek, Write};
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, PoisonError};

use image::Error;
use image::inside::{End, Filter, Glob, How, LayerChoice, Pattern, Seen, Targets};
use layer::{Found, Toc};
use serde::Serialize;
use tempfile::SpooledTempFile;

use crate::amount::Size;
use crate::context::Context;
use crate::failure::Failure;
use crate::looking::{self, Reading, printed, shown, shown_line};
use crate::output::Output;
use crate::ui::Ui;

/// Lines of one file that are held in memory until all of it has been searched, in bytes; what is more waits in a temporary file.
const MEMORY: usize = 1 << 20;

/// Search the files of an image for lines that match a pattern (+)
///
/// Prints `path:line:text` as `grep -rn` does, and ends with 1 if nothing matched. Of an index, of the image for linux/amd64 or
/// --platform. Files are searched layer by layer, the lowest first, and in each in the order of its archive; what a layer hides is not
/// searched. The first time the layers are read whole, and a table of each kept; after that only the parts that the files lie in.
///
/// Files that are no text are left out: those with a NUL byte in their first 64 KiB. A later NUL, or a line of more than 16 MiB, ends
/// the search of its file, with a note.
#[derive(Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub(crate) struct Args {
    /// The image or any other artifact
    #[arg(value_name = "IMAGE")]
    image: String,
    /// A regular expression of Rust's kind, as of ripgrep
    #[arg(value_name = "PATTERN", allow_hyphen_values = true)]
    pattern: String,
    /// Files, or directories with all that is in them; without any, the whole image
    #[arg(value_name = "PATH")]
    paths: Vec<String>,
    /// Capital and small letters are the same
    #[arg(short, long)]
    ignore_case: bool,
    /// PATTERN is no expression but stands for itself
    #[arg(short = 'F', long)]
    fixed_strings: bool,
    /// Only whole words
    #[arg(short, long)]
    word_regexp: bool,
    /// Print only the paths of the files in which something matches
    #[arg(short = 'l', long, conflicts_with = "count")]
    files_with_matches: bool,
    /// Print only how many lines of a file match: `path:count`, of files in which any does
    #[arg(short, long)]
    count: bool,
    /// What there always is; for hands that are used to it
    #[arg(short = 'n', long, hide = true)]
    line_number: bool,
    /// Search what is no text too
    #[arg(short = 'a', long)]
    text: bool,
    /// Only files whose name matches this pattern (`*`, `?`, `[a-z]`, `{a,b}`); of several, one has to fit
    #[arg(long, value_name = "GLOB", value_parser = Glob::name)]
    name: Vec<Glob>,
    /// Only files of no more bytes than this
    #[arg(long, value_name = "SIZE")]
    max_size: Option<Size>,
    /// Only files that come from this layer, by its number from 1 at the bottom, or by its digest or how that begins
    #[arg(long, value_name = "N|DIGEST")]
    layer: Option<LayerChoice>,
    #[command(flatten)]
    reading: Reading,
    #[command(flatten)]
    output: Output,
}

pub(crate) async fn run(context: &Context, args: Args) -> Result<(), Failure> {
    let pattern = Pattern::new(
        &args.pattern,
        How {
            ignore_case: args.ignore_case,
            fixed: args.fixed_strings,
            word: args.word_regexp,
            binary: args.text,
        },
    )?;
    let looked = looking::open(context, &args.image, args.reading).await?;
    let inside = &looked.inside;
    let filter = Filter {
        names: args.name,
        size: args.max_size.map(|most| 0..=most.0),
        layers: args.layer.map(|layer| layer.among(inside.layers())).transpose()?,
        ..Filter::default()
    };
    let tocs = looked.end(inside.tocs().await)?;
    let targets = targets(&tocs, &args.paths, &filter)?;
    drop(tocs);
    let form = match (args.files_with_matches, args.count) {
        (true, _) => Form::Files,
        (_, true) => Form::Counts,
        _ => Form::Lines,
    };
    let digests = inside.layers().iter().map(|layer| layer.digest.to_string()).collect();
    let as_json = args.output.wants_json().then(Vec::new);
    let printer = Arc::new(Mutex::new(Printer {
        ui: context.ui.clone(),
        out: context.ui.writer()?,
        is_shown: context.ui.is_terminal(),
        form,
        digests,
        file: Matches::default(),
        as_json,
        any: false,
    }));
    let seen = {
        let printer = Arc::clone(&printer);
        move |seen: Seen<'_>| printer.lock().unwrap_or_else(PoisonError::into_inner).see(seen)
    };
    looked.end(inside.grep(&pattern, targets, seen).await)?;
    let printer = printer.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(found) = &printer.as_json {
        args.output.print(&context.ui, found)?;
    }
    if printer.any { Ok(()) } else { Err(Failure::Silent) }
}

/// The files at and below some paths, or all, that a filter takes.
fn targets(tocs: &[Arc<Toc>], paths: &[String], filter: &Filter) -> Result<Targets, Failure> {
    let tables: Vec<_> = tocs.iter().map(|toc| &toc.table).collect();
    let merged = layer::merge(&tables).map_err(Error::Merge)?;
    let mut nodes = Vec::new();
    if paths.is_empty() {
        nodes.extend(&merged.nodes);
    }
    for path in paths {
        nodes.extend(match merged.find(path.as_bytes(), true).map_err(Error::Path)? {
            Found::Node(index) => merged.below(merged.nodes[index].path()),
            Found::Directory(path) => merged.below(&path),
        });
    }
    Ok(Targets::new(tocs, nodes.into_iter().filter(|node| filter.takes(node))))
}

/// What is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Lines,
    Files,
    Counts,
}

/// Prints what is found in a file as soon as all of it has been searched; before that it may have to be read again.
struct Printer {
    ui: Ui,
    out: Box<dyn Write + Send>,
    /// On a terminal, which gets nothing that could command it.
    is_shown: bool,
    form: Form,
    digests: Vec<String>,
    file: Matches,
    /// What has been found, if it is printed at the end.
    as_json: Option<Vec<Hit>>,
    any: bool,
}

/// What is found in the file that is being searched.
struct Matches {
    paths: Vec<Vec<u8>>,
    layer: usize,
    count: u64,
    /// Lines as they are printed, without the path.
    lines: SpooledTempFile,
    hits: Vec<(u64, String)>,
}

/// What is printed as JSON.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Hit {
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<u64>,
    layer: usize,
    layer_digest: String,
}

impl Default for Matches {
    fn default() -> Self {
        let lines = tempfile::spooled_tempfile(MEMORY);
        Self { paths: Vec::new(), layer: 0, count: 0, lines, hits: Vec::new() }
    }
}

impl Printer {
    fn see(&mut self, seen: Seen<'_>) -> Result<ControlFlow<()>, Error> {
        match seen {
            Seen::File(target) => {
                // An empty one costs nothing: what it held before is gone with it.
                let paths = target.paths().map(<[u8]>::to_vec).collect();
                self.file = Matches { paths, layer: target.layer, ..Matches::default() };
            }
            Seen::Line { number, text } => return self.line(number, text).map_err(Error::Output),
            Seen::End(end) => {
                self.note(end);
                if self.file.count > 0 {
                    self.any = true;
                    self.end().map_err(Error::Output)?;
                }
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    fn line(&mut self, number: u64, text: &[u8]) -> io::Result<ControlFlow<()>> {
        let file = &mut self.file;
        file.count += 1;
        match self.form {
            Form::Files => return Ok(ControlFlow::Break(())),
            Form::Counts => {}
            Form::Lines if self.as_json.is_some() => {
                file.hits.push((number, String::from_utf8_lossy(text).into_owned()));
            }
            Form::Lines => {
                write!(file.lines, "{number}:")?;
                if self.is_shown {
                    file.lines.write_all(shown_line(text).as_bytes())?;
                } else {
                    file.lines.write_all(text)?;
                }
                file.lines.write_all(b"\n")?;
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Prints what was found in a file, under each of its names.
    fn end(&mut self) -> io::Result<()> {
        let (file, form) = (&mut self.file, self.form);
        if let Some(found) = &mut self.as_json {
            for path in &file.paths {
                let hit = |line, text| Hit {
                    path: format!("/{}", String::from_utf8_lossy(path)),
                    line,
                    text,
                    count: (form == Form::Counts).then_some(file.count),
                    layer: file.layer + 1,
                    layer_digest: self.digests[file.layer].clone(),
                };
                match form {
                    Form::Lines => found.extend(
                        file.hits.iter().map(|(number, text)| hit(Some(*number), Some(text.clone()))),
                    ),
                    Form::Files | Form::Counts => found.push(hit(None, None)),
                }
            }
            return Ok(());
        }
        let mut out = BufWriter::new(&mut self.out);
        for path in &file.paths {
            let name = [b"/", &*printed(path, self.is_shown)].concat();
            match form {
                Form::Files => {
                    out.write_all(&name)?;
                    out.write_all(b"\n")?;
                }
                Form::Counts => {
                    out.write_all(&name)?;
                    writeln!(out, ":{}", file.count)?;
                }
                Form::Lines => {
                    file.lines.rewind()?;
                    let mut lines = BufReader::new(&mut file.lines);
                    let mut line = Vec::new();
                    while lines.read_until(b'\n', &mut line)? > 0 {
                        out.write_all(&name)?;
                        out.write_all(b":")?;
                        out.write_all(&line)?;
                        line.clear();
                    }
                }
            }
        }
        out.flush()
    }

    /// Says where a file was not searched to its end.
    fn note(&self, end: End) {
        let why = match end {
            End::Whole | End::Binary => return,
            End::Nul(at) => format!("is no text from byte {at} on, and was searched up to there"),
            End::LongLine => "has a line that is too long, and was searched up to there".to_owned(),
        };
        for path in &self.file.paths {
            self.ui.log(&format!("/{} {why}", shown(path)));
        }
    }
}
