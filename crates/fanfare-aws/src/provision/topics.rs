//! Topics.

use fanfare_topology::{Kind, PlannedTopic};

use super::{ProvisionError, Provisioned, failed, subscriptions};
use crate::{
    Aws,
    failure::{Class, Failure},
};

pub(super) async fn ensure(
    aws: &Aws,
    topic: &PlannedTopic,
    report: &mut Provisioned,
) -> Result<(), ProvisionError> {
    let resource = format!("topic {}", topic.name);
    // CreateTopic would not say whether it was there.
    let found = aws.sns().get_topic_attributes().topic_arn(aws.topic_arn(&topic.name)).send().await;
    match found {
        Ok(_) => {
            report.unchanged += 1;
            return Ok(());
        }
        Err(error) if Failure::of(&error).class == Class::NotFound => {}
        Err(error) => return Err(failed("reading", &resource)(error)),
    }
    let mut request = aws.sns().create_topic().name(&topic.name);
    if topic.kind == Kind::Fifo {
        request = request.attributes("FifoTopic", "true");
    }
    let created = request.send().await.map_err(failed("creating", &resource))?;
    let (expected, actual) = (aws.topic_arn(&topic.name), created.topic_arn.unwrap_or_default());
    if expected != actual {
        return Err(ProvisionError::OtherAccount { expected, actual });
    }
    report.created(resource);
    Ok(())
}

pub(super) async fn remove(
    aws: &Aws,
    topic: &PlannedTopic,
    report: &mut Provisioned,
) -> Result<(), ProvisionError> {
    let resource = format!("topic {}", topic.name);
    let arn = aws.topic_arn(&topic.name);
    let Some(subscriptions) = subscriptions::list(aws, &arn, &topic.name).await? else {
        return Ok(());
    };
    for subscription in subscriptions.into_values() {
        let request = aws.sns().unsubscribe().subscription_arn(subscription);
        request.send().await.map_err(failed("removing a subscription of", &resource))?;
    }
    let request = aws.sns().delete_topic().topic_arn(arn);
    request.send().await.map_err(failed("removing", &resource))?;
    report.removed(resource);
    Ok(())
}
