//! How far something is that takes a while.

use indicatif::{ProgressBar, ProgressStyle};

/// A progress bar on standard error, where that is a terminal.
pub fn bar(what: &'static str) -> ProgressBar {
    let style =
        ProgressStyle::with_template("   {msg} {wide_bar} {pos} of {len} events, {eta} left");
    ProgressBar::new(0)
        .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        .with_message(what)
}
