use std::sync::{Arc, Mutex};

use fanfare_core::{Consumer, Outcome, Policy, Router};
use fanfare_lambda::{kinesis, sns, sqs};
use serde_json::{Value, json};

use crate::world::{World, event, failures, invoke, message, notification, order, placed};

/// The outcomes that an observer sees.
fn observed(consumer: Consumer) -> (Consumer, Arc<Mutex<Vec<Outcome>>>) {
    let outcomes = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&outcomes);
    (consumer.observe(move |_, outcome| seen.lock().unwrap().push(outcome.clone())), outcomes)
}

fn unknown(id: &str) -> Value {
    let mut event = placed("a");
    event["type"] = "shop.orders.OrderPaid.v1".into();
    let mut unknown = message(id);
    unknown["body"] = event.to_string().into();
    unknown
}

#[tokio::test(start_paused = true)]
async fn with_dead_letters_a_reject_is_put_there_and_acknowledged() {
    let world = World::default();
    let function = sqs(world.consumer()).dead_letters(world.clone());
    let batch = event([message("reject"), unknown("m-2")]);
    assert_eq!(invoke(&function, batch).await.unwrap(), failures(&[]));
    let mut letters = world.letters();
    letters.sort();
    let unknown = "unknown type tag `shop.orders.OrderPaid.v1`: no handler";
    let expected = [("m-2", unknown), ("reject", "rejected: no address")];
    assert_eq!(letters, expected.map(|(id, reason)| (id.into(), reason.into())));
}

#[tokio::test(start_paused = true)]
async fn without_dead_letters_a_reject_is_reported_and_its_error_says_why() {
    let (consumer, outcomes) = observed(World::default().consumer());
    let batch = event([message("reject"), unknown("m-2")]);
    let mut response = invoke(&sqs(consumer), batch).await.unwrap();
    let reported = response["batchItemFailures"].as_array_mut().unwrap();
    assert_eq!(
        reported,
        &[json!({ "itemIdentifier": "reject" }), json!({ "itemIdentifier": "m-2" })]
    );
    for outcome in outcomes.lock().unwrap().iter() {
        let Outcome::Failed { error, .. } = outcome else { panic!("{outcome:?}") };
        let why = error.contains("no address") || error.contains("no handler");
        assert!(why && error.contains("reports it as failed"), "{error}");
    }

    let stream = event([order("4", "k1", "reject"), order("5", "k2", "a")]);
    let response = invoke(&kinesis(World::default().consumer()), stream).await.unwrap();
    assert_eq!(response, failures(&["4"]));
    let topic = event([notification("reject")]);
    assert!(invoke(&sns(World::default().consumer()), topic).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn the_consumers_policies_hold() {
    for (policy, reported) in
        [(Policy::Acknowledge, &[][..]), (Policy::Keep, &["m-1", "m-2"]), (Policy::DeadLetter, &[])]
    {
        let world = World::default();
        let router: Router<World> = Router::new("delivery").on(ignore).undecodable(policy);
        let function = sqs(router.unknown_tags(policy).with_state(world.clone()));
        let mut broken = message("m-2");
        broken["body"] = "{".into();
        let batch = event([unknown("m-1"), broken]);
        let response = invoke(&function.dead_letters(world.clone()), batch).await.unwrap();
        assert_eq!(response, failures(reported), "{policy:?}");
        let letters = if policy == Policy::DeadLetter { 2 } else { 0 };
        assert_eq!(world.letters().len(), letters);
    }
}

async fn ignore(
    _: World,
    _: fanfare_core::Delivery<crate::world::OrderPlaced>,
) -> Result<(), fanfare_core::HandlerError> {
    Ok(())
}
