//! Why a registry can, or cannot, be pulled from and pushed to: one probe after the other, each through the client's own
//! connections, guards and credentials. No probe changes what the registry holds.

mod address;
mod certificate;
mod door;
mod finding;
mod handshake;
mod pull;
mod push;
mod way;
mod words;

use std::fmt;

use oci::{RegistryName, Repository, Selector};

use crate::{Client, Error};

pub use address::{Address, Closed, Connections};
pub use certificate::Certificate;
pub use finding::{Facts, Finding, Oddity, Outcome, Probe};

/// What is to be found out.
#[derive(Clone, Debug)]
pub struct Question {
    /// The registry.
    pub registry: RegistryName,
    /// The repository to pull from and push to; without one it is only found out whether the registry lets one in.
    pub repository: Option<Repository>,
    /// The tag or digest to pull; else it is `latest`, or the last of the tags.
    pub selector: Option<Selector>,
    /// Whether pulling has to work. It is tried in any case.
    pub pull: bool,
    /// Whether pushing has to work. Only then an upload is begun, and given up.
    pub push: bool,
}

/// What was found out.
#[derive(Debug)]
#[non_exhaustive]
pub struct Diagnosis {
    /// All findings, in the order of the probes.
    pub findings: Vec<Finding>,
    /// Whether the registry is reached and lets one in.
    pub access: Answer,
    /// Whether pulling would work; `None` if that was not asked.
    pub pull: Option<Answer>,
    /// Whether pushing would work, as far as that shows without a push; `None` if that was not asked.
    pub push: Option<Answer>,
}

/// An answer, and the probe that it stands on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Yes.
    Yes,
    /// No, as this probe shows.
    No(Probe),
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Yes => f.write_str("yes"),
            Self::No(probe) => write!(f, "no ({probe})"),
        }
    }
}

impl Diagnosis {
    /// Whether all that was asked for would work.
    pub fn is_good(&self) -> bool {
        let answers = [Some(self.access), self.pull, self.push];
        answers.into_iter().flatten().all(|answer| answer == Answer::Yes)
    }
}

impl Client {
    /// Looks into a registry, and tells each finding as it comes. Behind a failure that all else would share nothing more
    /// is tried. A pull counts where the registry counts them; a push is begun only if that is asked, and given up.
    pub async fn examine(&self, question: &Question, tell: &mut (dyn FnMut(&Finding) + Send)) -> Diagnosis {
        let mut chart = Chart { tell, findings: Vec::new() };
        let access = self.probe(question, &mut chart).await;
        let findings = chart.findings;
        let Some(()) = access else {
            let failed = findings.iter().find(|finding| finding.decides && finding.outcome.failed());
            // A probe that ends the examination decides, and has failed.
            let no = Answer::No(failed.map_or(Probe::Api, |finding| finding.probe));
            let asked = |asked: bool| (asked && question.repository.is_some()).then_some(no);
            return Diagnosis {
                findings,
                access: no,
                pull: asked(question.pull),
                push: asked(question.push),
            };
        };
        let asked = |asked: bool, needed, parts: &[Probe]| {
            (asked && question.repository.is_some()).then(|| answer(&findings, needed, parts))
        };
        let pull = asked(question.pull, Probe::Manifest, &[Probe::Manifest, Probe::Blob]);
        let push = asked(question.push, Probe::Upload, &[Probe::PushToken, Probe::Upload]);
        Diagnosis { findings, access: Answer::Yes, pull, push }
    }

    /// All probes; `None` if the registry is not reached, or does not let one in.
    async fn probe(&self, question: &Question, chart: &mut Chart<'_>) -> Option<()> {
        let host = self.host(&question.registry);
        let url = match host.asked_base().await {
            Ok(url) => url,
            Err(error) => {
                chart.note(Probe::Scheme, true, failed(error));
                return None;
            }
        };
        way::examine(&host, &url, chart).await?;
        let door = door::examine(&host, &url, question.repository.as_ref(), chart).await?;
        let Some(repository) = &question.repository else {
            pull::catalog(&host, chart).await;
            pull::limit(door.limit.as_ref(), chart);
            return Some(());
        };
        let store = self.repository(repository);
        let known = pull::examine(&store, question, door.limit, chart).await;
        if question.push {
            push::examine(&store, door.bearer.as_ref(), known.as_ref(), chart).await;
        }
        Some(())
    }
}

/// Yes, if `needed` went well, and neither that nor another of `parts` failed.
fn answer(findings: &[Finding], needed: Probe, parts: &[Probe]) -> Answer {
    let failed = findings.iter().find(|finding| parts.contains(&finding.probe) && finding.outcome.failed());
    let done = |finding: &Finding| finding.probe == needed && finding.outcome.facts().is_some();
    match failed {
        Some(finding) => Answer::No(finding.probe),
        None if findings.iter().any(done) => Answer::Yes,
        None => Answer::No(needed),
    }
}

/// What was found so far, told on the spot.
struct Chart<'a> {
    tell: &'a mut (dyn FnMut(&Finding) + Send),
    findings: Vec<Finding>,
}

impl Chart<'_> {
    /// Notes what came of a probe; whether it did not fail.
    fn note(&mut self, probe: Probe, decides: bool, outcome: Outcome) -> bool {
        let finding = Finding { probe, outcome, decides };
        (self.tell)(&finding);
        let good = !finding.outcome.failed();
        self.findings.push(finding);
        good
    }
}

fn failed(error: Error) -> Outcome {
    Outcome::Failed(None, error.doing("examining the registry"))
}

/// The outcome of a probe that either finds something or fails.
fn good(outcome: Result<Facts, Error>) -> Outcome {
    outcome.map_or_else(failed, Outcome::Good)
}
