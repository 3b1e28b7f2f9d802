//! What a command works with.

use std::sync::Arc;

use oci::{Reference, Repository};
use registry::{Client, Options, RegistryStore};
use store::{Event, Observer};

use crate::failure::Failure;
use crate::settings::Settings;
use crate::ui::Ui;

/// The settings, the output, and the client that all of a command's requests go through.
#[derive(Clone)]
pub(crate) struct Context {
    pub(crate) settings: Settings,
    pub(crate) ui: Ui,
    client: Client,
}

impl Context {
    pub(crate) fn new(settings: Settings, ui: Ui) -> Result<Self, Failure> {
        let keychain = auth::Keychain::load(&auth::Locations::from_lookup(|name| std::env::var_os(name)))?;
        let mut options = Options::default();
        options.insecure = settings.insecure;
        options.observer = Arc::new(Notes(ui.clone()));
        options.stall = settings.stall.unwrap_or(options.stall);
        Ok(Self { settings, client: Client::new(options, keychain), ui })
    }

    /// The same, but for the output.
    pub(crate) fn with_ui(&self, ui: Ui) -> Self {
        Self { ui, ..self.clone() }
    }

    /// A repository to read from.
    pub(crate) fn store(&self, repository: &Repository) -> RegistryStore {
        self.client.repository(repository)
    }

    /// Parses a reference and opens its repository to read from.
    pub(crate) fn open(&self, reference: &str) -> Result<(RegistryStore, Reference), Failure> {
        let reference: Reference = reference.parse()?;
        Ok((self.store(reference.repository()), reference))
    }
}

/// Tells what the client has to say.
struct Notes(Ui);

impl Observer for Notes {
    fn event(&self, event: &Event<'_>) {
        match event {
            Event::Warned(text) => self.0.warn(text),
            Event::Retried { reason, wait } => {
                self.0.log(&format!("retrying in {:.1} s: {reason}", wait.as_secs_f64()));
            }
            _ => {}
        }
    }
}
