//! docs/recipes.md, run as it stands: its blocks are the tests.
//!
//! A recipe is what stands below a heading. Its blocks of `sh` run in order, in a working directory of their own and on a
//! registry of their own; the block of `text` behind one is what it prints, and nothing if there is none. `sh exit=N`
//! ends with N. In such a text the registry is `localhost:5000`, and `sha256:…` is any digest. Other digests need not be
//! those of the page, for they change with the compressor; but they are equal where they are equal there.

use std::path::Path;
use std::{fs, thread};

use testkit::images::{self, Graph, Image, Layer, index};
use testkit::{Cli, DockerRegistry};

/// What one heading has below it.
#[derive(Default)]
struct Recipe {
    title: String,
    steps: Vec<Step>,
}

/// One block of `sh`, and what comes of it.
struct Step {
    script: String,
    code: i32,
    prints: String,
}

#[test]
fn every_recipe_does_what_the_page_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/recipes.md");
    let recipes = recipes(&fs::read_to_string(path).unwrap());
    assert!(recipes.len() > 30, "{} recipes", recipes.len());
    let larder = larder();
    let wrong: Vec<String> = thread::scope(|scope| {
        let all = [0, 1].map(|half| {
            let part: Vec<&Recipe> = recipes.iter().skip(half).step_by(2).collect();
            scope.spawn(|| {
                part.into_iter().filter_map(|recipe| cook(recipe, &larder).err()).collect::<Vec<_>>()
            })
        });
        all.into_iter().flat_map(|part| part.join().unwrap()).collect()
    });
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Runs a recipe on a registry that has what the larder has.
fn cook(recipe: &Recipe, larder: &DockerRegistry) -> Result<(), String> {
    let title = &recipe.title;
    if recipe.steps.iter().all(|step| step.prints.is_empty()) {
        return Err(format!("## {title}\nshows nothing that could be checked"));
    }
    let (registry, cli) = (DockerRegistry::plain(), Cli::new());
    // Quicker than to push all of it each time.
    let _ = cli.peer("cp", ["-a"]).args([larder.storage(), registry.storage()]).run().success();
    for step in &recipe.steps {
        let outcome = cli.shell(&format!("set -e\n{}", step.script)).env("REG", registry.address()).run();
        let printed = outcome.stdout().replace(registry.address(), "localhost:5000");
        let is_any = step.prints.contains("sha256:…");
        let [printed, prints] = [&printed, &step.prints].map(|text| without_digests(text, is_any));
        if outcome.status.code() != Some(step.code) || printed != prints {
            return Err(format!("## {title}\n{outcome}\n--- expected, with {}\n{}", step.code, step.prints));
        }
    }
    Ok(())
}

/// A registry with the images that the page begins with.
fn larder() -> DockerRegistry {
    let registry = DockerRegistry::plain();
    registry.push(&older(), "nginx", "1.26");
    registry.push(&images::eight_platforms(), "nginx", "1.27");
    registry.push(&images::eight_platforms(), "nginx", "latest");
    registry.push(&base("1"), "base", "1");
    registry.push(&base("2"), "base", "2");
    registry
}

/// What [`images::eight_platforms`] may have been before.
fn older() -> Graph {
    index(["linux/amd64", "linux/arm64"].map(|platform| {
        let etc = Layer::new().directory("etc").file("etc/motd", "welcome\n").file("etc/issue", "old\n");
        let bin = Layer::new().directory("bin").executable("bin/hello", "#!/bin/sh\necho hello\n");
        Image::new([etc, bin]).platform(platform).build()
    }))
}

/// A base of two platforms.
fn base(version: &str) -> Graph {
    index(["linux/amd64", "linux/arm64"].map(|platform| {
        let etc = Layer::new().directory("etc").file("etc/version", format!("{version}\n"));
        Image::new([etc]).platform(platform).build()
    }))
}

/// The text with a number for each digest, or with `…` for all of them.
fn without_digests(text: &str, is_any: bool) -> String {
    let mut seen = Vec::new();
    let mut parts = text.split("sha256:");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |done, part| match part.split_at_checked(64) {
        Some((digest, rest)) if digest.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
            let number = seen.iter().position(|&known| known == digest).unwrap_or_else(|| {
                seen.push(digest);
                seen.len() - 1
            });
            let name = if is_any { "…".to_owned() } else { number.to_string() };
            format!("{done}sha256:{name}{rest}")
        }
        _ => format!("{done}sha256:{part}"),
    })
}

/// The recipes of the page that have commands.
fn recipes(page: &str) -> Vec<Recipe> {
    let mut recipes = Vec::<Recipe>::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        if let Some(title) = line.trim_start_matches('#').strip_prefix(' ').filter(|_| line.starts_with('#'))
        {
            recipes.push(Recipe { title: title.to_owned(), ..Recipe::default() });
        } else if let Some(kind) = line.strip_prefix("```") {
            let block: String =
                lines.by_ref().take_while(|line| *line != "```").flat_map(|line| [line, "\n"]).collect();
            let steps = &mut recipes.last_mut().expect("a heading before the first block").steps;
            match (kind.split_once(" exit="), kind) {
                (Some(("sh", code)), _) => steps.push(Step::new(block, code.parse().expect("a code"))),
                (None, "sh") => steps.push(Step::new(block, 0)),
                (None, "text") => steps.last_mut().expect("a script before its text").prints = block,
                _ => panic!("a block of {kind:?} cannot be checked"),
            }
        }
    }
    recipes.retain(|recipe| !recipe.steps.is_empty());
    recipes
}

impl Step {
    fn new(script: String, code: i32) -> Self {
        Self { script, code, prints: String::new() }
    }
}
