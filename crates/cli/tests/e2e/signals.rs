//! SIGINT and SIGTERM in the middle of the work: one line, nothing left behind.

use std::fs;

use testkit::{Answer, Cli, FaultRegistry, HoistServer, Invocation, Route, Running, images};

use crate::support::{assert_empty, is_log, until};

/// How a command is ended, what it says then, and its exit code.
type Signal = (fn(&Running), &'static str, i32);

const SIGNALS: [Signal; 2] =
    [(Running::interrupt, "interrupted", 130), (Running::terminate, "terminated", 143)];

/// A registry with an image whose layer never ends: each answer brings 300 kB and no more, and a copy goes on from there, so it has more than
/// all of a test's commands bring.
struct Endless {
    registry: FaultRegistry,
    image: String,
    layer: String,
}

impl Endless {
    fn start() -> Self {
        let registry = FaultRegistry::start();
        let graph = images::large(4 << 20);
        registry.put("demo/web", "1", &graph);
        let layer = format!("/v2/demo/web/blobs/{}", graph.blobs[1].digest);
        registry.on(Route::get(&layer), Answer::stored().silent_after(300_000));
        let image = format!("{}/demo/web:1", registry.address());
        Self { registry, image, layer }
    }

    /// Waits until the layer has been asked for so often.
    fn asked(&self, times: usize) {
        until("the layer is on its way", || self.registry.count("GET", &self.layer) == times);
    }
}

/// Starts the command, waits until `begun`, and ends it by each signal, under both names.
fn each(cli: &Cli, arguments: &[&str], begun: impl Fn(&mut Running, usize)) {
    for (run, (send, text, code)) in SIGNALS.into_iter().enumerate() {
        for (name, code) in [("hoist", code), ("crane", 1)] {
            let command: Invocation = cli.hoist_as(name, arguments);
            let mut running = command.start();
            begun(&mut running, 2 * run + usize::from(name == "crane") + 1);
            send(&running);
            let outcome = running.wait();
            let errors = outcome.failure(code);
            let lines: Vec<&str> = errors.lines().filter(|line| !is_log(line)).collect();
            assert_eq!(lines, [text], "{outcome}");
            assert_empty(&cli.tmp());
        }
    }
}

#[test]
fn a_copy() {
    let endless = Endless::start();
    let to = HoistServer::start();
    let cli = Cli::new();
    each(&cli, &["cp", &endless.image, &format!("{}/demo/web:1", to.address())], |_, times| {
        endless.asked(times);
    });
    assert_eq!(to.client().get("/v2/demo/web/manifests/1").status, 404);
}

#[test]
fn an_export() {
    let endless = Endless::start();
    let cli = Cli::new();
    fs::write(cli.work().join("out.tar"), "before").unwrap();
    each(&cli, &["export", &endless.image, "out.tar"], |_, times| endless.asked(times));
    assert_eq!(fs::read_to_string(cli.work().join("out.tar")).unwrap(), "before");
    assert_eq!(fs::read_dir(cli.work()).unwrap().count(), 1, "no temporary file beside the target");
}

#[test]
fn a_registry() {
    let cli = Cli::new();
    each(&cli, &["registry", "serve", "--address", "127.0.0.1:0"], |running, _| {
        running.await_stderr("serving on port ");
        assert_eq!(fs::read_dir(cli.tmp()).unwrap().count(), 1, "the temporary storage");
    });
}
