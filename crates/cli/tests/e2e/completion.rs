//! Completion, in real shells.

use std::thread;
use std::time::{Duration, Instant};

use testkit::{Cli, HoistServer, Outcome, images, peers};

use crate::support::{PASSWORD, USER, bearer, refused, serving};

/// A server with tags, and a repository on it.
fn tags() -> (HoistServer, String) {
    let server = serving(&images::eight_platforms(), "demo/app", "1.25.3");
    for tag in ["1.25.4-alpine", "2.0"] {
        server.push(&images::single(), "demo/app", tag);
    }
    server.push(&images::single(), "demo/other", "1");
    let name = format!("{}/demo/app", server.address());
    (server, name)
}

/// Runs a line of a shell that knows hoist, and crane as a link to it.
fn shell(cli: &Cli, program: &str, arguments: &[&str], line: &str) -> Outcome {
    cli.hoist_as("crane", ["version"]).run().success();
    cli.shell("hoist version").run().success();
    let path = format!("{0}/bin:{0}/links:/usr/local/bin:/usr/bin:/bin", cli.home().display());
    cli.command(&peers::path(program), arguments).arg(line).env("PATH", path).run()
}

fn bash(cli: &Cli, program: &str, line: &str) -> String {
    // What bash sets before it calls the function, from the real splitting of the line.
    let script = r#"
        set -u
        source <("$1" completion bash)
        function=$(complete -p "$1") function=${function##*-F } function=${function%% *}
        COMP_LINE=$2 COMP_POINT=${#2} COMP_TYPE=9 COMP_WORDS=() COMP_CWORD=0
        rest=$2
        while [[ -n $rest ]]; do
            case $rest in
                [[:space:]]*) rest=${rest#?}; [[ -n $rest ]] || COMP_WORDS+=('') ;;
                [:=@]*) COMP_WORDS+=("${rest:0:1}"); rest=${rest#?} ;;
                *) word=${rest%%[[:space:]:=@]*}; COMP_WORDS+=("$word"); rest=${rest#"$word"} ;;
            esac
        done
        COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
        "$function" "$1" "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
        for reply in "${COMPREPLY[@]+"${COMPREPLY[@]}"}"; do printf '%s\n' "$reply"; done"#;
    let script = format!("set -- '{program}' '{line}'; {script}");
    let outcome = shell(cli, "bash", &["--norc", "-c"], &script);
    outcome.success().lines().collect::<Vec<_>>().join(" ")
}

#[test]
fn bash_knows_verbs_flags_and_tags() {
    let (server, app) = tags();
    let cli = Cli::new();
    for program in ["hoist", "crane"] {
        let complete = |rest: &str| bash(&cli, program, &format!("{program} {rest}"));
        assert_eq!(complete("ma"), "man manifest");
        assert_eq!(complete("ls --fu"), "--full-ref");
        assert_eq!(complete("manifest --platform linux/arm"), "linux/arm64 linux/arm/v7 linux/arm/v6");
        // bash has seen the part before the last break already.
        assert_eq!(complete("manifest --platform=windows/"), "windows/amd64");
        assert_eq!(complete(&format!("manifest {app}:1.25.")), "1.25.3 1.25.4-alpine");
        assert_eq!(complete(&format!("digest {app}:")), "1.25.3 1.25.4-alpine 2.0");
        assert_eq!(complete(&format!("cp {app}:2.0 {app}:2")), "2.0");
        let port = server.address().split_once(':').unwrap().1;
        assert_eq!(complete(&format!("manifest {}/demo/o", server.address())), format!("{port}/demo/other:"));
        assert_eq!(
            complete(&format!("ls {}/", server.address())),
            format!("{port}/demo/app {port}/demo/other")
        );
        assert_eq!(complete(&format!("--insecure digest {app}:2")), "2.0");
        assert_eq!(complete("ls --sort "), "semver name -semver -name");
        assert_eq!(complete("nonsense x"), "");
    }
}

/// Types into a shell on a terminal.
fn typed(cli: &Cli, shell_command: &str, lines: &str) -> Outcome {
    cli.hoist_as("crane", ["version"]).run().success();
    cli.shell("hoist version").run().success();
    let path = format!("{0}/bin:{0}/links:/usr/local/bin:/usr/bin:/bin", cli.home().display());
    let script = peers::path("script");
    let typescript = cli.command(&script, ["-q", "-e", "-c", shell_command, "/dev/null"]);
    typescript.env("PATH", path).env("TERM", "dumb").env("ZDOTDIR", cli.home()).stdin(lines).run()
}

#[test]
fn shells_on_a_terminal_complete_a_tag() {
    let (_server, app) = tags();
    let cli = Cli::new();
    let digest = cli.hoist(["digest", &format!("{app}:1.25.4-alpine")]).run().success();
    for (shell, load) in [
        ("bash --norc --noprofile -i", "source <(crane completion bash)\n"),
        // With what distributions load.
        (
            "bash --norc --noprofile -i",
            "source /usr/share/bash-completion/bash_completion || exit 7; source <(crane completion bash)\n",
        ),
        ("zsh -f -i", "autoload -Uz compinit && compinit -u; source <(crane completion zsh)\n"),
        ("zsh -f -i", "source <(crane completion zsh)\n"),
    ] {
        let outcome = typed(&cli, shell, &format!("{load}crane digest {app}:1.25.4\t\nexit 0\n"));
        assert!(outcome.stdout().contains(digest.trim()), "{shell}: {outcome}");
    }
}

#[test]
fn fish_and_zsh_complete() {
    let (_server, app) = tags();
    let cli = Cli::new();
    let fish = |line: &str| {
        let program = line.split(' ').next().unwrap();
        let script = format!("{program} completion fish | source; complete -C '{line}'");
        shell(&cli, "fish", &["--no-config", "-c"], &script).success()
    };
    assert!(fish("hoist ma").contains("manifest\tPrint the manifest of an image\n"));
    assert_eq!(fish(&format!("crane manifest {app}:1")), format!("{app}:1.25.3\n{app}:1.25.4-alpine\n"));
    assert_eq!(fish("hoist ls --sort=-n"), "--sort=-name\n");
    let zsh = shell(&cli, "zsh", &["-f", "-c"], "source <(hoist completion zsh) && print $_comps[hoist]");
    assert_eq!(zsh.success(), "_hoist\n");
    let powershell = cli.hoist_as("crane", ["completion", "powershell"]).run().success();
    assert!(powershell.contains("-CommandName 'crane'") && powershell.contains("__complete @words"));
    refused(&cli, &cli.hoist(["completion", "tcsh"]).run(), "'tcsh'");
    assert!(
        cli.hoist(["completion", "bash", "--no-descriptions"]).run().success().contains("__completeNoDesc ")
    );
}

/// What crane's own scripts ask and understand.
#[test]
fn scripts_of_crane_work() {
    let (_server, app) = tags();
    let cli = Cli::new();
    let ask = |words: &[&str]| {
        let outcome = cli.hoist_as("crane", ["__complete"].into_iter().chain(words.iter().copied())).run();
        assert_eq!(outcome.stderr(), "");
        outcome.success()
    };
    assert_eq!(ask(&["manifest", &format!("{app}:2")]), format!("{app}:2.0\n:36\n"));
    assert_eq!(ask(&["ls", "--sort=-n"]), "-name\n:36\n");
    assert_eq!(ask(&["export", &app, ""]), ":32\n");
    assert!(ask(&["digest", ""]).lines().all(|line| !line.starts_with('-')));
    let with_platforms = ask(&["digest", &format!("{app}:1.25.3"), "--platform", "linux/ppc"]);
    assert_eq!(with_platforms, "linux/ppc64le\n:36\n");
    let script = cli.peer("crane", ["completion", "bash"]).run().success();
    assert!(script.contains("__complete ${args[*]}"), "crane asks otherwise now");
}

#[test]
fn credentials_are_used_and_failures_are_silent() {
    let registry = bearer();
    registry.push(&images::single(), "demo/app", "secret-1");
    let cli = Cli::new();
    let ask = |word: &str| {
        let outcome = cli.hoist(["__complete", "manifest", word]).run();
        assert_eq!(outcome.stderr(), "");
        outcome.success()
    };
    let name = format!("{}/demo/app:s", registry.address());
    assert_eq!(ask(&name), ":36\n");
    cli.login(registry.address(), USER, PASSWORD);
    assert_eq!(ask(&name), format!("{name}ecret-1\n:36\n"));
    for word in [
        "no-such-host.invalid/x:",
        "127.0.0.1:1/x:",
        "127.0.0.1:1/",
        "@@",
        ":",
        "a:b:c:",
        "[::1",
        "\u{e9}/x:",
        "/",
    ] {
        assert_eq!(ask(word), ":36\n", "{word}");
    }
}

#[test]
fn nobody_waits_for_a_slow_registry() {
    let registry = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = registry.local_addr().unwrap();
    let (_hold, cli) = (thread::spawn(move || registry.accept()), Cli::new());
    let begun = Instant::now();
    let outcome = cli.hoist(["__complete", "ls", &format!("{address}/")]).run();
    assert_eq!((outcome.success(), outcome.stderr()), (":36\n".to_owned(), String::new()));
    let waited = begun.elapsed();
    assert!(waited >= Duration::from_secs(2) && waited < Duration::from_secs(10), "{waited:?}");
}

#[test]
fn the_tags_of_a_layout() {
    let cli = Cli::new();
    for tag in ["1.0", "1.1", "2.0"] {
        images::single().write_layout(&cli.work().join("images"), tag);
    }
    for (line, found) in [
        ("hoist manifest oci:images:1", "1.0 1.1"),
        ("hoist manifest oci:images:", "1.0 1.1 2.0"),
        ("hoist manifest oci:nowhere:", ""),
    ] {
        assert_eq!(bash(&cli, "hoist", line), found, "{line}");
    }
}
