//! The event by which the table's log tells that calls to a service are split differently.

use super::Table;

impl Table {
    pub fn route_changed(&mut self, now: u64, service: &str, reason: String) {
        self.note(now, "route_changed", None, Some(reason));
        for events in [&mut self.events, &mut self.unwritten] {
            if let Some(event) = events.last_mut() {
                service.clone_into(&mut event.name);
            }
        }
    }
}
