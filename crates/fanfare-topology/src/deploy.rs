//! How a system's services run on AWS, as a template for CloudFormation or SAM.
//!
//! A [`Deployment`] is a [`Topology`] with a [`Function`] for each service that consumes as a Lambda
//! function, and for each relay. [`Deployment::lint`] finds what AWS would refuse or, worse, accept and
//! punish later; [`Deployment::cloudformation`] and [`Deployment::sam`] give a template only if it finds
//! nothing. Topics, streams, queues and subscriptions are those that provisioning makes, down to their
//! policies.
//!
//! ```
//! # use fanfare_core::{Delivery, EventType, HandlerError, Router};
//! # #[derive(EventType, serde::Deserialize)]
//! # #[event(type = "shop.orders.OrderPlaced.v1", topic = "orders")]
//! # struct OrderPlaced {}
//! # async fn reduce_stock(_: Delivery<OrderPlaced>) -> Result<(), HandlerError> { Ok(()) }
//! use std::time::Duration;
//!
//! use fanfare_topology::{
//!     Kind, Topology,
//!     deploy::{Deployment, Finding, Function},
//! };
//!
//! let products: Router = Router::new("products").on(reduce_stock);
//! let shop = Topology::new("shop").topic("orders", Kind::Standard).service(&products);
//!
//! let function = Function::new("products").timeout(Duration::from_secs(20)).database();
//! let deployment = Deployment::new(&shop).function("products", function.clone());
//! let template = deployment.cloudformation()?;
//! let queue = &template.value()["Resources"]["ProductsQueue"]["Properties"];
//! assert_eq!(queue["VisibilityTimeout"], 120);
//!
//! let findings = deployment.function("products", function.batch_size(100)).lint();
//! assert!(matches!(findings[..], [Finding::BatchWithoutWindow { .. }]));
//! # Ok::<(), fanfare_topology::deploy::Refused>(())
//! ```
//!
//! # Rights
//! Each function has a role of its own. A consumer may receive from its own queues and streams, send to its
//! own dead-letter queues, and publish to the topics that its handlers return events for; or, where its
//! service has a relay, invoke that, and only the relay may publish (unless the function
//! [drains the outbox](Function::drains_outbox) itself). What else it does, [`Function`] says.
//!
//! With [a claim check](Deployment::claim_check) consumers may fetch payloads, and who publishes may store
//! them.
//!
//! # Limits
//! Lambda ends a batch at 6 MB by itself, so that no setting can be wrong about it. How many attributes a
//! message has is limited where an event type is defined: its tag and at most 4 fields to filter by.

mod alarms;
mod carriers;
mod finding;
mod function;
mod functions;
mod limits;
mod lint;
mod payloads;
mod queue;
mod rights;
mod template;

use std::collections::BTreeMap;

pub use finding::{Finding, Refused};
pub use function::Function;
pub use queue::QueueSettings;
use queue::Settled;
use template::Parts;
pub use template::Template;

use crate::{Topology, TopologyError};

/// A topology, and the functions that its services are.
#[derive(Debug, Clone)]
pub struct Deployment {
    topology: Topology,
    functions: BTreeMap<String, Function>,
    relays: BTreeMap<String, Function>,
    migrations: Option<Function>,
    queues: BTreeMap<String, QueueSettings>,
    environment: BTreeMap<String, String>,
    encrypted: bool,
    payload_days: Option<u32>,
}

/// How a template refers to code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Packaging {
    Plain,
    Sam,
}

impl Deployment {
    /// What carries the messages of `topology`, without a function: services are workers.
    #[must_use]
    pub fn new(topology: &Topology) -> Self {
        Deployment {
            topology: topology.clone(),
            functions: BTreeMap::new(),
            relays: BTreeMap::new(),
            migrations: None,
            queues: BTreeMap::new(),
            environment: BTreeMap::new(),
            encrypted: false,
            payload_days: None,
        }
    }

    /// `service` consumes as a function, called as
    /// [`Bindings::function_name`](crate::Bindings::function_name) says.
    #[must_use]
    pub fn function(mut self, service: impl Into<String>, function: Function) -> Self {
        self.functions.insert(service.into(), function);
        self
    }

    /// The outbox of `service` is published by a function, called as
    /// [`Bindings::relay_function_name`](crate::Bindings::relay_function_name) says. It is started every
    /// minute, and may be invoked by the service's function after a commit. How a function consumes means
    /// nothing to it.
    #[must_use]
    pub fn relay(mut self, service: impl Into<String>, function: Function) -> Self {
        self.relays.insert(service.into(), function);
        self
    }

    /// A function makes the tables of all services, called as
    /// [`Bindings::migrations_function_name`](crate::Bindings::migrations_function_name) says. Nothing starts
    /// it: invoke it after a deployment.
    #[must_use]
    pub fn migrations(self, function: Function) -> Self {
        Deployment { migrations: Some(function), ..self }
    }

    /// What is different about the queues of `service`.
    #[must_use]
    pub fn queues(mut self, service: impl Into<String>, settings: QueueSettings) -> Self {
        self.queues.insert(service.into(), settings);
        self
    }

    /// An environment variable of all functions.
    #[must_use]
    pub fn environment(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.environment.insert(name.into(), value.into());
        self
    }

    /// Topics, queues, streams and the functions' environments are encrypted with a key of the system's own,
    /// which costs a monthly fee and its use. Without it queues are encrypted by SQS, and what passes topics
    /// and streams is not at rest for long.
    ///
    /// Roles that are not of this template, such as workers', need `kms:Decrypt` and `kms:GenerateDataKey`
    /// on it.
    #[must_use]
    pub fn encrypted(self) -> Self {
        Deployment { encrypted: true, ..self }
    }

    /// Payloads that are too large for a message are kept in a private, encrypted bucket, called as
    /// [`Bindings::payloads_bucket_name`](crate::Bindings::payloads_bucket_name) says, for so many days: not
    /// fewer than a message can be in a queue or stream and then in a dead-letter queue, which is 4 + 14 with
    /// the queues' defaults. Functions that consume may fetch payloads, those that publish store them. A bucket
    /// that is not empty keeps its stack from being deleted.
    ///
    /// Roles that are not of this template, such as workers', need `s3:GetObject` or `s3:PutObject` on the
    /// bucket's objects.
    #[must_use]
    pub fn claim_check(self, days: u32) -> Self {
        Deployment { payload_days: Some(days), ..self }
    }

    /// A template with functions whose code is on S3.
    ///
    /// Its parameters: `CodeBucket`, `CodePrefix` and `CodeSuffix` (a function's code is at
    /// `{CodePrefix}{name}{CodeSuffix}`), `Architecture`, `DatabaseUrl` if a function has a database,
    /// `VpcSubnetIds` and `VpcSecurityGroupIds`, `AlarmTopicArn`. It needs the capability
    /// `CAPABILITY_IAM`.
    ///
    /// # Errors
    /// [`Refused`], with all that [`lint`](Deployment::lint) finds.
    pub fn cloudformation(&self) -> Result<Template, Refused> {
        self.template(Packaging::Plain)
    }

    /// The same for AWS SAM, which uploads the code: `target/lambda/{name}.zip`, seen from a folder beside
    /// `target`. It has no parameters `Code…`, and needs the capability `CAPABILITY_AUTO_EXPAND` too.
    ///
    /// # Errors
    /// As of [`cloudformation`](Deployment::cloudformation).
    pub fn sam(&self) -> Result<Template, Refused> {
        self.template(Packaging::Sam)
    }

    fn template(&self, packaging: Packaging) -> Result<Template, Refused> {
        let findings = self.lint();
        if !findings.is_empty() {
            return Err(Refused { findings });
        }
        let parts = self.parts(packaging);
        let parts = parts.map_err(|error| Refused { findings: vec![error.into()] })?;
        let description = format!(
            "{}: topics, queues, streams and functions. Generated from its topology: change that.",
            self.system()
        );
        let transform = (packaging == Packaging::Sam).then_some("AWS::Serverless-2016-10-31");
        Ok(parts.template(&description, transform))
    }

    fn parts(&self, packaging: Packaging) -> Result<Parts, TopologyError> {
        let plan = self.topology.plan()?;
        let mut parts = Parts::default();
        self.carriers(&mut parts, &plan);
        self.payloads(&mut parts);
        self.functions(&mut parts, packaging);
        self.alarms(&mut parts, &plan);
        Ok(parts)
    }

    /// All functions, with their names on AWS.
    fn all_functions(&self) -> Vec<(String, &Function)> {
        let bindings = self.topology.bindings();
        let consumers = self.functions.iter().map(|(s, f)| (bindings.function_name(s), f));
        let relays = self.relays.iter().map(|(s, f)| (bindings.relay_function_name(s), f));
        let migrations = self.migrations.iter().map(|f| (bindings.migrations_function_name(), f));
        consumers.chain(relays).chain(migrations).collect()
    }

    /// The settings of a service's queues.
    fn settled(&self, service: &str) -> Settled {
        let settings = self.queues.get(service).cloned().unwrap_or_default();
        settings.settled(self.functions.get(service))
    }

    fn system(&self) -> &str {
        self.topology.system()
    }
}
