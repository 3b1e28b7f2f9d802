//! The merge, case by case.

use layer::{Error, merge};

use crate::archive::{archive, flatten, listing, scan};

fn merged(layers: &[&[&str]]) -> Result<Vec<String>, String> {
    let archives: Vec<_> = layers.iter().map(|entries| archive(entries)).collect();
    let tables: Vec<_> = archives.iter().map(|archive| scan(archive).unwrap()).collect();
    let merged = merge(&tables).map_err(|error| {
        assert!(matches!(error, Error::Merge { .. }), "{error:?}");
        error.to_string()
    })?;
    let lines = listing(&merged, &archives);
    // What is written is what was merged, and merging it again changes nothing.
    let flat = [flatten(&archives)];
    let table = [scan(&flat[0]).unwrap()];
    assert_eq!(listing(&merge(&table).unwrap(), &flat), lines);
    Ok(lines)
}

type Case<'a> = (&'a str, &'a [&'a [&'a str]], &'a [&'a str]);

fn check(cases: &[Case<'_>]) {
    for (what, layers, expected) in cases {
        assert_eq!(
            merged(layers).as_deref(),
            Ok(&expected.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>()[..]),
            "{what}"
        );
    }
}

/// What `crane export` gets wrong or once got wrong.
#[test]
fn whiteouts_and_links_by_the_specification() {
    check(&[
        (
            "an opaque directory hides what lower layers have in it",
            &[&["d/", "d/old=1"], &["d/", "d/.wh..wh..opq", "d/new=2"]],
            &["d/", "d/new=2"],
        ),
        ("also when the marker comes last", &[&["d/old=1"], &["d/new=2", "d/.wh..wh..opq"]], &["d/new=2"]),
        ("also without an entry of its own", &[&["d/", "d/old=1"], &["d/.wh..wh..opq"]], &["d/"]),
        ("also in the root", &[&["a=1", "d/b=2"], &[".wh..wh..opq", "c=3"]], &["c=3"]),
        ("a whiteout before its name in the same layer", &[&["k=1"], &[".wh.k", "k=2"]], &["k=2"]),
        ("a whiteout after its name in the same layer", &[&["k=1"], &["k=2", ".wh.k"]], &["k=2"]),
        (
            "a whiteout before a directory",
            &[&["e/", "e/old=1"], &[".wh.e", "e/", "e/new=2"]],
            &["e/", "e/new=2"],
        ),
        (
            "a whiteout after a directory",
            &[&["e/", "e/old=1"], &["e/", "e/new=2", ".wh.e"]],
            &["e/", "e/new=2"],
        ),
        (
            "a whiteout after a child: the directory's entry is hidden",
            &[&["e/", "e/f/old=1"], &["e/f/new=2", ".wh.e"]],
            &["e/f/new=2"],
        ),
        (
            "a whiteout of a directory hides all that is in it",
            &[&["a/", "a/foo=1", "ab=2"], &[".wh.a"]],
            &["ab=2"],
        ),
        ("a whiteout of nothing", &[&["a=1"], &[".wh.b", "c/.wh.d", "a/.wh.x"]], &["a=1"]),
        ("a whiteout in a lower layer hides nothing above", &[&[".wh.a", "a=1"], &["a=2"]], &["a=2"]),
        ("a whiteout can be anything", &[&["a=1"], &[".wh.a/"]], &[]),
        ("hidden, and there again", &[&["a=1"], &[".wh.a"], &["a=3"]], &["a=3"]),
        ("the last of equal paths wins", &[&["p=1", "p=2"]], &["p=2"]),
        ("also over what was below it", &[&["p/", "p/q=1", "p=2"]], &["p=2"]),
        (
            "a link to a file that is replaced above keeps the old content",
            &[&["h/a=OLD", "h/b=>h/a"], &["h/a=UPPER"]],
            &["h/a=UPPER", "h/b=OLD"],
        ),
        ("a link to a file that is deleted above", &[&["a=1", "b=>a"], &[".wh.a"]], &["b=1"]),
        ("links among those that survive", &[&["a=1", "b=>a", "c=>b"], &[".wh.a"]], &["b=1", "c=>b"]),
        ("links to a lower layer", &[&["a=1"], &["b=>a"], &["c=>b", ".wh.b"]], &["a=1", "c=>a"]),
        ("a link that comes first in the order of names", &[&["z=1", "a=>z"]], &["a=1", "z=>a"]),
        ("a link to what is then overwritten in the same layer", &[&["a=1", "b=>a", "a=2"]], &["a=2", "b=1"]),
        ("a link to itself", &[&["a=1"], &["a=>a"]], &["a=1"]),
        ("a link from the root", &[&["a=1", "b=>/a", "c=>./x/../a"]], &["a=1", "b=>a", "c=>a"]),
        ("a link to a symbolic link", &[&["s->x", "t=>s"]], &["s->x", "t=>s"]),
        ("a link replaced by a file above", &[&["a=1", "b=>a"], &["b=2"]], &["a=1", "b=2"]),
        ("parents first", &[&["p/", "p/q/"], &["p/q/child=1"]], &["p/", "p/q/", "p/q/child=1"]),
        (
            "parents first, whatever the order",
            &[&["p/q/child=1", "p/q/", "p/"]],
            &["p/", "p/q/", "p/q/child=1"],
        ),
        ("order of names, not of paths", &[&["a.b=1", "a/", "a/c=2"]], &["a/", "a/c=2", "a.b=1"]),
        ("a root of its own", &[&["./", "a=1"], &["/"]], &["/", "a=1"]),
        ("parents that no layer names", &[&["x/y/z=1"]], &["x/y/z=1"]),
    ]);
}

#[test]
fn files_and_directories_replace_each_other() {
    check(&[
        ("a file above a directory", &[&["e/", "e/f=1"], &["e=2"]], &["e=2"]),
        ("a directory above a file", &[&["e=1"], &["e/", "e/f=2"]], &["e/", "e/f=2"]),
        ("a directory above a directory", &[&["e/", "e/f=1"], &["e/", "e/g=2"]], &["e/", "e/f=1", "e/g=2"]),
        ("a symbolic link above a directory", &[&["e/", "e/f=1"], &["e->x"]], &["e->x"]),
        ("a directory, a file, a directory", &[&["e/f=1"], &["e=2"], &["e/g=3"]], &["e/g=3"]),
        ("a child of a file makes it a directory", &[&["f=1"], &["f/x=2"]], &["f/x=2"]),
        ("also in the same layer", &[&["f=1", "f/x=2"]], &["f/x=2"]),
        ("a whiteout below a file does not", &[&["f=1"], &["f/.wh.x", "f/.wh..wh..opq"]], &["f=1"]),
    ]);
}

/// Each of these is what umoci 0.6 makes of the same layers.
#[test]
fn parents_that_are_symbolic_links_are_followed_inside_the_root() {
    check(&[
        (
            "relative",
            &[&["usr/bin/", "bin->usr/bin"], &["bin/foo=1"]],
            &["bin->usr/bin", "usr/bin/", "usr/bin/foo=1"],
        ),
        (
            "absolute",
            &[&["usr/bin/", "bin->/usr/bin"], &["bin/foo=1"]],
            &["bin->/usr/bin", "usr/bin/", "usr/bin/foo=1"],
        ),
        (
            "in the same layer",
            &[&["usr/bin/", "bin->usr/bin", "bin/foo=1"]],
            &["bin->usr/bin", "usr/bin/", "usr/bin/foo=1"],
        ),
        ("out of the root", &[&["bin->../../../etc", "bin/foo=1"]], &["bin->../../../etc", "etc/foo=1"]),
        ("to nothing", &[&["bin->no/where", "bin/foo=1"]], &["bin->no/where", "no/where/foo=1"]),
        ("over another one", &[&["a->b", "b->c/d", "a/f=1"]], &["a->b", "b->c/d", "c/d/f=1"]),
        ("up and down", &[&["x/y/", "x/l->../z", "x/l/f=1"]], &["x/l->../z", "x/y/", "z/f=1"]),
        (
            "replaced by a directory",
            &[&["usr/bin/", "bin->usr/bin"], &["bin/", "bin/foo=1"]],
            &["bin/", "bin/foo=1", "usr/bin/"],
        ),
        (
            "replaced by an opaque directory: what it led to stays",
            &[&["usr/bin/a=1", "bin->usr/bin"], &["bin/", "bin/.wh..wh..opq", "bin/n=2"]],
            &["bin/", "bin/n=2", "usr/bin/a=1"],
        ),
        ("a whiteout through one", &[&["usr/bin/a=1", "bin->usr/bin"], &["bin/.wh.a"]], &["bin->usr/bin"]),
        (
            "an opaque marker through one",
            &[&["usr/bin/a=1", "bin->usr/bin"], &["bin/.wh..wh..opq"]],
            &["bin->usr/bin"],
        ),
        ("a whiteout of one", &[&["usr/bin/a=1", "bin->usr/bin"], &[".wh.bin"]], &["usr/bin/a=1"]),
        ("a hard link through one", &[&["usr/a=1", "l->usr", "c=>l/a"]], &["c=1", "l->usr", "usr/a=>c"]),
        ("a path that ends in one replaces it", &[&["l->usr", "usr/a=1"], &["l=2"]], &["l=2", "usr/a=1"]),
    ]);
}

#[test]
fn bookkeeping_of_aufs_is_left_out() {
    check(&[
        ("files", &[&["a=1", ".wh..wh.aufs", "d/.wh..wh.foo=2"]], &["a=1"]),
        (
            "files that are linked to",
            &[&[".wh..wh.plnk/", ".wh..wh.plnk/1.2=x", "a=>.wh..wh.plnk/1.2", "b=>a"]],
            &["a=x", "b=>a"],
        ),
    ]);
}

#[test]
fn layers_that_do_not_fit_together() {
    for (layers, problem) in [
        (&[&["b=>a"][..]][..], r#"layer 0, entry "b": hard link to "a", which is not there"#),
        (&[&["b=>a", "a=1"]], r#"layer 0, entry "b": hard link to "a", which is not there"#),
        (&[&["a=1"], &[".wh.a", "b=>a"]], r#"layer 1, entry "b": hard link to "a", which is not there"#),
        (&[&["a=1"], &["b=>a/x"]], r#"layer 1, entry "b": hard link to "a/x", which is not there"#),
        (&[&["a/"], &["b=>a"]], r#"layer 1, entry "b": hard link to "a", which is a directory"#),
        (&[&["x/a=1"], &["b=>x"]], r#"layer 1, entry "b": hard link to "x", which is a directory"#),
        (
            &[&["a->b", "b->a"], &["a/f=1"]],
            r#"layer 1, entry "a/f": more than 255 symbolic links on the way"#,
        ),
        (
            &[&["a->a/a"], &["a/.wh.f"]],
            r#"layer 1, entry "a/.wh.f": more than 255 symbolic links on the way"#,
        ),
        (&[&["d/", ".wh."]], r#"layer 0, entry ".wh.": whiteout names nothing"#),
        (&[&["d/.wh..."]], r#"layer 0, entry "d/.wh...": whiteout names nothing"#),
    ] {
        assert_eq!(merged(layers), Err(problem.to_owned()));
    }
}

#[test]
fn metadata_of_the_upper_directory_wins_and_that_of_a_linked_file_stays() {
    use layer::{Item, Metadata, TarWriter};

    let layer = |entries: &[(&str, u32, Item<'_>)]| {
        let mut tar = TarWriter::new(Vec::new());
        for (path, mode, item) in entries {
            tar.begin(path.as_bytes(), &Metadata::new(*mode), *item).unwrap();
        }
        scan(&tar.finish().unwrap()).unwrap()
    };
    let tables = [
        layer(&[
            ("d", 0o700, Item::Directory),
            ("d/a", 0o4755, Item::File(0)),
            ("d/b", 0o600, Item::HardLink(b"d/a")),
        ]),
        layer(&[("d", 0o1777, Item::Directory), ("d/.wh.a", 0, Item::File(0))]),
    ];
    let merged = merge(&tables).unwrap();
    let modes: Vec<_> =
        merged.nodes.iter().map(|node| (node.path(), node.layer(), node.entry.metadata.mode)).collect();
    assert_eq!(modes, [(&b"d"[..], 1, 0o1777), (b"d/b", 0, 0o4755)]);
}

/// Cost grows with the number of entries and no faster, whatever the whiteouts; and depth is no matter of the stack.
#[test]
fn many_entries() {
    const COUNT: usize = 20_000;
    let files = |prefix: &str| {
        (0..COUNT).map(|number| format!("{prefix}/{}/{number}", number % 100)).collect::<Vec<_>>()
    };
    let mut upper = files("d");
    // Every one of these would look at every file, did nobody remember what is hidden already.
    for _ in 0..COUNT {
        upper.push(".wh.d".to_owned());
        upper.push("d/.wh..wh..opq".to_owned());
    }
    let deep = vec!["n"; 2000].join("/");
    let layers = [files("d"), upper, vec![deep; 50]];
    let archives: Vec<_> =
        layers.iter().map(|layer| archive(&layer.iter().map(String::as_str).collect::<Vec<_>>())).collect();
    let tables: Vec<_> = archives.iter().map(|archive| scan(archive).unwrap()).collect();
    let merged = merge(&tables).unwrap();
    assert_eq!(merged.nodes.len(), COUNT + 1);
    assert!(merged.nodes.iter().filter(|node| node.layer() == 1).count() == COUNT);
}

/// A few megabytes of paths that would become gigabytes of directories.
#[test]
fn paths_that_are_all_slashes() {
    let entries: Vec<String> = (0..600).map(|number| format!("{number}{}", "/d".repeat(2000))).collect();
    let error = merged(&[&entries.iter().map(String::as_str).collect::<Vec<_>>()]).unwrap_err();
    assert!(error.ends_with("too many directories without entries of their own"), "{error}");
}

/// A few links that lead to each other through long names would take years, or more memory than there is.
#[test]
fn symbolic_links_that_lead_too_far() {
    let long = "n".repeat(200);
    let around = format!("{long}/../").repeat(19);
    let mut entries: Vec<String> =
        (0..100).map(|number| format!("l{number}->{around}l{}", number + 1)).collect();
    entries.extend((0..1000).map(|number| format!("l0/{number}")));
    let error = merged(&[&entries.iter().map(String::as_str).collect::<Vec<_>>()]).unwrap_err();
    assert!(error.ends_with("symbolic links lead too far around"), "{error}");

    let deep = vec![&long[..]; 15].join("/");
    let error = merged(&[&[&format!("a->{deep}"), &format!("a/b->{deep}"), "a/b/c"]]).unwrap_err();
    assert!(error.ends_with("symbolic links lead to a path of more than 4095 bytes"), "{error}");
}
