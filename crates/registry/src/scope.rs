//! What a token is for (distribution's token scope grammar): `repository:name:pull,push`.

use std::collections::BTreeSet;
use std::fmt;

/// One resource and the actions wanted on it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Scope {
    resource: String,
    actions: BTreeSet<String>,
}

impl Scope {
    pub(crate) fn pull(path: &str) -> Self {
        Self::repository(path, &["pull"])
    }

    pub(crate) fn push(path: &str) -> Self {
        Self::repository(path, &["pull", "push"])
    }

    /// `delete` goes beside the other two: some token servers give it to nobody who asks for it alone.
    pub(crate) fn delete(path: &str) -> Self {
        Self::repository(path, &["pull", "push", "delete"])
    }

    /// The list of a registry's repositories.
    pub(crate) fn catalog() -> Self {
        Self { resource: "registry:catalog".to_owned(), actions: BTreeSet::from(["*".to_owned()]) }
    }

    fn repository(path: &str, actions: &[&str]) -> Self {
        let actions = actions.iter().map(|&action| action.to_owned()).collect();
        Self { resource: format!("repository:{path}"), actions }
    }

    /// The scopes of a challenge's `scope`, which are separated by spaces. What has no actions is passed over.
    pub(crate) fn parse_list(text: &str) -> Vec<Self> {
        let parse = |scope: &str| {
            let (resource, actions) = scope.rsplit_once(':')?;
            let actions = actions.split(',').map(str::to_owned).collect();
            Some(Self { resource: resource.to_owned(), actions })
        };
        text.split_ascii_whitespace().filter_map(parse).collect()
    }

    /// Whether a token for `granted` serves all of `needed`.
    pub(crate) fn covers(granted: &[Self], needed: &[Self]) -> bool {
        needed.iter().all(|need| {
            granted
                .iter()
                .any(|grant| grant.resource == need.resource && grant.actions.is_superset(&need.actions))
        })
    }

    /// Adds `more` to `scopes`, joining the actions on the same resource.
    pub(crate) fn join(scopes: &mut Vec<Self>, more: &[Self]) {
        for scope in more {
            match scopes.iter_mut().find(|known| known.resource == scope.resource) {
                Some(known) => known.actions.extend(scope.actions.iter().cloned()),
                None => scopes.push(scope.clone()),
            }
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let actions: Vec<&str> = self.actions.iter().map(String::as_str).collect();
        write!(f, "{}:{}", self.resource, actions.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn covering_and_joining() {
        let mut scopes = vec![Scope::pull("a")];
        assert!(Scope::covers(&[Scope::push("a")], &scopes));
        assert!(!Scope::covers(&scopes, &[Scope::push("a")]));
        Scope::join(&mut scopes, &Scope::parse_list("repository:a:push registry:catalog:* junk"));
        let printed: Vec<String> = scopes.iter().map(Scope::to_string).collect();
        assert_eq!(printed, ["repository:a:pull,push", "registry:catalog:*"]);
        assert!(Scope::covers(&scopes, &[Scope::push("a")]));
    }
}
