//! Functions in processes of their own, run by the real runtime against its API.
//!
//! Such a process is this test binary, run again with a variable that says which function it is.

use std::{process::Stdio, time::Duration};

use fanfare_core::Router;
use fanfare_lambda::{Error, any, init, run, run_concurrent, task};
use fanfare_testkit::runtime_api::{FunctionError, Invocation, RuntimeApi};
use serde_json::{Value, json};
use tokio::process::{Child, Command};

use crate::world::{World, event, failures, grouped, message, notification, order};

const VARIABLE: &str = "FANFARE_TEST_FUNCTION";

/// Ends a test that would wait for ever for a function that has died; nothing depends on it.
const PATIENCE: Duration = Duration::from_secs(120);

fn start(api: &RuntimeApi, function: &str) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["runtime::this_process_is_a_function_if_it_is_told_so", "--exact", "--nocapture"])
        .env(VARIABLE, function)
        .envs(api.variables())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

async fn invoke(api: &RuntimeApi, event: &Value) -> Result<Value, Value> {
    let mut invocation = Invocation::new(event.to_string());
    invocation.timeout = PATIENCE;
    let read = |answer: &[u8]| serde_json::from_slice(answer).unwrap();
    let answer = tokio::time::timeout(PATIENCE, api.invoke(invocation)).await.unwrap();
    answer.map(|body| read(&body)).map_err(|FunctionError(body)| read(&body))
}

#[tokio::test]
async fn this_process_is_a_function_if_it_is_told_so() {
    let Ok(function) = std::env::var(VARIABLE) else { return };
    let made = async || -> Result<(), Error> {
        let world = World::default();
        match &*function {
            "any" => run(init(async { Ok(any(world.consumer())) }).await?).await,
            "concurrent" => run_concurrent(any(world.consumer())).await,
            "task" => run(task(async |_| Ok::<_, Error>(json!({ "published": 3 })))).await,
            "nobody" => run(init(async { Ok(any(Router::<()>::new("nobody"))) }).await?).await,
            _ => run(init(async { Err::<fanfare_lambda::Task, _>("no pool".into()) }).await?).await,
        }
    };
    if let Err(error) = made().await {
        eprintln!("{error}");
        std::process::exit(1);
    }
}

#[tokio::test]
async fn fifty_invocations_of_all_sources_by_one_process() {
    let api = RuntimeApi::start().await.unwrap();
    let mut function = start(&api, "any");
    let first_asked = tokio::time::timeout(PATIENCE, api.first_asked()).await.unwrap();
    for number in 0..10 {
        let failed = format!("fail-{number}");
        let queue = event([message("a"), message(&failed), message("b")]);
        assert_eq!(invoke(&api, &queue).await.unwrap(), failures(&[&failed]));
        let fifo = event([grouped("g", &failed), grouped("h", "a"), grouped("g", "b")]);
        assert_eq!(invoke(&api, &fifo).await.unwrap(), failures(&[&failed, "b"]));
        let stream = event([order("7", "k", "a"), order("8", "k", &failed), order("9", "l", "b")]);
        assert_eq!(invoke(&api, &stream).await.unwrap(), failures(&["8"]));
        let error = invoke(&api, &event([notification(&failed)])).await.unwrap_err();
        assert_eq!(error["errorType"], "NotHandled");
        let error = invoke(&api, &json!({ "source": "aws.events" })).await.unwrap_err();
        assert_eq!(error["errorType"], "UnknownSource");
    }
    assert_eq!(api.first_asked().await, first_asked, "it has asked often, and first once");
    assert!(function.try_wait().unwrap().is_none(), "it has ended");
}

#[tokio::test]
async fn the_concurrent_runtime_takes_the_same_function() {
    let api = RuntimeApi::start().await.unwrap();
    let _function = start(&api, "concurrent");
    let batch = event([message("a"), message("fail-1")]);
    assert_eq!(invoke(&api, &batch).await.unwrap(), failures(&["fail-1"]));
}

#[tokio::test]
async fn a_task_answers_any_event() {
    let api = RuntimeApi::start().await.unwrap();
    let _function = start(&api, "task");
    for event in [json!({}), json!("ping"), json!(null)] {
        assert_eq!(invoke(&api, &event).await.unwrap(), json!({ "published": 3 }));
    }
}

#[tokio::test]
async fn a_function_that_cannot_work_ends_before_its_first_event() {
    for (function, why) in [("nobody", "has no handlers"), ("broken", "no pool")] {
        // Nobody invokes it.
        let api = RuntimeApi::start().await.unwrap();
        let ended = start(&api, function).wait_with_output();
        let ended = tokio::time::timeout(PATIENCE, ended).await.unwrap().unwrap();
        assert_eq!(ended.status.code(), Some(1));
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert!(said.contains(why), "{said}");
    }
}
