//! Results as JSON, for programs: `--json` and `--jq`.

use serde::Serialize;

use crate::failure::Failure;
use crate::ui::Ui;

/// For verbs whose result is text unless it is asked for as JSON.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Output {
    /// Print the result as JSON (+)
    #[arg(long)]
    json: bool,
    /// Print what this jq expression makes of the JSON; strings are printed raw, as by `jq -r` (+)
    #[arg(long, value_name = "EXPR")]
    jq: Option<String>,
}

impl Output {
    /// Whether the result is wanted as JSON, whole or through an expression.
    pub(crate) fn wants_json(&self) -> bool {
        self.json || self.jq.is_some()
    }

    /// Prints the result as JSON.
    pub(crate) fn print(&self, ui: &Ui, document: &impl Serialize) -> Result<(), Failure> {
        if let Some(expression) = &self.jq {
            return Err(Failure::new(format_args!("--jq {expression:?}: expressions are not known yet")));
        }
        let mut text = serde_json::to_vec_pretty(document).map_err(Failure::new)?;
        text.push(b'\n');
        ui.json(&text)
    }
}
