use oci::{Reference, RegistryName};
use registry::doctor::{Answer, Diagnosis, Finding, Oddity, Outcome, Question};
use serde_json::{Value, json};

use crate::context::Context;
use crate::failure::{Failure, LOG_IN};
use crate::output::Output;

/// Find out whether a registry can be pulled from and pushed to, and why not (+)
///
/// A line for each thing that is looked at, and what may mend it; ends with 1 if what was asked for would not work. For
/// a push an upload is begun and given up, and nothing is kept. Without a repository only the way in is looked at.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The registry, a repository on it, or an image
    #[arg(value_name = "REGISTRY[/REPO]")]
    registry: String,
    /// Only pulling has to work, and nothing is written at all
    #[arg(long)]
    pull: bool,
    /// Only pushing has to work
    #[arg(long)]
    push: bool,
    #[command(flatten)]
    output: Output,
}

impl Args {
    fn question(&self) -> Result<Question, Failure> {
        let both = self.pull == self.push;
        let (pull, push) = (self.pull || both, self.push || both);
        let name = self.registry.trim_end_matches('/');
        if !name.contains('/') {
            let registry: RegistryName = name.parse()?;
            return Ok(Question { registry, repository: None, selector: None, pull, push });
        }
        let reference: Reference = name.parse()?;
        let written = reference.tag().is_some() || reference.digest().is_some();
        let repository = reference.repository().clone();
        Ok(Question {
            registry: repository.registry().clone(),
            repository: Some(repository),
            selector: written.then(|| reference.selector()),
            pull,
            push,
        })
    }
}

pub(crate) async fn run(context: &Context, args: Args) -> Result<(), Failure> {
    let question = args.question()?;
    // What works only when it is tried again is worth knowing.
    let client = context.impatient()?;
    let (ui, mut printed) = (&context.ui, Ok(()));
    let as_json = args.output.wants_json();
    let diagnosis = client
        .examine(&question, &mut |finding| {
            if !as_json && printed.is_ok() {
                printed = ui.print(lines(finding, ui.out_colour).as_bytes());
            }
        })
        .await;
    printed?;
    if as_json {
        args.output.print(ui, &document(&question, &diagnosis))?;
    } else {
        ui.println(&verdict(&diagnosis))?;
    }
    if diagnosis.is_good() { Ok(()) } else { Err(Failure::Silent) }
}

/// How a finding is marked.
fn mark(finding: &Finding) -> &'static str {
    match finding.outcome {
        Outcome::Good(_) => "ok",
        Outcome::Failed(..) if finding.decides => "fail",
        Outcome::Odd(..) | Outcome::Failed(..) => "warn",
        Outcome::Skipped(_) => "-",
    }
}

fn text(outcome: &Outcome) -> String {
    let text = match outcome {
        Outcome::Good(facts) | Outcome::Odd(facts, _) => facts.to_string(),
        Outcome::Failed(None, error) => error.cause().to_string(),
        Outcome::Failed(Some(facts), error) => format!("{} ({facts})", error.cause()),
        Outcome::Skipped(why) => (*why).to_owned(),
    };
    text.lines().collect::<Vec<_>>().join(" ")
}

fn hints(outcome: &Outcome) -> Vec<String> {
    match outcome {
        Outcome::Odd(_, oddity) => vec![mend(*oddity).to_owned()],
        Outcome::Failed(_, error) => Failure::of(error).hints().to_vec(),
        Outcome::Good(_) | Outcome::Skipped(_) => Vec::new(),
    }
}

/// What something odd means, and what may be done.
fn mend(oddity: Oddity) -> &'static str {
    match oddity {
        Oddity::SomeAddresses => {
            "not every address answers; programs that take another wait or fail: check IPv6 and the firewall"
        }
        Oddity::InTheClear => {
            "anybody on the way can read and change all of it; credentials go there only with --plain-http or --insecure"
        }
        Oddity::AnyCertificate => "nobody on the way is kept out; --ca-file trusts one authority instead",
        Oddity::EndsSoon => "the registry needs a new certificate soon",
        Oddity::Clock(_) => "one of the clocks is wrong, and tokens are only good for a time",
        Oddity::NoCredentials => LOG_IN,
        Oddity::LesserToken => {
            "the token server gives less than was asked for: whoever this is may do no more there"
        }
        Oddity::NoDigest => "hoist reads the whole manifest instead",
        Oddity::NoRanges => {
            "a download that breaks off begins anew, and one file of a layer costs the whole of it"
        }
        Oddity::NoReferrers => {
            "signatures and SBOMs are found only where their client has entered them under the fallback tag"
        }
        Oddity::NothingLeft => "logging in often raises the limit",
        Oddity::NoProgress => "hoist sends a blob in one request and does not need it; who sends pieces does",
        Oddity::NoMount => "copies within the registry send all bytes anew",
        Oddity::NoDelete => {
            "`hoist delete` would fail: the registry does not delete, or not for these credentials"
        }
        _ => "docs/doctor.md tells what this means",
    }
}

fn lines(finding: &Finding, colour: bool) -> String {
    let mark = mark(finding);
    let code = match mark {
        "ok" => "32",
        "warn" => "33",
        "fail" => "1;31",
        _ => "2",
    };
    let painted = if colour { format!("\u{1b}[{code}m{mark:<5}\u{1b}[0m") } else { format!("{mark:<5}") };
    let first = format!("{painted}{:<12} {}\n", finding.probe, text(&finding.outcome));
    let hints = hints(&finding.outcome).into_iter().map(|hint| format!("{:18}hint: {hint}\n", ""));
    [first].into_iter().chain(hints).collect()
}

/// The last line.
fn verdict(diagnosis: &Diagnosis) -> String {
    let answers = [("pull", diagnosis.pull), ("push", diagnosis.push)];
    let told = answers.iter().filter_map(|(what, answer)| Some(format!("{what}: {}", (*answer)?)));
    let told: Vec<String> = told.collect();
    if told.is_empty() {
        let more = "; whether pull and push work depends on the repository";
        let more = if diagnosis.is_good() { more } else { "" };
        return format!("access: {}{more}", diagnosis.access);
    }
    told.join(", ")
}

fn document(question: &Question, diagnosis: &Diagnosis) -> Value {
    let answer = |answer: Answer| answer == Answer::Yes;
    let finding = |finding: &Finding| {
        json!({
            "probe": finding.probe,
            "result": if mark(finding) == "-" { "skipped" } else { mark(finding) },
            "text": text(&finding.outcome),
            "hints": hints(&finding.outcome),
            "facts": finding.outcome.facts(),
        })
    };
    json!({
        "registry": question.registry.as_str(),
        "repository": question.repository.as_ref().map(oci::Repository::path),
        "access": answer(diagnosis.access),
        "pull": diagnosis.pull.map(answer),
        "push": diagnosis.push.map(answer),
        "findings": diagnosis.findings.iter().map(finding).collect::<Value>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(registry: &str, pull: bool, push: bool) -> Question {
        let args = Args { registry: registry.to_owned(), pull, push, output: Output::default() };
        args.question().unwrap()
    }

    #[test]
    fn what_is_asked() {
        for (pull, push, expected) in [
            (false, false, (true, true)),
            (true, true, (true, true)),
            (true, false, (true, false)),
            (false, true, (false, true)),
        ] {
            let question = question("h/a", pull, push);
            assert_eq!((question.pull, question.push), expected);
        }
    }

    #[test]
    fn of_whom_it_is_asked() {
        for (text, registry, repository, selector) in [
            ("ghcr.io", "ghcr.io", None, None),
            ("ghcr.io/", "ghcr.io", None, None),
            ("docker.io", "index.docker.io", None, None),
            ("localhost:5000/a/b", "localhost:5000", Some("a/b"), None),
            ("localhost:5000/a:1", "localhost:5000", Some("a"), Some("1")),
            ("a/b", "index.docker.io", Some("a/b"), None),
        ] {
            let question = question(text, false, false);
            assert_eq!(question.registry.as_str(), registry, "{text}");
            assert_eq!(question.repository.as_ref().map(oci::Repository::path), repository, "{text}");
            assert_eq!(question.selector.map(|selector| selector.to_string()).as_deref(), selector, "{text}");
        }
    }
}
