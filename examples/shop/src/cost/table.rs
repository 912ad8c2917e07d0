//! The comparison as it is printed.

use super::{Carrier, Load, PRICES, SHARING, break_even};
use crate::journal::note;

const SHARDS: Carrier = Carrier::Shards { aggregated: true };

const ROWS: [(&str, Carrier); 7] = [
    ("SNS + SQS, an event in a request", Carrier::OneByOne),
    ("SNS + SQS, ten in a request", Carrier::Batches),
    ("SNS + SQS FIFO, ten in a request", Carrier::Fifo),
    ("Kinesis, shards", Carrier::Shards { aggregated: false }),
    ("Kinesis, shards, aggregated", SHARDS),
    ("Kinesis on demand", Carrier::OnDemand { aggregated: false }),
    ("Kinesis on demand, aggregated", Carrier::OnDemand { aggregated: true }),
];

impl Load {
    /// Prints what this load costs on each carrier, and from where on a shard costs less.
    pub fn compare(&self) {
        note(self.table());
    }

    fn table(&self) -> String {
        let Load { events_per_second, services, bytes } = self;
        let mut lines = vec![
            format!(
                "$ a month in {}, by the prices of {}: {events_per_second} events/s of {bytes} bytes, \
                 {services} services listen",
                PRICES.region, PRICES.read
            ),
            format!(
                "{:<34}{:>10}{:>10}{:>10}{:>10}",
                "", "writing", "reading", "standing", "total"
            ),
        ];
        lines.extend(ROWS.map(|(name, carrier)| {
            let monthly = self.on(carrier);
            let [writing, reading, standing, total] =
                [monthly.writing, monthly.reading, monthly.standing, monthly.total()];
            format!("{name:<34}{writing:>10.2}{reading:>10.2}{standing:>10.2}{total:>10.2}")
        }));
        lines
            .push("events/s from which Kinesis with aggregated shards costs no more than …".into());
        let services = [1, 3, 5, 20];
        let heads = services.map(|services| format!("{services:>10}"));
        lines.push(format!("{:<34}{}", "… with so many services", heads.concat()));
        lines.extend(ROWS[..3].iter().map(|&(name, carrier)| {
            let rates = services.map(|services| {
                let rate = break_even(&Load { services, ..*self }, SHARDS, carrier);
                format!("{:>10}", rate.map_or("never".into(), |rate| format!("{rate:.1}")))
            });
            format!("{name:<34}{}", rates.concat())
        }));
        lines.push(format!("(more than {SHARING} services read a stream by enhanced fan-out)"));
        lines.join("\n")
    }
}
