//! The article's session, typed in a shell, against docker-registry.

use std::fs;

use serde_json::Value;
use testkit::{Cli, DockerRegistry, images};

#[test]
fn the_session() {
    let registry = DockerRegistry::plain();
    let graph = images::eight_platforms();
    registry.push(&graph, "library/nginx", "1.27");
    registry.push(&graph, "library/nginx", "latest");
    let cli = Cli::new();
    let type_in = |line: &str| {
        let line = line.replace("REG", registry.address());
        let outcome = cli.shell(&line).run();
        outcome.success();
        outcome
    };

    assert_eq!(type_in("hoist ls REG/library/nginx | sort").stdout(), "1.27\nlatest\n");
    let platforms = type_in(
        "hoist manifest REG/library/nginx:1.27 | jq -r '.manifests[].platform | \
         [.os, .architecture, .variant] | map(values) | join(\"/\")'",
    );
    assert_eq!(platforms.stdout().lines().collect::<Vec<_>>(), images::EIGHT_PLATFORMS);
    let config: Value =
        serde_json::from_str(&type_in("hoist config REG/library/nginx:1.27 | jq .").stdout()).unwrap();
    assert_eq!(config["architecture"], "amd64");

    let listed = type_in("mkdir root && hoist export REG/library/nginx:1.27 - | tar xv -C root");
    assert_eq!(listed.stdout(), "bin/\nbin/hello\netc/\netc/motd\n");
    assert_eq!(listed.stderr(), "");
    let hello = fs::read_to_string(cli.work().join("root/bin/hello")).unwrap();
    assert_eq!(hello, "#!/bin/sh\necho hello from linux/amd64\n");

    assert_eq!(type_in("hoist cp REG/library/nginx:1.27 REG/mirror/nginx:1.27").stdout(), "");
    let same = "diff <(hoist manifest REG/library/nginx:1.27) <(hoist manifest REG/mirror/nginx:1.27)";
    assert_eq!(type_in(same).stdout(), "");
    let digests = type_in("hoist digest REG/library/nginx:1.27; hoist digest REG/mirror/nginx:1.27").stdout();
    assert_eq!(digests, format!("{0}\n{0}\n", graph.manifest.digest));
    let layer = &graph.children[0].blobs[1];
    let sum = type_in(&format!("hoist blob REG/mirror/nginx@{} | sha256sum", layer.digest)).stdout();
    assert_eq!(format!("sha256:{}", &sum[..64]), layer.digest);
}
