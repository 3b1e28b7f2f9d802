//! What `mutate` changes of an image: annotations, labels, environment and the like.

use async_trait::async_trait;
use oci::Platform;
use oci::json::{List, Object};

use crate::draft::invalid;
use crate::{Created, Draft, Edit, Error, NewLayer};

/// What is to be changed; what is not named stays as it is.
#[derive(Clone, Debug, Default)]
pub struct Mutation {
    /// Annotations of every image that is changed, and of the index if all of it is.
    pub annotations: Vec<Setting>,
    /// Labels.
    pub labels: Vec<Setting>,
    /// Variables of the environment, which keep their places.
    pub env: Vec<Setting>,
    /// The entrypoint; empty for none.
    pub entrypoint: Option<Vec<String>>,
    /// The arguments; empty for none.
    pub cmd: Option<Vec<String>>,
    /// The user; empty for none.
    pub user: Option<String>,
    /// The working directory; empty for none.
    pub workdir: Option<String>,
    /// All ports, such as `80/tcp`; empty for none.
    pub ports: Option<Vec<String>>,
    /// The platform. Only for one image.
    pub platform: Option<Platform>,
    /// Layers to put on top.
    pub layers: Vec<NewLayer>,
    /// When the image was made.
    pub created: Option<Created>,
}

/// One key to be set or taken away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Setting {
    /// A key and its value, which may be empty.
    Set(String, String),
    /// A key that is to be gone.
    Remove(String),
}

impl Setting {
    /// A key and its value.
    pub fn set(key: impl Into<String>, value: impl Into<String>) -> Self {
        Self::Set(key.into(), value.into())
    }

    /// The key.
    pub fn key(&self) -> &str {
        match self {
            Self::Set(key, _) | Self::Remove(key) => key,
        }
    }

    fn apply(&self, map: &mut Object) -> Result<(), oci::json::Error> {
        match self {
            Self::Set(key, value) => map.set(key, value)?,
            Self::Remove(key) => drop(map.remove(key)),
        }
        Ok(())
    }
}

impl Mutation {
    fn touches_config(&self) -> bool {
        let settings = !self.labels.is_empty() || !self.env.is_empty();
        let commands = self.entrypoint.is_some() || self.cmd.is_some();
        let rest = self.user.is_some() || self.workdir.is_some() || self.ports.is_some();
        settings || commands || rest || self.platform.is_some() || self.created.is_some()
    }

    /// The members of the configuration's `config`.
    fn change(&self, config: &mut Object, windows: bool) -> Result<(), oci::json::Error> {
        if !self.labels.is_empty() {
            config.edit_object("Labels", |labels| {
                self.labels.iter().try_for_each(|label| label.apply(labels))
            })?;
        }
        if !self.env.is_empty() {
            config.edit_list("Env", |env| {
                self.env.iter().try_for_each(|variable| set(env, variable, windows))
            })?;
        }
        let lists = [("Entrypoint", &self.entrypoint), ("Cmd", &self.cmd)];
        for (key, list) in lists.into_iter().filter_map(|(key, list)| Some((key, list.as_ref()?))) {
            if list.is_empty() {
                config.remove(key);
            } else {
                config.set(key, list)?;
            }
        }
        for (key, text) in [("User", &self.user), ("WorkingDir", &self.workdir)] {
            if let Some(text) = text {
                config.set(key, text)?;
            }
        }
        if let Some(ports) = &self.ports {
            let mut all = Object::default();
            ports.iter().try_for_each(|port| all.set(port, &Object::default()))?;
            if all.is_empty() {
                config.remove("ExposedPorts");
            } else {
                config.set("ExposedPorts", &all)?;
            }
        }
        Ok(())
    }
}

#[async_trait]
impl Edit for Mutation {
    async fn image(&self, draft: &mut Draft) -> Result<(), Error> {
        for layer in &self.layers {
            draft.append(layer, &step("hoist mutate --append", self.created)?).await?;
        }
        if self.touches_config() {
            let document = draft.config().await?;
            let windows = document.read::<String>("os").map_err(invalid)?.is_some_and(|os| os == "windows");
            document.edit_object("config", |config| self.change(config, windows)).map_err(invalid)?;
            if let Some(platform) = &self.platform {
                set_platform(document, platform).map_err(invalid)?;
            }
            if let Some(created) = self.created {
                document.set("created", &created).map_err(invalid)?;
            }
        }
        self.index(draft.manifest())
    }

    fn index(&self, document: &mut Object) -> Result<(), Error> {
        if self.annotations.is_empty() {
            return Ok(());
        }
        let apply =
            |map: &mut Object| self.annotations.iter().try_for_each(|annotation| annotation.apply(map));
        document.edit_object("annotations", apply).map_err(invalid)
    }

    fn is_for_one(&self) -> bool {
        self.platform.is_some()
    }

    fn keeps_files(&self) -> bool {
        self.layers.is_empty()
    }
}

/// A step of the history.
pub(crate) fn step(by: &str, created: Option<Created>) -> Result<Object, Error> {
    let mut step = Object::default();
    if let Some(created) = created {
        step.set("created", &created).map_err(invalid)?;
    }
    step.set("created_by", by).map_err(invalid)?;
    Ok(step)
}

/// Sets a variable where it stands, or behind all others; takes all of its name away. Names on Windows have no case, and new ones
/// are written in capitals.
fn set(env: &mut List, setting: &Setting, windows: bool) -> Result<(), oci::json::Error> {
    let name = if windows { setting.key().to_uppercase() } else { setting.key().to_owned() };
    let is_it = |text: &str| {
        let found = text.split_once('=').map_or(text, |(name, _)| name);
        if windows { found.to_uppercase() == name } else { found == name }
    };
    let texts: Vec<Option<String>> = env.texts().map(|text| serde_json::from_str(text).ok()).collect();
    let places: Vec<usize> = (0..texts.len()).filter(|at| texts[*at].as_deref().is_some_and(is_it)).collect();
    match (setting, places.as_slice()) {
        (Setting::Set(_, value), []) => env.push(&format!("{name}={value}"))?,
        (Setting::Set(_, value), [first, rest @ ..]) => {
            // As it is written there, for on Windows that may be another way.
            let found = texts[*first].as_deref().unwrap_or_default();
            let name = found.split_once('=').map_or(found, |(name, _)| name);
            env.set(*first, &format!("{name}={value}"))?;
            rest.iter().rev().for_each(|at| env.remove(*at));
        }
        (Setting::Remove(_), places) => places.iter().rev().for_each(|at| env.remove(*at)),
    }
    Ok(())
}

/// Writes a platform into a configuration: all of it, so that nothing of the old one is left.
pub(crate) fn set_platform(document: &mut Object, platform: &Platform) -> Result<(), oci::json::Error> {
    document.set("os", &platform.os)?;
    document.set("architecture", &platform.architecture)?;
    for (key, value) in [("variant", &platform.variant), ("os.version", &platform.os_version)] {
        match value {
            Some(value) => document.set(key, value)?,
            None => drop(document.remove(key)),
        }
    }
    match &platform.os_features[..] {
        [] => drop(document.remove("os.features")),
        features => document.set("os.features", features)?,
    }
    Ok(())
}
