//! Why a registry can, or cannot, be pulled from and pushed to.

use std::fs;
use std::net::TcpListener;

use serde_json::Value;
use testkit::{
    Answer, Authority, Cli, Dialect, DockerRegistry, FaultRegistry, ForwardProxy, HoistServer, NameServer,
    Network, Outcome, Route, TokenServer, images,
};

use crate::support::{PASSWORD, USER, bearer, serving};

/// `hoist doctor`, with these arguments.
fn doctor(cli: &Cli, arguments: &[&str]) -> Outcome {
    cli.hoist(["doctor"].iter().chain(arguments)).run()
}

/// The marks and what they stand at, without what was found; the verdict.
fn marks(text: &str) -> Vec<String> {
    let lines = text.lines().filter(|line| !line.trim_start().starts_with("hint: "));
    let mark = |line: &str| match line.get(5..17) {
        Some(probe) if line[..5].trim_end().len() < 5 => format!("{} {}", line[..5].trim(), probe.trim()),
        _ => line.to_owned(),
    };
    lines.map(mark).collect()
}

/// The marks of a command that found everything to work.
#[track_caller]
fn well(outcome: &Outcome) -> Vec<String> {
    assert_eq!(outcome.stderr(), "", "{outcome}");
    marks(&outcome.success())
}

/// The marks of a command that found something that does not; no more than that is said.
#[track_caller]
fn ill(outcome: &Outcome) -> Vec<String> {
    assert_eq!(outcome.failure(1), "", "{outcome}");
    marks(&outcome.stdout())
}

/// The line of a probe, and the hint below it.
#[track_caller]
fn line(outcome: &Outcome, probe: &str) -> (String, String) {
    let text = outcome.stdout();
    let mut lines = text.lines().skip_while(|line| line.get(5..17).map(str::trim) != Some(probe));
    let Some(found) = lines.next() else { panic!("nothing is said of {probe}: {outcome}") };
    let hint = lines.next().and_then(|line| line.trim_start().strip_prefix("hint: ")).unwrap_or_default();
    (found[18..].to_owned(), hint.to_owned())
}

#[track_caller]
fn says(outcome: &Outcome, probe: &str, found: &str, hint: &str) {
    let (line, told) = line(outcome, probe);
    assert!(line.contains(found), "{probe}: {found:?} is not in {line:?}\n{outcome}");
    assert!(
        told.contains(hint) && told.is_empty() == hint.is_empty(),
        "{probe}: {hint:?}, {told:?}\n{outcome}"
    );
}

/// The upload sessions of a repository that docker-registry keeps bytes of. Of one that was given up behind a piece it
/// keeps a saved hash, until it tidies up.
fn sessions(registry: &DockerRegistry, repository: &str) -> usize {
    let uploads =
        registry.storage().join("docker/registry/v2/repositories").join(repository).join("_uploads");
    let sessions = fs::read_dir(uploads).into_iter().flatten();
    sessions.filter(|session| session.as_ref().unwrap().path().join("data").exists()).count()
}

const OPEN: [&str; 8] =
    ["ok scheme", "ok proxy", "ok address", "ok connection", "- TLS", "ok /v2/", "ok clock", "ok challenge"];

#[test]
fn all_is_well() {
    let registry = DockerRegistry::plain();
    registry.push(&images::eight_platforms(), "demo/web", "1.0");
    let cli = Cli::new();
    let name = format!("{}/demo/web", registry.address());
    let outcome = doctor(&cli, &[&name]);
    let rest = [
        "ok credentials",
        "- login",
        "ok tags",
        "ok manifest",
        "ok HEAD",
        // Of the index, the image for this machine.
        "ok manifest",
        "ok blob",
        // docker-registry 2.8 keeps no list.
        "warn referrers",
        "- limit",
        "ok upload",
        "ok chunks",
        "ok cancel",
        "ok mount",
        "ok delete",
        "pull: yes, push: yes",
    ];
    assert_eq!(well(&outcome), [&OPEN[..], &rest].concat());
    says(&outcome, "scheme", "http: no TLS is spoken there", "");
    says(&outcome, "address", "127.0.0.1 (loopback)", "");
    says(&outcome, "blob", "206 Partial Content for a part of sha256:", "");
    says(&outcome, "referrers", "by the fallback tag: 0", "signatures and SBOMs");
    says(&outcome, "chunks", "16 bytes is taken, the session has 16", "");
    says(&outcome, "delete", "404 Not Found", "");
    assert_eq!(sessions(&registry, "demo/web"), 0, "nothing stays");
    cli.hoist(["validate", &format!("{name}:1.0")]).run().success();

    let outcome = doctor(&cli, &[registry.address()]);
    let rest = ["ok credentials", "- login", "ok catalog", "- limit"];
    let marks = well(&outcome);
    assert_eq!(marks[..marks.len() - 1], [&OPEN[..], &rest].concat());
    assert!(marks.last().unwrap().starts_with("access: yes"), "{outcome}");
    assert_eq!(sessions(&registry, "demo/web"), 0);
}

#[test]
fn our_own_server() {
    let server = serving(&images::single(), "demo/web", "latest");
    let cli = Cli::new();
    let outcome = doctor(&cli, &[&format!("{}/demo/web", server.address())]);
    let odd: Vec<String> = well(&outcome).into_iter().filter(|mark| mark.starts_with("warn")).collect();
    assert_eq!(odd, [] as [&str; 0], "{outcome}");
    says(&outcome, "referrers", "listed by the registry: 0", "");
    says(&outcome, "manifest", "latest: sha256:", "");
}

#[test]
fn only_pull_writes_nothing() {
    let registry = FaultRegistry::start();
    registry.put("demo/web", "1.0", &images::eight_platforms());
    let cli = Cli::new();
    let outcome = doctor(&cli, &["--pull", &format!("{}/demo/web:1.0", registry.address())]);
    assert_eq!(well(&outcome).last().unwrap(), "pull: yes");
    for request in registry.requests() {
        assert!(matches!(request.method.as_str(), "GET" | "HEAD"), "{} {}", request.method, request.path);
    }
    // What is not there cannot be pulled, but pushed.
    let missing = format!("{}/demo/new", registry.address());
    let outcome = doctor(&cli, &["--pull", &missing]);
    assert_eq!(ill(&outcome).last().unwrap(), "pull: no (manifest)");
    says(&outcome, "manifest", "MANIFEST_UNKNOWN", "shows the tags that exist");
    let outcome = doctor(&cli, &["--push", &missing]);
    let marks = well(&outcome);
    assert_eq!(marks.last().unwrap(), "push: yes");
    assert!(
        marks.contains(&"warn manifest".to_owned()) && marks.contains(&"- mount".to_owned()),
        "{outcome}"
    );
    assert_eq!(ill(&doctor(&cli, &[&missing])).last().unwrap(), "pull: no (manifest), push: yes");
}

#[test]
fn user_and_password() {
    let registry = DockerRegistry::basic(USER, PASSWORD);
    registry.push(&images::single(), "demo/web", "1.0");
    let name = format!("{}/demo/web", registry.address());
    let cli = Cli::new();
    let outcome = doctor(&cli, &[&name]);
    assert_eq!(ill(&outcome).last().unwrap(), "pull: no (login), push: no (login)");
    says(&outcome, "/v2/", "401 Unauthorized", "");
    says(&outcome, "challenge", "Basic", "");
    says(&outcome, "credentials", "none", "log in with");
    says(&outcome, "login", "UNAUTHORIZED", "log in with");
    cli.login(registry.address(), USER, "wrong");
    let outcome = doctor(&cli, &[&name]);
    assert_eq!(ill(&outcome).last().unwrap(), "pull: no (login), push: no (login)");
    says(&outcome, "credentials", &format!("{USER}, from the entry"), "");
    cli.login(registry.address(), USER, PASSWORD);
    let outcome = doctor(&cli, &[&name]);
    assert_eq!(well(&outcome).last().unwrap(), "pull: yes, push: yes");
    says(&outcome, "login", "user and password are taken", "");
}

#[test]
fn tokens() {
    let registry = bearer();
    registry.push(&images::single(), "demo/web", "1.0");
    let name = format!("{}/demo/web", registry.address());
    let cli = Cli::new();
    cli.login(registry.address(), USER, PASSWORD);
    let outcome = doctor(&cli, &[&name]);
    assert_eq!(well(&outcome).last().unwrap(), "pull: yes, push: yes");
    says(&outcome, "challenge", &format!("Bearer: tokens of {}", registry.tokens().unwrap().realm()), "");
    says(&outcome, "login", "a token for repository:demo/web:pull, good for 300 s", "");
    says(&outcome, "push token", "repository:demo/web:pull,push", "");
    cli.login(registry.address(), USER, "wrong");
    let outcome = doctor(&cli, &[&name]);
    assert_eq!(ill(&outcome).last().unwrap(), "pull: no (login), push: no (login)");
    says(&outcome, "login", "wrong user name or password", "log in with");
}

#[test]
fn a_token_that_is_for_pulling_alone() {
    let registry = DockerRegistry::bearer(TokenServer::start(USER, PASSWORD).pull_only());
    registry.push(&images::single(), "demo/web", "1.0");
    let name = format!("{}/demo/web", registry.address());
    let cli = Cli::new();
    cli.login(registry.address(), USER, PASSWORD);
    let outcome = doctor(&cli, &[&name]);
    assert_eq!(ill(&outcome).last().unwrap(), "pull: yes, push: no (upload)");
    says(&outcome, "push token", "a token for repository:demo/web:pull", "may do no more there");
    says(&outcome, "upload", "repository:demo/web:pull,push is needed", "log in with");
    assert_eq!(well(&doctor(&cli, &["--pull", &name])).last().unwrap(), "pull: yes");
}

#[test]
fn nothing_secret_is_shown() {
    for registry in [bearer(), DockerRegistry::basic(USER, PASSWORD)] {
        registry.push(&images::single(), "demo/web", "1.0");
        let cli = Cli::new();
        cli.login(registry.address(), USER, PASSWORD);
        let name = format!("{}/demo/web", registry.address());
        let mut all = String::new();
        for arguments in [&["-v", &name][..], &["-v", "--json", &name], &["-v", registry.address()]] {
            let outcome = doctor(&cli, arguments);
            outcome.success();
            all += &(outcome.stdout() + &outcome.stderr());
        }
        assert!(all.contains("--> POST") && all.contains(USER), "{all}");
        // The password as it goes over the wire, and how every JSON web token begins.
        for secret in [PASSWORD, "YWxpY2U6Y29ycmVjdC1ob3JzZS1iYXR0ZXJ5LXN0YXBsZQ", "eyJ"] {
            assert!(!all.contains(secret), "{all}");
        }
    }
}

#[test]
fn certificates() {
    let authority = Authority::new();
    let ca = authority.file().display().to_string();
    let names = ["127.0.0.1"];
    for (certificate, more, found, hint) in [
        (authority.server(&names), &[][..], "UnknownIssuer", "--ca-file"),
        (authority.expired(&names), &["--ca-file", &ca], "ended", "this machine's clock says"),
        (
            authority.server(&["registry.example"]),
            &["--ca-file", &ca],
            "for registry.example,",
            "registry.example",
        ),
    ] {
        let registry = FaultRegistry::tls_at("127.0.0.1", &certificate);
        let cli = Cli::new();
        let address = registry.address();
        let outcome = doctor(&cli, &[&[address.as_str()], more].concat());
        assert_eq!(ill(&outcome)[4], "fail TLS", "{outcome}");
        says(&outcome, "TLS", found, hint);
        says(&outcome, "TLS", "certificate by \"hoist test authority\" for ", hint);
        assert!(outcome.stdout().lines().last().unwrap().starts_with("access: no (TLS)"), "{outcome}");
        assert_eq!(registry.requests().len(), 0, "nothing is said to whom is not trusted");
    }
    let registry = FaultRegistry::tls_at("127.0.0.1", &authority.server(&names));
    registry.put("demo/web", "1.0", &images::single());
    let cli = Cli::new();
    let name = format!("{}/demo/web", registry.address());
    let outcome = doctor(&cli, &["--ca-file", &ca, &name]);
    assert!(well(&outcome).contains(&"ok TLS".to_owned()));
    says(&outcome, "TLS", "TLS 1.3, certificate by \"hoist test authority\" for 127.0.0.1, good for ", "");
    let outcome = doctor(&cli, &["--tls-skip-verify", &name]);
    assert!(well(&outcome).contains(&"warn TLS".to_owned()));
    says(&outcome, "TLS", "any certificate is believed", "--ca-file");
}

#[test]
fn nobody_there() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let cli = Cli::new();
    let outcome = doctor(&cli, &[&format!("{free}/demo/web")]);
    assert_eq!(
        ill(&outcome),
        [
            "ok scheme",
            "ok proxy",
            "ok address",
            "fail connection",
            "pull: no (connection), push: no (connection)"
        ]
    );
    says(&outcome, "connection", "Connection refused", "nothing listens there");
    let outcome = doctor(&cli, &["UPPER CASE"]);
    assert!(outcome.failure(1).starts_with("Error: "), "{outcome}");
}

#[test]
fn names_and_proxies() {
    Network::inside(|network| {
        let cli = Cli::new();
        let plain = FaultRegistry::at(Network::PUBLIC);
        plain.put("demo/web", "1.0", &images::single());
        let port = plain.address().rsplit_once(':').unwrap().1.to_owned();
        let _names = NameServer::at("127.0.0.53");
        network.name_servers(&["127.0.0.53"]);
        let outcome = doctor(&cli, &["registry.example/demo/web"]);
        assert_eq!(ill(&outcome)[2], "fail address");
        says(&outcome, "address", "no such host", "check the registry's name");
        network.name("registry.example", &[Network::PUBLIC, Network::PUBLIC_TOO]);
        let name = format!("registry.example:{port}/demo/web");
        let outcome = doctor(&cli, &["--plain-http", &name]);
        let found = well(&outcome);
        assert_eq!(found[..4], ["warn scheme", "ok proxy", "ok address", "warn connection"]);
        says(&outcome, "address", "198.51.100.7 (public), 203.0.113.9 (public)", "");
        says(&outcome, "connection", "refused", "not every address answers");
        says(&outcome, "scheme", "http: that was asked for", "anybody on the way");
        let proxy = ForwardProxy::http(Network::PRIVATE);
        let secret = format!("http://{USER}:{PASSWORD}@{}", proxy.address());
        let outcome = cli.hoist(["doctor", "-v", "--plain-http", &name]).env("HTTP_PROXY", secret).run();
        let begun = ["warn scheme", "ok proxy", "- address", "- connection", "- TLS"];
        assert_eq!(marks(&outcome.success())[..5], begun);
        says(&outcome, "proxy", &format!("http://{}", proxy.address()), "");
        assert!(!outcome.stdout().contains(PASSWORD) && !outcome.stderr().contains(PASSWORD), "{outcome}");
    });
}

#[test]
fn dialects() {
    let ranges = || (Route::get("/v2/*/blobs/sha256:*"), Answer::stored().ignore_ranges());
    let late = || (Route::any(), Answer::stored().header("Date", "Sun, 06 Nov 1994 08:49:37 GMT"));
    let kept = || (Route::new("DELETE", "/v2/*/manifests/*"), Answer::error(405, "UNSUPPORTED", "not here"));
    let lost = || (Route::get("/v2/*/blobs/uploads/*"), Answer::error(404, "BLOB_UPLOAD_UNKNOWN", "which?"));
    let least =
        || (Route::new("POST", "/v2/*/uploads/"), Answer::stored().header("OCI-Chunk-Min-Length", "4096"));
    let limits = || {
        let answer = Answer::stored().header("RateLimit-Limit", "100;w=21600");
        (Route::new("HEAD", "/v2/*/manifests/*"), answer.header("RateLimit-Remaining", "0;w=21600"))
    };
    for (speak, (mark, probe, found), hint) in [
        (rule(ranges), ("warn", "blob", "200 OK for the whole of"), "begins anew"),
        (rule(late), ("warn", "clock", "behind this machine's"), "one of the clocks is wrong"),
        (rule(kept), ("warn", "delete", "405 Method Not Allowed"), "`hoist delete` would fail"),
        (rule(lost), ("warn", "chunks", "a piece of 16 bytes is taken"), "in one request"),
        (rule(least), ("ok", "chunks", "a piece of 4096 bytes is taken, the session has 4096"), ""),
        (rule(limits), ("warn", "limit", "0 of 100 left in 21600 s"), "raises the limit"),
        (speech(Dialect::HeadWithoutDigest), ("warn", "HEAD", "without the digest"), "whole manifest"),
        (speech(Dialect::ManifestHead(405)), ("warn", "HEAD", "405 Method Not Allowed"), ""),
        (speech(Dialect::Mounts(400)), ("warn", "mount", "no mounts here"), ""),
        (speech(Dialect::Bare), ("ok", "upload", "a session is opened"), ""),
        (speech(Dialect::Chunked), ("ok", "manifest", "1.0: sha256:"), ""),
    ] {
        let registry = FaultRegistry::start();
        registry.put("demo/web", "1.0", &images::single());
        speak(&registry);
        let cli = Cli::new();
        let outcome = doctor(&cli, &[&format!("{}/demo/web", registry.address())]);
        let marks = well(&outcome);
        assert!(marks.contains(&format!("{mark} {probe}")), "{outcome}");
        assert_eq!(marks.last().unwrap(), "pull: yes, push: yes");
        says(&outcome, probe, found, hint);
    }
}

/// Makes a registry speak.
type Speech = Box<dyn Fn(&FaultRegistry)>;

fn rule(made: impl Fn() -> (Route, Answer) + 'static) -> Speech {
    Box::new(move |registry| {
        let (route, answer) = made();
        registry.on(route, answer);
    })
}

fn speech(dialect: Dialect) -> Speech {
    Box::new(move |registry| registry.speak(dialect.clone()))
}

#[test]
fn what_is_refused() {
    for (speak, verdict, probe, found, hint) in [
        (
            speech(Dialect::PullLimit(Some("1"))),
            "pull: no (manifest), push: yes",
            "manifest",
            "the limit is 100 requests in 6 h, 0 left",
            "raises the limit",
        ),
        (
            speech(Dialect::NoRepository),
            "pull: no (manifest), push: no (upload)",
            "upload",
            "does not exist in the registry",
            "create it there first",
        ),
        (
            speech(Dialect::Tokens(vec![r#"Bearer realm="{realm}",service="s""#], r#"{"token":"other"}"#)),
            "pull: no (manifest), push: no (upload)",
            "manifest",
            "401 Unauthorized",
            "log in with",
        ),
        (
            rule(|| (Route::new("POST", "*"), Answer::error(403, "DENIED", "quota exceeded"))),
            "pull: yes, push: no (upload)",
            "upload",
            "DENIED: quota exceeded",
            "does not allow it",
        ),
        (
            rule(|| {
                (Route::get("/v2/*/blobs/*"), Answer::redirect("http://169.254.169.254/latest/meta-data"))
            }),
            "pull: no (blob), push: yes",
            "blob",
            "a registry at a private address may not send us there",
            "--allow-host",
        ),
    ] {
        let registry = FaultRegistry::start();
        registry.put("demo/web", "latest", &images::single());
        speak(&registry);
        let cli = Cli::new();
        let outcome = doctor(&cli, &[&format!("{}/demo/web", registry.address())]);
        // Nothing is noted of another attempt either.
        assert_eq!(ill(&outcome).last().unwrap(), verdict, "{outcome}");
        says(&outcome, probe, found, hint);
    }
}

#[test]
fn what_is_no_registry() {
    let page = Answer::status(200).header("Content-Type", "text/html; charset=utf-8").body("<html>hello");
    for (answer, found) in [(page, "a web page answers"), (Answer::status(404), "404 Not Found")] {
        let registry = FaultRegistry::start();
        registry.on(Route::any(), answer);
        let outcome = doctor(&Cli::new(), &[&registry.address()]);
        says(&outcome, "/v2/", found, "");
        assert!(ill(&outcome).last().unwrap().starts_with("access: no (/v2/)"), "{outcome}");
    }
}

#[test]
fn blobs_from_elsewhere() {
    let storage = FaultRegistry::start();
    storage.put("demo/web", "latest", &images::single());
    let registry = FaultRegistry::start();
    registry.put("demo/web", "latest", &images::single());
    registry.speak(Dialect::BlobsAt(format!("http://{}", storage.address())));
    let outcome = doctor(&Cli::new(), &[&format!("{}/demo/web", registry.address())]);
    well(&outcome);
    says(&outcome, "blob", ", from 127.0.0.1", "");
    assert!(!outcome.stdout().contains("s3cret"), "{outcome}");
}

#[test]
fn as_json() {
    let server: HoistServer = serving(&images::single(), "demo/web", "latest");
    let name = format!("{}/demo/web", server.address());
    let cli = Cli::new();
    let told: Value = serde_json::from_str(&doctor(&cli, &["--json", &name]).success()).unwrap();
    assert_eq!(told["registry"], server.address());
    assert_eq!(told["repository"], "demo/web");
    assert_eq!((&told["access"], &told["pull"], &told["push"]), (&true.into(), &true.into(), &true.into()));
    let findings = told["findings"].as_array().unwrap();
    let of = |probe: &str| findings.iter().find(|finding| finding["probe"] == probe).unwrap();
    assert_eq!(of("blob")["result"], "ok");
    assert_eq!(of("blob")["facts"]["status"], 206);
    assert_eq!(of("address")["facts"]["addresses"][0]["zone"], "loopback");
    assert_eq!(of("tls")["result"], "skipped");
    assert_eq!(of("tls")["facts"], Value::Null);
    assert_eq!(of("api")["hints"], Value::Array(Vec::new()));
    let refused = doctor(
        &cli,
        &["--jq", "[.access, .pull, .push, .findings[-1].probe] | @csv", "--push", "127.0.0.1:1/a"],
    );
    assert_eq!(refused.failure(1), "");
    assert_eq!(refused.stdout(), "false,,false,\"connection\"\n");
}
