//! The service products as a function on AWS Lambda.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), shop::lambda::Error> {
    shop::lambda::run_consumer("products").await
}
