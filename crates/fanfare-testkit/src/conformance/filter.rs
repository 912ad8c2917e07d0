//! Filter policies: what a subscription lets through.

use anyhow::{Result, ensure};

use super::aws::{Aws, refused};

/// A message to publish: its body, and its attributes by name, data type, value.
type Sample<'a> = (&'a str, &'a [(&'a str, &'a str, &'a str)]);

/// Publishes all samples to a queue with this policy; those whose body begins with "yes" arrive.
async fn judge(aws: &Aws, policy: &str, samples: &[Sample<'_>]) -> Result<()> {
    let (topic, queue) = aws.filtered(policy).await?;
    for (body, attributes) in samples {
        aws.publish_with(&topic, body, attributes).await?;
    }
    let mut expected: Vec<&str> =
        samples.iter().map(|(body, _)| *body).filter(|body| body.starts_with("yes")).collect();
    expected.sort_unstable();
    let arrived = queue.take_sorted(expected.len()).await?;
    ensure!(arrived == expected, "{policy} let {arrived:?} through, not {expected:?}");
    queue.stays_empty().await
}

pub(super) async fn an_exact_value_matches(aws: &Aws) -> Result<()> {
    let samples: &[Sample<'_>] = &[
        ("no: other value", &[("type", "String", "refunded")]),
        ("no: other case", &[("type", "String", "Placed")]),
        ("no: longer", &[("type", "String", "placed.v2")]),
        ("no: other attribute", &[("kind", "String", "placed")]),
        ("no attributes", &[]),
        ("yes: first", &[("type", "String", "placed")]),
        ("yes: second, among others", &[("type", "String", "paid"), ("x", "String", "y")]),
    ];
    judge(aws, r#"{"type": ["placed", "paid"]}"#, samples).await
}

pub(super) async fn all_keys_must_match(aws: &Aws) -> Result<()> {
    let samples: &[Sample<'_>] = &[
        ("no: one of two", &[("type", "String", "placed")]),
        ("no: the other differs", &[("type", "String", "placed"), ("shop", "String", "us")]),
        ("yes: both", &[("type", "String", "placed"), ("shop", "String", "eu")]),
    ];
    judge(aws, r#"{"type": ["placed"], "shop": ["eu"]}"#, samples).await
}

pub(super) async fn a_prefix_matches(aws: &Aws) -> Result<()> {
    let samples: &[Sample<'_>] = &[
        ("no: another event", &[("type", "String", "shop.orders.OrderPlacedTwice.v1")]),
        ("no: inside", &[("type", "String", "old.shop.orders.OrderPlaced.v1")]),
        ("yes: v1", &[("type", "String", "shop.orders.OrderPlaced.v1")]),
        ("yes: v2", &[("type", "String", "shop.orders.OrderPlaced.v2")]),
    ];
    judge(aws, r#"{"type": [{"prefix": "shop.orders.OrderPlaced."}]}"#, samples).await
}

pub(super) async fn a_suffix_matches(aws: &Aws) -> Result<()> {
    let samples: &[Sample<'_>] = &[
        ("no: prefix", &[("file", "String", ".png.txt")]),
        ("yes: suffix", &[("file", "String", "a.png")]),
    ];
    judge(aws, r#"{"file": [{"suffix": ".png"}]}"#, samples).await
}

pub(super) async fn equals_ignore_case_matches(aws: &Aws) -> Result<()> {
    let samples: &[Sample<'_>] = &[
        ("no: other word", &[("type", "String", "places")]),
        ("yes: upper", &[("type", "String", "PLACED")]),
        ("yes: mixed", &[("type", "String", "Placed")]),
    ];
    judge(aws, r#"{"type": [{"equals-ignore-case": "placed"}]}"#, samples).await
}

pub(super) async fn anything_but_matches_the_rest(aws: &Aws) -> Result<()> {
    let samples: &[Sample<'_>] = &[
        ("no: named", &[("type", "String", "placed")]),
        ("no: attribute missing", &[("x", "String", "y")]),
        ("no attributes", &[]),
        ("yes: another", &[("type", "String", "paid")]),
    ];
    judge(aws, r#"{"type": [{"anything-but": ["placed", "refunded"]}]}"#, samples).await
}

pub(super) async fn anything_but_a_prefix_matches_the_rest(aws: &Aws) -> Result<()> {
    let samples: &[Sample<'_>] = &[
        ("no: prefix", &[("type", "String", "shop.orders.OrderPlaced.v1")]),
        ("yes: another", &[("type", "String", "shop.products.Restocked.v1")]),
    ];
    judge(aws, r#"{"type": [{"anything-but": {"prefix": "shop.orders."}}]}"#, samples).await
}

pub(super) async fn a_numeric_range_matches_no_string(aws: &Aws) -> Result<()> {
    let samples: &[Sample<'_>] = &[
        ("no: a string", &[("amount", "String", "50")]),
        ("yes: a number", &[("amount", "Number", "50")]),
    ];
    judge(aws, r#"{"amount": [{"numeric": [">=", 10, "<", 100]}]}"#, samples).await
}

pub(super) async fn a_numeric_range_matches(aws: &Aws) -> Result<()> {
    let samples: &[Sample<'_>] = &[
        ("no: below", &[("amount", "Number", "9.99")]),
        ("no: the open end", &[("amount", "Number", "100")]),
        ("yes: the closed end", &[("amount", "Number", "10")]),
        ("yes: inside", &[("amount", "Number", "1.5e1")]),
    ];
    judge(aws, r#"{"amount": [{"numeric": [">=", 10, "<", 100]}]}"#, samples).await
}

pub(super) async fn a_numeric_equality_matches_by_value(aws: &Aws) -> Result<()> {
    let samples: &[Sample<'_>] = &[
        ("no: near", &[("n", "Number", "3.01")]),
        ("yes: written otherwise", &[("n", "Number", "3.0")]),
    ];
    judge(aws, r#"{"n": [{"numeric": ["=", 3]}]}"#, samples).await
}

pub(super) async fn exists_matches_presence_and_absence(aws: &Aws) -> Result<()> {
    let present: &[Sample<'_>] = &[
        ("no: absent", &[("x", "String", "y")]),
        ("no attributes", &[]),
        ("yes: present", &[("type", "String", "placed")]),
    ];
    judge(aws, r#"{"type": [{"exists": true}]}"#, present).await?;
    let absent: &[Sample<'_>] = &[
        ("no: present", &[("type", "String", "placed")]),
        ("yes: absent", &[("x", "String", "y")]),
    ];
    judge(aws, r#"{"type": [{"exists": false}]}"#, absent).await
}

pub(super) async fn any_element_of_a_string_array_matches(aws: &Aws) -> Result<()> {
    let samples: &[Sample<'_>] = &[
        ("no: none", &[("tags", "String.Array", r#"["red", "blue"]"#)]),
        ("yes: one", &[("tags", "String.Array", r#"["red", "green"]"#)]),
    ];
    judge(aws, r#"{"tags": ["green"]}"#, samples).await
}

pub(super) async fn or_matches_either_side(aws: &Aws) -> Result<()> {
    let samples: &[Sample<'_>] = &[
        ("no: neither", &[("type", "String", "placed"), ("shop", "String", "us")]),
        ("yes: left", &[("type", "String", "paid")]),
        ("yes: right", &[("type", "String", "placed"), ("shop", "String", "eu")]),
    ];
    judge(aws, r#"{"$or": [{"type": ["paid"]}, {"shop": ["eu"]}]}"#, samples).await
}

pub(super) async fn a_policy_on_the_body_looks_into_it(aws: &Aws) -> Result<()> {
    let (topic, queue) = (aws.topic().await?, aws.queue().await?);
    let attributes = [
        ("RawMessageDelivery", "true"),
        ("FilterPolicyScope", "MessageBody"),
        ("FilterPolicy", r#"{"data": {"shop": ["eu"]}}"#),
    ];
    aws.subscribe(&topic, &queue, attributes).await?;
    aws.publish(&topic, r#"{"data": {"shop": "us"}}"#).await?;
    aws.publish(&topic, r#"{"shop": "eu"}"#).await?;
    aws.publish(&topic, "not JSON").await?;
    let matching = r#"{"data": {"shop": "eu", "n": 1}}"#;
    aws.publish(&topic, matching).await?;
    queue.gets_only(matching).await
}

pub(super) async fn a_policy_that_is_none_is_refused(aws: &Aws) -> Result<()> {
    let (topic, queue) = (aws.topic().await?, aws.queue().await?);
    let subscription = aws.subscribe(&topic, &queue, []).await?;
    for policy in [
        "not JSON",
        r#"{"type": "placed"}"#,
        r#"{"type": [{"begins-with": "placed"}]}"#,
        r#"{"type": [{"numeric": ["><", 3]}]}"#,
    ] {
        let request = aws.sns.set_subscription_attributes().subscription_arn(&subscription);
        let request = request.attribute_name("FilterPolicy").attribute_value(policy);
        refused(request.send().await, "InvalidParameter")?;
    }
    Ok(())
}

pub(super) async fn a_policy_with_six_keys_is_refused(aws: &Aws) -> Result<()> {
    let (topic, queue) = (aws.topic().await?, aws.queue().await?);
    let policy = r#"{"a":["1"],"b":["1"],"c":["1"],"d":["1"],"e":["1"],"f":["1"]}"#;
    let request = aws.sns.subscribe().topic_arn(topic).protocol("sqs").endpoint(queue.arn);
    refused(request.attributes("FilterPolicy", policy).send().await, "InvalidParameter")
}

pub(super) async fn a_changed_policy_takes_effect(aws: &Aws) -> Result<()> {
    let (topic, queue) = (aws.topic().await?, aws.queue().await?);
    let attributes = [("RawMessageDelivery", "true"), ("FilterPolicy", r#"{"type": ["placed"]}"#)];
    let subscription = aws.subscribe(&topic, &queue, attributes).await?;
    aws.publish_with(&topic, "paid, too early", &[("type", "String", "paid")]).await?;
    aws.publish_with(&topic, "placed", &[("type", "String", "placed")]).await?;
    queue.gets_only("placed").await?;

    let request = aws.sns.set_subscription_attributes().subscription_arn(subscription);
    let policy = r#"{"type": ["paid"]}"#;
    request.attribute_name("FilterPolicy").attribute_value(policy).send().await?;
    aws.publish_with(&topic, "placed, too late", &[("type", "String", "placed")]).await?;
    aws.publish_with(&topic, "paid", &[("type", "String", "paid")]).await?;
    queue.gets_only("paid").await
}
