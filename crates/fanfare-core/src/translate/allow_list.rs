//! Which foreign type is which event type.

use super::conversion::Conversion;

#[derive(Default)]
pub(super) struct AllowList(Vec<Mapping>);

pub(super) struct Mapping {
    pub(super) foreign: String,
    pub(super) tag: &'static str,
    direction: Direction,
    pub(super) conversion: Conversion,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    Inward,
    Outward,
    Both,
}

impl Mapping {
    /// Whether it changes nothing.
    pub(super) fn is_identity(&self) -> bool {
        self.foreign == self.tag && matches!(self.conversion, Conversion::AsIs)
    }
}

impl AllowList {
    pub(super) fn add(
        &mut self,
        foreign: String,
        tag: &'static str,
        direction: Direction,
        conversion: Conversion,
    ) {
        self.0.push(Mapping { foreign, tag, direction, conversion });
    }

    /// What comes as this foreign type.
    pub(super) fn inward(&self, foreign: &str) -> Option<&Mapping> {
        let mut inward = self.0.iter().filter(|mapping| mapping.direction != Direction::Outward);
        inward.find(|mapping| mapping.foreign == foreign)
    }

    /// What events with this tag go out as.
    pub(super) fn outward(&self, tag: &str) -> Option<&Mapping> {
        let mut outward = self.0.iter().filter(|mapping| mapping.direction != Direction::Inward);
        outward.find(|mapping| mapping.tag == tag)
    }
}
