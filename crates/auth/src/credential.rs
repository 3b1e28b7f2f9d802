//! What a registry is given, and where it came from.

use std::fmt;
use std::path::PathBuf;

use crate::Secret;

/// What to show a registry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Credential {
    /// Nothing.
    #[default]
    Anonymous,
    /// A user and a password, for basic authentication or for the token service.
    Basic {
        /// The user; not taken for a secret.
        username: String,
        /// The password.
        password: Secret,
    },
    /// A refresh token, which the token service turns into bearer tokens (docker's `identitytoken`).
    IdentityToken {
        /// The user that stands beside it in the file; empty if there is none.
        username: String,
        /// The password that stands beside it, for a registry that asks for one; empty if there is none.
        password: Secret,
        /// The token.
        token: Secret,
    },
    /// A bearer token that the registry takes as it is (docker's `registrytoken`).
    RegistryToken(Secret),
}

impl Credential {
    /// Basic authentication.
    pub fn basic(username: impl Into<String>, password: Secret) -> Self {
        Self::Basic { username: username.into(), password }
    }

    /// An identity token with nobody's name on it.
    pub fn identity_token(token: Secret) -> Self {
        Self::IdentityToken { username: String::new(), password: Secret::default(), token }
    }

    /// Its kind, for programs: `anonymous`, `basic`, `identity-token` or `registry-token`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Anonymous => "anonymous",
            Self::Basic { .. } => "basic",
            Self::IdentityToken { .. } => "identity-token",
            Self::RegistryToken(_) => "registry-token",
        }
    }

    /// The user, if there is one.
    pub fn username(&self) -> Option<&str> {
        match self {
            Self::Basic { username, .. } | Self::IdentityToken { username, .. } => {
                Some(username.as_str()).filter(|username| !username.is_empty())
            }
            Self::Anonymous | Self::RegistryToken(_) => None,
        }
    }
}

/// In words, without what is secret.
impl fmt::Display for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self, self.username()) {
            (Self::Anonymous, _) => f.write_str("nothing"),
            (Self::Basic { .. }, Some(username)) => f.write_str(username),
            (Self::Basic { .. }, None) => f.write_str("a password without a user"),
            (Self::IdentityToken { .. }, Some(username)) => write!(f, "an identity token of {username}"),
            (Self::IdentityToken { .. }, None) => f.write_str("an identity token"),
            (Self::RegistryToken(_), _) => f.write_str("a registry token"),
        }
    }
}

/// A credential and who gave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The credential.
    pub credential: Credential,
    /// Who gave it.
    pub origin: Origin,
}

/// Who gave a credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nobody had one; the credential is [`Credential::Anonymous`].
    Nowhere,
    /// An entry under `auths` of a file.
    File {
        /// The file.
        path: PathBuf,
        /// The entry's key, as the file spells it.
        key: String,
    },
    /// A credential helper.
    Helper {
        /// The file that names the helper.
        path: PathBuf,
        /// The helper, without `docker-credential-`.
        name: String,
        /// What the helper was asked for.
        server: String,
    },
    /// A variable of the environment.
    Variable {
        /// Its name.
        name: &'static str,
    },
    /// The caller ([`Keychain::given`](crate::Keychain::given)).
    Given,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nowhere => f.write_str("nowhere"),
            Self::File { path, key } => write!(f, "the entry {key:?} in {}", path.display()),
            Self::Helper { path, name, server } => {
                write!(f, "docker-credential-{name}, asked for {server:?} as {} says", path.display())
            }
            Self::Variable { name } => write!(f, "the variable {name}"),
            Self::Given => f.write_str("the command line"),
        }
    }
}
