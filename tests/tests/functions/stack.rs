//! A CloudFormation stack on LocalStack.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use aws_sdk_cloudformation::{
    Client,
    types::{Capability, Parameter, Stack as Described},
};

/// How long a change may take; far more than it needs.
const PATIENCE: Duration = Duration::from_secs(120);

const POLL: Duration = Duration::from_millis(200);

/// One stack.
pub(crate) struct Stack {
    client: Client,
    name: String,
}

impl Stack {
    pub(crate) fn new(config: &aws_config::SdkConfig, name: &str) -> Self {
        Stack { client: Client::new(config), name: name.into() }
    }

    pub(crate) async fn create(&self, template: &str, parameters: &[(&str, &str)]) -> Result<()> {
        let request = self.client.create_stack().stack_name(&self.name).template_body(template);
        let request = request.capabilities(Capability::CapabilityNamedIam);
        request.set_parameters(Some(given(parameters))).send().await?;
        self.settled("CREATE_COMPLETE").await
    }

    pub(crate) async fn update(&self, template: &str, parameters: &[(&str, &str)]) -> Result<()> {
        let request = self.client.update_stack().stack_name(&self.name).template_body(template);
        let request = request.capabilities(Capability::CapabilityNamedIam);
        request.set_parameters(Some(given(parameters))).send().await?;
        self.settled("UPDATE_COMPLETE").await
    }

    pub(crate) async fn delete(&self) -> Result<()> {
        let id = self.described().await?.stack_id.context("a stack without an id")?;
        self.client.delete_stack().stack_name(&self.name).send().await?;
        Stack { client: self.client.clone(), name: id }.settled("DELETE_COMPLETE").await
    }

    async fn settled(&self, wanted: &str) -> Result<()> {
        let start = Instant::now();
        loop {
            let stack = self.described().await?;
            let status = stack.stack_status.map(|status| status.as_str().to_owned());
            let status = status.unwrap_or_default();
            if status == wanted {
                return Ok(());
            }
            if !status.ends_with("_IN_PROGRESS") || start.elapsed() > PATIENCE {
                let reason = stack.stack_status_reason.unwrap_or_default();
                bail!("stack {} is {status}, not {wanted}: {reason}", self.name);
            }
            tokio::time::sleep(POLL).await;
        }
    }

    async fn described(&self) -> Result<Described> {
        let answer = self.client.describe_stacks().stack_name(&self.name).send().await?;
        answer.stacks.unwrap_or_default().pop().context("no such stack")
    }
}

fn given(parameters: &[(&str, &str)]) -> Vec<Parameter> {
    let parameter = |(key, value): &(&str, &str)| {
        Parameter::builder().parameter_key(*key).parameter_value(*value).build()
    };
    parameters.iter().map(parameter).collect()
}
