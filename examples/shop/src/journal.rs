//! What the shop tells the person in front of it.
#![allow(clippy::print_stdout)]

use std::fmt::Display;

/// One line of what a service did.
pub fn say(service: &str, what: impl Display) {
    println!("   {service:<9} {what}");
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
