//! A stack on CloudFormation.

use std::time::Duration;

use anyhow::{Context, bail};
use aws_config::SdkConfig;
use aws_sdk_cloudformation::{
    Client,
    error::{DisplayErrorContext, ProvideErrorMetadata},
    types::{Capability, Parameter, StackEvent, StackStatus},
};
use fanfare::topology::deploy::Template;
use tokio::time::{Instant, sleep};

/// How long a stack may take.
const PATIENCE: Duration = Duration::from_secs(900);

/// Between two looks at it.
const LOOK: Duration = Duration::from_millis(500);

/// One stack, by its name.
pub struct Stack {
    client: Client,
    name: String,
}

/// What putting a template did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    /// There was no such stack.
    Created,
    /// It was different.
    Changed,
    /// It was so already.
    Unchanged,
}

impl Stack {
    /// The stack of this name, there or not.
    pub fn new(config: &SdkConfig, name: &str) -> Self {
        Stack { client: Client::new(config), name: name.into() }
    }

    /// Makes the stack be as the template says, and waits until it is.
    ///
    /// # Errors
    /// It could not be made, or not within 15 minutes; the error names the resources that failed, and why.
    pub async fn put(
        &self,
        template: &Template,
        parameters: &[(&str, String)],
    ) -> anyhow::Result<Put> {
        let parameters = parameters.iter().map(|(name, value)| {
            Parameter::builder().parameter_key(*name).parameter_value(value).build()
        });
        let (body, parameters) = (template.body(), Some(parameters.collect()));
        let Some(status) = self.status().await? else {
            let request = self.client.create_stack().stack_name(&self.name).template_body(body);
            let request = request.set_parameters(parameters);
            let sent = request.capabilities(Capability::CapabilityIam).send().await;
            sent.map_err(|error| self.failed("created", error))?;
            self.settled(&StackStatus::CreateComplete).await?;
            return Ok(Put::Created);
        };
        if !matches!(
            status,
            StackStatus::CreateComplete
                | StackStatus::UpdateComplete
                | StackStatus::UpdateRollbackComplete
        ) {
            bail!("the stack {} is {status}: delete it first (shop infra delete)", self.name);
        }
        let request = self.client.update_stack().stack_name(&self.name).template_body(body);
        let request = request.set_parameters(parameters);
        match request.capabilities(Capability::CapabilityIam).send().await {
            Ok(_) => {}
            Err(error) if error.message().is_some_and(|text| text.contains(NOTHING_TO_DO)) => {
                return Ok(Put::Unchanged);
            }
            Err(error) => return Err(self.failed("changed", error)),
        }
        self.settled(&StackStatus::UpdateComplete).await?;
        Ok(Put::Changed)
    }

    /// Removes it, and waits until it is gone. One that is not there is passed over.
    ///
    /// # Errors
    /// It could not be removed, or not within 15 minutes.
    pub async fn delete(&self) -> anyhow::Result<()> {
        let sent = self.client.delete_stack().stack_name(&self.name).send().await;
        sent.map_err(|error| self.failed("removed", error))?;
        self.settled(&StackStatus::DeleteComplete).await
    }

    /// Its status; none if it is not there.
    async fn status(&self) -> anyhow::Result<Option<StackStatus>> {
        match self.client.describe_stacks().stack_name(&self.name).send().await {
            Ok(answer) => {
                let stack = answer.stacks.unwrap_or_default().into_iter().next();
                let status = stack.and_then(|stack| stack.stack_status);
                Ok(status.filter(|status| *status != StackStatus::DeleteComplete))
            }
            Err(error) if error.message().is_some_and(|text| text.contains("does not exist")) => {
                Ok(None)
            }
            Err(error) => Err(self.failed("read", error)),
        }
    }

    /// Waits until nothing is being done to it any more, and it is as wanted.
    async fn settled(&self, wanted: &StackStatus) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let status = self.status().await?.unwrap_or(StackStatus::DeleteComplete);
            if status == *wanted {
                return Ok(());
            }
            if !status.as_str().ends_with("_IN_PROGRESS") {
                bail!("the stack {} is {status}:{}", self.name, self.failures().await?);
            }
            if Instant::now() >= deadline {
                bail!("the stack {} is {status} after {PATIENCE:?}", self.name);
            }
            sleep(LOOK).await;
        }
    }

    /// What failed of it, and why; a line for each.
    async fn failures(&self) -> anyhow::Result<String> {
        let answer = self.client.describe_stack_events().stack_name(&self.name).send().await;
        let answer = answer.map_err(|error| self.failed("read", error)).context("its events")?;
        let line = |event: &StackEvent| {
            let failed = event.resource_status.as_ref()?.as_str().ends_with("_FAILED");
            let (id, reason) = (event.logical_resource_id()?, event.resource_status_reason()?);
            failed.then(|| format!("\n- {id}: {reason}"))
        };
        Ok(answer.stack_events().iter().filter_map(line).collect())
    }

    fn failed(&self, what: &str, error: impl std::error::Error) -> anyhow::Error {
        let error = DisplayErrorContext(&error);
        anyhow::anyhow!("the stack {} could not be {what}: {error}", self.name)
    }
}

/// What CloudFormation says if a template changes nothing.
const NOTHING_TO_DO: &str = "No updates are to be performed";
