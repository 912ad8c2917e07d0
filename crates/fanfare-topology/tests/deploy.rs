//! From a topology and its functions to a template.
#![allow(clippy::unwrap_used)]

mod deploy {
    mod encrypted;
    mod findings;
    mod payloads;
    mod resources;
    mod rights;
    mod system;
    mod template;
}
