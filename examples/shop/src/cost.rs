//! What a topic costs a month on SNS and on Kinesis: arithmetic, without asking AWS.

mod prices;
mod table;

use prices::{ON_DEMAND_BYTES, PRICES, PUT_UNIT_BYTES, REQUEST_BYTES};

const SECONDS_A_MONTH: f64 = 730.0 * 3_600.0;
const HOURS_A_MONTH: f64 = 730.0;
const MILLION: f64 = 1e6;
const GIGABYTE: f64 = 1_073_741_824.0;

/// Most events in one request to SNS and SQS.
const BATCH: f64 = 10.0;

/// Seconds that a worker waits in one long poll when there is nothing to do.
const LONG_POLL: f64 = 20.0;

/// So many services can share a shard's five reads a second; more need enhanced fan-out.
const SHARING: u32 = 5;

/// What one shard takes a second, in records and bytes, and gives to all services that share it.
const SHARD_RECORDS: f64 = 1_000.0;
const SHARD_BYTES_IN: f64 = 1_048_576.0;
const SHARD_BYTES_OUT: f64 = 2.0 * SHARD_BYTES_IN;

/// What a topic has to carry.
#[derive(Debug, Clone, Copy, PartialEq, clap::Args)]
pub struct Load {
    /// Events a second, all day and night
    #[arg(long, default_value_t = 100.0, value_parser = positive)]
    pub events_per_second: f64,

    /// Services that listen to all of them, one worker each
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    pub services: u32,

    /// Bytes of one event on the wire
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=262_144))]
    pub bytes: u32,
}

fn positive(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number: &f64| number.is_finite() && *number > 0.0);
    number.ok_or_else(|| "a number above 0".into())
}

/// What carries the topic, and how well requests are filled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Carrier {
    /// Standard topic and queues, a request for each event: where few come at a time.
    OneByOne,
    /// Standard topic and queues, ten events in a request: where many come at a time.
    Batches,
    /// The same on FIFO.
    Fifo,
    /// A stream of as many shards as it needs.
    Shards { aggregated: bool },
    /// A stream on demand.
    OnDemand { aggregated: bool },
}

/// US dollars a month.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Monthly {
    /// For publishing.
    writing: f64,
    /// For what the services receive and settle.
    reading: f64,
    /// For what is there whether there are events or not: shards, streams, empty polls.
    standing: f64,
}

impl Monthly {
    fn total(&self) -> f64 {
        self.writing + self.reading + self.standing
    }
}

impl Load {
    fn on(&self, carrier: Carrier) -> Monthly {
        match carrier {
            Carrier::OneByOne => {
                self.on_queues(1.0, PRICES.sns_requests, PRICES.sqs_requests, 0.0, 0.0)
            }
            Carrier::Batches => {
                self.on_queues(BATCH, PRICES.sns_requests, PRICES.sqs_requests, 0.0, 0.0)
            }
            Carrier::Fifo => {
                let gigabyte = f64::from(self.bytes) / GIGABYTE;
                let published = PRICES.sns_fifo_gigabyte * gigabyte;
                let delivered = PRICES.sns_fifo_deliveries / MILLION
                    + PRICES.sns_fifo_delivered_gigabyte * gigabyte;
                let (sns, sqs) = (PRICES.sns_fifo_requests, PRICES.sqs_fifo_requests);
                self.on_queues(BATCH, sns, sqs, published, delivered)
            }
            Carrier::Shards { aggregated } => {
                let units = self.events() * self.put_units(aggregated);
                let (services, shards) = (f64::from(self.services), self.shards(aggregated));
                let (hour, gigabyte) = match self.fans_out() {
                    true => (PRICES.fan_out_shard_hour, PRICES.fan_out_gigabyte),
                    false => (0.0, 0.0),
                };
                Monthly {
                    writing: units / MILLION * PRICES.put_units,
                    reading: self.gigabytes_read() * gigabyte,
                    standing: shards * HOURS_A_MONTH * (PRICES.shard_hour + services * hour),
                }
            }
            Carrier::OnDemand { aggregated } => {
                let bytes = f64::from(self.bytes);
                let billed = match aggregated {
                    true => bytes,
                    false => whole(bytes, ON_DEMAND_BYTES) * ON_DEMAND_BYTES,
                };
                let gigabyte = match self.fans_out() {
                    true => PRICES.fan_out_gigabyte_on_demand,
                    false => PRICES.gigabyte_out,
                };
                Monthly {
                    writing: self.events() * billed / GIGABYTE * PRICES.gigabyte_in,
                    reading: self.gigabytes_read() * gigabyte,
                    standing: HOURS_A_MONTH * PRICES.stream_hour,
                }
            }
        }
    }

    /// On SNS and SQS, with so many events in each request, at these prices of a million requests, and
    /// with what each event costs besides when it is published and when it is delivered.
    fn on_queues(&self, batch: f64, sns: f64, sqs: f64, published: f64, delivered: f64) -> Monthly {
        let (events, services) = (self.events(), f64::from(self.services));
        // A batch's bytes are counted together.
        let requests = whole(batch * f64::from(self.bytes), REQUEST_BYTES) / batch;
        let deletes = 1.0 / batch;
        // Who is busy does not poll in vain.
        let polls = SECONDS_A_MONTH / LONG_POLL;
        let empty = (polls - events / batch).max(0.0);
        Monthly {
            writing: events * (requests * sns / MILLION + published),
            reading: services * events * ((requests + deletes) * sqs / MILLION + delivered),
            standing: services * empty * sqs / MILLION,
        }
    }

    /// How many shards it takes.
    fn shards(&self, aggregated: bool) -> f64 {
        let bytes = self.events_per_second * f64::from(self.bytes);
        let records = if aggregated { bytes / PUT_UNIT_BYTES } else { self.events_per_second };
        let out = if self.fans_out() { 0.0 } else { bytes * f64::from(self.services) };
        let needed =
            [records / SHARD_RECORDS, bytes / SHARD_BYTES_IN, out / SHARD_BYTES_OUT].map(f64::ceil);
        needed.into_iter().fold(1.0, f64::max)
    }

    /// PUT payload units for each event; aggregated, its part of one that is full.
    fn put_units(&self, aggregated: bool) -> f64 {
        let bytes = f64::from(self.bytes);
        if aggregated { bytes / PUT_UNIT_BYTES } else { whole(bytes, PUT_UNIT_BYTES) }
    }

    /// Whether the services need enhanced fan-out on a stream.
    fn fans_out(&self) -> bool {
        self.services > SHARING
    }

    /// What all services read a month.
    fn gigabytes_read(&self) -> f64 {
        self.events() * f64::from(self.bytes) * f64::from(self.services) / GIGABYTE
    }

    /// Events a month.
    fn events(&self) -> f64 {
        self.events_per_second * SECONDS_A_MONTH
    }
}

/// How many whole units so much takes, at least one.
fn whole(much: f64, unit: f64) -> f64 {
    (much / unit).ceil().max(1.0)
}

/// From how many events a second on `one` costs no more than `other`, all else being as in `load`; none
/// if that is beyond a million.
fn break_even(load: &Load, one: Carrier, other: Carrier) -> Option<f64> {
    // Steps of 1 % are finer than anybody's forecast; shards make the curve a staircase, so that
    // nothing smarter is sound.
    let rates = std::iter::successors(Some(0.001), |rate| Some(rate * 1.01));
    rates.take_while(|rate| *rate < MILLION).find(|&events_per_second| {
        let load = Load { events_per_second, ..*load };
        load.on(one).total() <= load.on(other).total()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(events_per_second: f64, services: u32, bytes: u32) -> Load {
        Load { events_per_second, services, bytes }
    }

    /// To the cent.
    #[track_caller]
    fn costs(load: Load, carrier: Carrier, [writing, reading, standing]: [f64; 3]) {
        let monthly = load.on(carrier);
        for (is, expected) in
            [(monthly.writing, writing), (monthly.reading, reading), (monthly.standing, standing)]
        {
            assert!((is - expected).abs() < 0.005, "{load:?} on {carrier:?}: {monthly:?}");
        }
    }

    // 100 events/s are 262.8 million a month.

    #[test]
    fn on_sns_one_by_one_each_event_is_a_publish_and_for_each_service_a_receive_and_a_delete() {
        costs(load(100.0, 3, 500), Carrier::OneByOne, [131.40, 630.72, 0.0]);
    }

    #[test]
    fn batches_of_ten_are_a_tenth_until_ten_events_no_longer_fit_a_request_that_is_billed_once() {
        costs(load(100.0, 3, 500), Carrier::Batches, [13.14, 63.07, 0.0]);
        // Ten of 6,554 bytes are 65,540: two requests are billed, and one for the deletions.
        costs(load(100.0, 3, 6_553), Carrier::Batches, [13.14, 63.07, 0.0]);
        costs(load(100.0, 3, 6_554), Carrier::Batches, [26.28, 94.61, 0.0]);
    }

    #[test]
    fn fifo_charges_for_deliveries_and_bytes_too() {
        // 122.38 GB published; 788.4 million deliveries, 367.13 GB.
        costs(load(100.0, 3, 500), Carrier::Fifo, [7.884 + 2.080, 78.84 + 7.884 + 0.367, 0.0]);
    }

    #[test]
    fn an_idle_worker_polls_every_twenty_seconds() {
        // 131,400 polls a month.
        costs(load(0.000_001, 3, 500), Carrier::Batches, [0.0, 0.0, 0.157_68]);
        costs(load(1.0, 3, 500), Carrier::OneByOne, [1.31, 6.31, 0.0]);
    }

    #[test]
    fn a_shard_costs_by_the_hour_and_each_record_a_unit() {
        costs(load(100.0, 3, 500), Carrier::Shards { aggregated: false }, [3.68, 0.0, 10.95]);
        costs(load(100.0, 3, 500), Carrier::Shards { aggregated: true }, [0.07, 0.0, 10.95]);
        // 26,000 bytes are two units.
        costs(load(10.0, 1, 26_000), Carrier::Shards { aggregated: false }, [0.74, 0.0, 10.95]);
    }

    #[test]
    fn shards_are_counted_by_records_by_bytes_in_and_by_bytes_out() {
        let shards = |load: Load, aggregated| load.shards(aggregated);
        assert_eq!(shards(load(0.1, 1, 500), true), 1.0);
        assert_eq!(shards(load(1_001.0, 1, 100), false), 2.0, "records");
        assert_eq!(shards(load(1_001.0, 1, 100), true), 1.0);
        assert_eq!(shards(load(3_000.0, 1, 1_000), true), 3.0, "bytes in");
        assert_eq!(shards(load(1_000.0, 5, 1_000), true), 3.0, "bytes out");
        assert_eq!(shards(load(1_000.0, 6, 1_000), true), 1.0, "each has its own");
    }

    #[test]
    fn more_than_five_services_pay_for_enhanced_fan_out() {
        // 734.25 GB a month, to six services and to each of their shards.
        let (load, shard) = (load(100.0, 6, 500), 10.95);
        costs(load, Carrier::Shards { aggregated: true }, [0.07, 9.55, shard + 6.0 * shard]);
        costs(load, Carrier::OnDemand { aggregated: true }, [9.79, 36.71, 29.20]);
    }

    #[test]
    fn on_demand_bills_bytes_in_and_out_and_rounds_records_up() {
        costs(load(100.0, 3, 500), Carrier::OnDemand { aggregated: true }, [9.79, 14.69, 29.20]);
        costs(load(100.0, 3, 500), Carrier::OnDemand { aggregated: false }, [20.05, 14.69, 29.20]);
    }

    #[test]
    fn the_more_services_share_a_shard_the_sooner_it_is_cheaper() {
        let shard = Carrier::Shards { aggregated: true };
        let even = |services, other| break_even(&load(1.0, services, 500), shard, other).unwrap();
        // A month of one shard is 10.95; an event/s one by one 1.314 + 2.1024 for each service.
        assert!((even(1, Carrier::OneByOne) / 3.205 - 1.0).abs() < 0.02);
        assert!((even(3, Carrier::OneByOne) / 1.432 - 1.0).abs() < 0.02);
        assert!((even(3, Carrier::Batches) / 14.37 - 1.0).abs() < 0.02);
        assert!(even(5, Carrier::Batches) < even(3, Carrier::Batches));
        assert!(even(20, Carrier::Batches) > even(5, Carrier::Batches), "they cannot share it");
    }

    #[test]
    fn what_is_never_cheaper_breaks_even_nowhere() {
        let load = load(1.0, 3, 500);
        let (single, full) = (Carrier::OneByOne, Carrier::Batches);
        assert_eq!(break_even(&Load { services: 10, ..load }, single, full), None);
    }
}
