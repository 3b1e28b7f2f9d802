//! Whoever reads has seen enough: no failure.

use serde_json::json;
use testkit::images::Graph;
use testkit::{Answer, Cli, FaultRegistry, Route, images};

/// More than any pipe holds.
const MUCH: usize = 2 << 20;

#[test]
fn head_ends_it_quietly() {
    let registry = FaultRegistry::start();
    let large = images::large(MUCH);
    registry.put("demo/web", "1", &large);
    let config = &images::single().blobs[0];
    let manifest = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": config.descriptor(), "layers": [], "annotations": {"much": "x".repeat(MUCH)},
    });
    registry.put("demo/web", "2", &Graph::leaf(&manifest, vec![config.clone()]));
    let tags: Vec<String> = (0..MUCH / 16).map(|number| format!("a-rather-long-tag-{number}")).collect();
    let body = json!({"name": "demo/web", "tags": tags}).to_string();
    registry.on(Route::get("/v2/demo/web/tags/list"), Answer::status(200).body(body));

    let name = format!("{}/demo/web", registry.address());
    let blob = format!("blob {name}@{}", large.blobs[1].digest);
    let (manifest, export, ls) =
        (format!("manifest {name}:2"), format!("export {name}:1"), format!("ls {name}"));
    let cli = Cli::new();
    for command in [&manifest, &export, &blob, &ls] {
        let line = format!("hoist {command} | head -c 1 | wc -c; echo ${{PIPESTATUS[0]}}");
        let outcome = cli.shell(&line).run();
        assert_eq!((outcome.success(), outcome.stderr()), ("1\n0\n".to_owned(), String::new()), "{command}");
    }
}
