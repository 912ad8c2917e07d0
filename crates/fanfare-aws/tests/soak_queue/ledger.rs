//! What has been handled, and whether it was right.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
};

use fanfare_topology::Kind;

use crate::{
    events::{Fate, fates, key},
    ground::{SUBSCRIPTIONS, Subscription},
};

/// Noted as it happens; what is wrong is kept until somebody looks, because a handler that panics is
/// no news here.
pub struct Ledger {
    pages: Vec<(Subscription, Mutex<Page>)>,
    wrong: Mutex<Vec<String>>,
    pub begun: AtomicUsize,
    pub slow: AtomicUsize,
    /// The handlers have been mended: what was poison to them is not any more.
    pub mended: AtomicBool,
}

/// One subscription's.
#[derive(Default)]
struct Page {
    /// By number: whether it is to be handled and has not been.
    open: Vec<bool>,
    left: usize,
    /// By number: how many are to be handled before it in its key.
    before: Vec<usize>,
    /// How many have been handled in a key.
    handled: HashMap<String, usize>,
}

impl Ledger {
    pub fn new(events: usize, parks: bool) -> Ledger {
        let page = |subscription: Subscription| {
            let mut page =
                Page { open: vec![false; events], before: vec![0; events], ..Page::default() };
            let mut keys: HashMap<String, usize> = HashMap::new();
            // What is parked is handled in the end.
            for (number, fate) in fates(subscription, events, parks, parks) {
                let place = keys.entry(key(number)).or_default();
                page.before[number] = *place;
                if fate == Fate::Handled {
                    page.open[number] = true;
                    page.left += 1;
                    *place += 1;
                }
            }
            (subscription, Mutex::new(page))
        };
        Ledger {
            pages: SUBSCRIPTIONS.into_iter().map(page).collect(),
            wrong: Mutex::default(),
            begun: AtomicUsize::new(0),
            slow: AtomicUsize::new(0),
            mended: AtomicBool::new(false),
        }
    }

    fn page(&self, of: Subscription) -> MutexGuard<'_, Page> {
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

    /// What a handler makes of an event.
    pub fn fate(&self, number: usize) -> Fate {
        if self.mended.load(Relaxed) { Fate::Handled } else { Fate::of(number) }
    }

    /// Those that are to be handled, and have not been.
    pub fn missing(&self, of: Subscription, fates: &BTreeMap<usize, Fate>) -> Vec<usize> {
        let page = self.page(of);
        let missing = |(number, fate): (&usize, &Fate)| {
            (*fate == Fate::Handled && page.open[*number]).then_some(*number)
        };
        fates.iter().filter_map(missing).collect()
    }

    pub fn summary(&self) -> String {
        let left: usize = self.pages.iter().map(|(_, page)| page.lock().unwrap().left).sum();
        let (begun, slow) = (self.begun.load(Relaxed), self.slow.load(Relaxed));
        format!("{begun} begun, {slow} slow, {left} left")
    }
}
