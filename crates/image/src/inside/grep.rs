//! Lines that match a pattern, in the files of an image.

use std::io::{self, Read};
use std::ops::{ControlFlow, Range};
use std::ptr;
use std::sync::{Arc, Mutex, PoisonError};

use grep_regex::{RegexMatcher, RegexMatcherBuilder};
use grep_searcher::{BinaryDetection, Searcher, SearcherBuilder, Sink, SinkMatch};
use layer::{Body, Kind, Node, Toc};

use super::body::Expanded;
use super::{Inside, Wanted};
use crate::Error;

/// A file that has a NUL so near its beginning, in bytes, is no text.
const HEAD: u64 = 64 << 10;

/// No longer line is held in memory, in bytes.
const LONG: usize = 16 << 20;

/// What lines are searched for: a regular expression of Rust's crate `regex`, as ripgrep has them, or a text.
#[derive(Clone, Debug)]
pub struct Pattern {
    matcher: RegexMatcher,
    binary: bool,
}

/// How a pattern is meant.
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub struct How {
    /// Capital and small letters are the same.
    pub ignore_case: bool,
    /// It is a text that stands for itself.
    pub fixed: bool,
    /// Words begin and end where it does.
    pub word: bool,
    /// What is no text is searched too.
    pub binary: bool,
}

/// Why a text is no pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{pattern:?} is no pattern: {problem}")]
pub struct PatternError {
    /// What was to be one.
    pub pattern: String,
    /// What is wrong with it, in one line.
    pub problem: String,
}

/// Files to search, each once, in the order of the layers. There may be millions of them, so they are where their tables are.
#[derive(Clone, Debug, Default)]
pub struct Targets {
    tocs: Vec<Arc<Toc>>,
    files: Vec<Listed>,
}

/// A file of a layer's table.
#[derive(Clone, Debug)]
struct Listed {
    layer: u32,
    entry: u32,
    /// Its paths, if it has others than the entry's own.
    #[expect(clippy::box_collection, reason = "a slice's length would be a second word")]
    names: Option<Box<Vec<Box<[u8]>>>>,
}

/// A file to search, with its names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target<'a> {
    /// The layer that its content is in, counted from the bottom, from zero.
    pub layer: usize,
    /// Where in it.
    pub body: &'a Body,
    own: &'a [u8],
    names: &'a [Box<[u8]>],
}

impl<'a> Target<'a> {
    /// Its paths, without `/` in front: several where there are hard links.
    pub fn paths(&self) -> impl Iterator<Item = &'a [u8]> {
        let own = self.names.is_empty().then_some(self.own);
        own.into_iter().chain(self.names.iter().map(|name| &**name))
    }
}

/// What is seen while files are searched.
#[derive(Clone, Copy, Debug)]
pub enum Seen<'a> {
    /// A file begins. If one comes a second time, what was seen of it before does not count.
    File(Target<'a>),
    /// A line that matches.
    Line {
        /// Its number, from 1.
        number: u64,
        /// What is in it, without the line feed at its end.
        text: &'a [u8],
    },
    /// That was all of the file.
    End(End),
}

/// Where the search of a file ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// At its end, or where no more was wanted.
    Whole,
    /// At once, for it is no text.
    Binary,
    /// At the first byte that is zero, in its midst; so far from its beginning, in bytes.
    Nul(u64),
    /// Before a line that is too long to be held in memory.
    LongLine,
}

impl Pattern {
    /// Understands a pattern.
    ///
    /// # Errors
    /// If it is none, or could only match what spans lines.
    pub fn new(pattern: &str, how: How) -> Result<Self, PatternError> {
        let mut builder = RegexMatcherBuilder::new();
        builder.multi_line(true).line_terminator(Some(b'\n'));
        builder.case_insensitive(how.ignore_case).fixed_strings(how.fixed).word(how.word);
        let matcher = builder.build(pattern).map_err(|error| PatternError {
            pattern: pattern.to_owned(),
            problem: one_line(&error.to_string()),
        })?;
        Ok(Self { matcher, binary: how.binary })
    }

    /// Searches one file.
    fn search(
        &self,
        searcher: &mut Searcher,
        target: Target<'_>,
        (stored, head, is_proven): (&mut dyn Read, &mut Vec<u8>, bool),
        seen: &mut dyn FnMut(Seen<'_>) -> Result<ControlFlow<()>, Error>,
    ) -> Result<(), Error> {
        if seen(Seen::File(target))?.is_break() {
            return seen(Seen::End(End::Whole)).map(drop);
        }
        let reader = Expanded::new(target.body, &mut *stored);
        let mut reader = Watched { reader, at: 0, takes_nul: self.binary, nul: None, failed: false };
        head.clear();
        (&mut reader).take(HEAD).read_to_end(head).map_err(|source| Error::Body { source })?;
        if reader.nul.is_some() {
            return seen(Seen::End(End::Binary)).map(drop);
        }
        let mut lines = Lines { seen, failed: None };
        let content = head.as_slice().chain(&mut reader);
        let outcome = searcher.search_reader(&self.matcher, content, &mut lines);
        let end = match (outcome, lines.failed) {
            (_, Some(error)) => return Err(error),
            (Err(source), None) if reader.failed => return Err(Error::Body { source }),
            // Nothing is left that can fail but the memory for a line.
            (Err(_), None) => End::LongLine,
            (Ok(()), None) => reader.nul.map_or(End::Whole, End::Nul),
        };
        if !is_proven {
            // A long chunk is proven at its end alone, and what was found in it is not told before.
            io::copy(stored, &mut io::sink()).map_err(|source| Error::Body { source })?;
        }
        seen(Seen::End(end)).map(drop)
    }
}

/// What passes over lines. It would drop what it has read beside a NUL: [`Watched`] is exact.
fn searcher() -> Searcher {
    let mut builder = SearcherBuilder::new();
    builder.line_number(true).bom_sniffing(false).heap_limit(Some(LONG));
    builder.binary_detection(BinaryDetection::none()).build()
}

/// Messages of the regex crate draw the pattern and point to a place in it; the last line says what is wrong.
fn one_line(message: &str) -> String {
    let last = message.lines().next_back().unwrap_or_default().trim();
    last.strip_prefix("error: ").unwrap_or(last).to_owned()
}

impl Targets {
    /// The files among nodes of what these tables, bottom first, make when merged. What is of other tables is left out.
    pub fn new<'a>(tocs: &[Arc<Toc>], nodes: impl IntoIterator<Item = &'a Node<'a>>) -> Self {
        let mut files: Vec<_> =
            nodes.into_iter().filter(|node| matches!(node.entry.kind, Kind::File(_))).collect();
        // Two entries of one layer have no content in the same place; what is empty may have any. Names stay in their order.
        files.sort_unstable_by_key(|node| {
            (node.layer(), offset(node), ptr::from_ref(node.entry), ptr::from_ref(*node))
        });
        files.dedup_by_key(|node| ptr::from_ref(*node));
        let mut targets = Vec::with_capacity(files.len());
        for names in files.chunk_by(|one, next| ptr::eq(one.entry, next.entry)) {
            let first = names[0];
            let is_own = |node: &Node<'_>| *node.path() == *node.entry.path;
            let toc = tocs.get(first.layer());
            let entry = toc.and_then(|toc| toc.table.position(first.entry));
            let (Some(entry), Ok(layer)) = (entry, first.layer().try_into()) else { continue };
            let names = (names.len() > 1 || !is_own(first))
                .then(|| Box::new(names.iter().map(|node| node.path().into()).collect()));
            targets.push(Listed { layer, entry, names });
        }
        Self { tocs: tocs.to_vec(), files: targets }
    }

    /// Where those of one layer after the other are.
    fn layers(&self) -> Vec<(usize, Range<usize>)> {
        let mut end = 0;
        let layers = self.files.chunk_by(|one, next| one.layer == next.layer);
        let ranges = layers.map(|files| {
            let start = end;
            end += files.len();
            (files[0].layer as usize, start..end)
        });
        ranges.collect()
    }

    fn get(&self, index: usize) -> Target<'_> {
        let Listed { layer, entry, names } = &self.files[index];
        // They were found there.
        let entry = &self.tocs[*layer as usize].table.entries[*entry as usize];
        let Kind::File(body) = &entry.kind else { unreachable!("only files are listed") };
        let names = names.as_ref().map_or(&[][..], |names| names);
        Target { layer: *layer as usize, body, own: &entry.path, names }
    }
}

/// Files of one layer, to search.
struct Searched {
    targets: Arc<Targets>,
    files: Range<usize>,
}

impl Searched {
    fn target(&self, index: usize) -> Target<'_> {
        self.targets.get(self.files.start + index)
    }
}

impl Wanted for Searched {
    fn count(&self) -> usize {
        self.files.len()
    }

    fn get(&self, index: usize) -> &Body {
        self.target(index).body
    }
}

/// Where the content of a file begins.
fn offset(node: &Node<'_>) -> u64 {
    match &node.entry.kind {
        Kind::File(body) => body.offset,
        _ => 0,
    }
}

impl Inside {
    /// Searches files, layer by layer, the lowest first, and in each in the order in which they lie there: so they take few requests,
    /// and nothing has to be kept. `seen` hears of each file from its beginning to its end, and says whether more of it is wanted; it
    /// runs on a thread that may wait.
    ///
    /// A file with a NUL byte in its first 64 KiB is no text and not searched; a later one ends the search of its file, and so does a
    /// line of more than 16 MiB.
    ///
    /// # Errors
    /// Those of `seen` and of [`read`](Self::read).
    pub async fn grep(
        &self,
        pattern: &Pattern,
        targets: Targets,
        seen: impl FnMut(Seen<'_>) -> Result<ControlFlow<()>, Error> + Send + 'static,
    ) -> Result<(), Error> {
        let seen = Arc::new(Mutex::new(seen));
        let targets = Arc::new(targets);
        for (layer, files) in targets.layers() {
            let within = Arc::new(Searched { targets: Arc::clone(&targets), files });
            let (pattern, seen, bodies) = (pattern.clone(), Arc::clone(&seen), Arc::clone(&within));
            let (mut searcher, mut head) = (searcher(), Vec::new());
            let is_proven = self.toc(layer).await?.proves_compressed();
            let read = move |index: usize, stored: &mut dyn Read| {
                let target = within.target(index);
                // Whoever panicked with it ends the whole search.
                let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                pattern.search(&mut searcher, target, (stored, &mut head, is_proven), &mut *seen)
            };
            self.read(layer, bodies, read).await?;
        }
        Ok(())
    }
}

/// Ends at the first NUL, unless it takes them, and remembers that, and whether reading has failed.
struct Watched<R> {
    reader: R,
    at: u64,
    takes_nul: bool,
    nul: Option<u64>,
    failed: bool,
}

impl<R: Read> Read for Watched<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.nul.is_some() {
            return Ok(0);
        }
        let read = self.reader.read(out);
        self.failed |= matches!(&read, Err(error) if error.kind() != io::ErrorKind::Interrupted);
        let mut count = read?;
        // Looking whether there is one is faster than looking for it.
        if !self.takes_nul
            && out[..count].contains(&0)
            && let Some(text) = out[..count].iter().position(|byte| *byte == 0)
        {
            count = text;
            self.nul = Some(self.at + text as u64);
        }
        self.at += count as u64;
        Ok(count)
    }
}

/// Passes on what a searcher finds.
struct Lines<'a> {
    seen: &'a mut dyn FnMut(Seen<'_>) -> Result<ControlFlow<()>, Error>,
    failed: Option<Error>,
}

impl Sink for Lines<'_> {
    type Error = io::Error;

    fn matched(&mut self, _: &Searcher, found: &SinkMatch<'_>) -> io::Result<bool> {
        let text = found.bytes();
        let text = text.strip_suffix(b"\n").unwrap_or(text);
        // The searcher counts lines.
        let number = found.line_number().unwrap_or_default();
        match (self.seen)(Seen::Line { number, text }) {
            Ok(flow) => Ok(flow.is_continue()),
            Err(error) => {
                self.failed = Some(error);
                Ok(false)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use layer::{Entry, Extent, Metadata, Sparse, merge};

    use super::*;

    fn pattern(text: &str, how: How) -> Pattern {
        Pattern::new(text, how).unwrap()
    }

    fn body(offset: u64, size: u64) -> Body {
        Body::whole(offset, size)
    }

    fn target(body: &Body) -> Target<'_> {
        Target { layer: 0, body, own: b"a", names: &[] }
    }

    /// The lines that are found, up to `most`, and how it ended.
    fn search(pattern: &Pattern, body: &Body, stored: &[u8], most: usize) -> (Vec<String>, Option<End>) {
        let (mut lines, mut end) = (Vec::new(), None);
        pattern
            .search(&mut searcher(), target(body), (&mut &*stored, &mut Vec::new(), true), &mut |seen| {
                match seen {
                    Seen::File(file) => assert_eq!(file, target(body)),
                    Seen::Line { number, text } => {
                        lines.push(format!("{number}:{}", text.escape_ascii()));
                    }
                    Seen::End(how) => end = Some(how),
                }
                Ok(if lines.len() < most { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
            })
            .unwrap();
        (lines, end)
    }

    fn found(text: &str, how: How, stored: &[u8]) -> Vec<String> {
        search(&pattern(text, how), &body(0, stored.len() as u64), stored, 99).0
    }

    #[test]
    fn patterns_as_they_are_meant() {
        let text = b"one\nOne.two\r\n\nonerous\xff\nlast one";
        let how = How::default();
        assert_eq!(found("one", how, text), ["1:one", "4:onerous\\xff", "5:last one"]);
        assert_eq!(found("^one$", how, text), ["1:one"]);
        assert_eq!(found("^$", how, text), ["3:"]);
        assert_eq!(found("one", How { ignore_case: true, ..how }, text).len(), 4);
        assert_eq!(found("e.t", How { fixed: true, ..how }, text), ["2:One.two\\r"]);
        assert_eq!(found("one", How { word: true, ..how }, text), ["1:one", "5:last one"]);
        assert_eq!(found("none", how, text), [""; 0]);
        assert_eq!(found("", how, b""), [""; 0]);
    }

    #[test]
    fn what_is_no_pattern_is_said_in_one_line() {
        let how = How::default();
        let problem = |text: &str| Pattern::new(text, how).unwrap_err().to_string();
        assert_eq!(problem("(a"), "\"(a\" is no pattern: unclosed group");
        assert!(problem("a\\nb").contains("not allowed"), "{}", problem("a\\nb"));
        assert!(problem("\\w{1000}{1000}").contains("size"), "{}", problem("\\w{1000}{1000}"));
        assert!(Pattern::new("(a", How { fixed: true, ..how }).is_ok());
    }

    #[test]
    fn only_text_is_searched() {
        let one = pattern("one", How::default());
        let all = pattern("one", How { binary: true, ..How::default() });
        let binary = b"one\n\0\none\n";
        let file = body(0, binary.len() as u64);
        assert_eq!(search(&one, &file, binary, 9), (vec![], Some(End::Binary)));
        assert_eq!(search(&all, &file, binary, 9).0, ["1:one", "3:one"]);

        let late = [&b"one\n".repeat(20_000)[..], b"o\0\none\n"].concat();
        let file = body(0, late.len() as u64);
        let (lines, end) = search(&one, &file, &late, usize::MAX);
        assert_eq!((lines.len(), end), (20_000, Some(End::Nul(80_001))));
        assert_eq!(search(&one, &file, &late, 2), (vec!["1:one".into(), "2:one".into()], Some(End::Whole)));

        // The holes of a sparse file are NULs.
        let extents = [Extent { offset: 0, length: 4 }, Extent { offset: 8, length: 4 }];
        let sparse = Sparse { stored: 8, extents: extents.into() };
        let file = Body { offset: 0, size: 12, sparse: Some(Box::new(sparse)) };
        assert_eq!(search(&one, &file, b"one\none\n", 9), (vec![], Some(End::Binary)));
        assert_eq!(search(&all, &file, b"one\none\n", 9).0, ["1:one", "2:\\x00\\x00\\x00\\x00one"]);
    }

    #[test]
    fn long_lines_do_not_fill_the_memory() {
        let text = [&b"one\n"[..], &vec![b'x'; LONG + 1], b"one\n"].concat();
        let file = body(0, text.len() as u64);
        let (lines, end) = search(&pattern("one", How::default()), &file, &text, 9);
        assert_eq!((lines, end), (vec!["1:one".to_owned()], Some(End::LongLine)));
    }

    #[test]
    fn failures_are_whose_they_are() {
        let one = pattern("one", How::default());
        let searcher = &mut searcher();
        let short = one.search(
            searcher,
            target(&body(0, 9)),
            (&mut &b"one\n"[..], &mut Vec::new(), true),
            &mut |_| Ok(ControlFlow::Continue(())),
        );
        assert!(matches!(short, Err(Error::Body { .. })), "{short:?}");
        let large = b"one\n".repeat(20_000);
        let short = one.search(
            searcher,
            target(&body(0, large.len() as u64 + 1)),
            (&mut &large[..], &mut Vec::new(), true),
            &mut |seen| {
                assert!(!matches!(seen, Seen::End(_)));
                Ok(ControlFlow::Continue(()))
            },
        );
        assert!(matches!(short, Err(Error::Body { .. })), "{short:?}");
        let output = one.search(
            searcher,
            target(&body(0, 4)),
            (&mut &b"one\n"[..], &mut Vec::new(), true),
            &mut |seen| match seen {
                Seen::Line { .. } => Err(Error::Output(io::ErrorKind::BrokenPipe.into())),
                _ => Ok(ControlFlow::Continue(())),
            },
        );
        assert!(output.is_err_and(|error| error.is_closed()));
    }

    #[test]
    fn a_file_with_two_names_is_one_target() {
        let entry =
            |path: &str, kind| Entry { path: path.as_bytes().into(), kind, metadata: Metadata::new(0o644) };
        let file = |path, offset| entry(path, Kind::File(body(offset, 1)));
        let toc = |entries| {
            let mut toc = Toc::of_file(b"", 0);
            toc.table.entries = entries;
            Arc::new(toc)
        };
        let lower = [file("c", 512), file("b", 2048), entry("d", Kind::HardLink((*b"b").into()))];
        let tocs = [toc(lower.into()), toc(vec![file("a", 2048)])];
        let tables: Vec<_> = tocs.iter().map(|toc| &toc.table).collect();
        let merged = merge(&tables).unwrap();
        let targets = Targets::new(&tocs, merged.nodes.iter().chain(&merged.nodes[3..]));
        assert_eq!(targets.layers(), [(0, 0..2), (1, 2..3)]);
        let paths: Vec<_> = (0..3).map(|index| targets.get(index).paths().collect::<Vec<_>>()).collect();
        assert_eq!(paths, [vec![&b"c"[..]], vec![b"b", b"d"], vec![b"a"]]);
    }
}
