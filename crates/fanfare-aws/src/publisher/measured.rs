//! What telemetry says of publishing: the messages of a call for one destination are one operation,
//! with all tries of them.

use fanfare_core::{
    Message, PublishError,
    telemetry::{Channel, OperationType},
};

use super::Outcome;

/// Messages for one destination that are to be published.
pub(super) struct Measured<'a> {
    channel: Channel,
    operation: &'static str,
    /// If it is one alone.
    message: Option<&'a Message>,
}

impl<'a> Measured<'a> {
    pub(super) fn new(
        (channel, operation): (Channel, &'static str),
        batch: &'a [Message],
        indices: &[usize],
    ) -> Self {
        let message = match indices {
            [index] => batch.get(*index),
            _ => None,
        };
        Measured { channel, operation, message }
    }

    /// Publishes them.
    pub(super) async fn run(self, publish: impl Future<Output = Vec<Outcome>>) -> Vec<Outcome> {
        let Measured { channel, operation: name, message } = self;
        let operation = channel.begin(OperationType::Send, name);
        if let Some(message) = message {
            operation.event(&message.tag, &message.id);
        }
        let outcomes = operation.run(publish).await;
        let errors = outcomes.iter().filter_map(|(index, outcome)| {
            let error = outcome.as_ref().err()?;
            Some((*index, error))
        });
        let first = errors.clone().min_by_key(|(index, _)| *index);
        operation.end(outcomes.len(), first.map(|(_, error)| error.error_type()));
        let failed = errors.clone().count();
        channel.sent(name, outcomes.len() - failed, None);
        for (_, error) in errors.filter(|(_, error)| was_sent(error)) {
            channel.sent(name, 1, Some(error.error_type()));
        }
        outcomes
    }
}

/// Whether a message that ended so had been in a request.
fn was_sent(error: &PublishError) -> bool {
    use PublishError::{Denied, NotFound, Refused, Unavailable};
    matches!(error, Denied { .. } | NotFound { .. } | Refused { .. } | Unavailable { .. })
}
