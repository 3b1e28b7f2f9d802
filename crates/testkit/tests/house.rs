//! The house rules that cargo alone can prove: floors, licences, banned crates.

#![expect(clippy::unwrap_used, reason = "a test that cannot read the house fails")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use serde_json::Value;

type Names = BTreeSet<String>;

/// Every crate of the workspace, and the crates of the workspace that it may stand on.
const FLOORS: [(&str, &[&str]); 12] = [
    ("hoist-oci", &[]),
    ("hoist-store", &["hoist-oci"]),
    ("hoist-layer", &["hoist-oci"]),
    ("hoist-auth", &["hoist-oci"]),
    ("hoist-server", &["hoist-oci"]),
    ("hoist-registry", &["hoist-oci", "hoist-store", "hoist-auth"]),
    ("hoist-local", &["hoist-oci", "hoist-store", "hoist-layer"]),
    ("hoist-transfer", &["hoist-oci", "hoist-store"]),
    ("hoist-image", &["hoist-oci", "hoist-store", "hoist-layer", "hoist-local", "hoist-transfer"]),
    (
        "hoist",
        &[
            "hoist-oci",
            "hoist-store",
            "hoist-layer",
            "hoist-auth",
            "hoist-registry",
            "hoist-local",
            "hoist-transfer",
            "hoist-image",
        ],
    ),
    (
        "hoist-cli",
        &[
            "hoist-oci",
            "hoist-store",
            "hoist-layer",
            "hoist-auth",
            "hoist-server",
            "hoist-registry",
            "hoist-local",
            "hoist-transfer",
            "hoist-image",
            "hoist",
        ],
    ),
    ("hoist-testkit", &["hoist-oci", "hoist-server"]),
];

/// Crates from outside, and the only crates of the workspace that may ask for them.
const KEPT_APART: [(&[&str], &[&str]); 2] = [
    (&["clap", "indicatif", "anstream"], &["hoist-cli"]),
    (&["reqwest", "hickory-resolver", "rustls-native-certs"], &["hoist-registry"]),
];

/// Crates of the workspace below which, at any depth, there is no network and no async.
const SYNCHRONOUS: [&str; 2] = ["hoist-oci", "hoist-layer"];
const ASYNC: [&str; 5] = ["tokio", "reqwest", "hyper", "futures-util", "mio"];

#[test]
fn arrows_point_down() {
    let house = House::read();
    let floors: BTreeMap<&str, &[&str]> = FLOORS.into_iter().collect();
    for member in &house.members {
        let allowed = floors.get(member.as_str());
        let allowed = allowed.unwrap_or_else(|| panic!("{member} has no floor: give it one in {}", file!()));
        for below in house.normal[member].intersection(&house.members) {
            assert!(allowed.contains(&below.as_str()), "{member} must not stand on {below}");
        }
    }
}

#[test]
fn testkit_is_for_tests_alone() {
    let house = House::read();
    for member in house.members.iter().filter(|member| *member != "hoist-testkit") {
        assert!(!house.below(member).contains("hoist-testkit"), "{member} stands on hoist-testkit");
    }
}

#[test]
fn only_the_command_line_talks_to_people() {
    let house = House::read();
    for (crates, owners) in KEPT_APART {
        for member in house.members.iter().filter(|member| !owners.contains(&member.as_str())) {
            for name in crates {
                assert!(!house.normal[member].contains(*name), "{member} must not depend on {name}");
            }
        }
    }
}

#[test]
fn oci_and_layer_never_see_a_network() {
    let house = House::read();
    for member in SYNCHRONOUS {
        let below = house.below(member);
        for name in ASYNC {
            assert!(!below.contains(name), "{member} must not stand on {name}");
        }
    }
}

#[test]
fn licences_are_allowed() {
    let house = House::read();
    let allowed = allowed_licences();
    assert!(allowed.contains("Apache-2.0"), "deny.toml: {allowed:?}");
    for (name, licence) in &house.licences {
        assert!(satisfies(licence, &allowed), "{name} is under {licence:?}");
    }
}

#[test]
fn banned_crates_are_absent() {
    let house = House::read();
    let banned = banned_crates();
    assert!(banned.contains("openssl-sys"), "deny.toml: {banned:?}");
    // What cargo would build on any of our platforms; Cargo.lock may name more.
    let used: Names = house.members.iter().flat_map(|member| house.below(member)).collect();
    assert!(used.contains("rustls"), "the graph is whole");
    let found: Vec<&String> = used.intersection(&banned).collect();
    assert!(found.is_empty(), "{found:?} are banned");
}

#[test]
fn licence_expressions() {
    let allowed: Names = ["MIT", "Apache-2.0", "ISC"].map(str::to_owned).into();
    for (expression, expected) in [
        ("MIT", true),
        ("GPL-3.0-only", false),
        ("MIT OR GPL-3.0-only", true),
        ("Unlicense/MIT", true),
        ("MIT AND GPL-3.0-only", false),
        ("GPL-3.0-only OR MIT AND ISC", true),
        ("(GPL-3.0-only OR MIT) AND (ISC)", true),
        ("(GPL-3.0-only OR Unlicense) AND ISC", false),
        ("Apache-2.0 WITH LLVM-exception OR GPL-2.0-only", true),
        ("", false),
    ] {
        assert_eq!(satisfies(expression, &allowed), expected, "{expression:?}");
    }
}

/// The crates that `cargo metadata` knows, for the platforms that hoist is for.
struct House {
    members: Names,
    /// What each crate depends on, build and test dependencies aside.
    normal: BTreeMap<String, Names>,
    licences: Vec<(String, String)>,
}

impl House {
    fn read() -> Self {
        let output = Command::new(env!("CARGO"))
            .args(["metadata", "--format-version=1", "--locked", "--all-features"])
            .args([
                "--filter-platform=x86_64-unknown-linux-gnu",
                "--filter-platform=aarch64-unknown-linux-gnu",
            ])
            .current_dir(root())
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
        let list = |value: &Value| value.as_array().unwrap().clone();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();

        let packages = list(&metadata["packages"]);
        let names: BTreeMap<String, String> =
            packages.iter().map(|package| (text(&package["id"]), text(&package["name"]))).collect();
        let is_normal =
            |dependency: &Value| list(&dependency["dep_kinds"]).iter().any(|kind| kind["kind"].is_null());
        let mut normal = BTreeMap::<String, Names>::new();
        for node in list(&metadata["resolve"]["nodes"]) {
            // Two versions of a crate count as one: what one of them has below, both have.
            let below = normal.entry(names[&text(&node["id"])].clone()).or_default();
            let dependencies = list(&node["deps"]);
            let dependencies = dependencies.iter().filter(|dependency| is_normal(dependency));
            below.extend(dependencies.map(|dependency| names[&text(&dependency["pkg"])].clone()));
        }
        let licence = |package: &Value| (text(&package["name"]), text(&package["license"]));
        Self {
            members: list(&metadata["workspace_members"]).iter().map(|id| names[&text(id)].clone()).collect(),
            normal,
            licences: packages.iter().map(licence).collect(),
        }
    }

    /// All that a crate stands on, at any depth.
    fn below(&self, name: &str) -> Names {
        let mut found = Names::new();
        let mut next = vec![name.to_owned()];
        while let Some(name) = next.pop() {
            for dependency in self.normal.get(&name).into_iter().flatten() {
                if found.insert(dependency.clone()) {
                    next.push(dependency.clone());
                }
            }
        }
        found
    }
}

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// The strings of a list in `deny.toml`: as much TOML as that file has.
fn deny_list(section: &str, key: &str) -> Vec<String> {
    let text = std::fs::read_to_string(root().join("deny.toml")).unwrap();
    let (_, text) = text.split_once(&format!("\n[{section}]\n")).unwrap();
    let (_, text) = text.split_once(&format!("\n{key} = [\n")).unwrap();
    let (list, _) = text.split_once("\n]").unwrap();
    list.lines().filter_map(|line| line.split('"').nth(1)).map(str::to_owned).collect()
}

fn allowed_licences() -> Names {
    deny_list("licenses", "allow").into_iter().collect()
}

fn banned_crates() -> Names {
    deny_list("bans", "deny").into_iter().collect()
}

/// Whether an SPDX expression can be met with allowed licences. `/` is how `OR` was written once; an exception only
/// gives more rights.
fn satisfies(expression: &str, allowed: &Names) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let mut words = spaced.split_whitespace().peekable();
    any(&mut words, allowed) && words.next().is_none()
}

type Words<'a> = std::iter::Peekable<std::str::SplitWhitespace<'a>>;

fn any(words: &mut Words<'_>, allowed: &Names) -> bool {
    let mut met = all(words, allowed);
    while words.next_if_eq(&"OR").is_some() {
        met |= all(words, allowed);
    }
    met
}

fn all(words: &mut Words<'_>, allowed: &Names) -> bool {
    let mut met = one(words, allowed);
    while words.next_if_eq(&"AND").is_some() {
        met &= one(words, allowed);
    }
    met
}

fn one(words: &mut Words<'_>, allowed: &Names) -> bool {
    match words.next() {
        Some("(") => any(words, allowed) & (words.next() == Some(")")),
        Some(licence) => {
            if words.next_if_eq(&"WITH").is_some() {
                words.next();
            }
            allowed.contains(licence)
        }
        None => false,
    }
}
