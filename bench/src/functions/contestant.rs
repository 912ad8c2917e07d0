//! The functions that are compared: `bench/functions`.

/// One of them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Contestant {
    pub(crate) name: &'static str,
    /// The program, of the package `fanfare-bench-functions`.
    pub(crate) program: &'static str,
    pub(crate) notes: &'static str,
}

pub(crate) const FANFARE: Contestant = Contestant {
    name: "fanfare",
    program: "function-fanfare",
    notes: "`lambda::sqs` with `dead_letters`, run by `lambda::run`. Beside what the other does it reads \
        the whole envelope, keeps groups of FIFO queues in order, stops before the deadline, retries as \
        the consumer says, counts hops, hands the cause on to what handlers emit, catches panics of \
        handlers, and has a span for each delivery.",
};

pub(crate) const BY_HAND: Contestant = Contestant {
    name: "by hand",
    program: "function-by-hand",
    notes: "`lambda_runtime` and `aws_lambda_events`, the same configuration and client of the SDK; each \
        body is decoded alone, in one `serde` pass over envelope and data; what failed is reported, and \
        what can never be handled is sent to a dead-letter queue with its reason.",
};

pub(crate) const ALL: [Contestant; 2] = [FANFARE, BY_HAND];
