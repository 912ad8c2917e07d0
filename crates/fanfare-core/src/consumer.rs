//! A router that is ready: handlers with their state, and the ports around them.

use std::{collections::HashMap, fmt, sync::Arc};

use rapidhash::RapidHashMap;

use crate::{
    ClaimCheck, DynClaimCheck, DynIdempotencyStore, DynParkedGroups, DynPublisher, HandledType,
    HandlerService, IdempotencyStore, Inbox, Opened, Outcome, ParkedGroups, Publisher, RawDelivery,
    Reason, Retry,
    call::BoundDecoder,
    router::Policies,
    tag,
    telemetry::{Channel, FANFARE, Telemetry},
    translate::Translator,
};

/// Called with every delivery and what became of it.
type Observer = Arc<dyn Fn(&RawDelivery, &Outcome) + Send + Sync>;

/// What a host (a worker, a Lambda) runs: a [`Router`](crate::Router) with its state, and the
/// ports that its deliveries need. Clones share handlers, state and ports.
#[derive(Clone)]
pub struct Consumer {
    pub(crate) name: Arc<str>,
    handled: Vec<HandledType>,
    decoders: Arc<RapidHashMap<&'static str, BoundDecoder>>,
    /// The handlers in their layers, if they have any.
    pub(crate) service: Option<HandlerService>,
    pub(crate) policies: Policies,
    pub(crate) unfiltered: bool,
    pub(crate) publisher: Option<Arc<dyn DynPublisher>>,
    pub(crate) claim_check: Option<Arc<dyn DynClaimCheck>>,
    pub(crate) inbox: Option<Arc<dyn Inbox>>,
    pub(crate) idempotency: Option<Arc<dyn DynIdempotencyStore>>,
    pub(crate) translators: Vec<Arc<dyn Translator>>,
    pub(crate) parked: Option<Arc<dyn DynParkedGroups>>,
    /// For handlers with one of their own, by type tag.
    retries: Arc<HashMap<&'static str, Retry>>,
    retry: Retry,
    pub(crate) observer: Option<Observer>,
    pub(crate) telemetry: Arc<Telemetry>,
}

/// A consumer that cannot work as it was put together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConsumerError {
    /// Its router has no name, which inbox and returned events go by.
    #[error("a router has an empty name: give it the name of its service")]
    NoName,
    /// It would receive and have nobody to give it to.
    #[error("`{consumer}` has no handlers: register one with Router::on")]
    NoHandlers {
        /// The consumer's name.
        consumer: String,
    },
    /// Two handlers want the same event.
    #[error("`{consumer}` has two handlers for {tag}: keep one")]
    TwoHandlers {
        /// The consumer's name.
        consumer: String,
        /// The type tag that both are registered for.
        tag: &'static str,
    },
    /// An event has a retry of its own and nobody handles it.
    #[error(
        "`{consumer}` has a retry for {tag} and no handler: register one with Router::on, or leave Router::retry out"
    )]
    RetryOfUnhandled {
        /// The consumer's name.
        consumer: String,
        /// The type tag that the retry is for.
        tag: &'static str,
    },
    /// A handler returns events and there is nobody to publish them.
    #[error(
        "`{consumer}`: the handler of {tag} returns events: give it a publisher with Consumer::publisher"
    )]
    NoPublisher {
        /// The consumer's name.
        consumer: String,
        /// The type tag that the handler is registered for.
        tag: &'static str,
    },
    /// As [`NoPublisher`](Self::NoPublisher), for a handler that runs in a transaction.
    #[error(
        "`{consumer}`: the handler of {tag} returns events: give it an inbox that records them in an outbox, or a publisher with Consumer::publisher"
    )]
    NoOutbox {
        /// The consumer's name.
        consumer: String,
        /// The type tag that the handler is registered for.
        tag: &'static str,
    },
    /// A handler runs in a transaction and there is nobody to begin one.
    #[error(
        "`{consumer}`: the handler of {tag} wants a transaction of {wanted}: give it an inbox with Consumer::inbox"
    )]
    NoInbox {
        /// The consumer's name.
        consumer: String,
        /// The type tag that the handler is registered for.
        tag: &'static str,
        /// The type of its connection.
        wanted: &'static str,
    },
    /// A handler wants a connection to another kind of database than the inbox's.
    #[error(
        "`{consumer}`: the handler of {tag} wants a {wanted}, and the inbox has a {lent}: give it an inbox of the handler's database"
    )]
    OtherConnection {
        /// The consumer's name.
        consumer: String,
        /// The type tag that the handler is registered for.
        tag: &'static str,
        /// The type of its connection.
        wanted: &'static str,
        /// The type of the inbox's connections.
        lent: &'static str,
    },
}

impl Consumer {
    pub(crate) fn new(
        name: Arc<str>,
        handled: Vec<HandledType>,
        decoders: Vec<BoundDecoder>,
        service: Option<HandlerService>,
        policies: Policies,
        retries: HashMap<&'static str, Retry>,
    ) -> Self {
        let decoders: RapidHashMap<_, _> =
            handled.iter().map(|handled| handled.tag).zip(decoders).collect();
        let decoders = Arc::new(decoders);
        let tags = handled.iter().map(|handled| handled.tag).collect();
        let channel = Channel::new(FANFARE, Arc::clone(&name)).read_by(Arc::clone(&name));
        let telemetry = Arc::new(Telemetry::new(channel, tags));
        Consumer {
            name,
            handled,
            decoders,
            service,
            policies,
            unfiltered: false,
            publisher: None,
            claim_check: None,
            inbox: None,
            idempotency: None,
            translators: Vec::new(),
            parked: None,
            retries: Arc::new(retries),
            retry: Retry::default(),
            observer: None,
            telemetry,
        }
    }

    /// Publishes the events that handlers return.
    #[must_use]
    pub fn publisher(self, publisher: impl Publisher + 'static) -> Self {
        Consumer { publisher: Some(Arc::new(publisher)), ..self }
    }

    /// Fetches the payload of a message that is a pointer to it, before anything else is done with it:
    /// of ours, by a [`ClaimCheckPublisher`](crate::ClaimCheckPublisher), and of AWS's extended clients.
    /// Without it such a message is undecodable.
    ///
    /// A size that the message states has to be that of the payload. What can never be fetched goes to the
    /// dead-letter queue with [`Reason::Unclaimed`]; what cannot be fetched now is tried again. Dead letters
    /// are the message as it came, its payload not in it. Nothing is removed from the store.
    ///
    /// A payload is fetched when its delivery's turn comes, and is in memory once: as the text that its
    /// handler's type is read from. So at most as many are there as deliveries are handled at once, and with
    /// an inbox two units of work (100) more.
    #[must_use]
    pub fn claim_check(self, store: impl ClaimCheck + 'static) -> Self {
        Consumer { claim_check: Some(Arc::new(store)), ..self }
    }

    /// The transactions of handlers that are registered with
    /// [`Router::on_tx`](crate::Router::on_tx): what has been handled is remembered in them, so
    /// that a duplicate has its effect once.
    #[must_use]
    pub fn inbox(self, inbox: impl Inbox + 'static) -> Self {
        Consumer { inbox: Some(Arc::new(inbox)), ..self }
    }

    /// Remembers what all other handlers have handled, so that a duplicate is not handled again.
    /// Weaker than an inbox: see [`IdempotencyStore`].
    #[must_use]
    pub fn idempotency(self, store: impl IdempotencyStore + 'static) -> Self {
        Consumer { idempotency: Some(Arc::new(store)), ..self }
    }

    /// Reads messages of another system's format too, from now on: see [`translate`](crate::translate).
    /// Translators are tried in the order in which they are given, and the first that recognises a
    /// message takes it; what none recognises is read as fanfare's own envelope.
    ///
    /// A foreign type that is not mapped goes by [`Router::unknown_tags`](crate::Router::unknown_tags),
    /// what is broken by [`Router::undecodable`](crate::Router::undecodable). A dead letter has the
    /// message as it came.
    #[must_use]
    pub fn translator(mut self, translator: impl Translator + 'static) -> Self {
        self.translators.push(Arc::new(translator));
        self
    }

    /// Keeps the order of a key behind an event that goes to the dead-letter queue, whatever the
    /// reason: the events of its group follow it there, unhandled and in their order
    /// ([`Reason::Parked`]), and no other group waits. When the dead-letter queue is redriven they
    /// are handled one after another in that order; one that comes before its turn, or behind one
    /// that fails again, goes back there. When all are handled the group is free. Without this, an
    /// event goes to the dead-letter queue alone, and its group goes on without it.
    ///
    /// For ordered sources; deliveries without a group are as ever. The store is asked once for
    /// each group of a batch, and for each event of a group that is parked; where it fails the
    /// group is given back. What never comes back holds its group for ever: whoever deletes a dead
    /// letter tells the store, with [`ParkedGroups::handled`] or [`ParkedGroups::release`]. What a
    /// queue's own redrive policy moves, without a reason, parks nothing. What is parked may come
    /// twice like everything else, so use it with an inbox or an idempotency store.
    #[must_use]
    pub fn park_groups(self, store: impl ParkedGroups + 'static) -> Self {
        Consumer { parked: Some(Arc::new(store)), ..self }
    }

    /// When a delivery that failed comes again, and how often it is tried, where its handler has no
    /// [`Retry`] of its own ([`Router::retry`](crate::Router::retry)): also events with unknown
    /// tags, and bodies that are no event.
    #[must_use]
    pub fn retry(self, retry: Retry) -> Self {
        Consumer { retry, ..self }
    }

    /// For a source that brings every event of its topic, whoever it is for, as a stream does: events
    /// of a family that nobody here handles are let go without a word, whatever
    /// [`Router::unknown_tags`](crate::Router::unknown_tags) says. Other versions of what is handled
    /// go by that policy all the same. The host of a stream says this by itself.
    #[must_use]
    pub fn unfiltered(self) -> Self {
        Consumer { unfiltered: true, ..self }
    }

    /// Says where its deliveries come from, for spans and metrics: a `destination` of `system`, as
    /// [`telemetry`](crate::telemetry) names them. The hosts of this project say this by themselves.
    #[must_use]
    pub fn receives_from(self, system: &'static str, destination: impl Into<Arc<str>>) -> Self {
        let channel = Channel::new(system, destination).read_by(Arc::clone(&self.name));
        Consumer { telemetry: Arc::new(self.telemetry.of(channel)), ..self }
    }

    /// Where its deliveries come from, for a host that measures its own requests.
    #[must_use]
    pub fn channel(&self) -> &Channel {
        &self.telemetry.channel
    }

    /// Calls `observer` with every delivery and what became of it, just before it is settled: for
    /// counting. It runs in between deliveries, so keep it short.
    #[must_use]
    pub fn observe(
        self,
        observer: impl Fn(&RawDelivery, &Outcome) + Send + Sync + 'static,
    ) -> Self {
        Consumer { observer: Some(Arc::new(observer)), ..self }
    }

    /// The consumer's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The event types that are handled.
    #[must_use]
    pub fn handled(&self) -> &[HandledType] {
        &self.handled
    }

    /// Whether it can work: hosts ask before they receive anything.
    ///
    /// # Errors
    /// [`ConsumerError`], the first that is found.
    pub fn check(&self) -> Result<(), ConsumerError> {
        let consumer = || self.name.to_string();
        if self.name.is_empty() {
            return Err(ConsumerError::NoName);
        }
        if self.handled.is_empty() {
            return Err(ConsumerError::NoHandlers { consumer: consumer() });
        }
        for (i, handled) in self.handled.iter().enumerate() {
            let tag = handled.tag;
            if self.handled[..i].iter().any(|earlier| earlier.tag == tag) {
                return Err(ConsumerError::TwoHandlers { consumer: consumer(), tag });
            }
            self.check_ports(handled)?;
        }
        let unhandled = |tag: &&str| !self.decoders.contains_key(tag);
        match self.retries.keys().copied().filter(unhandled).min() {
            Some(tag) => Err(ConsumerError::RetryOfUnhandled { consumer: consumer(), tag }),
            None => Ok(()),
        }
    }

    /// Whether a handler has the ports that it needs.
    fn check_ports(&self, handled: &HandledType) -> Result<(), ConsumerError> {
        let consumer = self.name.to_string();
        let HandledType { tag, returns_events, .. } = *handled;
        let mute = returns_events && self.publisher.is_none();
        let Some(connection) = handled.connection else {
            return if mute { Err(ConsumerError::NoPublisher { consumer, tag }) } else { Ok(()) };
        };
        let wanted = connection.name();
        match &self.inbox {
            None => Err(ConsumerError::NoInbox { consumer, tag, wanted }),
            Some(inbox) if inbox.connection_type() != connection => {
                let lent = inbox.connection_type().name();
                Err(ConsumerError::OtherConnection { consumer, tag, wanted, lent })
            }
            Some(inbox) if mute && !inbox.records_events() => {
                Err(ConsumerError::NoOutbox { consumer, tag })
            }
            Some(_) => Ok(()),
        }
    }

    /// Why the event in `body` is for others, if it comes from a source that brings everything.
    pub(crate) fn unrelated(&self, body: &str) -> Option<Reason> {
        if !self.unfiltered {
            return None;
        }
        let opened = Opened::open(body).ok()?;
        let reason = self.decoder(&opened.envelope().tag).err()?;
        matches!(reason, Reason::UnknownTag { handled: None, .. }).then_some(reason)
    }

    /// The retry of the event in `body`: its handler's, or else the one for all others.
    pub(crate) fn retry_of(&self, body: &str) -> Retry {
        if self.retries.is_empty() {
            return self.retry;
        }
        let opened = Opened::open(body).ok();
        let own = opened.and_then(|opened| self.retries.get(&*opened.envelope().tag).copied());
        own.unwrap_or(self.retry)
    }

    /// Whether its deliveries are prepared before they are opened.
    pub(crate) fn prepares(&self) -> bool {
        self.claim_check.is_some() || !self.translators.is_empty()
    }

    /// The decoder for `tag`, or why there is none.
    pub(crate) fn decoder(&self, tag: &str) -> Result<&BoundDecoder, Reason> {
        self.decoders.get(tag).ok_or_else(|| {
            let family = tag::family(tag);
            let handled = self.handled.iter().map(|handled| handled.tag);
            let handled = handled.into_iter().find(|known| tag::family(known) == family);
            Reason::UnknownTag { tag: tag.into(), handled }
        })
    }
}

impl fmt::Debug for Consumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumer")
            .field("name", &self.name)
            .field("handled", &self.handled)
            .finish_non_exhaustive()
    }
}
