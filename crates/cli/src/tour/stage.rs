//! Runs commands as if they had been typed, and shows them with their output.

use layer::{Decoder, Limits, Table};

use crate::args::Args;
use crate::commands;
use crate::context::Context;
use crate::failure::Failure;
use crate::ui::{Captured, Ui};

/// Of a command's notes, how many of the first and of the last lines are shown.
const NOTES: (usize, usize) = (4, 3);

pub(crate) struct Stage<'a> {
    context: &'a Context,
    ui: &'a Ui,
}

impl<'a> Stage<'a> {
    /// Commands work with `context`; what they print is shown on `ui`.
    pub(crate) fn new(context: &'a Context, ui: &'a Ui) -> Self {
        Self { context, ui }
    }

    /// Says something to the audience.
    pub(crate) fn say(&self, text: &str) -> Result<(), Failure> {
        let lines: Vec<String> = text.lines().map(|line| format!("# {line}")).collect();
        self.ui.println(&format!("\n{}", self.paint("2", &lines.join("\n"))))
    }

    /// Runs a command and shows it with its output.
    pub(crate) async fn show(&self, command: &str) -> Result<(), Failure> {
        self.prompt(command)?;
        let captured = self.run(command).await?;
        self.notes(&captured)?;
        let out = captured.out();
        self.ui.print(&out)?;
        // A prompt never follows an open line.
        if out.last().is_some_and(|&last| last != b'\n') { self.ui.println("") } else { Ok(()) }
    }

    /// Shows what `tar` lists of a command's output.
    pub(crate) async fn show_listing(&self, command: &str) -> Result<(), Failure> {
        self.prompt(&format!("{command} | tar t"))?;
        let archive = self.run(command).await?.out();
        let unreadable = |error: layer::Error| Failure::new(format_args!("listing the archive: {error}"));
        let inflated = Decoder::new(archive.as_slice())
            .map_err(|source| unreadable(layer::Error::Read { offset: 0, source }))?;
        let table = Table::scan(inflated, std::io::sink(), Limits::default()).map_err(unreadable)?;
        for entry in table.entries {
            let slash = if matches!(entry.kind, layer::Kind::Directory) { "/" } else { "" };
            self.ui.println(&format!("{}{slash}", String::from_utf8_lossy(&entry.path)))?;
        }
        Ok(())
    }

    /// Shows that two commands print the same.
    pub(crate) async fn show_diff(&self, one: &str, other: &str) -> Result<(), Failure> {
        self.prompt(&format!("diff <({one}) <({other}) && echo identical"))?;
        if self.run(one).await?.out() != self.run(other).await?.out() {
            return Err(Failure::new(format_args!("`{one}` and `{other}` print different things")));
        }
        self.ui.println("identical")
    }

    fn prompt(&self, command: &str) -> Result<(), Failure> {
        self.ui.println(&format!("$ {}", self.paint("1", command)))
    }

    /// Parses the words of a command and runs it as the program would.
    async fn run(&self, command: &str) -> Result<Captured, Failure> {
        let args = Args::read(command.split(' ').map(Into::into)).map_err(Failure::new)?;
        let (ui, captured) = Ui::captured();
        let mut context = self.context.with_ui(ui);
        context.settings.platforms = args.global.platform;
        if let Some(command) = args.command {
            // The verbs know the tour, and the tour the verbs: a box ends the circle.
            Box::pin(commands::run(command, &context)).await?;
        }
        Ok(captured)
    }

    /// Notes go to standard error when the command is typed; here they are told apart by their colour.
    fn notes(&self, captured: &Captured) -> Result<(), Failure> {
        let text = captured.err();
        let lines: Vec<&str> = text.lines().collect();
        let (first, last) = NOTES;
        let shown: Vec<String> = if lines.len() <= first + last + 1 {
            lines.iter().map(|&line| line.to_owned()).collect()
        } else {
            let left_out = format!("… {} more lines …", lines.len() - first - last);
            let head = lines[..first].iter().map(|&line| line.to_owned());
            let tail = lines[lines.len() - last..].iter().map(|&line| line.to_owned());
            head.chain([left_out]).chain(tail).collect()
        };
        for line in shown {
            self.ui.println(&self.paint("36", &line))?;
        }
        Ok(())
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.ui.out_colour { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}
