//! Who asks, as a name that tells nothing: what was given to one is never shown for another.

use auth::Credential;
use oci::Algorithm;

/// Makes the names of one directory worthless elsewhere.
#[derive(Clone)]
pub(crate) struct Salt([u8; Self::LENGTH]);

impl Salt {
    pub(super) const LENGTH: usize = 32;

    /// A new one, if the system has random numbers.
    pub(super) fn random() -> Option<Self> {
        let mut salt = [0; Self::LENGTH];
        let ring = rustls::crypto::ring::default_provider();
        ring.secure_random.fill(&mut salt).ok()?;
        Some(Self(salt))
    }

    pub(super) fn of(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The name of a credential: its user and its secret, so that a changed password makes another.
    pub(crate) fn identity(&self, credential: &Credential) -> String {
        match credential {
            Credential::Anonymous => self.name(&[b"anonymous"]),
            Credential::Basic { username, password } => {
                self.name(&[b"basic", username.as_bytes(), password.expose().as_bytes()])
            }
            Credential::IdentityToken { username, password, token } => {
                let secrets = [password, token].map(|secret| secret.expose().as_bytes());
                self.name(&[b"identity token", username.as_bytes(), secrets[0], secrets[1]])
            }
            Credential::RegistryToken(token) => self.name(&[b"registry token", token.expose().as_bytes()]),
        }
    }

    /// A name for a list of bytes; no other list has it.
    pub(super) fn name(&self, parts: &[&[u8]]) -> String {
        let mut hasher = Algorithm::Sha256.hasher();
        hasher.update(&self.0);
        for part in parts {
            hasher.update(&(part.len() as u64).to_be_bytes());
            hasher.update(part);
        }
        // 128 bits are enough to have no two alike.
        let mut name = hasher.finish().hex();
        name.truncate(32);
        name
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use auth::Secret;

    use super::*;

    #[test]
    fn nobody_has_the_name_of_another() {
        let (salt, other) = (Salt::random().unwrap(), Salt::random().unwrap());
        let basic = |user: &str, password: &str| Credential::basic(user, Secret::new(password));
        let token = |username: &str| Credential::IdentityToken {
            username: username.to_owned(),
            password: Secret::default(),
            token: Secret::new("p"),
        };
        let all = [
            Credential::Anonymous,
            basic("u", "p"),
            basic("u", "q"),
            basic("up", ""),
            basic("", "up"),
            token("u"),
            token(""),
            Credential::RegistryToken(Secret::new("p")),
        ];
        let names: BTreeSet<_> =
            all.iter().flat_map(|one| [salt.identity(one), other.identity(one)]).collect();
        assert_eq!(names.len(), 2 * all.len());
        assert_eq!(salt.identity(&all[1]), Salt::of(salt.as_bytes()).unwrap().identity(&all[1]));
        assert!(Salt::of(b"short").is_none());
    }
}
