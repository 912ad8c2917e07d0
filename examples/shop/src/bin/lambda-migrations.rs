//! The tables of all services are made by this function on AWS Lambda.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), shop::lambda::Error> {
    shop::lambda::run_migrations().await
}
