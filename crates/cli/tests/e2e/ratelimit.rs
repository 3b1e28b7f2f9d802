//! What registries tell of their limits.

use serde_json::{Value, json};
use testkit::{Answer, Cli, Dialect, FaultRegistry, HoistServer, Route, images};

use crate::support::refused;

#[test]
fn told_and_not_told() {
    let cli = Cli::new();
    let registry = FaultRegistry::start();
    registry.put("demo/web", "latest", &images::single());
    let answer = Answer::stored()
        .header("RateLimit-Limit", "100;w=21600")
        .header("RateLimit-Remaining", "76;w=21600")
        .header("Docker-RateLimit-Source", "192.0.2.1");
    registry.on(Route::any(), answer);
    let address = registry.address();
    for asked in [address.clone(), format!("{address}/demo/web")] {
        assert_eq!(
            cli.hoist(["ratelimit", &asked]).run().success(),
            format!("{address}: 76 of 100 left in this window of 6 h, counted for 192.0.2.1\n")
        );
    }
    let requests: Vec<String> =
        registry.requests().iter().map(|request| format!("{} {}", request.method, request.path)).collect();
    assert_eq!(requests, ["GET /v2/", "HEAD /v2/demo/web/manifests/latest"]);
    let parsed: Value =
        serde_json::from_str(&cli.hoist(["ratelimit", "--json", &address]).run().success()).unwrap();
    assert_eq!(
        parsed,
        json!({
            "registry": address, "limit": 100, "remaining": 76, "window": 21600, "source": "192.0.2.1",
            "retryAfter": null,
        })
    );

    let server = HoistServer::start();
    let address = server.address();
    let text = cli.hoist(["ratelimit", address]).run().success();
    assert_eq!(text, format!("{address} tells no limits\n"));
    let parsed: Value =
        serde_json::from_str(&cli.hoist(["ratelimit", "--json", address]).run().success()).unwrap();
    assert_eq!((&parsed["limit"], &parsed["remaining"]), (&Value::Null, &Value::Null));
}

#[test]
fn reached() {
    let cli = Cli::new();
    let registry = FaultRegistry::start();
    registry.on(Route::any(), Answer::error(429, "TOOMANYREQUESTS", "slow down"));
    let outcome = cli.hoist(["ratelimit", &registry.address()]).run();
    assert!(refused(&cli, &outcome, "TOOMANYREQUESTS: slow down").contains("hint: the registry limits"));
}

#[test]
fn reached_and_told() {
    let cli = Cli::new();
    let registry = FaultRegistry::start();
    registry.speak(Dialect::PullLimit(Some("3600")));
    let asked = format!("{}/demo/web", registry.address());
    assert_eq!(
        cli.hoist(["ratelimit", &asked]).run().success(),
        format!("{}: 0 of 100 left in this window of 6 h; it asks to wait 1 h\n", registry.address())
    );
    let waiting = FaultRegistry::start();
    waiting.on(Route::any(), Answer::error(429, "TOOMANYREQUESTS", "slow down").header("Retry-After", "1"));
    let told = cli.hoist(["ratelimit", "--jq", "[.remaining, .retryAfter] | @csv", &waiting.address()]).run();
    assert_eq!(told.success(), "0,1\n");
    assert_eq!(waiting.requests().len(), 1, "whoever is asked to wait does not ask on");
}
