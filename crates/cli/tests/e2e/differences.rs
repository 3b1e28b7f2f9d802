//! Where the verbs that change images differ from crane's on purpose: one table, shown to be true by `differential.rs`, and the
//! same in docs/crane.md.

/// What differs on purpose: its name in the cases below, the row of docs/crane.md, and the members that it explains: of the
/// result (`config/…`, `manifest/…`, those of an index behind its number), `code` for the exit code, `kind` for one image
/// where the other has an index.
pub(crate) const DIFFERENCES: &[(&str, [&str; 3], &[&str])] = &[
    (
        "lossless",
        [
            "members that crane does not know: `Healthcheck.StartInterval`, `subject`, `artifactType`, others",
            "dropped by every change",
            "stay, with the order and the numbers as they are written",
        ],
        &["config/config/Healthcheck", "config/x", "manifest/subject", "manifest/artifactType", "manifest/x"],
    ),
    (
        "entrypoint",
        ["`mutate --entrypoint`", "clears `Cmd`", "leaves `Cmd` as it is"],
        &["config/config/Cmd"],
    ),
    (
        "empty",
        [
            "`mutate` with an empty `--cmd`, `--entrypoint`, `--user`, `--workdir`, `--exposed-ports`",
            "changes nothing",
            "clears it",
        ],
        &[
            "config/config/Cmd",
            "config/config/Entrypoint",
            "config/config/User",
            "config/config/WorkingDir",
            "config/config/ExposedPorts",
        ],
    ),
    ("empty value", ["`mutate -l KEY=`, `-a KEY=`", "an error", "an empty value"], &["code"]),
    ("removal", ["`mutate -l KEY-`, `-a KEY-`, `-e KEY-`", "an error", "takes the key away"], &["code"]),
    ("no key", ["`mutate -l =VALUE`, `-a =VALUE`", "an empty key", "an error"], &["code"]),
    (
        "comma",
        [
            "`mutate -l A,B=C`, `-a A,B=C`",
            "the key `A,B`",
            "two words, the first of which is no `KEY=VALUE`: an error",
        ],
        &["code"],
    ),
    (
        "case",
        [
            "`mutate -e FOO=2` of an image for Windows that has `foo=1`",
            "adds `FOO=2`",
            "makes it `foo=2`, for names have no case there",
        ],
        &["config/config/Env"],
    ),
    (
        "bad platform",
        ["`mutate --set-platform` with what is no platform", "writes it", "an error"],
        &["code"],
    ),
    (
        "index",
        [
            "`mutate` of an index",
            "puts the linux/amd64 image, or that for `--platform`, in its place",
            "changes all images, or that for `--platform`, and the index with them",
        ],
        &["kind"],
    ),
    (
        "index annotations",
        ["`mutate -a` of an index", "an error", "those of the index and of all images"],
        &["code"],
    ),
    (
        "replacing",
        ["one image where the tag names an index", "takes its place", "an error, but with `--replace-index`"],
        &["code"],
    ),
    (
        "step",
        [
            "the step in the history for a layer of `append` or `mutate --append`",
            "empty, from the year 1",
            "says `hoist append`, and has a time only if one is given",
        ],
        &["config/history"],
    ),
    (
        "empty base",
        [
            "`append` without a base",
            "an image for no platform, from the year 1",
            "for linux/amd64 or `--platform`, without a time",
        ],
        &["config/os", "config/architecture", "config/created"],
    ),
    (
        "zstd",
        ["a zstd layer on an image of docker's types", "gets OCI's type", "gets docker's"],
        &["manifest/layers"],
    ),
    (
        "windows",
        [
            "the directories in a layer that is laid out for Windows",
            "have no `/` at the end",
            "have one, as `tar` writes them",
        ],
        &["config/rootfs", "manifest/layers"],
    ),
    (
        "no layer",
        ["`append` of what is no tar archive, or of one that is cut", "pushes it", "an error"],
        &["code"],
    ),
    ("directory", ["`append -f` of a directory", "an error", "makes a layer of it"], &["code"]),
    (
        "digest",
        [
            "`append -t REPOSITORY@DIGEST`",
            "an error of the registry",
            "pushes without a tag, by the new digest",
        ],
        &["code"],
    ),
    (
        "flatten types",
        ["`flatten`, `rebase` of an image of OCI's types", "it becomes docker's", "it stays OCI's"],
        &["manifest/mediaType", "manifest/config", "manifest/layers"],
    ),
    (
        "flatten history",
        [
            "the step and the time of `flatten`",
            "`crane flatten DIGEST`, now",
            "`hoist flatten`; a time only if one is given, else the image's own stays",
        ],
        &["config/history", "config/created"],
    ),
    (
        "flatten layer",
        [
            "the layer of `flatten`",
            "the newest files first, with export's faults",
            "parents first, in the order of names, as the specification merges",
        ],
        &["config/rootfs"],
    ),
    (
        "flatten platform",
        [
            "`flatten --platform` of an index",
            "ignores it",
            "flattens that image, and the others stay as they are",
        ],
        &["config", "manifest"],
    ),
    (
        "rebase created",
        ["the time of an image after `rebase`", "the year 1", "as it was, or as given"],
        &["config/created"],
    ),
    (
        "rebase types",
        [
            "layers of another base's types after `rebase`",
            "keep them: OCI's in a docker image",
            "get those of the image",
        ],
        &["manifest/layers"],
    ),
    (
        "rebase layers",
        ["`rebase` of an image without a history", "loses layers of its own", "keeps them all"],
        &["config/rootfs", "config/history", "manifest/layers"],
    ),
    (
        "rebase index",
        ["`rebase` of an index", "an error", "every image on the base for its platform"],
        &["code"],
    ),
    (
        "old flags",
        [
            "`rebase --original IMAGE --rebased NAME` alone",
            "an error, since an argument is missing",
            "as they once worked",
        ],
        &["code"],
    ),
    ("arguments", ["`index append INDEX IMAGE…`", "an error", "as `-m IMAGE`"], &["code"]),
    (
        "twice",
        ["`index append` of what is listed already", "lists it twice", "says so, and lists it once"],
        &["manifests"],
    ),
    (
        "append platform",
        ["`index append --platform`", "ignores it", "takes that image of an index"],
        &["manifests"],
    ),
    (
        "filter nothing",
        ["`index filter` that leaves nothing", "pushes an empty list", "an error that tells what there is"],
        &["code"],
    ),
    (
        "filter all",
        ["`index filter` without `--platform`", "pushes an empty list", "drops what has no platform"],
        &["manifests"],
    ),
];

#[test]
fn the_documentation_lists_the_same() {
    let page = include_str!("../../../../docs/crane.md");
    let (_, rest) = page.split_once("### append, mutate, flatten, rebase, index\n").unwrap();
    let listed: Vec<&str> = rest
        .lines()
        .skip_while(|line| !line.starts_with("|---"))
        .skip(1)
        .take_while(|line| line.starts_with('|'))
        .collect();
    let expected: Vec<String> = DIFFERENCES
        .iter()
        .map(|(_, [what, crane, hoist], _)| format!("| {what} | {crane} | {hoist} |"))
        .collect();
    assert_eq!(listed, expected);
}
