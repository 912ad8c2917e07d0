//! The system on the simulator: two topics, two services, three queues.

use std::collections::{BTreeMap, BTreeSet};

use fanfare_aws::{Aws, AwsPublisher, Queue, provision};
use fanfare_sim::Sim;
use fanfare_topology::{Bindings, Kind, Topology};

use crate::{
    crew,
    events::{Fate, number},
    wire::Wire,
};

const ACCOUNT: &str = "000000000000";

/// Receives after which SQS moves a message to the dead-letter queue: more than the worker's own
/// limit, so that only what takes workers down gets there.
const MAX_RECEIVES: u32 = 25;

/// How often a poison event may be in the dead-letter queue: once, and again for each answer that was
/// lost on the way.
const MOST_LETTERS: usize = 4;

/// A service's queue for the events of one topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Subscription {
    pub service: &'static str,
    pub kind: Kind,
}

/// Everything goes to `products`, and what is on the FIFO topic to `audit` too.
pub const SUBSCRIPTIONS: [Subscription; 3] = [
    Subscription { service: "products", kind: Kind::Standard },
    Subscription { service: "products", kind: Kind::Fifo },
    Subscription { service: "audit", kind: Kind::Fifo },
];

impl Subscription {
    /// The numbers of the events that it gets.
    pub fn numbers(self, events: usize) -> impl Iterator<Item = usize> {
        let first = usize::from(self.kind == Kind::Fifo);
        (first..events).step_by(2)
    }

    /// That those made poison are in the dead-letter queue, with their reasons, and no others.
    pub fn check_letters(self, seed: u64, ground: &Ground, events: usize) {
        let mut letters: BTreeMap<usize, usize> = BTreeMap::new();
        let name = ground.bindings.dead_letter_queue_name(self.service, self.kind);
        for letter in ground.sim.messages(&name) {
            let number = number(&letter.body);
            let given = letter.attribute("dead-letter-reason");
            let fits = match Fate::of(number).reason() {
                Some(reason) => given.is_some_and(|given| given.starts_with(reason)),
                None => given.is_none() && letter.dead_letter_source.is_some(),
            };
            assert!(fits, "seed {seed}, {self:?}: {number} is dead, the reason is {given:?}");
            *letters.entry(number).or_default() += 1;
        }
        let poison = self.numbers(events).filter(|number| Fate::of(*number) != Fate::Handled);
        let dead: BTreeSet<usize> = letters.keys().copied().collect();
        assert_eq!(dead, poison.collect(), "seed {seed}, {self:?}: the dead letters");
        let most = letters.values().max().copied().unwrap_or_default();
        assert!(most <= MOST_LETTERS, "seed {seed}, {self:?}: {letters:?}");
    }
}

pub struct Ground {
    pub sim: Sim,
    pub bindings: Bindings,
}

impl Ground {
    pub async fn new() -> Ground {
        let topology = Topology::new("shop")
            .topic("orders", Kind::Standard)
            .topic("payments", Kind::Fifo)
            .service(&crew::products())
            .service(&crew::audit());
        let sim = Sim::new();
        let aws = Aws::new(&sim.sdk_config(), ACCOUNT).unwrap();
        provision(&aws, &topology).await.unwrap();
        let ground = Ground { sim, bindings: topology.bindings() };
        ground.limit_receives().await;
        ground
    }

    async fn limit_receives(&self) {
        let sqs = aws_sdk_sqs::Client::new(&self.sim.sdk_config());
        for Subscription { service, kind } in SUBSCRIPTIONS {
            let url = |name: String| format!("http://sim.localhost/{ACCOUNT}/{name}");
            let dead = self.bindings.dead_letter_queue_name(service, kind);
            let policy = serde_json::json!({
                "deadLetterTargetArn": format!("arn:aws:sqs:us-east-1:{ACCOUNT}:{dead}"),
                "maxReceiveCount": MAX_RECEIVES,
            });
            let set = sqs.set_queue_attributes();
            let set = set.queue_url(url(self.bindings.queue_name(service, kind)));
            let name = aws_sdk_sqs::types::QueueAttributeName::RedrivePolicy;
            set.attributes(name, policy.to_string()).send().await.unwrap();
        }
    }

    /// AWS at the other end of `wire`.
    pub fn aws(&self, wire: &Wire) -> Aws {
        let config = self.sim.sdk_config().to_builder().http_client(wire.http_client()).build();
        Aws::new(&config, ACCOUNT).unwrap()
    }

    pub fn publisher(&self, rng: fastrand::Rng) -> AwsPublisher {
        AwsPublisher::new(self.aws(&Wire::new(&self.sim, rng)), self.bindings.clone())
    }

    pub fn queue(&self, wire: &Wire, subscription: Subscription) -> Queue {
        self.aws(wire).queue(&self.bindings, subscription.service, subscription.kind)
    }

    /// How many messages are in the services' queues, wherever they are in them.
    pub fn held(&self) -> usize {
        let name = |of: &Subscription| self.bindings.queue_name(of.service, of.kind);
        let held = |name: String| self.sim.queue_stats(&name).unwrap().total();
        SUBSCRIPTIONS.iter().map(name).map(held).sum()
    }
}
