//! What the shop tells the person in front of it.
#![allow(clippy::print_stdout)]

use std::fmt::Display;

use indicatif::{ProgressBar, ProgressStyle};

/// What a service did: one line, or a few.
pub fn say(service: &str, what: impl Display) {
    let what = what.to_string();
    let mut lines = what.lines();
    println!("   {service:<14} {}", lines.next().unwrap_or_default());
    for line in lines {
        println!("   {:<14} {line}", "");
    }
}

/// The title of a scene.
pub fn scene(title: &str) {
    println!("\n{title}");
}

/// Anything else, as it is, indented.
pub fn note(text: impl Display) {
    for line in text.to_string().lines() {
        println!("   {line}");
    }
}

/// A progress bar on standard error, where that is a terminal.
pub fn bar(what: &'static str) -> ProgressBar {
    let style =
        ProgressStyle::with_template("   {msg} {wide_bar} {pos} of {len} events, {eta} left");
    ProgressBar::new(0)
        .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        .with_message(what)
}
