//! The verbs that change images beside crane's: the same words on equal images, and what comes of them compared member by
//! member. Where hoist differs on purpose, [`DIFFERENCES`] says so, and so does docs/crane.md.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use serde_json::{Value, json};
use testkit::images::{self, Blob, Compression, Dialect, Graph, Image};
use testkit::{Cli, Outcome};

use crate::differences::DIFFERENCES;
use crate::edits::{Found, Registry, layer};

/// What one program made of it.
struct Result {
    outcome: Outcome,
    members: BTreeMap<String, Value>,
    is_index: bool,
}

struct Lab {
    cli: Cli,
    registry: Registry,
    images: Vec<(&'static str, Graph)>,
}

impl Lab {
    fn new() -> Self {
        let (cli, registry) = (Cli::new(), Registry::hoist());
        let lab = Self { cli, registry, images: images() };
        let files = [
            ("l.tar", layer("new").tar()),
            ("l.tar.gz", layer("other").compressed()),
            ("l.tar.zst", layer("third").compression(Compression::Zstd).compressed()),
            ("text", b"no archive at all. ".repeat(99)),
            ("cut.tar", layer("cut").tar()[..700].to_vec()),
        ];
        for (name, bytes) in files {
            fs::write(lab.cli.work().join(name), bytes).unwrap();
        }
        fs::create_dir(lab.cli.work().join("site")).unwrap();
        lab
    }

    /// The same words with a repository of each program's own, full of equal images.
    fn run(&self, case: usize, words: &[&str]) -> [Result; 2] {
        ["crane", "hoist"].map(|who| {
            let repository = format!("case{case}-{who}");
            for (tag, graph) in &self.images {
                let named = |word: &&str| word.contains(&format!(":{tag}"));
                if words.iter().any(|word| named(word) || (*tag == "single" && word.contains("@DIGEST"))) {
                    self.registry.push(graph, &repository, tag);
                }
            }
            let here = self.registry.name(&repository);
            let words: Vec<String> =
                words.iter().map(|word| word.replace("REPO", &here).replace("@DIGEST", &digest())).collect();
            let program =
                if who == "crane" { self.cli.peer(who, &words) } else { self.cli.hoist_as("crane", &words) };
            let outcome = program.stdin(layer("piped").tar()).run();
            let printed = outcome.stdout();
            let mut members = BTreeMap::new();
            members.insert("stdout".to_owned(), json!(shape(&printed.replace(&here, "REPO"))));
            let name = printed.trim_end().strip_prefix(&self.registry.name("")).map(str::to_owned);
            let found = name.and_then(|name| self.registry.look(&name));
            let is_index = found.as_ref().is_some_and(|found| found.json.get("manifests").is_some());
            if let Some(found) = found {
                let tag = self.registry.look(&format!("{repository}:out"));
                let moved = words.iter().any(|word| word.ends_with(":out"));
                assert!(!moved || tag.is_some_and(|tag| tag.digest == found.digest), "{outcome}");
                self.flatten(&repository, "", &found, &here, &mut members);
            }
            Result { outcome, members, is_index }
        })
    }

    /// Takes a document apart into members, without what depends on compressed bytes.
    fn flatten(
        &self,
        repository: &str,
        prefix: &str,
        found: &Found,
        here: &str,
        all: &mut BTreeMap<String, Value>,
    ) {
        let mut manifest = found.json.clone();
        let entries = manifest.get_mut("manifests").map(Value::take);
        let mut put = |part: &str, document: &Value| {
            for (key, value) in document.as_object().into_iter().flatten() {
                let mut value: Value =
                    serde_json::from_str(&value.to_string().replace(here, "REPO")).unwrap();
                neutral(&mut value);
                all.insert(format!("{prefix}{part}/{key}"), value);
            }
        };
        if let Some(text) = &found.config {
            let config: Value = serde_json::from_str(text).unwrap();
            put("config", &config);
            put("config/config", &config["config"]);
        }
        put("manifest", &manifest);
        // Its members are there one by one.
        all.remove(&format!("{prefix}config/config"));
        let Some(entries) = entries else { return };
        let count = entries.as_array().map_or(0, Vec::len);
        all.insert(format!("{prefix}manifests"), json!(count));
        for (at, entry) in entries.as_array().into_iter().flatten().enumerate() {
            let below = self.registry.found(&format!("{repository}@{}", entry["digest"].as_str().unwrap()));
            let platform = entry["platform"].clone();
            all.insert(format!("{prefix}{at}/platform"), platform);
            self.flatten(repository, &format!("{prefix}{at}/"), &below, here, all);
        }
    }
}

/// Without digests and sizes of what is described.
fn neutral(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(neutral),
        Value::Object(members) if members.contains_key("mediaType") => {
            members.retain(|key, _| key != "digest" && key != "size");
        }
        _ => {}
    }
}

/// Text where digests are all the same.
fn shape(text: &str) -> String {
    let mut parts = text.split("sha256:");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + "DIGEST" + part.get(64..).unwrap_or_default())
}

fn digest() -> String {
    format!("@{}", images::single().manifest.digest)
}

fn images() -> Vec<(&'static str, Graph)> {
    let [old, new] = ["old", "new"].map(|text| layer(text).directory("etc").file("etc/version", text));
    let app = |image: Image| image.entrypoint(&["/entry"]);
    let stack = || [old.clone(), layer("one"), layer("two")];
    let oci = app(Image::new(stack())).build();
    let with_cmd = changed(&oci, |config| config["config"]["Cmd"] = json!(["a"]), |_| ());
    let odd = changed(
        &with_cmd,
        |config| {
            config["config"]["Healthcheck"] = json!({"Test": ["NONE"], "StartInterval": 5});
            config["x"] = json!(1);
        },
        |manifest| {
            manifest["artifactType"] = json!("a/b");
            manifest["x"] = json!(1);
            manifest["subject"] = with_cmd.manifest.descriptor();
        },
    );
    let bare = |graph: &Graph| {
        changed(graph, |config| drop(config.as_object_mut().unwrap().remove("history")), |_| ())
    };
    let windows = changed(
        &oci,
        |config| {
            config["os"] = json!("windows");
            config["os.version"] = json!("10.0.17763.1");
            config["config"]["Env"] = json!(["Path=C:", "foo=1"]);
        },
        |_| (),
    );
    let docker = app(Image::new(stack())).dialect(Dialect::Docker).build();
    vec![
        ("single", images::single()),
        ("app", with_cmd),
        ("odd", odd),
        ("docker", docker),
        ("windows", windows),
        ("bare", bare(&oci)),
        ("old", Image::new([old.clone()]).build()),
        ("oldbare", bare(&Image::new([old]).build())),
        ("new", Image::new([new.clone(), layer("more")]).build()),
        (
            "index",
            images::index(
                ["linux/amd64", "linux/arm64"].map(|platform| {
                    app(Image::new([new.clone(), layer(platform)])).platform(platform).build()
                }),
            ),
        ),
        ("list", images::docker_list()),
    ]
}

/// An image with changes in its documents.
fn changed(graph: &Graph, config: impl Fn(&mut Value), manifest: impl Fn(&mut Value)) -> Graph {
    let mut graph = graph.clone();
    let mut document: Value = serde_json::from_slice(&graph.blobs[0].bytes).unwrap();
    config(&mut document);
    graph.blobs[0] = Blob::new(&graph.blobs[0].media_type, document.to_string().as_bytes());
    let mut document = graph.json();
    document["config"] = graph.blobs[0].descriptor();
    manifest(&mut document);
    graph.manifest = Blob::new(&graph.manifest.media_type, document.to_string().as_bytes());
    graph
}

const CASES: &[(&str, &[&str])] = &[
    ("mutate REPO:app", &[]),
    ("mutate REPO:app -l a=b", &[]),
    ("mutate REPO:app -l a=b,c=d --label e=1,2 -t REPO:out", &[]),
    ("mutate REPO:app -a a=b --annotation c=d,e=f -t REPO:out", &[]),
    ("mutate REPO:app -e PATH=/x -e N=1,2 --env E= -t REPO:out", &[]),
    ("mutate REPO:windows -e foo=2 -e bar=3 -t REPO:out", &[]),
    ("mutate REPO:windows -e FOO=2 -t REPO:out", &["case"]),
    ("mutate REPO:app --entrypoint /x,y -t REPO:out", &["entrypoint"]),
    ("mutate REPO:app --entrypoint /x --entrypoint y --cmd z -t REPO:out", &[]),
    ("mutate REPO:app --cmd a,b --cmd c -t REPO:out", &[]),
    ("mutate REPO:app --cmd \"\" -t REPO:out", &["empty"]),
    ("mutate REPO:app --entrypoint \"\" -u \"\" --workdir \"\" --exposed-ports \"\"", &["empty"]),
    ("mutate REPO:app -u me -w /srv --exposed-ports 80/tcp,81/udp -t REPO:out", &[]),
    ("mutate REPO:app --set-platform linux/arm64/v8 -t REPO:out", &[]),
    ("mutate REPO:app --set-platform nonsense", &["bad platform"]),
    ("mutate REPO:app --append l.tar,l.tar.gz -t REPO:out", &["step"]),
    ("mutate REPO:app -l a=", &["empty value"]),
    ("mutate REPO:app -a a=", &["empty value"]),
    ("mutate REPO:app -l a-", &["removal"]),
    ("mutate REPO:app -l a", &[]),
    ("mutate REPO:app -l =a", &["no key"]),
    ("mutate REPO:app -l a,b=c", &["comma"]),
    ("mutate REPO:odd -l a=b -t REPO:out", &["lossless"]),
    ("mutate REPO:docker -l a=b -t REPO:out", &[]),
    ("mutate REPO:single -l a=b --repo REPO/other", &[]),
    ("mutate REPO:single -l a=b -t REPO/other:tag", &[]),
    ("mutate REPO:single -l a=b -t REPO/other --repo REPO/other", &[]),
    ("mutate REPO@DIGEST -l a=b", &[]),
    ("mutate REPO@DIGEST -l a=b -t REPO:out", &[]),
    ("mutate REPO:app -l a=b -o out.tar", &[]),
    ("mutate REPO:index -l a=b -o out.tar", &[]),
    ("mutate REPO:index -l a=b -t REPO:out", &["index"]),
    ("mutate REPO:index -l a=b --platform linux/arm64 -t REPO:out", &["index"]),
    ("mutate REPO:index -a a=b", &["index annotations"]),
    ("mutate REPO:none", &[]),
    ("mutate REPO:app REPO:app", &[]),
    ("mutate REPO:app --nonsense", &[]),
    ("mutate", &[]),
    ("append -f l.tar -t REPO:out", &["empty base", "step"]),
    ("append -f l.tar -t REPO:out --oci-empty-base", &["empty base", "step"]),
    ("append -f l.tar,l.tar.gz -b REPO:app -t REPO:out", &["step"]),
    ("append -f l.tar --new_layer l.tar.gz --base REPO:docker --new_tag REPO:out", &["step"]),
    ("append -f l.tar.zst -b REPO:single -t REPO:out", &["step"]),
    ("append -f l.tar.zst -b REPO:docker -t REPO:out", &["step", "zstd"]),
    ("append -f - -b REPO:single -t REPO:out", &["step"]),
    ("append -f l.tar -b REPO:index -t REPO:out", &["step"]),
    ("append -f l.tar -b REPO:index -t REPO:out --platform linux/arm64", &["step"]),
    ("append -f l.tar -b REPO:index -t REPO:index", &["replacing"]),
    ("append -f l.tar -b REPO:single -t REPO:out --set-base-image-annotations", &["step"]),
    ("append -f l.tar -b REPO@DIGEST -t REPO:out --set-base-image-annotations", &["step"]),
    ("append -f l.tar -b REPO:windows -t REPO:out", &["step", "windows"]),
    ("append -f l.tar -t REPO:out -o out.tar", &[]),
    ("append -f l.tar -t REPO/out -o out.tar", &[]),
    ("append -f l.tar -t REPO@DIGEST", &["digest"]),
    ("append -f text -b REPO:single -t REPO:out", &["no layer"]),
    ("append -f cut.tar -b REPO:single -t REPO:out", &["no layer"]),
    ("append -f site -b REPO:single -t REPO:out", &["directory"]),
    ("append -f none -t REPO:out", &[]),
    ("append -f l.tar", &[]),
    ("append -t REPO:out", &[]),
    ("append -f l.tar -b REPO:single --oci-empty-base -t REPO:out", &[]),
    ("flatten REPO:app", &["flatten types", "flatten history", "flatten layer"]),
    ("flatten REPO:docker -t REPO:out", &["flatten history", "flatten layer"]),
    ("flatten REPO:list --tag REPO:out", &["flatten history", "flatten layer"]),
    ("flatten REPO:index -t REPO:out", &["flatten types", "flatten history", "flatten layer"]),
    ("flatten REPO:index -t REPO:out --platform linux/arm64", &["flatten platform"]),
    ("flatten REPO:none", &[]),
    (
        "rebase REPO:app --old_base REPO:old --new_base REPO:new -t REPO:out",
        &["flatten types", "rebase created"],
    ),
    (
        "rebase REPO:docker --old_base REPO:old --new_base REPO:new -t REPO:out",
        &["rebase created", "rebase types"],
    ),
    (
        "rebase REPO:bare --old_base REPO:oldbare --new_base REPO:new -t REPO:out",
        &["flatten types", "rebase created", "rebase layers"],
    ),
    ("rebase REPO:app --old_base REPO:new --new_base REPO:old -t REPO:out", &[]),
    ("rebase REPO:app --old_base REPO:old", &[]),
    ("rebase REPO:app", &[]),
    ("rebase REPO:index --old_base REPO:index --new_base REPO:list -t REPO:out", &["rebase index"]),
    (
        "rebase --original REPO:docker --old_base REPO:old --new_base REPO:new --rebased REPO:out",
        &["old flags"],
    ),
    ("index append REPO:index -m REPO:single -t REPO:out", &[]),
    ("index append -m REPO:single -m REPO:docker -t REPO:out", &[]),
    ("index append --manifest REPO:single,REPO:docker -t REPO:out --docker-empty-base", &[]),
    ("index append REPO:index -m REPO:list -t REPO:out", &[]),
    ("index append REPO:index -m REPO:list --flatten=false -t REPO:out", &[]),
    ("index append REPO:index -m REPO:single", &[]),
    ("index append REPO:index REPO:single", &["arguments"]),
    ("index append REPO:index -m REPO:index -t REPO:out", &["twice"]),
    ("index append -m REPO:list -t REPO:out --platform linux/arm64", &["append platform"]),
    ("index append -m REPO:single", &[]),
    ("index append REPO:single -m REPO:single -t REPO:out", &[]),
    ("index filter REPO:index --platform linux/arm64 -t REPO:out", &[]),
    ("index filter REPO:list --platform linux/arm64 --platform linux/amd64", &[]),
    ("index filter REPO:index --platform linux/s390x", &["filter nothing"]),
    ("index filter REPO:index -t REPO:out", &["filter all"]),
    ("index filter REPO:single --platform linux/amd64", &[]),
];

#[test]
fn beside_crane() {
    let lab = Lab::new();
    let mut used = BTreeSet::new();
    let mut wrong = Vec::new();
    for (at, (line, expected)) in CASES.iter().enumerate() {
        let words: Vec<&str> = line.split(' ').map(|word| if word == "\"\"" { "" } else { word }).collect();
        let results = lab.run(at, &words);
        let differing = differing(&results);
        let explains = |name: &str| {
            let paths = DIFFERENCES.iter().find(|(known, ..)| *known == name).unwrap().2;
            differing.iter().filter(|path| {
                let path = path.trim_start_matches(|c: char| c.is_ascii_digit() || c == '/');
                paths.iter().any(|prefix| path.starts_with(prefix))
            })
        };
        let explained: BTreeSet<&String> = expected.iter().flat_map(|name| explains(name)).collect();
        let idle = expected.iter().filter(|name| explains(name).next().is_none());
        used.extend(expected.iter().copied());
        let rest: Vec<_> = differing.iter().filter(|path| !explained.contains(path)).collect();
        let idle: Vec<_> = idle.collect();
        if !rest.is_empty() || !idle.is_empty() {
            let [crane, hoist] = &results;
            let shown: Vec<_> =
                rest.iter().map(|path| (path, crane.members.get(*path), hoist.members.get(*path))).collect();
            wrong.push(format!(
                "{line}\nunexplained: {shown:#?}\ndoes not differ: {idle:?}\n{}\n{}",
                crane.outcome, hoist.outcome
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    let known: BTreeSet<&str> = DIFFERENCES.iter().map(|(name, ..)| *name).collect();
    assert_eq!(known, used, "each difference is shown by a case");
}

/// Members that differ.
fn differing([crane, hoist]: &[Result; 2]) -> BTreeSet<String> {
    if crane.outcome.status.code() != hoist.outcome.status.code() {
        return BTreeSet::from(["code".to_owned()]);
    }
    if crane.is_index != hoist.is_index {
        return BTreeSet::from(["kind".to_owned()]);
    }
    let paths = crane.members.keys().chain(hoist.members.keys());
    let counts = crane.members.get("manifests") == hoist.members.get("manifests");
    // Where one lists more, its entries are not the other's.
    let paths = paths.filter(|path| counts || *path == "manifests");
    paths.filter(|path| crane.members.get(*path) != hoist.members.get(*path)).cloned().collect()
}

#[test]
fn files_for_docker_hold_the_same() {
    let lab = Lab::new();
    lab.registry.push(&images::docker_schema2(), "web", "1");
    lab.registry.push(&images::eight_platforms(), "web", "all");
    let by_digest = format!("{}@{}", lab.registry.name("web"), images::docker_schema2().manifest.digest);
    let [one, all] = ["web:1", "web:all"].map(|name| lab.registry.name(name));
    for words in [
        vec!["mutate", &one, "-l", "a=b"],
        vec!["mutate", &one, "-l", "a=b", "-t", "app"],
        vec!["mutate", &by_digest, "-l", "a=b"],
        vec!["mutate", &all, "-l", "a=b"],
        vec!["mutate", &all, "-l", "a=b", "--platform", "linux/s390x"],
        vec!["append", "-f", "l.tar", "-b", &one, "-t", "localhost:1/app:v"],
    ] {
        let lists = ["crane", "hoist"].map(|who| {
            let words = [&words[..], &["-o", "o.tar"]].concat();
            let program =
                if who == "crane" { lab.cli.peer(who, words) } else { lab.cli.hoist_as("crane", words) };
            assert_eq!(program.run().success(), "");
            let read = |name: &str| -> Value {
                let text = lab.cli.peer("tar", ["xOf", "o.tar", name]).run().success();
                serde_json::from_str(&text).unwrap()
            };
            let list = read("manifest.json");
            let mut config = read(list[0]["Config"].as_str().unwrap());
            config.as_object_mut().unwrap().remove("history");
            (list[0]["RepoTags"].clone(), list[0]["Layers"].as_array().unwrap().len(), config)
        });
        assert_eq!(lists[0], lists[1], "{words:?}");
    }
}
