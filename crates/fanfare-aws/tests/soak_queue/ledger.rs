//! What has been handled, and whether it was right.

use std::{
    collections::HashMap,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use fanfare_topology::Kind;

use crate::{
    events::{Fate, key},
    ground::{SUBSCRIPTIONS, Subscription},
};

/// Noted as it happens; what is wrong is kept until somebody looks, because a handler that panics is
/// no news here.
pub struct Ledger {
    pages: Vec<(Subscription, Mutex<Page>)>,
    wrong: Mutex<Vec<String>>,
    pub begun: AtomicUsize,
    pub slow: AtomicUsize,
}

/// One subscription's.
#[derive(Default)]
struct Page {
    /// By number: whether it is to be handled and has not been.
    open: Vec<bool>,
    left: usize,
    expected: usize,
    /// By number: how many are to be handled before it in its key.
    before: Vec<usize>,
    /// How many have been handled in a key.
    handled: HashMap<String, usize>,
}

impl Ledger {
    pub fn new(events: usize) -> Ledger {
        let page = |subscription: Subscription| {
            let mut page =
                Page { open: vec![false; events], before: vec![0; events], ..Page::default() };
            let mut keys: HashMap<String, usize> = HashMap::new();
            for number in subscription.numbers(events) {
                let place = keys.entry(key(number)).or_default();
                page.before[number] = *place;
                if Fate::of(number) == Fate::Handled {
                    page.open[number] = true;
                    page.left += 1;
                    *place += 1;
                }
            }
            page.expected = page.left;
            (subscription, Mutex::new(page))
        };
        Ledger {
            pages: SUBSCRIPTIONS.into_iter().map(page).collect(),
            wrong: Mutex::default(),
            begun: AtomicUsize::new(0),
            slow: AtomicUsize::new(0),
        }
    }

    fn page(&self, of: Subscription) -> std::sync::MutexGuard<'_, Page> {
        self.pages.iter().find(|(subscription, _)| *subscription == of).unwrap().1.lock().unwrap()
    }

    /// A handler begins.
    pub fn begin(&self, of: Subscription, number: usize) {
        self.begun.fetch_add(1, Relaxed);
        if of.kind == Kind::Fifo {
            let page = self.page(of);
            let handled = page.handled.get(&key(number)).copied().unwrap_or_default();
            if handled < page.before[number] {
                let before = page.before[number];
                drop(page);
                self.wrong(format!("{of:?}: {number} began after {handled} of {before} before it"));
            }
        }
    }

    /// A handler has had its effect.
    pub fn effect(&self, of: Subscription, number: usize) {
        let mut page = self.page(of);
        if !std::mem::take(&mut page.open[number]) {
            drop(page);
            return self.wrong(format!("{of:?}: the effect of {number} is there twice"));
        }
        page.left -= 1;
        let before = page.before[number];
        let handled = page.handled.entry(key(number)).or_default();
        *handled += 1;
        if of.kind == Kind::Fifo && *handled != before + 1 {
            drop(page);
            self.wrong(format!("{of:?}: the effect of {number} is out of order"));
        }
    }

    pub fn wrong(&self, what: String) {
        self.wrong.lock().unwrap().push(what);
    }

    /// That nothing has been wrong so far.
    pub fn check(&self, seed: u64) {
        let wrong = self.wrong.lock().unwrap();
        assert!(wrong.is_empty(), "seed {seed}: {} wrong, first {:?}", wrong.len(), wrong[0]);
    }

    /// That every event has had its effect.
    pub fn check_complete(&self, seed: u64) {
        for (subscription, page) in &self.pages {
            let page = page.lock().unwrap();
            let missing: Vec<_> = (0..page.open.len()).filter(|n| page.open[*n]).take(20).collect();
            assert!(missing.is_empty(), "seed {seed}, {subscription:?}: lost {missing:?}");
        }
    }

    /// How many effects there are to be.
    pub fn expected(&self) -> usize {
        self.pages.iter().map(|(_, page)| page.lock().unwrap().expected).sum()
    }

    pub fn summary(&self) -> String {
        let left: usize = self.pages.iter().map(|(_, page)| page.lock().unwrap().left).sum();
        let (begun, slow) = (self.begun.load(Relaxed), self.slow.load(Relaxed));
        format!("{} effects, {left} left, {begun} begun, {slow} slow", self.expected() - left)
    }
}
