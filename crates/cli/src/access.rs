//! How a registry is reached and as whom: the same arguments for all registries of a command, and for each side of a
//! copy.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use auth::{Credential, Secret};
use clap::{Arg, ArgAction, ArgMatches, value_parser};
use registry::{Identity, Options, read_certificates};

use crate::failure::Failure;

/// What was typed for one side.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Access {
    plain_http: bool,
    tls_skip_verify: bool,
    ca_file: Option<PathBuf>,
    cert: Option<PathBuf>,
    key: Option<PathBuf>,
    pub(crate) username: Option<String>,
    password_file: Option<PathBuf>,
    password_stdin: bool,
}

/// Which registries arguments are for.
#[derive(Clone, Copy, Debug)]
struct Side {
    /// In front of every argument.
    prefix: &'static str,
    /// In the help.
    whose: &'static str,
    heading: &'static str,
}

const ALL: Side = Side { prefix: "", whose: "registries", heading: "Options of all verbs" };
const SOURCE: Side =
    Side { prefix: "src-", whose: "the source's registry", heading: "The source's registry" };
const DESTINATION: Side =
    Side { prefix: "dst-", whose: "the destination's registry", heading: "The destination's registry" };

impl Side {
    fn arguments(self) -> Vec<Arg> {
        let Self { prefix, whose, heading } = self;
        let named = |name: &str, help: String| {
            let name = format!("{prefix}{name}");
            let argument = Arg::new(name.replace('-', "_")).long(name).help(help).help_heading(heading);
            // What stands for all registries is known to every verb.
            argument.global(prefix.is_empty())
        };
        let path = |name: &str, help: String| {
            named(name, help).value_name("FILE").value_parser(value_parser!(PathBuf))
        };
        vec![
            named("plain-http", format!("Speak plain http to {whose} (+)")).action(ArgAction::SetTrue),
            named("tls-skip-verify", format!("Believe any certificate of {whose} (+)"))
                .action(ArgAction::SetTrue),
            path("ca-file", format!("Authorities to trust for {whose} besides the system's, PEM (+)")),
            path("cert", format!("The client certificate for {whose}, PEM (+)")),
            path("key", "The client certificate's key, PEM (+)".to_owned()),
            named("username", format!("Who to be for {whose}, whatever docker's and podman's files say (+)"))
                .value_name("NAME"),
            path(
                "password-file",
                "The file with the password; its last line end does not count (+)".to_owned(),
            ),
            named("password-stdin", "Read the password from standard input (+)".to_owned())
                .action(ArgAction::SetTrue),
        ]
    }

    fn read(self, matches: &mut ArgMatches) -> Access {
        // As clap derives it: a verb's own argument of the name stands before the one for all verbs.
        let name = |name: &str| format!("{}{name}", self.prefix).replace('-', "_");
        let mut path = |of: &str| matches.remove_one::<PathBuf>(&name(of));
        let (ca_file, cert, key, password_file) =
            (path("ca-file"), path("cert"), path("key"), path("password-file"));
        let mut switch = |of: &str| matches.remove_one(&name(of)).unwrap_or_default();
        let (plain_http, tls_skip_verify, password_stdin) =
            (switch("plain-http"), switch("tls-skip-verify"), switch("password-stdin"));
        let username = matches.remove_one(&name("username"));
        Access { plain_http, tls_skip_verify, ca_file, cert, key, username, password_file, password_stdin }
    }
}

impl clap::Args for Access {
    fn augment_args(command: clap::Command) -> clap::Command {
        command.args(ALL.arguments())
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        Self::augment_args(command)
    }
}

impl clap::FromArgMatches for Access {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        Self::from_arg_matches_mut(&mut matches.clone())
    }

    fn from_arg_matches_mut(matches: &mut ArgMatches) -> Result<Self, clap::Error> {
        Ok(ALL.read(matches))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// What was typed for the two sides of a copy.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sides {
    pub(crate) source: Access,
    pub(crate) destination: Access,
}

impl clap::Args for Sides {
    fn augment_args(command: clap::Command) -> clap::Command {
        command.args(SOURCE.arguments()).args(DESTINATION.arguments())
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        Self::augment_args(command)
    }
}

impl clap::FromArgMatches for Sides {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        Self::from_arg_matches_mut(&mut matches.clone())
    }

    fn from_arg_matches_mut(matches: &mut ArgMatches) -> Result<Self, clap::Error> {
        Ok(Self { source: SOURCE.read(matches), destination: DESTINATION.read(matches) })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Access {
    /// What counts for a side: its own, and for the rest that of all.
    pub(crate) fn or(&self, all: &Self) -> Self {
        let own = self.clone();
        let has_credential = own.username.is_some() || own.password_file.is_some() || own.password_stdin;
        let credential = if has_credential { &own } else { all };
        let has_identity = own.cert.is_some() || own.key.is_some();
        let identity = if has_identity { &own } else { all };
        Self {
            plain_http: own.plain_http || all.plain_http,
            tls_skip_verify: own.tls_skip_verify || all.tls_skip_verify,
            ca_file: own.ca_file.clone().or_else(|| all.ca_file.clone()),
            cert: identity.cert.clone(),
            key: identity.key.clone(),
            username: credential.username.clone(),
            password_file: credential.password_file.clone(),
            password_stdin: credential.password_stdin,
        }
    }

    /// Whether the password is to be read from standard input.
    pub(crate) fn reads_stdin(&self) -> bool {
        self.password_stdin
    }

    /// Sets what the client needs to know; reads the files.
    pub(crate) fn apply(&self, options: &mut Options) -> Result<(), Failure> {
        options.plain_http = self.plain_http;
        options.tls.skip_verify = self.tls_skip_verify;
        if let Some(file) = &self.ca_file {
            options.tls.roots = read_certificates(file).map_err(Failure::new)?;
        }
        options.tls.identity = match (&self.cert, &self.key) {
            (Some(certificate), Some(key)) => {
                Some(Arc::new(Identity::read(certificate, key).map_err(Failure::new)?))
            }
            (None, None) => None,
            (Some(_), None) => return Err(lacks("--cert", "--key FILE, the certificate's key")),
            (None, Some(_)) => return Err(lacks("--key", "--cert FILE, the key's certificate")),
        };
        Ok(())
    }

    /// The credential that was typed; `None` leaves it to the files and helpers.
    pub(crate) fn credential(&self) -> Result<Option<Credential>, Failure> {
        let password = match (&self.password_file, self.password_stdin) {
            (Some(_), true) => {
                return Err(Failure::new("--password-file and --password-stdin both give a password")
                    .hint("leave one out"));
            }
            (Some(file), false) => Some(password_of(file)?),
            (None, true) => Some(password_of_stdin()?),
            (None, false) => None,
        };
        match (&self.username, password) {
            (Some(username), Some(password)) => Ok(Some(Credential::basic(username, password))),
            (None, None) => Ok(None),
            (Some(_), None) => Err(lacks("--username", "--password-file FILE or --password-stdin")),
            (None, Some(_)) => Err(lacks("a password", "--username NAME")),
        }
    }
}

fn lacks(what: &str, needed: &str) -> Failure {
    Failure::new(format_args!("{what} alone is not enough")).hint(format!("add {needed}"))
}

/// A password is a line; who writes one into a file mostly ends it.
fn password_of(file: &Path) -> Result<Secret, Failure> {
    let text = fs::read_to_string(file).map_err(|error| {
        Failure::new(format_args!("reading the password from {}: {error}", file.display()))
    })?;
    Ok(line(text))
}

fn password_of_stdin() -> Result<Secret, Failure> {
    /// No password is longer, in bytes.
    const LONGEST: u64 = 64 << 10;
    let mut text = String::new();
    io::stdin()
        .take(LONGEST)
        .read_to_string(&mut text)
        .map_err(|error| Failure::new(format_args!("reading the password from standard input: {error}")))?;
    Ok(line(text))
}

fn line(mut text: String) -> Secret {
    if text.ends_with('\n') {
        text.pop();
    }
    if text.ends_with('\r') {
        text.pop();
    }
    Secret::new(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_side_s_own_counts_before_that_of_all() {
        let all = Access {
            username: Some("all".into()),
            password_stdin: true,
            ca_file: Some("all.pem".into()),
            ..Access::default()
        };
        let own = Access { username: Some("own".into()), plain_http: true, ..Access::default() };
        let merged = own.or(&all);
        assert_eq!(merged.username.as_deref(), Some("own"));
        assert!(merged.plain_http && !merged.password_stdin, "credentials are not mixed");
        assert_eq!(merged.ca_file, all.ca_file);
        assert_eq!(Access::default().or(&all), all);
    }

    #[test]
    fn halves_are_told() {
        for access in [
            Access { username: Some("u".into()), ..Access::default() },
            Access { password_file: Some("/nonexistent".into()), ..Access::default() },
        ] {
            assert!(access.credential().is_err());
        }
        let halves = Access { cert: Some("c.pem".into()), ..Access::default() };
        assert!(halves.apply(&mut Options::default()).is_err());
        assert!(Access::default().credential().unwrap().is_none());
    }

    #[test]
    fn one_line_end_is_left_out() {
        for (text, password) in [("s\r\n", "s"), ("s\n\n", "s\n"), ("s", "s"), (" s ", " s ")] {
            assert_eq!(line(text.to_owned()).expose(), password);
        }
    }
}
