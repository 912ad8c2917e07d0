//! The simulator on a port.
fn main() {}
