//! The templates that are checked in.

use fanfare::topology::deploy::Refused;

use super::deployment;
use crate::topology::OrdersOn;

/// What writes them.
pub const EXPORT: &str = "cargo run -p shop -- infra export";

/// A template's file.
pub struct File {
    /// Its name in the folder.
    pub name: &'static str,
    /// What is in it.
    pub text: String,
}

/// All of them: the shop with orders on SNS, for CloudFormation and for SAM, and with orders on Kinesis.
///
/// # Errors
/// The shop cannot be deployed as it is.
pub fn files() -> Result<[File; 3], Refused> {
    let sns = deployment("shop", OrdersOn::Sns);
    let kinesis = deployment("shop", OrdersOn::Kinesis);
    let file = |name, text| File { name, text };
    Ok([
        file("shop.json", sns.cloudformation()?.to_string()),
        file("shop-sam.json", sns.sam()?.to_string()),
        file("shop-kinesis.json", kinesis.cloudformation()?.to_string()),
    ])
}
