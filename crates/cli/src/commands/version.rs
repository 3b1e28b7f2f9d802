use crate::failure::Failure;
use crate::ui::Ui;

/// Print the version
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(ui: &Ui, _: &Args) -> Result<(), Failure> {
    ui.println(env!("CARGO_PKG_VERSION"))
}
