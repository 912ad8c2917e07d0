//! The system on the simulator: two topics, two services, three queues.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use fanfare_aws::{Aws, AwsPublisher, Queue, provision};
use fanfare_sim::Sim;
use fanfare_topology::{Bindings, Kind, Topology};
use tokio::time::sleep;

use crate::{
    crew,
    events::{Fate, key, number},
    seconds,
    wire::Wire,
};

const ACCOUNT: &str = "000000000000";

/// Receives after which SQS moves a message to the dead-letter queue: more than the worker's own
/// limit, so that only what takes workers down gets there.
const MAX_RECEIVES: u32 = 18;

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

    /// That those made poison are in the dead-letter queue, with their reasons, and no others; and
    /// those of a FIFO group in order. Some are there again: where the worker did not get to know that
    /// they are, or could not settle them then.
    pub fn check_letters(self, seed: u64, ground: &Ground, fates: &BTreeMap<usize, Fate>) {
        let mut letters: BTreeMap<usize, usize> = BTreeMap::new();
        let mut last: HashMap<Option<String>, usize> = HashMap::new();
        // What was handled in one receive with poison behind it, and could not be deleted, comes again
        // to a group that is parked by then.
        let parked = fates.iter().filter(|(_, fate)| **fate == Fate::Parked);
        let parked: HashSet<String> = parked.map(|(number, _)| key(*number)).collect();
        let came_late = |number| fates[&number] == Fate::Handled && parked.contains(&key(number));
        for letter in ground.sim.messages(&ground.names(self).1) {
            let number = number(&letter.body);
            let given = letter.attribute("dead-letter-reason");
            let fits = match fates[&number].reason() {
                Some(reason) => given.is_some_and(|given| given.starts_with(reason)),
                None => given.is_none() && letter.dead_letter_source.is_some(),
            };
            if !fits
                && came_late(number)
                && given.is_some_and(|given| given.starts_with("parked: "))
            {
                continue;
            }
            assert!(fits, "seed {seed}, {self:?}: {number} is dead, the reason is {given:?}");
            let times = letters.entry(number).or_default();
            *times += 1;
            if self.kind == Kind::Fifo && *times == 1 {
                let last = last.insert(letter.group_id, number);
                assert!(last < Some(number), "seed {seed}, {self:?}: {number} after {last:?}");
            }
        }
        let poison = fates.iter().filter(|(_, fate)| **fate != Fate::Handled);
        let poison = poison.map(|(number, _)| *number);
        let dead: BTreeSet<usize> = letters.keys().copied().collect();
        assert_eq!(dead, poison.collect(), "seed {seed}, {self:?}: the dead letters");
        let times: usize = letters.values().sum();
        assert!(times <= 2 * letters.len(), "seed {seed}, {self:?}: dead {letters:?} times");
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
        for subscription in SUBSCRIPTIONS {
            let (queue, dead_letters) = self.names(subscription);
            let policy = serde_json::json!({
                "deadLetterTargetArn": arn(&dead_letters),
                "maxReceiveCount": MAX_RECEIVES,
            });
            let set = sqs.set_queue_attributes();
            let set = set.queue_url(format!("http://sim.localhost/{ACCOUNT}/{queue}"));
            let name = aws_sdk_sqs::types::QueueAttributeName::RedrivePolicy;
            set.attributes(name, policy.to_string()).send().await.unwrap();
        }
    }

    /// The names of a subscription's queue and of its dead-letter queue.
    fn names(&self, Subscription { service, kind }: Subscription) -> (String, String) {
        let bindings = &self.bindings;
        (bindings.queue_name(service, kind), bindings.dead_letter_queue_name(service, kind))
    }

    /// Begins to send what is in the dead-letter queues of FIFO queues back there.
    pub async fn start_redrive(&self) {
        let sqs = aws_sdk_sqs::Client::new(&self.sim.sdk_config());
        for subscription in SUBSCRIPTIONS.into_iter().filter(|of| of.kind == Kind::Fifo) {
            let (queue, dead_letters) = self.names(subscription);
            let start = sqs.start_message_move_task().source_arn(arn(&dead_letters));
            start.destination_arn(arn(&queue)).send().await.unwrap();
        }
    }

    /// Waits until what was sent back has been dealt with.
    pub async fn settled(&self) {
        // Hundreds of messages a second are moved.
        sleep(seconds(30)).await;
        while self.held() > 0 {
            sleep(seconds(1)).await;
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
        let held = |of| self.sim.queue_stats(&self.names(of).0).unwrap().total();
        SUBSCRIPTIONS.into_iter().map(held).sum()
    }
}

fn arn(queue: &str) -> String {
    format!("arn:aws:sqs:us-east-1:{ACCOUNT}:{queue}")
}
