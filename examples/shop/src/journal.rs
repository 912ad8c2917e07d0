//! What the shop tells the person in front of it.
#![allow(clippy::print_stdout)]

use std::fmt::Display;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;

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
#[cfg(feature = "cli")]
pub fn scene(title: &str) {
    println!("\n{title}");
}

/// Anything else, as it is, indented.
#[cfg(feature = "cli")]
pub fn note(text: impl Display) {
    for line in text.to_string().lines() {
        println!("   {line}");
    }
}

/// What is logged: what `RUST_LOG` says (`info`, `fanfare_aws=debug`), else the usual.
pub fn wanted(usual: LevelFilter) -> Targets {
    let wanted = std::env::var("RUST_LOG").ok().and_then(|text| text.parse().ok());
    wanted.unwrap_or_else(|| Targets::new().with_default(usual))
}
