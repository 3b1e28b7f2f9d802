//! A real Docker daemon and a real containerd.

use testkit::{Docker, DockerRegistry, images};

#[test]
fn docker_and_containerd_pull_what_was_pushed() {
    let registry = DockerRegistry::plain();
    let docker = Docker::start();
    registry.push(&images::docker_schema2(), "demo/web", "docker");
    registry.push(&images::eight_platforms(), "demo/web", "1.0");
    for tag in ["docker", "1.0"] {
        let name = format!("{}/demo/web:{tag}", registry.address());
        docker.docker(["pull", "--quiet", "--platform", "linux/amd64", &name]).run().success();
        let pull =
            ["images", "pull", "--plain-http", "--snapshotter", "native", "--platform", "linux/amd64", &name];
        docker.ctr(pull).run().success();
    }

    // busybox is not everywhere; ldconfig is Debian's one program that is linked statically.
    let program = std::fs::read("/sbin/ldconfig").unwrap();
    registry.push(&images::runnable(program, &["--version"]), "demo/run", "1.0");
    let name = format!("{}/demo/run:1.0", registry.address());
    let output = docker.docker(["run", "--rm", "--network", "none", &name]).run().success();
    assert!(output.starts_with("ldconfig"), "{output}");
}
