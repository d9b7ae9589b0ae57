//! Putting the stories of sagas together once every signal was taken.

use super::*;

impl Gather {
    /// Puts everything in its place.
    pub fn settle(mut self, window: Window) -> Sagas {
        let starts = self.starts();
        self.link_calls();
        let mut by_order: BTreeMap<String, usize> = BTreeMap::new();
        let mut stories: Vec<Story> = Vec::new();
        for (id, draft) in std::mem::take(&mut self.stories) {
            let mut story = finish(id, draft);
            story.coordinator = self.coordinator(&story);
            if !story.order_id.is_empty() {
                by_order.insert(story.order_id.clone(), stories.len());
            }
            stories.push(story);
        }
        self.hand_out(&mut stories);
        let mut orphans = Vec::new();
        for (order_id, mut rows) in std::mem::take(&mut self.orders) {
            rows.sort_by_key(|row| (row.version, row.updated, row.seen));
            let history = self.histories.remove(&order_id).unwrap_or_default();
            if let Some(last) = rows.last_mut() {
                last.history = history.into_iter().collect();
            }
            match by_order.get(&order_id).and_then(|at| stories.get_mut(*at)) {
                Some(story) => story.order = rows,
                None => orphans.extend(rows.pop()),
            }
        }
        for (order_id, at) in &by_order {
            let Some(story) = stories.get_mut(*at) else {
                continue;
            };
            story.payments = values(self.payments.remove(order_id));
            story.reservations = values(self.reservations.remove(order_id));
            story.shipments = values(self.shipments.remove(order_id));
            story.events = self
                .events
                .remove(order_id)
                .unwrap_or_default()
                .into_iter()
                .collect();
            story.notices = self
                .notices
                .remove(order_id)
                .unwrap_or_default()
                .into_iter()
                .collect();
        }
        self.scans
            .sort_by(|a, b| (a.start, &a.instance, a.at).cmp(&(b.start, &b.instance, b.at)));
        self.troubles.sort_by(|a, b| {
            (a.at, &a.instance, &a.event, &a.saga).cmp(&(b.at, &b.instance, &b.event, &b.saga))
        });
        Sagas {
            stories,
            orphans,
            stock: self
                .stock
                .into_values()
                .flat_map(|mut readings| {
                    readings.sort_by_key(|stock| (stock.seen, stock.version));
                    readings
                })
                .collect(),
            starts,
            scans: self.scans,
            troubles: self.troubles,
            levels: self.levels,
            known: self.known,
            models: self.models,
            time_scale: self.time_scale.filter(|scale| *scale > 0.0).unwrap_or(1.0),
            end: self.end.min(window.until).max(window.from),
            journal_read: self.journal_read,
            ledgers_read: self.ledgers_read,
        }
    }

    /// The service whose process wrote the saga's log.
    fn coordinator(&self, story: &Story) -> String {
        story
            .log
            .iter()
            .filter_map(|record| self.at_work.get(&record.instance))
            .map(|(_, _, service)| service)
            .find(|service| !service.is_empty())
            .cloned()
            .unwrap_or_default()
    }

    /// Calls under their tries, served sides under their calls.
    fn link_calls(&mut self) {
        let mut outside: HashMap<SpanId, (String, u64)> = HashMap::new();
        let mut found = std::mem::take(&mut self.outside);
        found.sort();
        for (parent, error, took) in found {
            outside.insert(parent, (error, took));
        }
        let mut served: HashMap<SpanId, Served> = HashMap::new();
        for (parent, mut side) in std::mem::take(&mut self.served) {
            side.outside = outside.get(&side.at.span).cloned();
            let newer = served
                .get(&parent)
                .is_none_or(|known| (known.start, known.at) < (side.start, side.at));
            if newer {
                served.insert(parent, side);
            }
        }
        let mut calls: HashMap<SpanId, Vec<Call>> = HashMap::new();
        for (parent, mut call) in std::mem::take(&mut self.calls) {
            call.served = served.remove(&call.at.span);
            calls.entry(parent).or_default().push(call);
        }
        let mut left: Vec<Served> = served.into_values().collect();
        left.sort_by_key(|side| (side.start, side.at));
        self.left = left;
        for (_, attempt) in &mut self.tries {
            if let Some(mut below) = calls.remove(&attempt.at.span) {
                below.sort_by_key(|call| (call.start, call.at));
                attempt.calls = below;
            }
        }
    }

    fn hand_out(&mut self, stories: &mut [Story]) {
        let place = |stories: &[Story], id: &str| {
            stories
                .binary_search_by(|story| story.id.as_str().cmp(id))
                .ok()
        };
        let mut tries = std::mem::take(&mut self.tries);
        tries.sort_by_key(|(_, attempt)| (attempt.start, attempt.at));
        for (saga, attempt) in tries {
            if let Some(at) = place(stories, &saga)
                && let Some(story) = stories.get_mut(at)
                && story.tries.len() < MOST_TRIES
            {
                story.tries.push(attempt);
            }
        }
        let mut recoveries = std::mem::take(&mut self.recoveries);
        recoveries.sort_by_key(|(_, recovery)| (recovery.start, recovery.at));
        for (saga, recovery) in recoveries {
            if let Some(at) = place(stories, &saga)
                && let Some(story) = stories.get_mut(at)
            {
                story.recoveries.push(recovery);
            }
        }
        let mut keys: HashMap<String, (usize, usize, bool)> = HashMap::new();
        for (at, story) in stories.iter().enumerate() {
            for (step, known) in story.steps.iter().enumerate() {
                for (key, undo) in [(&known.key, false), (&known.undo_key, true)] {
                    if !key.is_empty() {
                        keys.insert(key.clone(), (at, step, undo));
                    }
                }
            }
        }
        for side in std::mem::take(&mut self.left) {
            if let Some((at, step, undo)) = keys.get(&side.key)
                && let Some(story) = stories.get_mut(*at)
                && story.unheard.len() < MOST_TRIES
            {
                story.unheard.push((*step, *undo, side));
            }
        }
        for story in stories {
            story.client_key = story
                .tries
                .first()
                .and_then(|attempt| self.client_keys.get(&attempt.at.trace))
                .cloned();
            story.resent = story
                .tries
                .iter()
                .any(|attempt| self.resent.contains(&attempt.at.trace));
        }
    }

    /// Processes that run sagas, with those that took the place of another one.
    fn starts(&mut self) -> Vec<Start> {
        let mut registered = std::mem::take(&mut self.registered);
        registered.sort();
        registered.dedup();
        let mut starts = Vec::new();
        let mut services: BTreeSet<String> = BTreeSet::new();
        for (id, (_, _, service)) in &self.at_work {
            let named = registered.iter().find(|(_, _, known, _)| known == id);
            services.extend(named.map(|(_, name, _, _)| name.clone()));
            services.extend((!service.is_empty()).then(|| service.clone()));
        }
        for (_, name, id, _) in &registered {
            if let Some(known) = self.at_work.get_mut(id).filter(|known| known.2.is_empty()) {
                known.2.clone_from(name);
            }
        }
        let mut addresses: BTreeMap<&str, &str> = BTreeMap::new();
        for (at, name, id, address) in &registered {
            if !services.contains(name) {
                continue;
            }
            let before = addresses.insert(address, id);
            let again = before.is_some_and(|before| before != id);
            let first = self.at_work.get(id).map_or(*at, |(first, _, _)| *first);
            if before == Some(id.as_str()) {
                continue;
            }
            starts.push(Start {
                at: (*at).min(first),
                service: name.clone(),
                instance: id.clone(),
                again,
            });
        }
        starts.sort_by(|a, b| (a.at, &a.instance).cmp(&(b.at, &b.instance)));
        starts
    }
}

fn values<K, V>(map: Option<BTreeMap<K, V>>) -> Vec<V> {
    map.map(|map| map.into_values().collect())
        .unwrap_or_default()
}

fn finish(id: String, draft: Draft) -> Story {
    let mut story = draft.story;
    story.id = id;
    story
        .rows
        .sort_by_key(|row| (row.version, row.updated, row.seen));
    story.steps = draft.steps.into_values().collect();
    story.log = draft
        .log
        .into_values()
        .map(|(mut record, step)| {
            record.step = story
                .steps
                .iter()
                .position(|known| !step.is_empty() && known.id == step);
            record
        })
        .collect();
    if story.created.0 == 0
        && let Some(first) = story.log.first()
    {
        story.created = first.at;
    }
    story
}
