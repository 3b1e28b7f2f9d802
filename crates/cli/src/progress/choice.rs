//! `--progress`: in which form a command tells how far it is.

/// What is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Choice {
    /// Bars on a terminal, plain lines elsewhere
    #[default]
    Auto,
    /// Bars, where there is a terminal
    Bars,
    /// Plain lines
    Plain,
    /// JSON objects on standard error, one a line
    Json,
    /// Nothing
    None,
}

/// What is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shown {
    Bars,
    Plain,
    Json,
    Nothing,
}

impl Choice {
    /// What can be shown where standard error is a terminal or is not. Bars need one.
    pub(crate) fn shown(self, terminal: bool) -> Shown {
        match self {
            Self::Auto | Self::Bars if terminal => Shown::Bars,
            Self::Auto | Self::Bars | Self::Plain => Shown::Plain,
            Self::Json => Shown::Json,
            Self::None => Shown::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_need_a_terminal() {
        assert_eq!([Choice::Auto, Choice::Bars].map(|choice| choice.shown(true)), [Shown::Bars; 2]);
        assert_eq!([Choice::Auto, Choice::Bars].map(|choice| choice.shown(false)), [Shown::Plain; 2]);
        for terminal in [true, false] {
            assert_eq!(Choice::Plain.shown(terminal), Shown::Plain);
            assert_eq!(Choice::Json.shown(terminal), Shown::Json);
            assert_eq!(Choice::None.shown(terminal), Shown::Nothing);
        }
    }
}
