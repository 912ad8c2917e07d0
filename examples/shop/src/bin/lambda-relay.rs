//! What a service has recorded is published by this function on AWS Lambda.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), shop::lambda::Error> {
    shop::lambda::run_relay().await
}
