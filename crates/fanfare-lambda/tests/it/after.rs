use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use fanfare_lambda::{Deadline, Error, sqs};
use tokio::time::Instant;

use crate::world::{World, context, event, failures, invoke, invoke_in, message};

#[tokio::test(start_paused = true)]
async fn it_runs_once_after_each_batch_when_all_is_done() {
    let world = World::default();
    let runs = Arc::new(Mutex::new(Vec::new()));
    let (seen, done) = (Arc::clone(&runs), world.clone());
    let function = sqs(world.consumer()).after(move |_| {
        seen.lock().unwrap().push(done.done().len());
        async { Ok::<_, Error>(()) }
    });
    invoke(&function, event(["slow-100", "fail-1"].map(message))).await.unwrap();
    invoke(&function, event(["a", "b"].map(message))).await.unwrap();
    invoke(&function, event([])).await.unwrap();
    assert_eq!(*runs.lock().unwrap(), [1, 3]);
}

#[tokio::test(start_paused = true)]
async fn its_failure_fails_nothing() {
    let function = sqs(World::default().consumer()).after(async |_| Err("no database"));
    let batch = event(["a", "fail-1"].map(message));
    assert_eq!(invoke(&function, batch).await.unwrap(), failures(&["fail-1"]));
}

#[tokio::test(start_paused = true)]
async fn it_is_told_when_to_end_and_abandoned_if_it_does_not() {
    let ended = Arc::new(Mutex::new(None));
    let end = Arc::clone(&ended);
    let function = sqs(World::default().consumer()).after(move |deadline: Deadline| {
        let end = Arc::clone(&end);
        async move {
            deadline.reached().await;
            *end.lock().unwrap() = Some(Instant::now());
            std::future::pending::<Result<(), Error>>().await
        }
    });
    let start = Instant::now();
    let time = context(Duration::from_secs(1_000));
    let response = invoke_in(&function, event([message("a")]), time).await.unwrap();
    assert_eq!(response, failures(&[]));
    let told = ended.lock().unwrap().unwrap() - start;
    assert!((950_000..=999_000).contains(&told.as_millis()), "{told:?}");
    let over = start.elapsed();
    assert!(told < over && over <= Duration::from_millis(999_500), "{over:?}");
}
