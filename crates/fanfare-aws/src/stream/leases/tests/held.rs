//! What a lease tells the store, and those who consume its shard.

use fanfare_core::{Checkpoint, Lease, NewLease, Renewed};
use tokio::time::{Instant, advance};
use tokio_util::sync::CancellationToken;

use super::world::{LEASE, after, seconds};
use crate::stream::leases::Held;

fn taken() -> Held {
    let mut lease = Lease::from(NewLease::new("a", after(10), vec![]));
    (lease.owner, lease.epoch, lease.counter) = (Some("me".into()), 3, 7);
    Held::new(lease, Instant::now() + LEASE, CancellationToken::new())
}

#[tokio::test(start_paused = true)]
async fn a_checkpoint_goes_out_until_the_store_has_it() {
    let held = taken();
    let sent = |held: &Held| held.renewal().unwrap();
    assert_eq!((sent(&held).counter, sent(&held).checkpoint), (8, None));
    held.checkpoint(after(11));
    let first = sent(&held);
    assert_eq!((first.epoch, first.counter, first.checkpoint.clone()), (3, 10, Some(after(11))));
    assert_eq!(sent(&held).checkpoint, Some(after(11)), "its answer did not come");
    held.checkpoint(after(12));
    held.renewed(&first, &Renewed::new("a", None), Instant::now() + LEASE);
    let second = sent(&held);
    assert_eq!(second.checkpoint, Some(after(12)), "another one was stored");
    held.renewed(&second, &Renewed::new("a", None), Instant::now() + LEASE);
    assert_eq!(sent(&held).checkpoint, None);
    assert_eq!(held.resumed().lease().checkpoint, after(12));
    assert_eq!(held.lease().checkpoint, after(10));
}

#[tokio::test(start_paused = true)]
async fn what_is_given_up_is_not_renewed_and_nothing_is_begun() {
    for (at_end, checkpoint) in [(false, after(10)), (true, Checkpoint::End)] {
        let held = taken();
        assert!(held.is_valid());
        assert_eq!(held.release(), None);
        held.close(at_end);
        assert!(held.renewal().is_none() && !held.is_valid());
        assert_eq!(held.release().unwrap().checkpoint, Some(checkpoint));
        assert_eq!(held.release().unwrap().counter, 9, "again, if there was no answer");
        held.released();
        assert_eq!(held.release(), None);
    }
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_has_ended_does_not_come_back() {
    let held = taken();
    let renewal = held.renewal().unwrap();
    advance(LEASE).await;
    held.lost().await;
    held.renewed(&renewal, &Renewed::new("a", None), Instant::now() + seconds(5));
    assert!(!held.is_valid() && held.renewal().is_none());
    held.lost().await;
}

#[tokio::test(start_paused = true)]
async fn a_worker_is_told_once_of_each_who_asks() {
    let held = taken();
    let told = |successor: Option<&str>| {
        let renewed = Renewed::new("a", successor.map(String::from));
        held.renewed(&held.renewal().unwrap(), &renewed, Instant::now() + LEASE)
    };
    let asked = [None, Some("b"), Some("b"), Some("c"), None, Some("c")].map(told);
    assert_eq!(asked, [false, true, false, true, false, true]);
}
