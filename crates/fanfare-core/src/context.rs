//! What ties an event to the one that caused it, carried without anybody's doing.

use std::{
    cell::RefCell,
    pin::Pin,
    task::{self, Poll},
};

use pin_project_lite::pin_project;
use serde::{Deserialize, Serialize};

use crate::Envelope;

thread_local! {
    static CURRENT: RefCell<Option<Context>> = const { RefCell::new(None) };
}

/// Correlation, causation, trace and hop count of an event.
///
/// While a handler runs, the context of what it handles is *current*: whatever is emitted in
/// that time, by the handler's return value or through an [`Emitter`](crate::Emitter), carries
/// it on. A task that the handler spawns has none of its own; wrap it in [`Context::scope`].
///
/// An edge of the system (an HTTP handler, a command) may set one:
///
/// ```
/// # async fn place_order() {}
/// # async fn example(traceparent: Option<String>) {
/// use fanfare_core::Context;
///
/// let mut context = Context::default();
/// context.traceparent = traceparent;
/// context.scope(place_order()).await;
/// # }
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Context {
    /// Id shared by all events of one business process; an event that starts one gives its own.
    pub correlation_id: Option<String>,
    /// Id of the event that led to this one; none for one that starts a chain.
    pub causation_id: Option<String>,
    /// W3C trace context.
    pub traceparent: Option<String>,
    /// W3C trace state.
    pub tracestate: Option<String>,
    /// How many events led to this one, one behind another: 0 for one that starts a chain.
    pub hops: u32,
}

impl Context {
    /// The context of what happens because of the event in `envelope`.
    #[must_use]
    pub fn following(envelope: &Envelope) -> Context {
        let handled = &envelope.context;
        Context {
            correlation_id: Some(
                handled.correlation_id.clone().unwrap_or_else(|| envelope.id.clone()),
            ),
            causation_id: Some(envelope.id.clone()),
            traceparent: handled.traceparent.clone(),
            tracestate: handled.tracestate.clone(),
            hops: handled.hops.saturating_add(1),
        }
    }

    /// The context in force here: that of the handled event, or what a [`scope`](Self::scope)
    /// set; empty outside of both.
    #[must_use]
    pub fn current() -> Context {
        CURRENT.with_borrow(|current| current.clone().unwrap_or_default())
    }

    /// Runs `future` with this context in force.
    pub fn scope<F: Future>(self, future: F) -> Scoped<F> {
        Scoped { context: Some(self), future }
    }
}

pin_project! {
    /// A future that runs within a [`Context`]; made by [`Context::scope`].
    #[derive(Debug)]
    #[must_use = "futures do nothing unless awaited"]
    pub struct Scoped<F> {
        context: Option<Context>,
        #[pin]
        future: F,
    }
}

impl<F> Scoped<F> {
    /// The context again, when the future is done.
    pub(crate) fn take_context(self: Pin<&mut Self>) -> Context {
        self.project().context.take().unwrap_or_default()
    }
}

impl<F: Future> Future for Scoped<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let _restore = Swapped::enter(this.context);
        this.future.poll(cx)
    }
}

/// Puts a context in force and takes it back when dropped, also when the poll panics.
struct Swapped<'a> {
    slot: &'a mut Option<Context>,
}

impl<'a> Swapped<'a> {
    fn enter(slot: &'a mut Option<Context>) -> Self {
        CURRENT.with_borrow_mut(|current| std::mem::swap(current, slot));
        Swapped { slot }
    }
}

impl Drop for Swapped<'_> {
    fn drop(&mut self) {
        CURRENT.with_borrow_mut(|current| std::mem::swap(current, self.slot));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(id: &str) -> Context {
        Context { correlation_id: Some(id.into()), ..Context::default() }
    }

    #[tokio::test]
    async fn a_scope_holds_across_awaits_and_ends_with_its_future() {
        let inner = async {
            tokio::task::yield_now().await;
            let outer = Context::current();
            let nested = named("inner").scope(async { Context::current() }).await;
            (outer, nested, Context::current())
        };
        let (before, nested, after) = named("outer").scope(inner).await;
        assert_eq!((before, nested, after), (named("outer"), named("inner"), named("outer")));
        assert_eq!(Context::current(), Context::default());
    }

    #[tokio::test]
    async fn two_scopes_that_take_turns_do_not_mix() {
        let turn = |id: &'static str| {
            named(id).scope(async move {
                for _ in 0..10 {
                    assert_eq!(Context::current(), named(id));
                    tokio::task::yield_now().await;
                }
            })
        };
        futures_util::future::join(turn("a"), turn("b")).await;
    }
}
