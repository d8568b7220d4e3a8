//! What is wrong with a command line, in one line.

use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::{Error, Kind, escape::Escaped};

/// clap's error as one line; its own text has several, and prints arguments as they are.
pub fn one_line(e: &clap::Error) -> Error {
    let context = |kind| match e.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        Some(ContextValue::Strings(texts)) => texts.first().map(String::as_str),
        _ => None,
    };
    let option = context(ContextKind::InvalidArg).unwrap_or_default();
    let name = Escaped::text(option.split([' ', '=']).next().unwrap_or(option));
    let verb = Escaped::text(context(ContextKind::InvalidSubcommand).unwrap_or_default());
    let text = match (e.kind(), context(ContextKind::InvalidValue)) {
        (ErrorKind::InvalidSubcommand, _) => format!("Unknown verb '{verb}'"),
        (ErrorKind::UnknownArgument, _) if !option.starts_with('-') => format!("Unexpected argument '{}'", Escaped::text(option)),
        (ErrorKind::UnknownArgument, _) => format!("Unknown option '{}'", Escaped::text(option)),
        (ErrorKind::InvalidValue, None | Some("")) => format!("Option {name} needs a value"),
        (ErrorKind::TooManyValues, _) => format!("Option {name} takes no value"),
        (kind, _) => format!("Option {name}: {}", kind.as_str().unwrap_or("invalid use")),
    };
    let error = Error::new(Kind::Usage, text);
    match context(ContextKind::SuggestedArg).or(context(ContextKind::SuggestedSubcommand)) {
        Some(other) => error.hint(format!("did you mean '{}'?", Escaped::text(other))),
        None => error,
    }
}
