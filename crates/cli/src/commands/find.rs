use std::io::{BufWriter, Write as _};
use std::ops::RangeInclusive;
use std::str::FromStr;

use image::inside::{Filter, Glob, LayerChoice, Owner, Type};
use image::{Created, Error};
use layer::{Found, Merged, Node, Time};

use crate::amount::Size;
use crate::context::Context;
use crate::failure::Failure;
use crate::looking::{self, Reading, Row, Widths, shown};
use crate::output::{Each, Output};

/// Find files of an image by name, type, size, owner, layer … (+)
///
/// Prints the paths of the merged file system that are all that is asked for, in its order; what a layer hides is not there. Of an
/// index, of the image for linux/amd64 or --platform. The first time the layers are read whole, and a table of each kept; after that
/// no layer is asked for. Of a flag that is given several times one has to fit.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The image or any other artifact
    #[arg(value_name = "IMAGE")]
    image: String,
    /// The name, the path's last component, matches this pattern (`*`, `?`, `[a-z]`, `{a,b}`)
    #[arg(long, value_name = "GLOB", value_parser = Glob::name)]
    name: Vec<Glob>,
    /// The whole path matches this pattern; `*` stands for no `/`, `**` for any directories: `/usr/**/*.so`
    #[arg(long, value_name = "GLOB", value_parser = Glob::path)]
    path: Vec<Glob>,
    /// It is one of these: f (file), d (directory), l (symlink), c (character-device), b (block-device), p (fifo)
    #[arg(long = "type", value_name = "TYPES", value_delimiter = ',')]
    types: Vec<Type>,
    /// It is a file of more than (`+10M`), less than (`-1k`) or exactly (`500`) so many bytes
    #[arg(long, value_name = "[+-]SIZE", allow_hyphen_values = true)]
    size: Option<Bound>,
    /// It was changed after this time (RFC 3339, or seconds since 1970), or after what this path was; a path begins with `/`
    #[arg(long, value_name = "TIME|PATH")]
    newer: Option<Newer>,
    /// It is a file with a setuid or setgid bit
    #[arg(long)]
    setuid: bool,
    /// It belongs to this user, this group (`:GROUP`), or both; names are those of the image's /etc/passwd and /etc/group, else those
    /// that its archives give
    #[arg(long, value_name = "UID|NAME[:GID|GROUP]")]
    owner: Option<Owner>,
    /// It comes from this layer, by its number from 1 at the bottom, or by its digest or how that begins
    #[arg(long, value_name = "N|DIGEST")]
    layer: Option<LayerChoice>,
    /// Also print mode, owner, size, time and layer
    #[arg(short, long)]
    long: bool,
    /// End each path with a NUL byte, for `xargs -0`
    #[arg(short = '0', long, conflicts_with_all = ["long", "json", "jq"])]
    print0: bool,
    #[command(flatten)]
    reading: Reading,
    #[command(flatten)]
    output: Output,
}

/// `--size`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Bound(RangeInclusive<u64>);

/// `--newer`.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Newer {
    Path(String),
    Time(Created),
}

pub(crate) async fn run(context: &Context, args: Args) -> Result<(), Failure> {
    let looked = looking::open(context, &args.image, args.reading).await?;
    let inside = &looked.inside;
    // Before anything is read, what may be wrong with the line.
    let layers = args.layer.as_ref().map(|layer| layer.among(inside.layers())).transpose()?;
    let tocs = looked.end(inside.tocs().await)?;
    let tables: Vec<_> = tocs.iter().map(|toc| &toc.table).collect();
    let merged = layer::merge(&tables).map_err(Error::Merge)?;
    let filter = Filter {
        names: args.name,
        paths: args.path,
        types: args.types,
        size: args.size.map(|bound| bound.0),
        newer: args.newer.as_ref().map(|newer| newer.time(&merged)).transpose()?,
        setuid: args.setuid,
        owner: match args.owner {
            Some(owner) => Some(looked.end(inside.owner(&merged, owner).await)?),
            None => None,
        },
        layers,
    };
    let nodes: Vec<&Node<'_>> = merged.nodes.iter().filter(|node| filter.takes(node)).collect();
    let rows = nodes.iter().map(|node| Row::node(&merged, node));
    if args.output.wants_json() {
        let items = Each(|| rows.clone().map(|row| row.item(inside.layers())));
        return args.output.print(&context.ui, &items);
    }
    let mut out = BufWriter::new(context.ui.writer()?);
    // What `xargs -0` gets has to be exact.
    let is_shown = context.ui.is_terminal() && !args.print0;
    let widths = if args.long { Widths::of(rows.clone()) } else { Widths::default() };
    let done = rows.clone().try_for_each(|row| {
        if args.long {
            out.write_all(widths.before(&row).as_bytes())?;
            row.write_long(&mut out, is_shown)?;
        } else {
            row.write(&mut out, is_shown)?;
        }
        out.write_all(if args.print0 { b"\0" } else { b"\n" })
    });
    done.and_then(|()| out.flush()).map_err(|error| Failure::output(&error))
}

impl FromStr for Bound {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let size = |text: &str| text.parse::<Size>().map(|size| size.0);
        // Nothing is less than nothing.
        let none = RangeInclusive::new(1, 0);
        Ok(Self(match (text.strip_prefix('+'), text.strip_prefix('-')) {
            (Some(text), _) => size(text)?.checked_add(1).map_or(none, |least| least..=u64::MAX),
            (_, Some(text)) => size(text)?.checked_sub(1).map_or(none, |most| 0..=most),
            _ => size(text).map(|size| size..=size)?,
        }))
    }
}

impl Newer {
    fn time(&self, merged: &Merged<'_>) -> Result<Time, Failure> {
        match self {
            Self::Time(time) => Ok(Time::new(time.seconds(), 0)),
            Self::Path(path) => match merged.find(path.as_bytes(), false).map_err(Error::Path)? {
                Found::Node(index) => Ok(merged.nodes[index].entry.metadata.mtime),
                Found::Directory(path) => {
                    Err(Failure::new(format_args!("no layer says when /{} was changed", shown(&path))))
                }
            },
        }
    }
}

impl FromStr for Newer {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.starts_with('/') {
            return Ok(Self::Path(text.to_owned()));
        }
        text.parse().map(Self::Time).map_err(|error: image::CreatedError| {
            format!("{error}, or a path in the image, with a / in front")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds() {
        for (text, bounds) in [
            ("500", 500..=500),
            ("+10M", 10_000_001..=u64::MAX),
            ("-1Ki", 0..=1023),
            ("-0", RangeInclusive::new(1, 0)),
            ("+99999999T", RangeInclusive::new(1, 0)),
        ] {
            assert_eq!(text.parse(), Ok(Bound(bounds)), "{text}");
        }
        for text in ["", "+", "-", "+-1", "large"] {
            assert!(text.parse::<Bound>().is_err(), "{text}");
        }
    }

    #[test]
    fn newer_than_what() {
        assert_eq!("/etc".parse(), Ok(Newer::Path("/etc".to_owned())));
        assert_eq!("1650093051".parse::<Newer>(), "2022-04-16T07:10:51Z".parse());
        assert!("etc".parse::<Newer>().unwrap_err().contains("a path in the image"));
    }
}
