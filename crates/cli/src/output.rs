//! Results as JSON, for programs: `--json` and `--jq`.

use serde::{Serialize, Serializer};

use crate::failure::Failure;
use crate::jq::Expression;
use crate::ui::Ui;

/// For verbs whose result is text unless it is asked for as JSON.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Output {
    /// Print the result as JSON (+)
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    filter: Filter,
}

/// For verbs whose result is a JSON document anyway.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Filter {
    /// Print what this jq expression makes of the JSON; strings are printed raw, as by `jq -r` (+)
    #[arg(long, value_name = "EXPR", value_parser = Expression::new, allow_hyphen_values = true)]
    jq: Option<Expression>,
}

impl Output {
    /// Whether the result is wanted as JSON, whole or through an expression.
    pub(crate) fn wants_json(&self) -> bool {
        self.json || self.filter.jq.is_some()
    }

    /// Prints the result as JSON.
    pub(crate) fn print(&self, ui: &Ui, document: &impl Serialize) -> Result<(), Failure> {
        if self.filter.jq.is_none() && !ui.is_coloured() {
            return ui.stream_json(document);
        }
        let mut text = serde_json::to_vec_pretty(document).map_err(Failure::new)?;
        text.push(b'\n');
        self.filter.print(ui, &text)
    }
}

/// A list that is made as it is written: a large image has many files.
pub(crate) struct Each<F>(pub(crate) F);

impl<F, I> Serialize for Each<F>
where
    F: Fn() -> I,
    I: IntoIterator,
    I::Item: Serialize,
{
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq((self.0)())
    }
}

impl Filter {
    /// Prints a document: its bytes as they are, or what the expression makes of them.
    pub(crate) fn print(&self, ui: &Ui, document: &[u8]) -> Result<(), Failure> {
        match &self.jq {
            Some(expression) => expression.print(ui, document),
            None => ui.json(document),
        }
    }
}
