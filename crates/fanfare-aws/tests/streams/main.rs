//! Publishing to Kinesis streams, on the simulator under paused time.
#![allow(clippy::unwrap_used)]

mod ground;
mod order;
mod pace;
mod requests;
mod reshards;
mod troubles;

use fanfare_core::{Destination, Message, PublishReport, Publisher};
use fanfare_topology::Kinesis;
use ground::{Ground, message};
