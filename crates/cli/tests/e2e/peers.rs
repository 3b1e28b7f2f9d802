//! Other programs push to and pull from the embedded registry, and run what hoist copied.

use std::fs;

use testkit::{Cli, Docker, DockerRegistry, HoistServer, Running, images};

/// `hoist registry serve`, as a program.
fn serve(cli: &Cli) -> (Running, String) {
    let mut server = cli.hoist(["registry", "serve", "--address", "127.0.0.1:0"]).start();
    let log = server.await_stderr("serving on port ");
    let (_, port) = log.split_once("serving on port ").unwrap();
    let address = format!("127.0.0.1:{}", port.lines().next().unwrap());
    (server, address)
}

#[test]
fn crane_oras_and_skopeo() {
    let cli = Cli::new();
    let (server, address) = serve(&cli);
    let docker = DockerRegistry::plain();
    let graph = images::eight_platforms();
    docker.push(&graph, "demo/web", "1");
    let from = format!("{}/demo/web:1", docker.address());
    let at = |repository: &str| format!("{address}/{repository}:1");
    let skopeo = ["--insecure-policy", "copy", "--all", "--src-tls-verify=false", "--dest-tls-verify=false"];
    let skopeo = |from: &str, to: &str| {
        let [from, to] = [from, to].map(|name| format!("docker://{name}"));
        cli.peer("skopeo", skopeo).arg(from).arg(to).run()
    };
    let oras = ["copy", "--recursive", "--from-plain-http", "--to-plain-http"];

    cli.peer("crane", ["copy", &from, &at("crane")]).run().success();
    cli.peer("oras", oras).arg(&from).arg(at("oras")).run().success();
    skopeo(&from, &at("skopeo")).success();
    for repository in ["crane", "oras", "skopeo"] {
        let name = at(repository);
        assert_eq!(cli.hoist(["digest", &name]).run().success().trim_end(), graph.manifest.digest);
        cli.peer("crane", ["validate", "--remote", &name]).run().success();
        let back = format!("{}/back/{repository}:1", docker.address());
        match repository {
            "crane" => cli.peer("crane", ["copy", &name, &back]).run(),
            "oras" => cli.peer("oras", oras).arg(&name).arg(&back).run(),
            _ => skopeo(&name, &back),
        }
        .success();
        assert_eq!(cli.hoist(["digest", &back]).run().success().trim_end(), graph.manifest.digest);
    }
    assert_eq!(cli.peer("crane", ["catalog", &address]).run().success(), "crane\noras\nskopeo\n");

    // An artifact, and what refers to it.
    fs::write(cli.work().join("note.txt"), "a note").unwrap();
    let push =
        ["push", "--plain-http", "--artifact-type", "application/vnd.example.note", &at("note"), "note.txt"];
    cli.peer("oras", push).run().success();
    let attach = [
        "attach",
        "--plain-http",
        "--artifact-type",
        "application/vnd.example.sign",
        &at("note"),
        "note.txt",
    ];
    cli.peer("oras", attach).run().success();
    let found =
        cli.peer("oras", ["discover", "--plain-http", "--format", "json", &at("note")]).run().success();
    assert!(found.contains("application/vnd.example.sign"), "{found}");
    server.terminate();
    server.wait().failure(143);
}

#[test]
fn docker_and_containerd() {
    let cli = Cli::new();
    let docker = Docker::start();
    let source = HoistServer::start();
    let hoist = cli.shell("realpath \"$(command -v hoist)\"").run().success();
    let program = fs::read(hoist.trim_end()).unwrap();
    source.push(&images::runnable(program, &["version"]), "demo/hoist", "1");
    let (server, address) = serve(&cli);
    let copied = format!("{address}/demo/hoist:1");
    cli.hoist(["cp", &format!("{}/demo/hoist:1", source.address()), &copied]).run().success();

    // A container of what hoist copied says what hoist says here.
    let version = cli.hoist(["version"]).run().success();
    docker.docker(["pull", "--quiet", &copied]).run().success();
    assert_eq!(docker.docker(["run", "--rm", "--network", "none", &copied]).run().success(), version);

    // What docker pushes, hoist reads and docker gets back.
    let pushed = format!("{address}/demo/pushed:1");
    docker.docker(["tag", &copied, &pushed]).run().success();
    docker.docker(["push", &pushed]).run().success();
    let listed = cli.shell(&format!("hoist export {pushed} - | tar t")).run().success();
    assert_eq!(listed, "program\n");
    docker.docker(["rmi", "--force", &copied, &pushed]).run().success();
    docker.docker(["pull", "--quiet", &pushed]).run().success();
    assert_eq!(docker.docker(["run", "--rm", "--network", "none", &pushed]).run().success(), version);

    let pull = ["images", "pull", "--plain-http", "--snapshotter", "native", &copied];
    docker.ctr(pull).run().success();
    assert!(docker.ctr(["images", "list", "--quiet"]).run().success().contains(&copied));
    server.terminate();
    server.wait().failure(143);
}
